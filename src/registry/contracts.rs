//! Checks of contracts and of values, away from the threads that serve requests: what a stranger wrote may take long
//! to check, and must not hold others up.
//!
//! A check that has begun runs to its end; what bounds its time is what is checked, by the bounds of
//! `protocol::validator`. Announcements and calls wait in lanes of their own, and so do short checks and long ones: a
//! node that announces monstrous contracts keeps no tool from being called, and long checks keep no short one waiting.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::{
    domain::{ids::NodeId, node::Tool},
    protocol::{
        contract::ToolRules,
        endpoint::Endpoint,
        error::{BUSY_RETRY_MILLIS, Error, ErrorCode},
        names::Namespace,
        subject::{ToolSubjects, check_subject},
        validator::Weight,
        warning::{Warning, WarningCode},
    },
};

use super::{requests::Caller, settings::Settings};

/// The part of the machine's processors that checks of one lane may take.
const PROCESSORS_PART: usize = 2;

/// Who checks, and by which rules.
pub(super) struct Contracts {
    rules: Arc<(Namespace, ToolSubjects)>,
    /// Where the registry calls; it may be less than where tools may listen.
    callable: ToolSubjects,
    announcements: Lanes,
    calls: Lanes,
}

/// Turns of one purpose.
struct Lanes {
    light: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
}

/// What is checked, and how long that may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Check {
    /// A contract that is announced.
    Announcement(Weight),
    /// A contract that is called by, or arguments, or a result.
    Call(Weight),
}

impl Check {
    /// Of a long request as such.
    pub(super) fn reading(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::ToolInvoke => Self::Call(Weight::Light),
            _ => Self::Announcement(Weight::Light),
        }
    }
}

impl Contracts {
    pub(super) fn new(settings: &Settings, callable: ToolSubjects) -> Self {
        let (namespace, subjects) = (&settings.namespace, &settings.tool_subjects);
        Self {
            rules: Arc::new((namespace.clone(), subjects.clone())),
            callable,
            announcements: Lanes::new(),
            calls: Lanes::new(),
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

    /// Does `check` when it is its turn. BUSY if that takes longer than the caller waits; nothing was
    /// done then.
    pub(super) async fn check<R: Send + 'static>(
        &self,
        what: Check,
        caller: &Caller,
        check: impl FnOnce(ToolRules<'_>) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let (rules, turns) = (Arc::clone(&self.rules), self.turns(what));
        let checked = async move {
            let turn = turns.acquire_owned().await;
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
        match in_time(caller, checked).await? {
            Ok(result) => result,
            Err(_) => Err(Error::new(
                ErrorCode::Internal,
                "a contract could not be checked",
            )),
        }
    }

    fn turns(&self, what: Check) -> Arc<Semaphore> {
        let (lanes, weight) = match what {
            Check::Announcement(weight) => (&self.announcements, weight),
            Check::Call(weight) => (&self.calls, weight),
        };
        Arc::clone(match weight {
            Weight::Quick | Weight::Light => &lanes.light,
            Weight::Heavy => &lanes.heavy,
        })
    }
}

impl Lanes {
    fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let turns = || Arc::new(Semaphore::new((processors / PROCESSORS_PART).max(1)));
        Self {
            light: turns(),
            heavy: turns(),
        }
    }
}

/// What comes of it while the caller waits; else BUSY.
pub(super) async fn in_time<R>(caller: &Caller, work: impl Future<Output = R>) -> Result<R, Error> {
    tokio::time::timeout_at(caller.until, work)
        .await
        .map_err(|_| {
            let message = "the contracts could not be checked in time; nothing was done";
            Error::new(ErrorCode::Busy, message).after(BUSY_RETRY_MILLIS)
        })
}
