//! Which ports a grant gets.

use onex_types::{
    ids::{CommandId, Host, Port, Transport},
    key::PortKey,
};

use crate::{
    command::{Command, GrantRequest, Refusal, Unavailable},
    entry::Change,
    key::Key,
    lease::{Member, PortKeyText},
    pool::PortState,
    txn::Txn,
};

use super::{hosts::other_names, system::put};

/// What a caller is told to wait when no timer says when a port comes free, in milliseconds.
pub(super) const RETRY_AFTER_MILLIS: u64 = 1_000;

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
    let found = |ports: Option<Vec<Port>>| {
        ports.ok_or_else(|| request.exhausted(retry_after(txn, request)))
    };
    let names = &other_names(txn, &request.host);
    if let Some(port) = request.preferred {
        match first_from(txn, command, request, names, port) {
            Ok(ports) if ports.is_some() || request.exact => return found(ports),
            Err((port, why)) if request.exact => {
                return Err(Refusal::PortUnavailable { port, why });
            }
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
) -> Result<Option<Vec<Port>>, (Port, Unavailable)> {
    if !request.contiguous {
        available(txn, request, names, first).map_err(|why| (first, why))?;
        return Ok(any(txn, command, request, names, Some(first)));
    }
    let mut ports = Vec::new();
    for offset in 0..request.count.max(1) {
        let port = first.number().checked_add(offset).and_then(Port::new);
        let port = port.ok_or((first, Unavailable::Outside))?;
        available(txn, request, names, port).map_err(|why| (port, why))?;
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
    let is_available = |port: &Port| available(txn, request, names, *port).is_ok();
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

/// When a port of the pool may come free, in milliseconds.
fn retry_after(txn: &Txn<'_>, request: &GrantRequest) -> u64 {
    let soonest = txn.state.next_timer_of(&request.host, request.transport);
    soonest
        .map_or(RETRY_AFTER_MILLIS, |at| at.since(txn.now.mono))
        .max(1)
}

/// Whether that port can be granted now in all port spaces that are asked for, and if not, why. `names` are the other names
/// of its host: what is held under one of them is the same port.
fn available(
    txn: &Txn<'_>,
    request: &GrantRequest,
    names: &[Host],
    port: Port,
) -> Result<(), Unavailable> {
    request.transports().into_iter().try_for_each(|transport| {
        let key = |host: &Host| PortKey {
            host: host.clone(),
            transport,
            port,
        };
        is_available(txn, &key(&request.host))?;
        names.iter().try_for_each(|name| is_free(txn, &key(name)))
    })
}

/// Whether that port can be granted now, and if not, why.
fn is_available(txn: &Txn<'_>, key: &PortKey) -> Result<(), Unavailable> {
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
    is_free(txn, key)
}

fn is_free(txn: &Txn<'_>, key: &PortKey) -> Result<(), Unavailable> {
    match txn.state.port_state(key, txn.now.mono) {
        PortState::Free => Ok(()),
        PortState::Held => Err(Unavailable::Held),
        PortState::Resting => Err(Unavailable::Resting),
        PortState::Quarantined => Err(Unavailable::Quarantined),
    }
}

/// Spreads neighbouring numbers over all of them (the finaliser of splitmix64).
fn spread(id: CommandId) -> u64 {
    let (high, low) = id.0.as_u64_pair();
    let mut x = high ^ low;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
