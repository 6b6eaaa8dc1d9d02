//! Another port for one that a lease has.

use onex_types::{
    endpoint_uri::with_port,
    ids::{LeaseId, Port},
    key::PortKey,
};
use serde_json::Value;

use crate::{
    command::{Answer, Command, GrantRequest, Held, Rebind, Refusal},
    entry::{Change, EventKind, EventRecord},
    key::Key,
    lease::{Cooldown, Lease, LeaseEnd, QUARANTINE_MILLIS},
    mechanism::Mechanism,
    node_event::NodeEvent,
    node_record::{Bus, Node},
    record_parts::Unknown,
    slot::{Slot, ended_part},
    txn::Txn,
};

use super::{
    decided::Decided,
    grant::remember,
    lease::{held_now, live},
    ports::{choose, exhausted, keys, member},
    restore::check_quiet,
    retries::check_digest,
};

/// The member of a bus, and of a port on which a node listens, that says where that is.
const ENDPOINT_URI: &str = "endpoint_uri";

/// The lease keeps its id and gets another port for one of its own, in each of its port spaces; the old one is quarantined.
/// Its fencing token grows, and its TTL begins again. Nodes and buses that said they are at the old port are at the new one.
pub(super) fn rebind(
    txn: &mut Txn<'_>,
    command: &Command,
    rebind: &Rebind,
) -> Result<Decided, Refusal> {
    let Rebind {
        requester_id,
        lease_id,
        port,
        reason,
        request,
    } = rebind;
    check_digest(txn, *requester_id, *request)?;
    let (key, slot) = live(txn, *requester_id, *lease_id)?;
    let Some(lease) = slot.record.lease() else {
        return Err(Refusal::LeaseExpired(*lease_id, key.port));
    };
    if request.is_some() && lease.rebind == *request {
        return held_now(txn, &key, *lease_id);
    }
    if !lease.ports.contains(port) {
        return Err(Refusal::PortNotHeld(*port));
    }
    check_quiet(txn)?;
    let wanted = like(&key, lease);
    let chosen = choose(txn, command, &wanted).map_err(|refusal| match refusal {
        Refusal::Exhausted { .. } => exhausted(txn, &wanted, Some(*lease_id)),
        refusal => refusal,
    })?;
    let Some(new) = chosen.first().copied() else {
        return Err(Refusal::PortNotHeld(*port));
    };
    let swap = |one: &Port| if one == port { new } else { *one };
    let after = Lease {
        ports: lease.ports.iter().map(swap).collect(),
        fence: txn.revision(),
        rebind: request.or(lease.rebind),
        ..Lease::clone(lease)
    };
    let fresh = keys(&key.host, &lease.transports, &[new]);
    let mut changes = remember(txn, &fresh)?;
    let old = keys(&key.host, &lease.transports, &[*port]);
    let holder_ms = holder_millis(txn, &key, &slot);
    // Another program may be using it, and a holder that was not told yet may count on it.
    let cooldown_ms = holder_ms.max(QUARANTINE_MILLIS);
    changes.extend(old.into_iter().map(|old| {
        let cooldown = ended_part(lease, LeaseEnd::Rebound, Some(cooldown_ms), txn.now.wall);
        Change::Put {
            key: old.into(),
            record: Cooldown {
                holder_ms,
                ..cooldown
            }
            .into(),
            tentative: false,
            event: Some(EventRecord {
                lease: Some(lease.clone()),
                reason: reason.clone(),
                ..EventRecord::new(EventKind::PortQuarantined)
            }),
        }
    }));
    let own = keys(&key.host, &after.transports, &after.ports);
    let Some((first, others)) = own.split_first() else {
        return Err(Refusal::PortNotHeld(*port));
    };
    let is_moved = *first != key;
    let others = others
        .iter()
        .filter(|other| is_moved || fresh.contains(other));
    let others: Vec<Change> = others.map(|other| member(other, first)).collect();
    changes.push(Change::Put {
        key: Key::Port(first.clone()),
        record: after.into(),
        tentative: false,
        event: Some(EventRecord {
            old_port: Some(*port),
            reason: reason.clone(),
            ..EventRecord::new(EventKind::PortRebound)
        }),
    });
    changes.extend(others);
    changes.extend(nodes(txn, *lease_id, *port, new));
    changes.extend(buses(txn, *lease_id, *port, new));
    txn.change("port.rebind", command, Some(*requester_id), changes);
    let mut decided = held_now(txn, first, *lease_id)?;
    if let Answer::Lease(held) = &mut decided.answer {
        held.rebound = Some(new);
    }
    Ok(decided)
}

/// How long a holder that was not told yet may count on the port that is given up, in milliseconds: for its TTL.
fn holder_millis(txn: &Txn<'_>, key: &PortKey, slot: &Slot) -> u64 {
    let lease = slot.record.lease();
    lease
        .filter(|_| txn.state.mechanisms.on(Mechanism::ReboundCooldown))
        .map_or(0, |lease| {
            Held::of(txn.state, key, slot, lease).ttl.millis()
        })
}

/// What the live nodes announce that listen at the old port by that lease, with the new port.
fn nodes(txn: &Txn<'_>, lease_id: LeaseId, old: Port, new: Port) -> Vec<Change> {
    let ids = txn.state.indexes.nodes.listening_by(lease_id);
    let views = ids.filter_map(|id| txn.state.live_node(id));
    let changes = views.filter_map(|view| {
        let mut node = Node::clone(view.node);
        let inbound = node.registration.inbound_ports.iter_mut();
        let mut moved = inbound
            .filter(|port| port.lease_id == Some(lease_id) && port.port == old.number())
            .peekable();
        moved.peek()?;
        for port in moved {
            port.port = new.number();
            move_uri(&mut port.more, old, new);
        }
        let event = NodeEvent {
            requester_id: view.live.requester_id,
            epoch: view.live.epoch,
            tools_removed: Vec::new(),
            tools_added: Vec::new(),
            collisions: Vec::new(),
        };
        Some(Change::Put {
            key: Key::Node(view.node_id.clone()),
            record: node.into(),
            tentative: false,
            event: Some(EventRecord::of_node(EventKind::NodeRegistered, event)),
        })
    });
    changes.collect()
}

/// The buses that end with that lease and are at the old port, at the new one.
fn buses(txn: &Txn<'_>, lease_id: LeaseId, old: Port, new: Port) -> Vec<Change> {
    let ids = txn.state.buses_of_lease(lease_id);
    let changes = ids.filter_map(|id| {
        let (_, bus) = txn.state.bus(id)?;
        let mut bus = Bus::clone(bus);
        move_uri(&mut bus.more, old, new).then(|| Change::Put {
            key: Key::Bus(id.clone()),
            record: bus.into(),
            tentative: false,
            event: Some(EventRecord::new(EventKind::BusRegistered)),
        })
    });
    changes.collect()
}

/// Whether the address among what was said names the old port: it names the new one then.
fn move_uri(said: &mut Unknown, old: Port, new: Port) -> bool {
    let uri = said.get(ENDPOINT_URI).and_then(Value::as_str);
    let Some(moved) = uri.and_then(|uri| with_port(uri, old, new)) else {
        return false;
    };
    said.insert(ENDPOINT_URI.to_owned(), moved.into());
    true
}

/// A grant of one port in the port spaces of that lease.
fn like(key: &PortKey, lease: &Lease) -> GrantRequest {
    GrantRequest {
        requester_id: lease.requester_id,
        protocol: lease.protocol.clone(),
        ttl: lease.ttl,
        owner: None,
        host: key.host.clone(),
        transport: key.transport,
        both: lease.transports.len() > 1,
        count: 1,
        contiguous: false,
        preferred: None,
        exact: false,
        // Its name had the port that it gives up.
        name: None,
        labels: Vec::new(),
        holder: None,
        requested_at: None,
        request: None,
    }
}
