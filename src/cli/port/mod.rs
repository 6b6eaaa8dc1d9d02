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
    output::{Table, span},
    session::Session,
};

/// Leases ports, keeps them, gives them back, finds them.
#[derive(Debug, Subcommand)]
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
fn table(leases: &[LeaseReply]) -> Table {
    let header = ["PORT", "HOST", "NAME", "PROTOCOL", "LEFT", "LEASE ID"];
    Table::new(&header)
        .rows(leases, |lease| {
            [
                address(lease),
                lease.host.to_string(),
                lease
                    .name
                    .as_ref()
                    .map_or("-", |name| name.as_str())
                    .to_owned(),
                lease.protocol.to_string(),
                left(lease.expires_in_ms),
                lease.lease_id.to_string(),
            ]
        })
        .whole(0)
        .whole(4)
        .whole(5)
}

/// The port with its transport: `20000/tcp`.
fn address(lease: &LeaseReply) -> String {
    format!("{}/{}", lease.port, lease.transport)
}

/// What is left of a lease. One whose time is up has not ended before the registry says so.
fn left(millis: u64) -> String {
    if millis == 0 {
        return "due".to_owned();
    }
    span(millis)
}
