//! The command from its start to its end, and again with another port where it cannot use its own.

use std::{ops::ControlFlow, pin::pin, time::Duration};

use onex_types::ids::Port;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    cli::{
        failure::{Exit, Failure},
        output::Output,
        session::Session,
    },
    client::{self, BootTime, LeaseGuard},
    protocol::error::ErrorCode,
};

use super::{
    Run, Setup, Stopped,
    check::{Check, Checks, Fault, REBINDS_MAX},
    command::{Descendant, Ended, Event, Running},
    exit, holding,
    signals::Signals,
};

/// What is waited before a registry that is away is asked again for another port.
const AWAY_PAUSE: Duration = Duration::from_millis(500);

/// What came of the command, from one start to its end.
enum Course {
    /// It is over, with that exit code.
    Exits(u8),
    /// It cannot use its port, or nobody can say whether it does.
    Unusable(Fault),
}

impl Run {
    /// Runs the command with its ports, to its end or to that of a lease; anew with another port where its check says so.
    pub(super) async fn carry_out(
        &self,
        held: &mut [LeaseGuard],
        setup: &Setup,
        signals: &mut Signals,
        session: &Session,
    ) -> Result<u8, Stopped> {
        let check = setup.check.as_ref();
        let mut rebinds = 0;
        loop {
            let variables = setup.environment(held);
            let course = self.once(held, &variables, check, signals, session);
            let why = match course.await? {
                Course::Exits(code) => return Ok(code),
                Course::Unusable(Fault::Port(why)) => why,
                Course::Unusable(Fault::Check(why)) => {
                    let failure = Failure::new(Exit::Failed, "CHECK", why);
                    return Err(Stopped::Unusable(failure.hint(
                        "CHECK is a command for `sh -c`: try it by hand while the command runs",
                    )));
                }
            };
            let Some(check) = check else {
                return Ok(exit::OWN_FAILURE);
            };
            if rebinds == REBINDS_MAX {
                return Err(self.given_up(held, check, &why));
            }
            rebinds += 1;
            self.rebind(held, check, signals, session).await?;
        }
    }

    async fn once(
        &self,
        held: &[LeaseGuard],
        variables: &[(String, String)],
        check: Option<&Check>,
        signals: &mut Signals,
        session: &Session,
    ) -> Result<Course, Stopped> {
        let failed = |error| {
            let message = format!("the command cannot be started: {error}");
            Stopped::Failed(Failure::new(Exit::Failed, "COMMAND", message))
        };
        let output = session.output;
        let mut running = Running::start(&self.command, variables).map_err(failed)?;
        let mut checks = check.map(|check| Checks::begin(check, self.check_interval));
        let last_moment = || holding::last_moment(held, self.grace);
        let mut ending = pin!(holding::ending(held));
        let mut outages = pin!(holding::tell_of_outages(held, session.connected(), output));
        loop {
            let due = checks.as_ref().map(Checks::due);
            let checked = tokio::select! {
                // A command that has ended is not ended for its check.
                biased;
                event = running.event() => match (event, &mut checks) {
                    (Event::Ended(code), _) => {
                        let left = all_ended(&running.end(last_moment()).await)?;
                        self.tell_of_left(left, output);
                        let unusable = checks.and_then(|checks| checks.ended(code));
                        let Some((why, check)) = unusable.zip(check) else {
                            return Ok(Course::Exits(code));
                        };
                        output.note(&format!("onex: {}: {why}", self.checked(check, held)));
                        return Ok(Course::Unusable(Fault::Port(why)));
                    }
                    (Event::Checked(code), Some(checks)) => checks.checked(code),
                    (Event::Checked(_), None) => ControlFlow::Continue(()),
                },
                came = signals.next() => {
                    if !came.to_both {
                        running.signal(came.signal);
                    }
                    if came.is_sent_hangup() {
                        checks = checks.map(Checks::told);
                    } else if came.asks_to_end() {
                        // What it does from now on says nothing of its port.
                        checks = None;
                        running.stop_check();
                    }
                    ControlFlow::Continue(())
                }
                (ending, place) = &mut ending => {
                    output.failure(&holding::lost(held, place, &ending, Some(self.grace)));
                    all_ended(&running.end(last_moment()).await)?;
                    return Ok(Course::Exits(exit::OWN_FAILURE));
                }
                () = at(due) => match &mut checks {
                    Some(checks) => checks.go_on(&mut running, variables),
                    None => ControlFlow::Continue(()),
                },
                never = &mut outages => match never {},
            };
            if let (ControlFlow::Break(fault), Some(check)) = (checked, check) {
                let port = self.checked(check, held);
                let (Fault::Port(why) | Fault::Check(why)) = &fault;
                output.note(&format!("onex: {port}: {why}; ending the command"));
                all_ended(&running.end(last_moment()).await)?;
                return Ok(Course::Unusable(fault));
            }
        }
    }

    /// Gets another port for the one that the check is about, while no command runs.
    async fn rebind(
        &self,
        held: &mut [LeaseGuard],
        check: &Check,
        signals: &mut Signals,
        session: &Session,
    ) -> Result<(), Stopped> {
        let before = self.checked(check, held);
        let mut ending = pin!(holding::ending(held));
        let Some(guard) = held.get_mut(check.place) else {
            return Ok(());
        };
        let port = guard.port();
        let rebound = tokio::select! {
            biased;
            signal = signals.next_to_end() => return Err(Stopped::Signalled(signal.as_raw())),
            rebound = another(guard, port, &before, session.output) => rebound,
            (ending, place) = &mut ending => {
                return Err(Stopped::Unusable(holding::lost(held, place, &ending, None)));
            }
        };
        if let Err(client::Error::Over(_)) = rebound {
            let (ending, place) = ending.await;
            return Err(Stopped::Unusable(holding::lost(held, place, &ending, None)));
        }
        let rebound = session.settle(rebound).await;
        rebound.map_err(|failure| Stopped::Unusable(failure.about(&before)))?;
        let lease = guard.lease();
        session.output.warnings(&lease.warnings);
        session.output.note(&format!(
            "onex: {before} cannot be used; now {}/{}",
            lease.port, lease.transport
        ));
        Ok(())
    }

    /// The port that the check is about.
    fn checked(&self, check: &Check, held: &[LeaseGuard]) -> String {
        let mut ports = self.ports.iter().zip(held).skip(check.place);
        ports
            .next()
            .map(|(spec, guard)| spec.with(&guard.lease()))
            .unwrap_or_default()
    }

    fn given_up(&self, held: &[LeaseGuard], check: &Check, why: &str) -> Stopped {
        let port = self.checked(check, held);
        let message = format!("{port} cannot be used either, after {REBINDS_MAX} others: {why}");
        let failure = Failure::new(Exit::Failed, "PORT_UNUSABLE", message).hint(
            "try CHECK by hand while the command runs; where it needs longer to start, a longer --check-interval waits for it",
        );
        Stopped::Unusable(failure)
    }

    fn tell_of_left(&self, left: usize, output: Output) {
        if left > 0 && !self.quiet {
            let processes = if left == 1 { "process" } else { "processes" };
            output.note(&format!(
                "onex: the command left {left} {processes} running, now ended"
            ));
        }
    }
}

/// Another port. A registry that is away may be back before the lease ends: it is asked again as long as that lasts.
async fn another(
    guard: &mut LeaseGuard,
    port: Port,
    before: &str,
    output: Output,
) -> Result<Port, client::Error> {
    let until = guard.deadline();
    let mut is_told = false;
    loop {
        let rebound = guard.rebind(port).await;
        let Err(error) = &rebound else { return rebound };
        let is_away = error.retryable() && error.code() != Some(ErrorCode::ResourceExhausted);
        let left = until.since(BootTime::now());
        if !is_away || left.is_zero() {
            return rebound;
        }
        if !std::mem::replace(&mut is_told, true) {
            let (why, left) = (onex_types::chain(error), client::span(left));
            output.note(&format!(
                "onex: {before}: no other port yet: {why}; asking again for {left}"
            ));
        }
        sleep(AWAY_PAUSE.min(left)).await;
    }
}

/// Waits for that moment, where there is one.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// How many processes were ended, where all are.
fn all_ended(ended: &Ended) -> Result<usize, Stopped> {
    if ended.survivors.is_empty() {
        return Ok(ended.count);
    }
    let survivors: Vec<_> = ended.survivors.iter().map(Descendant::to_string).collect();
    let message = format!(
        "the command left processes that cannot be ended, not even by SIGKILL: {}",
        survivors.join(", ")
    );
    let hint = "they may still use the ports, so the leases are not released: they end when their TTL has passed";
    Err(Stopped::Outlived(
        Failure::new(Exit::Failed, "NOT_ENDED", message).hint(hint),
    ))
}
