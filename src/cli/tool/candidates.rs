//! The nodes that offer a tool, and why each is asked or not.

use std::time::Duration;

use serde_json::Value;

use crate::{
    cli::{
        cells::said,
        output::{Detail, NOTHING, Table, word},
    },
    client,
    protocol::{
        bounds::Open,
        invoke::{Candidate, Reason},
    },
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

/// Those in the details of a refusal.
pub(super) fn read(details: Value) -> Vec<Candidate> {
    serde_json::from_value(details).unwrap_or_default()
}

/// The message of a refusal without the reasons of these, which follow below it.
pub(super) fn without_reasons<'a>(message: &'a str, candidates: &[Candidate]) -> &'a str {
    let mut reasons: Vec<&str> = Vec::new();
    // The message of a call that names its node is about that one alone.
    let not_pinned = Some(Open::Known(Reason::NotPinned));
    let meant = candidates.iter().filter(|one| one.reason != not_pinned);
    for reason in meant.filter_map(|one| one.message.as_deref()) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    let without = message.strip_suffix(&reasons.join("; "));
    without.map_or(message, |rest| {
        let rest = rest.trim_end_matches(": ");
        rest.strip_suffix("; of a node that offers it")
            .unwrap_or(rest)
    })
}

/// Each of them: `calc 1.2.0: its time is up`.
pub(super) fn lines(candidates: &[Candidate]) -> Vec<String> {
    candidates
        .iter()
        .map(|one| {
            let why = said(one.message.as_ref());
            format!("{} {}: {why}", one.node_id, one.tool_version)
        })
        .collect()
}
