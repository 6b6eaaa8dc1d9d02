//! What stands in the log: valid entries and void messages, in order, and whether this engine still fits it.

use onex_types::{
    entry::{EntryHeader, EntryId, Sequence},
    time::Now,
};

use crate::{
    entry::{Entry, is_understood},
    mechanism::Mechanism,
};

use super::{
    Engine, Phase, author,
    io::{Delivered, Fatal, Output},
};

impl Engine {
    /// The follower delivered what is at a position.
    pub(super) fn delivered(&mut self, delivered: &Delivered, now: Now) {
        let next = self.head.0.next();
        if !self.follows || delivered.sequence < next {
            return;
        }
        if delivered.sequence > next {
            // Something between was not delivered: a new follower begins where this engine is.
            self.follows = false;
            return self.out.push(Output::Follow);
        }
        let header = delivered.header.filter(|header| self.is_valid(header));
        let Some(header) = header else {
            return self.void(delivered, now);
        };
        let own = self
            .pending
            .as_ref()
            .is_some_and(|pending| pending.header.id == header.id);
        if own {
            return self.commit(delivered.sequence, now);
        }
        self.lose(now);
        self.apply(delivered, header, now);
    }

    /// Whether the body of what is at a position has to be read: not if it was applied, or is the entry that is under way.
    pub fn needs_body(&self, sequence: Sequence, id: Option<EntryId>) -> bool {
        let pending = self.pending.as_ref().map(|pending| pending.header.id);
        sequence > self.head.0 && (id.is_none() || id != pending)
    }

    /// Whether an entry counts: its predecessor is the last one that does. Nothing else decides it, and every instance
    /// decides it alike.
    fn is_valid(&self, header: &EntryHeader) -> bool {
        let own = author(header.id) == self.local.instance.0;
        header.predecessor == self.last_valid
            || !self.on(Mechanism::PredecessorChain)
            || (own && !self.on(Mechanism::VoidForAll))
    }

    fn void(&mut self, delivered: &Delivered, now: Now) {
        self.head = (delivered.sequence, delivered.header.map(|header| header.id));
        self.out.push(Output::Foreign(delivered.sequence));
        if self.on(Mechanism::CountVoid) {
            self.room.grown(delivered.bytes);
            self.snapshots.note_void(delivered.bytes);
        }
        self.move_behind(delivered.sequence, now);
    }

    fn apply(&mut self, delivered: &Delivered, header: EntryHeader, now: Now) {
        let sequence = delivered.sequence;
        if !is_understood(header.format) {
            return self.fail(Fatal::Format {
                sequence,
                format: header.format,
            });
        }
        let Some(entry) = delivered.entry.clone() else {
            return self.fail(Fatal::Unreadable(sequence));
        };
        if let Err(source) = self.state.apply_entry(&entry, now) {
            return self.fail(Fatal::Apply { sequence, source });
        }
        let format = self.state.format();
        if !is_understood(format) {
            return self.fail(Fatal::Format { sequence, format });
        }
        self.head = (sequence, Some(header.id));
        self.last_valid = header.id;
        self.pace.foreign(author(header.id), now.exact());
        self.named_last = header.snapshot;
        self.note_entry(sequence, header.id, &entry, delivered.bytes, now);
        self.out.push(Output::Applied {
            sequence,
            header,
            entry,
        });
    }

    /// An entry is in the log and applied, whoever made it.
    pub(super) fn note_entry(
        &mut self,
        sequence: Sequence,
        id: EntryId,
        entry: &Entry,
        bytes: usize,
        now: Now,
    ) {
        self.last_entry = now.mono;
        self.room.grown(bytes);
        self.trimming
            .note(sequence, now.mono, self.limits.kept_millis);
        self.snapshots.note(sequence, id, entry, bytes, now.mono);
        let named = self.state.named().map(|named| named.instance.0);
        if named.is_none_or(|named| named == author(id)) {
            self.named_seen = now.mono;
        }
    }

    /// A new follower begins with what this engine applied last, or the log is another one than it knows.
    pub(super) fn following(&mut self, first: Option<(Sequence, Option<EntryId>)>, now: Now) {
        let fits = match first {
            Some(first) => first == self.head,
            None => self.head.0 == Sequence::default(),
        };
        if !fits {
            self.phase = Phase::Failed;
            self.give_up_all();
            return self.out.push(Output::ReadAgain);
        }
        self.follows = true;
        self.last_entry = now.mono;
        // Whether the pending entry is in the log is not known: the same again settles it.
        self.send(now.mono);
    }
}
