//! What schedules ask for about calls, and what they look at.

use jiff::Timestamp;
use onex_types::ids::{Digest, ExecutionId, NodeId, RequestId};
use uuid::Uuid;

use crate::{
    call::{
        BeginCall, CallOutcome, Completed, EndCall, Executed, Execution, ExecutionEnd, Failure,
        Provider,
    },
    command::{Action, Answer, EndRun},
    engine::JobId,
    execution::Run,
    mechanism::Mechanisms,
    record_parts::{Request, Unknown},
};

use super::{node_stage::register, stage::Stage};

/// How long a call of a schedule may take, in milliseconds.
pub(super) const TIMEOUT: u64 = 2_000;

pub(super) fn request(n: u128) -> RequestId {
    RequestId(Uuid::from_u128(n))
}

pub(super) fn execution(n: u128) -> ExecutionId {
    ExecutionId(Uuid::from_u128(n))
}

pub(super) fn completed(result: &str) -> CallOutcome {
    let result = Some(result.to_owned());
    CallOutcome::Completed(Completed { result })
}

pub(super) fn failed(executed: Executed, retryable: bool) -> CallOutcome {
    CallOutcome::Failed(Box::new(Failure {
        code: "ANY".to_owned(),
        message: String::new(),
        retryable,
        executed,
        details: Unknown::new(),
    }))
}

fn to_begin(n: u128, digest: u128, idempotent: bool) -> Action {
    Action::BeginCall(Box::new(BeginCall {
        request_id: request(n),
        digest: Digest(Uuid::from_u128(digest)),
        tool_name: "add".parse().unwrap(),
        tool_version: "1.0.0".parse().unwrap(),
        contract_hash: "c2:0".to_owned(),
        node_id: "calc".parse().unwrap(),
        idempotent,
        requester_id: None,
        trace_log_id: None,
        timeout_ms: TIMEOUT,
    }))
}

pub(super) fn begin(n: u128, idempotent: bool) -> Action {
    to_begin(n, n, idempotent)
}

/// Asks whether a request has begun a call.
pub(super) fn find(n: u128) -> Action {
    Action::FindCall(Request {
        id: request(n),
        digest: Digest(Uuid::from_u128(n)),
    })
}

/// A stage on which the nodes `calc` and `calc.two` are known.
pub(super) fn stage(instances: usize, mechanisms: Mechanisms) -> Stage {
    let mut stage = Stage::new(instances, mechanisms);
    stage.register_calc();
    stage
}

/// The same request id, for something else.
pub(super) fn begin_other(n: u128) -> Action {
    to_begin(n, n + 1, true)
}

fn to_end(n: u128, id: ExecutionId, outcome: CallOutcome, by: Option<Provider>) -> Action {
    Action::EndCall(Box::new(EndCall {
        request_id: request(n),
        execution_id: id,
        by,
        attempts: 1,
        asked: Vec::new(),
        duration_ms: 5,
        outcome,
    }))
}

pub(super) fn end(n: u128, id: ExecutionId, outcome: CallOutcome) -> Action {
    to_end(n, id, outcome, None)
}

/// An end that another node than the first one has brought about.
pub(super) fn end_by(n: u128, id: ExecutionId, outcome: CallOutcome, node: &str) -> Action {
    let by = Provider {
        node_id: node.parse().unwrap(),
        tool_version: "1.0.0".parse().unwrap(),
        contract_hash: "c2:0".to_owned(),
    };
    to_end(n, id, outcome, Some(by))
}

pub(super) fn begin_run(n: u128) -> Action {
    let run = Run {
        execution: Execution {
            execution_id: execution(n),
            tool_name: "add".parse().unwrap(),
            tool_version: "1.0.0".parse().unwrap(),
            contract_hash: "c2:0".to_owned(),
            node_id: "calc".parse().unwrap(),
            trace_log_id: None,
        },
        timeout_ms: TIMEOUT,
        requester_id: None,
        correlation_id: None,
        began_at: Timestamp::UNIX_EPOCH,
        unknown: Unknown::new(),
    };
    Action::BeginRun(run.into())
}

pub(super) fn end_run(n: u128, outcome: &CallOutcome) -> Action {
    Action::EndRun(Box::new(EndRun {
        execution_id: execution(n),
        by: None,
        end: ExecutionEnd::of(outcome),
    }))
}

impl Stage {
    pub(super) fn register_calc(&mut self) {
        for node in ["calc", "calc.two"] {
            let job = self.ask(0, register(node, 90, None));
            self.settle();
            assert_eq!(self.refusal(job), None);
        }
    }

    /// The execution that a job has begun; none where it has begun none.
    pub(super) fn begun(&self, job: JobId) -> Option<ExecutionId> {
        match &self.reply(job)?.result {
            Ok(Answer::Begun(call)) => Some(call.run.execution.execution_id),
            _ => None,
        }
    }

    /// The call that a job found, with its outcome.
    pub(super) fn call(&self, job: JobId) -> Option<(ExecutionId, Option<CallOutcome>)> {
        match &self.reply(job)?.result {
            Ok(Answer::Call(call)) => {
                let id = call.run.execution.execution_id;
                Some((id, call.outcome().cloned()))
            }
            _ => None,
        }
    }

    /// The end that a job was answered with.
    pub(super) fn ended(&self, job: JobId) -> Option<(ExecutionId, CallOutcome)> {
        match &self.reply(job)?.result {
            Ok(Answer::ExecutionEnded {
                execution_id,
                outcome,
            }) => Some((*execution_id, outcome.clone())),
            _ => None,
        }
    }

    /// Begins a call that nobody has begun.
    #[track_caller]
    pub(super) fn begin_call(&mut self, index: usize, n: u128, idempotent: bool) -> ExecutionId {
        let job = self.ask(index, begin(n, idempotent));
        self.settle();
        self.begun(job).unwrap()
    }

    /// A node's counts at an instance: executions, and those with a result.
    pub(super) fn counts(&self, index: usize, node: &str) -> (u64, u64) {
        let node_id: NodeId = node.parse().unwrap();
        let counts = self.engine(index).state().counts(&node_id);
        counts.map_or((0, 0), |counts| (counts.runs, counts.ok))
    }

    /// The id of the command that was asked for last.
    pub(super) fn last_command(&self) -> ExecutionId {
        execution(self.commands * 1_000)
    }
}
