//! `onex tool describe`

use clap::Args;
use onex_types::ids::Token;
use semver::Version;
use serde_json::Value;

use crate::{
    cli::{
        cells::{hash, listed, said, score},
        failure::{Exit, Failure},
        output::{
            Block, Detail, Line, Lines, NOTHING, SECTION_INDENT, Table, json, span, word, yes_or_no,
        },
        session::Session,
        signature::{arguments, kind, signature},
        watch,
    },
    protocol::{
        bounds::Text,
        error::ErrorCode,
        tool::{Provider, ToolDescribeReply, ToolDescribeRequest, ToolListRequest},
    },
};

use super::{offer::SIGNATURE_INDENT, suggestion};

/// Describe a tool: its arguments, its result, and the nodes that offer it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex tool describe add --version 1.0.0\n  onex tool describe add -o json"
)]
pub(in crate::cli) struct Describe {
    /// The tool.
    #[arg(value_name = "NAME")]
    name: Token,
    /// Which version [default: the newest that a live node offers].
    #[arg(long)]
    version: Option<Version>,
}

impl Describe {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = ToolDescribeRequest {
            name: self.name,
            version: self.version,
            limit: watch::most(),
            cursor: None,
            min_revision: None,
        };
        let called = session.client.all(&request).await;
        let reply = match session.seen(called).await {
            Ok(reply) => reply,
            Err(failure) => return Err(suggest(session, failure, &request).await),
        };
        session
            .output
            .show(&reply, |reply| vec![reply.name.to_string()], blocks)?;
        Ok(Exit::Done)
    }
}

/// The failure, with the versions that there are, or the tool that was probably meant.
async fn suggest(session: &Session, failure: Failure, asked: &ToolDescribeRequest) -> Failure {
    let name = asked.name.as_str();
    if asked.version.is_some() && failure.is(ErrorCode::ToolNotFound) {
        let request = ToolListRequest {
            name: Some(asked.name.clone()),
            ..ToolListRequest::default()
        };
        let found = session.client.tools(&request).await;
        if let Some(tool) = found.ok().and_then(|page| page.items.into_iter().next()) {
            return failure.hint(format!("{name} is offered as {}", listed(&tool.versions)));
        }
    }
    suggestion::suggest(session, failure, &asked.name).await
}

fn blocks(reply: &ToolDescribeReply, detail: Detail) -> Vec<Block> {
    let contract = &reply.contract;
    let (input, output) = (&contract.input_schema, &contract.output_schema);
    let call = signature(reply.name.as_str(), input, output);
    let description = contract.description.as_ref().map(Text::as_str);
    let mut blocks = vec![
        Block::Heading(format!("TOOL {} {}", reply.name, reply.version)),
        Lines::from_iter([Line::new(SECTION_INDENT, SIGNATURE_INDENT, call)]).into(),
        Lines::paragraphs(SECTION_INDENT, description.unwrap_or_default()).into(),
        Block::Table(summary(reply, detail), SECTION_INDENT),
    ];
    if !arguments(input).is_empty() {
        blocks.push(Block::Heading("ARGUMENTS".to_owned()));
        blocks.push(Block::Table(argument_table(input), SECTION_INDENT));
    }
    let count = reply.providers.len();
    blocks.push(Block::Heading(format!("PROVIDERS ({count})")));
    let providers = providers(&reply.providers, reply.collision, detail);
    blocks.push(Block::Table(providers, SECTION_INDENT));
    if !reply.variants.is_empty() {
        let count = reply.variants.len();
        let heading = format!("OTHER CONTRACTS BY THIS NAME AND VERSION ({count})");
        blocks.push(Block::Heading(heading));
        blocks.push(variants(reply, detail).into());
    }
    for (heading, schema) in [("INPUT SCHEMA", input), ("OUTPUT SCHEMA", output)] {
        blocks.push(Block::Heading(heading.to_owned()));
        let text = json(schema).unwrap_or_default();
        blocks.push(Lines::verbatim(SECTION_INDENT, &text).into());
    }
    blocks
}

fn summary(reply: &ToolDescribeReply, detail: Detail) -> Table {
    let contract = &reply.contract;
    let collision = match reply.variants.len() {
        0 if !reply.collision => "no".to_owned(),
        count => format!(
            "yes: nodes offer {} contracts by this name and version",
            count + 1
        ),
    };
    let idempotent = if contract.idempotent {
        "yes"
    } else {
        "no: calling it twice may do more than calling it once"
    };
    let mut table = Table::values()
        .row(["Versions", &listed(&reply.versions)])
        .row(["Idempotent", idempotent]);
    if let Some(millis) = contract.attempt_timeout_ms {
        table = table.row(["Attempt", &format!("{} for each node", span(millis))]);
    }
    table
        .row(["Side effects", &listed(&contract.side_effects)])
        .row(["Error codes", &listed(&contract.error_codes)])
        .row(["Tags", &listed(&contract.tags)])
        .row(["Collision", &collision])
        .row(["Contract", &hash(&reply.contract_hash, detail)])
}

fn argument_table(input: &Value) -> Table {
    Table::new(&["NAME", "TYPE", "REQUIRED", "DESCRIPTION"])
        .rows(arguments(input), |(name, schema, required)| {
            let description = schema.get("description").and_then(Value::as_str);
            [
                name.to_owned(),
                kind(input, schema),
                yes_or_no(required).to_owned(),
                description.unwrap_or(NOTHING).to_owned(),
            ]
        })
        .whole(2)
}

/// A line for each node that offers it; which contract, where there are several.
fn providers(providers: &[Provider], several: bool, detail: Detail) -> Table {
    let mut header = vec!["NODE", "HOST", "LEFT", "TRUST", "SCORE"];
    if several {
        header.push("CONTRACT");
    }
    if detail.is_wide() {
        header.extend(["SUBJECT", "HEALTH"]);
    }
    Table::new(&header).rows(providers, |provider| {
        let mut cells = vec![
            provider.node_id.to_string(),
            said(provider.host.as_ref()),
            if provider.online {
                span(provider.expires_in_ms)
            } else {
                "due".to_owned()
            },
            word(&provider.trust_state),
            score(provider.trust_score),
        ];
        if several {
            cells.push(hash(&provider.contract_hash, detail));
        }
        if detail.is_wide() {
            cells.extend([provider.subject.clone(), said(provider.health.as_ref())]);
        }
        cells
    })
}

fn variants(reply: &ToolDescribeReply, detail: Detail) -> Lines {
    let calls = reply.variants.iter().map(|variant| {
        let call = variant.contract.as_ref().map_or_else(
            || "(too large to be shown here)".to_owned(),
            |contract| {
                let (input, output) = (&contract.input_schema, &contract.output_schema);
                signature(reply.name.as_str(), input, output)
            },
        );
        let text = format!("{}  {call}", hash(&variant.contract_hash, detail));
        Line::new(SECTION_INDENT, SIGNATURE_INDENT, text)
    });
    calls.collect()
}
