//! Checks of what nodes announce, away from the threads that serve requests: a contract that means no
//! good takes long to check, and must not hold others up.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::protocol::{
    contract::ToolRules,
    error::{BUSY_RETRY_MILLIS, Error, ErrorCode},
    names::Namespace,
    subject::ToolSubjects,
};

use super::requests::Caller;

/// The part of the machine's processors that checks may take.
const PROCESSORS_PART: usize = 2;

/// Who checks, and by which rules.
pub(super) struct Contracts {
    rules: Arc<(Namespace, ToolSubjects)>,
    turns: Arc<Semaphore>,
}

impl Contracts {
    pub(super) fn new(namespace: Namespace, subjects: ToolSubjects) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            rules: Arc::new((namespace, subjects)),
            turns: Arc::new(Semaphore::new((processors / PROCESSORS_PART).max(1))),
        }
    }

    /// Does `check` when it is its turn. BUSY if that takes longer than the caller waits; nothing was
    /// done then.
    pub(super) async fn check<R: Send + 'static>(
        &self,
        caller: &Caller,
        check: impl FnOnce(ToolRules<'_>) -> Result<R, Error> + Send + 'static,
    ) -> Result<R, Error> {
        let (rules, turns) = (Arc::clone(&self.rules), Arc::clone(&self.turns));
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
        match tokio::time::timeout_at(caller.until, checked).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::new(
                ErrorCode::Internal,
                "a contract could not be checked",
            )),
            Err(_) => {
                let message = "the contracts could not be checked in time; nothing was done";
                let mut busy = Error::new(ErrorCode::Busy, message);
                busy.retry_after_ms = Some(BUSY_RETRY_MILLIS);
                Err(busy)
            }
        }
    }
}
