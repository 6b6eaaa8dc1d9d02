//! `onex tool`: the tools that nodes offer.

mod arguments;
mod candidates;
mod choice;
mod describe;
mod dry_run;
mod invoke;
mod list;
mod offer;
mod refusal;
mod resolve;
mod rows;
mod suggestion;

use clap::Subcommand;

use super::{
    failure::{Exit, Failure},
    session::Session,
};

pub(super) use offer::{Offer, lines};
pub(super) use rows::table;

/// List, describe and call tools.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  onex tool list --tag math\n  onex tool describe add\n  \
        onex tool invoke add --args '{\"a\": 1, \"b\": 2}'"
)]
pub(super) enum Tool {
    List(list::List),
    Describe(describe::Describe),
    Invoke(invoke::Invoke),
    Resolve(resolve::Resolve),
}

impl Tool {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(session).await,
            Self::Describe(describe) => describe.run(session).await,
            Self::Invoke(invoke) => invoke.run(session).await,
            Self::Resolve(resolve) => resolve.run(session).await,
        }
    }
}
