//! What the bucket says, as far as the follower has come. [`Index::apply`] and [`Index::advance`] are
//! all that changes it; the follower calls both, in the order of the stream.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    ids::{Digest, Host, Label, LeaseId, Name, RequestId, RequesterId, Transport, Ttl},
    key::{Key, PortKey, Revision},
    mechanism::{Mechanism, Mechanisms},
    outbox::Outbox,
    pool::{Class, Pool, PortRange},
    record::{Body, Last, Record, Request, Stored, Sys},
    standing::{Entry, Standing, Terms},
    time::{Moment, Now},
};

/// What this instance was told at its start.
#[derive(Debug, Clone)]
pub struct Policy {
    /// This instance.
    pub registry_id: Uuid,
    /// Where it runs; the default of a request's `host`.
    pub host: Host,
    /// Whether ports of its own host are tried after a grant.
    pub probe: bool,
    /// What may be granted on every host.
    pub ranges: Vec<PortRange>,
    /// What is never granted.
    pub reserved: Vec<PortRange>,
    /// The longest TTL that a request may ask for.
    pub ttl_max: Ttl,
    /// How many leases one requester may hold.
    pub holder_leases_max: usize,
    /// For how many hosts ports are kept.
    pub hosts_max: usize,
    /// Whether a host that has no pool yet is refused.
    pub known_hosts_only: bool,
}

/// The follower's view of the bucket, with what makes looking things up cheap.
pub struct Index {
    /// What this instance was told at its start.
    pub policy: Policy,
    /// Which mechanisms are on: all of them, outside the simulation.
    pub mechanisms: Mechanisms,
    /// What is not published yet.
    pub outbox: Outbox,
    ports: BTreeMap<PortKey, Entry>,
    classes: BTreeMap<PortKey, (Class, Option<Moment>)>,
    timers: BTreeSet<(Moment, PortKey)>,
    due: BTreeSet<PortKey>,
    pools: BTreeMap<(Host, Transport), Pool>,
    fresh_pool: Pool,
    leases: BTreeMap<LeaseId, PortKey>,
    holders: BTreeSet<(RequesterId, PortKey)>,
    requests: BTreeSet<(RequesterId, RequestId, PortKey)>,
    names: BTreeSet<(Name, PortKey)>,
    labels: BTreeSet<(Label, PortKey)>,
    last_names: BTreeMap<(RequesterId, Name), (Revision, PortKey)>,
    sys: Option<(Revision, Sys)>,
    applied: Revision,
    exact: Revision,
}

impl Index {
    /// An empty one.
    pub fn new(policy: Policy) -> Self {
        let fresh_pool = Pool::new(&policy.ranges, &policy.reserved);
        let own =
            Transport::ALL.map(|transport| ((policy.host.clone(), transport), fresh_pool.clone()));
        Self {
            outbox: Outbox::new(policy.registry_id),
            policy,
            mechanisms: Mechanisms::default(),
            ports: BTreeMap::new(),
            classes: BTreeMap::new(),
            timers: BTreeSet::new(),
            due: BTreeSet::new(),
            pools: own.into(),
            fresh_pool,
            leases: BTreeMap::new(),
            holders: BTreeSet::new(),
            requests: BTreeSet::new(),
            names: BTreeSet::new(),
            labels: BTreeSet::new(),
            last_names: BTreeMap::new(),
            sys: None,
            applied: Revision::default(),
            exact: Revision::default(),
        }
    }

    /// The follower saw `stored` under `key` at `revision`, with `pending` more behind it.
    pub fn apply(&mut self, key: &Key, revision: Revision, stored: Stored, pending: u64, now: Now) {
        match (key, stored) {
            (Key::Port(key), Stored::Port(record)) => self.put(key, revision, Some(record), now),
            (Key::Port(key), _) => self.put(key, revision, None, now),
            (Key::Sys, Stored::Sys(sys)) => self.sys = Some((revision, sys)),
            (Key::Checkpoint, Stored::Checkpoint(checkpoint)) => {
                self.outbox.checkpoint(revision, checkpoint, now.mono);
            }
            (Key::Checkpoint, _) => self.outbox.foreign(revision),
            (Key::Sys | Key::Barrier, _) => {}
        }
        self.seen(revision, pending);
    }

    /// The follower saw `revision`, whatever it is, with `pending` more behind it.
    pub fn seen(&mut self, revision: Revision, pending: u64) {
        self.applied = revision.max(self.applied);
        if pending == 0 || !self.mechanisms.on(Mechanism::ExactPoints) {
            self.exact = self.applied;
            self.outbox.settle();
        }
    }

    /// Time passes: rests end, leases fall due.
    pub fn advance(&mut self, now: Moment) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
            && let Some((_, key)) = self.timers.pop_first()
        {
            self.reclass(&key, now);
        }
    }

    fn put(&mut self, key: &PortKey, revision: Revision, record: Option<Box<Record>>, now: Now) {
        let before = self.ports.remove(key);
        if let Some(record) = before.as_ref().and_then(|entry| entry.record.as_deref()) {
            self.forget(key, record);
        }
        let known = before.as_ref().map(|entry| entry.transitions);
        let transitions = record
            .as_ref()
            .map_or(known.unwrap_or(0), |record| record.transitions);
        if let Some(record) = record.as_deref() {
            self.remember(key, revision, record);
            self.outbox.observe(key, revision, record, known, now.mono);
        }
        let observed = self.observed(record.as_deref(), now);
        self.ports.insert(
            key.clone(),
            Entry {
                revision,
                observed,
                transitions,
                record,
            },
        );
        self.reclass(key, now.mono);
    }

    /// When a record counts as first seen: now, whatever anybody's clock said when it was written.
    fn observed(&self, record: Option<&Record>, now: Now) -> Moment {
        match record.and_then(Record::lease) {
            Some(lease) if !self.mechanisms.on(Mechanism::OwnClock) => {
                let age = now.wall.as_millisecond() - lease.renewed_at.as_millisecond();
                Moment(now.mono.0.saturating_sub(u64::try_from(age).unwrap_or(0)))
            }
            _ => now.mono,
        }
    }

    fn reclass(&mut self, key: &PortKey, now: Moment) {
        let Some(entry) = self.ports.get(key) else {
            return;
        };
        let (class, change) = entry.class(now, self.terms());
        let before = self.classes.insert(key.clone(), (class, change));
        if let Some(at) = before.and_then(|(_, change)| change) {
            self.timers.remove(&(at, key.clone()));
        }
        match change {
            Some(at) => drop(self.timers.insert((at, key.clone()))),
            None if class == Class::Held => drop(self.due.insert(key.clone())),
            None => {}
        }
        if change.is_some() || class != Class::Held {
            self.due.remove(key);
        }
        let from = before.map_or(Class::Free, |(class, _)| class);
        self.pools
            .entry((key.host.clone(), key.transport))
            .or_insert_with(|| self.fresh_pool.clone())
            .reclass(key.port, from, class);
    }

    fn remember(&mut self, key: &PortKey, revision: Revision, record: &Record) {
        let holder = match &record.body {
            Body::Lease(lease) => {
                self.holders.insert((lease.requester_id, key.clone()));
                if let Some(name) = &lease.name {
                    self.names.insert((name.clone(), key.clone()));
                }
                for label in &lease.labels {
                    self.labels.insert((label.clone(), key.clone()));
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
        for request in requests(record) {
            self.requests.insert((requester, request.id, key.clone()));
        }
        if let Some(name) = name {
            self.last_names
                .insert((requester, name.clone()), (revision, key.clone()));
        }
    }

    fn forget(&mut self, key: &PortKey, record: &Record) {
        let (requester, lease_id, name) = match &record.body {
            Body::Lease(lease) => {
                self.holders.remove(&(lease.requester_id, key.clone()));
                if let Some(name) = &lease.name {
                    self.names.remove(&(name.clone(), key.clone()));
                }
                for label in &lease.labels {
                    self.labels.remove(&(label.clone(), key.clone()));
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
        for request in requests(record) {
            self.requests.remove(&(requester, request.id, key.clone()));
        }
        if let Some(name) = name {
            let name = (requester, name.clone());
            if self
                .last_names
                .get(&name)
                .is_some_and(|(_, last)| last == key)
            {
                self.last_names.remove(&name);
            }
        }
    }

    /// The entry of a port; none when nothing was ever written there.
    pub fn entry(&self, key: &PortKey) -> Option<&Entry> {
        self.ports.get(key)
    }

    /// The revision of a key; 0 when nothing was ever written there.
    pub fn revision(&self, key: &Key) -> Revision {
        match key {
            Key::Port(key) => self
                .ports
                .get(key)
                .map_or(Revision::default(), |entry| entry.revision),
            Key::Sys => self
                .sys
                .as_ref()
                .map_or(Revision::default(), |(revision, _)| *revision),
            Key::Checkpoint => self.outbox.checkpoint_revision(),
            Key::Barrier => Revision::default(),
        }
    }

    /// What a port is.
    pub fn standing(&self, key: &PortKey, now: Moment) -> Standing {
        self.ports
            .get(key)
            .map_or(Standing::Free, |entry| entry.standing(now, self.terms()))
    }

    /// The key of a lease, live or remembered, with its entry.
    pub fn find_lease(&self, lease_id: LeaseId) -> Option<(&PortKey, &Entry)> {
        let key = self.leases.get(&lease_id)?;
        Some((key, self.ports.get(key)?))
    }

    /// The ports whose records remember that request of that requester.
    pub fn find_request(
        &self,
        requester: RequesterId,
        id: RequestId,
    ) -> impl Iterator<Item = (&PortKey, &Entry)> {
        self.requests
            .range((requester, id, PortKey::first())..)
            .take_while(move |(holder, request, _)| *holder == requester && *request == id)
            .filter_map(|(_, _, key)| Some((key, self.ports.get(key)?)))
    }

    /// The digest under which any record remembers that request.
    pub fn find_digest(&self, requester: RequesterId, id: RequestId) -> Option<Digest> {
        self.find_request(requester, id)
            .filter_map(|(_, entry)| entry.record.as_deref())
            .flat_map(requests)
            .find(|request| request.id == id)
            .map(|request| request.digest)
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

    /// All keys that were ever written, from `after` on.
    pub fn keys_after<'a>(
        &'a self,
        after: Option<&PortKey>,
    ) -> impl Iterator<Item = &'a PortKey> + use<'a> {
        use std::ops::Bound::{Excluded, Unbounded};
        let start = after.map_or(Unbounded, Excluded);
        self.ports
            .range::<PortKey, _>((start, Unbounded))
            .map(|(key, _)| key)
    }

    /// The port that this requester's lease of that name had last.
    pub fn last_named(&self, requester: RequesterId, name: &Name) -> Option<&PortKey> {
        self.last_names
            .get(&(requester, name.clone()))
            .map(|(_, key)| key)
    }

    /// The pool of a host; what a new one would be when the host has none yet.
    pub fn pool(&self, host: &Host, transport: Transport) -> &Pool {
        self.pools
            .get(&(host.clone(), transport))
            .unwrap_or(&self.fresh_pool)
    }

    /// Every pool there is, in the order of their keys.
    pub fn pools(&self) -> impl Iterator<Item = (&(Host, Transport), &Pool)> {
        self.pools.iter()
    }

    /// Whether the host has a pool.
    pub fn knows_host(&self, host: &Host) -> bool {
        Transport::ALL
            .iter()
            .any(|transport| self.pools.contains_key(&(host.clone(), *transport)))
    }

    /// How many hosts have a pool.
    pub fn hosts(&self) -> usize {
        let mut count = 0;
        let mut last = None;
        for (host, _) in self.pools.keys() {
            count += usize::from(last != Some(host));
            last = Some(host);
        }
        count
    }

    /// Leases whose time is up, for the reaper.
    pub fn due(&self) -> impl Iterator<Item = &PortKey> {
        self.due.iter()
    }

    /// When the next rest ends or lease falls due.
    pub fn next_change(&self) -> Option<Moment> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// When a port of that pool may come free by itself; looks at a bounded number of timers.
    pub fn next_free(&self, host: &Host, transport: Transport) -> Option<Moment> {
        const TIMERS_LOOKED_AT_MAX: usize = 1_000;
        self.timers
            .iter()
            .take(TIMERS_LOOKED_AT_MAX)
            .find(|(_, key)| key.host == *host && key.transport == transport)
            .map(|(at, _)| *at)
    }

    /// What every entry is judged by.
    pub fn terms(&self) -> Terms {
        Terms {
            longest: self.ttl_longest(),
            mechanisms: self.mechanisms,
        }
    }

    /// The longest TTL that any instance allowed.
    pub fn ttl_longest(&self) -> Ttl {
        self.sys.as_ref().map_or(self.policy.ttl_max, |(_, sys)| {
            sys.ttl_max.max(self.policy.ttl_max)
        })
    }

    /// The store's lineage.
    pub fn lineage(&self) -> u64 {
        self.sys.as_ref().map_or(0, |(_, sys)| sys.lineage)
    }

    /// How far the follower has come.
    pub fn applied(&self) -> Revision {
        self.applied
    }

    /// The last point at which nothing was pending: what the index said then was all there was.
    pub fn exact(&self) -> Revision {
        self.exact
    }
}

impl PortKey {
    /// The lowest key there can be.
    pub(super) fn first() -> Self {
        static LOWEST: std::sync::OnceLock<PortKey> = std::sync::OnceLock::new();
        LOWEST
            .get_or_init(|| Self {
                host: Host::lowest(),
                transport: Transport::Tcp,
                port: super::ids::Port::LOWEST,
            })
            .clone()
    }
}

fn range_after<'a, T: Ord + Clone>(
    set: &'a BTreeSet<(T, PortKey)>,
    value: T,
    after: Option<&PortKey>,
) -> impl Iterator<Item = &'a PortKey> + use<'a, T> {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let start = after.map_or_else(
        || Included((value.clone(), PortKey::first())),
        |key| Excluded((value.clone(), key.clone())),
    );
    set.range((start, Unbounded))
        .take_while(move |(other, _)| *other == value)
        .map(|(_, key)| key)
}

/// Every request that a record remembers.
fn requests(record: &Record) -> impl Iterator<Item = &Request> {
    let (first, second) = match &record.body {
        Body::Lease(lease) => (&lease.request, &lease.renewal),
        Body::Rest(rest) => match &rest.last {
            Some(Last {
                request, release, ..
            }) => (request, release),
            None => (&None, &None),
        },
    };
    first.iter().chain(second)
}
