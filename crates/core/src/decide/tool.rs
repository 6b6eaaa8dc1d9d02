//! Tools of a live node: offered and withdrawn without a new registration.

use onex_types::{
    bounds::{NODE_PATTERNS_MAX, NODE_TOOLS_MAX},
    ids::NodeId,
};

use crate::{
    command::{Answer, Command, Refusal, bounds},
    entry::{Change, EventKind, EventRecord},
    key::Key,
    mechanism::Mechanism,
    node::{REQUESTS_REMEMBERED, Registration, Tool},
    node_command::{DeregisterTool, NodeClaim, RegisterTool},
    node_record::Node,
    nodes::NodeView,
    record_parts::Request,
    txn::Txn,
};

use super::{
    claim::claimed,
    decided::Decided,
    register::{is_frozen_change, tools_changed},
    retries::{is_remembered, remember},
};

/// Offers a tool, in the place of what the node offered by that name and version.
pub(super) fn register(
    txn: &mut Txn<'_>,
    command: &Command,
    request: &RegisterTool,
) -> Result<Decided, Refusal> {
    let RegisterTool { of, tool, request } = request;
    let view = claimed(txn.state, of)?;
    let tools = &view.node.registration.tools;
    let answer = tools_answer(Some(tool.contract_hash.clone()));
    // One that changes nothing and has a request id is written all the same: a late copy of it must do nothing.
    if changed_before(txn, &view, *request)? || (tools.contains(tool) && request.is_none()) {
        return Ok(answer);
    }
    let others = tools
        .iter()
        .filter(|other| !other.is(&tool.name, &tool.version));
    let tools = others.chain([tool]).cloned().collect();
    change(txn, "tool.register", command, of, tools, *request)?;
    Ok(answer)
}

/// Offers a tool no longer.
pub(super) fn deregister(
    txn: &mut Txn<'_>,
    command: &Command,
    request: &DeregisterTool,
) -> Result<Decided, Refusal> {
    let DeregisterTool {
        of,
        name,
        version,
        request,
    } = request;
    let view = claimed(txn.state, of)?;
    if changed_before(txn, &view, *request)? {
        return Ok(tools_answer(None));
    }
    let is_meant = |tool: &Tool| {
        let version = version.as_ref();
        tool.name == *name && version.is_none_or(|version| tool.version == *version)
    };
    let tools = &view.node.registration.tools;
    let meant = tools.iter().find(|tool| is_meant(tool));
    let Some(meant) = meant else {
        return Err(Refusal::ToolNotFound(of.node_id.clone(), name.clone()));
    };
    let hash = version.as_ref().map(|_| meant.contract_hash.clone());
    let tools = tools.iter().filter(|tool| !is_meant(tool));
    let tools = tools.cloned().collect();
    change(txn, "tool.deregister", command, of, tools, *request)?;
    Ok(tools_answer(hash))
}

fn tools_answer(contract_hash: Option<String>) -> Decided {
    Decided::answer(Answer::Tools { contract_hash })
}

fn change(
    txn: &mut Txn<'_>,
    name: &str,
    command: &Command,
    of: &NodeClaim,
    tools: Vec<Tool>,
    request: Option<Request>,
) -> Result<(), Refusal> {
    let view = claimed(txn.state, of)?;
    let before = &view.node.registration;
    let registration = Registration {
        tools,
        ..before.clone()
    };
    let registration = registration.seal();
    if is_frozen_change(txn.state, &of.node_id, before, &registration) {
        return Err(Refusal::Frozen(of.node_id.clone()));
    }
    check_bounds(txn, &of.node_id, before, &registration)?;
    let (old, new) = (&before.tools, &registration.tools);
    let event = tools_changed(txn.state, &of.node_id, view.live, old, new);
    let event = event.tells_of_tools().then_some(event);
    let mut node = Node {
        registration,
        ..Node::clone(view.node)
    };
    remember(&mut node.requests, request, REQUESTS_REMEMBERED);
    let change = Change::Put {
        key: Key::Node(of.node_id.clone()),
        record: node.into(),
        tentative: false,
        event: event.map(|event| EventRecord::of_node(EventKind::ToolsChanged, event)),
    };
    txn.change(name, command, Some(of.requester_id), vec![change]);
    Ok(())
}

/// A node's tools stay within its bounds; where they are beyond them they may still get fewer.
fn check_bounds(
    txn: &Txn<'_>,
    node_id: &NodeId,
    before: &Registration,
    after: &Registration,
) -> Result<(), Refusal> {
    let exceeded = |what, limit, of: fn(&Registration) -> usize| {
        if of(after) > limit && of(after) > of(before) {
            return Err(Refusal::LimitExceeded { what, limit });
        }
        Ok(())
    };
    exceeded(bounds::TOOLS, NODE_TOOLS_MAX, |said| said.tools.len())?;
    exceeded(bounds::PATTERNS, NODE_PATTERNS_MAX, Registration::patterns)?;
    let limit = txn.state.node_limits().node_bytes_max;
    if after.total_bytes() > limit && after.total_bytes() > before.total_bytes() {
        return Err(Refusal::NodeTooLarge(node_id.clone(), limit));
    }
    Ok(())
}

/// Whether this request has changed the node already.
fn changed_before(
    txn: &Txn<'_>,
    view: &NodeView<'_>,
    request: Option<Request>,
) -> Result<bool, Refusal> {
    match request {
        Some(request) if txn.state.mechanisms.on(Mechanism::Idempotency) => {
            is_remembered(view.node.requests.iter(), request)
        }
        _ => Ok(false),
    }
}
