//! The state: every record, with what makes looking things up cheap. Changes come in by [`State::apply`] and are taken
//! back by [`State::undo`], from the engine, in the order of the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use onex_types::{
    ids::{Host, Transport, Ttl},
    key::PortKey,
    time::{MonoMillis, Now},
};

use crate::{
    entry::{Change, CommandRecord, Entry, FORMAT_FIRST, Kept},
    execution::Counts,
    host_use::HostUse,
    indexes::Indexes,
    key::Key,
    lease::{Cooldown, Lease},
    mechanism::Mechanisms,
    node_record::Live,
    pool::{Pool, PortState},
    record::{Named, Record},
    record_parts::{Json, Request},
    settings::Settings,
    slot::{Slot, Stamp, ended},
};

/// An entry says something that does not fit the state: it is not understood, or the log is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A record that is not there was to be changed.
    #[error("{key}: changed, but there is no such record")]
    Missing {
        /// The key that has no record.
        key: Key,
    },
    /// A record of another kind was to be changed.
    #[error("{key}: the change does not fit a record of its kind")]
    Kind {
        /// The key whose record is of another kind.
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

/// What undoes a change: the key and what was there.
pub type Undo = (Key, Option<Slot>);

/// The state. A copy shares its records.
#[derive(Default, Clone)]
pub struct State {
    pub(crate) slots: BTreeMap<Key, Slot>,
    /// Where what is looked up by something else than its key is.
    pub indexes: Indexes,
    pub(crate) pools: BTreeMap<(Host, Transport), Pool>,
    pub(crate) hosts: BTreeMap<Host, HostUse>,
    pub(crate) timers: BTreeSet<(MonoMillis, Key)>,
    revision: u64,
    bytes: usize,
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

    /// How long a snapshot of them is, about, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same, counted anew.
    #[cfg(test)]
    pub(crate) fn bytes_counted(&self) -> usize {
        let slots = self.slots.values();
        let counted = slots.map(|slot| {
            let stamp = Stamp {
                revision: slot.revision,
                at: slot.at,
                now: Now {
                    mono: slot.since,
                    micros: 0,
                    wall: slot.at,
                },
            };
            Slot::new(slot.record.clone(), stamp, false, self.mechanisms).bytes
        });
        counted.sum()
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

    /// The format of the entries behind those that were applied.
    pub fn format(&self) -> u32 {
        let slot = self.slots.get(&Key::Format);
        let format = slot.and_then(|slot| slot.record.format());
        format.map_or(FORMAT_FIRST, |format| format.format)
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
            CommandRecord::Renewal(key) => self.renew(key, None, None, None, stamp, undo)?,
            CommandRecord::Other(changes) => {
                for change in &changes.changes {
                    self.apply(change, stamp, undo)?;
                }
            }
        }
        self.revision = command.reaches(stamp.revision);
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
                let slot = Slot {
                    event_count: self.event_count(key, change),
                    ..Slot::new(record.clone(), stamp, *tentative, self.mechanisms)
                };
                self.replace(key, Some(slot), stamp.now, undo);
            }
            Change::Renew {
                key,
                ttl,
                request,
                health,
            } => {
                self.renew(key, *ttl, *request, health.as_ref(), stamp, undo)?;
            }
            Change::Confirm { key } => {
                let slot = self.slots.get_mut(key).ok_or_else(|| missing(key))?;
                let before = slot.clone();
                slot.tentative = false;
                undo((key.clone(), Some(before)));
            }
            Change::End {
                key,
                how,
                cooldown_ms,
                request,
                event,
            } => {
                let slot = self.slots.get(key).ok_or_else(|| missing(key))?;
                let cooldown = match &slot.record {
                    Record::Lease(lease) => Cooldown {
                        reason: event.as_ref().and_then(|event| event.reason.clone()),
                        ..ended(lease, *how, *cooldown_ms, *request, stamp.at)
                    },
                    _ => return Err(ApplyError::Kind { key: key.clone() }),
                };
                let slot = Slot {
                    event_count: self.event_count(key, change),
                    ..Slot::new(cooldown.into(), stamp, false, self.mechanisms)
                };
                self.replace(key, Some(slot), stamp.now, undo);
            }
            Change::Add { key, runs, ok } => {
                let event_count = self.event_count(key, change);
                self.add(key, (*runs, *ok), event_count, stamp, undo)?;
            }
            Change::Delete { key, .. } => self.replace(key, None, stamp.now, undo),
            Change::Skip { .. } | Change::Chunk { .. } => {}
        }
        Ok(())
    }

    /// The number of the last event of a key once `change` has happened to it.
    fn event_count(&self, key: &Key, change: &Change) -> u64 {
        let own = change.event().map(|event| event.n);
        own.unwrap_or_else(|| self.slots.get(key).map_or(0, |slot| slot.event_count))
    }

    fn renew(
        &mut self,
        key: &Key,
        ttl: Option<Ttl>,
        request: Option<Request>,
        health: Option<&Json>,
        stamp: Stamp,
        undo: &mut impl FnMut(Undo),
    ) -> Result<(), ApplyError> {
        let mechanisms = self.mechanisms;
        let slot = self.slots.get_mut(key).ok_or_else(|| missing(key))?;
        if !matches!(slot.record, Record::Lease(_) | Record::Live(_)) {
            return Err(ApplyError::Kind { key: key.clone() });
        }
        if ttl.is_none() && request.is_none() && health.is_none() {
            // Nothing changes that is looked up by, and a timer that fires early looks again.
            let before = slot.clone();
            slot.revision = stamp.revision;
            slot.at = stamp.at;
            slot.since = stamp.since(mechanisms);
            slot.tentative = false;
            if let Some(due) = slot.arm(stamp.now.mono, mechanisms) {
                self.timers.insert((due, key.clone()));
            }
            undo((key.clone(), Some(before)));
            return Ok(());
        }
        let record = renewed(&slot.record, ttl, request, health);
        let slot = Slot {
            event_count: slot.event_count,
            ..Slot::new(record, stamp, false, self.mechanisms)
        };
        self.replace(key, Some(slot), stamp.now, undo);
        Ok(())
    }

    fn add(
        &mut self,
        key: &Key,
        (runs, ok): (u64, u64),
        event_count: u64,
        stamp: Stamp,
        undo: &mut impl FnMut(Undo),
    ) -> Result<(), ApplyError> {
        let before = self.slots.get(key).map(|slot| &slot.record);
        let counts = match (key, before) {
            (Key::Exec(_), None) => Counts::default().add(runs, ok, stamp.at),
            (Key::Exec(_), Some(Record::Counts(counts))) => counts.add(runs, ok, stamp.at),
            _ => return Err(ApplyError::Kind { key: key.clone() }),
        };
        let slot = Slot {
            event_count,
            ..Slot::new(counts.into(), stamp, false, self.mechanisms)
        };
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
        let slot = Slot {
            event_count: kept.event_count,
            ..Slot::new(kept.record.clone(), stamp, kept.tentative, self.mechanisms)
        };
        self.replace(&kept.key, Some(slot), now, &mut |_| {});
    }

    fn replace(&mut self, key: &Key, after: Option<Slot>, now: Now, undo: &mut impl FnMut(Undo)) {
        if let Key::Port(port) = key {
            // A pool that is made here counts what the slot was.
            self.pool_mut(&port.host, port.transport);
        }
        let mechanisms = self.mechanisms;
        let is = after.as_ref().map(|slot| (slot.record.clone(), slot.at));
        let mut state = PortState::Free;
        let before = if let Some(mut slot) = after {
            slot.state = slot.state_at(now.mono, mechanisms);
            slot.armed = MonoMillis::NEVER;
            if let Some(due) = slot.arm(now.mono, mechanisms) {
                self.timers.insert((due, key.clone()));
            }
            state = slot.state;
            self.bytes += slot.bytes;
            self.slots.insert(key.clone(), slot)
        } else {
            self.slots.remove(key)
        };
        let mut was = PortState::Free;
        if let Some(before) = &before {
            was = before.state;
            self.bytes -= before.bytes;
            self.indexes.remove(key, &before.record);
        }
        if let Some((record, _)) = &is {
            self.indexes.insert(key, record);
        }
        if let Key::Port(PortKey { host, .. }) | Key::Pool(host) = key {
            let after = is.as_ref().map(|(record, at)| (record, *at));
            self.count_host(host, key, before.as_ref(), after);
        }
        if let Key::Port(port) = key {
            self.pool_mut(&port.host, port.transport)
                .change(port.port, was, state);
        }
        if let Key::Host(host) = key {
            self.show_pools(host);
        }
        if let (Key::Pool(host), true) = (key, is.is_some()) {
            self.pool_mut(host, Transport::Tcp);
        }
        if matches!(key, Key::Pool(_) | Key::Settings) {
            self.rebuild_pools(key);
        }
        undo((key.clone(), before));
    }
}

/// A lease or node that lasts its TTL again.
fn renewed(
    record: &Record,
    ttl: Option<Ttl>,
    request: Option<Request>,
    health: Option<&Json>,
) -> Record {
    if ttl.is_none() && request.is_none() && health.is_none() {
        return record.clone();
    }
    match record {
        Record::Lease(lease) => Record::from(Lease {
            ttl: ttl.unwrap_or(lease.ttl),
            renewal: request.or(lease.renewal),
            ..Lease::clone(lease)
        }),
        Record::Live(live) => Record::from(Live {
            ttl: ttl.unwrap_or(live.ttl),
            health: health.or(live.health.as_ref()).cloned(),
            ..Live::clone(live)
        }),
        other => other.clone(),
    }
}

fn missing(key: &Key) -> ApplyError {
    ApplyError::Missing { key: key.clone() }
}
