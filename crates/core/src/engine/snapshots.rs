//! Snapshots in the log: which there are, and the next chunk of one.

use onex_types::{
    entry::{EntryId, Sequence, SnapshotRef},
    time::MonoMillis,
};
use uuid::Uuid;

use crate::{
    entry::{Change, Chunk, CommandRecord, Entry},
    key::Key,
    record::InstanceId,
    txn::Txn,
};

/// The snapshots in the log, complete or not: what the entries say of them, so that every instance knows the same.
#[derive(Debug, Clone, Default)]
pub struct Snapshots {
    newest: Option<SnapshotRef>,
    /// The last revision before the newest one.
    before_newest: u64,
    older: Option<SnapshotRef>,
    running: Option<Running>,
    /// Since when, and how much, the log has grown behind the last snapshot.
    since: MonoMillis,
    bytes: usize,
    last_bytes: usize,
    changed: bool,
    /// Whether one is due whatever has changed: the log was restored, and its older ones may be of another history.
    due: bool,
}

/// A snapshot of which the last chunk is not there yet.
#[derive(Debug, Clone)]
struct Running {
    snapshot: Uuid,
    first: SnapshotRef,
    before: u64,
    next: u32,
    from: Option<Key>,
    bytes: usize,
}

impl Snapshots {
    /// With the snapshot from which the log was read.
    pub(super) fn begun(at: SnapshotRef) -> Self {
        Self {
            newest: Some(at),
            ..Self::default()
        }
    }

    /// The newest complete one.
    pub fn newest(&self) -> Option<SnapshotRef> {
        self.newest
    }

    /// The last revision before the newest complete one.
    pub fn before_newest(&self) -> u64 {
        self.before_newest
    }

    /// The one before.
    pub fn older(&self) -> Option<SnapshotRef> {
        self.older
    }

    /// Whether commands behind the newest complete one have changed something.
    pub fn is_behind(&self) -> bool {
        self.changed
    }

    /// An entry is in the log.
    pub(super) fn note(
        &mut self,
        sequence: Sequence,
        id: EntryId,
        entry: &Entry,
        bytes: usize,
        now: MonoMillis,
    ) {
        let place = SnapshotRef { sequence, id };
        if self.newest.is_none() {
            // The first entry of a log is its first snapshot: complete, and empty.
            self.newest = Some(place);
        }
        self.bytes += bytes;
        let changes = entry.cmds.iter().flat_map(CommandRecord::changes);
        let mut chunks = 0;
        for change in changes {
            if let Change::Skip { .. } = change {
                self.due = true;
                self.running = None;
            }
            if let Change::Chunk { chunk } = change {
                chunks += 1;
                self.note_chunk(chunk, place, entry.rev.saturating_sub(1), bytes, now);
            }
        }
        self.changed |= entry.cmds.len() > chunks;
    }

    fn note_chunk(
        &mut self,
        chunk: &Chunk,
        place: SnapshotRef,
        before: u64,
        bytes: usize,
        now: MonoMillis,
    ) {
        let goes_on = self
            .running
            .as_ref()
            .is_some_and(|running| running.snapshot == chunk.snapshot && running.next == chunk.n);
        let mut running = match self.running.take() {
            Some(running) if goes_on => running,
            _ if chunk.n == 0 => Running {
                snapshot: chunk.snapshot,
                first: place,
                before,
                next: 0,
                from: None,
                bytes: 0,
            },
            other => {
                self.running = other;
                return;
            }
        };
        running.next += 1;
        running.from.clone_from(&chunk.to);
        running.bytes += bytes;
        if !chunk.last {
            self.running = Some(running);
            return;
        }
        // A start reads the snapshot that it has begun with: the one before is not known to it.
        if self.newest != Some(running.first) {
            self.older = self.newest.replace(running.first);
        }
        self.before_newest = running.before;
        self.last_bytes = running.bytes;
        self.bytes = 0;
        self.changed = false;
        self.due = false;
        self.since = now;
    }

    /// A message that is no entry is in the log: a log that is nearly full is cut short for it, too.
    pub(super) fn note_void(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.changed = true;
    }

    /// The log begins there. Somebody removed more of it than is covered: another snapshot is due, from its first chunk on.
    pub(super) fn note_first(&mut self, first: Sequence) {
        let is_gone = |snapshot: SnapshotRef| snapshot.sequence < first;
        if self.newest.is_some_and(is_gone) {
            self.due = true;
            self.running.take_if(|running| is_gone(running.first));
        }
    }

    /// Whether a snapshot is being written by that instance.
    pub(super) fn wants_chunk(&self, instance: InstanceId) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.snapshot.as_u64_pair().0 == instance.0)
    }

    pub(super) fn is_due(&self, bytes: usize, millis: u64, now: MonoMillis) -> bool {
        let grown = self.bytes >= bytes.max(2 * self.last_bytes);
        self.due || self.changed && (grown || now.since(self.since) >= millis)
    }

    /// Whether the log has grown by so much behind the newest snapshot, and by as much as that has.
    pub(super) fn has_grown(&self, bytes: usize) -> bool {
        self.changed && self.bytes >= bytes.max(self.last_bytes)
    }

    /// Adds the next chunk to an entry: every record of its range as of this entry.
    pub(super) fn write_chunk(&self, txn: &mut Txn<'_>, bytes_max: usize) {
        if let Some(running) = &self.running {
            write(
                txn,
                running.snapshot,
                running.next,
                running.from.clone(),
                bytes_max,
            );
        }
    }

    /// Begins a snapshot with its first chunk.
    pub(super) fn begin(txn: &mut Txn<'_>, instance: InstanceId, bytes_max: usize) {
        // A revision is reached once, so an instance never begins two snapshots of the same id.
        let snapshot = Uuid::from_u64_pair(instance.0, txn.revision());
        #[cfg(test)]
        {
            let slots = txn.state.slots_from(None);
            txn.state.at_begin = slots.map(|(key, slot)| slot.kept(key)).collect();
        }
        write(txn, snapshot, 0, None, bytes_max);
    }
}

fn write(txn: &mut Txn<'_>, snapshot: Uuid, n: u32, from: Option<Key>, bytes_max: usize) {
    let mut records = Vec::new();
    let mut bytes = 0;
    let mut to = None;
    for (key, slot) in txn.state.slots_from(from.as_ref()) {
        let more = slot.bytes + key.to_string().len();
        if bytes + more > bytes_max && !records.is_empty() {
            to = Some(key.clone());
            break;
        }
        bytes += more;
        records.push(slot.kept(key));
    }
    #[cfg(test)]
    if !txn
        .state
        .mechanisms
        .on(crate::mechanism::Mechanism::ChunkAsOfItsEntry)
    {
        let above = |key: &Key| from.as_ref().is_none_or(|from| key >= from);
        let below = |key: &Key| to.as_ref().is_none_or(|to| key < to);
        let at_begin = txn.state.at_begin.iter();
        let at_begin = at_begin.filter(|kept| above(&kept.key) && below(&kept.key));
        records = at_begin.cloned().collect();
    }
    let chunk = Chunk {
        snapshot,
        n,
        last: to.is_none(),
        from,
        to,
        records,
    };
    txn.system(
        "snapshot",
        vec![Change::Chunk {
            chunk: Box::new(chunk),
        }],
    );
}
