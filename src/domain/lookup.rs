//! From what a caller names (a lease, a request, a holder, a name, a label) to the ports it stands for.
//! Derived from the records, one by one, as the index puts them in and takes them out.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use super::{
    ids::{Host, Label, LeaseId, Name, NodeId, Port, RequestId, RequesterId, Transport},
    key::PortKey,
    record::{Body, Lease, Record},
};

/// The maps.
#[derive(Default)]
pub struct Lookup {
    leases: BTreeMap<LeaseId, PortKey>,
    holders: BTreeSet<(RequesterId, PortKey)>,
    requests: BTreeSet<(RequesterId, RequestId, PortKey)>,
    names: BTreeSet<(Name, PortKey)>,
    labels: BTreeSet<(Label, PortKey)>,
    live: BTreeSet<PortKey>,
    bound: BTreeSet<(NodeId, PortKey)>,
    last_names: BTreeMap<Affinity, Port>,
}

/// What a requester gets the same port for again: a name, on one host and transport.
type Affinity = (RequesterId, Name, Host, Transport);

fn affinity(requester: RequesterId, name: &Name, key: &PortKey) -> Affinity {
    (requester, name.clone(), key.host.clone(), key.transport)
}

impl Lookup {
    /// A record takes the place of another, or of none. A renewal changes nothing that is looked up by, but which
    /// port its name had last.
    pub(super) fn replace(
        &mut self,
        key: &PortKey,
        before: Option<&Record>,
        after: Option<&Record>,
    ) {
        if let (Some(before), Some(after)) = (before, after)
            && let Some(lease) = found_alike(before, after)
        {
            if let Some(name) = &lease.name {
                let name = affinity(lease.requester_id, name, key);
                self.last_names.insert(name, key.port);
            }
            return;
        }
        if let Some(before) = before {
            self.forget(key, before);
        }
        if let Some(after) = after {
            self.remember(key, after);
        }
    }

    fn remember(&mut self, key: &PortKey, record: &Record) {
        let holder = match &record.body {
            Body::Lease(lease) => {
                self.live.insert(key.clone());
                self.holders.insert((lease.requester_id, key.clone()));
                if let Some(name) = &lease.name {
                    self.names.insert((name.clone(), key.clone()));
                }
                for label in &lease.labels {
                    self.labels.insert((label.clone(), key.clone()));
                }
                if let Some(life) = &lease.node {
                    self.bound.insert((life.node_id.clone(), key.clone()));
                }
                Some((lease.requester_id, lease.lease_id, lease.name.as_ref()))
            }
            Body::Rest(rest) => rest
                .last
                .as_ref()
                .map(|last| (last.requester_id, last.lease_id, last.name.as_ref())),
        };
        let Some((requester, lease_id, name)) = holder else {
            return;
        };
        self.leases.insert(lease_id, key.clone());
        for request in record.requests() {
            self.requests.insert((requester, request.id, key.clone()));
        }
        if let Some(name) = name {
            self.last_names
                .insert(affinity(requester, name, key), key.port);
        }
    }

    fn forget(&mut self, key: &PortKey, record: &Record) {
        let (requester, lease_id, name) = match &record.body {
            Body::Lease(lease) => {
                self.live.remove(key);
                self.holders.remove(&(lease.requester_id, key.clone()));
                if let Some(name) = &lease.name {
                    self.names.remove(&(name.clone(), key.clone()));
                }
                for label in &lease.labels {
                    self.labels.remove(&(label.clone(), key.clone()));
                }
                if let Some(life) = &lease.node {
                    self.bound.remove(&(life.node_id.clone(), key.clone()));
                }
                (lease.requester_id, lease.lease_id, lease.name.as_ref())
            }
            Body::Rest(rest) => match &rest.last {
                Some(last) => (last.requester_id, last.lease_id, last.name.as_ref()),
                None => return,
            },
        };
        if self.leases.get(&lease_id) == Some(key) {
            self.leases.remove(&lease_id);
        }
        for request in record.requests() {
            self.requests.remove(&(requester, request.id, key.clone()));
        }
        if let Some(name) = name {
            let name = affinity(requester, name, key);
            if self.last_names.get(&name) == Some(&key.port) {
                self.last_names.remove(&name);
            }
        }
    }

    /// The key of a lease, live or remembered.
    pub fn lease(&self, lease_id: LeaseId) -> Option<&PortKey> {
        self.leases.get(&lease_id)
    }

    /// The keys whose records remember that request of that requester.
    pub fn requested(
        &self,
        requester: RequesterId,
        id: RequestId,
    ) -> impl Iterator<Item = &PortKey> {
        self.requests
            .range((requester, id, PortKey::first())..)
            .take_while(move |(holder, request, _)| *holder == requester && *request == id)
            .map(|(_, _, key)| key)
    }

    /// The keys of one requester's live leases, from `after` on.
    pub fn held_by<'a>(
        &'a self,
        requester: RequesterId,
        after: Option<&PortKey>,
    ) -> impl Iterator<Item = &'a PortKey> + use<'a> {
        range_after(&self.holders, requester, after)
    }

    /// The keys of the live leases of that name, from `after` on.
    pub fn named<'a>(
        &'a self,
        name: Name,
        after: Option<&PortKey>,
    ) -> impl Iterator<Item = &'a PortKey> + use<'a> {
        range_after(&self.names, name, after)
    }

    /// The keys of the live leases with that label, from `after` on.
    pub fn labelled<'a>(
        &'a self,
        label: Label,
        after: Option<&PortKey>,
    ) -> impl Iterator<Item = &'a PortKey> + use<'a> {
        range_after(&self.labels, label, after)
    }

    /// The keys of the leases that are bound to that node, whichever life of it, from `after` on.
    pub fn bound_to<'a>(
        &'a self,
        node: &NodeId,
        after: Option<&PortKey>,
    ) -> impl Iterator<Item = &'a PortKey> + use<'a> {
        range_after(&self.bound, node.clone(), after)
    }

    /// How many leases are live.
    pub fn live_leases(&self) -> usize {
        self.live.len()
    }

    /// The keys of all live leases, of one host or of all, from `after` on.
    pub fn live<'a>(
        &'a self,
        host: Option<&'a Host>,
        after: Option<&PortKey>,
    ) -> impl Iterator<Item = &'a PortKey> + use<'a> {
        let first = host.map_or_else(PortKey::first, PortKey::first_on);
        let start = match after {
            Some(after) if *after >= first => Bound::Excluded(after.clone()),
            _ => Bound::Included(first),
        };
        self.live
            .range((start, Bound::Unbounded))
            .take_while(move |key| host.is_none_or(|host| key.host == *host))
    }

    /// The key of the live lease of that port, if there is one.
    pub fn live_at(&self, host: &Host, transport: Transport, port: Port) -> Option<&PortKey> {
        let key = PortKey {
            host: host.clone(),
            transport,
            port,
        };
        self.live.get(&key)
    }

    /// The port that this requester's lease of that name had last on that host and transport.
    pub fn last_named(
        &self,
        requester: RequesterId,
        name: &Name,
        host: &Host,
        transport: Transport,
    ) -> Option<Port> {
        let name = (requester, name.clone(), host.clone(), transport);
        self.last_names.get(&name).copied()
    }
}

/// The lease, where both records hold it and it is found by the same things.
fn found_alike<'a>(before: &Record, after: &'a Record) -> Option<&'a Lease> {
    let (one, other) = (before.lease()?, after.lease()?);
    let nodes = [one, other].map(|lease| lease.node.as_ref().map(|life| &life.node_id));
    let requests = before.requests().map(|request| request.id);
    let alike = one.lease_id == other.lease_id
        && one.requester_id == other.requester_id
        && one.name == other.name
        && one.labels == other.labels
        && nodes[0] == nodes[1]
        && requests.eq(after.requests().map(|request| request.id));
    alike.then_some(other)
}

fn range_after<'a, T: Ord + Clone>(
    set: &'a BTreeSet<(T, PortKey)>,
    value: T,
    after: Option<&PortKey>,
) -> impl Iterator<Item = &'a PortKey> + use<'a, T> {
    let start = after.map_or_else(
        || Bound::Included((value.clone(), PortKey::first())),
        |key| Bound::Excluded((value.clone(), key.clone())),
    );
    set.range((start, Bound::Unbounded))
        .take_while(move |(other, _)| *other == value)
        .map(|(_, key)| key)
}
