//! `onex run`: a command with ports leased for it.

mod carry_out;
mod check;
mod child;
mod command;
mod exit;
mod holding;
mod port_spec;
mod signals;

use std::{ffi::OsString, process::ExitCode, time::Duration};

use onex_machine::{own_holder, program_name};
use onex_types::{
    holder::Holder,
    ids::{Host, Invalid, Ttl},
};

use crate::{
    client::LeaseGuard,
    protocol::{error::ErrorCode, port::LeaseRequest},
};
use clap::Args;

use super::{
    connection,
    failure::{Exit, Failure},
    host,
    output::Output,
    parse,
    requester::{Saying, Who},
    session::Session,
    variables,
};

use check::Check;
use port_spec::{PortSpec, variables};
use signals::Signals;

pub use child::{RUN_CHILD, run_child};
pub(super) use exit::OWN_FAILURE;

/// Run a command with ports that are leased for it, on this machine.
///
/// The command finds each port in `ONEX_PORT_<NAME>`, the name in upper case with `_` for every other character
/// than letters and digits, and the first one in `PORT` as well. The leases are renewed while it runs. Signals
/// are passed on. When it has ended, what it has left running is ended too and the leases are released.
///
/// When a lease cannot be renewed, because no registry could be reached in time or somebody ended it, the port may
/// soon be another's: the command and all that it has started get SIGTERM, --grace before the lease ends, and
/// SIGKILL before it does.
///
/// Exits with the command's code, 128 + N if signal N ended it; 127 if there is no such command, 126 if it
/// cannot be run; 2 if these arguments cannot be followed, 69 if no server or no registry was reached, 75 if a
/// port was refused for now, as when all are taken; 125 if onex itself failed otherwise, a lease was lost, or no port
/// could be used.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex run --port web=http -- sh -c 'python3 -m http.server $PORT'\n  \
    onex run --port 28080 -- ./server\n  onex run --port api=http --port dns:25353/udp -- ./server --config dev.toml\n  \
    onex run --port web=http --rebind-on-failure ./web-answers -- ./server"
)]
pub(super) struct Run {
    /// A port: a number, or a name, by which you get the same one again when it is free and others can resolve it;
    /// what is spoken there; the only port that will do; /udp for one of UDP. May be given several times.
    #[arg(
        long = "port",
        required = true,
        value_name = "PORT|NAME[=PROTOCOL][:PORT][/udp]"
    )]
    ports: Vec<PortSpec>,
    /// How long a lease lasts without a renewal, and so how long the ports stay taken should this machine
    /// die: seconds, or with a unit as 10m.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse::ttl)]
    ttl: Ttl,
    /// How long what has to end may take after SIGTERM before it gets SIGKILL; half of --ttl at most.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse::timeout)]
    grace: Duration,
    /// This machine's name in the registry [env: ONEX_HOST] [default: its host name, in lower case].
    #[arg(long, value_name = "NAME", value_parser = host::parse)]
    host: Option<Host>,
    /// End the command and start it anew with another port when it cannot use its own, five times at most. CHECK, run by
    /// a shell with the command's environment, says by its exit code whether the command serves there. It cannot when
    /// CHECK has failed three times in a row, or the command fails before CHECK has passed. NAME says of which --port
    /// that is; without it of the first. See --check-interval.
    #[arg(long, value_name = "[NAME=]CHECK")]
    rebind_on_failure: Vec<String>,
    /// How often CHECK is run, first a second after the start, and how long it may take.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse::interval, requires = "rebind_on_failure")]
    check_interval: Duration,
    /// Say nothing but what goes wrong, and when that is over.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    saying: Saying,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What follows from the arguments.
struct Setup {
    /// The variables that have the ports.
    variables: Vec<String>,
    check: Option<Check>,
}

impl Setup {
    fn of(run: &Run) -> Result<Self, Invalid> {
        let variables = variables(&run.ports)?;
        let check = match &run.rebind_on_failure[..] {
            [] => None,
            [check] => Some(Check::of(check, &run.ports)?),
            _ => {
                let message = "--rebind-on-failure is given twice: it is for one of the ports";
                return Err(Invalid(message.to_owned()));
            }
        };
        Ok(Self { variables, check })
    }

    /// The variables with their ports, and the one that has the first.
    fn environment(&self, held: &[LeaseGuard]) -> Vec<(String, String)> {
        let ports = || held.iter().map(|guard| guard.port().to_string());
        let first = ports()
            .next()
            .map(|port| (variables::FIRST.to_owned(), port));
        let own = self.variables.iter().cloned().zip(ports());
        first.into_iter().chain(own).collect()
    }
}

/// Why there is no exit code of the command's.
enum Stopped {
    /// It failed before the command was started.
    Failed(Failure),
    /// A signal came before the command was started.
    Signalled(i32),
    /// Some of what the command has started cannot be ended.
    Outlived(Failure),
    /// A port of the command cannot be used, and there is no other one.
    Unusable(Failure),
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
        let setup = match Setup::of(&self) {
            Ok(setup) => setup,
            Err(wrong) => return fail(output, &Failure::usage(wrong.to_string())),
        };
        let signals = match Signals::catch() {
            Ok(signals) => signals,
            Err(error) => {
                let message = format!("signals cannot be caught: {error}");
                return fail(output, &Failure::new(Exit::Failed, "SIGNALS", message));
            }
        };
        let code = match self
            .with_ports(connection, timeout, output, &setup, signals)
            .await
        {
            Ok(code) => code,
            Err(Stopped::Signalled(signal)) => exit::by_signal(signal),
            Err(Stopped::Unusable(failure)) => {
                output.failure(&failure);
                exit::OWN_FAILURE
            }
            Err(Stopped::Failed(failure) | Stopped::Outlived(failure)) => {
                return fail(output, &failure);
            }
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
        setup: &Setup,
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
                self.carry_out(&mut held, setup, &mut signals, &session)
                    .await
            }
            Err(stopped) => Err(stopped),
        };
        match code {
            Err(Stopped::Outlived(_)) => holding::keep(held),
            _ => holding::release(held, output).await,
        }
        code
    }

    /// All of them, or why not; those that were leased are in `held` then.
    async fn lease_all(
        &self,
        session: &Session,
        held: &mut Vec<LeaseGuard>,
    ) -> Result<(), Failure> {
        let command = self.command.first();
        let holder = own_holder().map(|own| Holder {
            command: command.and_then(|command| program_name(command)),
            ..own
        });
        let client = session.client.clone().with_holder(self.saying.of(holder));
        for spec in &self.ports {
            let request = self.request(spec)?;
            let leased = client.hold_with_grace(&request, self.grace).await;
            let leased = session.settle(leased).await;
            held.push(leased.map_err(|failure| not_leased(failure, spec))?);
        }
        Ok(())
    }

    fn request(&self, spec: &PortSpec) -> Result<LeaseRequest, Failure> {
        Ok(LeaseRequest {
            requester_id: self.who.id()?,
            protocol: spec.protocol.clone(),
            ttl: Some(self.ttl),
            host: Some(host::meant(self.host.clone())?),
            transport: Some(spec.transport),
            preferred_port: spec.port,
            exact: spec.port.map(|_| true),
            count: None,
            contiguous: None,
            node_id: None,
            epoch: None,
            name: spec.name.clone(),
            labels: Vec::new(),
            request_id: None,
            holder: None,
            requested_at: None,
            min_revision: None,
        })
    }

    fn announce(&self, held: &[LeaseGuard], output: Output) {
        for guard in held {
            output.warnings(&guard.lease().warnings);
        }
        if self.quiet {
            return;
        }
        for (spec, guard) in self.ports.iter().zip(held) {
            output.note(&format!("onex: {}", spec.with(&guard.lease())));
        }
    }
}

/// Why that port is not leased, and what to do about that.
fn not_leased(failure: Failure, spec: &PortSpec) -> Failure {
    let failure = failure.about(&format!("--port {spec}"));
    if !failure.is(ErrorCode::PortUnavailable) {
        return failure;
    }
    // The general hint names a flag of another command.
    let outside = failure
        .detail("state")
        .is_some_and(|state| state == "outside");
    let any = match spec.name {
        Some(_) => "without :PORT any port will do",
        None => "a name in its place, as --port web, gets any port",
    };
    if outside {
        failure.hint(format!("`onex pool list` shows the ranges; {any}"))
    } else {
        failure.hint(any)
    }
}

/// Says why the command was not run.
fn fail(output: Output, failure: &Failure) -> ExitCode {
    output.failure(failure);
    match failure.exit {
        Exit::Usage | Exit::Unreachable | Exit::Later => failure.exit.into(),
        Exit::Done | Exit::Failed | Exit::Partly => exit::OWN_FAILURE.into(),
    }
}
