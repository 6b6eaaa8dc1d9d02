//! Tools of a running node: `tool.register` and `tool.deregister`.

use async_nats::Message;
use bytes::Bytes;
use onex_core::{
    command::{Action, Answer, Outcome},
    node_command::{DeregisterTool, NodeClaim, RegisterTool},
    state::State,
};

use crate::{
    contract::{self, ToolRules, below},
    protocol::{
        endpoint::Endpoint,
        error::{Error, ErrorCode, Outcome as Done},
        frame::Parsed,
        tool::{ToolChangeReply, ToolDeregisterRequest, ToolRegisterRequest, ToolStatus},
    },
    registry::{
        contracts::Check,
        intake::Intake,
        message::to_bytes,
        refusal::decided,
        registration,
        request::{InFlight, Plan},
        request_id::identified,
    },
};

use super::{nodes::tool_warnings, pages::catch_up, parse::parse_long};

/// `tool.register`: the contract is checked away from the tasks that serve.
pub(super) async fn register(
    intake: &Intake,
    in_flight: &InFlight,
    message: &Message,
) -> Result<Bytes, Error> {
    let Parsed { request, ignored } =
        parse_long::<ToolRegisterRequest>(intake, in_flight, message).await?;
    catch_up(intake, in_flight, request.min_revision).await?;
    let weight = contract::weight(std::slice::from_ref(&request.tool));
    let what = Check::Announcement(weight);
    let check = move |rules: ToolRules<'_>| {
        let named = identified(Endpoint::ToolRegister, request.request_id, &request);
        let tool = registration::tool(&request.tool, &request.node_id, rules);
        let tool = tool.map_err(|error| below("/tool", error))?;
        let of = NodeClaim {
            node_id: request.node_id,
            requester_id: request.requester_id,
            epoch: request.epoch,
        };
        Ok(RegisterTool {
            of,
            tool,
            request: named,
        })
    };
    let asking = intake.asking(in_flight);
    let register = intake.contracts.check(what, asking, check).await?;
    let (node_id, tool) = (register.of.node_id.clone(), register.tool.clone());
    let action = Action::RegisterTool(Box::new(register));
    intake.contracts.wait_for_rights(asking.until).await;
    let (_, revision) = changed(intake.decide(in_flight, action).await?)?;
    let read = |state: &State| tool_warnings(intake, state, &node_id, std::slice::from_ref(&tool));
    let now = intake.clock.now().mono;
    // What readers see includes the tool.
    let warnings = intake.driver.handle.reads.with(now, read);
    let warnings = warnings.ok_or_else(|| Error::unavailable(Done::Unknown))?;
    to_bytes(&ToolChangeReply {
        name: tool.name,
        version: Some(tool.version),
        contract_hash: Some(tool.contract_hash),
        status: ToolStatus::Accepted,
        warnings,
        revision,
        ignored,
        node_id,
    })
}

/// `tool.deregister`.
pub(super) fn deregister(parsed: Parsed<ToolDeregisterRequest>) -> Plan {
    let Parsed { request, ignored } = parsed;
    let action = Action::DeregisterTool(Box::new(DeregisterTool {
        of: NodeClaim {
            node_id: request.node_id.clone(),
            requester_id: request.requester_id,
            epoch: request.epoch,
        },
        name: request.name.clone(),
        version: request.version.clone(),
        request: identified(Endpoint::ToolDeregister, request.request_id, &request),
    }));
    Plan {
        action,
        min_revision: request.min_revision,
        reply: Box::new(move |outcome, _| {
            let (contract_hash, revision) = changed(outcome)?;
            to_bytes(&ToolChangeReply {
                node_id: request.node_id,
                name: request.name,
                version: request.version,
                contract_hash,
                status: ToolStatus::Removed,
                warnings: Vec::new(),
                revision,
                ignored,
            })
        }),
    }
}

/// The contract of the tool that was changed, where one version was meant, and the revision.
fn changed(outcome: Outcome) -> Result<(Option<String>, u64), Error> {
    match decided(outcome)? {
        (Answer::Tools { contract_hash }, revision) => Ok((contract_hash, revision)),
        _ => Err(Error::new(ErrorCode::Internal, "no tool was changed")),
    }
}
