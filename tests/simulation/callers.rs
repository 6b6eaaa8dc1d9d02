//! Programs that call tools under a request id, the instances that carry the calls out, and a provider that counts what
//! it was made to do.
//!
//! A caller asks again, any instance, until it knows the outcome; what another instance carries out is still running to
//! it. A provider answers when it likes: in time, late, or never.

use std::collections::BTreeMap;

use crate::domain::{
    call::{Begin, Completed, End, Executed, Failure, Outcome as CallOutcome},
    command::{Action, Answer, Command, Refusal},
    ids::{CommandId, Digest, ExecutionId, RequestId},
    key::Key,
    mechanism::Mechanism,
    record::{Stored, Unknown},
    transition::Happened,
};

use super::{
    check::Rule,
    world::{Ask, Event, Outcome, Who, World, trace},
};

/// How often a caller asks before it gives up.
const TRIES_MAX: u32 = 8;

/// A call that a caller wants to have made.
#[derive(Debug, Clone)]
struct Wanted {
    begin: Begin,
    request: usize,
    tries: u32,
}

#[derive(Default)]
pub(super) struct Caller {
    alarm: u64,
    requests: usize,
    wanted: Option<Wanted>,
}

/// An execution that an instance waits for.
pub(super) struct Waiting {
    ask: Ask,
    execution_id: ExecutionId,
}

/// What the provider was made to do, and what callers were told.
#[derive(Default)]
pub(super) struct Calls {
    executed: BTreeMap<RequestId, Vec<ExecutionId>>,
    results: BTreeMap<ExecutionId, u64>,
    told: BTreeMap<RequestId, Vec<(ExecutionId, CallOutcome)>>,
}

fn begin_of(ask: &Ask) -> Option<&Begin> {
    match &ask.action {
        Action::BeginCall(begin) => Some(begin),
        _ => None,
    }
}

impl World {
    pub(super) fn caller_alarm(&mut self, caller: usize, after: u64) {
        let one = &mut self.callers[caller];
        one.alarm += 1;
        let alarm = one.alarm;
        self.after(after, Event::Caller(caller, alarm));
    }

    /// A caller does what is next: another call, or the same once more.
    pub(super) fn caller(&mut self, caller: usize, alarm: u64) {
        if self.callers[caller].alarm != alarm {
            return;
        }
        let wait = self.chance.between((300, 5_000));
        self.caller_alarm(caller, wait);
        if self.callers[caller].wanted.is_none() {
            if self.calm {
                return;
            }
            self.want(caller);
        }
        let one = &mut self.callers[caller];
        let Some(wanted) = &mut one.wanted else {
            return;
        };
        wanted.tries += 1;
        if wanted.tries > TRIES_MAX {
            one.wanted = None;
            return self.count("calls given up");
        }
        let ask = Ask {
            who: Who::Caller(caller),
            life: 0,
            request: wanted.request,
            action: Action::BeginCall(Box::new(wanted.begin.clone())),
        };
        self.post(ask);
    }

    fn want(&mut self, caller: usize) {
        let begin = Begin {
            request_id: RequestId(self.chance.uuid()),
            digest: Digest(self.chance.uuid()),
            tool_name: "add".parse().unwrap(),
            tool_version: "1.0.0".parse().unwrap(),
            contract_hash: "c2:0".to_owned(),
            node_id: "calc".parse().unwrap(),
            idempotent: self.chance.hit(self.setup.idempotent),
            requester_id: None,
            trace_log_id: None,
            timeout_ms: self.chance.between((500, 5_000)),
        };
        let one = &mut self.callers[caller];
        one.requests += 1;
        one.wanted = Some(Wanted {
            begin,
            request: one.requests,
            tries: 0,
        });
    }

    /// A reply reaches a caller.
    pub(super) fn caller_replied(&mut self, caller: usize, ask: &Ask, outcome: &Outcome) {
        let one = &mut self.callers[caller];
        let current = one.wanted.as_ref();
        let Some(wanted) = current.filter(|wanted| wanted.request == ask.request) else {
            return;
        };
        match outcome {
            Outcome::Done(Answer::Execution {
                outcome: Some(outcome),
                ..
            }) => {
                // What may be made again is, now and then.
                let again = outcome.may_run_again(wanted.begin.idempotent);
                if !again || self.chance.hit(300) {
                    self.callers[caller].wanted = None;
                }
            }
            Outcome::Refused(Refusal::IdempotencyMismatch(_)) => {
                let text = format!("{:?}: nobody used it before", wanted.begin.request_id);
                self.fail(Rule::TrueAnswers, text);
            }
            _ => {}
        }
    }

    /// Without writing it down first: what a registry must not do.
    pub(super) fn call_before_it_begins(&mut self, instance: usize, id: CommandId, ask: &Ask) {
        if !self.setup.mechanisms.on(Mechanism::CallFirst) {
            self.carry_out(instance, ExecutionId(id.0), ask.clone());
        }
    }

    /// A command of a call has its outcome; true when the caller is to be told of it now.
    pub(super) fn call_done(
        &mut self,
        instance: usize,
        ask: &Ask,
        answered: bool,
        outcome: &Result<Answer, Refusal>,
    ) -> bool {
        let (
            Some(begin),
            Ok(Answer::Execution {
                execution_id,
                own,
                outcome: None,
            }),
        ) = (begin_of(ask), outcome)
        else {
            return true;
        };
        if !own {
            self.count("calls found running");
            return true;
        }
        if answered {
            // Its caller was told that nobody knows whether it began: nothing is sent.
            self.count("calls taken back");
            let outcome = failed(Executed::No, true);
            self.end_call(instance, begin.request_id, *execution_id, outcome, None);
        } else if self.setup.mechanisms.on(Mechanism::CallFirst) {
            self.carry_out(instance, *execution_id, ask.clone());
        }
        false
    }

    /// The instance sends the call to the provider, and waits.
    fn carry_out(&mut self, instance: usize, execution_id: ExecutionId, ask: Ask) {
        let Some(begin) = begin_of(&ask).cloned() else {
            return;
        };
        let one = &mut self.instances[instance];
        let incarnation = one.incarnation;
        let until = one.clock.at(self.time) + begin.timeout_ms;
        let over = one.clock.when(until) - self.time;
        one.calls.push(Waiting { ask, execution_id });
        self.after(
            over,
            Event::Called(instance, incarnation, execution_id, None),
        );
        if self.trouble(self.setup.request_lost) {
            return self.count("calls lost on the way");
        }
        let after = self.latency();
        self.after(
            after,
            Event::Provide(instance, incarnation, execution_id, Box::new(begin)),
        );
    }

    /// The call reaches the provider, which does it.
    pub(super) fn provide(
        &mut self,
        instance: usize,
        incarnation: u64,
        execution_id: ExecutionId,
        begin: &Begin,
    ) {
        self.count("calls executed");
        trace!(self, "provider runs {execution_id} of {}", begin.request_id);
        let executed = self
            .check
            .calls
            .executed
            .entry(begin.request_id)
            .or_default();
        executed.push(execution_id);
        let executed = executed.clone();
        let twice = executed.iter().filter(|id| **id == execution_id).count() > 1;
        if executed.len() > 1 && (!begin.idempotent || twice) {
            let text = format!("{} was executed as {executed:?}", begin.request_id);
            return self.fail(Rule::NoSecondDeed, text);
        }
        let result = self.chance.below(1 << 40);
        self.check.calls.results.insert(execution_id, result);
        // In time, late, or never.
        let after = match self.chance.below(10) {
            0 => return,
            1 | 2 => self.chance.between((1, 2 * begin.timeout_ms)),
            _ => self.latency(),
        };
        self.after(
            after,
            Event::Called(instance, incarnation, execution_id, Some(result)),
        );
    }

    /// The provider has answered, or the call's time is up: the first of both counts.
    pub(super) fn called(
        &mut self,
        instance: usize,
        incarnation: u64,
        execution_id: ExecutionId,
        result: Option<u64>,
    ) {
        let one = &mut self.instances[instance];
        if one.incarnation != incarnation {
            return;
        }
        let waits = |waiting: &Waiting| waiting.execution_id == execution_id;
        let Some(at) = one.calls.iter().position(waits) else {
            return self.count("answers nobody waits for");
        };
        let Waiting { ask, .. } = one.calls.remove(at);
        let Some(request_id) = begin_of(&ask).map(|begin| begin.request_id) else {
            return;
        };
        let outcome = match result {
            Some(result) => CallOutcome::Completed(Completed {
                result: Some(result.to_string()),
            }),
            None => failed(Executed::Unknown, false),
        };
        self.end_call(instance, request_id, execution_id, outcome, Some(ask));
    }

    fn end_call(
        &mut self,
        instance: usize,
        request_id: RequestId,
        execution_id: ExecutionId,
        outcome: CallOutcome,
        ask: Option<Ask>,
    ) {
        let action = Action::EndCall(Box::new(End {
            request_id,
            execution_id,
            by: None,
            attempts: 1,
            asked: Vec::new(),
            duration_ms: 1,
            outcome,
        }));
        let command = Command {
            id: CommandId(self.chance.uuid()),
            correlation_id: None,
            confirmed: false,
            action: action.clone(),
        };
        let ask = ask.map(|ask| Ask { action, ..ask });
        self.begin_deed(instance, command, ask, None);
    }

    /// An instance tells a caller how its call ended: as it has told anybody else.
    pub(super) fn judge_call(
        &mut self,
        ask: &Ask,
        execution_id: ExecutionId,
        outcome: &CallOutcome,
    ) {
        let request_id = match &ask.action {
            Action::BeginCall(begin) => begin.request_id,
            Action::EndCall(end) => end.request_id,
            _ => return,
        };
        self.count("calls answered");
        if self.check.foreign.contains_key(&Key::Call(request_id)) {
            return;
        }
        let calls = &mut self.check.calls;
        if let CallOutcome::Completed(completed) = outcome {
            let result = calls.results.get(&execution_id).map(ToString::to_string);
            if completed.result != result {
                let text = format!("{request_id}: {outcome:?}, and it was {result:?}");
                return self.fail(Rule::OneOutcome, text);
            }
        }
        let told = calls.told.entry(request_id).or_default();
        let differs = told
            .iter()
            .find(|(id, before)| *id == execution_id && before != outcome);
        if let Some((_, before)) = differs {
            let text = format!("{request_id}: {outcome:?}, and before {before:?}");
            return self.fail(Rule::OneOutcome, text);
        }
        told.push((execution_id, outcome.clone()));
    }

    /// The faults have stopped long ago: every call has come to its end, was told as that, and is forgotten.
    pub(super) fn calls_settled(&mut self) {
        let mut stuck = Vec::new();
        for key in self.store.keys().filter(|key| matches!(key, Key::Call(_))) {
            if self.store.value(key) != Some(&Stored::Forgotten) {
                stuck.push(format!("{key} is there"));
            }
        }
        for (n, instance) in self.instances.iter().enumerate() {
            let known = instance.core.index.calls.known();
            if known > 0 || !instance.calls.is_empty() {
                stuck.push(format!(
                    "#{n} knows {known} calls, runs {}",
                    instance.calls.len()
                ));
            }
        }
        let mut told: BTreeMap<ExecutionId, (u32, u32)> = BTreeMap::new();
        for (_, key, transition) in &self.check.transitions {
            if self.check.foreign.contains_key(key) {
                continue;
            }
            let Some(of) = &transition.execution else {
                continue;
            };
            let (began, ended) = told.entry(of.execution.execution_id).or_default();
            if transition.event == Happened::CallBegan {
                *began += 1;
            } else {
                *ended += 1;
            }
        }
        if let Some(first) = stuck.first() {
            let text = format!("{} calls: {first}", stuck.len());
            self.fail(Rule::NothingStuck, text);
        }
        if let Some((id, (began, ended))) = told.iter().find(|(_, told)| **told != (1, 1)) {
            let text = format!("{id} began {began} times and ended {ended} times");
            self.fail(Rule::EventsComplete, text);
        }
    }
}

fn failed(executed: Executed, retryable: bool) -> CallOutcome {
    CallOutcome::Failed(Box::new(Failure {
        code: "ANY".to_owned(),
        message: "no".to_owned(),
        retryable,
        executed,
        details: Unknown::new(),
    }))
}
