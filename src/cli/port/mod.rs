//! `onex port`: leases of ports.

mod explain;
mod heartbeat;
mod lease;
mod list;
mod own;
mod rebind;
mod release;
mod resolve;
mod rows;

use clap::Subcommand;

use super::{
    failure::{Exit, Failure},
    session::Session,
};

pub(super) use rows::{address, left, table};

/// Lease, renew, release, rebind, list, resolve and explain ports.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  onex port lease --name api --ttl 10m\n  onex port list --mine\n  onex port release --name api"
)]
pub(super) enum Port {
    Lease(lease::Lease),
    Heartbeat(heartbeat::Heartbeat),
    Release(release::Release),
    Rebind(rebind::Rebind),
    List(list::List),
    Resolve(resolve::Resolve),
    #[command(visible_alias = "who")]
    Explain(explain::Explain),
}

impl Port {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::Lease(lease) => lease.run(session).await,
            Self::Heartbeat(heartbeat) => heartbeat.run(session).await,
            Self::Release(release) => release.run(session).await,
            Self::Rebind(rebind) => rebind.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Resolve(resolve) => resolve.run(session).await,
            Self::Explain(explain) => explain.run(session).await,
        }
    }
}
