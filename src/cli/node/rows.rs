//! A line for each node.

use crate::{
    cli::{
        cells::{listed, said, score},
        order::Columns,
        output::{Detail, NOTHING, Table, at, span, word},
    },
    protocol::node_view::{Liveness, NodeItem},
};

/// What nodes can be sorted by.
pub(in crate::cli) const COLUMNS: Columns = &[
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
pub(in crate::cli) fn table(nodes: &[NodeItem], detail: Detail) -> Table {
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
