//! Checks of contracts and of values, away from the threads that serve requests: what a stranger wrote may take long
//! to check, and must not hold others up.
//!
//! A check that has begun runs to its end; what bounds its time is what is checked, by the bounds of
//! `protocol::validator`. What is announced, what is compiled before a first call, what is read and what is checked wait in
//! lanes of their own, and so do short ones of each and long ones: monstrous contracts and arguments keep no tool from
//! being called, and long checks keep no short one waiting. In one lane those who ask take turns (`lanes`).

use std::sync::Arc;

use tokio::time::Instant;

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

use super::{
    lanes::{Asker, Lane, Turn},
    rights::Rights,
    settings::Settings,
};

/// The part of the machine's processors that checks of one lane may take.
const PROCESSORS_PART: usize = 2;

/// Bytes of arguments or of a result that are read in less than a millisecond, whatever numbers they are.
pub(super) const READ_QUICKLY_BYTES_MAX: usize = 8 * 1024;

/// Who checks, and by which rules.
pub(super) struct Contracts {
    rules: Arc<(Namespace, ToolSubjects)>,
    /// Where the registry calls; it may be less than where tools may listen.
    rights: Rights,
    announced: Lanes,
    learned: Lanes,
    read: Lanes,
    checked: Lanes,
}

/// Turns of one purpose.
struct Lanes {
    light: Arc<Lane>,
    heavy: Arc<Lane>,
}

/// Whose work it is, and when its caller is answered, whatever came of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    /// Who asks: see [`Callers::number`](super::callers::Callers::number).
    pub(super) caller: u64,
    pub(super) until: Instant,
}

/// What is checked, and how long that may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Check {
    /// A contract that is announced.
    Announcement(Weight),
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
    pub(super) fn new(settings: &Settings, rights: Rights) -> Self {
        let (namespace, subjects) = (&settings.namespace, &settings.tool_subjects);
        Self {
            rules: Arc::new((namespace.clone(), subjects.clone())),
            rights,
            announced: Lanes::new(),
            learned: Lanes::new(),
            read: Lanes::new(),
            checked: Lanes::new(),
        }
    }

    /// Waits until it is known which tools the registry calls.
    pub(super) async fn know_callable(&self, until: Instant) {
        self.rights.known(until).await;
    }

    /// What whoever announces these tools is told of those that the registry does not call.
    pub(super) fn uncalled<'a>(
        &'a self,
        node: &'a NodeId,
        tools: &'a [Tool],
    ) -> impl Iterator<Item = Warning> + 'a {
        let (namespace, _) = &*self.rules;
        let (callable, is_known) = (self.rights.callable(), self.rights.is_known());
        let uncalled = move |tool: &&Tool| {
            is_known && check_subject(&tool.subject, namespace, node, callable).is_err()
        };
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

    /// Does `check` when it is its turn. BUSY if that takes too long for who asks; nothing was done then.
    pub(super) async fn check<R: Send + 'static>(
        &self,
        what: Check,
        asking: Asking,
        check: impl FnOnce(ToolRules<'_>) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let rules = Arc::clone(&self.rules);
        let turn = self.turn(what, asking.caller);
        let checked = async move {
            let turn = turn.await;
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
        match in_time(asking.until, checked).await? {
            Ok(result) => result,
            Err(_) => Err(Error::new(
                ErrorCode::Internal,
                "a contract could not be checked",
            )),
        }
    }

    /// Whoever asks waits in turns with others; for a contract that a caller did not write that is who announced it.
    async fn turn(&self, what: Check, caller: u64) -> Option<Turn> {
        let asker = Asker::Caller(caller);
        let (lanes, weight, asker) = match what {
            Check::Announcement(weight) => (&self.announced, weight, asker),
            Check::Learning(weight, whose) => (&self.learned, weight, Asker::Requester(whose)),
            Check::ReadingAnnouncement => (&self.announced, Weight::Light, asker),
            Check::Reading(weight) => (&self.read, weight, asker),
            Check::Values(weight) => (&self.checked, weight, asker),
        };
        let lane = match weight {
            Weight::Light => &lanes.light,
            Weight::Heavy => &lanes.heavy,
        };
        lane.turn(asker).await
    }
}

impl Lanes {
    fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let turns_max = (processors / PROCESSORS_PART).max(1);
        Self {
            light: Lane::new(turns_max),
            heavy: Lane::new(turns_max),
        }
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
