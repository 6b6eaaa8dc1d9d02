//! `onex node`: the nodes that there are.

mod describe;
mod list;
mod sections;

use clap::Subcommand;

use crate::{
    client,
    domain::ids::NodeId,
    protocol::{
        error::ErrorCode,
        node_view::{Liveness, NodeItem, NodeListRequest},
    },
};

use super::{
    failure::{Exit, Failure},
    nearest,
    output::{Detail, NOTHING, Table, at, span, word},
    session::Session,
    watch,
};

pub(super) use describe::describe;
pub(super) use sections::trust;

/// Finds nodes, and says what they are and offer.
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

/// A line for each node.
pub(super) fn table(nodes: &[NodeItem], detail: Detail) -> Table {
    let mut header = vec![
        "NODE", "TYPE", "VERSION", "STATE", "LEFT", "TOOLS", "TRUST", "HOST",
    ];
    if detail.is_wide() {
        header.extend(["EPOCH", "REGISTERED", "ENDED", "TAGS"]);
    }
    let table = Table::new(&header).rows(nodes, |node| {
        let mut cells = vec![
            node.node_id.to_string(),
            word(&node.node_type),
            node.version.to_string(),
            state(node),
            left(node),
            node.tools.to_string(),
            trusted(&word(&node.trust_state), node.trust_score),
            said(node.host.as_ref()),
        ];
        if detail.is_wide() {
            cells.extend([
                node.epoch.to_string(),
                at(node.registered_at),
                node.ended_at.map_or_else(|| NOTHING.to_owned(), at),
                listed(&node.tags),
            ]);
        }
        cells
    });
    // Short words that read as others when they are broken.
    [1, 4, 5].into_iter().fold(table, Table::whole)
}

/// Whether it is alive, and if not how it ended.
fn state(node: &NodeItem) -> String {
    match &node.ended {
        Some(how) => word(how),
        None => word(&node.liveness),
    }
}

/// What is left of its time without a heartbeat.
fn left(node: &NodeItem) -> String {
    if node.liveness.known() == Some(&Liveness::Ended) {
        return NOTHING.to_owned();
    }
    if node.expires_in_ms == 0 {
        return "due".to_owned();
    }
    span(node.expires_in_ms)
}

/// `trusted 0.67`; without a number while nobody has examined it.
pub(super) fn trusted(state: &str, score: Option<f64>) -> String {
    match score {
        Some(score) => format!("{state} {score:.2}"),
        None => state.to_owned(),
    }
}

/// What was said, if anything.
pub(super) fn said<T: ToString>(text: Option<&T>) -> String {
    text.map_or_else(|| NOTHING.to_owned(), ToString::to_string)
}

/// All of them, if there are any.
pub(super) fn listed<T: ToString>(all: &[T]) -> String {
    if all.is_empty() {
        return NOTHING.to_owned();
    }
    let texts: Vec<_> = all.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// The failure, with the node that was probably meant where there is none of that name.
pub(super) async fn suggest(session: &Session, failure: Failure, node_id: &NodeId) -> Failure {
    let nodes = async {
        let request = NodeListRequest {
            limit: watch::most(),
            ..NodeListRequest::default()
        };
        let page = session.client.nodes(&request).await?;
        let names = page.items.iter().map(|node| node.node_id.to_string());
        Ok::<Vec<String>, client::Error>(names.collect())
    };
    nearest::suggest(failure, ErrorCode::NodeNotFound, node_id.as_str(), nodes).await
}
