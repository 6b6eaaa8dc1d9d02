//! The pools of hosts.

use onex_types::ids::{Host, Transport};

use crate::{
    command::{Answer, Command, Refusal, SetPool, bounds},
    entry::{Change, EventKind, EventRecord},
    key::Key,
    record::HostPool,
    state::State,
    txn::Txn,
};

use super::decided::Decided;

/// Sets a host's ranges. Leases outside them stay until they end. Where they are so already nothing changes, whatever
/// revision was expected: a retry is answered like the first.
pub(super) fn set(txn: &mut Txn<'_>, command: &Command, set: &SetPool) -> Result<Decided, Refusal> {
    let host = &set.host;
    let own = txn.state.pool_revision(host).is_some();
    let before = txn.state.ranges(host);
    let after = changed(&before, set);
    if own && *before == after {
        return Ok(Decided::answer(Answer::Done));
    }
    check_revision(txn.state, host, set.expected_revision)?;
    let limit = txn.state.settings().map_or(usize::MAX, |it| it.hosts_max);
    if !txn.state.keeps_ports(host) && txn.state.is_full_of_hosts(limit) {
        return Err(Refusal::LimitExceeded {
            what: bounds::HOSTS,
            limit,
        });
    }
    let change = Change::Put {
        key: Key::Pool(host.clone()),
        record: after.into(),
        tentative: false,
        event: Some(EventRecord::new(EventKind::PoolChanged)),
    };
    txn.change("pool.set", command, None, vec![change]);
    Ok(Decided::answer(Answer::Done))
}

/// The pool as it is to be. The port space that is not meant keeps its ranges.
fn changed(before: &HostPool, set: &SetPool) -> HostPool {
    let of = |transport| match set.transport {
        Some(other) if other != transport => before.ports(transport),
        _ => &set.ports,
    };
    let (tcp, udp) = (of(Transport::Tcp), of(Transport::Udp));
    HostPool {
        ports: tcp.clone(),
        udp: (udp != tcp).then(|| udp.clone()),
        description: set.description.clone(),
        unknown: before.unknown.clone(),
    }
}

/// Removes a host's ranges: the default ones hold for it. Leases outside them stay until they end.
pub(super) fn delete(
    txn: &mut Txn<'_>,
    command: &Command,
    host: &Host,
    expected_revision: Option<u64>,
) -> Result<Decided, Refusal> {
    let key = Key::Pool(host.clone());
    if txn.state.slot(&key).is_none() {
        return Err(Refusal::NoOwnPool(host.clone()));
    }
    check_revision(txn.state, host, expected_revision)?;
    txn.change(
        "pool.delete",
        command,
        None,
        vec![Change::Delete {
            key,
            event: Some(EventRecord::new(EventKind::PoolDeleted)),
        }],
    );
    Ok(Decided::answer(Answer::Done))
}

fn check_revision(state: &State, host: &Host, expected: Option<u64>) -> Result<(), Refusal> {
    let present = state.pool_revision(host).unwrap_or(0);
    match expected {
        Some(expected) if expected != present => Err(Refusal::PoolChanged {
            host: host.clone(),
            expected,
            present,
        }),
        _ => Ok(()),
    }
}
