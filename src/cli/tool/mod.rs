//! `onex tool`: the tools that nodes offer.

mod arguments;
mod candidates;
mod choice;
mod describe;
mod dry_run;
mod invoke;
mod list;
mod refusal;
mod resolve;

use clap::Subcommand;
use onex_types::ids::Token;

use crate::{
    client,
    protocol::{
        bounds::Text,
        error::ErrorCode,
        tool::{Tool as Contract, ToolItem, ToolListRequest},
    },
};

use super::{
    failure::{Exit, Failure},
    nearest,
    node::listed,
    order::Columns,
    output::{Detail, Line, NOTHING, SECTION_INDENT, Table, first_line, yes_or_no},
    session::Session,
    signature::signature,
    watch,
};

/// Columns before what is said about a tool, below its signature.
const ABOUT_INDENT: u16 = 4;
/// Columns before what of a signature does not fit on its line.
const SIGNATURE_INDENT: u16 = 8;

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

/// The failure, with the tool that was probably meant where there is none of that name.
async fn suggest(session: &Session, failure: Failure, name: &Token) -> Failure {
    let tools = async {
        let request = ToolListRequest {
            limit: watch::most(),
            ..ToolListRequest::default()
        };
        let page = session.client.tools(&request).await?;
        let names = page.items.iter().map(|tool| tool.name.to_string());
        Ok::<Vec<String>, client::Error>(names.collect())
    };
    nearest::suggest(failure, ErrorCode::ToolNotFound, name.as_str(), tools).await
}

/// A tool as one node offers it.
pub(super) struct Offer<'a> {
    pub(super) tool: &'a Contract,
    pub(super) contract_hash: &'a str,
    /// Whether others offer another contract by that name and version.
    pub(super) collision: bool,
}

/// A tool among others: how it is called, what is to be known of it, what it does.
pub(super) fn lines(offer: &Offer<'_>, detail: Detail) -> Vec<Line> {
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

/// What tools can be sorted by.
pub(super) const COLUMNS: Columns = &[
    ("tool", &["name"]),
    ("providers", &["providers"]),
    ("collision", &["collision"]),
    ("versions", &["versions"]),
    ("tags", &["tags"]),
    ("nodes", &["provider_node_ids"]),
    ("contract", &["contract_hash"]),
];

/// A line for each tool.
pub(super) fn table(tools: &[ToolItem], detail: Detail) -> Table {
    let mut header = vec!["TOOL", "VERSIONS", "PROVIDERS", "COLLISION", "TAGS"];
    if detail.is_wide() {
        header.extend(["NODES", "CONTRACT"]);
    }
    let table = Table::new(&header).rows(tools, |tool| {
        let mut cells = vec![
            tool.name.to_string(),
            listed(&tool.versions),
            tool.providers.to_string(),
            yes_or_no(tool.collision).to_owned(),
            listed(&tool.tags),
        ];
        if detail.is_wide() {
            let mut nodes = listed(&tool.provider_node_ids);
            if tool.providers > tool.provider_node_ids.len() {
                nodes += ", …";
            }
            let several = || "several".to_owned();
            cells.extend([nodes, tool.contract_hash.clone().unwrap_or_else(several)]);
        }
        cells
    });
    [2, 3].into_iter().fold(table, Table::whole)
}
