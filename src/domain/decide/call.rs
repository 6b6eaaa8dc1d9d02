//! Calls that their callers named: begun before anything is sent, and ended once.

use crate::domain::{
    call::{Begin, By, Call, CallEnded, Called, End, Execution, Outcome},
    command::{Answer, Decision, Effect, Refusal},
    ids::{ExecutionId, RequestId},
    key::Key,
    mechanism::Mechanism,
    standing::Entry,
    transition::{EndTold, ExecutionTold, Happened, How, Transition},
};

use super::Case;

impl Case<'_> {
    /// This command's execution.
    fn execution_id(&self) -> ExecutionId {
        ExecutionId(self.command.id.0)
    }

    /// Begins a call that nobody has made before; of any other it says how it stands. The answer without an
    /// outcome and with this command's own execution lets the caller go on, once.
    pub(super) fn begin_call(&self, begin: &Begin) -> Result<Decision, Refusal> {
        let key = Key::Call(begin.request_id);
        self.check_reserved(&key)?;
        let entry = self.index.calls.entry(begin.request_id);
        if let Some(entry) = entry.filter(|entry| !entry.forgotten) {
            let Some(call) = entry.body().map(|called| &called.call) else {
                // Somebody else wrote over it: what became of it is not known.
                return Ok(self.answer(self.execution_id(), Some(Outcome::Unknown)));
            };
            if call.digest != begin.digest {
                return Err(Refusal::IdempotencyMismatch(begin.request_id));
            }
            let again = |outcome: &Outcome| outcome.may_run_again(call.idempotent);
            if !call.outcome().is_some_and(again) {
                return Ok(self.standing(call));
            }
            self.check_room(Some(entry))?;
        } else {
            self.check_calls(begin.request_id)?;
        }
        let call = Call {
            digest: begin.digest,
            execution: Execution {
                execution_id: self.execution_id(),
                tool_name: begin.tool_name.clone(),
                tool_version: begin.tool_version.clone(),
                contract_hash: begin.contract_hash.clone(),
                node_id: begin.node_id.clone(),
                trace_log_id: begin.trace_log_id.clone(),
            },
            timeout_ms: begin.timeout_ms,
            idempotent: begin.idempotent,
            requester_id: begin.requester_id,
            correlation_id: self.command.correlation_id.clone(),
            began_at: self.now.wall,
            ended: None,
            unknown: entry
                .and_then(|entry| Some(entry.body()?.call.unknown.clone()))
                .unwrap_or_default(),
        };
        let happened = self.told(Happened::CallBegan, &call, None);
        Ok(Decision::Commit {
            writes: vec![self.write(key, entry, Called { call }, Some(happened))],
            answer: Answer::Execution {
                execution_id: self.execution_id(),
                own: true,
                outcome: None,
            },
            then: Effect::Reply,
        })
    }

    fn check_calls(&self, request_id: RequestId) -> Result<(), Refusal> {
        let calls = &self.index.calls;
        let known = |id: RequestId| calls.entry(id).is_some_and(|entry| !entry.forgotten);
        let coming = self.reserved.calls().filter(|id| !known(*id)).count();
        debug_assert!(!known(request_id), "asked only about a new one");
        if calls.known() + coming >= self.index.policy.calls_max {
            return Err(Refusal::CallsFull);
        }
        Ok(())
    }

    /// Ends an execution that runs. An outcome that is there stays, and is the answer.
    pub(super) fn end_call(&self, end: &End) -> Result<Decision, Refusal> {
        let key = Key::Call(end.request_id);
        self.check_reserved(&key)?;
        let entry = self.index.calls.entry(end.request_id);
        let running = entry.and_then(|entry| Some((entry, &entry.body()?.call)));
        let is_it = |call: &Call| call.execution.execution_id == end.execution_id;
        let Some((entry, call)) = running.filter(|(_, call)| is_it(call)) else {
            // It was ended as unknown: another execution has followed it, or it is forgotten.
            return Ok(self.answer(end.execution_id, Some(Outcome::Unknown)));
        };
        if call.ended.is_some() && self.index.mechanisms.on(Mechanism::OutcomeStays) {
            return Ok(self.standing(call));
        }
        let told = EndTold {
            duration_ms: Some(end.duration_ms),
            attempts: Some(end.attempts),
            asked: end.asked.clone(),
            ..EndTold::of(&end.outcome)
        };
        Ok(self.end_execution(key, entry, call, end.by.as_ref(), &end.outcome, told))
    }

    /// Its time is up, and whoever ran it has not said what came of it.
    pub(super) fn give_call_up(&self, key: &Key, entry: &Entry<Called>, call: &Call) -> Decision {
        let outcome = Outcome::Unknown;
        let told = EndTold::of(&outcome);
        self.end_execution(key.clone(), entry, call, None, &outcome, told)
    }

    fn end_execution(
        &self,
        key: Key,
        entry: &Entry<Called>,
        call: &Call,
        by: Option<&By>,
        outcome: &Outcome,
        told: EndTold,
    ) -> Decision {
        let mut call = call.clone();
        if let Some(by) = by {
            call.execution.node_id = by.node_id.clone();
            call.execution.tool_version = by.tool_version.clone();
            call.execution.contract_hash.clone_from(&by.contract_hash);
        }
        call.ended = Some(CallEnded {
            at: self.now.wall,
            outcome: outcome.clone(),
        });
        let event = match told.how {
            How::Completed => Happened::CallCompleted,
            How::Failed | How::Unknown => Happened::CallFailed,
        };
        let happened = Transition {
            // Whoever ends it, it was the caller's request.
            correlation_id: call.correlation_id.clone(),
            ..self.told(event, &call, Some(told))
        };
        let answer = Answer::Execution {
            execution_id: call.execution.execution_id,
            own: false,
            outcome: Some(outcome.clone()),
        };
        Decision::Commit {
            writes: vec![self.write(key, Some(entry), Called { call }, Some(happened))],
            answer,
            then: Effect::Reply,
        }
    }

    fn told(&self, event: Happened, call: &Call, ended: Option<EndTold>) -> Transition {
        Transition {
            execution: Some(Box::new(ExecutionTold {
                execution: call.execution.clone(),
                timeout_ms: call.timeout_ms,
                ended,
            })),
            ..self.happened(event, call.requester_id)
        }
    }

    /// How a call stands.
    fn standing(&self, call: &Call) -> Decision {
        self.answer(call.execution.execution_id, call.outcome().cloned())
    }

    fn answer(&self, execution_id: ExecutionId, outcome: Option<Outcome>) -> Decision {
        Decision::Answer(Answer::Execution {
            execution_id,
            own: execution_id == self.execution_id(),
            outcome,
        })
    }
}
