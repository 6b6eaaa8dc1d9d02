//! `onex admin`: what an administrator takes away from others.

use clap::{Args, Subcommand};
use onex_machine::new_id;
use onex_types::{
    ids::{Host, LeaseId, NodeId, Port, Reason, RequestId, Transport},
    kinds::LeaseEnd,
};
use serde::Serialize;

use crate::protocol::{
    admin::{EvictRequest, ForgetHostRequest, RevokeRequest, UnquarantineRequest},
    error::ErrorCode,
    port::{LeaseReply, ListRequest},
};

use super::{
    failure::{Exit, Failure},
    host, node,
    output::{Table, at, word},
    parse, port,
    session::Session,
    typed::argument,
};

/// Take away leases and nodes that hang, and let ports be granted again.
///
/// Each says why with --reason: that is in the event, in the registry's log, and in what whoever had it is told.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  onex admin revoke --port 20080 --host build-7 --reason \"its build was killed\"\n  \
        onex admin evict calc.1 --reason \"it hangs\""
)]
pub(super) enum Admin {
    Revoke(Revoke),
    Unquarantine(Unquarantine),
    Evict(Evict),
    ForgetHost(ForgetHost),
}

/// Why it is done.
#[derive(Debug, Args)]
struct Why {
    /// Why, in 1 to 256 characters.
    #[arg(long, value_name = "TEXT")]
    reason: Reason,
}

/// Take a lease away from its holder.
///
/// The holder does not know and may use the port until its time is up, so nobody gets it before: for the lease's TTL
/// from now on. A lease that ends with a node is taken away with the node only: see `onex admin evict`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex admin revoke --port 20080 --host build-7 --reason \"its build was killed\"\n  \
        onex admin revoke --lease-id 0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f --reason \"it hangs\""
)]
#[group(id = "which", required = true, args = ["lease_id", "port"])]
pub(super) struct Revoke {
    /// The lease.
    #[arg(long, value_name = "UUID", value_parser = parse::lease_id, conflicts_with_all = ["port", "host", "transport"])]
    lease_id: Option<LeaseId>,
    /// The lease of this port.
    #[arg(long, value_parser = parse::port)]
    port: Option<Port>,
    /// The one on this host, where it is held on several.
    #[arg(long, value_name = "NAME", value_parser = host::parse)]
    host: Option<Host>,
    /// The one in this port space, tcp or udp, where it is held in both.
    #[arg(long)]
    transport: Option<Transport>,
    #[command(flatten)]
    why: Why,
}

/// Let a port be granted again that is quarantined because another program was using it.
///
/// A port that cools down is refused: its last holder may still count on it.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  onex admin unquarantine --port 20080 --reason \"the other program is gone\""
)]
pub(super) struct Unquarantine {
    /// The port.
    #[arg(long, value_parser = parse::port)]
    port: Port,
    /// On which host [default: this machine].
    #[arg(long, value_name = "NAME", value_parser = host::parse)]
    host: Option<Host>,
    /// In which port space, tcp or udp [default: tcp].
    #[arg(long)]
    transport: Option<Transport>,
    #[command(flatten)]
    why: Why,
}

/// End a node, whoever registered it, and with it its leases, tools and buses.
///
/// Its process is told so at its next heartbeat, and may use its ports until then: nobody gets them before its time is
/// up. It can be registered again, in another epoch.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onex admin evict calc.1 --reason \"it hangs\"")]
pub(super) struct Evict {
    /// The node.
    #[arg(value_name = "NODE")]
    node_id: NodeId,
    /// Only this life of it [default: the present one].
    #[arg(long, value_name = "N")]
    epoch: Option<u64>,
    #[command(flatten)]
    why: Why,
}

/// Have a host forgotten on which nothing is: its pool, its names, and who had its ports last.
///
/// Refused while a registry or a node runs there, a port is held, or its last holder may still count on it. A host is
/// forgotten by itself when nothing has happened there for an hour (the registry's --retention), unless it has a pool.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  onex admin forget-host build-8 --reason \"its machine is gone\""
)]
pub(super) struct ForgetHost {
    /// The host, by the name under which `onex pool list` shows it.
    #[arg(value_name = "HOST", value_parser = host::parse)]
    host: Host,
    #[command(flatten)]
    why: Why,
}

impl Admin {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::Revoke(revoke) => revoke.run(session).await,
            Self::Unquarantine(unquarantine) => unquarantine.run(session).await,
            Self::Evict(evict) => evict.run(session).await,
            Self::ForgetHost(forget) => forget.run(session).await,
        }
    }
}

impl Revoke {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let lease_id = match self.lease_id {
            Some(lease_id) => Some(lease_id),
            None => self.look_up(session).await?,
        };
        // By its id: whoever has the port by then keeps it.
        let port = self.port.filter(|_| lease_id.is_none());
        let host = match port {
            Some(_) => Some(host::meant(self.host)?),
            None => None,
        };
        let request = RevokeRequest {
            lease_id,
            port,
            host,
            transport: self.transport.filter(|_| port.is_some()),
            reason: self.why.reason,
            request_id: Some(RequestId(new_id())),
            min_revision: None,
        };
        let revoked = session.client.revoke_lease(&request).await;
        let revoked = session.settle(revoked).await.map_err(|failure| {
            if failure.is(ErrorCode::Conflict) {
                failure.hint("`onex admin evict NODE` ends the node, with all that it has")
            } else if failure.is(ErrorCode::LeaseNotFound) {
                failure.hint("`onex port list` shows all leases")
            } else {
                failure
            }
        })?;
        let ended = at(revoked.ended_at);
        let row = [revoked.lease_id.to_string(), word(&revoked.outcome), ended];
        show(session, &revoked, 0, ["LEASE ID", "OUTCOME", "ENDED"], &row)?;
        if revoked.outcome.known() == Some(&LeaseEnd::Revoked) {
            session.output.note(
                "Its holder may use its ports until its time is up: nobody gets them before.",
            );
        }
        Ok(Exit::Done)
    }

    /// The lease that has the port; none where nobody is seen to.
    async fn look_up(&self, session: &Session) -> Result<Option<LeaseId>, Failure> {
        let request = ListRequest {
            host: self.host.clone().map(host::named).transpose()?,
            port: self.port,
            ..ListRequest::default()
        };
        let mut found = session.all(&request).await?.items;
        let is_meant = |lease: &LeaseReply| {
            self.transport.is_none_or(|transport| {
                lease.transport == transport || lease.transports.contains(&transport)
            })
        };
        found.retain(is_meant);
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.lease_id)),
            several => {
                let shown = several
                    .iter()
                    .map(|lease| format!("{} on {}", port::address(lease), lease.host));
                let shown = shown.collect::<Vec<_>>().join(", ");
                let message = format!("several leases have that port: {shown}");
                Err(Failure::new(Exit::Failed, "AMBIGUOUS", message)
                    .hint("say which with --host, --transport or --lease-id"))
            }
        }
    }
}

impl Unquarantine {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = UnquarantineRequest {
            port: self.port,
            host: Some(host::meant(self.host)?),
            transport: self.transport,
            reason: self.why.reason,
            request_id: Some(RequestId(new_id())),
            min_revision: None,
        };
        let named = request.host.iter();
        let host = named.map(|host| argument(("--host", host.to_string())));
        let host: String = host.collect();
        let freed = session.client.unquarantine_port(&request).await;
        let freed = session.settle(freed).await.map_err(|failure| {
            if failure.is(ErrorCode::PortUnavailable) {
                failure.hint(format!(
                    "`onex port explain {}{host}` says what it is, and until when",
                    request.port
                ))
            } else {
                failure
            }
        })?;
        let (host, port) = (freed.host.to_string(), freed.port.to_string());
        let row = [host, port, freed.transport.to_string()];
        show(session, &freed, 1, ["HOST", "PORT", "TRANSPORT"], &row)?;
        Ok(Exit::Done)
    }
}

impl Evict {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = EvictRequest {
            node_id: self.node_id,
            epoch: self.epoch,
            reason: self.why.reason,
            request_id: Some(RequestId(new_id())),
            min_revision: None,
        };
        let evicted = session.client.evict_node(&request).await;
        let evicted = match session.settle(evicted).await {
            Ok(evicted) => evicted,
            Err(failure) => return Err(node::suggest(session, failure, &request.node_id).await),
        };
        let (node_id, epoch) = (evicted.node_id.to_string(), evicted.epoch.to_string());
        let row = [node_id, epoch, word(&evicted.status), at(evicted.ended_at)];
        show(
            session,
            &evicted,
            0,
            ["NODE", "EPOCH", "STATUS", "ENDED"],
            &row,
        )?;
        Ok(Exit::Done)
    }
}

impl ForgetHost {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = ForgetHostRequest {
            host: self.host,
            reason: self.why.reason,
            request_id: Some(RequestId(new_id())),
            min_revision: None,
        };
        let forgotten = session.client.forget_host(&request).await;
        let forgotten = session.settle(forgotten).await.map_err(|failure| {
            if failure.is(ErrorCode::Conflict) {
                failure.hint("`onex port list` and `onex node list` show what is there")
            } else {
                failure
            }
        })?;
        show(
            session,
            &forgotten,
            0,
            ["HOST"],
            &[forgotten.host.to_string()],
        )?;
        Ok(Exit::Done)
    }
}

/// Shows a reply as a row of a table; the cell at `name` says which it is.
fn show<T: Serialize, const N: usize>(
    session: &Session,
    reply: &T,
    name: usize,
    header: [&str; N],
    row: &[String; N],
) -> Result<(), Failure> {
    session.output.show(
        reply,
        |_| row.iter().skip(name).take(1).cloned().collect(),
        |_, _| vec![Table::new(&header).row(row).into()],
    )
}
