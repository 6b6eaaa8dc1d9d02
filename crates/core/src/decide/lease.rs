//! Leases that are there: renewal, release, expiry.

use std::sync::Arc;

use jiff::Timestamp;
use onex_types::{
    ids::{LeaseId, Port, Reason, RequesterId, Ttl},
    key::PortKey,
};

use crate::{
    command::{Answer, Command, Held, HeldBy, Refusal},
    entry::{Change, EventKind, EventRecord},
    key::Key,
    lease::{Cooldown, Lease, LeaseEnd},
    mechanism::Mechanism,
    nodes::OwnerEnd,
    record::Record,
    record_parts::Request,
    slot::{Slot, ended_part},
    state::State,
    txn::Txn,
};

use super::{claim::check_ttl, decided::Decided, retries::check_digest, system::put};

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
        .ok_or(Refusal::LeaseNotFound(lease_id))?;
    let slot = txn
        .state
        .slot(&Key::Port(key.clone()))
        .ok_or(Refusal::LeaseNotFound(lease_id))?;
    let (holder, live) = match &slot.record {
        Record::Lease(lease) => (lease.requester_id, txn.state.lease_over(lease).is_none()),
        Record::Cooldown(cooldown) => (cooldown.last.requester_id, false),
        _ => return Err(Refusal::LeaseNotFound(lease_id)),
    };
    if holder != requester_id {
        let now = txn.now.mono;
        let by = match &slot.record {
            Record::Lease(lease) => Held::of(txn.state, key, slot, lease).by(now),
            Record::Cooldown(cooldown) => HeldBy::of_last(&cooldown.last),
            _ => return Err(Refusal::LeaseNotFound(lease_id)),
        };
        return Err(Refusal::NotHolder {
            lease_id,
            port: key.port,
            by: Box::new(by),
        });
    }
    if !live {
        return Err(over(txn.state, &slot.record, lease_id, key.port));
    }
    Ok((key.clone(), slot.clone()))
}

/// That a lease has ended; why, where an administrator took it away.
pub(super) fn over(state: &State, record: &Record, lease_id: LeaseId, port: Port) -> Refusal {
    let reason = match record {
        Record::Lease(lease) => state.lease_over(lease).and_then(|over| over.reason),
        record => record.cooldown().and_then(|it| it.reason.clone()),
    };
    match reason {
        Some(reason) => Refusal::LeaseRevoked {
            lease_id,
            port,
            reason,
        },
        None => Refusal::LeaseExpired(lease_id, port),
    }
}

/// The lease as its holder is told of it.
pub(super) fn held(
    state: &State,
    key: &PortKey,
    slot: &Slot,
    lease: &Arc<Lease>,
    verified: bool,
) -> Answer {
    Answer::Lease(Held {
        verified,
        ..Held::of(state, key, slot, lease)
    })
}

impl Held {
    /// The lease in `slot`, under that key.
    pub fn of(state: &State, key: &PortKey, slot: &Slot, lease: &Arc<Lease>) -> Self {
        // A lease that belongs to a node lasts as long as that.
        let owner = lease.owner.as_ref();
        let owner = owner.and_then(|owner| state.live(&owner.node_id));
        let (slot, ttl) = owner.map_or((slot, lease.ttl), |(slot, live)| (slot, live.ttl));
        Self {
            key: key.clone(),
            lease: lease.clone(),
            ttl,
            renewed_at: slot.at,
            since: slot.since,
            verified: false,
            is_first_on_host: false,
            rebound: None,
        }
    }
}

pub(super) fn held_now(
    txn: &Txn<'_>,
    key: &PortKey,
    lease_id: LeaseId,
) -> Result<Decided, Refusal> {
    let (slot, lease) = txn
        .state
        .lease(key)
        .ok_or(Refusal::LeaseExpired(lease_id, key.port))?;
    Ok(Decided::answer(held(txn.state, key, slot, lease, false)))
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
    check_ttl(txn, ttl)?;
    check_digest(txn, requester_id, request)?;
    let (key, slot) = live(txn, requester_id, lease_id)?;
    let Some(lease) = slot.record.lease() else {
        return Err(Refusal::LeaseExpired(lease_id, key.port));
    };
    let repeated = request.is_some() && lease.renewal == request;
    // A lease that belongs to a node needs no renewal of its own.
    if repeated || lease.owner.is_some() {
        return held_now(txn, &key, lease_id);
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
            health: None,
        };
        txn.change("port.heartbeat", command, Some(requester_id), vec![change]);
    }
    held_now(txn, &key, lease_id)
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
            let end = End {
                request,
                ..End::of(LeaseEnd::Released, txn.now.wall)
            };
            let changes = end.changes(&key, &slot);
            txn.change("port.release", command, Some(requester_id), changes);
            find(txn, lease_id)
        }
        Err(Refusal::LeaseExpired(..) | Refusal::LeaseRevoked { .. }) => find(txn, lease_id),
        Err(refusal) => Err(refusal),
    }
}

/// How it stands with a lease.
pub(super) fn find(txn: &Txn<'_>, lease_id: LeaseId) -> Result<Decided, Refusal> {
    let key = txn
        .state
        .indexes
        .lease(lease_id)
        .ok_or(Refusal::LeaseNotFound(lease_id))?;
    let slot = txn
        .state
        .slot(&Key::Port(key.clone()))
        .ok_or(Refusal::LeaseNotFound(lease_id))?;
    match &slot.record {
        Record::Lease(lease) => Ok(Decided::answer(match txn.state.lease_over(lease) {
            Some(end) => Answer::Ended {
                lease_id,
                how: end.how,
                at: end.at,
            },
            None => held(txn.state, key, slot, lease, false),
        })),
        Record::Cooldown(cooldown) => Ok(Decided::answer(Answer::Ended {
            lease_id,
            how: cooldown.how,
            at: cooldown.ended_at,
        })),
        _ => Err(Refusal::LeaseNotFound(lease_id)),
    }
}

/// Ends a lease whose time is up by this instance's clock, or whose node has ended. Whoever renewed it first has won.
pub(super) fn expire(txn: &mut Txn<'_>, command: &Command, key: &PortKey) {
    let Some((slot, lease)) = txn.state.lease(key) else {
        return;
    };
    let changes = if let Some(over) = txn.state.lease_over(lease) {
        end_with_owner(txn, key, slot, &over)
    } else {
        let due = txn.state.due_at(slot);
        if due.is_none_or(|due| due > txn.now.mono) {
            return;
        }
        End::of(LeaseEnd::Expired, txn.now.wall).changes(key, slot)
    };
    txn.change("port.expire", command, None, changes);
}

/// The changes that end a lease whose node has ended so. If that did not end by itself, its holder may count on the ports for
/// the node's TTL.
pub(super) fn end_with_owner(
    txn: &Txn<'_>,
    key: &PortKey,
    slot: &Slot,
    over: &OwnerEnd,
) -> Vec<Change> {
    let mechanism = match over.how {
        LeaseEnd::Superseded => Some(Mechanism::SupersededCooldown),
        LeaseEnd::Revoked => Some(Mechanism::RevokedCooldown),
        LeaseEnd::Released | LeaseEnd::Expired | LeaseEnd::InUse | LeaseEnd::Rebound => None,
    };
    let cools_down = mechanism.is_some_and(|mechanism| txn.state.mechanisms.on(mechanism));
    let end = End {
        cooldown_ms: cools_down.then(|| over.ttl.millis()),
        reason: over.reason.clone(),
        ..End::of(over.how, txn.now.wall)
    };
    end.changes(key, slot)
}

/// The changes that take a lease away from its holder, who does not know and may count on its ports for its TTL.
pub(super) fn revoked(
    txn: &Txn<'_>,
    key: &PortKey,
    slot: &Slot,
    lease: &Lease,
    reason: &Reason,
) -> Vec<Change> {
    let cools_down = txn.state.mechanisms.on(Mechanism::RevokedCooldown);
    let end = End {
        cooldown_ms: cools_down.then(|| lease.ttl.millis()),
        reason: Some(reason.clone()),
        ..End::of(LeaseEnd::Revoked, txn.now.wall)
    };
    end.changes(key, slot)
}

/// The end of a lease.
struct End {
    how: LeaseEnd,
    /// How long nobody gets its ports, in milliseconds, where that does not follow from how it ends.
    cooldown_ms: Option<u64>,
    /// The request that asks for it.
    request: Option<Request>,
    /// Why an administrator asks for it.
    reason: Option<Reason>,
    /// When, for people.
    at: Timestamp,
}

impl End {
    fn of(how: LeaseEnd, at: Timestamp) -> Self {
        Self {
            how,
            cooldown_ms: None,
            request: None,
            reason: None,
            at,
        }
    }

    /// The changes that end the lease in `slot`, with all its ports.
    fn changes(&self, key: &PortKey, slot: &Slot) -> Vec<Change> {
        let Self {
            how,
            cooldown_ms,
            request,
            reason: _,
            at,
        } = *self;
        let kind = match how {
            LeaseEnd::Released => EventKind::PortReleased,
            LeaseEnd::Expired => EventKind::PortExpired,
            LeaseEnd::InUse | LeaseEnd::Rebound => EventKind::PortQuarantined,
            LeaseEnd::Superseded | LeaseEnd::Revoked => EventKind::PortRevoked,
        };
        let lease = slot.record.lease();
        let event = EventRecord {
            lease: lease.cloned(),
            reason: self.reason.clone(),
            ..EventRecord::new(kind)
        };
        let first = Change::End {
            key: Key::Port(key.clone()),
            how,
            cooldown_ms,
            request,
            event: Some(event),
        };
        // Whoever asks about one of its other ports is told who had it as well.
        let others = lease.into_iter().flat_map(|lease| {
            let ports = lease.port_keys(&key.host).filter(|port| port != key);
            ports.map(|port| {
                let cooldown = Cooldown {
                    reason: self.reason.clone(),
                    ..ended_part(lease, how, cooldown_ms, at)
                };
                put(port.into(), cooldown.into())
            })
        });
        std::iter::once(first).chain(others).collect()
    }
}
