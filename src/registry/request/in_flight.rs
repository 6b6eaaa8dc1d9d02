//! A request between its arrival and its reply.

use std::{sync::OnceLock, time::Instant};

use async_nats::Subject;
use bytes::Bytes;
use onex_core::command::{Action, Command, Outcome};
use onex_types::time::{MonoMillis, Now};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    protocol::{
        endpoint::Endpoint,
        error::{Error, Outcome as Done},
    },
    registry::{
        driver::{Handle, Submitted},
        journal::Shares,
    },
};

/// A request that is not answered yet.
pub(in crate::registry) struct InFlight {
    /// When it arrived, or may have arrived.
    pub(in crate::registry) at: Instant,
    pub(in crate::registry) endpoint: Endpoint,
    /// Where its answer goes.
    pub(in crate::registry) subject: Subject,
    pub(in crate::registry) correlation_id: String,
    /// After this nothing is decided for it.
    pub(in crate::registry) deadline: MonoMillis,
    /// How old what it is told may be, where it says so, in milliseconds.
    pub(in crate::registry) max_age: Option<u64>,
    /// How old what it is told is at most, in milliseconds; nothing where it is told nothing that may be old.
    pub(in crate::registry) age: OnceLock<u64>,
    /// What a call of a tool waited for.
    pub(in crate::registry) shares: Option<Shares>,
    /// Its place among the requests in flight; absent where there was none, and once others may have it.
    pub(in crate::registry) permit: Option<OwnedSemaphorePermit>,
}

impl Handle<Completion> {
    /// Lets the engine decide a command for a task.
    pub(in crate::registry) async fn decide(
        &self,
        command: Command,
        deadline: MonoMillis,
    ) -> Result<Outcome, Error> {
        let (completion, outcome) = oneshot::channel();
        let submitted = Submitted {
            waiter: Some(Completion::Task(completion)),
            command,
            deadline,
        };
        let submitted = self.submit(vec![submitted]).await;
        submitted.map_err(|_| Error::unavailable(Done::None))?;
        outcome.await.map_err(|_| Error::unavailable(Done::Unknown))
    }
}

/// What a request asks the engine, and how the outcome becomes a reply.
pub(in crate::registry) struct Plan {
    pub(in crate::registry) action: Action,
    /// A revision that the caller has seen: nothing is decided by an instance that has not.
    pub(in crate::registry) min_revision: Option<u64>,
    pub(in crate::registry) reply: Reply,
}

/// Makes the body of a reply.
pub(in crate::registry) type Reply = Box<dyn FnOnce(Outcome, Now) -> Result<Bytes, Error> + Send>;

/// Who waits for an outcome.
pub(in crate::registry) enum Completion {
    /// A request on the bus.
    Reply(Box<InFlight>, Reply),
    /// A task of ours.
    Task(oneshot::Sender<Outcome>),
}
