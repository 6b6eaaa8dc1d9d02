//! The stream as the server keeps it: one value a key, one sequence for all.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::{
    key::{Key, Revision},
    outbox::Told,
    record::Stored,
    write::Write,
};

/// What is alive in the stream, by its sequence.
pub(super) type Log = BTreeMap<u64, (Key, Stored)>;

/// The bucket.
#[derive(Default)]
pub(super) struct Store {
    pub(super) last: u64,
    pub(super) log: Log,
    at: HashMap<Key, u64>,
    /// Of every message that was written in one piece with the next ones: the first of them and the last.
    pieces: BTreeMap<u64, Piece>,
}

/// Messages that were written in one piece.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    first: u64,
    last: u64,
}

impl Piece {
    /// Where the stream was before it, and where it is behind it.
    pub(super) fn around(self) -> [Revision; 2] {
        [Revision(self.first - 1), Revision(self.last)]
    }
}

impl Store {
    /// The key's revision; 0 when it has none.
    pub(super) fn revision(&self, key: &Key) -> u64 {
        self.at.get(key).copied().unwrap_or(0)
    }

    pub(super) fn value(&self, key: &Key) -> Option<&Stored> {
        let at = self.at.get(key)?;
        self.log.get(at).map(|(_, stored)| stored)
    }

    /// Without asking what was there.
    pub(super) fn put(&mut self, key: Key, value: Stored) -> Revision {
        self.last += 1;
        if let Some(before) = self.at.insert(key.clone(), self.last) {
            self.log.remove(&before);
        }
        self.log.insert(self.last, (key, value));
        Revision(self.last)
    }

    /// The server removes what was written there, unless something else is there by now. Its place in the
    /// sequence stays.
    pub(super) fn remove(&mut self, key: &Key, revision: Revision) {
        if self.revision(key) == revision.0 {
            self.at.remove(key);
            self.log.remove(&revision.0);
        }
    }

    /// Keys that there are.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.log.values().map(|(key, _)| key)
    }

    /// All of them, or none: none when a key is at another revision than expected. A barrier expects
    /// nothing. The revision is that of the last one.
    pub(super) fn write(&mut self, writes: &[Write], compare: bool) -> Option<Revision> {
        let fits = |write: &Write| {
            matches!(write.key, Key::Barrier)
                || !compare
                || self.revision(&write.key) == write.expected.0
        };
        if !writes.iter().all(fits) {
            return None;
        }
        let (first, last) = (self.last + 1, self.last + writes.len() as u64);
        self.pieces
            .extend((first..last).map(|at| (at, Piece { first, last })));
        let put = |write: &Write| self.put(write.key.clone(), write.value.clone());
        writes.iter().map(put).last()
    }

    /// The piece that the message there begins or goes on with; none when it is the last of it, or one alone.
    pub(super) fn within(&self, revision: Revision) -> Option<Piece> {
        self.pieces.get(&revision.0).copied()
    }
}

/// The events stream: each id once.
#[derive(Default)]
pub(super) struct Events {
    pub(super) told: Vec<Told>,
    ids: BTreeSet<(Revision, Key)>,
}

impl Events {
    pub(super) fn append(&mut self, told: &Told) {
        if self.ids.insert((told.revision, told.key.clone())) {
            self.told.push(told.clone());
        }
    }

    pub(super) fn contains(&self, revision: Revision, key: &Key) -> bool {
        self.ids.contains(&(revision, key.clone()))
    }
}
