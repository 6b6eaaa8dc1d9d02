//! What this instance is writing.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ids::{BusId, Host, NodeId, RequestId, RequesterId},
    key::{Key, Revision},
};

/// Keys that a command of this instance is writing. Each stays from the decision until the follower
/// has passed the write, so that no second command judges what is about to change.
#[derive(Debug, Default)]
pub struct Reserved(BTreeMap<Key, Pending>);

/// One write under way.
#[derive(Debug)]
struct Pending {
    /// Where it is in the stream, once that is known.
    at: Option<Revision>,
    /// Who gets the port, when it is a grant.
    grant_to: Option<RequesterId>,
}

impl Reserved {
    /// Whether a write to that key is under way.
    pub fn contains(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    /// How many grants to that requester are under way: they count as held.
    pub fn grants_to(&self, requester: RequesterId) -> usize {
        let granted = |pending: &&Pending| pending.grant_to == Some(requester);
        self.0.values().filter(granted).count()
    }

    /// Hosts of grants under way.
    pub fn hosts(&self) -> BTreeSet<&Host> {
        let grants = self
            .0
            .iter()
            .filter(|(_, pending)| pending.grant_to.is_some());
        grants
            .filter_map(|(key, _)| key.port().map(|port| &port.host))
            .collect()
    }

    /// Nodes whose lives are being written.
    pub fn lives(&self) -> impl Iterator<Item = &NodeId> {
        self.0.keys().filter_map(|key| match key {
            Key::Live(id) => Some(id),
            _ => None,
        })
    }

    /// Buses that are being written.
    pub fn buses(&self) -> impl Iterator<Item = &BusId> {
        self.0.keys().filter_map(|key| match key {
            Key::Bus(id) => Some(id),
            _ => None,
        })
    }

    /// Calls that are being written.
    pub fn calls(&self) -> impl Iterator<Item = RequestId> {
        self.0.keys().filter_map(|key| match key {
            Key::Call(id) => Some(*id),
            _ => None,
        })
    }

    /// A write to that key is under way: a grant to `grant_to`, if to anyone.
    pub fn insert(&mut self, key: Key, grant_to: Option<RequesterId>) {
        self.0.insert(key, Pending { at: None, grant_to });
    }

    /// The write was acknowledged at `revision`; the follower is at `seen`.
    pub fn written(&mut self, key: &Key, revision: Revision, seen: Revision) {
        if seen >= revision {
            self.0.remove(key);
        } else if let Some(pending) = self.0.get_mut(key) {
            pending.at = Some(revision);
        }
    }

    /// No write is under way any more.
    pub fn remove(&mut self, key: &Key) {
        self.0.remove(key);
    }

    /// The follower is at `revision` for that key.
    pub fn passed(&mut self, key: &Key, revision: Revision) {
        let pending = self.0.get(key).and_then(|pending| pending.at);
        if pending.is_some_and(|at| revision >= at) {
            self.0.remove(key);
        }
    }
}
