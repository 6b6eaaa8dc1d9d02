//! What the log says, followed message by message by somebody who never fails: what every instance is held against.

use std::collections::{BTreeMap, BTreeSet};

use onex_types::{
    entry::{EntryId, Sequence},
    ids::{LeaseId, RequestId, RequesterId},
    key::PortKey,
    time::Now,
};

use crate::{
    entry::{Change, Entry, EventRecord, Gap, Kept},
    key::Key,
    lease::{Lease, LeaseEnd},
    record::Record,
    slot::Stamp,
    state::State,
};

use super::{call_truth::LogTruth, store::Message, truth_nodes::NodeTruth};

/// Every so many positions all records are compared: to compare each would take most of a run's time.
const COMPARED_EVERY: u64 = 8;

/// The truth.
pub(super) struct Truth {
    pub(super) state: State,
    pub(super) last_valid: EntryId,
    /// Every record after some positions.
    records: BTreeMap<Sequence, String>,
    grants: BTreeMap<(RequesterId, RequestId), BTreeSet<LeaseId>>,
    pub(super) granted: BTreeMap<LeaseId, u64>,
    /// Grants that were taken back.
    ended: BTreeSet<LeaseId>,
    /// Leases that an administrator took away.
    pub(super) revoked: BTreeSet<LeaseId>,
    fences: BTreeMap<PortKey, u64>,
    /// Every event, in order: revision and place within its command, and where its entry is.
    pub(super) events: Vec<(u64, usize, Sequence)>,
    /// Events that were given up.
    pub(super) gaps: Vec<Gap>,
    pub(super) nodes: NodeTruth,
    /// What it says of executions.
    pub(super) executions: LogTruth,
    pub(super) wrong: Vec<String>,
}

impl Truth {
    pub(super) fn new() -> Self {
        Self {
            state: State::default(),
            last_valid: EntryId::NONE,
            records: BTreeMap::new(),
            grants: BTreeMap::new(),
            granted: BTreeMap::new(),
            ended: BTreeSet::new(),
            revoked: BTreeSet::new(),
            fences: BTreeMap::new(),
            events: Vec::new(),
            gaps: Vec::new(),
            nodes: NodeTruth::default(),
            executions: LogTruth::default(),
            wrong: Vec::new(),
        }
    }

    /// A message has landed.
    pub(super) fn landed(&mut self, sequence: Sequence, message: &Message, now: Now) {
        let valid = message
            .header
            .filter(|header| header.predecessor == self.last_valid);
        if let (Some(header), Some(entry)) = (valid, &message.entry) {
            self.last_valid = header.id;
            self.apply(sequence, entry, now);
        }
        if sequence.0.is_multiple_of(COMPARED_EVERY) {
            self.records.insert(sequence, records(&self.state));
        }
    }

    fn apply(&mut self, sequence: Sequence, entry: &Entry, now: Now) {
        if entry.rev != self.state.revision() + 1 {
            self.wrong.push(format!(
                "revision {} at {sequence} does not follow",
                entry.rev
            ));
        }
        for (revision, command) in entry.commands() {
            let wrong = self.nodes.before(&self.state, command);
            self.wrong.extend(wrong);
            let mut place = 0;
            for change in command.changes() {
                self.note_change(revision, change);
                self.executions.note(&self.state, change, &mut self.wrong);
                let event = change.event();
                self.gaps.extend(event.and_then(|event| event.gap));
                for _ in event.into_iter().flat_map(EventRecord::events) {
                    self.events.push((revision, place, sequence));
                    place += 1;
                }
            }
            let stamp = Stamp {
                revision,
                at: entry.at,
                now,
            };
            if let Err(error) = self.state.apply_command(command, stamp, &mut |_| {}) {
                self.wrong.push(format!(
                    "the log does not fit itself at {sequence}: {error}"
                ));
            }
            self.wrong.extend(self.nodes.after(&self.state, command));
            self.executions.check(&self.state, &mut self.wrong);
        }
    }

    fn note_change(&mut self, revision: u64, change: &Change) {
        match change {
            Change::Put {
                key: Key::Port(key),
                record: Record::Lease(lease),
                ..
            } => {
                if lease.fence != revision {
                    self.wrong
                        .push(format!("{key}: fencing token {} is not new", lease.fence));
                }
                for key in lease.port_keys(&key.host) {
                    self.note_port(&key, lease);
                }
                self.granted.insert(lease.lease_id, revision);
                if let Some(request) = lease.request {
                    let grants = self
                        .grants
                        .entry((lease.requester_id, request.id))
                        .or_default();
                    grants.insert(lease.lease_id);
                    if grants.len() > 1 {
                        let text = format!("two grants for one request: {grants:?}");
                        self.wrong.push(text);
                    }
                }
            }
            // Its caller never got it: the same request gets another one.
            Change::Put {
                key: Key::Port(_),
                record: Record::Cooldown(cooldown),
                ..
            } if cooldown.how == LeaseEnd::InUse && !cooldown.last.part => {
                self.ended.insert(cooldown.last.lease_id);
                for grants in self.grants.values_mut() {
                    grants.remove(&cooldown.last.lease_id);
                }
            }
            Change::End {
                key: Key::Port(key),
                how: LeaseEnd::Revoked,
                ..
            } => {
                let lease = self.state.lease(key);
                self.revoked.extend(lease.map(|(_, lease)| lease.lease_id));
            }
            Change::End {
                key: Key::Port(key),
                how: LeaseEnd::InUse,
                ..
            } => {
                if let Some((_, lease)) = self.state.lease(key)
                    && let Some(request) = lease.request
                {
                    let grants = self.grants.get_mut(&(lease.requester_id, request.id));
                    grants.map(|grants| grants.remove(&lease.lease_id));
                }
            }
            _ => {}
        }
    }

    /// A lease has that port from now on: nobody else has it, and the fencing token is higher than that of all before.
    fn note_port(&mut self, key: &PortKey, lease: &Lease) {
        let record = self.state.slot(&Key::Port(key.clone()));
        let holder = match record.map(|slot| &slot.record) {
            Some(Record::Lease(holder)) => Some(holder.lease_id),
            Some(Record::Member(member)) => {
                let holder = self.state.lease(&member.of.0);
                holder.map(|(_, holder)| holder.lease_id)
            }
            _ => None,
        };
        // A grant that is taken back in the same command is not held any more.
        if holder.is_some_and(|holder| holder != lease.lease_id && !self.ended.contains(&holder)) {
            self.wrong.push(format!("{key}: granted while it is held"));
        }
        if self.fences.insert(key.clone(), lease.fence) >= Some(lease.fence) {
            self.wrong
                .push(format!("{key}: fencing token {} is not new", lease.fence));
        }
    }

    /// Every record as of that position, if it is known.
    pub(super) fn at(&self, sequence: Sequence) -> Option<&String> {
        self.records.get(&sequence)
    }
}

/// Every record of a state, as text.
pub(super) fn records(state: &State) -> String {
    let kept: Vec<Kept> = state
        .slots_from(None)
        .map(|(key, slot)| slot.kept(key))
        .collect();
    serde_json::to_string(&kept).unwrap()
}
