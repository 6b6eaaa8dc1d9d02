//! Registration of nodes.

use std::sync::Arc;

use onex_types::ids::{Incarnation, NodeId};

use crate::{
    command::{Command, Refusal, bounds},
    entry::{Change, EventKind, EventRecord},
    key::Key,
    lease::LeaseEnd,
    mechanism::Mechanism,
    node::{
        EARLIER_INCARNATIONS_MAX, EPOCH_NAMED_MAX, NodeEnd, REQUESTS_REMEMBERED, Registration, Tool,
    },
    node_command::Register,
    node_event::NodeEvent,
    node_record::{Live, Node, PAST_INCARNATIONS_MAX, PastIncarnation},
    record_parts::{OwnerRef, Request, Unknown},
    state::State,
    txn::Txn,
};

use super::{
    bus,
    claim::{check_ttl, longer, node_answer, superseded},
    decided::Decided,
    lease,
    retries::{is_remembered, remember},
};

/// How much of what belongs to earlier lives a registration ends, at most. The rest ends in later entries.
const OWNED_ENDED_MAX: usize = 64;

/// What a registration makes of the life that the node has or had last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// It goes on.
    Continues,
    /// Another one begins, of that epoch.
    Begins(u64),
}

/// Registers a node: what it announces, and its life.
pub(super) fn register(
    txn: &mut Txn<'_>,
    command: &Command,
    request: &Register,
) -> Result<Decided, Refusal> {
    check_ttl(txn, Some(request.ttl))?;
    if let Some(decided) = registered_before(txn, request)? {
        return Ok(decided);
    }
    let course = course(txn.state, request)?;
    check_frozen(txn.state, request)?;
    check_inbound(txn, request, course)?;
    let limits = txn.state.node_limits();
    if request.registration.total_bytes() > limits.node_bytes_max {
        return Err(Refusal::NodeTooLarge(
            request.node_id.clone(),
            limits.node_bytes_max,
        ));
    }
    let nodes = &txn.state.indexes.nodes;
    if txn.state.live(&request.node_id).is_none() && nodes.known() >= limits.nodes_max {
        return Err(Refusal::LimitExceeded {
            what: bounds::NODES,
            limit: limits.nodes_max,
        });
    }
    match course {
        Course::Continues => renew(txn, command, request),
        Course::Begins(epoch) => begin(txn, command, request, epoch)?,
    }
    node_answer(txn, &request.node_id)
}

/// What this request has led to already.
fn registered_before(txn: &Txn<'_>, register: &Register) -> Result<Option<Decided>, Refusal> {
    let Some((request, view)) = register.request.zip(txn.state.node(&register.node_id)) else {
        return Ok(None);
    };
    let (node, live) = (view.node, view.live);
    let earlier =
        txn.state.mechanisms.on(Mechanism::EarlierIncarnations) && node.earlier.contains(&request);
    if earlier {
        return Err(superseded(&register.node_id, live));
    }
    // Another requester's request under the same id is another request.
    if live.requester_id != register.requester_id
        || !txn.state.mechanisms.on(Mechanism::Idempotency)
    {
        return Ok(None);
    }
    if !is_remembered(node.began.iter().chain(&node.requests), request)? {
        return Ok(None);
    }
    if !live.is_live() {
        return Err(superseded(&register.node_id, live));
    }
    node_answer(txn, &register.node_id).map(Some)
}

fn course(state: &State, request: &Register) -> Result<Course, Refusal> {
    let live = state.live(&request.node_id).map(|(_, live)| live);
    let last = live.map_or(0, |live| live.epoch);
    if request.epoch > Some(last.max(EPOCH_NAMED_MAX)) {
        return Err(Refusal::EpochTooHigh);
    }
    let Some(live) = live else {
        return Ok(Course::Begins(request.epoch.unwrap_or(1)));
    };
    let taken = live.is_live() && live.requester_id != request.requester_id;
    let ended_again = !state.mechanisms.on(Mechanism::EndedEpoch);
    match request.epoch {
        Some(epoch) if epoch > last => Ok(Course::Begins(epoch)),
        Some(epoch) if epoch < last => Err(superseded(&request.node_id, live)),
        None | Some(_) if taken => Err(Refusal::NodeTaken {
            node_id: request.node_id.clone(),
            epoch: last,
        }),
        None => Ok(Course::Begins(last.saturating_add(1))),
        Some(_) if live.is_live() => Ok(Course::Continues),
        Some(epoch) if ended_again => Ok(Course::Begins(epoch)),
        Some(_) => Err(superseded(&request.node_id, live)),
    }
}

/// A node that is frozen keeps the contract that it was frozen with.
fn check_frozen(state: &State, request: &Register) -> Result<(), Refusal> {
    let before = state.node(&request.node_id);
    let before = before.map(|view| &view.node.registration);
    let after = &request.registration;
    let changes =
        before.is_some_and(|before| is_frozen_change(state, &request.node_id, before, after));
    if changes {
        return Err(Refusal::Frozen(request.node_id.clone()));
    }
    Ok(())
}

/// Whether that would change the contract of a node that is frozen.
pub(super) fn is_frozen_change(
    state: &State,
    node_id: &NodeId,
    before: &Registration,
    after: &Registration,
) -> bool {
    state.mechanisms.on(Mechanism::FrozenContract)
        && before.contract_hash != after.contract_hash
        && state
            .verdicts(node_id)
            .is_some_and(|verdicts| verdicts.is_frozen(&before.contract_hash))
}

/// A port that a node says it has leased is leased, and by who registers the node. A lease that ends with the node's last
/// life ends by this registration when that begins another one.
fn check_inbound(txn: &Txn<'_>, request: &Register, course: Course) -> Result<(), Refusal> {
    let last = txn.state.live(&request.node_id);
    let last = last.map_or(0, |(_, live)| live.epoch);
    let check = |lease_id, number| {
        let (key, slot) = lease::live(txn, request.requester_id, lease_id)?;
        let Some(lease) = slot.record.lease() else {
            return Err(Refusal::LeaseExpired(lease_id, key.port));
        };
        let owner = lease.owner.as_ref();
        let of_last = owner.is_some_and(|owner| owner.node_id == request.node_id);
        match lease.ports.first() {
            _ if of_last && course != Course::Continues => {
                Err(Refusal::LeaseOfLastIncarnation(last))
            }
            Some(port) if !lease.ports.iter().any(|port| port.number() == number) => {
                Err(Refusal::OtherPort(lease_id, *port))
            }
            _ => Ok(()),
        }
    };
    for (index, inbound) in request.registration.inbound_ports.iter().enumerate() {
        if let Some(lease_id) = inbound.lease_id {
            check(lease_id, inbound.port).map_err(|why| Refusal::Inbound {
                index,
                why: Box::new(why),
            })?;
        }
    }
    Ok(())
}

/// The life goes on, with what the node announces now.
fn renew(txn: &mut Txn<'_>, command: &Command, request: &Register) {
    let Some(view) = txn.state.node(&request.node_id) else {
        return;
    };
    let (before, live) = (view.node.clone(), view.live.clone());
    let ttl = longer(txn.state, &live, Some(request.ttl));
    let key = Key::Live(request.node_id.clone());
    if before.registration == request.registration && request.request.is_none() && ttl.is_none() {
        return txn.renew(key);
    }
    let (old, new) = (&before.registration.tools, &request.registration.tools);
    let event = tools_changed(txn.state, &request.node_id, &live, old, new);
    let mut node = Node {
        registration: request.registration.clone(),
        ..Node::clone(&before)
    };
    remember(&mut node.requests, request.request, REQUESTS_REMEMBERED);
    let event = event.tells_of_tools().then_some(event);
    let changes = vec![
        Change::Put {
            key: Key::Node(request.node_id.clone()),
            record: node.into(),
            tentative: false,
            event: event.map(|event| EventRecord::of_node(EventKind::ToolsChanged, event)),
        },
        Change::Renew {
            key,
            ttl,
            request: None,
            health: None,
        },
    ];
    txn.change(
        "node.register",
        command,
        Some(request.requester_id),
        changes,
    );
}

/// Another life begins. What belongs to the one before ends with it.
fn begin(
    txn: &mut Txn<'_>,
    command: &Command,
    request: &Register,
    epoch: u64,
) -> Result<(), Refusal> {
    let old = txn.state.live(&request.node_id);
    let old = old.map(|(_, live)| live.clone());
    let before = txn.state.node(&request.node_id);
    let before = before.map(|view| view.node.clone());
    let (past, mut changes) = end_past(txn, request, old.as_deref())?;
    let live = Live {
        incarnation: Incarnation(command.id.0),
        epoch,
        requester_id: request.requester_id,
        ttl: request.ttl,
        registered_at: txn.now.wall,
        ended: None,
        past,
        health: None,
        unknown: old
            .as_ref()
            .map_or_else(Unknown::new, |old| old.unknown.clone()),
    };
    let kind = match old.as_ref().and_then(|old| old.ended.as_ref()) {
        Some(ended) if ended.how == NodeEnd::Expired => EventKind::NodeRejoined,
        _ => EventKind::NodeRegistered,
    };
    // Of a node that has ended the tools were removed then.
    let was_live = old.as_ref().is_some_and(|old| old.is_live());
    let offered = before.as_ref().filter(|_| was_live);
    let offered = offered.map_or(&[][..], |node| &node.registration.tools);
    let event = tools_changed(
        txn.state,
        &request.node_id,
        &live,
        offered,
        &request.registration.tools,
    );
    let node = Node {
        incarnation: live.incarnation,
        registration: request.registration.clone(),
        began: request.request,
        requests: Vec::new(),
        earlier: before.as_ref().map_or_else(Vec::new, earlier),
        unknown: before.map_or_else(Unknown::new, |before| before.unknown.clone()),
    };
    let put = |key, record, event| Change::Put {
        key,
        record,
        tentative: false,
        event,
    };
    let id = &request.node_id;
    changes.push(put(Key::Node(id.clone()), node.into(), None));
    let event = EventRecord::of_node(kind, event);
    changes.push(put(Key::Live(id.clone()), live.into(), Some(event)));
    txn.change(
        "node.register",
        command,
        Some(request.requester_id),
        changes,
    );
    Ok(())
}

/// The requests that earlier lives began with, once this one is followed by another.
fn earlier(before: &Arc<Node>) -> Vec<Request> {
    let mut earlier = before.earlier.clone();
    remember(&mut earlier, before.began, EARLIER_INCARNATIONS_MAX);
    earlier
}

/// The earlier lives of which something is left once `old` is followed by another, and the changes that end what
/// belonged to them, as far as one command does that: a node that starts again mostly finds its ports free.
fn end_past(
    txn: &Txn<'_>,
    request: &Register,
    old: Option<&Live>,
) -> Result<(Vec<PastIncarnation>, Vec<Change>), Refusal> {
    let Some(old) = old else {
        return Ok((Vec::new(), Vec::new()));
    };
    let last = PastIncarnation {
        incarnation: old.incarnation,
        how: old.leases_end().unwrap_or(LeaseEnd::Superseded),
        at: old.ended.as_ref().map_or(txn.now.wall, |ended| ended.at),
        ttl: old.ttl,
    };
    let (mut left, mut changes) = (Vec::new(), Vec::new());
    for past in old.past.iter().chain([&last]) {
        let owner = OwnerRef {
            node_id: request.node_id.clone(),
            incarnation: past.incarnation,
        };
        let mut owned = txn.state.owned(&owner, None);
        // The last one may have several ports, each of which is a change.
        while changes.len() < OWNED_ENDED_MAX
            && let Some(key) = owned.next()
        {
            changes.extend(end_owned(txn, key, past));
        }
        if owned.next().is_some() {
            left.push(*past);
        }
    }
    if left.len() > PAST_INCARNATIONS_MAX {
        return Err(Refusal::StillEnding(request.node_id.clone()));
    }
    Ok((left, changes))
}

/// The changes that end what is under that key, because the life that it belonged to has ended.
fn end_owned(txn: &Txn<'_>, key: &Key, past: &PastIncarnation) -> Vec<Change> {
    match key {
        Key::Port(port) => txn.state.slot(key).map_or_else(Vec::new, |slot| {
            lease::end_with_owner(txn, port, slot, &past.into())
        }),
        Key::Bus(id) => {
            let bus = txn.state.bus(id).into_iter();
            bus.map(|(_, bus)| bus::end(txn, id, bus, past.how))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// What is told of a node whose tools change.
pub(super) fn tools_changed(
    state: &State,
    node_id: &NodeId,
    live: &Live,
    from: &[Tool],
    to: &[Tool],
) -> NodeEvent {
    let contract = |tools: &[Tool], tool: &Tool| {
        let mut same = tools
            .iter()
            .filter(|other| other.is(&tool.name, &tool.version));
        same.next().map(|same| same.contract_hash.clone())
    };
    let added = to
        .iter()
        .filter(|tool| contract(from, tool).as_ref() != Some(&tool.contract_hash));
    let added: Vec<Tool> = added.cloned().collect();
    let removed = from.iter().filter(|tool| contract(to, tool).is_none());
    NodeEvent {
        requester_id: live.requester_id,
        epoch: live.epoch,
        tools_removed: removed.map(|tool| tool.reference(None)).collect(),
        collisions: state.collisions(node_id, &added),
        tools_added: added.iter().map(|tool| tool.reference(None)).collect(),
    }
}
