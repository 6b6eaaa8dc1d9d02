//! `onex port rebind`

use clap::Args;
use onex_machine::new_id;
use onex_types::ids::{Host, LeaseId, Port, Reason, RequestId, Transport};

use crate::{
    cli::{
        failure::{Exit, Failure},
        host, parse,
        requester::Who,
        session::Session,
    },
    protocol::port::RebindRequest,
};

use super::{own::OwnLease, rows};

/// Get another port for one of a lease that cannot be used. Stop using it before.
///
/// The lease stays the same, with its other ports. Nobody gets the port that is given up for a minute, or for the TTL of the
/// lease if that is longer. Nodes and buses that were announced at it are announced at the new one.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex port rebind 20080\n  onex port rebind 20080 --host build-7 -o port"
)]
pub(in crate::cli) struct Rebind {
    /// The port that is given up.
    #[arg(value_parser = parse::port)]
    port: Port,
    /// The lease that has it [default: the one that you hold on this port].
    #[arg(long, value_name = "UUID", value_parser = parse::lease_id, conflicts_with_all = ["host", "transport"])]
    lease_id: Option<LeaseId>,
    /// The one on this host, where you hold it on several.
    #[arg(long, value_name = "NAME", value_parser = host::parse)]
    host: Option<Host>,
    /// The one in this port space, tcp or udp, where you hold it in both.
    #[arg(long)]
    transport: Option<Transport>,
    /// Why, for people: it is in the event.
    #[arg(long, value_name = "TEXT")]
    reason: Option<Reason>,
    /// Your name for this request [default: a new one].
    #[arg(long, value_name = "UUID", value_parser = parse::request_id)]
    request_id: Option<RequestId>,
    #[command(flatten)]
    who: Who,
}

impl Rebind {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let requester_id = self.who.id()?;
        let meant = OwnLease {
            port: Some(self.port),
            name: None,
            host: self.host.as_ref(),
            transport: self.transport,
        };
        let lease_id = match self.lease_id {
            Some(lease_id) => lease_id,
            None => meant.look_up(session, requester_id).await?.lease_id,
        };
        let request_id = self.request_id.unwrap_or_else(|| RequestId(new_id()));
        let request = RebindRequest {
            requester_id,
            lease_id,
            port: self.port,
            reason: self.reason,
            request_id: Some(request_id),
            min_revision: None,
        };
        let lease = session.client.rebind(&request).await;
        let lease = session.settle(lease).await.map_err(|failure| {
            // It cannot be found by that port any more.
            let flags = format!("--lease-id {} --request-id {}", lease_id.0, request_id.0);
            failure.repeat_with(request_id, &flags)
        })?;
        rows::show(session, &lease)?;
        session.output.warnings(&lease.warnings);
        Ok(Exit::Done)
    }
}
