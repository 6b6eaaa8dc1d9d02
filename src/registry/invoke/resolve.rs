//! Who would be asked to run a tool, for callers that ask it themselves.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::protocol::{
    error::Error,
    frame::Parsed,
    invoke::{ResolveToolReply, ResolveToolRequest},
};

use super::{
    super::{message::to_bytes, queries},
    Caller, Invoke,
    choose::Considerations,
    compiled,
    load::Loads,
    look::Query,
};

impl Invoke {
    /// `tool.resolve`
    pub(in crate::registry) async fn resolve_tool(
        &self,
        caller: &Caller,
        Parsed { request, ignored }: Parsed<ResolveToolRequest>,
    ) -> Result<Bytes, Error> {
        let (choice, none) = (request.choice(), BTreeMap::new());
        let query = Query {
            name: &request.tool_name,
            choice: &choice,
            without: &none,
            calls: false,
        };
        let (chosen, tool) = self
            .checked(caller, || {
                let then = |considered: &Considerations<'_>, revision, loads: &mut Loads| {
                    let now = self.clock.now().mono;
                    let one = considered
                        .chosen()
                        .ok_or_else(|| considered.refusal(query.name, query.choice))?;
                    loads.resolved(&one.provider);
                    let another = considered.has_another();
                    let chosen = self.chosen(one, another, revision, now);
                    // Of the same look: the node may announce another contract in the next moment.
                    Ok((chosen, one.tool.clone()))
                };
                self.look(query, then)?
            })
            .await?;
        let tool = queries::announced(&tool).ok_or_else(compiled::unreadable)?;
        to_bytes(&ResolveToolReply {
            tool_name: chosen.tool_name,
            tool_version: chosen.tool_version,
            provider_node_id: chosen.node_id,
            subject: chosen.subject,
            contract_hash: chosen.contract_hash,
            contract: tool,
            expires_in_ms: chosen.expires_in_ms,
            revision: chosen.revision,
            ignored,
        })
    }
}
