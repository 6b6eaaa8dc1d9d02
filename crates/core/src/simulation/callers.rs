//! Callers: they ask again, any instance, until they know an outcome.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use onex_types::ids::{CommandId, Digest, ExecutionId, RequestId};

use crate::{
    call::{BeginCall, CallOutcome, Execution},
    engine::JobId,
    execution::Run,
    record_parts::Unknown,
};

use super::{
    call_truth::CallTruth,
    chance::Chance,
    executing::{CallJob, ProviderAnswer, Task},
    faults::Faults,
    process::NODES,
    world::{Event, World},
};

/// How often a caller asks before it gives up.
const TRIES_MAX: u32 = 6;
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

/// A caller.
#[derive(Default)]
struct Caller {
    asked: u64,
    wanted: Option<(Ask, u32)>,
}

/// Callers, and what instances do for them.
#[derive(Default)]
pub(super) struct Calls {
    callers: Vec<Caller>,
    pub(super) jobs: BTreeMap<JobId, CallJob>,
    /// Executions whose answer is waited for, or whose time is not up.
    pub(super) tasks: BTreeSet<(usize, u64, ExecutionId)>,
    pub(super) truth: CallTruth,
    pub(super) calm: bool,
}

impl Ask {
    fn wanted(caller: usize, n: u64, id: CommandId, chance: &mut Chance) -> Self {
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

impl World {
    /// Lets that many callers begin.
    pub(super) fn add_callers(&mut self, callers: usize) {
        for index in 0..callers {
            self.calls.callers.push(Caller::default());
            let delay = 200 + index as u64 * 50;
            self.after(delay, Event::Call(CallEvent::Caller(index)));
        }
    }

    pub(super) fn call_event(&mut self, event: CallEvent) {
        match event {
            CallEvent::Caller(index) => self.caller(index),
            CallEvent::Request { to, ask } => self.call_request(to, ask),
            CallEvent::Send(task) => self.send_call(task),
            CallEvent::Execute(task) => self.execute(task),
            CallEvent::Answered { task, answer } => self.answered(&task, answer),
            CallEvent::Reply { caller, n, outcome } => {
                self.caller_told(caller, n, outcome.as_ref());
            }
        }
    }

    fn caller(&mut self, index: usize) {
        let wait = self.chance.between(300, 3_000);
        self.after(wait, Event::Call(CallEvent::Caller(index)));
        if self.calls.callers[index].wanted.is_none() {
            if self.calls.calm {
                return;
            }
            let id = self.command_id();
            let caller = &mut self.calls.callers[index];
            caller.asked += 1;
            let ask = Ask::wanted(index, caller.asked, id, &mut self.chance);
            caller.wanted = Some((ask, 0));
        }
        let caller = &mut self.calls.callers[index];
        let Some((ask, tries)) = caller.wanted.as_mut() else {
            return;
        };
        *tries += 1;
        let ask = ask.clone();
        if *tries > TRIES_MAX || !ask.named {
            caller.wanted = None;
        }
        if self.chance.hit(self.faults.message_lost) {
            return;
        }
        let to = self.chance.index(self.instances.len());
        let delay = self.delay(self.faults.reply_late);
        self.after(delay, Event::Call(CallEvent::Request { to, ask }));
    }

    fn caller_told(&mut self, index: usize, n: u64, outcome: Option<&CallOutcome>) {
        let chance = self.chance.hit(300);
        let caller = &mut self.calls.callers[index];
        let Some((ask, _)) = caller.wanted.as_ref().filter(|(ask, _)| ask.n == n) else {
            return;
        };
        // What may be executed again is, now and then.
        if let Some(outcome) = outcome
            && !(outcome.may_run_again(ask.begin.idempotent) && chance)
        {
            caller.wanted = None;
        }
    }

    /// Runs without faults and without new calls, until everything that began must have ended and been forgotten.
    pub(super) fn settle_calls(&mut self) {
        self.calls.calm = true;
        self.faults = Faults::NONE;
        let until = self.t + 100_000;
        self.run(until);
        let state = &self.truth.state;
        let left = (
            self.truth.executions.open(),
            state.indexes.calls(),
            state.indexes.runs(),
        );
        if left != (0, 0, 0) && self.violations.is_empty() {
            self.violations
                .push(format!("executions, calls and runs are left: {left:?}"));
        }
    }
}
