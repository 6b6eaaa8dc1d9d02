//! Which ports a grant gets.

use onex_types::{
    ids::{CommandId, Host, LeaseId, Port, Transport},
    key::PortKey,
};

use crate::{
    availability::Obstacle,
    command::{Command, FullPool, GrantRequest, Held, NextFree, Refusal, Unavailable},
    entry::Change,
    key::Key,
    lease::{Member, PortKeyText},
    pool::Pool,
    txn::Txn,
};

use super::system::put;

/// What a caller is told to wait when no timer says when a port comes free, in milliseconds.
const RETRY_AFTER_MILLIS: u64 = 1_000;

/// The keys of all ports of a set. The first one has the lease, the others a member of it.
pub(super) fn keys(host: &Host, transports: &[Transport], ports: &[Port]) -> Vec<PortKey> {
    let each = transports.iter().flat_map(|transport| {
        ports.iter().map(|port| PortKey {
            host: host.clone(),
            transport: *transport,
            port: *port,
        })
    });
    each.collect()
}

/// A port of the lease whose record is at `of`.
pub(super) fn member(key: &PortKey, of: &PortKey) -> Change {
    let member = Member {
        of: PortKeyText(of.clone()),
    };
    put(Key::Port(key.clone()), member.into())
}

/// The ports to grant, all or none: the first is the one asked for, else the one that this requester's name had last on
/// this host and transport, else one that is free.
pub(super) fn choose(
    txn: &mut Txn<'_>,
    command: &Command,
    request: &GrantRequest,
) -> Result<Vec<Port>, Refusal> {
    for transport in request.transports() {
        txn.state.pool_mut(&request.host, transport);
    }
    let found = |ports: Option<Vec<Port>>| ports.ok_or_else(|| exhausted(txn, request, None));
    let names = &txn.state.other_names(&request.host);
    if let Some(port) = request.preferred {
        match first_from(txn, command, request, names, port) {
            Ok(ports) if ports.is_some() || request.exact => return found(ports),
            Err(obstacle) if request.exact => return Err(unavailable(txn, obstacle)),
            Ok(_) | Err(_) => {}
        }
    }
    let sticky = request.name.as_ref().and_then(|name| {
        let holder = request.requester_id;
        let (host, transport) = (&request.host, request.transport);
        txn.state.indexes.last_named(holder, name, host, transport)
    });
    if let Some(sticky) = sticky
        && let Ok(Some(ports)) = first_from(txn, command, request, names, sticky.port)
    {
        return Ok(ports);
    }
    found(any(txn, command, request, names, None))
}

/// A set whose first port is that one; why that is not to be had, and where a run of neighbours ends.
fn first_from(
    txn: &Txn<'_>,
    command: &Command,
    request: &GrantRequest,
    names: &[Host],
    first: Port,
) -> Result<Option<Vec<Port>>, Obstacle> {
    if !request.contiguous {
        return match obstacle(txn, request, names, first) {
            Some(obstacle) => Err(obstacle),
            None => Ok(any(txn, command, request, names, Some(first))),
        };
    }
    let mut ports = Vec::new();
    for offset in 0..request.count.max(1) {
        let port = first.number().checked_add(offset).and_then(Port::new);
        let port = port.ok_or_else(|| Obstacle {
            why: Unavailable::Outside,
            key: PortKey {
                host: request.host.clone(),
                transport: request.transport,
                port: first,
            },
        })?;
        if let Some(obstacle) = obstacle(txn, request, names, port) {
            return Err(obstacle);
        }
        ports.push(port);
    }
    Ok(Some(ports))
}

/// So many ports as are asked for, `first` among them if it is given; none if there are not as many.
fn any(
    txn: &Txn<'_>,
    command: &Command,
    request: &GrantRequest,
    names: &[Host],
    first: Option<Port>,
) -> Option<Vec<Port>> {
    let count = usize::from(request.count.max(1));
    let pool = txn.state.pool(&request.host, request.transport)?;
    let is_available = |port: &Port| obstacle(txn, request, names, *port).is_none();
    let candidates = pool.candidates(spread(command.id)).filter(is_available);
    if !request.contiguous {
        let others = candidates.filter(|port| Some(*port) != first);
        let ports: Vec<Port> = first.into_iter().chain(others).take(count).collect();
        return (ports.len() == count).then_some(ports);
    }
    // A run that the first pass begins in the middle of is found by the second, which begins at the lowest port.
    run(candidates, count).or_else(|| run(pool.candidates(0).filter(is_available), count))
}

/// The first run of that many neighbours.
fn run(ports: impl Iterator<Item = Port>, count: usize) -> Option<Vec<Port>> {
    let mut run: Vec<Port> = Vec::new();
    for port in ports {
        let follows = |last: &Port| last.number().checked_add(1) == Some(port.number());
        if !run.last().is_some_and(follows) {
            run.clear();
        }
        run.push(port);
        if run.len() == count {
            return Some(run);
        }
    }
    None
}

/// That an exact port cannot be had, with who has it and until when.
fn unavailable(txn: &Txn<'_>, Obstacle { why, key }: Obstacle) -> Refusal {
    let now = txn.now.mono;
    let held = txn.state.holding_lease(&key);
    let by = held.map(|(key, slot, lease)| Held::of(txn.state, &key, slot, lease).by(now));
    let cools_down = matches!(
        why,
        Unavailable::Resting | Unavailable::Quarantined | Unavailable::GivenUp
    );
    let cooling = txn
        .state
        .slot(&Key::Port(key.clone()))
        .filter(|_| cools_down);
    let due = cooling.and_then(|slot| txn.state.due_at(slot));
    Refusal::PortUnavailable {
        port: key.port,
        why,
        expires_in_ms: match &by {
            Some(by) => by.expires_in_ms,
            None => due.map(|due| due.since(now)),
        },
        by: by.map(Box::new),
    }
}

/// That the pool has not what is asked for, what it is like, and when it may have it. `asks` is the lease that asks for
/// another port: what comes of its end is nothing to wait for.
pub(super) fn exhausted(txn: &Txn<'_>, request: &GrantRequest, asks: Option<LeaseId>) -> Refusal {
    let (host, transport) = (&request.host, request.transport);
    let pool = txn.state.pool(host, transport);
    let timer = txn.state.next_to_come_free(host, transport, asks);
    let next = timer.map(|(at, key)| NextFree {
        port: key.port,
        state: txn.state.port_state(&key, txn.now.mono),
        expires_in_ms: at.since(txn.now.mono),
    });
    Refusal::Exhausted {
        host: host.clone(),
        transport,
        both: request.both,
        count: request.count,
        contiguous: request.contiguous,
        retry_after_ms: next.map_or(RETRY_AFTER_MILLIS, |next| next.expires_in_ms.max(1)),
        pool: Box::new(FullPool {
            counts: pool.map(Pool::counts).unwrap_or_default(),
            next,
        }),
    }
}

/// What keeps that port from being granted now in a port space that is asked for. `names` are the other names of its host:
/// what is held under one of them is the same port.
fn obstacle(txn: &Txn<'_>, request: &GrantRequest, names: &[Host], port: Port) -> Option<Obstacle> {
    request.transports().into_iter().find_map(|transport| {
        let key = PortKey {
            host: request.host.clone(),
            transport,
            port,
        };
        txn.state.obstacle(&key, names, txn.now.mono)
    })
}

/// Spreads neighbouring numbers over all of them (the finaliser of splitmix64).
fn spread(id: CommandId) -> u64 {
    let (high, low) = id.0.as_u64_pair();
    let mut x = high ^ low;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
