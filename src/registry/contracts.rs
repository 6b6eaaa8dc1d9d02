//! Checks of contracts and of values, away from the threads that serve requests: what a stranger wrote may take long
//! to check, and must not hold others up.
//!
//! A check that has begun runs to its end; what bounds its time is what is checked, by the bounds of
//! `protocol::validator`. What is announced, what is compiled before a first call, what is read and what is checked wait in
//! lanes of their own, and so do short ones of each and long ones: monstrous contracts and arguments keep no tool from
//! being called, and long checks keep no short one waiting. In one lane those who have much to do take turns with others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    domain::{
        ids::{NodeId, RequesterId},
        node::Tool,
    },
    protocol::{
        contract::ToolRules,
        endpoint::{Endpoint, REQUEST_BYTES_MAX},
        error::{BUSY_RETRY_MILLIS, Error, ErrorCode},
        names::Namespace,
        subject::{ToolSubjects, check_subject},
        tool::PROVIDERS_SHOWN_MAX,
        validator::Weight,
        warning::{Warning, WarningCode},
    },
};

use super::settings::Settings;

/// The part of the machine's processors that checks of one lane may take.
const PROCESSORS_PART: usize = 2;

/// Bytes of arguments or of a result that are read in less than a millisecond, whatever numbers they are.
pub(super) const READ_QUICKLY_BYTES_MAX: usize = 8 * 1024;

/// Who checks, and by which rules.
pub(super) struct Contracts {
    rules: Arc<(Namespace, ToolSubjects)>,
    /// Where the registry calls; it may be less than where tools may listen.
    callable: ToolSubjects,
    announced: Lanes,
    learned: Lanes,
    read: Lanes,
    checked: Lanes,
}

/// Turns of one purpose.
struct Lanes {
    light: Lane,
    heavy: Lane,
}

/// Turns that are given in the order in which they are asked for.
struct Lane {
    turns: Arc<Semaphore>,
    /// One for each who waits or has a turn: whoever has more to do than others has one turn at a time.
    each: Mutex<HashMap<RequesterId, Weak<Semaphore>>>,
}

/// What is checked, and how long that may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Check {
    /// A contract that is announced, and by whom.
    Announcement(Weight, RequesterId),
    /// A contract before its first call, and who announced it.
    Learning(Weight, RequesterId),
    /// A long request of a node is read.
    ReadingAnnouncement,
    /// A long call, its arguments or its result are read.
    Reading(Weight),
    /// Arguments, or a result.
    Values(Weight),
}

impl Check {
    /// Of a long request as such.
    pub(super) fn request(endpoint: Endpoint, bytes: usize) -> Self {
        match endpoint {
            Endpoint::ToolInvoke => Self::reading(bytes),
            _ => Self::ReadingAnnouncement,
        }
    }

    /// Reading arguments or a result of so many bytes.
    pub(super) fn reading(bytes: usize) -> Self {
        Self::Reading(if bytes > REQUEST_BYTES_MAX {
            Weight::Heavy
        } else {
            Weight::Light
        })
    }
}

impl Contracts {
    pub(super) fn new(settings: &Settings, callable: ToolSubjects) -> Self {
        let (namespace, subjects) = (&settings.namespace, &settings.tool_subjects);
        Self {
            rules: Arc::new((namespace.clone(), subjects.clone())),
            callable,
            announced: Lanes::new(),
            learned: Lanes::new(),
            read: Lanes::new(),
            checked: Lanes::new(),
        }
    }

    /// What whoever announces these tools is told of those that the registry does not call.
    pub(super) fn uncalled<'a>(
        &'a self,
        node: &'a NodeId,
        tools: &'a [Tool],
    ) -> impl Iterator<Item = Warning> + 'a {
        let (namespace, _) = &*self.rules;
        let uncalled =
            |tool: &&Tool| check_subject(&tool.subject, namespace, node, &self.callable).is_err();
        tools.iter().filter(uncalled).map(|tool| {
            let message = format!(
                "tool {} {} listens on {:?}, where this registry does not call it: it is listed and resolved, and \
                 tool.invoke is FORBIDDEN. Start the registry with --tool-subjects {}, or leave the subject out for \
                 the default one",
                tool.name, tool.version, tool.subject, tool.subject,
            );
            Warning::new(WarningCode::ToolSubject, message)
        })
    }

    /// Does `check` when it is its turn. BUSY if that takes longer than `until`, when the caller is answered; nothing was done
    /// then.
    pub(super) async fn check<R: Send + 'static>(
        &self,
        what: Check,
        until: Instant,
        check: impl FnOnce(ToolRules<'_>) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let rules = Arc::clone(&self.rules);
        let checked = async move {
            let turn = self.turn(what).await;
            let done = tokio::task::spawn_blocking(move || {
                // Kept until it is done, also when nobody waits for it any more.
                let _turn = turn;
                let (namespace, subjects) = &*rules;
                check(ToolRules {
                    namespace,
                    subjects,
                })
            });
            done.await
        };
        match in_time(until, checked).await? {
            Ok(result) => result,
            Err(_) => Err(Error::new(
                ErrorCode::Internal,
                "a contract could not be checked",
            )),
        }
    }

    async fn turn(&self, what: Check) -> impl Send + use<> {
        let (lanes, weight, whose) = match what {
            Check::Announcement(weight, whose) => (&self.announced, weight, Some(whose)),
            Check::Learning(weight, whose) => (&self.learned, weight, Some(whose)),
            Check::ReadingAnnouncement => (&self.announced, Weight::Light, None),
            Check::Reading(weight) => (&self.read, weight, None),
            Check::Values(weight) => (&self.checked, weight, None),
        };
        let lane = match weight {
            Weight::Light => &lanes.light,
            Weight::Heavy => &lanes.heavy,
        };
        lane.turn(whose).await
    }
}

impl Lanes {
    fn new() -> Self {
        Self {
            light: Lane::new(),
            heavy: Lane::new(),
        }
    }
}

impl Lane {
    fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new((processors / PROCESSORS_PART).max(1))),
            each: Mutex::default(),
        }
    }

    /// No semaphore is ever closed, so there always is one.
    async fn turn(&self, whose: Option<RequesterId>) -> [Option<OwnedSemaphorePermit>; 2] {
        let own = match whose {
            Some(whose) => self.own(whose).acquire_owned().await.ok(),
            None => None,
        };
        [own, Arc::clone(&self.turns).acquire_owned().await.ok()]
    }

    fn own(&self, whose: RequesterId) -> Arc<Semaphore> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = each.get(&whose).and_then(Weak::upgrade) {
            return own;
        }
        each.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(1));
        each.insert(whose, Arc::downgrade(&own));
        own
    }
}

/// What whoever announces a tool is told when others offer another contract by its name and version.
pub(super) fn collision<'a>(
    tool: &Tool,
    others: impl Iterator<Item = &'a NodeId>,
) -> Option<Warning> {
    let others = others.take(PROVIDERS_SHOWN_MAX).map(ToString::to_string);
    let others: Vec<String> = others.collect();
    (!others.is_empty()).then(|| {
        let message = format!(
            "tool {} {} is offered under another contract by {}",
            tool.name,
            tool.version,
            others.join(", ")
        );
        Warning::new(WarningCode::ToolCollision, message)
    })
}

/// What comes of it before `until`; else BUSY.
pub(super) async fn in_time<R>(until: Instant, work: impl Future<Output = R>) -> Result<R, Error> {
    tokio::time::timeout_at(until, work).await.map_err(|_| {
        let message = "the contracts could not be checked in time; nothing was done";
        Error::new(ErrorCode::Busy, message).after(BUSY_RETRY_MILLIS)
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn requester_with_much_to_do_takes_turns_with_others() {
        let lane = Arc::new(Lane {
            turns: Arc::new(Semaphore::new(1)),
            each: Mutex::default(),
        });
        let (busy, other) = (
            RequesterId(Uuid::from_u128(1)),
            RequesterId(Uuid::from_u128(2)),
        );
        let begun = lane.turn(Some(busy)).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut all = tokio::task::JoinSet::new();
        for whose in [busy; 20].into_iter().chain([other]) {
            let (lane, order) = (Arc::clone(&lane), Arc::clone(&order));
            all.spawn(async move {
                let _turn = lane.turn(Some(whose)).await;
                order.lock().unwrap().push(whose);
            });
            // It stands in line before the next one comes.
            tokio::task::yield_now().await;
        }
        drop(begun);
        all.join_all().await;
        let order = order.lock().unwrap();
        assert_eq!(order.len(), 21);
        assert!(
            order.iter().take(2).any(|whose| *whose == other),
            "{order:?}"
        );
        assert_eq!(lane.each.lock().unwrap().len(), 2);
    }
}
