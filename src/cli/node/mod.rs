//! `onex node`: the nodes that there are.

mod describe;
mod list;
mod sections;

use clap::Subcommand;
use onex_types::ids::NodeId;

use crate::{
    client,
    protocol::{
        error::ErrorCode,
        node_view::{Liveness, NodeItem, NodeListRequest},
    },
};

use super::{
    failure::{Exit, Failure},
    nearest,
    order::Columns,
    output::{Detail, NOTHING, Table, at, shortened, span, word},
    session::Session,
    watch,
};

pub(super) use describe::describe;
pub(super) use sections::trust;

/// Columns of a hash that are shown: the name of its kind and a dozen digits.
const HASH_COLUMNS_MAX: usize = 20;

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

/// What nodes can be sorted by.
pub(super) const COLUMNS: Columns = &[
    ("node", &["node_id"]),
    ("type", &["node_type"]),
    ("version", &["version"]),
    ("state", &["liveness"]),
    ("left", &["expires_in_ms"]),
    ("tools", &["tools"]),
    ("trust", &["trust_state"]),
    ("host", &["host"]),
    ("score", &["trust_score"]),
    ("registered", &["registered_at"]),
    ("epoch", &["epoch"]),
    ("ended", &["ended_at"]),
    ("tags", &["tags"]),
];

/// A line for each node.
pub(super) fn table(nodes: &[NodeItem], detail: Detail) -> Table {
    let mut header = vec!["NODE", "TYPE", "VERSION", "STATE", "TOOLS", "TRUST", "HOST"];
    if detail.is_wide() {
        header.extend(["SCORE", "EPOCH", "REGISTERED", "ENDED", "TAGS"]);
    }
    let table = Table::new(&header).rows(nodes, |node| {
        let mut cells = vec![
            node.node_id.to_string(),
            word(&node.node_type),
            node.version.to_string(),
            state(node),
            tools(node),
            word(&node.trust_state),
            said(node.host.as_ref()),
        ];
        if detail.is_wide() {
            cells.extend([
                score(node.trust_score),
                node.epoch.to_string(),
                at(node.registered_at),
                ended(node),
                listed(&node.tags),
            ]);
        }
        cells
    });
    // Short words are not worth a break.
    [1, 3, 4, 5].into_iter().fold(table, Table::whole)
}

/// Whether it is alive, and if so what is left of its time without a heartbeat.
fn state(node: &NodeItem) -> String {
    let state = word(&node.liveness);
    match node.liveness.known() {
        Some(Liveness::Online) => format!("{state} {}", span(node.expires_in_ms)),
        _ => state,
    }
}

/// How many tools it offers; one that has ended offers none.
fn tools(node: &NodeItem) -> String {
    match node.ended_at {
        Some(_) => NOTHING.to_owned(),
        None => node.tools.to_string(),
    }
}

/// When and how it ended, if it has.
fn ended(node: &NodeItem) -> String {
    match (node.ended_at, &node.ended) {
        (Some(when), Some(how)) => format!("{} ({})", at(when), word(how)),
        (Some(when), None) => at(when),
        (None, _) => NOTHING.to_owned(),
    }
}

/// A score, if anybody has examined it.
pub(super) fn score(score: Option<f64>) -> String {
    score.map_or_else(|| NOTHING.to_owned(), |score| format!("{score:.2}"))
}

/// A hash: what tells it from others, or all of it.
pub(super) fn hash(hash: &str, detail: Detail) -> String {
    match detail {
        Detail::Wide => hash.to_owned(),
        Detail::Short => shortened(hash, HASH_COLUMNS_MAX).into_owned(),
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
