//! Executions without a request id: each is in the log from its begin to its end, and nobody waits for that.

use onex_core::{
    call::{CallOutcome, ExecutionEnd, Provider},
    command::{Action, Command, EndRun},
    execution::{RUN_LATE_MILLIS, Run},
};

use super::{super::driver::Submitted, Caller, Clock, Handle, Invoke};

/// An execution that has begun, and that has one end: what came of it is unknown when nobody says.
pub(super) struct Begun {
    handle: Handle,
    clock: Clock,
    caller: Caller,
    /// What ends it; none once that is on its way.
    end: Option<EndRun>,
}

impl Invoke {
    /// It is about to be sent to a provider.
    pub(super) async fn begin_run(&self, caller: &Caller, run: Run) -> Begun {
        let end = EndRun {
            execution_id: run.execution.execution_id,
            by: None,
            end: ExecutionEnd::of(&CallOutcome::Unknown),
        };
        let begun = Begun {
            handle: self.handle.clone(),
            clock: self.clock,
            caller: caller.clone(),
            end: Some(end),
        };
        let command = caller.command(Action::BeginRun(run.into()));
        submit(&begun.handle, self.clock, command).await;
        begun
    }
}

impl Begun {
    /// It has ended; `by` is who was asked last, when that is not who was asked first.
    pub(super) async fn ended(mut self, by: Option<Provider>, end: ExecutionEnd) {
        if let Some(unknown) = self.end.take() {
            let end = EndRun { by, end, ..unknown };
            let command = self.caller.command(Action::EndRun(Box::new(end)));
            submit(&self.handle, self.clock, command).await;
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            let command = self.caller.command(Action::EndRun(Box::new(end)));
            let (handle, clock) = (self.handle.clone(), self.clock);
            tokio::spawn(async move { submit(&handle, clock, command).await });
        }
    }
}

/// Where the engine has ended, the execution's time ends it, by another instance.
async fn submit(handle: &Handle, clock: Clock, command: Command) {
    let submitted = Submitted {
        waiter: None,
        command,
        deadline: clock.now().mono.plus(RUN_LATE_MILLIS),
    };
    let _ = handle.submit(vec![submitted]).await;
}
