//! What the bucket says, as far as the follower has come. Records come in by [`Index::apply`] and
//! [`Index::seen`] only, from the follower, in the order of the stream. Time passes by [`Index::advance`],
//! which whoever is about to judge calls: a command, the reaper, a page of pools.

mod due;
mod find;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    agenda::{Agenda, Change},
    calls::Calls,
    command::Held,
    counts::Folded,
    hosts::Hosts,
    ids::{Host, NodeId, Transport, Ttl},
    key::{Key, PortKey, Revision},
    lookup::Lookup,
    mechanism::{Mechanism, Mechanisms},
    nodes::Nodes,
    outbox::Outbox,
    policy::Policy,
    pool::{Class, HostPools, Pool},
    record::{Ended, Kept, Lease, Record, Stored, Sys},
    standing::{Bond, Entry, Standing, Terms},
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
    /// Nodes, buses and verdicts.
    pub nodes: Nodes,
    /// Calls that their callers named.
    pub calls: Calls,
    /// What is known of hosts beside their ports.
    pub hosts: Hosts,
    ports: BTreeMap<PortKey, Entry>,
    classes: BTreeMap<PortKey, Class>,
    agenda: Agenda,
    /// What hangs on another key that has changed: it is judged at the next exact point.
    hanging: BTreeSet<Key>,
    pools: BTreeMap<Host, HostPools>,
    fresh_pool: Pool,
    sys: Option<(Revision, Sys)>,
    folded: (Revision, Option<Folded>),
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
            nodes: Nodes::default(),
            calls: Calls::default(),
            hosts: Hosts::default(),
            ports: BTreeMap::new(),
            classes: BTreeMap::new(),
            agenda: Agenda::default(),
            hanging: BTreeSet::new(),
            pools: BTreeMap::from([own]),
            fresh_pool,
            lookup: Lookup::default(),
            sys: None,
            folded: (Revision::default(), None),
            applied: Revision::default(),
            exact: Revision::default(),
        }
    }

    /// Switches mechanisms off.
    #[cfg(test)]
    pub(crate) fn switch(&mut self, mechanisms: Mechanisms) {
        self.mechanisms = mechanisms;
        self.nodes.mechanisms = mechanisms;
    }

    /// The follower saw `stored` under `key` at `revision`, with `pending` more behind it, by
    /// [`behind`](super::cursor::behind).
    pub fn apply(&mut self, key: &Key, revision: Revision, stored: Stored, pending: u64, now: Now) {
        let later = stored == Stored::Later;
        let forgotten = stored == Stored::Forgotten;
        match (key, stored) {
            (Key::Port(port), Stored::Port(record)) => {
                self.put_port(port, revision, Some(record), now);
            }
            (Key::Port(port), _) => {
                self.put_port(port, revision, None, now);
                if let Some(entry) = self.ports.get_mut(port) {
                    entry.later = later;
                }
            }
            (Key::Node(id), stored) => {
                let entry = entry(revision, Kept::of(stored), later, forgotten, now.mono);
                let known = self.nodes.put_node(id, entry.clone());
                self.observe(key, &entry, known, now.mono);
            }
            (Key::Live(id), stored) => {
                let entry = entry(revision, Kept::of(stored), later, forgotten, now.mono);
                let life =
                    |nodes: &Nodes| nodes.live(id).map(|live| (live.incarnation, live.ended));
                let before = life(&self.nodes);
                let known = self.nodes.put_live(id, entry.clone());
                self.observe(key, &entry, known, now.mono);
                if life(&self.nodes) != before || before.is_none() {
                    self.hang_on_node(id);
                }
            }
            (Key::Bus(id), stored) => {
                let entry = entry(revision, Kept::of(stored), later, forgotten, now.mono);
                let known = self.nodes.put_bus(id, entry.clone());
                self.observe(key, &entry, known, now.mono);
            }
            (Key::Verdict(id), stored) => {
                let entry = entry(revision, Kept::of(stored), later, forgotten, now.mono);
                let known = self.nodes.put_verdict(id, entry.clone());
                self.observe(key, &entry, known, now.mono);
            }
            (Key::Exec(id), stored) => {
                let entry = entry(revision, Kept::of(stored), later, forgotten, now.mono);
                self.nodes.put_counted(id, entry);
                self.hanging.insert(key.clone());
            }
            (Key::Call(id), stored) => {
                let entry = entry(revision, Kept::of(stored), later, forgotten, now.mono);
                let known = self.calls.entry(*id).map(|entry| entry.transitions);
                if let Some(record) = entry.record.as_deref() {
                    self.outbox.observe(key, revision, record, known, now.mono);
                }
                self.calls.put(*id, entry);
            }
            (Key::Sys, Stored::Sys(sys)) => self.sys = Some((revision, sys)),
            (Key::Checkpoint, Stored::Checkpoint(checkpoint)) => {
                self.outbox.checkpoint(revision, checkpoint, now.mono);
            }
            (Key::Checkpoint, _) => self.outbox.foreign(revision),
            (Key::Folded, Stored::Folded(folded)) => self.folded = (revision, Some(folded)),
            (Key::Folded, _) => self.folded = (revision, None),
            (Key::Host(host), Stored::Host(record)) => {
                self.hosts.put(host, revision, Some(record), now.mono);
            }
            (Key::Host(host), _) => self.hosts.put(host, revision, None, now.mono),
            (Key::Sys | Key::Barrier, _) => {}
        }
        self.look_again(key, now.mono);
        self.seen(revision, pending, now.mono);
    }

    /// The follower saw `revision`, whatever it is, with `pending` more behind it.
    pub fn seen(&mut self, revision: Revision, pending: u64, now: Moment) {
        self.applied = revision.max(self.applied);
        if pending == 0 || !self.mechanisms.on(Mechanism::ExactPoints) {
            self.exact = self.applied;
            self.outbox.settle();
        }
        if pending == 0 || !self.mechanisms.on(Mechanism::BondAtExactPoint) {
            for key in std::mem::take(&mut self.hanging) {
                self.nodes.settle(&key);
                self.look_again(&key, now);
            }
        }
    }

    /// Time passes: rests end, leases fall due.
    pub fn advance(&mut self, now: Moment) {
        while let Some(key) = self.agenda.pop(now) {
            self.look_again(&key, now);
        }
    }

    fn observe<B>(&mut self, key: &Key, entry: &Entry<B>, known: Option<u64>, now: Moment) {
        if let Some(record) = entry.record.as_deref() {
            self.outbox.observe(key, entry.revision, record, known, now);
        }
        self.hanging.insert(key.clone());
    }

    fn put_port(
        &mut self,
        port: &PortKey,
        revision: Revision,
        record: Option<Box<Record>>,
        now: Now,
    ) {
        let mut entry = entry(revision, record, false, false, now.mono);
        entry.observed = self.observed(entry.record.as_deref(), now);
        let before = self.ports.get(port);
        let known = before.map(|entry| entry.transitions);
        if entry.record.is_none() {
            entry.transitions = known.unwrap_or(0);
        }
        let before = before.and_then(|entry| entry.record.as_deref());
        if let Some(lease) = before.and_then(Record::lease) {
            let buses = self.nodes.buses_of_lease(lease.lease_id);
            self.hanging.extend(buses.cloned().map(Key::Bus));
        }
        let after = entry.record.as_deref();
        self.lookup.replace(port, before, after);
        if let Some(record) = after {
            let key = Key::Port(port.clone());
            self.outbox.observe(&key, revision, record, known, now.mono);
            if record.lease().is_some_and(|lease| lease.node.is_some()) {
                self.hanging.insert(key);
            }
        }
        match self.ports.get_mut(port) {
            Some(place) => *place = entry,
            None => _ = self.ports.insert(port.clone(), entry),
        }
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

    /// Everything that ends or may be forgotten with a node's life.
    fn hang_on_node(&mut self, id: &NodeId) {
        let ports = self.lookup.bound_to(id, None).cloned().map(Key::Port);
        let buses = self.nodes.buses_of_node(id).cloned().map(Key::Bus);
        self.hanging.extend(ports.chain(buses));
        self.hanging.extend([
            Key::Node(id.clone()),
            Key::Verdict(id.clone()),
            Key::Exec(id.clone()),
        ]);
    }

    /// What time, or another key, has made of that one.
    fn look_again(&mut self, key: &Key, now: Moment) {
        let change = match key {
            Key::Port(port) => self.reclass(port, now),
            Key::Host(_) | Key::Sys | Key::Barrier | Key::Checkpoint | Key::Folded => return,
            Key::Node(_)
            | Key::Live(_)
            | Key::Bus(_)
            | Key::Verdict(_)
            | Key::Exec(_)
            | Key::Call(_) => self.change(key, now),
        };
        if let Change::Due = change
            && self.is_marker(key)
        {
            self.agenda.set(key, Change::At(Moment::NEVER));
            return self.drop_key(key);
        }
        self.agenda.set(key, change);
    }

    fn reclass(&mut self, port: &PortKey, now: Moment) -> Change {
        let Some(entry) = self.ports.get(port) else {
            return Change::At(Moment::NEVER);
        };
        let (class, change) = entry.class(now, self.terms(), self.bond(entry));
        let known = self.classes.get_mut(port);
        let before = match known.map(|known| std::mem::replace(known, class)) {
            Some(before) => Some(before),
            None => self.classes.insert(port.clone(), class),
        };
        if before == Some(class) {
            return change;
        }
        if !self.pools.contains_key(&port.host) {
            let pools = HostPools::fresh(&self.fresh_pool);
            self.pools.insert(port.host.clone(), pools);
        }
        if let Some(pools) = self.pools.get_mut(&port.host) {
            let from = before.unwrap_or(Class::Free);
            pools.of_mut(port.transport).reclass(port.port, from, class);
        }
        change
    }

    /// What a lease hangs on, when it is bound to a node.
    pub fn bond(&self, entry: &Entry) -> Option<Bond> {
        let life = entry.lease()?.node.as_ref()?;
        Some(
            self.nodes
                .bond(life, entry.revision, self.exact, self.terms()),
        )
    }

    /// A lease as its holder is told of it: one that is bound to a node lasts as long as that does.
    pub fn held(&self, key: &PortKey, entry: &Entry, lease: Lease) -> Held {
        let seen = lease
            .node
            .as_ref()
            .and_then(|life| self.nodes.seen(&life.node_id));
        let (since, lease) = match seen {
            None => (entry.observed, lease),
            Some(seen) => (
                seen.since,
                Lease {
                    ttl: seen.live.ttl,
                    renewed_at: seen.live.renewed_at,
                    ..lease
                },
            ),
        };
        Held {
            key: key.clone(),
            lease,
            revision: entry.revision,
            since,
            probed: None,
        }
    }

    /// How a node's end has ended the lease under that key, when it has.
    pub fn lease_over(&self, key: &PortKey) -> Option<(Ended, Ttl)> {
        match self.bond(self.ports.get(key)?)? {
            Bond::Over(ended, ttl) => Some((ended, ttl)),
            Bond::Holds | Bond::Until(_) => None,
        }
    }

    /// The entry of a port; none when nothing was ever written there.
    pub fn entry(&self, key: &PortKey) -> Option<&Entry> {
        self.ports.get(key)
    }

    /// The revision of a key; 0 when nothing was ever written there.
    pub fn revision(&self, key: &Key) -> Revision {
        let revision = match key {
            Key::Port(key) => self.ports.get(key).map(|entry| entry.revision),
            Key::Node(id) => self.nodes.said(id).map(|entry| entry.revision),
            Key::Live(id) => self.nodes.life(id).map(|entry| entry.revision),
            Key::Bus(id) => self.nodes.bus(id).map(|entry| entry.revision),
            Key::Verdict(id) => self.nodes.verdict(id).map(|entry| entry.revision),
            Key::Exec(id) => self.nodes.counted(id).map(|entry| entry.revision),
            Key::Folded => Some(self.folded.0),
            Key::Host(host) => self.hosts.revision(host),
            Key::Call(id) => self.calls.entry(*id).map(|entry| entry.revision),
            Key::Sys => self.sys.as_ref().map(|(revision, _)| *revision),
            Key::Checkpoint => Some(self.outbox.checkpoint_revision()),
            Key::Barrier => None,
        };
        revision.unwrap_or_default()
    }

    /// What a port is.
    pub fn standing(&self, key: &PortKey, now: Moment) -> Standing {
        self.ports.get(key).map_or(Standing::Free, |entry| {
            entry.standing(now, self.terms(), self.bond(entry))
        })
    }

    /// Whether any port was ever written.
    pub fn is_used(&self) -> bool {
        !self.ports.is_empty()
    }

    /// Keys with something that time asks for, for the reaper.
    pub fn due(&self) -> impl Iterator<Item = &Key> {
        self.agenda.due()
    }

    /// When the next rest ends or lease falls due.
    pub fn next_change(&self) -> Option<Moment> {
        self.agenda.next()
    }

    /// When a port of that pool may come free by itself.
    pub fn next_free(&self, host: &Host, transport: Transport) -> Option<Moment> {
        self.agenda.next_of(host, transport)
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

    /// Up to where events of executions are counted, when that is known, and where it is written.
    pub fn folded(&self) -> (Revision, Option<&Folded>) {
        (self.folded.0, self.folded.1.as_ref())
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

/// An entry as it is when its record has just been seen.
fn entry<B>(
    revision: Revision,
    record: Option<Box<Record<B>>>,
    later: bool,
    forgotten: bool,
    now: Moment,
) -> Entry<B> {
    Entry {
        revision,
        observed: now,
        transitions: record.as_ref().map_or(0, |record| record.transitions),
        record,
        vanished: false,
        later,
        forgotten,
    }
}
