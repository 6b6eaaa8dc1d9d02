//! Calls and executions: begun once, ended once, counted once.
//!
//! A call with a request id is in the log before anything is sent, and its outcome is in the log before anybody is told
//! of it. So whoever asks again, at whichever instance, is answered from the log, and nobody says "not executed" of what
//! another instance has sent.

use std::sync::Arc;

use onex_types::ids::{ExecutionId, NodeId, RequestId};

use crate::{
    call::{
        BeginCall, CallEnded, CallOutcome, EndCall, Execution, ExecutionEnd, ExecutionStatus,
        times_run,
    },
    command::{Answer, Command, EndRun, Refusal, bounds},
    entry::{Change, EventKind, EventRecord},
    execution::{Call, RUNS_MAX, Run},
    key::Key,
    mechanism::Mechanism,
    record::Record,
    record_parts::{Request, Unknown},
    txn::Txn,
};

use super::decided::Decided;

/// Begins a call that this request has not begun before, or that may be executed again. Any other is answered as it is.
pub(super) fn begin(
    txn: &mut Txn<'_>,
    command: &Command,
    begin: &BeginCall,
) -> Result<Decided, Refusal> {
    let remembers = txn.state.mechanisms.on(Mechanism::Idempotency);
    let before = txn.state.call(begin.request_id).filter(|_| remembers);
    let before = before.cloned();
    if let Some(call) = &before {
        if call.digest != begin.digest {
            return Err(Refusal::IdempotencyMismatch(begin.request_id));
        }
        // Another provider may be asked this time, whose contract promises less.
        let idempotent = call.idempotent && begin.idempotent;
        let again = |outcome: &CallOutcome| outcome.may_run_again(idempotent);
        if !call.outcome().is_some_and(again) {
            return Ok(Decided::answer(Answer::Call(Arc::clone(call))));
        }
    }
    check_room(txn, begin.request_id)?;
    let call = Arc::new(begun(txn, command, begin, before.as_deref()));
    let change = Change::Put {
        key: Key::Call(begin.request_id),
        record: Record::Call(Arc::clone(&call)),
        tentative: false,
        event: Some(EventRecord::new(EventKind::ToolInvoked)),
    };
    txn.change("tool.invoke", command, begin.requester_id, vec![change]);
    Ok(Decided::answer(Answer::Begun(call)))
}

/// The call that this request has begun.
pub(super) fn find(txn: &Txn<'_>, request: Request) -> Result<Decided, Refusal> {
    let call = txn.state.call(request.id).ok_or(Refusal::CallNotFound)?;
    if call.digest != request.digest {
        return Err(Refusal::IdempotencyMismatch(request.id));
    }
    Ok(Decided::answer(Answer::Call(Arc::clone(call))))
}

/// Whether one more call can be remembered.
fn check_room(txn: &Txn<'_>, id: RequestId) -> Result<(), Refusal> {
    let limit = txn.state.settings().map(|settings| settings.calls_max);
    let full = limit.is_some_and(|limit| txn.state.indexes.calls() >= limit);
    if full && txn.state.call(id).is_none() {
        return Err(Refusal::CallsFull);
    }
    Ok(())
}

fn begun(txn: &Txn<'_>, command: &Command, begin: &BeginCall, before: Option<&Call>) -> Call {
    // "Not executed" is an end after which nothing can have been executed, unless something was before.
    let executed_before = before.is_some_and(|call| {
        let executed = call.outcome().map(CallOutcome::executed);
        call.executed_before || executed.is_some_and(|executed| times_run(executed) > 0)
    });
    Call {
        digest: begin.digest,
        idempotent: begin.idempotent,
        run: Run {
            execution: Execution {
                execution_id: ExecutionId(command.id.0),
                tool_name: begin.tool_name.clone(),
                tool_version: begin.tool_version.clone(),
                contract_hash: begin.contract_hash.clone(),
                node_id: begin.node_id.clone(),
                trace_log_id: begin.trace_log_id.clone(),
            },
            timeout_ms: begin.timeout_ms,
            requester_id: begin.requester_id,
            correlation_id: command.correlation_id.clone(),
            began_at: txn.now.wall,
            unknown: Unknown::new(),
        },
        executed_before,
        ended: None,
        kept_ms: 0,
        unknown: before.map(|call| call.unknown.clone()).unwrap_or_default(),
    }
}

/// Ends an execution that is under way. An outcome that is in the log stays, and is the answer.
pub(super) fn end(txn: &mut Txn<'_>, command: &Command, end: &EndCall) -> Decided {
    let answer = |outcome| {
        Decided::answer(Answer::ExecutionEnded {
            execution_id: end.execution_id,
            outcome,
        })
    };
    let call = txn.state.call(end.request_id).cloned();
    let same = |call: &Arc<Call>| call.run.execution.execution_id == end.execution_id;
    let Some(call) = call.filter(same) else {
        // Its time was up: another execution has followed it, or it is forgotten.
        return answer(CallOutcome::Unknown);
    };
    if let Some(outcome) = call.outcome()
        && txn.state.mechanisms.on(Mechanism::OutcomeStays)
    {
        return answer(outcome.clone());
    }
    let mut outcome = end.outcome.clone().bounded();
    if call.executed_before && txn.state.mechanisms.on(Mechanism::ExecutedBefore) {
        outcome = outcome.after_unknown();
    }
    let report = ExecutionEnd {
        duration_ms: Some(end.duration_ms),
        attempts: Some(end.attempts),
        asked: end.asked.clone(),
        ..ExecutionEnd::of(&outcome)
    };
    let mut call = Call::clone(&call);
    call.run.execution = call.run.execution.at(end.by.as_ref());
    finish(
        txn,
        "tool.invoke",
        command,
        end.request_id,
        call,
        outcome.clone(),
        report,
    );
    answer(outcome)
}

/// Writes the end of a call's execution, and counts it.
fn finish(
    txn: &mut Txn<'_>,
    name: &str,
    command: &Command,
    id: RequestId,
    mut call: Call,
    outcome: CallOutcome,
    end: ExecutionEnd,
) {
    let requester_id = call.run.requester_id;
    let counted = count(txn, &call.run.execution.node_id, &end);
    let kind = kind(&end);
    call.ended = Some(CallEnded {
        at: txn.now.wall,
        outcome,
    });
    call.kept_ms = txn
        .state
        .settings()
        .map_or(0, |settings| settings.calls_kept_ms);
    let put = Change::Put {
        key: Key::Call(id),
        record: call.into(),
        tentative: false,
        event: Some(EventRecord {
            end: Some(Arc::new(end)),
            ..EventRecord::new(kind)
        }),
    };
    let changes = std::iter::once(put).chain(counted).collect();
    txn.change(name, command, requester_id, changes);
}

/// An execution without a request id has begun: it is in the log from here until its end.
pub(super) fn begin_run(
    txn: &mut Txn<'_>,
    command: &Command,
    run: &Arc<Run>,
) -> Result<Decided, Refusal> {
    let id = run.execution.execution_id;
    if txn.state.run(id).is_some() {
        return Ok(Decided::answer(Answer::Done));
    }
    let limit = txn
        .state
        .settings()
        .map_or(RUNS_MAX, |settings| settings.runs_max);
    if txn.state.indexes.runs() >= limit {
        return Err(Refusal::LimitExceeded {
            what: bounds::EXECUTIONS,
            limit,
        });
    }
    let change = Change::Put {
        key: Key::Run(id),
        record: Record::Run(Arc::clone(run)),
        tentative: false,
        event: Some(EventRecord::new(EventKind::ToolInvoked)),
    };
    txn.change("tool.invoke", command, run.requester_id, vec![change]);
    Ok(Decided::answer(Answer::Done))
}

/// Ends an execution that is under way. One whose begin was refused, or that has ended because its time was up, is not
/// ended here: every begin in the log has one end, and there is no other end.
pub(super) fn end_run(txn: &mut Txn<'_>, command: &Command, end: &EndRun) -> Decided {
    if let Some(run) = txn.state.run(end.execution_id).cloned() {
        finish_run(txn, "run", command, &run, end);
    }
    Decided::answer(Answer::Done)
}

fn finish_run(txn: &mut Txn<'_>, name: &str, command: &Command, run: &Arc<Run>, end: &EndRun) {
    let run = match &end.by {
        None => Arc::clone(run),
        Some(by) => {
            let mut run = Run::clone(run);
            run.execution = run.execution.at(Some(by));
            Arc::new(run)
        }
    };
    let requester_id = run.requester_id;
    let counted = count(txn, &run.execution.node_id, &end.end);
    let ended = ended(txn, end, run);
    let changes = std::iter::once(ended).chain(counted).collect();
    txn.change(name, command, requester_id, changes);
}

/// The change that ends an execution, with what is reported of it.
fn ended(txn: &Txn<'_>, end: &EndRun, run: Arc<Run>) -> Change {
    let key = Key::Run(end.execution_id);
    let event = EventRecord {
        run: Some(Arc::clone(&run)),
        end: Some(Arc::new(end.end.clone())),
        ..EventRecord::new(kind(&end.end))
    };
    if txn.state.mechanisms.on(Mechanism::OneEnd) {
        let event = Some(event);
        return Change::Delete { key, event };
    }
    Change::Put {
        key,
        record: Record::Run(run),
        tentative: false,
        event: Some(event),
    }
}

/// The change that counts an execution; none for one that certainly was not executed, or of a node that is not known:
/// counts are kept as long as their node is.
fn count(txn: &Txn<'_>, node_id: &NodeId, end: &ExecutionEnd) -> Option<Change> {
    let known = txn.state.live(node_id).is_some();
    let runs = times_run(end.executed);
    let completed = end.how == ExecutionStatus::Completed;
    (known && runs > 0).then(|| Change::Add {
        key: Key::Exec(node_id.clone()),
        runs,
        ok: u64::from(completed),
    })
}

fn kind(end: &ExecutionEnd) -> EventKind {
    match end.how {
        ExecutionStatus::Completed => EventKind::ToolCompleted,
        ExecutionStatus::Failed | ExecutionStatus::Unknown => EventKind::ToolFailed,
    }
}

/// The time of a call or execution is up by this instance's clock: what has not ended has an unknown outcome from now
/// on, and what ended long ago is forgotten. Whoever reported an end first has won.
pub(super) fn expire(txn: &mut Txn<'_>, command: &Command, key: &Key) -> Decided {
    let slot = txn.state.slot(key);
    let due = slot.and_then(|slot| txn.state.due_at(slot));
    let record = slot
        .filter(|_| due.is_some_and(|due| due <= txn.now.mono))
        .map(|slot| slot.record.clone());
    let end = ExecutionEnd::of(&CallOutcome::Unknown);
    match (key, record) {
        (Key::Call(_), Some(Record::Call(call))) if call.ended.is_some() => {
            let change = Change::Delete {
                key: key.clone(),
                event: None,
            };
            txn.change("call.forget", command, None, vec![change]);
        }
        (Key::Call(id), Some(Record::Call(call))) => {
            let call = Call::clone(&call);
            finish(
                txn,
                "call.expire",
                command,
                *id,
                call,
                CallOutcome::Unknown,
                end,
            );
        }
        (Key::Run(id), Some(Record::Run(run))) => {
            let end = EndRun {
                execution_id: *id,
                by: None,
                end,
            };
            finish_run(txn, "run.expire", command, &run, &end);
        }
        _ => {}
    }
    Decided::answer(Answer::Done)
}
