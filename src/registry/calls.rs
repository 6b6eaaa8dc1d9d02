//! Calls that their callers named: begun by a write before anything is sent, ended by one before the caller is told.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    domain::{
        call::{Begin, Call, End, Executed, Failure, Outcome},
        calls::Course,
        command::{Action, Answer, Command},
        ids::{CommandId, ExecutionId, RequestId},
        key::Key,
        record::Unknown,
    },
    protocol::error::{Error, ErrorCode},
};

use super::{
    commit::{Commit, Known, Ticket},
    mirror::Mirror,
    requests::{Caller, told},
};

/// How long the end of a call is tried to be written, in milliseconds; then it is left to the reaper.
const END_MILLIS_MAX: u64 = 10_000;

/// How it stands with a call that was to begin.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Begun {
    /// It is this one that is to be carried out, under this name; nobody else will, and this is said once.
    Go(ExecutionId),
    /// The same call runs already: [`Mirror::call_outcome`].
    Running(ExecutionId),
    /// The same call has ended.
    Over(Outcome),
}

impl Commit {
    /// Begins a call, unless it was begun before. Refuses with `IDEMPOTENCY_MISMATCH` what came with other
    /// parameters, with `BUSY` what is one too many, and with `STORE_UNAVAILABLE` what could not be written by the
    /// caller's deadline; then nothing may be sent to a provider.
    pub(super) async fn begin_call(
        self: &Arc<Self>,
        caller: &Caller,
        begin: Begin,
    ) -> Result<Begun, Error> {
        let request_id = begin.request_id;
        let action = Action::BeginCall(Box::new(begin));
        let command = caller.command(action);
        let mut ticket = Commit::begin(
            self,
            command,
            caller.deadline,
            Some(Arc::clone(&caller.place)),
        );
        let known = ticket.known(caller.until).await;
        if !matches!(known, Known::Done(_)) {
            self.take_back(caller, ticket, request_id);
        }
        match told(known)? {
            Answer::Execution {
                outcome: Some(outcome),
                ..
            } => Ok(Begun::Over(outcome)),
            Answer::Execution {
                execution_id,
                own: true,
                ..
            } => Ok(Begun::Go(execution_id)),
            Answer::Execution { execution_id, .. } => Ok(Begun::Running(execution_id)),
            _ => Err(wrong()),
        }
    }

    /// Ends an execution that this instance was told to carry out. The answer is the outcome that counts: another
    /// one may have been written before, when the call's time was up. The end is written though the caller waits no
    /// longer: then the error is `STORE_UNAVAILABLE`.
    pub(super) async fn end_call(
        self: &Arc<Self>,
        caller: &Caller,
        end: End,
    ) -> Result<Outcome, Error> {
        let outcome = end.outcome.clone().bounded();
        let action = Action::EndCall(Box::new(End { outcome, ..end }));
        let command = caller.command(action);
        let deadline = self.clock.now().mono.plus(END_MILLIS_MAX);
        let permit = Some(Arc::clone(&caller.place));
        let ticket = Commit::begin(self, command, deadline, permit);
        let known = match ticket.outcome(caller.until).await {
            // It goes on being tried.
            Known::Nothing => Known::Unsettled,
            known => known,
        };
        match told(known)? {
            Answer::Execution {
                outcome: Some(outcome),
                ..
            } => Ok(outcome),
            _ => Err(wrong()),
        }
    }

    /// The caller was told that its call did not begin, or that nobody knows. If it turns out that it did, it is
    /// ended: nothing was sent, and the same call may be made again.
    fn take_back(self: &Arc<Self>, caller: &Caller, mut ticket: Ticket, request_id: RequestId) {
        let (this, caller) = (Arc::clone(self), caller.clone());
        tokio::spawn(async move {
            let until = Instant::now() + Duration::from_millis(END_MILLIS_MAX);
            let Known::Done(Ok(Answer::Execution {
                execution_id,
                own: true,
                outcome: None,
            })) = ticket.known(until).await
            else {
                return;
            };
            let end = End {
                request_id,
                execution_id,
                by: None,
                attempts: 0,
                asked: Vec::new(),
                duration_ms: 0,
                outcome: Outcome::Failed(Box::new(Failure {
                    code: ErrorCode::StoreUnavailable.as_str().to_owned(),
                    message: "the call was written down too late; nothing was sent".to_owned(),
                    retryable: true,
                    executed: Executed::No,
                    details: Unknown::new(),
                })),
            };
            let until = Instant::now() + Duration::from_millis(END_MILLIS_MAX);
            let _ = this.end_call(&Caller { until, ..caller }, end).await;
        });
    }
}

impl Mirror {
    /// Waits until an execution that was seen running has ended, until `until` at the latest: none then. With
    /// [`Outcome::Unknown`] of an idempotent tool the call may be begun again, and somebody else may have done so. And the
    /// call as it was seen last, if it was at all: it may have been overwritten since.
    pub(super) async fn call_outcome(
        &self,
        request_id: RequestId,
        execution_id: ExecutionId,
        until: Instant,
    ) -> Option<(Option<Call>, Outcome)> {
        let ended = async {
            let mut seen = None;
            loop {
                let (course, revision) = self.with(|core| {
                    let calls = &core.index.calls;
                    seen = calls.call(request_id).cloned().or_else(|| seen.take());
                    let entry = calls.entry(request_id);
                    let revision = entry.map(|entry| entry.revision).unwrap_or_default();
                    (calls.course(request_id, execution_id), revision)
                });
                match course {
                    Course::Ended(outcome) => return (seen, outcome),
                    Course::Running => self.moved(&[(Key::Call(request_id), revision)]).await,
                }
            }
        };
        tokio::time::timeout_at(until, ended).await.ok()
    }
}

impl Caller {
    fn command(&self, action: Action) -> Command {
        Command {
            id: CommandId(Uuid::now_v7()),
            correlation_id: Some(self.correlation_id.clone()),
            confirmed: false,
            action,
        }
    }
}

fn wrong() -> Error {
    Error::new(
        ErrorCode::Internal,
        "a call was answered as something else would be",
    )
}
