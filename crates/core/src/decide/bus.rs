//! Buses.

use onex_types::ids::BusId;

use crate::{
    command::{Answer, Command, Refusal, bounds},
    entry::{Change, EventKind, EventRecord},
    key::Key,
    lease::LeaseEnd,
    mechanism::Mechanism,
    node::REQUESTS_REMEMBERED,
    node_command::{DeregisterBus, RegisterBus},
    node_record::{Bus, BusEnded},
    record_parts::Request,
    txn::Txn,
};

use super::{
    claim::living,
    decided::Decided,
    lease,
    retries::{is_remembered, remember},
};

/// Announces a bus, anew or again.
pub(super) fn register(
    txn: &mut Txn<'_>,
    command: &Command,
    request: &RegisterBus,
) -> Result<Decided, Refusal> {
    let RegisterBus {
        bus_id,
        requester_id,
        ..
    } = request;
    let before = txn.state.bus(bus_id).map(|(_, bus)| bus.clone());
    let over = before.as_ref().and_then(|bus| txn.state.bus_over(bus));
    if let Some(bus) = &before {
        if over.is_none() && bus.requester_id != *requester_id {
            return Err(Refusal::NotBusHolder(bus_id.clone()));
        }
        if changed_before(txn, bus, *requester_id, request.request)? {
            let bus = over.is_none().then(|| bus.clone());
            return Ok(Decided::answer(Answer::Bus(bus)));
        }
    }
    let owner = request.node_id.as_ref();
    let owner = owner
        .map(|node_id| living(txn.state, node_id, *requester_id, None))
        .transpose()?
        .map(|view| view.owner());
    if let Some(lease_id) = request.lease_id {
        lease::live(txn, *requester_id, lease_id)?;
    }
    let limit = txn.state.node_limits().buses_max;
    if before.is_none() && txn.state.buses_known() >= limit {
        return Err(Refusal::LimitExceeded {
            what: bounds::BUSES,
            limit,
        });
    }
    let mut changes = Vec::new();
    // One that has ended with its node or lease, without an entry that says so, ends before it is announced again.
    if let (Some(bus), Some(how)) = (&before, over)
        && bus.ended.is_none()
    {
        changes.push(end(txn, bus_id, bus, how));
    }
    let mut requests = before.map_or_else(Vec::new, |bus| bus.requests.clone());
    remember(&mut requests, request.request, REQUESTS_REMEMBERED);
    let bus = Bus {
        requester_id: *requester_id,
        protocol: request.protocol.clone(),
        owner,
        lease_id: request.lease_id,
        registered_at: txn.now.wall,
        ended: None,
        requests,
        more: request.more.clone(),
    };
    let goes_on = txn.state.bus(bus_id).is_some() && over.is_none();
    changes.push(Change::Put {
        key: Key::Bus(bus_id.clone()),
        record: bus.into(),
        tentative: false,
        event: (!goes_on).then(|| EventRecord::new(EventKind::BusRegistered)),
    });
    txn.change("bus.register", command, Some(*requester_id), changes);
    let bus = txn.state.bus(bus_id).map(|(_, bus)| bus.clone());
    Ok(Decided::answer(Answer::Bus(bus)))
}

/// Ends a bus for who announced it. Again: the same.
pub(super) fn deregister(
    txn: &mut Txn<'_>,
    command: &Command,
    request: &DeregisterBus,
) -> Result<Decided, Refusal> {
    let DeregisterBus {
        bus_id,
        requester_id,
        request,
    } = request;
    let none = || Refusal::BusNotFound(bus_id.clone());
    let bus = txn.state.bus(bus_id).map(|(_, bus)| bus.clone());
    let bus = bus.ok_or_else(none)?;
    let over = txn.state.bus_over(&bus).is_some();
    if bus.requester_id != *requester_id {
        // One that has ended is nobody's, as with nodes.
        return Err(if over {
            none()
        } else {
            Refusal::NotBusHolder(bus_id.clone())
        });
    }
    if !changed_before(txn, &bus, *requester_id, *request)? && !over {
        let mut bus = Bus::clone(&bus);
        remember(&mut bus.requests, *request, REQUESTS_REMEMBERED);
        let change = end(txn, bus_id, &bus, LeaseEnd::Released);
        txn.change("bus.deregister", command, Some(*requester_id), vec![change]);
    }
    Ok(Decided::answer(Answer::Done))
}

/// Ends a bus whose node or lease has ended, and forgets one that ended long ago.
pub(super) fn expire(txn: &mut Txn<'_>, command: &Command, bus_id: &BusId) {
    let Some((slot, bus)) = txn.state.bus(bus_id) else {
        return;
    };
    if bus.ended.is_none() {
        if let Some(how) = txn.state.bus_over(bus) {
            let change = end(txn, bus_id, bus, how);
            txn.change("bus.expire", command, None, vec![change]);
        }
        return;
    }
    let due = txn.state.due_at(slot);
    if due.is_some_and(|due| due <= txn.now.mono) {
        let key = Key::Bus(bus_id.clone());
        txn.change(
            "bus.forget",
            command,
            None,
            vec![Change::Delete { key, event: None }],
        );
    }
}

/// The change that ends a bus.
pub(super) fn end(txn: &Txn<'_>, bus_id: &BusId, bus: &Bus, how: LeaseEnd) -> Change {
    let ended = BusEnded {
        how,
        at: txn.now.wall,
        kept_ms: txn.state.retention_ms(),
    };
    let bus = Bus {
        ended: Some(ended),
        ..bus.clone()
    };
    Change::Put {
        key: Key::Bus(bus_id.clone()),
        record: bus.into(),
        tentative: false,
        event: Some(EventRecord::new(EventKind::BusRemoved)),
    }
}

/// Whether that request has announced or removed the bus already. An id belongs to its requester.
fn changed_before(
    txn: &Txn<'_>,
    bus: &Bus,
    requester_id: onex_types::ids::RequesterId,
    request: Option<Request>,
) -> Result<bool, Refusal> {
    let Some(request) = request.filter(|_| txn.state.mechanisms.on(Mechanism::Idempotency)) else {
        return Ok(false);
    };
    match is_remembered(bus.requests.iter(), request) {
        Err(_) if bus.requester_id != requester_id => Ok(false),
        remembered => remembered,
    }
}
