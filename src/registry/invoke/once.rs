//! Calls with a request id: written down before anything is sent, and answered with one outcome however often, and
//! wherever, they are asked for.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    domain::{
        call::{self, Begin, End, Outcome},
        ids::{ExecutionId, RequestId},
    },
    protocol::error::{BUSY_RETRY_MILLIS, Error, ErrorCode},
};

use super::{
    super::{calls::Begun, requests::Caller, serve::Server},
    attempts::Ready,
    call::{Call, left},
    outcome::{self, Ran},
};

/// The part of a call's time that is left for writing its outcome down.
const END_PART: u32 = 10;
/// What is left for that at most.
const END_MAX: Duration = Duration::from_millis(500);

/// How it stands with a request that came before.
enum Earlier {
    /// It runs, or may be made again.
    Running(ExecutionId),
    Over(Box<call::Call>, Outcome),
}

impl Server {
    /// Calls the tool, unless that was done for the same request before.
    pub(super) async fn call_once(
        &self,
        caller: &Caller,
        call: &mut Call,
        request_id: RequestId,
        ignored: Vec<String>,
    ) -> Result<Bytes, Error> {
        loop {
            if let Some(earlier) = self.earlier(call, request_id)? {
                return self
                    .repeat(caller, call, request_id, earlier, ignored)
                    .await;
            }
            let first = match self.ready(caller, call).await {
                Ok(first) => first,
                // By now the index knows all that was acknowledged before, the same request's end included.
                Err(error) => match self.earlier(call, request_id)? {
                    Some(_) => continue,
                    None => return Err(error),
                },
            };
            let begin = begin(call, &first, request_id, caller);
            let begun = self.commit.begin_call(caller, begin).await;
            // Nobody else writes there: the same call is about to begin.
            let in_the_way = |error: Error| match error.code {
                ErrorCode::Contended => still_runs(request_id),
                _ => error,
            };
            match begun.map_err(in_the_way)? {
                Begun::Go(execution_id) => {
                    call.execution_id = execution_id.0;
                    return self
                        .carry_out(caller, call, request_id, first, ignored)
                        .await;
                }
                // The index shows it as it was written, or will before long.
                Begun::Running(execution_id) => {
                    drop(first);
                    let earlier = Earlier::Running(execution_id);
                    return self
                        .repeat(caller, call, request_id, earlier, ignored)
                        .await;
                }
                // The index shows it, unless somebody else wrote over it: then nobody knows.
                Begun::Over(_) => {
                    if self.earlier(call, request_id)?.is_none() {
                        return Err(call.at(&first.chosen).unknown(first.contract.idempotent));
                    }
                }
            }
        }
    }

    /// What is known of the same request; nothing, where it may be made.
    fn earlier(&self, call: &Call, request_id: RequestId) -> Result<Option<Earlier>, Error> {
        self.commit.mirror.with(|core| {
            let Some(known) = core.index.calls.call(request_id) else {
                return Ok(None);
            };
            if known.digest != call.digest {
                return Err(Error::mismatch(request_id));
            }
            Ok(match known.outcome() {
                None => Some(Earlier::Running(known.execution.execution_id)),
                Some(outcome) if outcome.may_run_again(known.idempotent) => None,
                Some(outcome) => Some(Earlier::Over(Box::new(known.clone()), outcome.clone())),
            })
        })
    }

    /// Answers what came of the same request before, or what comes of it.
    async fn repeat(
        &self,
        caller: &Caller,
        call: &Call,
        request_id: RequestId,
        earlier: Earlier,
        ignored: Vec<String>,
    ) -> Result<Bytes, Error> {
        let (known, outcome) = match earlier {
            Earlier::Over(known, outcome) => (known, outcome),
            Earlier::Running(execution_id) => {
                let ended = self
                    .commit
                    .mirror
                    .call_outcome(request_id, execution_id, caller.until);
                let (known, outcome) = ended.await.ok_or_else(|| still_runs(request_id))?;
                (
                    Box::new(known.ok_or_else(|| still_runs(request_id))?),
                    outcome,
                )
            }
        };
        let revision = self
            .commit
            .mirror
            .with(|core| core.index.applied().wire(core.index.lineage()));
        let ran = Ran {
            execution: &known.execution,
            correlation_id: &call.correlation_id,
            duration_ms: None,
            attempts: None,
            revision,
        };
        let result = outcome::again(&known, &outcome)?;
        self.reply_of(&ran, result, ignored)
    }

    /// It is for this instance to carry the call out, and to write down what came of it before that is said.
    async fn carry_out(
        &self,
        caller: &Caller,
        call: &mut Call,
        request_id: RequestId,
        first: Ready,
        ignored: Vec<String>,
    ) -> Result<Bytes, Error> {
        let whole = caller
            .until
            .saturating_duration_since(tokio::time::Instant::now());
        let provider = Caller {
            until: caller.until - (whole / END_PART).min(END_MAX),
            ..caller.clone()
        };
        let (begun_by, idempotent) = (first.chosen.by(), first.contract.idempotent);
        let (chosen, ended) = self.attempts(&provider, call, first).await;
        let mut kept = None;
        let answer = ended.and_then(|result| {
            kept = Some(result.clone());
            self.answer_call(call, &chosen, result, ignored.clone())
        });
        let answer = answer.map_err(|error| call.with_asked(error));
        let outcome = match &answer {
            Ok(_) => outcome::completed(kept.as_ref()),
            Err(error) => outcome::failed(error),
        };
        let end = End {
            request_id,
            execution_id: ExecutionId(call.execution_id),
            by: Some(chosen.by()).filter(|by| *by != begun_by),
            attempts: call.attempts,
            asked: call.asked.clone(),
            duration_ms: call.millis(),
            outcome,
        };
        let written = self.commit.end_call(caller, end).await?;
        if written == Outcome::Unknown {
            // Its time was up before it could be written, and others were told so.
            return Err(call.at(&chosen).unknown(idempotent));
        }
        answer
    }
}

fn still_runs(request_id: RequestId) -> Error {
    let message = format!(
        "the call with the request_id {request_id} is still under way: ask again for its outcome"
    );
    Error::new(ErrorCode::Busy, message).after(BUSY_RETRY_MILLIS)
}

fn begin(call: &Call, first: &Ready, request_id: RequestId, caller: &Caller) -> Begin {
    let chosen = &first.chosen;
    Begin {
        request_id,
        digest: call.digest,
        tool_name: chosen.tool_name.clone(),
        tool_version: chosen.tool_version.clone(),
        contract_hash: chosen.contract_hash.clone(),
        node_id: chosen.node_id.clone(),
        idempotent: first.contract.idempotent,
        requester_id: call.request.requester_id,
        trace_log_id: Some(call.trace_log_id()),
        timeout_ms: left(caller),
    }
}
