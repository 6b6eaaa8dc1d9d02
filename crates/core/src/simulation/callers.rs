//! Callers: they ask again, any instance, until they know an outcome.

use crate::call::CallOutcome;

use super::{
    calls::{Ask, CallEvent, Caller},
    faults::Faults,
    world::{Event, World},
};

/// How often a caller asks before it gives up.
const TRIES_MAX: u32 = 6;

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
