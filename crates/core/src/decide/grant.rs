//! Grants: choosing a port, and taking a grant back whose port another program uses.

use onex_types::{
    ids::{LeaseId, Port},
    key::PortKey,
};

use crate::{
    command::{Answer, Command, GrantRequest, Refusal, Rollback, Unavailable},
    entry::{Change, EventKind, EventRecord},
    key::{Key, REQUEST_SLOTS_MAX},
    mechanism::Mechanism,
    pool::PortState,
    record::{Lease, LeaseEnd, Remembered, Unknown},
    txn::Txn,
};

use super::{
    Decided, Local, Then, check_digest,
    lease::{end, held},
    spread,
};

/// What a caller is told to wait when no timer says when a port comes free, in milliseconds.
const RETRY_AFTER_MILLIS: u64 = 1_000;

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
    if let Some(settings) = txn.state.settings()
        && request.ttl > settings.ttl_max
    {
        return Err(Refusal::TtlTooLong(settings.ttl_max.seconds()));
    }
    check_digest(txn, request.requester_id, request.request)?;
    if let Some(decided) = granted_before(txn, command, request)? {
        return Ok(decided);
    }
    check_bounds(txn, request)?;
    let granted = choose(txn, command, request)
        .and_then(|key| grant(txn, local, command, request, &key, Vec::new()));
    if granted.is_err() {
        txn.state.forget_pools(&request.host);
    }
    granted
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
    let Key::Port(key) = key.clone() else {
        return Err(Refusal::LeaseExpired);
    };
    let Some((slot, lease)) = txn.state.lease(&key) else {
        return Err(Refusal::LeaseExpired);
    };
    let tentative = slot.tentative;
    let decided = |then, txn: &Txn<'_>| {
        let (slot, lease) = txn.state.lease(&key)?;
        Some(Decided {
            answer: held(&key, slot, lease, false),
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
        if settings.known_hosts_only {
            return Err(Refusal::PoolNotFound(request.host.clone()));
        }
        let limit = settings.hosts_max;
        if txn.state.hosts() >= limit {
            return Err(Refusal::LimitExceeded {
                what: "hosts",
                limit,
            });
        }
    }
    let limit = settings.holder_leases_max;
    if txn.state.indexes.held(request.requester_id) >= limit {
        return Err(Refusal::LimitExceeded {
            what: "leases per requester",
            limit,
        });
    }
    Ok(())
}

/// The port to grant: the one asked for, else the one that this requester's name had last on this host and transport,
/// else one that is free.
fn choose(
    txn: &mut Txn<'_>,
    command: &Command,
    request: &GrantRequest,
) -> Result<PortKey, Refusal> {
    let key = |port: Port| PortKey {
        host: request.host.clone(),
        transport: request.transport,
        port,
    };
    txn.state.pool_mut(&request.host, request.transport);
    if let Some(port) = request.preferred {
        match available(txn, &key(port)) {
            Ok(()) => return Ok(key(port)),
            Err(why) if request.exact => return Err(Refusal::PortUnavailable { port, why }),
            Err(_) => {}
        }
    }
    let GrantRequest {
        requester_id,
        host,
        transport,
        ..
    } = request;
    let sticky = request.name.as_ref().and_then(|name| {
        txn.state
            .indexes
            .last_named(*requester_id, name, host, *transport)
    });
    if let Some(sticky) = sticky
        && available(txn, sticky).is_ok()
    {
        return Ok(sticky.clone());
    }
    let pool = txn.state.pool(host, *transport);
    let candidate = pool.and_then(|pool| {
        let mut candidates = pool.candidates(spread(command.id)).map(key);
        candidates.find(|key| available(txn, key).is_ok())
    });
    candidate.ok_or_else(|| Refusal::Exhausted {
        retry_after_ms: retry_after(txn, request),
    })
}

/// When a port of the pool may come free, in milliseconds.
fn retry_after(txn: &Txn<'_>, request: &GrantRequest) -> u64 {
    let soonest = txn.state.next_timer_of(&request.host, request.transport);
    soonest
        .map_or(RETRY_AFTER_MILLIS, |at| at.since(txn.now.mono))
        .max(1)
}

/// Whether that port can be granted now, and if not, why.
fn available(txn: &Txn<'_>, key: &PortKey) -> Result<(), Unavailable> {
    let usable = txn.state.pool(&key.host, key.transport);
    if !usable.is_some_and(|pool| pool.is_usable(key.port)) {
        let ranges = txn.state.ranges(&key.host);
        let reserved = ranges.reserved.iter().any(|range| range.contains(key.port));
        return Err(if reserved {
            Unavailable::Reserved
        } else {
            Unavailable::Outside
        });
    }
    match txn.state.port_state(key, txn.now.mono) {
        PortState::Free => Ok(()),
        PortState::Held => Err(Unavailable::Held),
        PortState::Resting => Err(Unavailable::Resting),
        PortState::Quarantined => Err(Unavailable::Quarantined),
    }
}

/// Grants that port, after `before` in the same command.
fn grant(
    txn: &mut Txn<'_>,
    local: &Local,
    command: &Command,
    request: &GrantRequest,
    key: &PortKey,
    before: Vec<Change>,
) -> Result<Decided, Refusal> {
    let probe = local.probes.as_ref() == Some(&key.host);
    let mut changes = before;
    changes.extend(remember(txn, key)?);
    let lease = Lease {
        lease_id: LeaseId(command.id.0),
        requester_id: request.requester_id,
        protocol: request.protocol.clone(),
        ttl: request.ttl,
        owner: None,
        ports: vec![key.port],
        transports: vec![key.transport],
        name: request.name.clone(),
        labels: request.labels.clone(),
        requested_at: request.requested_at,
        granted_at: txn.now.wall,
        fence: txn.revision(),
        request: request.request,
        renewal: None,
        unknown: Unknown::new(),
    };
    changes.push(Change::Put {
        key: Key::Port(key.clone()),
        record: lease.into(),
        tentative: probe,
        event: Some(EventRecord {
            kind: EventKind::PortLeased,
            lease: None,
            gap: None,
        }),
    });
    txn.change("port.lease", command, Some(request.requester_id), changes);
    let (slot, lease) = txn.state.lease(key).ok_or(Refusal::LeaseExpired)?;
    let then = if probe { Then::Probe } else { Then::Answer };
    Ok(Decided {
        answer: held(key, slot, lease, false),
        then,
    })
}

/// Moves the requests that the port's last lease remembers to slots: its record is about to be overwritten.
fn remember(txn: &Txn<'_>, key: &PortKey) -> Result<Vec<Change>, Refusal> {
    let slot = txn.state.slot(&Key::Port(key.clone()));
    let Some(cooldown) = slot.and_then(|slot| slot.record.cooldown()) else {
        return Ok(Vec::new());
    };
    let last = &cooldown.last;
    let first = txn.state.indexes.next_remembered();
    let mut changes = Vec::new();
    for (n, request) in (first..).zip(last.requests()) {
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
        };
        changes.push(Change::Put {
            key,
            record: remembered.into(),
            tentative: false,
            event: None,
        });
    }
    Ok(changes)
}

/// Another program uses the port: the grant is taken back and another port granted in its place, in one command. Unless
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
    } = rollback;
    let lease = txn
        .state
        .lease(key)
        .filter(|(_, lease)| lease.lease_id == *lease_id);
    let Some((slot, lease)) = lease else {
        return Err(Refusal::LeaseExpired);
    };
    if !slot.tentative && txn.state.mechanisms.on(Mechanism::TentativeGrants) {
        return Ok(Decided::answer(held(key, slot, lease, false)));
    }
    let back = end(key, slot, LeaseEnd::InUse, None);
    let next = match request.preferred {
        Some(port) if request.exact => Err(Refusal::PortUnavailable {
            port,
            why: Unavailable::InUse,
        }),
        _ if *tried >= PORTS_TRIED_MAX => Err(Refusal::Exhausted {
            retry_after_ms: RETRY_AFTER_MILLIS,
        }),
        _ => choose(
            txn,
            command,
            &GrantRequest {
                preferred: None,
                ..request.clone()
            },
        ),
    };
    match next {
        Ok(next) => grant(txn, local, command, request, &next, vec![back]),
        Err(refusal) => {
            txn.change(
                "port.rollback",
                command,
                Some(request.requester_id),
                vec![back],
            );
            Err(refusal)
        }
    }
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
