//! A start: from the messages of the log, from the newest complete snapshot on, to a state.

use std::sync::Arc;

use onex_types::{
    entry::{EntryHeader, EntryId, Sequence, SnapshotRef},
    time::Now,
};
use uuid::Uuid;

use crate::{
    entry::{Change, Chunk, CommandRecord, Entry, is_understood},
    key::Key,
    mechanism::Mechanism,
    slot::Stamp,
    state::{ApplyError, State},
};

use super::{io::Delivered, snapshots::Snapshots, unpublished::Unpublished};

/// What a start has found.
pub struct Loaded {
    pub(super) state: State,
    pub(super) head: (Sequence, Option<EntryId>),
    pub(super) last_valid: EntryId,
    pub(super) snapshots: Snapshots,
    unpublished: Unpublished,
    foreign: Option<Foreign>,
}

/// Messages of the log that are no entries: somebody else wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// How many there are behind the snapshot from which the log was read.
    pub count: u64,
    /// Where the last one is.
    pub last: Sequence,
}

impl Loaded {
    /// An empty log.
    pub fn empty() -> Self {
        Self {
            state: State::default(),
            head: (Sequence::default(), None),
            last_valid: EntryId::NONE,
            snapshots: Snapshots::default(),
            unpublished: Unpublished::default(),
            foreign: None,
        }
    }

    /// A stream without a message. It is a new store only if it never had one and nothing is known of it from elsewhere:
    /// `known` is the highest revision of the last event and of what instances have noted outside of the store.
    pub fn of_empty(last: Sequence, known: Option<u64>) -> Result<Self, StartError> {
        match known {
            Some(known) => Err(StartError::Older { found: 0, known }),
            None if last > Sequence::default() => Err(StartError::WentBack(last)),
            None => Ok(Self::empty()),
        }
    }

    /// Refuses a log that is older than what is known of it; see [`Self::of_empty`] for `known`.
    pub fn checked(self, known: Option<u64>) -> Result<Self, StartError> {
        self.check(known).map(|()| self)
    }

    /// The same, and keeps it.
    pub fn check(&self, known: Option<u64>) -> Result<(), StartError> {
        let found = self.state.revision();
        match known {
            Some(known) if known > found && self.state.mechanisms.on(Mechanism::HighWater) => {
                Err(StartError::Older { found, known })
            }
            _ => Ok(()),
        }
    }

    /// What was loaded.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Events that wait to be published.
    pub fn unpublished(&self) -> &Unpublished {
        &self.unpublished
    }

    /// Messages that are no entries.
    pub fn foreign(&self) -> Option<Foreign> {
        self.foreign
    }

    /// The snapshots.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }
}

/// Why a start has found nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The message that named the snapshot does not belong to the chain of entries behind it.
    #[error("the message at {0} names a snapshot that it does not follow")]
    Hint(Sequence),
    /// The snapshot is not where it should be.
    #[error(
        "there is no snapshot at {0}: somebody removed a part of the log. Restore the bucket from a backup; without one, \
         stop every instance, remove the bucket and run `onex doctor --accept-restore`"
    )]
    NoSnapshot(Sequence),
    /// A message is missing.
    #[error("{0} is missing in the log")]
    Gap(Sequence),
    /// A later version wrote to the log.
    #[error("the entry at {sequence} has format {format}; start a newer version")]
    Format {
        /// The entry's place in the log.
        sequence: Sequence,
        /// The format that its header says.
        format: u32,
    },
    /// A valid entry cannot be read.
    #[error("the entry at {0} is valid and cannot be read")]
    Unreadable(Sequence),
    /// An entry does not fit what is before it.
    #[error("the entry at {sequence} does not fit what is before it: {source}")]
    Apply {
        /// The entry's place in the log.
        sequence: Sequence,
        /// Why it does not apply.
        source: ApplyError,
    },
    /// The log is older than what was known of it.
    #[error(
        "the log went back: {0} is not what it was. If the store was restored from a backup, stop every instance and run \
         `onex doctor --accept-restore`"
    )]
    WentBack(Sequence),
    /// The log is older than the last event, or than what an instance has noted outside of the store.
    #[error(
        "the log ends at revision {found}, and revision {known} was there: the store went back. If it was restored from \
         a backup, or made anew, stop every instance and run `onex doctor --accept-restore`"
    )]
    Older {
        /// The last revision of the log.
        found: u64,
        /// The highest one that is known.
        known: u64,
    },
}

/// How much of the keys is known.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Covered {
    /// Those below that key.
    Below(Option<Key>),
    /// All.
    All,
}

/// Reads a log from a snapshot on.
pub struct Loader {
    state: State,
    snapshots: Snapshots,
    head: (Sequence, Option<EntryId>),
    last_valid: EntryId,
    covered: Covered,
    snapshot: SnapshotRef,
    hint: Sequence,
    hint_is_valid: bool,
    known: Option<(Sequence, Option<EntryId>)>,
    genesis: bool,
    /// The snapshot that is read, and its next chunk.
    chunks: Option<(Uuid, u32)>,
    unpublished: Unpublished,
    foreign: Option<Foreign>,
}

impl Loader {
    /// Reads from `snapshot` on, which the message at `hint` named. `known` is what was applied last, before a restart
    /// in the same process.
    pub fn new(
        snapshot: SnapshotRef,
        hint: Sequence,
        known: Option<(Sequence, Option<EntryId>)>,
    ) -> Self {
        Self {
            state: State::default(),
            snapshots: Snapshots::begun(snapshot),
            head: (Sequence(snapshot.sequence.0.saturating_sub(1)), None),
            last_valid: EntryId::NONE,
            covered: Covered::Below(None),
            snapshot,
            hint,
            hint_is_valid: false,
            known,
            genesis: false,
            chunks: None,
            unpublished: Unpublished::default(),
            foreign: None,
        }
    }

    /// Whether the message that named the snapshot has proved to belong to the chain behind it.
    pub fn is_proved(&self) -> bool {
        self.hint_is_valid
    }

    /// Where to read from.
    pub fn from(&self) -> Sequence {
        self.snapshot.sequence
    }

    /// Takes the next message.
    pub fn take(&mut self, delivered: &Delivered, now: Now) -> Result<(), StartError> {
        let sequence = delivered.sequence;
        if sequence != self.head.0.next() {
            return Err(StartError::Gap(self.head.0.next()));
        }
        let id = delivered.header.map(|header| header.id);
        if let Some((known, at)) = self.known
            && known == sequence
            && at != id
        {
            return Err(StartError::WentBack(sequence));
        }
        let first = sequence == self.snapshot.sequence;
        let valid = delivered.header.filter(|header| {
            if first {
                header.id == self.snapshot.id
            } else {
                header.predecessor == self.last_valid
                    || !self.state.mechanisms.on(Mechanism::PredecessorChain)
            }
        });
        self.head = (sequence, id);
        let Some(header) = valid else {
            if first {
                return Err(StartError::NoSnapshot(sequence));
            }
            self.foreign = Some(Foreign {
                count: self.foreign.map_or(0, |foreign| foreign.count) + 1,
                last: sequence,
            });
            return Ok(());
        };
        self.hint_is_valid |= sequence == self.hint;
        self.last_valid = header.id;
        self.apply(delivered, header, first, now)
    }

    fn apply(
        &mut self,
        delivered: &Delivered,
        header: EntryHeader,
        first: bool,
        now: Now,
    ) -> Result<(), StartError> {
        let sequence = delivered.sequence;
        if !is_understood(header.format) {
            return Err(StartError::Format {
                sequence,
                format: header.format,
            });
        }
        let entry: &Arc<Entry> = delivered
            .entry
            .as_ref()
            .ok_or(StartError::Unreadable(sequence))?;
        if first && header.predecessor == EntryId::NONE {
            self.genesis = true;
            self.covered = Covered::All;
        }
        if first {
            self.state.set_revision(entry.rev.saturating_sub(1));
        }
        let result = self.apply_entry(entry, now);
        result.map_err(|source| StartError::Apply { sequence, source })?;
        self.unpublished.note(entry, &self.state);
        if !is_understood(self.state.format()) {
            let format = self.state.format();
            return Err(StartError::Format { sequence, format });
        }
        if !(first && self.genesis) {
            let bytes = delivered.bytes;
            self.snapshots
                .note(sequence, header.id, entry, bytes, now.mono);
        }
        Ok(())
    }

    fn apply_entry(&mut self, entry: &Entry, now: Now) -> Result<(), ApplyError> {
        let expected = self.state.revision() + 1;
        if entry.rev != expected {
            return Err(ApplyError::Revision {
                expected,
                found: entry.rev,
            });
        }
        for command in &entry.cmds {
            let revision = self.state.revision() + 1;
            let stamp = Stamp {
                revision,
                at: entry.at,
                now,
            };
            let reached = command.reaches(revision);
            match command {
                CommandRecord::Renewal(key) if self.covers(key) => {
                    self.state.apply_command(command, stamp, &mut |_| {})?;
                }
                CommandRecord::Renewal(_) => {}
                CommandRecord::Other(changes) => {
                    for change in &changes.changes {
                        self.apply_change(change, stamp)?;
                    }
                }
            }
            self.state.set_revision(reached);
        }
        Ok(())
    }

    fn apply_change(&mut self, change: &Change, stamp: Stamp) -> Result<(), ApplyError> {
        let key = match change {
            Change::Chunk { chunk } => {
                self.take_chunk(chunk, stamp.now);
                return Ok(());
            }
            Change::Skip { .. } => return Ok(()),
            Change::Put { key, .. }
            | Change::Renew { key, .. }
            | Change::Confirm { key }
            | Change::End { key, .. }
            | Change::Add { key, .. }
            | Change::Delete { key, .. } => key,
        };
        if self.covers(key) {
            self.state.apply(change, stamp, &mut |_| {})?;
        }
        Ok(())
    }

    /// The next chunk of the snapshot that is being read: its range is as it says. Others change nothing.
    fn take_chunk(&mut self, chunk: &Chunk, now: Now) {
        let first = chunk.n == 0 && self.chunks.is_none();
        if self.covered == Covered::All
            || !(first || self.chunks == Some((chunk.snapshot, chunk.n)))
        {
            return;
        }
        for kept in &chunk.records {
            self.state.restore(kept, now);
        }
        self.chunks = Some((chunk.snapshot, chunk.n + 1));
        self.covered = match &chunk.to {
            Some(to) => Covered::Below(Some(to.clone())),
            None => Covered::All,
        };
    }

    /// Whether the records of a key are known so far. What changes others is skipped: their chunk says it.
    fn covers(&self, key: &Key) -> bool {
        match &self.covered {
            Covered::All => true,
            Covered::Below(next) => next.as_ref().is_some_and(|next| key < next),
        }
    }

    /// Switches mechanisms off.
    #[cfg(test)]
    pub(crate) fn switch(&mut self, mechanisms: crate::mechanism::Mechanisms) {
        self.state.mechanisms = mechanisms;
    }

    /// The state, once everything up to the hint, at least, was read.
    pub fn finish(self) -> Result<Loaded, StartError> {
        if let Some((known, _)) = self.known
            && self.head.0 < known
        {
            return Err(StartError::WentBack(known));
        }
        if !self.hint_is_valid {
            return Err(StartError::Hint(self.hint));
        }
        if self.covered != Covered::All {
            return Err(StartError::NoSnapshot(self.snapshot.sequence));
        }
        Ok(Loaded {
            state: self.state,
            head: self.head,
            last_valid: self.last_valid,
            snapshots: self.snapshots,
            unpublished: self.unpublished,
            foreign: self.foreign,
        })
    }
}
