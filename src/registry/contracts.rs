//! Checks of contracts and of values, on threads of their own: an untrusted schema may take long to check, and must not
//! delay other requests.
//!
//! A check that has begun runs to its end; the bounds of `contract::validator` limit its time. Announced contracts,
//! contracts that are compiled before a first call, long calls that are parsed, and values that are checked wait in queues
//! of their own, short and long ones apart. So hostile contracts and arguments keep no tool from being called, and long
//! checks delay no short one. Each queue is shared fairly between callers (`fair_queue`).

use std::sync::Arc;

use onex_core::node::Tool;
use onex_types::ids::{NodeId, RequesterId};
use tokio::time::Instant;

use crate::{
    contract::{ToolRules, validator::Weight},
    protocol::{
        endpoint::{Endpoint, REQUEST_BYTES_MAX},
        error::{BUSY_RETRY_MILLIS, Error, ErrorCode},
        names::Namespace,
        subject::{ToolSubjects, check_subject},
        tool::PROVIDERS_SHOWN_MAX,
        warning::{Warning, WarningCode},
    },
};

use super::{
    fair_queue::{FairQueue, Flow, Permit},
    rights::Rights,
    settings::Settings,
};

/// Checks of one queue run on at most the number of processors divided by this.
const PROCESSORS_DIVISOR: usize = 2;

/// Arguments or a result of so many bytes are parsed in less than a millisecond, whatever numbers are in them.
pub(super) const PARSE_INLINE_BYTES_MAX: usize = 8 * 1024;

/// Checks contracts and values, and knows the rules for them.
pub(super) struct Contracts {
    rules: Arc<(Namespace, ToolSubjects)>,
    /// On which subjects the registry calls tools; tools may listen on more.
    rights: Rights,
    announcements: Queues,
    compilations: Queues,
    parsing: Queues,
    values: Queues,
}

/// The queues for checks of one kind.
struct Queues {
    light: Arc<FairQueue>,
    heavy: Arc<FairQueue>,
}

/// Who asks for a check, and until when: the caller is answered then, with or without its outcome.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    /// Who asks: see [`Callers::number`](super::callers::Callers::number).
    pub(super) caller: u64,
    pub(super) until: Instant,
}

/// What is checked, and how long that may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Check {
    /// Checking a contract that is announced.
    Announcement(Weight),
    /// Compiling a contract before its first call, for whoever announced it.
    Compilation(Weight, RequesterId),
    /// Parsing a long request of a node.
    ParsingAnnouncement,
    /// Parsing a long call, its arguments or its result.
    Parsing(Weight),
    /// Checking arguments or a result.
    Values(Weight),
}

impl Check {
    /// Parsing a long request of so many bytes.
    pub(super) fn request(endpoint: Endpoint, bytes: usize) -> Self {
        match endpoint {
            Endpoint::ToolInvoke => Self::parsing(bytes),
            _ => Self::ParsingAnnouncement,
        }
    }

    /// Parsing arguments or a result of so many bytes.
    pub(super) fn parsing(bytes: usize) -> Self {
        Self::Parsing(if bytes > REQUEST_BYTES_MAX {
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
            announcements: Queues::new(),
            compilations: Queues::new(),
            parsing: Queues::new(),
            values: Queues::new(),
        }
    }

    /// Waits until it is known which tools the registry may call, for a bounded time.
    pub(super) async fn wait_for_rights(&self, until: Instant) {
        self.rights.known(until).await;
    }

    /// Warnings for whoever announces these tools: one for each that the registry may not call.
    pub(super) fn warn_of_uncallable<'a>(
        &'a self,
        node: &'a NodeId,
        tools: &'a [Tool],
    ) -> impl Iterator<Item = Warning> + 'a {
        let (namespace, _) = &*self.rules;
        let (callable, is_known) = (self.rights.callable(), self.rights.is_known());
        let uncallable = move |tool: &&Tool| {
            is_known && check_subject(&tool.subject, namespace, node, callable).is_err()
        };
        tools.iter().filter(uncallable).map(|tool| {
            let message = format!(
                "tool {} {} listens on {:?}, where this registry does not call it: it is listed and resolved, and \
                 tool.invoke is FORBIDDEN. Start the registry with --tool-subjects {}, or leave the subject out for \
                 the default one",
                tool.name, tool.version, tool.subject, tool.subject,
            );
            Warning::new(WarningCode::ToolSubject, message)
        })
    }

    /// Runs `check` once there is a permit for it. BUSY when that takes longer than the caller waits; nothing was done then.
    pub(super) async fn check<R: Send + 'static>(
        &self,
        what: Check,
        asking: Asking,
        check: impl FnOnce(ToolRules<'_>) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let rules = Arc::clone(&self.rules);
        let permit = self.permit(what, asking.caller);
        let checked = async move {
            let permit = permit.await;
            let done = tokio::task::spawn_blocking(move || {
                // Held until the check is done, also when nobody waits for it any more.
                let _permit = permit;
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

    /// Compiling a contract counts for whoever announced it, everything else for the caller.
    async fn permit(&self, what: Check, caller: u64) -> Option<Permit> {
        let flow = Flow::Caller(caller);
        let (queues, weight, flow) = match what {
            Check::Announcement(weight) => (&self.announcements, weight, flow),
            Check::Compilation(weight, announced_by) => {
                (&self.compilations, weight, Flow::Requester(announced_by))
            }
            Check::ParsingAnnouncement => (&self.announcements, Weight::Light, flow),
            Check::Parsing(weight) => (&self.parsing, weight, flow),
            Check::Values(weight) => (&self.values, weight, flow),
        };
        let queue = match weight {
            Weight::Light => &queues.light,
            Weight::Heavy => &queues.heavy,
        };
        queue.acquire(flow).await
    }
}

impl Queues {
    fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let permits_max = (processors / PROCESSORS_DIVISOR).max(1);
        Self {
            light: FairQueue::new(permits_max),
            heavy: FairQueue::new(permits_max),
        }
    }
}

/// A warning for whoever announces a tool, if others offer another contract under its name and version.
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

/// The output of `work`, or BUSY when it is not there by `until`.
pub(super) async fn in_time<R>(until: Instant, work: impl Future<Output = R>) -> Result<R, Error> {
    tokio::time::timeout_at(until, work).await.map_err(|_| {
        let message = "the contracts could not be checked in time; nothing was done";
        Error::new(ErrorCode::Busy, message).after(BUSY_RETRY_MILLIS)
    })
}
