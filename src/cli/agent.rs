//! `onex agent`: tries the ports of this machine for a registry that runs elsewhere.

use std::process::ExitCode;

use clap::Args;
use onex_machine::is_loopback;
use onex_types::ids::Host;
use tokio::sync::watch;

use crate::{
    protocol::inbox::{InboxPrefix, Inboxes},
    registry::{Agent as Trying, AgentSettings, StartError},
};

use super::{
    connection::Flags,
    failure::{Exit, Failure},
    host, logging,
    output::Output,
    session,
    stopping::{Signals, StopSignal},
};

/// Try the ports of this machine for a registry that runs elsewhere.
///
/// A registry tries a port before it tells the caller that it is granted, so that nobody gets one that some program uses
/// already. It can do that only on the machine where it runs; on any other one, this does it for it. Leases there are
/// `verified` then. It grants nothing, and keeps nothing: start as many as you like, on as many machines as you like.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onex agent --nats nats://bus:4222 --host build-7")]
pub(super) struct Agent {
    /// The host that this machine is known by [default: this machine's name].
    #[arg(long, env = "ONEX_HOST", value_name = "NAME", value_parser = host::parse)]
    host: Option<Host>,
    /// What the inboxes of registries begin with that do not use `_INBOX`, with commas between.
    #[arg(
        long,
        env = "ONEX_INBOX_PREFIX",
        value_name = "PREFIX",
        value_delimiter = ','
    )]
    inbox_prefix: Vec<InboxPrefix>,
    /// Log as JSON lines. RUST_LOG says what is logged, `info` by default.
    #[arg(long, env = "ONEX_LOG_JSON")]
    log_json: bool,
}

impl Agent {
    pub(super) async fn run(self, flags: &Flags, output: Output) -> ExitCode {
        logging::start(self.log_json);
        let mut signals = match Signals::catch() {
            Ok(signals) => signals,
            Err(error) => {
                let message = format!("signals cannot be caught: {error}");
                output.failure(&Failure::new(Exit::Failed, "SIGNALS", message));
                return ExitCode::FAILURE;
            }
        };
        let (send_first, first) = watch::channel(None);
        let stop = StopSignal(first);
        let done = tokio::select! {
            done = self.try_ports(flags) => done,
            signal = stop.received() => {
                tracing::info!(signal, "stopped");
                Ok(())
            }
            _ = signals.listen(&send_first) => Ok(()),
        };
        let Err(failure) = done else {
            return ExitCode::SUCCESS;
        };
        output.failure(&failure);
        failure.exit.into()
    }

    async fn try_ports(self, flags: &Flags) -> Result<(), Failure> {
        let target = flags.target()?;
        let host = match self.host {
            // By this name others lease there, whatever else this machine is called.
            Some(host) if !is_loopback(&host) => host,
            other => host::meant(other)?,
        };
        let settings = AgentSettings {
            namespace: flags.namespace(),
            host: host.clone(),
            inboxes: Inboxes::new(self.inbox_prefix),
        };
        let prefix = settings.namespace.prefix();
        let agent = Trying::start(settings, &target.options).await;
        let agent = agent.map_err(|error| match &error {
            StartError::Connect(cause) => session::unconnected(cause, &target),
            _ => Failure::new(Exit::Failed, "AGENT", onex_types::chain(&error)),
        })?;
        let nats = target.options.shown();
        tracing::info!(%host, nats, prefix, "ready: trying ports of this machine");
        match agent.run().await {}
    }
}
