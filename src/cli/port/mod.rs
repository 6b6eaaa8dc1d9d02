//! `onex port`: leases of ports.

mod heartbeat;
mod lease;
mod list;
mod release;
mod resolve;

use clap::Subcommand;

use crate::protocol::port::LeaseReply;

use super::{
    failure::{Exit, Failure},
    node::{listed, said},
    output::{Detail, Table, at, span},
    session::Session,
};

/// Leases ports, keeps them, gives them back, finds them.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  onex port lease --name api --ttl 10m\n  onex port list --mine\n  onex port release --name api"
)]
pub(super) enum Port {
    Lease(lease::Lease),
    Heartbeat(heartbeat::Heartbeat),
    Release(release::Release),
    List(list::List),
    Resolve(resolve::Resolve),
}

impl Port {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::Lease(lease) => lease.run(session).await,
            Self::Heartbeat(heartbeat) => heartbeat.run(session).await,
            Self::Release(release) => release.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Resolve(resolve) => resolve.run(session).await,
        }
    }
}

/// A line for each lease.
pub(super) fn table(leases: &[LeaseReply], detail: Detail) -> Table {
    let mut header = vec!["PORT", "HOST", "NAME", "PROTOCOL", "LEFT", "LEASE ID"];
    if detail.is_wide() {
        header.extend(["NODE", "LABELS", "TTL", "GRANTED", "REQUESTER"]);
    }
    Table::new(&header)
        .rows(leases, |lease| {
            let mut cells = vec![
                address(lease),
                lease.host.to_string(),
                said(lease.name.as_ref()),
                lease.protocol.to_string(),
                left(lease.expires_in_ms),
                lease.lease_id.to_string(),
            ];
            if detail.is_wide() {
                cells.extend([
                    said(lease.node_id.as_ref()),
                    listed(&lease.labels),
                    span(lease.ttl.millis()),
                    at(lease.granted_at),
                    lease.requester_id.to_string(),
                ]);
            }
            cells
        })
        .whole(0)
        .whole(4)
        .whole(5)
}

/// Shows one lease.
fn show(session: &Session, lease: &LeaseReply) -> Result<(), Failure> {
    session.output.show(
        lease,
        |lease| vec![lease.lease_id.to_string()],
        |lease, detail| vec![table(std::slice::from_ref(lease), detail).into()],
    )
}

/// The port with its transport: `20000/tcp`.
pub(super) fn address(lease: &LeaseReply) -> String {
    format!("{}/{}", lease.port, lease.transport)
}

/// What is left of a lease. One whose time is up has not ended before the registry says so.
pub(super) fn left(millis: u64) -> String {
    if millis == 0 {
        return "due".to_owned();
    }
    span(millis)
}
