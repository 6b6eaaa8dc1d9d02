//! Grants: choosing a port, and taking a grant back whose port another program uses.

use std::sync::Arc;

use jiff::Timestamp;
use onex_types::{
    bounds::LEASE_PORTS_MAX,
    ids::{LeaseId, Port},
    key::PortKey,
};

use crate::{
    command::{Answer, Command, GrantRequest, Refusal, Rollback, Unavailable, bounds},
    entry::{Change, EventKind, EventRecord},
    key::{Key, REQUEST_SLOTS_MAX},
    lease::{Lease, LeaseEnd, Remembered},
    mechanism::Mechanism,
    record::Record,
    record_parts::{OwnerRef, Unknown},
    slot::ended,
    state::State,
    txn::Txn,
};

use super::{
    claim::{check_ttl, living},
    decided::{Decided, Local, Then},
    hosts::meant,
    lease::{held, over},
    ports::{choose, exhausted, keys, member},
    restore::check_quiet,
    retries::check_digest,
    system::put,
};

/// How many ports are tried for one request before it is told that the pool is in use by others.
pub const PORTS_TRIED_MAX: usize = 64;

/// How long a slot must remember a request, in milliseconds: a retry may be under way for as long.
const SLOT_AGE_MIN_MILLIS: i64 = 2_000;

/// Grants a port, or finds the lease that this request got already.
pub(super) fn lease(
    txn: &mut Txn<'_>,
    local: &Local,
    command: &Command,
    request: &GrantRequest,
) -> Result<Decided, Refusal> {
    if request.owner.is_none() {
        check_ttl(txn, Some(request.ttl))?;
    }
    check_digest(txn, request.requester_id, request.request)?;
    if let Some(decided) = granted_before(txn, command, request)? {
        return Ok(decided);
    }
    check_quiet(txn)?;
    let (request, owner) = &of_owner(txn, request)?;
    check_bounds(txn, request)?;
    let is_first_on_host = !txn.state.has_named(&request.host);
    let granted = choose(txn, command, request).and_then(|ports| {
        grant(
            txn,
            local,
            command,
            (request, owner.as_ref()),
            &ports,
            Vec::new(),
        )
    });
    let mut granted = granted.inspect_err(|_| txn.state.forget_pools(&request.host))?;
    if let Answer::Lease(held) = &mut granted.answer {
        held.is_first_on_host = is_first_on_host;
    }
    Ok(granted)
}

/// The request as it is once its host is known, and the node that its lease belongs to, with that node's life.
fn of_owner(
    txn: &Txn<'_>,
    request: &GrantRequest,
) -> Result<(GrantRequest, Option<OwnerRef>), Refusal> {
    let mut request = request.clone();
    let Some(owner) = &request.owner else {
        request.host = meant(txn, &request.host)?;
        return Ok((request, None));
    };
    let view = living(txn.state, &owner.node_id, request.requester_id, owner.epoch)?;
    let host = view.node.registration.host.clone();
    request.host = match host.filter(|_| owner.on_its_host) {
        // A name that is several hosts' by now is kept as it is: so its node called it.
        Some(host) => meant(txn, &host).unwrap_or(host),
        None => meant(txn, &request.host)?,
    };
    request.ttl = view.live.ttl;
    Ok((request, Some(view.owner())))
}

/// That the lease which a request was granted has ended; none where nothing is remembered of it.
fn expired(state: &State, key: &Key) -> Option<Refusal> {
    let slot = state.slot(key)?;
    let (lease_id, port) = match (key, &slot.record) {
        (Key::Port(key), Record::Lease(lease)) => (lease.lease_id, key.port),
        (Key::Port(key), Record::Cooldown(cooldown)) => (cooldown.last.lease_id, key.port),
        (_, Record::Request(remembered)) => (remembered.lease_id, remembered.port),
        _ => return None,
    };
    Some(over(state, &slot.record, lease_id, port))
}

/// What this request has led to already.
fn granted_before(
    txn: &mut Txn<'_>,
    command: &Command,
    request: &GrantRequest,
) -> Result<Option<Decided>, Refusal> {
    if !txn.state.mechanisms.on(Mechanism::Idempotency) {
        return Ok(None);
    }
    let Some(id) = request.request.map(|request| request.id) else {
        return Ok(None);
    };
    let Some((_, key)) = txn.state.indexes.request(request.requester_id, id) else {
        return Ok(None);
    };
    let found = key.clone();
    let Key::Port(key) = found.clone() else {
        return expired(txn.state, &found).map_or(Ok(None), Err);
    };
    let Some((slot, lease)) = txn.state.live_lease(&key) else {
        return expired(txn.state, &found).map_or(Ok(None), Err);
    };
    let tentative = slot.tentative;
    let decided = |then, txn: &Txn<'_>| {
        let (slot, lease) = txn.state.lease(&key)?;
        Some(Decided {
            answer: held(txn.state, &key, slot, lease, false),
            then,
        })
    };
    if !tentative || !txn.state.mechanisms.on(Mechanism::TentativeGrants) {
        return Ok(decided(Then::Answer, txn));
    }
    // Its granter may be trying the port at this moment: from here on it is not rolled back, and the answer waits until
    // nobody can be trying it any more.
    let requester_id = lease.requester_id;
    let change = Change::Confirm {
        key: Key::Port(key.clone()),
    };
    txn.change("port.confirm", command, Some(requester_id), vec![change]);
    let waits = txn.state.mechanisms.on(Mechanism::ConfirmWaits);
    let then = if waits {
        Then::WaitForProbe
    } else {
        Then::Answer
    };
    Ok(decided(then, txn))
}

fn check_bounds(txn: &Txn<'_>, request: &GrantRequest) -> Result<(), Refusal> {
    let Some(settings) = txn.state.settings() else {
        return Ok(());
    };
    if !txn.state.knows_host(&request.host) {
        if !txn.state.may_grant_on(&request.host) {
            return Err(Refusal::PoolNotFound(request.host.clone()));
        }
        let limit = settings.hosts_max;
        if !txn.state.keeps_ports(&request.host) && txn.state.is_full_of_hosts(limit) {
            return Err(Refusal::LimitExceeded {
                what: bounds::HOSTS,
                limit,
            });
        }
    }
    if request.count > LEASE_PORTS_MAX {
        return Err(Refusal::LimitExceeded {
            what: bounds::LEASE_PORTS,
            limit: LEASE_PORTS_MAX.into(),
        });
    }
    let limit = settings.holder_leases_max;
    if txn.state.leases_held(request.requester_id) >= limit {
        return Err(Refusal::LimitExceeded {
            what: bounds::LEASES,
            limit,
        });
    }
    Ok(())
}

/// Grants those ports, after `before` in the same command.
fn grant(
    txn: &mut Txn<'_>,
    local: &Local,
    command: &Command,
    (request, owner): (&GrantRequest, Option<&OwnerRef>),
    ports: &[Port],
    before: Vec<Change>,
) -> Result<Decided, Refusal> {
    let transports = request.transports();
    let keys = keys(&request.host, &transports, ports);
    let Some((key, others)) = keys.split_first() else {
        return Err(exhausted(txn, request, None));
    };
    let probe = local.probes.contains(&key.host);
    let mut changes = before;
    changes.extend(remember(txn, &keys)?);
    let lease = Lease {
        lease_id: LeaseId(command.id.0),
        requester_id: request.requester_id,
        protocol: request.protocol.clone(),
        ttl: request.ttl,
        owner: owner.cloned(),
        ports: ports.to_vec(),
        transports,
        name: request.name.clone(),
        labels: request.labels.clone(),
        holder: request.holder.clone(),
        requested_at: request.requested_at,
        granted_at: txn.now.wall,
        fence: txn.revision(),
        request: request.request,
        renewal: None,
        rebind: None,
        unknown: Unknown::new(),
    };
    changes.push(Change::Put {
        key: Key::Port(key.clone()),
        record: lease.into(),
        tentative: probe,
        event: Some(EventRecord::new(EventKind::PortLeased)),
    });
    changes.extend(others.iter().map(|other| member(other, key)));
    txn.change("port.lease", command, Some(request.requester_id), changes);
    let lease_id = LeaseId(command.id.0);
    let (slot, lease) = txn
        .state
        .lease(key)
        .ok_or(Refusal::LeaseExpired(lease_id, key.port))?;
    let then = if probe { Then::Probe } else { Then::Answer };
    Ok(Decided {
        answer: held(txn.state, key, slot, lease, false),
        then,
    })
}

/// Moves the requests that the last leases of these ports remember to slots: their records are about to be overwritten.
pub(super) fn remember(txn: &Txn<'_>, keys: &[PortKey]) -> Result<Vec<Change>, Refusal> {
    let lasts = keys.iter().filter_map(|key| {
        let slot = txn.state.slot(&Key::Port(key.clone()))?;
        // The requests of a set of ports are remembered at the first of them only.
        let last = Some(&slot.record.cooldown()?.last).filter(|last| !last.part);
        last.map(|last| (key.port, last))
    });
    let requests = lasts.flat_map(|(port, last)| {
        let requests = last.requests();
        requests.map(move |request| (port, last, request))
    });
    let first = txn.state.indexes.next_remembered();
    let mut changes = Vec::new();
    for (n, (port, last, request)) in (first..).zip(requests) {
        let key = Remembered::key(n);
        let age = |at: jiff::Timestamp| txn.now.wall.as_millisecond() - at.as_millisecond();
        let taken = n >= u64::from(REQUEST_SLOTS_MAX) && {
            let slot = txn.state.slot(&key);
            slot.is_some_and(|slot| age(slot.at) < SLOT_AGE_MIN_MILLIS)
        };
        if taken {
            return Err(Refusal::Busy);
        }
        let remembered = Remembered {
            n,
            requester_id: last.requester_id,
            request: *request,
            lease_id: last.lease_id,
            port,
        };
        changes.push(put(key, remembered.into()));
    }
    Ok(changes)
}

/// Another program uses a port: the grant is taken back and another one made in its place, in one command. Unless
/// somebody was told of the grant meanwhile: then it stands.
pub(super) fn rollback(
    txn: &mut Txn<'_>,
    local: &Local,
    command: &Command,
    rollback: &Rollback,
) -> Result<Decided, Refusal> {
    let Rollback {
        key,
        lease_id,
        grant: request,
        tried,
        in_use,
    } = rollback;
    let lease = txn
        .state
        .live_lease(key)
        .filter(|(_, lease)| lease.lease_id == *lease_id);
    let Some((slot, lease)) = lease else {
        return Err(Refusal::LeaseExpired(*lease_id, key.port));
    };
    if !slot.tentative && txn.state.mechanisms.on(Mechanism::TentativeGrants) {
        return Ok(Decided::answer(held(txn.state, key, slot, lease, false)));
    }
    let back = take_back(key, lease, in_use, txn.now.wall);
    let next = match request.preferred {
        Some(port) if request.exact => Err(Refusal::PortUnavailable {
            port,
            why: Unavailable::InUse,
            by: None,
            expires_in_ms: None,
        }),
        _ if *tried >= PORTS_TRIED_MAX => Err(exhausted(txn, request, None)),
        _ => elsewhere(txn, command, request, &back),
    };
    match next {
        Ok((next, request, owner)) => {
            let request = (&request, owner.as_ref());
            grant(txn, local, command, request, &next, back)
        }
        Err(refusal) => {
            let holder = Some(request.requester_id);
            txn.change("port.rollback", command, holder, back);
            Err(refusal)
        }
    }
}

/// The changes that take a grant back of which its caller was not told. Ports that another program uses are quarantined. Under
/// the lease's own key it is told in any case that the grant is gone.
fn take_back(key: &PortKey, lease: &Arc<Lease>, in_use: &[PortKey], at: Timestamp) -> Vec<Change> {
    let cooldown = |port: &PortKey, quarantined: bool| {
        let mut cooldown = ended(lease, LeaseEnd::InUse, None, None, at);
        cooldown.last.part = port != key;
        if !quarantined {
            cooldown.cooldown_ms = 0;
        }
        let kind = if quarantined {
            EventKind::PortQuarantined
        } else {
            EventKind::PortReleased
        };
        Change::Put {
            key: Key::Port(port.clone()),
            record: cooldown.into(),
            tentative: false,
            event: Some(EventRecord {
                lease: Some(lease.clone()),
                ..EventRecord::new(kind)
            }),
        }
    };
    let ports = lease.port_keys(&key.host);
    ports
        .map(|port| match in_use.contains(&port) || in_use.is_empty() {
            false if port != *key => Change::Delete {
                key: port.into(),
                event: None,
            },
            quarantined => cooldown(&port, quarantined),
        })
        .collect()
}

/// Other ports for that request, chosen as it is once the grant is taken back, with the request as it is once its node is
/// known.
fn elsewhere(
    txn: &mut Txn<'_>,
    command: &Command,
    request: &GrantRequest,
    back: &[Change],
) -> Result<(Vec<Port>, GrantRequest, Option<OwnerRef>), Refusal> {
    let (request, owner) = of_owner(txn, request)?;
    let any = GrantRequest {
        preferred: None,
        ..request.clone()
    };
    let mark = txn.mark();
    let holder = Some(request.requester_id);
    txn.change("port.rollback", command, holder, back.to_vec());
    let next = choose(txn, command, &any);
    txn.back_to(&mark);
    Ok((next?, request, owner))
}

/// The port was tried: the grant stands. No reply waits for this.
pub(super) fn confirm(
    txn: &mut Txn<'_>,
    command: &Command,
    key: &PortKey,
    lease_id: LeaseId,
) -> Decided {
    let lease = txn
        .state
        .lease(key)
        .filter(|(_, lease)| lease.lease_id == lease_id);
    if lease.is_some_and(|(slot, _)| slot.tentative) {
        let change = Change::Confirm {
            key: Key::Port(key.clone()),
        };
        txn.change("port.confirm", command, None, vec![change]);
    }
    Decided::answer(Answer::Done)
}
