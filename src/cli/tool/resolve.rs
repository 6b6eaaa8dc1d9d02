//! `onex tool resolve`

use clap::Args;
use onex_types::ids::Token;

use crate::{
    cli::{
        cells::hash,
        failure::{Exit, Failure},
        output::{Block, Detail, Line, Lines, SECTION_INDENT, Table, span},
        session::Session,
        signature::signature,
    },
    protocol::invoke::{ResolveToolReply, ResolveToolRequest},
};

use super::{choice::Choosing, offer::SIGNATURE_INDENT, refusal, suggestion::suggest};

/// Find the subject on which a tool can be called now, for callers that send requests to it themselves.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex tool resolve add --tool-version ^1.2\n  \
        nats req \"$(onex tool resolve add -o name)\" '{\"a\": 1, \"b\": 2}'"
)]
pub(in crate::cli) struct Resolve {
    /// The tool.
    #[arg(value_name = "NAME")]
    name: Token,
    #[command(flatten)]
    choosing: Choosing,
}

impl Resolve {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let Choosing {
            tool_version,
            provider,
            policy,
            trusted_only,
            contract_hash,
        } = self.choosing;
        let request = ResolveToolRequest {
            tool_version,
            node_selection_policy: policy.unwrap_or_default(),
            provider_node_id: provider,
            trusted_only,
            contract_hash,
            ..ResolveToolRequest::new(self.name.clone())
        };
        let called = session.client.resolve_tool(&request).await;
        let reply = match session.seen(called).await {
            Ok(reply) => reply,
            Err(failure) => {
                let failure = refusal::explained(failure, None);
                return Err(suggest(session, failure, &self.name).await);
            }
        };
        let subject = |reply: &ResolveToolReply| vec![reply.subject.clone()];
        session.output.show(&reply, subject, blocks)?;
        Ok(Exit::Done)
    }
}

fn blocks(reply: &ResolveToolReply, detail: Detail) -> Vec<Block> {
    let contract = &reply.contract;
    let call = signature(
        reply.tool_name.as_str(),
        &contract.input_schema,
        &contract.output_schema,
    );
    let table = Table::values()
        .row(["Subject", &reply.subject])
        .row(["Provider", reply.provider_node_id.as_str()])
        .row(["Left", &span(reply.expires_in_ms)])
        .row(["Contract", &hash(&reply.contract_hash, detail)]);
    vec![
        Block::Heading(format!("TOOL {} {}", reply.tool_name, reply.tool_version)),
        Lines::from_iter([Line::new(SECTION_INDENT, SIGNATURE_INDENT, call)]).into(),
        Block::Table(table, SECTION_INDENT),
    ]
}
