//! What one instance knows: the bucket as far as it has come, and what it is writing itself.

use super::{
    command::{Action, Command},
    ids::CommandId,
    index::Index,
    key::{Key, Revision},
    record::Stored,
    reserved::Reserved,
    time::Now,
};

/// The index with the keys that are being written.
pub struct Core {
    /// The bucket as far as the follower has come.
    pub index: Index,
    /// What is being written by this instance.
    pub reserved: Reserved,
}

impl Core {
    /// Knows nothing yet.
    pub fn new(index: Index) -> Self {
        Self {
            index,
            reserved: Reserved::default(),
        }
    }

    /// The follower saw `stored` under `key` at `revision`, with `pending` more behind it.
    pub fn apply(&mut self, key: &Key, revision: Revision, stored: Stored, pending: u64, now: Now) {
        self.index.apply(key, revision, stored, pending, now);
        self.reserved.passed(key, revision);
    }

    /// Whether there is a key to write now that is not being written already.
    pub fn is_due(&self) -> bool {
        let mut due = self.index.due();
        due.any(|key| !self.reserved.contains(key))
    }

    /// Keys to write now because time asks for it, and that are not being written already. At most `most`.
    pub fn reap(&mut self, now: Now, most: usize) -> Vec<Key> {
        self.index.advance(now.mono);
        self.index
            .due()
            .filter(|key| !self.reserved.contains(key))
            .take(most)
            .cloned()
            .collect()
    }
}

impl Command {
    /// The reaper's: do what time asks for under `key`.
    pub fn settle(id: CommandId, key: Key) -> Self {
        Self {
            id,
            correlation_id: None,
            confirmed: false,
            action: Action::Settle(key),
        }
    }
}
