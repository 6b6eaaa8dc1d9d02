//! What an instance's follower gets to see of the stream, and when.

use crate::domain::{
    cursor::{Cursor, behind},
    key::{Key, Revision},
    mechanism::Mechanism,
    record::Stored,
    write::Write,
};

use super::{
    instance::BARRIER,
    store::{Log, Piece},
    world::{Event, World, trace},
};

/// One delivery.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) number: u64,
    pub(super) revision: Revision,
    pub(super) key: Key,
    pub(super) stored: Stored,
    pub(super) pending: u64,
    /// The piece that goes on behind it.
    pub(super) within: Option<Piece>,
    /// Whether nothing but the rest of that is behind it.
    pub(super) newest: bool,
}

/// An instance's consumer, the server's half and the follower's.
#[derive(Default)]
pub(super) struct Consumer {
    /// Which one, counted over the instance's lives.
    subscription: u64,
    /// The server looks from here on.
    next: u64,
    number: u64,
    idle: bool,
    /// When the last of what is under way arrives.
    front: u64,
    cursor: Cursor,
    /// Whether the last message that ended what was written with it came with nothing behind it.
    whole: Option<Revision>,
    /// How far it was at the last tick.
    ticked: Revision,
}

impl World {
    /// A follower begins behind `last`, with a new consumer.
    pub(super) fn subscribe(&mut self, instance: usize, afresh: bool) {
        let consumer = &mut self.instances[instance].consumer;
        if afresh {
            consumer.cursor = Cursor::default();
        }
        consumer.cursor.restart();
        consumer.whole = None;
        consumer.subscription += 1;
        consumer.next = consumer.cursor.last().0 + 1;
        consumer.number = 0;
        consumer.idle = false;
        let subscription = consumer.subscription;
        let after = self.latency();
        self.after(after, Event::Serve(instance, subscription));
    }

    /// Something new is in the stream.
    pub(super) fn rouse(&mut self) {
        for instance in 0..self.instances.len() {
            let consumer = &mut self.instances[instance].consumer;
            if !consumer.idle {
                continue;
            }
            consumer.idle = false;
            let subscription = consumer.subscription;
            let slow = self.trouble(self.setup.delivery_slow);
            let after = if slow {
                self.chance.between((100, 6_000))
            } else {
                0
            };
            self.after(after, Event::Serve(instance, subscription));
        }
    }

    /// The server sends the next message, if there is one.
    pub(super) fn serve(&mut self, instance: usize, subscription: u64) {
        let view: &Log = match &self.instances[instance].cut {
            Some(old) => old,
            None => &self.store.log,
        };
        let consumer = &self.instances[instance].consumer;
        if consumer.subscription != subscription {
            return;
        }
        let mut rest = view.range(consumer.next..);
        let Some((revision, (key, stored))) = rest.next() else {
            self.instances[instance].consumer.idle = true;
            return;
        };
        let within = self.store.within(Revision(*revision));
        let mut message = Message {
            number: consumer.number + 1,
            revision: Revision(*revision),
            key: key.clone(),
            stored: stored.clone(),
            pending: rest.count() as u64,
            within,
            newest: within.is_some_and(|piece| {
                let [_, last] = piece.around();
                view.range(last.0 + 1..).next().is_none()
            }),
        };
        // It counts what was written in one piece message by message, and may send one of them before it
        // counts the next.
        if message.newest && self.chance.hit(self.setup.piece_uncounted) {
            self.count("pieces uncounted");
            message.pending = 0;
        }
        let consumer = &mut self.instances[instance].consumer;
        consumer.number += 1;
        consumer.next = message.revision.0 + 1;
        message.number = consumer.number;
        let after = self.latency();
        let consumer = &mut self.instances[instance].consumer;
        consumer.front = consumer.front.max(self.time + after);
        let after = consumer.front - self.time;
        if self.trouble(self.setup.delivery_dropped) {
            self.count("deliveries dropped");
        } else {
            self.after(
                after,
                Event::Deliver(instance, subscription, Box::new(message)),
            );
        }
        let slow = self.trouble(self.setup.delivery_slow);
        let after = if slow {
            self.chance.between((10, 3_000))
        } else {
            0
        };
        self.after(after, Event::Serve(instance, subscription));
    }

    /// A message reaches the follower.
    pub(super) fn deliver(&mut self, instance: usize, subscription: u64, message: Message) {
        let now = self.now(instance);
        let on = self.setup.mechanisms.on(Mechanism::FollowerGap);
        let Message {
            number,
            revision,
            key,
            stored,
            pending,
            within,
            newest,
        } = message;
        let pending = if self.setup.mechanisms.on(Mechanism::WholePieces) {
            behind(pending, within.is_some())
        } else {
            pending
        };
        let one = &mut self.instances[instance];
        if one.consumer.subscription != subscription {
            return;
        }
        if !one.consumer.cursor.take(number, revision) && on {
            trace!(self, "#{instance} missed something before @{}", revision.0);
            self.count("gaps noticed");
            self.subscribe(instance, false);
            return;
        }
        let gaps = one.core.index.outbox.gaps();
        one.core.apply(&key, revision, stored, pending, now);
        let gaps = one.core.index.outbox.gaps() - gaps;
        if gaps > 0 {
            trace!(self, "#{instance} counts {gaps} events lost");
        }
        trace!(
            self,
            "  #{instance} sees @{} {key}, {pending} pending", revision.0
        );
        let exact = pending == 0;
        match within {
            None => {
                self.instances[instance].consumer.whole = exact.then_some(revision);
                self.compare(instance, exact);
            }
            Some(piece) => {
                let consumer = &self.instances[instance].consumer;
                // What came in between may be gone: overwritten by the piece itself.
                let [before, _] = piece.around();
                let known = newest && consumer.whole.is_some_and(|at| at >= before);
                self.compare_within(instance, exact, known, piece);
            }
        }
        self.progress(instance);
    }

    /// What was to come behind the last message may be gone: one more message brings an exact point, as the registry's
    /// own nudge does.
    pub(super) fn nudge(&mut self, instance: usize) {
        let one = &mut self.instances[instance];
        let (applied, exact) = (one.core.index.applied(), one.core.index.exact());
        let before = std::mem::replace(&mut one.consumer.ticked, applied);
        if exact < applied && before == applied {
            self.count("nudges");
            let write = Write {
                key: Key::Barrier,
                expected: Revision::default(),
                value: Stored::Barrier,
            };
            self.send(instance, BARRIER, vec![write]);
        }
    }

    /// A consumer's idle heartbeat names its last number: what was dropped last shows as well.
    pub(super) fn heartbeat(&mut self, instance: usize) {
        let consumer = &self.instances[instance].consumer;
        let quiet = consumer.idle && consumer.front + 1_000 < self.time;
        if quiet && consumer.next > consumer.cursor.last().0 + 1 {
            let on = self.setup.mechanisms.on(Mechanism::FollowerGap);
            if on && consumer.number > 0 {
                self.subscribe(instance, false);
            }
        }
    }
}
