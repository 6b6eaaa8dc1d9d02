//! Nodes that are there: who may act for one, its heartbeats, and its end.

use onex_types::{
    ids::{NodeId, Reason, RequesterId, Ttl},
    time::MonoMillis,
};

use crate::{
    command::{Answer, Command, Evict, Refusal},
    entry::{Change, EventKind, EventRecord},
    key::Key,
    mechanism::Mechanism,
    node::NodeEnd,
    node_command::{Heartbeat, NodeAnswer, NodeClaim},
    node_event::NodeEvent,
    node_record::{Live, NodeEnded},
    nodes::NodeView,
    state::State,
    txn::Txn,
};

use super::decided::Decided;

/// How long it is waited before it is tried again to forget a node to which something belongs, in milliseconds.
const FORGET_AGAIN_MILLIS: u64 = 1_000;

/// The life of that epoch, which must be live and `requester_id`'s.
pub(super) fn claimed<'a>(state: &'a State, of: &NodeClaim) -> Result<NodeView<'a>, Refusal> {
    let none = || Refusal::NodeNotFound(of.node_id.clone());
    let view = state.node(&of.node_id).ok_or_else(none)?;
    if of.epoch < view.live.epoch {
        return Err(superseded(&of.node_id, view.live));
    }
    if of.epoch > view.live.epoch {
        return Err(Refusal::EpochNotFound {
            node_id: of.node_id.clone(),
            named: of.epoch,
            last: view.live.epoch,
        });
    }
    match &view.live.ended {
        // Its process is told that it is over, not that it may begin again.
        Some(ended) if ended.how == NodeEnd::Evicted => {
            return Err(evicted(&of.node_id, view.live));
        }
        Some(_) => return Err(none()),
        None => {}
    }
    if view.live.requester_id != of.requester_id {
        return Err(Refusal::NotNodeHolder(of.node_id.clone()));
    }
    Ok(view)
}

/// A node that is live, in that epoch if one is named, and `requester_id`'s.
pub(super) fn living<'a>(
    state: &'a State,
    node_id: &NodeId,
    requester_id: RequesterId,
    epoch: Option<u64>,
) -> Result<NodeView<'a>, Refusal> {
    if let Some(epoch) = epoch {
        let of = NodeClaim {
            node_id: node_id.clone(),
            requester_id,
            epoch,
        };
        return claimed(state, &of);
    }
    let view = state.live_node(node_id);
    let view = view.ok_or_else(|| Refusal::NodeNotFound(node_id.clone()))?;
    if view.live.requester_id != requester_id {
        return Err(Refusal::NotNodeHolder(node_id.clone()));
    }
    Ok(view)
}

pub(super) fn superseded(node_id: &NodeId, live: &Live) -> Refusal {
    Refusal::Superseded {
        node_id: node_id.clone(),
        last: live.epoch,
    }
}

/// That a life was ended by an administrator, and why.
fn evicted(node_id: &NodeId, live: &Live) -> Refusal {
    let reason = live.ended.as_ref().and_then(|ended| ended.reason.clone());
    match reason {
        Some(reason) => Refusal::Evicted {
            node_id: node_id.clone(),
            last: live.epoch,
            reason,
        },
        None => superseded(node_id, live),
    }
}

pub(super) fn check_ttl(txn: &Txn<'_>, ttl: Option<Ttl>) -> Result<(), Refusal> {
    let settings = txn.state.settings();
    let longest = settings.map_or(Ttl::MAX, |settings| settings.ttl_max);
    match ttl {
        Some(given) if given > longest => Err(Refusal::TtlTooLong {
            given: given.seconds(),
            longest: longest.seconds(),
        }),
        _ => Ok(()),
    }
}

/// The answer that says how the node is.
pub(super) fn node_answer(txn: &Txn<'_>, node_id: &NodeId) -> Result<Decided, Refusal> {
    let (slot, live) = txn
        .state
        .live(node_id)
        .ok_or_else(|| Refusal::NodeNotFound(node_id.clone()))?;
    Ok(Decided::answer(Answer::Node(Box::new(NodeAnswer {
        node_id: node_id.clone(),
        live: live.clone(),
        renewed_at: slot.at,
        since: slot.since,
    }))))
}

/// The life lasts its TTL again. One whose time is up and that no entry has ended can be renewed: it is still live.
pub(super) fn heartbeat(
    txn: &mut Txn<'_>,
    command: &Command,
    heartbeat: &Heartbeat,
) -> Result<Decided, Refusal> {
    check_ttl(txn, heartbeat.ttl)?;
    let live = claimed(txn.state, &heartbeat.of)?.live.clone();
    let key = Key::Live(heartbeat.of.node_id.clone());
    let ttl = longer(txn.state, &live, heartbeat.ttl);
    let health = heartbeat.health.clone();
    let health = health.filter(|health| live.health.as_ref() != Some(health));
    if ttl.is_none() && health.is_none() {
        txn.renew(key);
    } else {
        let change = Change::Renew {
            key,
            ttl,
            request: None,
            health,
        };
        let requester_id = Some(heartbeat.of.requester_id);
        txn.change("node.heartbeat", command, requester_id, vec![change]);
    }
    node_answer(txn, &heartbeat.of.node_id)
}

/// The TTL from now on, where it changes. A node whose reply was lost counts the longer of two times, so it only grows.
pub(super) fn longer(state: &State, live: &Live, ttl: Option<Ttl>) -> Option<Ttl> {
    let only_lengthens = state.mechanisms.on(Mechanism::OnlyLengthens);
    ttl.filter(|ttl| *ttl > live.ttl || (*ttl < live.ttl && !only_lengthens))
}

/// The node ends, and all that belongs to it. Again: the same.
pub(super) fn deregister(
    txn: &mut Txn<'_>,
    command: &Command,
    of: &NodeClaim,
) -> Result<Decided, Refusal> {
    if let Some((_, live)) = txn.state.live(&of.node_id)
        && live.epoch == of.epoch
        && live.requester_id == of.requester_id
        && live
            .ended
            .as_ref()
            .is_some_and(|ended| ended.how == NodeEnd::Deregistered)
    {
        return node_answer(txn, &of.node_id);
    }
    claimed(txn.state, of)?;
    let change = end(txn, &of.node_id, NodeEnd::Deregistered, None);
    let changes = change.into_iter().collect();
    txn.change("node.deregister", command, Some(of.requester_id), changes);
    node_answer(txn, &of.node_id)
}

/// Ends a life whose time is up by this instance's clock, and forgets a node that ended long ago.
pub(super) fn expire(txn: &mut Txn<'_>, command: &Command, node_id: &NodeId) {
    let Some((slot, live)) = txn.state.live(node_id) else {
        return;
    };
    let now = txn.now.mono;
    if txn.state.due_at(slot).is_none_or(|due| due > now) {
        return;
    }
    if live.is_live() {
        let change = end(txn, node_id, NodeEnd::Expired, None);
        let changes = change.into_iter().collect();
        return txn.change("node.expire", command, None, changes);
    }
    forget(txn, command, node_id, now);
}

/// What was announced, what validators said, and how often its tools were executed is forgotten with the node.
fn forget(txn: &mut Txn<'_>, command: &Command, node_id: &NodeId, now: MonoMillis) {
    let live = Key::Live(node_id.clone());
    if txn.state.indexes.owners.owns_any(node_id) {
        let again = now.plus(FORGET_AGAIN_MILLIS);
        return txn.state.remind(&live, again);
    }
    let keys = [
        Key::Node(node_id.clone()),
        live,
        Key::Trust(node_id.clone()),
        Key::Exec(node_id.clone()),
    ];
    let there = keys
        .into_iter()
        .filter(|key| txn.state.slot(key).is_some())
        .map(|key| Change::Delete { key, event: None });
    let changes = there.collect();
    txn.change("node.forget", command, None, changes);
}

/// The node ends because an administrator says so, and all that belongs to it. Again: the same.
pub(super) fn evict(
    txn: &mut Txn<'_>,
    command: &Command,
    evict: &Evict,
) -> Result<Decided, Refusal> {
    let Evict {
        node_id,
        epoch,
        reason,
    } = evict;
    let none = || Refusal::NodeNotFound(node_id.clone());
    let (_, live) = txn.state.live(node_id).ok_or_else(none)?;
    match epoch {
        Some(epoch) if *epoch < live.epoch => return Err(superseded(node_id, live)),
        Some(epoch) if *epoch > live.epoch => {
            return Err(Refusal::EpochNotFound {
                node_id: node_id.clone(),
                named: *epoch,
                last: live.epoch,
            });
        }
        _ => {}
    }
    match &live.ended {
        Some(ended) if ended.how == NodeEnd::Evicted => {}
        Some(_) => return Err(none()),
        None => {
            let change = end(txn, node_id, NodeEnd::Evicted, Some(reason.clone()));
            let changes = change.into_iter().collect();
            txn.change("admin.node.evict", command, None, changes);
        }
    }
    node_answer(txn, node_id)
}

/// The change that ends a node.
fn end(txn: &Txn<'_>, node_id: &NodeId, how: NodeEnd, reason: Option<Reason>) -> Option<Change> {
    let (_, live) = txn.state.live(node_id)?;
    let kind = match how {
        NodeEnd::Deregistered => EventKind::NodeDeregistered,
        NodeEnd::Expired => EventKind::NodeExpired,
        NodeEnd::Evicted => EventKind::NodeEvicted,
    };
    let view = txn.state.node(node_id);
    let tools = view.map_or(&[][..], |view| &view.node.registration.tools);
    let event = NodeEvent {
        requester_id: live.requester_id,
        epoch: live.epoch,
        tools_removed: tools.iter().map(|tool| tool.reference(None)).collect(),
        tools_added: Vec::new(),
        collisions: Vec::new(),
    };
    let ended = NodeEnded {
        how,
        at: txn.now.wall,
        kept_ms: txn.state.retention_ms(),
        reason: reason.clone(),
    };
    let live = Live {
        ended: Some(ended),
        health: None,
        ..Live::clone(live)
    };
    Some(Change::Put {
        key: Key::Live(node_id.clone()),
        record: live.into(),
        tentative: false,
        event: Some(EventRecord {
            reason,
            ..EventRecord::of_node(kind, event)
        }),
    })
}
