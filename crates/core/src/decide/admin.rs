//! What administrators do to ports, whoever holds them.

use onex_types::{ids::LeaseId, key::PortKey, time::slack};

use crate::{
    command::{Answer, Command, Held, Refusal, Revoke, RevokedLease, Unavailable, Unquarantine},
    entry::{Change, EventKind, EventRecord},
    key::Key,
    lease::{Cooldown, LeaseEnd},
    pool::PortState,
    record::Record,
    slot::Slot,
    txn::Txn,
};

use super::{
    decided::Decided,
    lease::{find, revoked},
};

/// Takes a lease away from its holder, who may count on its ports for its whole TTL: for so long nobody gets them. Again:
/// the same, as long as that is remembered.
pub(super) fn revoke(
    txn: &mut Txn<'_>,
    command: &Command,
    revoke: &Revoke,
) -> Result<Decided, Refusal> {
    let lease_id = match &revoke.lease {
        RevokedLease::Id(lease_id) => *lease_id,
        RevokedLease::Of(port) => lease_of(txn, port)?,
    };
    let key = txn.state.indexes.lease(lease_id).cloned();
    let key = key.ok_or(Refusal::LeaseNotFound(lease_id))?;
    if let Some((slot, lease)) = txn.state.live_lease(&key) {
        // It says nothing to the registry but that its node lives, and is not told of a lease that it has no longer.
        if let Some(owner) = &lease.owner {
            return Err(Refusal::LeaseOfNode {
                lease_id,
                port: key.port,
                node_id: owner.node_id.clone(),
            });
        }
        let changes = revoked(txn, &key, slot, lease, &revoke.reason);
        txn.change("admin.port.revoke", command, None, changes);
    }
    find(txn, lease_id)
}

/// The lease that has that port, under whatever name of its host; else the one that was taken away and whose holder may
/// still count on it.
fn lease_of(txn: &Txn<'_>, port: &PortKey) -> Result<LeaseId, Refusal> {
    let found = names_of(txn, port).find_map(|key| {
        let resting = txn.state.port_state(&key, txn.now.mono) == PortState::Resting;
        match &txn.state.slot(&Key::Port(key))?.record {
            Record::Lease(lease) => Some(lease.lease_id),
            Record::Member(member) => Some(txn.state.lease(&member.of.0)?.1.lease_id),
            Record::Cooldown(last) if resting && last.how == LeaseEnd::Revoked => {
                Some(last.last.lease_id)
            }
            _ => None,
        }
    });
    found.ok_or_else(|| Refusal::NobodyHolds(port.clone()))
}

/// A port that is quarantined can be granted at once. Again, and one that can be granted anyway: the same.
pub(super) fn unquarantine(
    txn: &mut Txn<'_>,
    command: &Command,
    unquarantine: &Unquarantine,
) -> Result<Decided, Refusal> {
    let mut changes = Vec::new();
    for key in names_of(txn, &unquarantine.port).collect::<Vec<_>>() {
        let why = match txn.state.port_state(&key, txn.now.mono) {
            PortState::Free => continue,
            PortState::Held => Unavailable::Held,
            PortState::Resting => Unavailable::Resting,
            PortState::Quarantined => {
                changes.extend(at_once(txn, key, unquarantine)?);
                continue;
            }
        };
        let held = txn.state.holding_lease(&key);
        let by =
            held.map(|(key, slot, lease)| Held::of(txn.state, &key, slot, lease).by(txn.now.mono));
        let slot = txn.state.slot(&Key::Port(key));
        let due = slot.and_then(|slot| txn.state.due_at(slot));
        let due = due.filter(|_| why == Unavailable::Resting);
        return Err(Refusal::NotQuarantined {
            port: unquarantine.port.port,
            why,
            left_ms: due.map(|due| due.since(txn.now.mono)),
            by: by.map(Box::new),
        });
    }
    if !changes.is_empty() {
        txn.change("admin.port.unquarantine", command, None, changes);
    }
    Ok(Decided::answer(Answer::Done))
}

/// The change that ends a quarantine. What is remembered of the last lease stays. Refused as long as the holder of a lease
/// that got another port for it may count on it.
fn at_once(
    txn: &Txn<'_>,
    port: PortKey,
    unquarantine: &Unquarantine,
) -> Result<Option<Change>, Refusal> {
    let number = port.port;
    let key = Key::Port(port);
    let slot = txn.state.slot(&key);
    let Some((slot, cooldown)) = slot.and_then(|slot| Some((slot, slot.record.cooldown()?))) else {
        return Ok(None);
    };
    if let Some(left_ms) = given_up(txn, slot) {
        return Err(Refusal::GivenUp {
            port: number,
            left_ms,
        });
    }
    let cooldown = Cooldown {
        cooldown_ms: 0,
        ..Cooldown::clone(cooldown)
    };
    Ok(Some(Change::Put {
        key,
        record: cooldown.into(),
        tentative: false,
        event: Some(EventRecord {
            reason: Some(unquarantine.reason.clone()),
            ..EventRecord::new(EventKind::PortUnquarantined)
        }),
    }))
}

/// How long the holder of a lease that got another port for this one may count on it, in milliseconds; none where nobody
/// does.
pub(super) fn given_up(txn: &Txn<'_>, slot: &Slot) -> Option<u64> {
    let holder_ms = slot.record.cooldown()?.holder_ms;
    let until = slot.since.plus(holder_ms + slack(holder_ms));
    (holder_ms > 0 && until > txn.now.mono).then(|| until.since(txn.now.mono))
}

/// That port under each name of its host: it is one port of one machine.
fn names_of<'a>(txn: &Txn<'_>, port: &'a PortKey) -> impl Iterator<Item = PortKey> + use<'a> {
    let others = txn
        .state
        .other_names(&port.host)
        .into_iter()
        .map(|host| PortKey {
            host,
            ..port.clone()
        });
    std::iter::once(port.clone()).chain(others)
}
