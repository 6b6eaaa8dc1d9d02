//! Calls with a request id: in the log before anything is sent, and answered with one outcome however often, and
//! wherever, they are asked for.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use onex_core::{
    call::{BeginCall, CallOutcome, CallStatus, EndCall, Executed, Failure},
    command::{Action, Answer, Command, Refusal},
    execution::Call as Logged,
    record::{Request, Unknown},
};
use onex_types::ids::{ExecutionId, RequestId};
use tokio::time::timeout_at;

use crate::{
    protocol::{
        error::{BUSY_RETRY_MILLIS, Error, ErrorCode, Outcome},
        json::JsonText,
    },
    registry::refusal,
};

use super::{
    Caller, Invoke,
    attempts::Ready,
    call::Call,
    outcome::{self, Ran},
};

/// The part of a call's time that is left for the log: to say what is in it of the call, or to have its outcome there.
const END_PART: u32 = 10;
/// What is left for that at most.
const END_MAX: Duration = Duration::from_millis(500);
/// How long the end of a call is tried to be decided, in milliseconds; then the call's time ends it.
const END_MILLIS_MAX: u64 = 10_000;
/// How often whoever waits for a call looks whether it has ended, at most.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What came of beginning a call.
enum Begun {
    /// It is for this instance to execute it.
    Own,
    /// The same request has begun it before.
    Earlier(Arc<Logged>),
}

impl Invoke {
    /// Calls the tool, unless that was done for the same request before.
    pub(super) async fn call_once(
        &self,
        caller: &Caller,
        call: &mut Call,
        request_id: RequestId,
        ignored: Vec<String>,
    ) -> Result<Bytes, Error> {
        if let Some(earlier) = self.seen(call, request_id)? {
            return self
                .repeat(caller, call, request_id, earlier, ignored)
                .await;
        }
        let provider = self.before_end(caller);
        let first = match self.ready(&provider, call).await {
            Ok(first) => first,
            Err(error) => match self.find(caller, call, request_id).await? {
                Some(earlier) if !may_run_again(&earlier) => {
                    return self
                        .repeat(caller, call, request_id, earlier, ignored)
                        .await;
                }
                Some(earlier) => return Err(outcome::after(&earlier, error)),
                None => return Err(error),
            },
        };
        match self.begin_call(caller, call, &first, request_id).await? {
            Begun::Own => {
                let carried_out =
                    self.carry_out((caller, &provider), call, request_id, first, ignored);
                carried_out.await
            }
            Begun::Earlier(earlier) => {
                // Its place at the provider is not kept while it waits for another one's execution.
                drop(first);
                self.repeat(caller, call, request_id, earlier, ignored)
                    .await
            }
        }
    }

    /// The caller as long as it waits for a provider: after that something is left for the log.
    fn before_end(&self, caller: &Caller) -> Caller {
        let until = caller.asking.until;
        let whole = until.saturating_duration_since(tokio::time::Instant::now());
        caller.until(until - (whole / END_PART).min(END_MAX), self.clock)
    }

    /// What readers see of the same request; nothing where it may be executed.
    fn seen(&self, call: &Call, request_id: RequestId) -> Result<Option<Arc<Logged>>, Error> {
        let seen = self.read(|state| state.call(request_id).cloned())?;
        match seen {
            Some(seen) if seen.digest != call.digest => {
                let revision = self.handle.reads.revision();
                Err(Error::mismatch(request_id).at(revision))
            }
            seen => Ok(seen.filter(|seen| !may_run_again(seen))),
        }
    }

    /// What is in the log of the same request. Only behind this anybody says that nothing was executed: another instance
    /// may have begun the call, and this one not have seen that yet.
    async fn find(
        &self,
        caller: &Caller,
        call: &Call,
        request_id: RequestId,
    ) -> Result<Option<Arc<Logged>>, Error> {
        let question = Action::FindCall(Request {
            id: request_id,
            digest: call.digest,
        });
        let found = self.decide(caller.command(question), caller.deadline).await;
        let found = found?;
        match found.result {
            Ok(Answer::Call(found)) => Ok(Some(found)),
            Err(Refusal::CallNotFound) => Ok(None),
            Err(refused @ Refusal::IdempotencyMismatch(_)) => {
                Err(refusal::error_at(found.revision, refused))
            }
            _ => Err(Error::unavailable(Outcome::Unknown)),
        }
    }

    /// Begins the call, unless the same request has begun it before. After an error nothing may be sent to a provider.
    async fn begin_call(
        &self,
        caller: &Caller,
        call: &mut Call,
        first: &Ready,
        request_id: RequestId,
    ) -> Result<Begun, Error> {
        let begin = begin(call, first, request_id, caller);
        let command = caller.command(Action::BeginCall(Box::new(begin)));
        let execution_id = ExecutionId(command.id.0);
        let begun = self.decide(command, caller.deadline).await;
        match begun.map(|begun| (begun.result, begun.revision)) {
            Ok((Ok(Answer::Begun(_)), _)) => {
                call.execution_id = execution_id.0;
                Ok(Begun::Own)
            }
            Ok((Ok(Answer::Call(earlier)), _)) => Ok(Begun::Earlier(earlier)),
            Ok((Err(Refusal::Unavailable | Refusal::Unknown), _)) | Err(_) => {
                self.take_back(caller, request_id, execution_id);
                Err(Error::unavailable(Outcome::Unknown))
            }
            Ok((Err(refused), revision)) => Err(refusal::error_at(revision, refused)),
            Ok((Ok(_), _)) => Err(wrong()),
        }
    }

    /// The caller was told that nobody knows whether its call has begun. If it has, it is ended: nothing was sent, and the
    /// same call may be made again.
    fn take_back(&self, caller: &Caller, request_id: RequestId, execution_id: ExecutionId) {
        let end = EndCall {
            request_id,
            execution_id,
            by: None,
            attempts: 0,
            asked: Vec::new(),
            duration_ms: 0,
            outcome: CallOutcome::Failed(Box::new(Failure {
                code: ErrorCode::StoreUnavailable.as_str().to_owned(),
                message: "the call was begun too late; nothing was sent".to_owned(),
                retryable: true,
                executed: Executed::No,
                details: Unknown::new(),
            })),
        };
        let command = caller.command(Action::EndCall(Box::new(end)));
        let (handle, deadline) = (self.handle.clone(), self.end_deadline());
        tokio::spawn(async move {
            let _ = handle.decide(command, deadline).await;
        });
    }

    /// Answers what came of the same request before, or what comes of it.
    async fn repeat(
        &self,
        caller: &Caller,
        call: &Call,
        request_id: RequestId,
        earlier: Arc<Logged>,
        ignored: Vec<String>,
    ) -> Result<Bytes, Error> {
        let (known, outcome) = if let Some(outcome) = earlier.outcome().cloned() {
            (earlier, outcome)
        } else {
            let ended = timeout_at(caller.asking.until, self.ended(request_id, earlier));
            ended.await.map_err(|_| still_runs(request_id))??
        };
        let ran = Ran {
            execution: &known.run.execution,
            correlation_id: &call.correlation_id,
            duration_ms: None,
            attempts: None,
            revision: self.handle.reads.revision(),
        };
        let result = outcome::again(&known, &outcome)?;
        self.reply_of(&ran, result, ignored)
    }

    /// Waits until that execution of a call has ended; the call as it was seen last, and what came of it.
    async fn ended(
        &self,
        request_id: RequestId,
        mut call: Arc<Logged>,
    ) -> Result<(Arc<Logged>, CallOutcome), Error> {
        let execution_id = call.run.execution.execution_id;
        let mut changes = self.handle.reads.changes();
        loop {
            changes.borrow_and_update();
            let (seen, status) = self.read(|state| {
                let status = state.call_status(request_id, execution_id);
                (state.call(request_id).cloned(), status)
            })?;
            let same = |seen: &Arc<Logged>| seen.run.execution.execution_id == execution_id;
            call = seen.filter(same).unwrap_or(call);
            if let CallStatus::Ended(outcome) = status {
                return Ok((call, outcome));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
            // The sender lives as long as this.
            let _ = changes.changed().await;
        }
    }

    /// It is for this instance to execute the call, and to have what came of it in the log before that is said.
    async fn carry_out(
        &self,
        (caller, provider): (&Caller, &Caller),
        call: &mut Call,
        request_id: RequestId,
        first: Ready,
        ignored: Vec<String>,
    ) -> Result<Bytes, Error> {
        let (first_asked, idempotent) = (first.chosen.provider(), first.contract.idempotent);
        let (chosen, ended) = self.attempts(provider, call, first).await;
        let mut kept: Option<JsonText> = None;
        let answer = ended.and_then(|result| {
            kept = Some(result.clone());
            self.answer_call(call, &chosen, result, ignored)
        });
        let answer = answer.map_err(|error| call.with_attempts(error));
        let outcome = match &answer {
            Ok(_) => outcome::completed(kept.as_ref()),
            Err(error) => outcome::failed(error),
        };
        let end = EndCall {
            request_id,
            execution_id: ExecutionId(call.execution_id),
            by: Some(chosen.provider()).filter(|provider| *provider != first_asked),
            attempts: call.attempts,
            asked: call.asked.clone(),
            duration_ms: call.millis(),
            outcome,
        };
        let command = caller.command(Action::EndCall(Box::new(end)));
        match self.end_call(caller, command).await? {
            // Its time was up before, and others were told so.
            CallOutcome::Unknown => Err(call.at(&chosen).unknown(idempotent)),
            logged => answer.map_err(|error| outcome::as_logged(&logged, error)),
        }
    }

    /// Ends an execution of this instance; the outcome that counts. It is ended though the caller waits no longer.
    async fn end_call(&self, caller: &Caller, command: Command) -> Result<CallOutcome, Error> {
        let (handle, deadline) = (self.handle.clone(), self.end_deadline());
        let ended = tokio::spawn(async move { handle.decide(command, deadline).await });
        let unknown = || Error::unavailable(Outcome::Unknown);
        let ended = timeout_at(caller.asking.until, ended).await;
        let ended = ended.map_err(|_| unknown())?.map_err(|_| unknown())??;
        match ended.result {
            Ok(Answer::ExecutionEnded { outcome, .. }) => Ok(outcome),
            Ok(_) => Err(wrong()),
            Err(refused) => Err(refusal::error_at(ended.revision, refused)),
        }
    }

    fn end_deadline(&self) -> onex_types::time::MonoMillis {
        self.clock.now().mono.plus(END_MILLIS_MAX)
    }
}

/// Whether the call may be executed again, as far as its record says: the contract of who is asked next may promise less.
fn may_run_again(call: &Logged) -> bool {
    let outcome = call.outcome();
    outcome.is_some_and(|outcome| outcome.may_run_again(call.idempotent))
}

fn still_runs(request_id: RequestId) -> Error {
    let message = format!(
        "the call with the request_id {request_id} is still under way: ask again for its outcome"
    );
    Error::new(ErrorCode::Busy, message).after(BUSY_RETRY_MILLIS)
}

fn wrong() -> Error {
    Error::new(
        ErrorCode::Internal,
        "a command about a call was answered with something else",
    )
}

fn begin(call: &Call, first: &Ready, request_id: RequestId, caller: &Caller) -> BeginCall {
    let chosen = &first.chosen;
    BeginCall {
        request_id,
        digest: call.digest,
        tool_name: chosen.tool_name.clone(),
        tool_version: chosen.tool_version.clone(),
        contract_hash: chosen.contract_hash.clone(),
        node_id: chosen.node_id.clone(),
        idempotent: first.contract.idempotent,
        requester_id: call.request.requester_id,
        trace_log_id: Some(call.trace_log_id()),
        timeout_ms: caller.left(),
    }
}
