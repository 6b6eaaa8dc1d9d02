//! `onex port`: leases of ports.

mod heartbeat;
mod lease;
mod list;
mod release;
mod resolve;
mod rows;

use clap::Subcommand;

use super::{
    failure::{Exit, Failure},
    session::Session,
};

pub(super) use rows::{address, left, table};

/// Lease, renew, release, list and resolve ports.
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
