//! What the log says, followed message by message by somebody who never fails: what every instance is held against.

use std::collections::{BTreeMap, BTreeSet};

use onex_types::{
    entry::{EntryId, Sequence},
    ids::{LeaseId, RequestId, RequesterId},
    key::PortKey,
    time::Now,
};

use crate::{
    entry::{Change, Entry, EventRecord, Kept},
    key::Key,
    record::LeaseEnd,
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
    fences: BTreeMap<PortKey, u64>,
    /// Every event, in order: revision and place within its command, and where its entry is.
    pub(super) events: Vec<(u64, usize, Sequence)>,
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
            fences: BTreeMap::new(),
            events: Vec::new(),
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
        for (revision, command) in (entry.rev..).zip(&entry.cmds) {
            let wrong = self.nodes.before(&self.state, command);
            self.wrong.extend(wrong);
            let mut place = 0;
            for change in command.changes() {
                self.note_change(revision, change);
                self.executions.note(&self.state, change, &mut self.wrong);
                let events = change.event().into_iter();
                for _ in events.flat_map(EventRecord::events) {
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
                record,
                ..
            } => {
                let Some(lease) = record.lease() else { return };
                let before = self.fences.insert(key.clone(), lease.fence);
                if before >= Some(lease.fence) || lease.fence != revision {
                    self.wrong
                        .push(format!("{key}: fencing token {} is not new", lease.fence));
                }
                if self.state.lease(key).is_some() {
                    self.wrong.push(format!("{key}: granted while it is held"));
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
