//! `onex node describe`, and `onex describe --node`.

use clap::Args;
use onex_types::ids::NodeId;

use crate::{
    cli::{
        failure::{Exit, Failure},
        parse,
        session::Session,
    },
    protocol::node_view::Section,
};

use super::{sections, suggestion::suggest};

/// Describe a node: what it is, where it listens, what it offers, and how far it is trusted.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex node describe calc.1\n  onex node describe calc.1 --section tools --section trust"
)]
pub(in crate::cli) struct Describe {
    /// The node.
    #[arg(value_name = "NODE")]
    node_id: NodeId,
    /// Only this: node, ports, schema, trust, tools or buses; may be given several times.
    #[arg(long = "section", value_name = "SECTION", value_parser = parse::section)]
    sections: Vec<Section>,
}

impl Describe {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        describe(session, self.node_id, self.sections).await
    }
}

/// Describes a node: those sections, or all if none are named.
pub(in crate::cli) async fn describe(
    session: &Session,
    node_id: NodeId,
    sections: Vec<Section>,
) -> Result<Exit, Failure> {
    let wanted = Some(sections).filter(|sections| !sections.is_empty());
    let called = session.client.describe_node(node_id.clone(), wanted).await;
    let reply = match session.seen(called).await {
        Ok(reply) => reply,
        Err(failure) => return Err(suggest(session, failure, &node_id).await),
    };
    session.output.show(
        &reply,
        |reply| vec![reply.node_id.to_string()],
        sections::blocks,
    )?;
    Ok(Exit::Done)
}
