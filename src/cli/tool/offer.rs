//! A tool as one node offers it, among others.

use crate::{
    cli::{
        cells::listed,
        output::{Detail, Line, NOTHING, SECTION_INDENT, first_line},
        signature::signature,
    },
    protocol::{bounds::Text, tool::Tool as Contract},
};

/// Columns before what is said about a tool, below its signature.
const ABOUT_INDENT: u16 = 4;
/// Columns before what of a signature does not fit on its line.
pub(super) const SIGNATURE_INDENT: u16 = 8;

/// A tool as one node offers it.
pub(in crate::cli) struct Offer<'a> {
    pub(in crate::cli) tool: &'a Contract,
    pub(in crate::cli) contract_hash: &'a str,
    /// Whether others offer another contract by that name and version.
    pub(in crate::cli) collision: bool,
}

/// A tool among others: how it is called, what is to be known of it, what it does.
pub(in crate::cli) fn lines(offer: &Offer<'_>, detail: Detail) -> Vec<Line> {
    let Offer {
        tool,
        contract_hash,
        collision,
    } = offer;
    let call = signature(tool.name.as_str(), &tool.input_schema, &tool.output_schema);
    let about = |text: String| Line::new(ABOUT_INDENT, ABOUT_INDENT, text);
    let mut lines = vec![
        Line::new(SECTION_INDENT, SIGNATURE_INDENT, call),
        about(remarks(tool, *collision)),
    ];
    let description = tool.description.as_ref().map(Text::as_str);
    let description = description.unwrap_or_default();
    match detail {
        Detail::Short => {
            let first = first_line(description);
            lines.extend((!first.is_empty()).then(|| Line::cut(ABOUT_INDENT, first)));
        }
        Detail::Wide => {
            let all = description.lines().filter(|line| !line.trim().is_empty());
            lines.extend(all.map(|line| about(line.to_owned())));
            let subject = tool.subject.as_ref().map_or(NOTHING, |text| text.as_str());
            lines.push(about(format!("subject {subject}")));
            lines.push(about(format!("contract {contract_hash}")));
            let more = [
                ("tags", listed(&tool.tags)),
                ("errors", listed(&tool.error_codes)),
            ];
            let more = more.into_iter().filter(|(_, text)| text != NOTHING);
            lines.extend(more.map(|(name, text)| about(format!("{name} {text}"))));
        }
    }
    lines
}

/// `1.0.0; idempotent; side effects: disk; COLLISION: …`
fn remarks(tool: &Contract, collision: bool) -> String {
    let mut remarks = vec![tool.version.to_string()];
    if tool.idempotent {
        remarks.push("idempotent".to_owned());
    }
    if !tool.side_effects.is_empty() {
        remarks.push(format!("side effects: {}", listed(&tool.side_effects)));
    }
    if collision {
        remarks.push("COLLISION: others offer it under another contract".to_owned());
    }
    remarks.join("; ")
}
