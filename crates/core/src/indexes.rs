//! From what a caller names (a lease, a request, a holder, a name, a label) to the keys that it stands for. A pure
//! function of the records: each is put in and taken out with its record.

use std::collections::{BTreeSet, HashMap};

use onex_types::{
    ids::{Host, Label, LeaseId, Name, RequestId, RequesterId, Transport},
    key::PortKey,
};

use crate::{
    bus_index::BusIndex,
    host_names::HostNames,
    key::Key,
    lease::{Cooldown, Lease, Remembered},
    node_index::NodeIndex,
    owners::Owners,
    record::Record,
    record_parts::Request,
};

/// The port that a lease of a requester's name has or had; the fencing tokens order them.
type Named = (RequesterId, Name, Host, Transport, u64, PortKey);

/// The indexes. Those that hash are never walked, so that their order, which is another one in each process, decides nothing.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Indexes {
    leases: HashMap<LeaseId, PortKey>,
    requests: HashMap<(RequesterId, RequestId), (Request, Key)>,
    holders: BTreeSet<(RequesterId, PortKey)>,
    held: HashMap<RequesterId, usize>,
    names: BTreeSet<(Name, PortKey)>,
    labels: BTreeSet<(Label, PortKey)>,
    named: BTreeSet<Named>,
    remembered: u64,
    /// Nodes, and the tools that they offer.
    pub nodes: NodeIndex,
    /// Buses.
    pub buses: BusIndex,
    /// Which host a name means.
    pub hosts: HostNames,
    /// What belongs to what.
    pub(crate) owners: Owners,
    calls: usize,
    runs: usize,
}

impl Indexes {
    /// A record comes under its key.
    pub(crate) fn insert(&mut self, key: &Key, record: &Record) {
        self.nodes.insert(key, record);
        self.buses.insert(key, record);
        self.hosts.insert(key, record);
        self.owners.insert(key, record);
        match (key, record) {
            (Key::Port(key), Record::Lease(lease)) => self.insert_lease(key, lease),
            (Key::Port(key), Record::Cooldown(cooldown)) if !cooldown.last.part => {
                self.insert_cooldown(key, cooldown);
            }
            (_, Record::Request(request)) => {
                self.remember(request.requester_id, request.request, key.clone());
                self.remembered = self.remembered.max(request.n.saturating_add(1));
            }
            (_, Record::Call(_)) => self.calls += 1,
            (_, Record::Run(_)) => self.runs += 1,
            _ => {}
        }
    }

    /// That record goes.
    pub(crate) fn remove(&mut self, key: &Key, record: &Record) {
        self.nodes.remove(key, record);
        self.buses.remove(key, record);
        self.hosts.remove(key, record);
        self.owners.remove(key, record);
        match (key, record) {
            (Key::Port(key), Record::Lease(lease)) => self.remove_lease(key, lease),
            (Key::Port(port), Record::Cooldown(cooldown)) if !cooldown.last.part => {
                let last = &cooldown.last;
                if self.leases.get(&last.lease_id) == Some(port) {
                    self.leases.remove(&last.lease_id);
                }
                for request in last.requests() {
                    self.forget(last.requester_id, request.id, key);
                }
                if let Some(name) = &last.name {
                    self.named
                        .remove(&named(last.requester_id, name, port, last.fence));
                }
            }
            (_, Record::Request(request)) => {
                self.forget(request.requester_id, request.request.id, key);
                // Only an undo takes the last one away: they are numbered without a gap.
                if self.remembered == request.n.saturating_add(1) {
                    self.remembered = request.n;
                }
            }
            (_, Record::Call(_)) => self.calls = self.calls.saturating_sub(1),
            (_, Record::Run(_)) => self.runs = self.runs.saturating_sub(1),
            _ => {}
        }
    }

    fn insert_lease(&mut self, key: &PortKey, lease: &Lease) {
        self.leases.insert(lease.lease_id, key.clone());
        self.holders.insert((lease.requester_id, key.clone()));
        *self.held.entry(lease.requester_id).or_default() += 1;
        for request in lease.requests() {
            self.remember(lease.requester_id, *request, Key::Port(key.clone()));
        }
        if let Some(name) = &lease.name {
            self.names.insert((name.clone(), key.clone()));
            self.named
                .insert(named(lease.requester_id, name, key, lease.fence));
        }
        for label in &lease.labels {
            self.labels.insert((label.clone(), key.clone()));
        }
    }

    fn remove_lease(&mut self, key: &PortKey, lease: &Lease) {
        if self.leases.get(&lease.lease_id) == Some(key) {
            self.leases.remove(&lease.lease_id);
        }
        self.holders.remove(&(lease.requester_id, key.clone()));
        if let Some(held) = self.held.get_mut(&lease.requester_id) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.held.remove(&lease.requester_id);
            }
        }
        for request in lease.requests() {
            self.forget(lease.requester_id, request.id, &Key::Port(key.clone()));
        }
        if let Some(name) = &lease.name {
            self.names.remove(&(name.clone(), key.clone()));
            self.named
                .remove(&named(lease.requester_id, name, key, lease.fence));
        }
        for label in &lease.labels {
            self.labels.remove(&(label.clone(), key.clone()));
        }
    }

    fn insert_cooldown(&mut self, key: &PortKey, cooldown: &Cooldown) {
        let last = &cooldown.last;
        self.leases.insert(last.lease_id, key.clone());
        for request in last.requests() {
            self.remember(last.requester_id, *request, Key::Port(key.clone()));
        }
        if let Some(name) = &last.name {
            self.named
                .insert(named(last.requester_id, name, key, last.fence));
        }
    }

    fn remember(&mut self, requester_id: RequesterId, request: Request, key: Key) {
        self.requests
            .insert((requester_id, request.id), (request, key));
    }

    fn forget(&mut self, requester_id: RequesterId, request: RequestId, key: &Key) {
        let entry = (requester_id, request);
        if self.requests.get(&entry).is_some_and(|(_, at)| at == key) {
            self.requests.remove(&entry);
        }
    }

    /// Where the lease is, live or ended.
    pub fn lease(&self, lease_id: LeaseId) -> Option<&PortKey> {
        self.leases.get(&lease_id)
    }

    /// What this requester asked for under that id, and the key whose record remembers it.
    pub fn request(&self, requester_id: RequesterId, id: RequestId) -> Option<(Request, &Key)> {
        let (request, key) = self.requests.get(&(requester_id, id))?;
        Some((*request, key))
    }

    /// How many live leases a requester holds.
    pub fn held(&self, requester_id: RequesterId) -> usize {
        self.held.get(&requester_id).copied().unwrap_or(0)
    }

    /// The live leases of a requester, in the order of their keys, from `from` on.
    pub fn held_by<'a>(
        &'a self,
        requester_id: RequesterId,
        from: &PortKey,
    ) -> impl Iterator<Item = &'a PortKey> + use<'a> {
        let start = (requester_id, from.clone());
        let leases = self.holders.range(start..);
        leases
            .take_while(move |(holder, _)| *holder == requester_id)
            .map(|(_, key)| key)
    }

    /// The live leases of that name, in the order of their keys, from `from` on.
    pub fn named<'a>(
        &'a self,
        name: &Name,
        from: &PortKey,
    ) -> impl Iterator<Item = &'a PortKey> + use<'a> {
        let own = name.clone();
        let leases = self.names.range((name.clone(), from.clone())..);
        leases
            .take_while(move |(name, _)| *name == own)
            .map(|(_, key)| key)
    }

    /// The live leases with that label, in the order of their keys, from `from` on.
    pub fn labelled<'a>(
        &'a self,
        label: &Label,
        from: &PortKey,
    ) -> impl Iterator<Item = &'a PortKey> + use<'a> {
        let own = label.clone();
        let leases = self.labels.range((label.clone(), from.clone())..);
        leases
            .take_while(move |(label, _)| *label == own)
            .map(|(_, key)| key)
    }

    /// The port that this requester's lease of that name has, or had last, on that host and transport.
    pub fn last_named(
        &self,
        requester_id: RequesterId,
        name: &Name,
        host: &Host,
        transport: Transport,
    ) -> Option<&PortKey> {
        let first = PortKey::first_on(host);
        let bound = |fence| {
            (
                requester_id,
                name.clone(),
                host.clone(),
                transport,
                fence,
                first.clone(),
            )
        };
        let (.., key) = self.named.range(bound(0)..bound(u64::MAX)).next_back()?;
        Some(key)
    }

    /// How many calls with a request id are remembered.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// How many executions without a request id are under way.
    pub fn runs(&self) -> usize {
        self.runs
    }

    /// The number of the next request that a slot is to remember.
    pub fn next_remembered(&self) -> u64 {
        self.remembered
    }
}

fn named(requester_id: RequesterId, name: &Name, key: &PortKey, fence: u64) -> Named {
    (
        requester_id,
        name.clone(),
        key.host.clone(),
        key.transport,
        fence,
        key.clone(),
    )
}

impl Remembered {
    /// The slot that remembers the `n`th request.
    pub fn key(n: u64) -> Key {
        let slot = n % u64::from(crate::key::REQUEST_SLOTS_MAX);
        Key::Request(u32::try_from(slot).unwrap_or_default())
    }
}
