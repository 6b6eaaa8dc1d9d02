//! Instances that execute calls, and a provider that answers in time, late, twice, or never.

use onex_types::{
    ids::{CommandId, ExecutionId},
    time::MonoMillis,
};
use uuid::Uuid;

use crate::{
    call::{CallOutcome, Completed, EndCall, Executed, ExecutionEnd, Failure, Provider},
    command::{Action, Answer, Command, EndRun, Outcome, Refusal},
    engine::{Input, Job, JobId},
    record_parts::{Request, Unknown},
};

use super::{
    calls::{Ask, CallEvent, CallJob, ProviderAnswer, Task},
    process::NODES,
    world::{Event, World},
};

/// How long an instance tries to bring an end into the log for a caller, in milliseconds.
const END_MILLIS: u64 = 10_000;

fn failed(code: &str, executed: Executed, retryable: bool) -> CallOutcome {
    CallOutcome::Failed(Box::new(Failure {
        code: code.to_owned(),
        message: String::new(),
        retryable,
        executed,
        details: Unknown::new(),
    }))
}

impl World {
    fn call_job(&mut self, job: CallJob) -> JobId {
        self.jobs += 1;
        let id = JobId(self.jobs);
        self.calls.jobs.insert(id, job);
        id
    }

    pub(super) fn command_id(&mut self) -> CommandId {
        self.commands += 1;
        CommandId(Uuid::from_u128(self.commands))
    }

    /// Submits a command to an instance, as its own tasks do.
    fn submit(
        &mut self,
        to: usize,
        epoch: u64,
        id: Option<JobId>,
        action: Action,
        until: MonoMillis,
    ) {
        let command = self.command_id();
        self.submit_as(command, to, epoch, id, action, until);
    }

    fn submit_as(
        &mut self,
        command: CommandId,
        to: usize,
        epoch: u64,
        id: Option<JobId>,
        action: Action,
        until: MonoMillis,
    ) {
        let command = Command {
            id: command,
            correlation_id: None,
            action,
        };
        let input = Input::Command(Job {
            id,
            command,
            deadline: until,
        });
        self.after(0, Event::Input { to, epoch, input });
    }

    pub(super) fn call_request(&mut self, to: usize, ask: Ask) {
        let instance = &self.instances[to];
        if instance.engine.is_none() || instance.paused_until > self.t {
            return;
        }
        let epoch = instance.epoch;
        let until = instance.now(self.t).mono.plus(ask.begin.timeout_ms);
        self.say(|| format!("C{} asks I{to} for {:?}", ask.caller, ask.begin.request_id));
        if ask.named {
            if self.chance.hit(100) {
                return self.find_call(to, epoch, ask, until);
            }
            let action = Action::BeginCall(Box::new(ask.begin.clone()));
            let command = self.command_id();
            let id = self.call_job(CallJob::Begin(ask, until, command));
            return self.submit_as(command, to, epoch, Some(id), action, until);
        }
        // Its begin goes into the log beside it; nobody waits for that.
        let execution_id = ExecutionId(self.command_id().0);
        let action = Action::BeginRun(ask.run(execution_id).into());
        self.submit(to, epoch, None, action, MonoMillis::NEVER);
        let task = Task {
            instance: to,
            epoch,
            execution_id,
            until,
            ask,
        };
        self.start_task(task);
    }

    /// No provider can be asked. Before the instance says that nothing was called, it asks the log.
    fn find_call(&mut self, to: usize, epoch: u64, ask: Ask, until: MonoMillis) {
        let request = Request {
            id: ask.begin.request_id,
            digest: ask.begin.digest,
        };
        let executions = self.calls.truth.executions(request.id);
        let id = self.call_job(CallJob::Find(ask, executions));
        self.submit(to, epoch, Some(id), Action::FindCall(request), until);
    }

    fn start_task(&mut self, task: Task) {
        let key = (task.instance, task.epoch, task.execution_id);
        self.calls.tasks.insert(key);
        let delay = self.chance.between(0, 200);
        self.after(delay, Event::Call(CallEvent::Send(task)));
    }

    /// A job of a call is answered.
    pub(super) fn call_replied(&mut self, index: usize, job: JobId, outcome: &Outcome) {
        let Some(job) = self.calls.jobs.remove(&job) else {
            return;
        };
        let epoch = self.instances[index].epoch;
        let (ask, told) = match (job, &outcome.result) {
            (CallJob::Begin(ask, until, _), Ok(Answer::Begun(call))) => {
                let execution_id = call.run.execution.execution_id;
                self.start_task(Task {
                    instance: index,
                    epoch,
                    execution_id,
                    until,
                    ask,
                });
                return;
            }
            (CallJob::Begin(ask, ..) | CallJob::Find(ask, _), Ok(Answer::Call(call))) => {
                let execution_id = call.run.execution.execution_id;
                let told = call
                    .outcome()
                    .map(|outcome| (execution_id, outcome.clone()));
                (ask, told)
            }
            (
                CallJob::Begin(ask, ..) | CallJob::End(ask),
                Ok(Answer::ExecutionEnded {
                    execution_id,
                    outcome,
                }),
            ) => (ask, Some((*execution_id, outcome.clone()))),
            (CallJob::Find(ask, executions), Err(Refusal::CallNotFound)) => {
                let request_id = ask.begin.request_id;
                self.calls.truth.tell_none(request_id, executions);
                (ask, None)
            }
            (CallJob::Begin(ask, _, command), Err(Refusal::Unknown)) => {
                self.take_back(index, &ask, command);
                (ask, None)
            }
            (CallJob::Begin(ask, ..) | CallJob::End(ask) | CallJob::Find(ask, _), _) => (ask, None),
        };
        if let Some((execution_id, outcome)) = &told {
            self.say(|| format!("I{index} tells C{} {execution_id} {outcome:?}", ask.caller));
            let request_id = ask.begin.request_id;
            let log = &self.truth.executions;
            let truth = &mut self.calls.truth;
            truth.check_outcome(request_id, *execution_id, outcome, log);
        }
        self.answer_caller(&ask, told.map(|(_, outcome)| outcome));
    }

    /// Nobody knows whether a begin is in the log. If it is, nothing was sent for it, and nothing will be.
    fn take_back(&mut self, index: usize, ask: &Ask, command: CommandId) {
        let epoch = self.instances[index].epoch;
        let end = EndCall {
            request_id: ask.begin.request_id,
            execution_id: ExecutionId(command.0),
            by: None,
            attempts: 0,
            asked: Vec::new(),
            duration_ms: 0,
            outcome: failed("STORE_UNAVAILABLE", Executed::No, true),
        };
        let action = Action::EndCall(Box::new(end));
        self.submit(index, epoch, None, action, MonoMillis::NEVER);
    }

    fn answer_caller(&mut self, ask: &Ask, outcome: Option<CallOutcome>) {
        if self.chance.hit(self.faults.message_lost) {
            return;
        }
        let delay = self.delay(self.faults.reply_late);
        let (caller, n) = (ask.caller, ask.n);
        let event = CallEvent::Reply { caller, n, outcome };
        self.after(delay, Event::Call(event));
    }

    /// Whether the instance of a task does something now; if it stands still, it does so later.
    fn wakes(&mut self, task: &Task, again: impl FnOnce() -> CallEvent) -> bool {
        let instance = &self.instances[task.instance];
        if instance.epoch != task.epoch {
            return false;
        }
        if instance.paused_until > self.t {
            let wait = instance.paused_until - self.t;
            self.after(wait, Event::Call(again()));
            return false;
        }
        true
    }

    pub(super) fn send_call(&mut self, task: Task) {
        if !self.wakes(&task, || CallEvent::Send(task.clone())) {
            return;
        }
        let now = self.instances[task.instance].now(self.t).mono;
        if now >= task.until {
            // It stood still: nothing is sent any more.
            return self.end_task(&task, failed("TOOL_TIMEOUT", Executed::No, true), None);
        }
        let over = CallEvent::Answered {
            task: task.clone(),
            answer: ProviderAnswer::Nothing,
        };
        self.after(task.until.since(now), Event::Call(over));
        if !self.chance.hit(self.faults.message_lost) {
            let delay = self.delay(self.faults.reply_late);
            self.after(delay, Event::Call(CallEvent::Execute(task)));
        }
    }

    pub(super) fn execute(&mut self, task: Task) {
        if self.chance.hit(100) {
            let answer = ProviderAnswer::Declined;
            return self.after(2, Event::Call(CallEvent::Answered { task, answer }));
        }
        let result = self.chance.below(1 << 40);
        let begin = &task.ask.begin;
        let (request_id, idempotent) = (begin.request_id, begin.idempotent);
        let execution_id = task.execution_id;
        self.say(|| format!("{execution_id} of {request_id} is executed"));
        if task.ask.named {
            let truth = &mut self.calls.truth;
            truth.executes(request_id, execution_id, idempotent, result);
        }
        let answers = match self.chance.below(10) {
            0 => 0,
            1 => 2,
            _ => 1,
        };
        for _ in 0..answers {
            let late = self.chance.hit(200);
            let delay = if late {
                self.chance.between(1, 2 * task.ask.begin.timeout_ms)
            } else {
                self.chance.between(1, 100)
            };
            let answered = CallEvent::Answered {
                task: task.clone(),
                answer: ProviderAnswer::Result(result),
            };
            self.after(delay, Event::Call(answered));
        }
    }

    /// The provider has answered, or the time is up: the first of both counts.
    pub(super) fn answered(&mut self, task: &Task, answer: ProviderAnswer) {
        let again = || CallEvent::Answered {
            task: task.clone(),
            answer,
        };
        if !self.wakes(task, again) {
            return;
        }
        let (outcome, by) = match answer {
            ProviderAnswer::Result(result) => {
                let result = Some(result.to_string());
                let other = self.chance.hit(200).then(|| Provider {
                    node_id: NODES[0].parse().unwrap(),
                    tool_version: "1.1.0".parse().unwrap(),
                    contract_hash: "c2:1".to_owned(),
                });
                (CallOutcome::Completed(Completed { result }), other)
            }
            ProviderAnswer::Declined => (failed("BUSY", Executed::No, true), None),
            ProviderAnswer::Nothing => (failed("TOOL_TIMEOUT", Executed::Unknown, false), None),
        };
        self.end_task(task, outcome, by);
    }

    fn end_task(&mut self, task: &Task, outcome: CallOutcome, by: Option<Provider>) {
        let key = (task.instance, task.epoch, task.execution_id);
        if !self.calls.tasks.remove(&key) {
            return;
        }
        let (index, epoch, execution_id) = key;
        if !task.ask.named {
            let end = EndRun {
                execution_id,
                by,
                end: ExecutionEnd::of(&outcome),
            };
            let action = Action::EndRun(Box::new(end));
            return self.submit(index, epoch, None, action, MonoMillis::NEVER);
        }
        let end = EndCall {
            request_id: task.ask.begin.request_id,
            execution_id,
            by,
            attempts: 1,
            asked: Vec::new(),
            duration_ms: 1,
            outcome,
        };
        let until = self.instances[index].now(self.t).mono.plus(END_MILLIS);
        let id = self.call_job(CallJob::End(task.ask.clone()));
        let action = Action::EndCall(Box::new(end));
        self.submit(index, epoch, Some(id), action, until);
    }
}
