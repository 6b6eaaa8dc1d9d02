//! What callers ask for, and what is under way for it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use onex_types::{
    ids::{CommandId, Digest, ExecutionId, RequestId},
    time::MonoMillis,
};

use crate::{
    call::{BeginCall, CallOutcome, Execution},
    engine::JobId,
    execution::Run,
    record_parts::Unknown,
};

use super::{call_truth::CallTruth, chance::Chance, process::NODES};

/// What is under way for calls.
pub(super) enum CallEvent {
    /// A caller does something.
    Caller(usize),
    /// A request arrives at an instance.
    Request { to: usize, ask: Ask },
    /// An instance sends an execution to its provider.
    Send(Task),
    /// An execution arrives at its provider.
    Execute(Task),
    /// A provider's answer arrives, or the time for it is up.
    Answered { task: Task, answer: ProviderAnswer },
    /// A reply arrives at a caller.
    Reply {
        caller: usize,
        n: u64,
        outcome: Option<CallOutcome>,
    },
}

/// A question of a caller.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) caller: usize,
    pub(super) n: u64,
    /// Whether the call has a request id.
    pub(super) named: bool,
    pub(super) begin: BeginCall,
}

impl Ask {
    pub(super) fn wanted(caller: usize, n: u64, id: CommandId, chance: &mut Chance) -> Self {
        let begin = BeginCall {
            request_id: RequestId(id.0),
            digest: Digest(id.0),
            tool_name: "add".parse().unwrap(),
            tool_version: "1.0.0".parse().unwrap(),
            contract_hash: "c2:0".to_owned(),
            node_id: NODES[chance.index(NODES.len())].parse().unwrap(),
            idempotent: chance.hit(500),
            requester_id: None,
            trace_log_id: None,
            timeout_ms: chance.between(500, 5_000),
        };
        Self {
            caller,
            n,
            named: chance.hit(800),
            begin,
        }
    }

    pub(super) fn run(&self, execution_id: ExecutionId) -> Run {
        let begin = &self.begin;
        Run {
            execution: Execution {
                execution_id,
                tool_name: begin.tool_name.clone(),
                tool_version: begin.tool_version.clone(),
                contract_hash: begin.contract_hash.clone(),
                node_id: begin.node_id.clone(),
                trace_log_id: None,
            },
            timeout_ms: begin.timeout_ms,
            requester_id: None,
            correlation_id: None,
            began_at: Timestamp::UNIX_EPOCH,
            unknown: Unknown::new(),
        }
    }
}

/// A caller.
#[derive(Default)]
pub(super) struct Caller {
    pub(super) asked: u64,
    pub(super) wanted: Option<(Ask, u32)>,
}

/// Callers, and what instances do for them.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) callers: Vec<Caller>,
    pub(super) jobs: BTreeMap<JobId, CallJob>,
    /// Executions whose answer is waited for, or whose time is not up.
    pub(super) tasks: BTreeSet<(usize, u64, ExecutionId)>,
    pub(super) truth: CallTruth,
    pub(super) calm: bool,
}

/// An execution that an instance waits for.
#[derive(Clone)]
pub(super) struct Task {
    pub(super) instance: usize,
    pub(super) epoch: u64,
    pub(super) execution_id: ExecutionId,
    /// By the instance's clock.
    pub(super) until: MonoMillis,
    pub(super) ask: Ask,
}

/// What came of asking a provider.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum ProviderAnswer {
    Result(u64),
    /// It did not begin.
    Declined,
    Nothing,
}

/// What an instance's job is for.
pub(super) enum CallJob {
    Begin(Ask, MonoMillis, CommandId),
    End(Ask),
    /// Nothing can be called now; and how often the call was executed when that was found.
    Find(Ask, usize),
}
