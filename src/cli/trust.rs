//! `onex trust`: how far nodes are trusted.

use clap::{Args, Subcommand};
use onex_types::ids::NodeId;

use crate::protocol::trust::TrustGetRequest;

use super::{
    failure::{Exit, Failure},
    node,
    output::Block,
    session::Session,
};

/// Show how far nodes are trusted.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  onex trust get calc.1")]
pub(super) enum Trust {
    Get(Get),
}

/// Show how far a node is trusted, and what that was computed from.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onex trust get calc.1")]
pub(super) struct Get {
    /// The node.
    #[arg(value_name = "NODE")]
    node_id: NodeId,
}

impl Trust {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let Self::Get(get) = self;
        let request = TrustGetRequest {
            node_id: get.node_id,
            min_revision: None,
        };
        let called = session.client.trust(&request).await;
        let reply = match session.seen(called).await {
            Ok(reply) => reply,
            Err(failure) => return Err(node::suggest(session, failure, &request.node_id).await),
        };
        session.output.show(
            &reply,
            |reply| vec![reply.node_id.to_string()],
            |reply, detail| {
                let heading = Block::Heading(format!("TRUST IN {}", reply.node_id));
                vec![heading, node::trust(&reply.trust, detail)]
            },
        )?;
        Ok(Exit::Done)
    }
}
