//! What the bucket says, as far as the follower has come. Records come in by [`Index::apply`] and
//! [`Index::seen`] only, from the follower, in the order of the stream. Time passes by [`Index::advance`],
//! which whoever is about to judge calls: a command, the reaper, a page of pools.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ids::{Digest, Host, LeaseId, RequestId, RequesterId, Transport, Ttl},
    key::{Key, PortKey, Revision},
    lookup::Lookup,
    mechanism::{Mechanism, Mechanisms},
    outbox::Outbox,
    policy::Policy,
    pool::{Class, HostPools, Pool},
    record::{Record, Stored, Sys},
    standing::{Entry, Standing, Terms},
    time::{Moment, Now},
};

/// The follower's view of the bucket, with what makes looking things up cheap.
pub struct Index {
    /// What this instance was told at its start.
    pub policy: Policy,
    /// Which mechanisms are on: all of them, outside the simulation.
    pub mechanisms: Mechanisms,
    /// What is not published yet.
    pub outbox: Outbox,
    /// Where what is looked up by something else than its key is.
    pub lookup: Lookup,
    ports: BTreeMap<PortKey, Entry>,
    classes: BTreeMap<PortKey, (Class, Option<Moment>)>,
    timers: BTreeSet<(Moment, PortKey)>,
    due: BTreeSet<PortKey>,
    pools: BTreeMap<Host, HostPools>,
    fresh_pool: Pool,
    sys: Option<(Revision, Sys)>,
    applied: Revision,
    exact: Revision,
}

impl Index {
    /// An empty one.
    pub fn new(policy: Policy) -> Self {
        let fresh_pool = Pool::new(&policy.ranges, &policy.reserved);
        let own = (policy.host.clone(), HostPools::fresh(&fresh_pool));
        Self {
            outbox: Outbox::new(policy.registry_id),
            policy,
            mechanisms: Mechanisms::default(),
            ports: BTreeMap::new(),
            classes: BTreeMap::new(),
            timers: BTreeSet::new(),
            due: BTreeSet::new(),
            pools: BTreeMap::from([own]),
            fresh_pool,
            lookup: Lookup::default(),
            sys: None,
            applied: Revision::default(),
            exact: Revision::default(),
        }
    }

    /// The follower saw `stored` under `key` at `revision`, with `pending` more behind it.
    pub fn apply(&mut self, key: &Key, revision: Revision, stored: Stored, pending: u64, now: Now) {
        match (key, stored) {
            (Key::Port(key), Stored::Port(record)) => self.put(key, revision, Some(record), now),
            (Key::Port(key), stored) => {
                self.put(key, revision, None, now);
                if let Some(entry) = self.ports.get_mut(key) {
                    entry.later = stored == Stored::Later;
                }
                self.reclass(key, now.mono);
            }
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
            self.lookup.forget(key, record);
        }
        let known = before.as_ref().map(|entry| entry.transitions);
        let transitions = record
            .as_ref()
            .map_or(known.unwrap_or(0), |record| record.transitions);
        if let Some(record) = record.as_deref() {
            self.lookup.remember(key, record);
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
                vanished: false,
                later: false,
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
        if !self.pools.contains_key(&key.host) {
            let pools = HostPools::fresh(&self.fresh_pool);
            self.pools.insert(key.host.clone(), pools);
        }
        if let Some(pools) = self.pools.get_mut(&key.host) {
            pools.of_mut(key.transport).reclass(key.port, from, class);
        }
    }

    /// A write lost against `revision`, and behind a barrier the key is still there: the message is gone,
    /// for somebody gave it a time to live.
    pub fn vanish(&mut self, key: &PortKey, revision: Revision) {
        let entry = self.ports.get_mut(key);
        if let Some(entry) = entry.filter(|entry| entry.revision == revision) {
            entry.vanished = true;
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
        let key = self.lookup.lease(lease_id)?;
        Some((key, self.ports.get(key)?))
    }

    /// The ports whose records remember that request of that requester.
    pub fn find_request(
        &self,
        requester: RequesterId,
        id: RequestId,
    ) -> impl Iterator<Item = (&PortKey, &Entry)> {
        self.lookup
            .requested(requester, id)
            .filter_map(|key| Some((key, self.ports.get(key)?)))
    }

    /// The digest under which any record remembers that request.
    pub fn find_digest(&self, requester: RequesterId, id: RequestId) -> Option<Digest> {
        self.find_request(requester, id)
            .filter_map(|(_, entry)| entry.record.as_deref())
            .flat_map(Record::requests)
            .find(|request| request.id == id)
            .map(|request| request.digest)
    }

    /// Whether any port was ever written.
    pub fn is_used(&self) -> bool {
        !self.ports.is_empty()
    }

    /// The pool of a host; what a new one would be when the host has none yet.
    pub fn pool(&self, host: &Host, transport: Transport) -> &Pool {
        self.pools
            .get(host)
            .map_or(&self.fresh_pool, |pools| pools.of(transport))
    }

    /// Every pool there is, in the order of host and transport.
    pub fn pools(&self) -> impl Iterator<Item = ((&Host, Transport), &Pool)> {
        self.pools.iter().flat_map(|(host, pools)| {
            Transport::ALL.map(|transport| ((host, transport), pools.of(transport)))
        })
    }

    /// Whether the host has pools.
    pub fn knows_host(&self, host: &Host) -> bool {
        self.pools.contains_key(host)
    }

    /// How many hosts have pools.
    pub fn hosts(&self) -> usize {
        self.pools.len()
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

    /// The registry's own settings, when they have been seen, and where.
    pub fn sys(&self) -> Option<&(Revision, Sys)> {
        self.sys.as_ref()
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
