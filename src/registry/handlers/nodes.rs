//! `node.register` and `node.list`.

use async_nats::Message;
use bytes::Bytes;
use onex_core::{
    command::{Action, Answer},
    node::{NodeEnd as Ended, Tool},
    node_command::NodeAnswer,
    node_index::{Liveness as Facet, NodeFilter},
    nodes::NodeView,
    state::State,
};

use crate::{
    domain::{ids::NodeId, time::Moment},
    protocol::{
        bounds::Open,
        contract::{self, ToolRules},
        endpoint::Endpoint,
        error::{Error, ErrorCode, Outcome},
        frame::Parsed,
        node::{RegisterReply, RegisterRequest, RegisterStatus},
        node_life::{HEARTBEAT_AFTER_PART, NodeEnd},
        node_view::{Liveness, NodeItem, NodeListRequest},
        port::Page,
        warning::Warning,
    },
    registry::{
        announce,
        contracts::{self, Check},
        intake::{InFlight, Intake},
        queries::{cursor, page},
        requests::named,
        serve::to_bytes,
    },
};

use super::{pages::catch_up, parse_long, refusal::error};

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
        let named = named(Endpoint::NodeRegister, request.request_id, &request);
        announce::announce(request, ttl_max, named, rules)
    };
    let asking = intake.asking(in_flight);
    let mut register = intake.contracts.check(what, asking, check).await?;
    let host = &mut register.registration.host;
    *host = host.take().map(|host| intake.meant(host)).transpose()?;
    let announced = register.registration.clone();
    let action = Action::Register(Box::new(register));
    let outcome = intake.decide(in_flight, action).await?;
    let revision = outcome.revision;
    let Answer::Node(known) = outcome.result.map_err(error)? else {
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
        trust_state: Open::Known(trust.state.into()),
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
pub(super) fn left(known: &NodeAnswer, now: Moment) -> u64 {
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

/// `node.list`: nodes, a page of at most `limit`.
pub(super) fn list(
    state: &State,
    request: &NodeListRequest,
    limit: usize,
    now: Moment,
) -> Result<Page<NodeItem>, Error> {
    let after = cursor(request.cursor.as_deref(), |text| {
        text.parse::<NodeId>().ok()
    })?;
    let filter = NodeFilter {
        node_type: request.node_type.map(Into::into),
        tag: request.tag.clone(),
        host: request.host.clone(),
        requester_id: None,
        trusted_only: request.trusted_only.unwrap_or(false),
        liveness: request
            .liveness
            .map_or_else(Vec::new, |wanted| match wanted {
                Liveness::Online | Liveness::Expired => vec![Facet::Online],
                Liveness::Ended => vec![Facet::Expired, Facet::Ended],
            }),
    };
    let found = state.indexes.nodes.nodes(&filter, after.as_ref());
    let found = found
        .filter_map(|node_id| state.node(node_id))
        .filter(|view| {
            let wanted = request.liveness;
            wanted.is_none_or(|wanted| liveness(view, now) == wanted)
        })
        .map(|view| (view.node_id.to_string(), item(state, &view, now)));
    Ok(page(state.revision(), found, limit))
}

fn liveness(view: &NodeView<'_>, now: Moment) -> Liveness {
    if !view.is_live() {
        Liveness::Ended
    } else if view.left(now) == 0 {
        Liveness::Expired
    } else {
        Liveness::Online
    }
}

/// A node in short.
pub(super) fn item(state: &State, view: &NodeView<'_>, now: Moment) -> NodeItem {
    let NodeView {
        node_id,
        node,
        live,
        ..
    } = view;
    let said = &node.registration;
    let trust = state.trust(view);
    NodeItem {
        node_id: (*node_id).clone(),
        version: said.version.clone(),
        node_type: said.node_type.into(),
        host: said.host.clone(),
        tags: said.tags.clone(),
        liveness: Open::Known(liveness(view, now)),
        epoch: live.epoch,
        registered_at: live.registered_at,
        ended_at: live.ended.map(|ended| ended.at),
        ended: live.ended.map(|ended| match ended.how {
            Ended::Deregistered => NodeEnd::Deregistered,
            Ended::Expired => NodeEnd::Expired,
        }),
        expires_in_ms: view.left(now),
        tools: said.tools.len(),
        trust_state: Open::Known(trust.state.into()),
        trust_score: trust.score(),
    }
}
