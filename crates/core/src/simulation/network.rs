//! Between instances and the server: appends and acknowledgements that are lost, late, repeated; followers that break.

use std::sync::Arc;

use onex_types::entry::{EntryHeader, EntryId, Sequence};
use uuid::Uuid;

use crate::{
    engine::{Input, NotAppended},
    mechanism::Mechanism,
};

use super::world::{Event, World};

impl World {
    /// Somebody else writes: without a header, with a copied one, with a wrong predecessor.
    pub(super) fn foreign(&mut self) {
        if self.truth.last_valid == EntryId::NONE {
            // A stream that has messages and no first entry is not taken for a new log, by any start.
            return;
        }
        let copied = self
            .store
            .get(self.store.last())
            .and_then(|message| message.header);
        let header = match self.chance.below(3) {
            0 => None,
            1 => copied,
            _ => copied.map(|header| EntryHeader {
                id: EntryId(Uuid::from_u128(u128::from(self.events))),
                predecessor: EntryId(Uuid::from_u128(5)),
                format: 99,
                ..header
            }),
        };
        if !self.store.is_full(2) {
            let landed = self.store.append(None, header, b"{}".as_slice().into());
            self.landed(landed);
        }
    }

    pub(super) fn append(
        &mut self,
        to: usize,
        epoch: u64,
        expected: Sequence,
        header: EntryHeader,
        bytes: Arc<[u8]>,
    ) {
        if self.t < self.outage_until {
            return;
        }
        let falsely = self.chance.hit(self.faults.refused_falsely);
        let full = self.store.is_full(bytes.len());
        let checks = self.mechanisms.on(Mechanism::CompareAndAppend);
        let expected = checks.then_some(expected);
        let landed = if falsely || full {
            None
        } else {
            self.store.append(expected, Some(header), bytes)
        };
        self.landed(landed);
        if self.chance.hit(self.faults.ack_lost) {
            return;
        }
        let id = header.id;
        let input = if let Some(sequence) = landed {
            Input::Acked { id, sequence }
        } else {
            let why = if full && !falsely {
                NotAppended::Full
            } else {
                NotAppended::Conflict
            };
            Input::Refused { id, why }
        };
        let delay = self.delay(self.faults.reply_late);
        self.after(delay, Event::Input { to, epoch, input });
    }

    pub(super) fn delay(&mut self, late: u64) -> u64 {
        if self.chance.hit(late) {
            self.chance.between(100, 3_000)
        } else {
            self.chance.between(1, 4)
        }
    }

    pub(super) fn landed(&mut self, landed: Option<Sequence>) {
        let Some(sequence) = landed else { return };
        let Some(message) = self.store.get(sequence) else {
            return;
        };
        let now = self.instances[0].now(self.t);
        self.truth.landed(sequence, message, now);
        for index in 0..self.instances.len() {
            let follower = self.instances[index].follower;
            let delay = self.delay(self.faults.reply_late);
            self.after(
                delay,
                Event::Deliver {
                    to: index,
                    follower,
                },
            );
        }
    }

    pub(super) fn deliver(&mut self, index: usize, follower: u64) {
        let instance = &self.instances[index];
        if instance.follower != follower || instance.next.is_none() {
            return;
        }
        if self.t < self.outage_until {
            return self.after(
                300,
                Event::Deliver {
                    to: index,
                    follower,
                },
            );
        }
        let epoch = instance.epoch;
        if self.chance.hit(self.faults.follower_breaks) {
            return self.break_follower(index);
        }
        while let Some(next) = self.instances[index].next
            && next <= self.store.last()
        {
            let Some(delivered) = self.store.delivered(next) else {
                // It was trimmed before this follower came to it.
                return self.break_follower(index);
            };
            self.instances[index].next = Some(next.next());
            self.after(
                0,
                Event::Input {
                    to: index,
                    epoch,
                    input: Input::Delivered(delivered),
                },
            );
        }
    }

    pub(super) fn break_follower(&mut self, index: usize) {
        let epoch = self.instances[index].epoch;
        self.instances[index].next = None;
        self.instances[index].follower += 1;
        self.after(
            0,
            Event::Input {
                to: index,
                epoch,
                input: Input::Disconnected,
            },
        );
        let delay = self.chance.between(10, 2_000);
        self.after(delay, Event::Follow { to: index, epoch });
    }
}
