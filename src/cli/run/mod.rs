//! `onex run`: a command with ports leased for it.

mod child;
mod command;
mod exit;
mod signals;
mod wanted;

use std::{ffi::OsString, process::ExitCode, time::Duration};

use clap::Args;
use futures::future::{join_all, select_all};

use crate::{
    client::{LeaseGuard, Loss, own_host},
    domain::ids::{Host, Name, Ttl},
    protocol::port::{LeaseReply, LeaseRequest},
};

use super::{
    connection,
    failure::{Exit, Failure},
    output::Output,
    parse,
    requester::Who,
    session::Session,
    variables,
};

use command::Running;
use signals::Signals;
use wanted::{Wanted, variables};

pub use child::{RUN_CHILD, run_child};

/// Run a command with ports that are leased for it, on this machine.
///
/// The command finds each port in `ONEX_PORT_<NAME>`, the name in upper case with `_` for every other character
/// than letters and digits, and the first one in `PORT` as well. The leases are renewed while it runs. Signals
/// are passed on. When it has ended, what it has left running is ended too and the leases are released.
///
/// When a lease is lost, because no registry could be reached in time or somebody ended it, the port may soon
/// be another's: the command and all that it has started get SIGTERM, and SIGKILL after --grace.
///
/// Exits with the command's code, 128 + N if signal N ended it; 127 if there is no such command, 126 if it
/// cannot be run; 125 if onex itself failed or a lease was lost; 2 if these arguments cannot be followed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex run --port web=http -- sh -c 'python3 -m http.server $PORT'\n  \
    onex run --port api=http --port dns:5353/udp -- ./server --config dev.toml"
)]
pub(super) struct Run {
    /// A port: its name, by which you get the same one again when it is free and others can resolve it; what
    /// is spoken there; the only port that will do; /udp for one of UDP. May be given several times.
    #[arg(
        long = "port",
        required = true,
        value_name = "NAME[=PROTOCOL][:PORT][/udp]"
    )]
    ports: Vec<Wanted>,
    /// How long a lease lasts without a renewal, and so how long the ports stay taken should this machine
    /// die: seconds, or with a unit as 10m.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse::ttl)]
    ttl: Ttl,
    /// How long what has to end may take after SIGTERM before it gets SIGKILL.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse::timeout)]
    grace: Duration,
    /// This machine's name in the registry [default: its host name, in lower case].
    #[arg(long, value_name = "NAME")]
    host: Option<Host>,
    /// Say nothing but what went wrong.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    who: Who,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Why there is no exit code of the command's.
enum Stopped {
    /// It failed before the command was started.
    Failed(Failure),
    /// A signal came before the command was started.
    Signalled(i32),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Run {
    pub(super) async fn run(
        self,
        connection: &connection::Flags,
        timeout: Duration,
        output: Output,
    ) -> ExitCode {
        let variables = match variables(&self.ports) {
            Ok(variables) => variables,
            Err(clash) => return fail(output, &Failure::usage(clash.to_string())),
        };
        let signals = match Signals::catch() {
            Ok(signals) => signals,
            Err(error) => {
                let message = format!("signals cannot be caught: {error}");
                return fail(output, &Failure::new(Exit::Failed, "SIGNALS", message));
            }
        };
        let code = match self
            .with_ports(connection, timeout, output, variables, signals)
            .await
        {
            Ok(code) => code,
            Err(Stopped::Signalled(signal)) => exit::by_signal(signal),
            Err(Stopped::Failed(failure)) => return fail(output, &failure),
        };
        code.into()
    }
}

impl Run {
    async fn with_ports(
        &self,
        connection: &connection::Flags,
        timeout: Duration,
        output: Output,
        variables: Vec<String>,
        mut signals: Signals,
    ) -> Result<u8, Stopped> {
        let session = Session::open(connection, timeout, output).await?;
        let mut held = Vec::new();
        let started = tokio::select! {
            biased;
            came = signals.next() => Err(Stopped::Signalled(came.signal.as_raw())),
            leased = self.lease_all(&session, &mut held) => leased.map_err(Stopped::Failed),
        };
        let code = match started {
            Ok(()) => {
                self.announce(&held, output);
                let variables = environment(variables, &held);
                self.carry_out(&held, &variables, &mut signals, output)
                    .await
            }
            Err(stopped) => Err(stopped),
        };
        release(held, output).await;
        code
    }

    /// All of them, or why not; those that were leased are in `held` then.
    async fn lease_all(
        &self,
        session: &Session,
        held: &mut Vec<LeaseGuard>,
    ) -> Result<(), Failure> {
        for wanted in &self.ports {
            let leased = session.client.hold(&self.request(wanted)?).await;
            let leased = session.settle(leased).await;
            let about = format!("--port {}", wanted.name);
            held.push(leased.map_err(|failure| {
                // The general hint names a flag of another command.
                let failure = failure.about(&about);
                if wanted.port.is_some() {
                    failure.hint("without :PORT any port will do")
                } else {
                    failure
                }
            })?);
        }
        Ok(())
    }

    fn request(&self, wanted: &Wanted) -> Result<LeaseRequest, Failure> {
        let host = match &self.host {
            Some(host) => host.clone(),
            None => own_host().map_err(|error| {
                Failure::usage(format!("this machine's name: {error}")).hint("say it with --host")
            })?,
        };
        Ok(LeaseRequest {
            requester_id: self.who.id()?,
            protocol: wanted.protocol.clone(),
            ttl: Some(self.ttl),
            host: Some(host),
            transport: Some(wanted.transport),
            preferred_port: wanted.port,
            exact: wanted.port.map(|_| true),
            count: None,
            contiguous: None,
            node_id: None,
            epoch: None,
            name: Some(wanted.name.clone()),
            labels: Vec::new(),
            request_id: None,
            requested_at: None,
            min_revision: None,
        })
    }

    fn announce(&self, held: &[LeaseGuard], output: Output) {
        if self.quiet {
            return;
        }
        for (wanted, guard) in self.ports.iter().zip(held) {
            let lease = guard.lease();
            output.note(&format!(
                "onex: {}: {}/{}",
                wanted.name, lease.port, lease.transport
            ));
        }
    }

    /// Runs the command with its ports, to its end or to that of a lease.
    async fn carry_out(
        &self,
        held: &[LeaseGuard],
        variables: &[(String, String)],
        signals: &mut Signals,
        output: Output,
    ) -> Result<u8, Stopped> {
        let failed = |error| {
            let message = format!("the command cannot be started: {error}");
            Stopped::Failed(Failure::new(Exit::Failed, "COMMAND", message))
        };
        let mut running = Running::start(&self.command, variables).map_err(failed)?;
        let mut lost = select_all(held.iter().map(|guard| Box::pin(guard.lost())));
        loop {
            tokio::select! {
                code = running.ended() => {
                    let left = running.end(self.grace).await;
                    if left > 0 && !self.quiet {
                        output.note(&format!("onex: the command left {left} {} running, now ended", processes(left)));
                    }
                    return Ok(code);
                }
                came = signals.next() => {
                    if !came.to_both {
                        running.signal(came.signal);
                    }
                }
                (why, index, _) = &mut lost => {
                    if let Some(guard) = held.get(index) {
                        output.failure(&lost_lease(guard.lease(), &why));
                    }
                    running.end(self.grace).await;
                    return Ok(exit::OWN_FAILURE);
                }
            }
        }
    }
}

/// The variables with their ports, and the one that has the first.
fn environment(variables: Vec<String>, held: &[LeaseGuard]) -> Vec<(String, String)> {
    let ports = || held.iter().map(|guard| guard.port().to_string());
    let first = ports()
        .next()
        .map(|port| (variables::FIRST.to_owned(), port));
    let own = variables.into_iter().zip(ports());
    first.into_iter().chain(own).collect()
}

/// Gives all of them back, at the same time.
async fn release(held: Vec<LeaseGuard>, output: Output) {
    let released = held.into_iter().map(|guard| async {
        let (port, name) = (guard.port(), guard.lease().name.clone());
        let lost = guard.remaining().is_zero();
        match guard.release().await {
            Err(error) if !lost => {
                let name = name.map_or_else(String::new, |name| format!(" ({name})"));
                let why = crate::chain(&error);
                output.note(&format!(
                    "onex: port {port}{name} was not released, and stays taken until its time is up: {why}"
                ));
            }
            // What is lost has ended or will, without anybody's help.
            Ok(_) | Err(_) => {}
        }
    });
    join_all(released).await;
}

fn lost_lease(lease: &LeaseReply, why: &Loss) -> Failure {
    let name = lease.name.as_ref().map_or("-", Name::as_str);
    let message = format!(
        "the lease of {name}, port {}/{}, is lost: {}; ending the command",
        lease.port,
        lease.transport,
        crate::chain(why)
    );
    Failure::new(Exit::Failed, "LEASE_LOST", message)
}

fn processes(count: usize) -> &'static str {
    if count == 1 { "process" } else { "processes" }
}

/// Says why the command was not run.
fn fail(output: Output, failure: &Failure) -> ExitCode {
    output.failure(failure);
    match failure.exit {
        Exit::Usage => Exit::Usage.into(),
        _ => exit::OWN_FAILURE.into(),
    }
}
