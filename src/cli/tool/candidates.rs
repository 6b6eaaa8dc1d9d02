//! The nodes that offer a tool, and why each is asked or not.

use std::time::Duration;

use serde_json::Value;

use crate::{
    cli::{
        node::said,
        output::{Detail, NOTHING, Table, word},
    },
    client,
    protocol::invoke::Candidate,
};

/// A line for each of them.
pub(super) fn table(candidates: &[Candidate], detail: Detail) -> Table {
    let mut header = vec!["NODE", "VERSION", "STATE", "UNDER WAY", "RECENT", "TRUST"];
    if detail.is_wide() {
        header.push("CONTRACT");
    }
    header.push("REASON");
    Table::new(&header)
        .rows(candidates, |candidate| {
            let mut cells = vec![
                candidate.node_id.to_string(),
                candidate.tool_version.to_string(),
                word(&candidate.state),
                candidate.in_flight.to_string(),
                recent(candidate.recent_ms),
                word(&candidate.trust_state),
            ];
            if detail.is_wide() {
                cells.push(candidate.contract_hash.clone());
            }
            cells.push(said(candidate.message.as_ref()));
            cells
        })
        .whole(2)
        .whole(4)
}

/// How long it took lately.
fn recent(millis: Option<f64>) -> String {
    let time = millis.and_then(|millis| Duration::try_from_secs_f64(millis / 1000.0).ok());
    time.map_or_else(|| NOTHING.to_owned(), client::span)
}

/// Those that a refusal names: `calc 1.2.0: its time is up`.
pub(super) fn lines(details: &Value) -> Vec<String> {
    let candidates: Vec<Candidate> = serde_json::from_value(details.clone()).unwrap_or_default();
    candidates
        .iter()
        .map(|one| {
            let why = said(one.message.as_ref());
            format!("{} {}: {why}", one.node_id, one.tool_version)
        })
        .collect()
}
