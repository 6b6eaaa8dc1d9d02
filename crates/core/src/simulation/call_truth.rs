//! What the log says of executions, what providers executed, and what callers were told: each is held against the others.

use std::collections::{BTreeMap, BTreeSet};

use onex_types::ids::{ExecutionId, NodeId, RequestId};

use crate::{
    call::{CallOutcome, Completed, Executed, ExecutionStatus},
    entry::{Change, Reported},
    key::Key,
    record::Record,
    state::State,
};

/// What the log says of executions.
#[derive(Default)]
pub(super) struct LogTruth {
    /// In their order.
    begun: BTreeMap<ExecutionId, usize>,
    ended: BTreeSet<ExecutionId>,
    /// Of each node: executions that count, and those that were answered with a result.
    counted: BTreeMap<NodeId, (u64, u64)>,
}

impl LogTruth {
    /// A change of the log, before it is applied to `state`.
    pub(super) fn note(&mut self, state: &State, change: &Change, wrong: &mut Vec<String>) {
        if let Change::Put {
            key: Key::Call(id),
            record: Record::Call(call),
            event,
            ..
        } = change
        {
            let same = state.call(*id).filter(|before| before.run == call.run);
            if event.is_none() {
                wrong.push(format!("call {id} changed without an event"));
            }
            if same.is_some_and(|before| before.ended.is_some()) {
                wrong.push(format!("the outcome of call {id} changed"));
            }
        }
        if let Change::Delete {
            key: Key::Exec(node_id),
            ..
        } = change
        {
            self.counted.remove(node_id);
        }
        let Some(reported) = Reported::of(change) else {
            return;
        };
        let id = reported.run.execution.execution_id;
        let Some(end) = reported.end else {
            let n = self.begun.len();
            if self.begun.insert(id, n).is_some() {
                wrong.push(format!("execution {id} began twice"));
            }
            return;
        };
        if !self.begun.contains_key(&id) || !self.ended.insert(id) {
            wrong.push(format!("execution {id} ended, and had ended or not begun"));
        }
        let node_id = reported.run.execution.node_id.clone();
        if end.executed != Executed::No && state.live(&node_id).is_some() {
            let counted = self.counted.entry(node_id).or_default();
            counted.0 += 1;
            counted.1 += u64::from(end.how == ExecutionStatus::Completed);
        }
    }

    /// A command of the log was applied to `state`.
    pub(super) fn check(&self, state: &State, wrong: &mut Vec<String>) {
        for (node_id, counted) in &self.counted {
            let counts = state.counts(node_id).map(|counts| (counts.runs, counts.ok));
            if state.live(node_id).is_none() {
                wrong.push(format!("{node_id} is forgotten, and its counts are not"));
            }
            if counts != Some(*counted) {
                wrong.push(format!("{node_id}: {counted:?} ends, counted {counts:?}"));
            }
        }
    }

    /// How many executions have begun and not ended.
    pub(super) fn open(&self) -> usize {
        self.begun.len() - self.ended.len()
    }

    pub(super) fn ended(&self) -> usize {
        self.ended.len()
    }
}

/// What providers executed, and what callers were told.
#[derive(Default)]
pub(super) struct CallTruth {
    executed: BTreeMap<RequestId, Vec<ExecutionId>>,
    results: BTreeMap<ExecutionId, u64>,
    outcomes: BTreeMap<ExecutionId, CallOutcome>,
    not_executed: BTreeSet<ExecutionId>,
    /// How often an outcome was told.
    pub(super) answers: usize,
    pub(super) wrong: Vec<String>,
}

impl CallTruth {
    /// A provider executes a call, and has that result.
    pub(super) fn executes(
        &mut self,
        request_id: RequestId,
        execution_id: ExecutionId,
        idempotent: bool,
        result: u64,
    ) {
        let executed = self.executed.entry(request_id).or_default();
        let twice = executed.contains(&execution_id);
        executed.push(execution_id);
        if twice || (executed.len() > 1 && !idempotent) {
            let text = format!("{request_id} was executed as {executed:?}");
            self.wrong.push(text);
        }
        if self.not_executed.contains(&execution_id) {
            let text =
                format!("{execution_id} is executed, and its caller was told that it is not");
            self.wrong.push(text);
        }
        self.results.insert(execution_id, result);
    }

    /// How often a call was executed.
    pub(super) fn executions(&self, request_id: RequestId) -> usize {
        self.executed.get(&request_id).map_or(0, Vec::len)
    }

    /// A caller is told that its call was not executed, of which so many executions were there when it asked.
    pub(super) fn tell_none(&mut self, request_id: RequestId, executions: usize) {
        self.answers += 1;
        if executions > 0 {
            let text = format!("{request_id}: told that there is no call, and it was executed");
            self.wrong.push(text);
        }
    }

    /// A caller is told how an execution of its call ended.
    pub(super) fn check_outcome(
        &mut self,
        request_id: RequestId,
        execution_id: ExecutionId,
        outcome: &CallOutcome,
        log: &LogTruth,
    ) {
        self.answers += 1;
        if let CallOutcome::Completed(Completed { result }) = outcome {
            let own = self.results.get(&execution_id).map(ToString::to_string);
            if *result != own {
                let text = format!("{request_id}: told {result:?}, and the result was {own:?}");
                self.wrong.push(text);
            }
        }
        if outcome.executed() == Executed::No {
            self.not_executed.insert(execution_id);
            // An execution that began later is another matter: this one's end was true before.
            let began = |id| log.begun.get(id);
            let executed = self.executed.get(&request_id).into_iter().flatten();
            let mut before = executed.filter(|id| began(id) <= began(&execution_id));
            if let Some(executed) = before.next() {
                let text = format!("{request_id}: told not executed, and it was as {executed}");
                self.wrong.push(text);
            }
        }
        let before = self
            .outcomes
            .entry(execution_id)
            .or_insert_with(|| outcome.clone());
        if before != outcome {
            let text = format!("{execution_id}: told {outcome:?}, and before that {before:?}");
            self.wrong.push(text);
        }
    }
}
