//! Leases that are there: renewal, release, expiry.

use std::sync::Arc;

use onex_types::{
    ids::{LeaseId, RequesterId, Ttl},
    key::PortKey,
};

use crate::{
    command::{Answer, Command, Held, Refusal},
    entry::{Change, EventKind, EventRecord},
    key::Key,
    mechanism::Mechanism,
    record::{Lease, LeaseEnd, Record, Request},
    slot::{Slot, ended},
    txn::Txn,
};

use super::{Decided, check_digest, system::put};

/// The live lease of that id, which must be `requester_id`'s, with the key of its record.
pub(super) fn live(
    txn: &Txn<'_>,
    requester_id: RequesterId,
    lease_id: LeaseId,
) -> Result<(PortKey, Slot), Refusal> {
    let key = txn
        .state
        .indexes
        .lease(lease_id)
        .ok_or(Refusal::LeaseNotFound)?;
    let slot = txn
        .state
        .slot(&Key::Port(key.clone()))
        .ok_or(Refusal::LeaseNotFound)?;
    let (holder, live) = match &slot.record {
        Record::Lease(lease) => (lease.requester_id, true),
        Record::Cooldown(cooldown) => (cooldown.last.requester_id, false),
        _ => return Err(Refusal::LeaseNotFound),
    };
    if holder != requester_id {
        return Err(Refusal::NotHolder);
    }
    if !live {
        return Err(Refusal::LeaseExpired);
    }
    Ok((key.clone(), slot.clone()))
}

/// The lease as its holder is told of it.
pub(super) fn held(key: &PortKey, slot: &Slot, lease: &Arc<Lease>, verified: bool) -> Answer {
    Answer::Lease(Held {
        key: key.clone(),
        lease: lease.clone(),
        renewed_at: slot.at,
        since: slot.since,
        verified,
    })
}

pub(super) fn held_now(txn: &Txn<'_>, key: &PortKey) -> Result<Decided, Refusal> {
    let (slot, lease) = txn.state.lease(key).ok_or(Refusal::LeaseExpired)?;
    Ok(Decided::answer(held(key, slot, lease, false)))
}

/// The lease lasts its TTL again. One whose time is up and that no entry has ended can be renewed: it is still held.
pub(super) fn renew(
    txn: &mut Txn<'_>,
    command: &Command,
    requester_id: RequesterId,
    lease_id: LeaseId,
    ttl: Option<Ttl>,
    request: Option<Request>,
) -> Result<Decided, Refusal> {
    let ttl_max = txn
        .state
        .settings()
        .map_or(Ttl::MAX, |settings| settings.ttl_max);
    if ttl > Some(ttl_max) {
        return Err(Refusal::TtlTooLong(ttl_max.seconds()));
    }
    check_digest(txn, requester_id, request)?;
    let (key, slot) = live(txn, requester_id, lease_id)?;
    let Some(lease) = slot.record.lease() else {
        return Err(Refusal::LeaseExpired);
    };
    let repeated = request.is_some() && lease.renewal == request;
    // A lease that belongs to a node needs no renewal of its own.
    if repeated || lease.owner.is_some() {
        return held_now(txn, &key);
    }
    // A holder whose reply was lost counts the longer of two times, so a renewal only lengthens.
    let only_lengthens = txn.state.mechanisms.on(Mechanism::OnlyLengthens);
    let ttl = ttl.filter(|ttl| *ttl > lease.ttl || (*ttl < lease.ttl && !only_lengthens));
    let record = Key::Port(key.clone());
    if ttl.is_none() && request.is_none() {
        txn.renew(record);
    } else {
        let change = Change::Renew {
            key: record,
            ttl,
            request,
        };
        txn.change("port.heartbeat", command, Some(requester_id), vec![change]);
    }
    held_now(txn, &key)
}

/// Its holder gives it back. Once it has ended the answer says how, for as long as that is remembered.
pub(super) fn release(
    txn: &mut Txn<'_>,
    command: &Command,
    requester_id: RequesterId,
    lease_id: LeaseId,
    request: Option<Request>,
) -> Result<Decided, Refusal> {
    check_digest(txn, requester_id, request)?;
    match live(txn, requester_id, lease_id) {
        Ok((key, slot)) => {
            let changes = end(&key, &slot, LeaseEnd::Released, request);
            txn.change("port.release", command, Some(requester_id), changes);
            find(txn, lease_id)
        }
        Err(Refusal::LeaseExpired) => find(txn, lease_id),
        Err(refusal) => Err(refusal),
    }
}

/// How it stands with a lease.
pub(super) fn find(txn: &Txn<'_>, lease_id: LeaseId) -> Result<Decided, Refusal> {
    let key = txn
        .state
        .indexes
        .lease(lease_id)
        .ok_or(Refusal::LeaseNotFound)?;
    let slot = txn
        .state
        .slot(&Key::Port(key.clone()))
        .ok_or(Refusal::LeaseNotFound)?;
    match &slot.record {
        Record::Lease(lease) => Ok(Decided::answer(held(key, slot, lease, false))),
        Record::Cooldown(cooldown) => Ok(Decided::answer(Answer::Ended {
            lease_id,
            how: cooldown.how,
            at: cooldown.ended_at,
        })),
        _ => Err(Refusal::LeaseNotFound),
    }
}

/// Ends a lease whose time is up by this instance's clock. Whoever renewed it first has won.
pub(super) fn expire(txn: &mut Txn<'_>, command: &Command, key: &Key) -> Decided {
    if let Key::Port(port) = key
        && let Some(slot) = txn
            .state
            .slot(key)
            .filter(|slot| slot.record.lease().is_some())
        && txn
            .state
            .due_at(slot)
            .is_some_and(|due| due <= txn.now.mono)
    {
        let changes = end(port, slot, LeaseEnd::Expired, None);
        txn.change("port.expire", command, None, changes);
    }
    Decided::answer(Answer::Done)
}

/// The changes that end the lease in `slot`, with all its ports.
pub(super) fn end(
    key: &PortKey,
    slot: &Slot,
    how: LeaseEnd,
    request: Option<Request>,
) -> Vec<Change> {
    let kind = match how {
        LeaseEnd::Released => EventKind::PortReleased,
        LeaseEnd::Expired => EventKind::PortExpired,
        LeaseEnd::InUse => EventKind::PortQuarantined,
    };
    let lease = slot.record.lease();
    let event = EventRecord {
        kind,
        lease: lease.cloned(),
        gap: None,
    };
    let first = Change::End {
        key: Key::Port(key.clone()),
        how,
        request,
        event: Some(event),
    };
    let ports = lease.map(|lease| lease.port_keys(&key.host));
    let others = ports.into_iter().flatten().filter(|port| port != key);
    // What is remembered of a lease is under its own key. A port that has to cool down needs a record of its own.
    let others = others.map(|port| match lease {
        Some(lease) if how.cooldown_millis() > 0 => {
            let mut cooldown = ended(lease, how, None, slot.at);
            cooldown.last.part = true;
            put(port.into(), cooldown.into())
        }
        _ => Change::Delete { key: port.into() },
    });
    std::iter::once(first).chain(others).collect()
}
