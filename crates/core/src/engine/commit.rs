//! Deciding an entry, and what becomes of it: committed, lost, unknown.

use std::sync::Arc;

use onex_types::{
    entry::{EntryHeader, EntryId, Sequence},
    time::{MonoMillis, Now},
};

use crate::{
    command::{Outcome, Refusal},
    mechanism::Mechanism,
    txn::Txn,
};

use super::{
    Engine, Pending, Phase,
    bounds::{
        APPEND_SILENCE_MILLIS, CONFLICT_WAIT_MILLIS, EMPTY_ENTRY_MILLIS, ENTRY_COMMANDS_MAX,
        LEADERLESS_MILLIS, QUIET_MILLIS,
    },
    io::{Fatal, NotAppended, Output},
    snapshots::Snapshots,
};

/// A named instance ends a lease when its time is up, the others so much later, in milliseconds: most of the time there
/// is one that does it.
const OTHERS_WAIT_MILLIS: u64 = 1_000;

impl Engine {
    /// Decides what waits, and appends it, unless an entry is under way.
    pub(super) fn decide(&mut self, now: Now) {
        if self.pending.is_some()
            || !self.follows
            || self.phase == Phase::Failed
            || self.yields(now)
            || self.room.full_until > now.mono
        {
            return;
        }
        let snapshot_due = self.begins_snapshot(now.mono);
        // An entry that raises the format has the old one itself.
        let format = self.state.format();
        let only_own = self.room.is_reserved(&self.state);
        let mut txn = Txn::new(&mut self.state, now);
        let mut jobs =
            self.queues
                .decide(&mut txn, &self.local, &self.room, only_own, &mut self.out);
        let room = self.room.chunk_bytes(txn.bytes());
        let chunk_bytes = self.limits.chunk_bytes.min(room);
        if self.snapshots.wants_chunk(self.local.instance) {
            self.snapshots.write_chunk(&mut txn, chunk_bytes);
        } else if snapshot_due {
            Snapshots::begin(&mut txn, self.local.instance, chunk_bytes);
        }
        let changed = !txn.is_empty();
        let sealed = txn.seal();
        if let Some(fault) = sealed.fault {
            return self.fail(Fatal::Decision(fault));
        }
        if !changed && jobs.is_empty() && !self.wants_entry(now.mono) {
            return;
        }
        if !changed && now.mono.since(self.last_empty) < EMPTY_ENTRY_MILLIS {
            // Nothing was changed, so nothing is undone: these are decided again in a moment.
            return self.queues.put_back(jobs.into_iter().map(|(job, ..)| job));
        }
        if !changed {
            self.last_empty = now.mono;
        }
        if !self.on(Mechanism::OutcomeHeldByEntry) {
            for (job, result, revision) in &jobs {
                let result = result.clone().map(|decided| decided.answer);
                let outcome = Outcome {
                    revision: *revision,
                    result,
                };
                self.out.extend(job.id.map(|id| Output::Reply(id, outcome)));
            }
            for (job, ..) in &mut jobs {
                job.id = None;
            }
        }
        let id = self.next_entry_id();
        let header = EntryHeader {
            id,
            predecessor: self.last_valid,
            format,
            snapshot: self.snapshot_ref(),
        };
        self.pending = Some(Pending {
            header,
            expected: self.head.0,
            entry: Arc::new(sealed.entry),
            bytes: sealed.bytes.into(),
            undo: sealed.undo,
            jobs,
            first_sent: now,
            sent: now.mono,
            patience: APPEND_SILENCE_MILLIS,
            copies: 0,
            refused: None,
        });
        self.send(now.mono);
    }

    /// Whether it lets another instance append first. One that stops does not wait.
    fn yields(&self, now: Now) -> bool {
        self.phase == Phase::Running
            && self.on(Mechanism::WinnersYield)
            && self.pace.yields_until(now.exact()).is_some()
    }

    /// Whether an entry is to be appended though nothing waits: a start ends with one, silence is broken by one, and the
    /// named instance shows that it is still there, and names a snapshot that is complete.
    fn wants_entry(&self, now: MonoMillis) -> bool {
        !self.ready
            || now.since(self.last_entry) >= QUIET_MILLIS
            || (self.is_named() && now.since(self.named_seen) >= QUIET_MILLIS)
            || (self.is_named() && self.named_last != self.snapshots.newest())
    }

    /// Sends the pending entry, for the first time or again: always the same.
    pub(super) fn send(&mut self, now: MonoMillis) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        pending.sent = now;
        pending.patience = APPEND_SILENCE_MILLIS;
        pending.copies += 1;
        pending.refused = None;
        self.out.push(Output::Append {
            expected: pending.expected,
            header: pending.header,
            bytes: pending.bytes.clone(),
        });
    }

    /// The server acknowledged an entry. It counts only while the follower fits, and only at the place that was asked
    /// for.
    pub(super) fn acked(&mut self, id: EntryId, sequence: Sequence, now: Now) {
        if !self.follows && self.on(Mechanism::FitBeforeAck) {
            return;
        }
        let pending = self.pending.as_ref();
        let fits = pending
            .is_some_and(|pending| pending.header.id == id && sequence == pending.expected.next());
        let unchecked = pending.is_some_and(|pending| pending.header.id == id)
            && !self.on(Mechanism::FitBeforeAck);
        if fits || unchecked {
            self.commit(sequence, now);
        }
    }

    /// The server refused an attempt. A conflict is at best a hint, since earlier copies of the entry may have landed or
    /// may land yet. Where the only copy was not taken for its size, it is not in the log.
    pub(super) fn refused(&mut self, id: EntryId, why: NotAppended, now: Now) {
        let Some(pending) = self
            .pending
            .as_mut()
            .filter(|pending| pending.header.id == id)
        else {
            return;
        };
        let only = pending.copies == 1;
        match why {
            NotAppended::Conflict if pending.refused.is_none() => {
                pending.refused = Some(now.mono);
            }
            NotAppended::TooLarge if only => {
                self.room.too_large(pending.bytes.len());
                self.lose(now);
            }
            NotAppended::Leaderless => pending.patience = LEADERLESS_MILLIS,
            NotAppended::Full => self.store_is_full(only, now),
            NotAppended::Conflict | NotAppended::TooLarge | NotAppended::Other => {}
        }
    }

    /// The server takes nothing more. What would add something is refused, the rest is tried again in a second: the log
    /// may have been cut short by then.
    fn store_is_full(&mut self, only: bool, now: Now) {
        self.room.full_until = now.mono.plus(APPEND_SILENCE_MILLIS);
        self.cut_full_log(now.mono);
        if !only {
            return;
        }
        self.lose(now);
        for job in self.queues.take_growth() {
            self.refuse(job.id, Refusal::StoreFull);
        }
    }

    /// There is nothing at the position that a refused append is for: the same again.
    pub(super) fn absent(&mut self, sequence: Sequence, now: Now) {
        let waits = self.pending.as_ref().is_some_and(|pending| {
            pending.refused.is_some() && pending.expected.next() == sequence
        });
        if waits && self.follows {
            self.send(now.mono);
        }
    }

    /// Asks for what took the place of a refused entry; sends one again that nothing was heard of.
    pub(super) fn repeat_append(&mut self, now: Now) {
        let Some(pending) = self.pending.as_mut().filter(|_| self.follows) else {
            return;
        };
        if let Some(since) = pending.refused {
            if now.mono.since(since) >= CONFLICT_WAIT_MILLIS {
                pending.refused = Some(now.mono);
                self.out.push(Output::Fetch(pending.expected.next()));
            }
        } else if now.mono.since(pending.sent) >= pending.patience {
            if self.on(Mechanism::RepeatSameEntry) {
                self.send(now.mono);
            } else {
                self.lose(now);
            }
        }
    }

    /// Another valid entry is where the pending one was to be: its changes are undone and its commands decided again.
    pub(super) fn lose(&mut self, now: Now) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        if self.on(Mechanism::UndoOnLoss) {
            let before = pending.entry.rev.saturating_sub(1);
            for undo in pending.undo.into_iter().rev() {
                self.state.undo(undo, now);
            }
            self.state.set_revision(before);
        }
        self.queues
            .put_back(pending.jobs.into_iter().map(|(job, ..)| job));
    }

    /// Follows a void message: nothing was lost, and the same entry goes behind it.
    pub(super) fn move_behind(&mut self, void: Sequence, now: Now) {
        if let Some(pending) = &mut self.pending {
            pending.expected = void;
            self.send(now.mono);
        }
    }

    /// The pending entry is in the log, at `sequence`.
    pub(super) fn commit(&mut self, sequence: Sequence, now: Now) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        self.head = (sequence, Some(pending.header.id));
        self.last_valid = pending.header.id;
        self.named_last = pending.header.snapshot;
        self.ready = true;
        self.pace.won(pending.first_sent.exact(), now.exact());
        self.note_entry(
            sequence,
            pending.header.id,
            &pending.entry,
            pending.bytes.len(),
            now,
        );
        self.out.push(Output::Applied {
            sequence,
            header: pending.header,
            entry: pending.entry,
        });
        for (job, result, revision) in pending.jobs {
            self.finish(job, result, revision, pending.first_sent.mono, now);
        }
    }

    /// What is due, by this instance's clock.
    pub(super) fn collect_due(&mut self, now: Now) {
        let wait = if self.is_named() {
            0
        } else {
            OTHERS_WAIT_MILLIS
        };
        for key in self.state.due(now.mono) {
            let due = self
                .state
                .slot(&key)
                .and_then(|slot| self.state.due_at(slot));
            match due.map(|due| due.plus(wait)) {
                Some(at) if at > now.mono => self.state.remind(&key, at),
                _ => self.queues.expiries.push_back(key),
            }
        }
        self.collect_left_over(now.mono, wait);
    }

    /// What belongs to a node or lease that has ended: as much as one entry has room for.
    fn collect_left_over(&mut self, now: MonoMillis, wait: u64) {
        if self.pending.is_some() {
            return;
        }
        if self.state.left_over().next().is_none() {
            self.left_over_since = None;
            return;
        }
        let since = *self.left_over_since.get_or_insert(now);
        if now.since(since) >= wait {
            let expiries = &mut self.queues.expiries;
            let room = ENTRY_COMMANDS_MAX.saturating_sub(expiries.len());
            expiries.extend(self.state.left_over().take(room));
        }
    }
}
