//! The state: every record, with what makes looking things up cheap. Changes come in by [`State::apply`] and are taken
//! back by [`State::undo`], from the engine, in the order of the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use jiff::Timestamp;
use onex_types::{
    ids::{Host, Port, Transport},
    key::PortKey,
    time::{Moment, Now, slack},
};

use crate::{
    entry::{Change, CommandRecord, Entry, Kept},
    indexes::Indexes,
    key::Key,
    mechanism::{Mechanism, Mechanisms},
    pool::{Pool, PortState},
    record::{Cooldown, HostPool, Last, Lease, LeaseEnd, Named, Record, Settings},
};

/// A record in its place.
#[derive(Debug, Clone)]
pub struct Slot {
    /// What is stored.
    pub record: Record,
    /// The revision of the command that last changed it, a renewal included.
    pub revision: u64,
    /// When that was, for people.
    pub at: Timestamp,
    /// Whether it is a grant that its granter may still roll back.
    pub tentative: bool,
    /// When this instance applied that change: its TTL counts from here.
    pub since: Moment,
    /// What the port is by this instance's clock, as its pool counts it.
    state: PortState,
    /// The timer that is armed for it; [`Moment::NEVER`] if none.
    armed: Moment,
}

/// An entry says something that does not fit the state: it is not understood, or the log is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A record that is not there was to be changed.
    #[error("{key}: changed, but there is no such record")]
    Missing {
        /// Which.
        key: Key,
    },
    /// A record of another kind was to be changed.
    #[error("{key}: the change does not fit a record of its kind")]
    Kind {
        /// Which.
        key: Key,
    },
    /// Revisions follow one another.
    #[error("the entry begins at revision {found}, but {expected} is next")]
    Revision {
        /// What would be next.
        expected: u64,
        /// What the entry says.
        found: u64,
    },
    /// A record cannot be written as JSON.
    #[error("a record cannot be written as JSON")]
    Unwritable,
}

/// When and where a change happens.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// The revision of its command.
    pub revision: u64,
    /// When it was decided, for people.
    pub at: Timestamp,
    /// What the time is here.
    pub now: Now,
}

impl Stamp {
    /// When a TTL begins to count: now, whatever anybody's clock said when it was written.
    fn since(self, mechanisms: Mechanisms) -> Moment {
        if mechanisms.on(Mechanism::OwnClock) {
            return self.now.mono;
        }
        let age = self.now.wall.as_millisecond() - self.at.as_millisecond();
        Moment(
            self.now
                .mono
                .0
                .saturating_sub(u64::try_from(age).unwrap_or(0)),
        )
    }
}

/// What undoes a change: the key and what was there.
pub type Undo = (Key, Option<Slot>);

/// The state.
#[derive(Default)]
pub struct State {
    slots: BTreeMap<Key, Slot>,
    /// Where what is looked up by something else than its key is.
    pub indexes: Indexes,
    pools: BTreeMap<(Host, Transport), Pool>,
    timers: BTreeSet<(Moment, Key)>,
    revision: u64,
    /// Which mechanisms are on: all, outside of tests.
    pub(crate) mechanisms: Mechanisms,
    /// The records when a snapshot was begun, where a test lets chunks have those.
    #[cfg(test)]
    pub(crate) at_begin: Vec<Kept>,
}

impl State {
    /// The revision of the last command that changed something.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    /// What is under a key.
    pub fn slot(&self, key: &Key) -> Option<&Slot> {
        self.slots.get(key)
    }

    /// Everything, in the order of the keys, from `from` on.
    pub fn slots_from<'a>(
        &'a self,
        from: Option<&Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Slot)> + use<'a> {
        let start = from.map_or(Bound::Unbounded, Bound::Included);
        self.slots.range::<Key, _>((start, Bound::Unbounded))
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The lease whose record is under that key.
    pub fn lease(&self, key: &PortKey) -> Option<(&Slot, &Arc<Lease>)> {
        let slot = self.slots.get(&Key::Port(key.clone()))?;
        Some((slot, slot.record.lease()?))
    }

    /// The settings that all instances share.
    pub fn settings(&self) -> Option<&Arc<Settings>> {
        self.slots.get(&Key::Settings)?.record.settings()
    }

    /// The named instance.
    pub fn named(&self) -> Option<&Arc<Named>> {
        self.slots.get(&Key::Named)?.record.named()
    }

    /// Applies a whole entry that is in the log.
    pub fn apply_entry(&mut self, entry: &Entry, now: Now) -> Result<(), ApplyError> {
        let expected = self.revision + 1;
        if entry.rev != expected {
            return Err(ApplyError::Revision {
                expected,
                found: entry.rev,
            });
        }
        for command in &entry.cmds {
            let stamp = Stamp {
                revision: self.revision + 1,
                at: entry.at,
                now,
            };
            self.apply_command(command, stamp, &mut |_| {})?;
        }
        Ok(())
    }

    /// Applies what one command changed, and counts its revision. `undo` is told what was there.
    pub fn apply_command(
        &mut self,
        command: &CommandRecord,
        stamp: Stamp,
        undo: &mut impl FnMut(Undo),
    ) -> Result<(), ApplyError> {
        match command {
            CommandRecord::Renewal(key) => self.renew(key, None, None, stamp, undo)?,
            CommandRecord::Other(changes) => {
                for change in &changes.changes {
                    self.apply(change, stamp, undo)?;
                }
            }
        }
        self.revision = stamp.revision;
        Ok(())
    }

    /// Applies one change.
    pub fn apply(
        &mut self,
        change: &Change,
        stamp: Stamp,
        undo: &mut impl FnMut(Undo),
    ) -> Result<(), ApplyError> {
        match change {
            Change::Put {
                key,
                record,
                tentative,
                ..
            } => {
                let slot = Slot::new(record.clone(), stamp, *tentative, self.mechanisms);
                self.replace(key, Some(slot), stamp.now, undo);
            }
            Change::Renew { key, ttl, request } => {
                self.renew(key, *ttl, *request, stamp, undo)?;
            }
            Change::Confirm { key } => {
                let slot = self.slots.get(key).ok_or_else(|| missing(key))?;
                let slot = Slot {
                    tentative: false,
                    ..slot.clone()
                };
                self.replace(key, Some(slot), stamp.now, undo);
            }
            Change::End {
                key, how, request, ..
            } => {
                let slot = self.slots.get(key).ok_or_else(|| missing(key))?;
                let cooldown = match &slot.record {
                    Record::Lease(lease) => ended(lease, *how, *request, stamp.at),
                    _ => return Err(ApplyError::Kind { key: key.clone() }),
                };
                let slot = Slot::new(cooldown.into(), stamp, false, self.mechanisms);
                self.replace(key, Some(slot), stamp.now, undo);
            }
            Change::Delete { key } => self.replace(key, None, stamp.now, undo),
            Change::Chunk(_) => {}
        }
        Ok(())
    }

    fn renew(
        &mut self,
        key: &Key,
        ttl: Option<onex_types::ids::Ttl>,
        request: Option<crate::record::Request>,
        stamp: Stamp,
        undo: &mut impl FnMut(Undo),
    ) -> Result<(), ApplyError> {
        let slot = self.slots.get(key).ok_or_else(|| missing(key))?;
        let lease = slot
            .record
            .lease()
            .ok_or_else(|| ApplyError::Kind { key: key.clone() })?;
        if ttl.is_none() && request.is_none() {
            // Nothing changes that is looked up by, and a timer that fires early looks again.
            let fresh = Slot {
                record: slot.record.clone(),
                revision: stamp.revision,
                at: stamp.at,
                since: stamp.since(self.mechanisms),
                tentative: false,
                ..*slot
            };
            let before = self.slots.insert(key.clone(), fresh);
            undo((key.clone(), before));
            self.arm(key, stamp.now.mono);
            return Ok(());
        }
        let lease = Lease {
            ttl: ttl.unwrap_or(lease.ttl),
            renewal: request.or(lease.renewal),
            ..Lease::clone(lease)
        };
        let slot = Slot::new(lease.into(), stamp, false, self.mechanisms);
        self.replace(key, Some(slot), stamp.now, undo);
        Ok(())
    }

    /// Takes a change back. The last one first.
    pub fn undo(&mut self, (key, before): Undo, now: Now) {
        self.replace(&key, before, now, &mut |_| {});
    }

    /// A record that a snapshot holds takes its place.
    pub fn restore(&mut self, kept: &Kept, now: Now) {
        let stamp = Stamp {
            revision: kept.rev,
            at: kept.at,
            now,
        };
        let slot = Slot::new(kept.record.clone(), stamp, kept.tentative, self.mechanisms);
        self.replace(&kept.key, Some(slot), now, &mut |_| {});
    }

    /// Every key from `from` on and below `to` goes.
    pub fn clear(&mut self, from: Option<&Key>, to: Option<&Key>, now: Now) {
        let start = from.map_or(Bound::Unbounded, Bound::Included);
        let end = to.map_or(Bound::Unbounded, Bound::Excluded);
        let keys: Vec<Key> = self
            .slots
            .range::<Key, _>((start, end))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.replace(&key, None, now, &mut |_| {});
        }
    }

    fn replace(&mut self, key: &Key, after: Option<Slot>, now: Now, undo: &mut impl FnMut(Undo)) {
        self.indexes_remove(key);
        let before = if let Some(slot) = after {
            self.indexes.insert(key, &slot.record);
            self.slots.insert(key.clone(), slot)
        } else {
            self.slots.remove(key)
        };
        let state = before.as_ref().map_or(PortState::Free, |slot| slot.state);
        if let Some(slot) = self.slots.get_mut(key) {
            slot.state = state;
            slot.armed = Moment::NEVER;
        }
        if matches!(key, Key::Port(_)) {
            self.look_again(key, state, now.mono);
        }
        if matches!(key, Key::Pool(_) | Key::Settings) {
            self.rebuild_pools(key);
        }
        undo((key.clone(), before));
    }

    fn indexes_remove(&mut self, key: &Key) {
        if let Some(slot) = self.slots.get(key) {
            self.indexes.remove(key, &slot.record);
        }
    }

    /// What the port has become, by this instance's clock, and when to look again.
    fn look_again(&mut self, key: &Key, before: PortState, now: Moment) {
        let Key::Port(port) = key else { return };
        let mechanisms = self.mechanisms;
        let after = self.slots.get_mut(key).map_or(PortState::Free, |slot| {
            slot.state = slot.state_at(now, mechanisms);
            slot.state
        });
        self.pool_mut(&port.host, port.transport)
            .change(port.port, before, after);
        self.arm(key, now);
    }

    /// Sees to it that a timer fires by the time that the key's record asks for something.
    fn arm(&mut self, key: &Key, now: Moment) {
        let mechanisms = self.mechanisms;
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let due = slot
            .due(mechanisms)
            .filter(|due| *due > now || slot.record.lease().is_some());
        let Some(due) = due else { return };
        // A timer that fires early looks again; only one that would fire late is armed anew.
        if slot.armed > due {
            slot.armed = due;
            self.timers.insert((due, key.clone()));
        }
    }

    /// Time passes: ports cool down, and the keys of leases whose time is up are named, in the order in which it was.
    pub fn due(&mut self, now: Moment) -> Vec<Key> {
        let mut due = Vec::new();
        while let Some((at, key)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            self.timers.pop_first();
            let mechanisms = self.mechanisms;
            let Some(slot) = self.slots.get_mut(&key).filter(|slot| slot.armed == at) else {
                continue;
            };
            slot.armed = Moment::NEVER;
            let is_due = slot.due(mechanisms).is_some_and(|due| due <= now);
            if is_due && slot.record.lease().is_some() {
                due.push(key);
                continue;
            }
            let state = slot.state;
            self.look_again(&key, state, now);
        }
        due
    }

    /// Names that key again at `at`, unless it is due earlier.
    pub fn remind(&mut self, key: &Key, at: Moment) {
        if let Some(slot) = self.slots.get_mut(key)
            && slot.armed > at
        {
            slot.armed = at;
            self.timers.insert((at, key.clone()));
        }
    }

    /// When [`State::due`] has something to do next.
    pub fn next_timer(&self) -> Option<Moment> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What a port is by this instance's clock.
    pub fn port_state(&self, key: &PortKey, now: Moment) -> PortState {
        let slot = self.slots.get(&Key::Port(key.clone()));
        slot.map_or(PortState::Free, |slot| slot.state_at(now, self.mechanisms))
    }

    /// When the time of what is under a port's key is up.
    pub fn due_at(&self, slot: &Slot) -> Option<Moment> {
        slot.due(self.mechanisms)
    }

    /// Whether the host has a pool of its own, or a port that was ever granted.
    pub fn knows_host(&self, host: &Host) -> bool {
        self.slots.contains_key(&Key::Pool(host.clone()))
            || Transport::ALL.iter().any(|transport| {
                let first = PortKey {
                    transport: *transport,
                    ..PortKey::first_on(host)
                };
                let next = self.slots_from(Some(&Key::Port(first))).next();
                matches!(next, Some((Key::Port(key), _)) if key.host == *host)
            })
    }

    /// How many hosts have a pool of their own or were ever granted a port.
    pub fn hosts(&self) -> usize {
        let hosts: BTreeSet<&Host> = self.pools.keys().map(|(host, _)| host).collect();
        hosts
            .into_iter()
            .filter(|host| self.knows_host(host))
            .count()
    }

    /// The ports of a host and transport.
    pub fn pool(&self, host: &Host, transport: Transport) -> Option<&Pool> {
        self.pools.get(&(host.clone(), transport))
    }

    /// The ports of a host and transport; made if this is its first use.
    pub fn pool_mut(&mut self, host: &Host, transport: Transport) -> &mut Pool {
        let key = (host.clone(), transport);
        if !self.pools.contains_key(&key) {
            let pool = self.fresh_pool(host, transport);
            self.pools.insert(key.clone(), pool);
        }
        self.pools.entry(key).or_insert_with(|| Pool::new(&[], &[]))
    }

    /// The ranges of a host: its own, else the default ones.
    pub fn ranges(&self, host: &Host) -> Arc<HostPool> {
        let own = self
            .slots
            .get(&Key::Pool(host.clone()))
            .and_then(|slot| slot.record.pool());
        if let Some(own) = own {
            return own.clone();
        }
        let settings = self.settings();
        Arc::new(HostPool {
            ranges: settings
                .map(|settings| settings.ports_default.clone())
                .unwrap_or_default(),
            reserved: settings
                .map(|settings| settings.reserved_default.clone())
                .unwrap_or_default(),
            description: None,
            unknown: crate::record::Unknown::new(),
        })
    }

    fn fresh_pool(&self, host: &Host, transport: Transport) -> Pool {
        let ranges = self.ranges(host);
        let mut pool = Pool::new(&ranges.ranges, &ranges.reserved);
        let first = PortKey {
            transport,
            port: Port::LOWEST,
            ..PortKey::first_on(host)
        };
        for (key, slot) in self.slots_from(Some(&Key::Port(first))) {
            match key {
                Key::Port(key) if key.host == *host && key.transport == transport => {
                    pool.change(key.port, PortState::Free, slot.state);
                }
                _ => break,
            }
        }
        pool
    }

    fn rebuild_pools(&mut self, changed: &Key) {
        let hosts: Vec<(Host, Transport)> = self.pools.keys().cloned().collect();
        for (host, transport) in hosts {
            if *changed == Key::Settings || *changed == Key::Pool(host.clone()) {
                let pool = self.fresh_pool(&host, transport);
                self.pools.insert((host, transport), pool);
            }
        }
    }
}

fn missing(key: &Key) -> ApplyError {
    ApplyError::Missing { key: key.clone() }
}

/// What is kept of a lease that ends.
fn ended(
    lease: &Lease,
    how: LeaseEnd,
    release: Option<crate::record::Request>,
    at: Timestamp,
) -> Cooldown {
    Cooldown {
        how,
        ended_at: at,
        cooldown_ms: how.cooldown_millis(),
        last: Last {
            lease_id: lease.lease_id,
            requester_id: lease.requester_id,
            name: lease.name.clone(),
            fence: lease.fence,
            request: lease.request.filter(|_| how.was_told()),
            release,
        },
    }
}

impl Slot {
    fn new(record: Record, stamp: Stamp, tentative: bool, mechanisms: Mechanisms) -> Self {
        Self {
            record,
            revision: stamp.revision,
            at: stamp.at,
            tentative,
            since: stamp.since(mechanisms),
            state: PortState::Free,
            armed: Moment::NEVER,
        }
    }

    /// As a snapshot keeps it.
    pub fn kept(&self, key: &Key) -> Kept {
        Kept {
            key: key.clone(),
            rev: self.revision,
            at: self.at,
            tentative: self.tentative,
            record: self.record.clone(),
        }
    }

    /// When its time is up, by this instance's clock: of a lease, when it ends; of a port that cools down, when it is
    /// free. None where time changes nothing.
    fn due(&self, mechanisms: Mechanisms) -> Option<Moment> {
        let millis = match &self.record {
            Record::Lease(lease) if lease.owner.is_none() => lease.ttl.millis(),
            Record::Cooldown(cooldown) if cooldown.cooldown_ms > 0 => cooldown.cooldown_ms,
            _ => return None,
        };
        let longer = if mechanisms.on(Mechanism::Slack) {
            slack(millis)
        } else {
            0
        };
        Some(self.since.plus(millis.saturating_add(longer)))
    }

    fn state_at(&self, now: Moment, mechanisms: Mechanisms) -> PortState {
        match &self.record {
            Record::Lease(_) | Record::Member(_) => PortState::Held,
            Record::Cooldown(cooldown) => {
                let over = self.due(mechanisms).is_none_or(|due| due <= now);
                match cooldown.how {
                    _ if over => PortState::Free,
                    LeaseEnd::InUse => PortState::Quarantined,
                    LeaseEnd::Released | LeaseEnd::Expired => PortState::Resting,
                }
            }
            _ => PortState::Free,
        }
    }
}
