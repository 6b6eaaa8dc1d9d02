//! Another port for one that a lease has.

use onex_types::{ids::Port, key::PortKey};

use crate::{
    command::{Command, GrantRequest, Rebind, Refusal},
    entry::{Change, EventKind, EventRecord},
    key::Key,
    lease::{Lease, LeaseEnd},
    slot::ended,
    txn::Txn,
};

use super::{
    decided::Decided,
    grant::remember,
    lease::{held_now, live},
    ports::{choose, keys, member},
    restore::check_quiet,
    retries::check_digest,
    system::put,
};

/// The lease keeps its id and gets another port for one of its own, in each of its port spaces; the old one is quarantined.
/// Its fencing token grows, and its TTL begins again.
pub(super) fn rebind(
    txn: &mut Txn<'_>,
    command: &Command,
    rebind: &Rebind,
) -> Result<Decided, Refusal> {
    let Rebind {
        requester_id,
        lease_id,
        port,
        request,
    } = rebind;
    check_digest(txn, *requester_id, *request)?;
    let (key, slot) = live(txn, *requester_id, *lease_id)?;
    let Some(lease) = slot.record.lease() else {
        return Err(Refusal::LeaseExpired(*lease_id, key.port));
    };
    if request.is_some() && lease.renewal == *request {
        return held_now(txn, &key, *lease_id);
    }
    if !lease.ports.contains(port) {
        return Err(Refusal::PortNotHeld(*port));
    }
    check_quiet(txn)?;
    let chosen = choose(txn, command, &like(&key, lease))?;
    let Some(new) = chosen.first().copied() else {
        return Err(Refusal::PortNotHeld(*port));
    };
    let swap = |one: &Port| if one == port { new } else { *one };
    let after = Lease {
        ports: lease.ports.iter().map(swap).collect(),
        fence: txn.revision(),
        renewal: request.or(lease.renewal),
        ..Lease::clone(lease)
    };
    let fresh = keys(&key.host, &lease.transports, &[new]);
    let mut changes = remember(txn, &fresh)?;
    let old = keys(&key.host, &lease.transports, &[*port]);
    changes.extend(old.into_iter().map(|old| {
        let mut cooldown = ended(lease, LeaseEnd::InUse, None, None, txn.now.wall);
        cooldown.last.part = true;
        put(old.into(), cooldown.into())
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
            ..EventRecord::new(EventKind::PortRebound)
        }),
    });
    changes.extend(others);
    txn.change("port.rebind", command, Some(*requester_id), changes);
    held_now(txn, first, *lease_id)
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
        requested_at: None,
        request: None,
    }
}
