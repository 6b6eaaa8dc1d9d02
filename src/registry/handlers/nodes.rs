//! `node.register`.

use async_nats::Message;
use bytes::Bytes;
use onex_core::{
    command::{Action, Answer},
    node::Tool,
    node_command::NodeAnswer,
    state::State,
};
use onex_types::{ids::NodeId, time::MonoMillis};

use crate::{
    contract::{self, ToolRules},
    protocol::{
        bounds::Open,
        endpoint::Endpoint,
        error::{Error, ErrorCode, Outcome},
        frame::Parsed,
        node::{RegisterReply, RegisterRequest, RegisterStatus},
        node_life::HEARTBEAT_AFTER_PART,
        warning::Warning,
    },
    registry::{
        contracts::{self, Check},
        intake::Intake,
        message::to_bytes,
        refusal::decided,
        registration,
        request::InFlight,
        request_id::identified,
    },
};

use super::{pages::catch_up, parse::parse_long};

/// `node.register`: what it announces is checked away from the tasks that serve.
pub(super) async fn register(
    intake: &Intake,
    in_flight: &InFlight,
    message: &Message,
) -> Result<Bytes, Error> {
    let Parsed { request, ignored } =
        parse_long::<RegisterRequest>(intake, in_flight, message).await?;
    catch_up(intake, in_flight, request.min_revision).await?;
    let mut warnings = request.warnings();
    let what = Check::Announcement(contract::weight(&request.tools));
    let ttl_max = intake.ttl_max;
    let check = move |rules: ToolRules<'_>| {
        let named = identified(Endpoint::NodeRegister, request.request_id, &request);
        registration::register_command(request, ttl_max, named, rules)
    };
    let asking = intake.asking(in_flight);
    let mut register = intake.contracts.check(what, asking, check).await?;
    let host = &mut register.registration.host;
    *host = host.take().map(|host| intake.meant(host)).transpose()?;
    let announced = register.registration.clone();
    let action = Action::Register(Box::new(register));
    let outcome = intake.decide(in_flight, action).await?;
    let (Answer::Node(known), revision) = decided(outcome)? else {
        return Err(Error::new(ErrorCode::Internal, "nothing was registered"));
    };
    intake.contracts.wait_for_rights(asking.until).await;
    let now = intake.clock.now().mono;
    let NodeAnswer { node_id, live, .. } = &*known;
    // What readers see includes the registration.
    let read = |state: &State| {
        let verdicts = state.verdicts(node_id).cloned().unwrap_or_default();
        let trust = verdicts.trust(&announced.contract_hash);
        (
            trust,
            tool_warnings(intake, state, node_id, &announced.tools),
        )
    };
    let read = intake.driver.handle.reads.with(now, read);
    let (trust, of_tools) = read.ok_or_else(|| Error::unavailable(Outcome::Unknown))?;
    warnings.extend(of_tools);
    let left = left(&known, now);
    to_bytes(&RegisterReply {
        node_id: node_id.clone(),
        status: RegisterStatus::Accepted,
        registry_id: intake.registry_id,
        trust_state: Open::Known(trust.state),
        ttl: live.ttl,
        epoch: live.epoch,
        expires_in_ms: left,
        heartbeat_after_ms: left / HEARTBEAT_AFTER_PART,
        warnings,
        revision,
        ignored,
    })
}

/// What is left of the TTL of a node that its caller is told of, in milliseconds.
pub(super) fn left(known: &NodeAnswer, now: MonoMillis) -> u64 {
    let ttl = known.live.ttl.millis();
    ttl.saturating_sub(now.since(known.since))
}

/// What is worth a look about the tools that a node announces.
pub(super) fn tool_warnings(
    intake: &Intake,
    state: &State,
    node_id: &NodeId,
    tools: &[Tool],
) -> Vec<Warning> {
    let nodes = &state.indexes.nodes;
    let colliding = |tool: &Tool| {
        let offer = nodes.offer(&tool.name)?;
        let others = offer.colliding(node_id, &tool.version, &tool.contract_hash);
        contracts::collision(tool, others)
    };
    let collisions = tools.iter().filter_map(colliding);
    collisions
        .chain(intake.contracts.warn_of_uncallable(node_id, tools))
        .collect()
}
