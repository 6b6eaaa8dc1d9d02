//! `onex node`: the nodes that there are.

mod describe;
mod list;
mod rows;
mod sections;
mod suggestion;

use clap::Subcommand;

use super::{
    failure::{Exit, Failure},
    session::Session,
};

pub(super) use describe::describe;
pub(super) use rows::table;
pub(super) use sections::trust;
pub(super) use suggestion::suggest;

/// List nodes, and describe what they are and offer.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  onex node list --liveness online\n  onex node describe calc.1"
)]
pub(super) enum Node {
    List(list::List),
    Describe(describe::Describe),
}

impl Node {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(session).await,
            Self::Describe(describe) => describe.run(session).await,
        }
    }
}
