//! From an instance's outbox to the events stream.

use crate::domain::{
    deed::Fed,
    mechanism::Mechanism,
    outbox::{Publish, ROUND_MILLIS_MAX, Told},
    write::Write,
};

use super::{
    instance::PUBLISHER,
    world::{Event, Ticket, World, trace},
};

/// How long a publisher waits for the events stream to take one event, in milliseconds.
const SEND_MILLIS: u64 = 3_000;

#[derive(Default)]
enum State {
    #[default]
    Idle,
    Sending(Vec<Told>, Option<Write>),
    Writing,
    /// What comes when the checkpoint moves before the events are out.
    WritingFirst(Vec<Told>),
}

/// What one instance is publishing.
#[derive(Default)]
pub(super) struct Publisher {
    attempt: u64,
    state: State,
}

impl World {
    pub(super) fn publish_next(&mut self, instance: usize) {
        let now = self.now(instance);
        let one = &mut self.instances[instance];
        if !matches!(one.publisher.state, State::Idle) {
            return;
        }
        let index = &one.core.index;
        match index.outbox.next(index.exact(), now.mono) {
            Publish::Idle => {}
            Publish::Claim(write) => self.write_checkpoint(instance, write),
            Publish::Send(told, write) if self.checkpoint_last() => {
                self.send_events(instance, told, Some(write));
            }
            Publish::Send(told, write) => {
                let attempt = self.send(instance, PUBLISHER, vec![write]);
                self.instances[instance].publisher = Publisher {
                    attempt,
                    state: State::WritingFirst(told),
                };
            }
        }
    }

    fn checkpoint_last(&self) -> bool {
        self.setup.mechanisms.on(Mechanism::CheckpointAfterEvents)
    }

    fn write_checkpoint(&mut self, instance: usize, write: Write) {
        let attempt = self.send(instance, PUBLISHER, vec![write]);
        self.instances[instance].publisher = Publisher {
            attempt,
            state: State::Writing,
        };
    }

    /// One after another: none arrives before those that come first.
    fn send_events(&mut self, instance: usize, told: Vec<Told>, write: Option<Write>) {
        let (mut told, mut write) = (told, write);
        let ticket = self.ticket(instance, PUBLISHER);
        // The first that is not taken ends the round.
        let longest = if self.setup.breaks_off {
            ROUND_MILLIS_MAX + 2 * SEND_MILLIS
        } else {
            SEND_MILLIS * (told.len() as u64 + 1)
        };
        self.after(longest, Event::Fed(ticket, Fed::Unknown));
        let reachable = self.instances[instance].cut.is_none();
        let late = self.trouble(self.setup.write_late);
        let mut after = if late {
            self.chance.between(self.setup.late)
        } else {
            0
        };
        let pauses: Vec<u64> = told.iter().map(|_| self.latency()).collect();
        let mut takes = 0;
        let in_time = pauses.iter().take_while(|pause| {
            takes += **pause;
            takes <= ROUND_MILLIS_MAX
        });
        let fits = if self.setup.breaks_off {
            in_time.count().max(1)
        } else {
            told.len()
        };
        if let Some(unsent) = told.get(fits) {
            let outbox = &self.instances[instance].core.index.outbox;
            write = write.map(|_| outbox.up_to(unsent));
            told.truncate(fits);
            self.count("rounds broken off");
        }
        for (n, (one, pause)) in told.iter().zip(pauses).enumerate() {
            if !reachable || self.trouble(self.setup.ack_lost) {
                break;
            }
            after += pause;
            let last = n + 1 == told.len();
            self.after(after, Event::Publish(ticket, Box::new(one.clone()), last));
        }
        self.instances[instance].publisher = Publisher {
            attempt: ticket.attempt,
            state: State::Sending(told, write),
        };
    }

    /// An event reaches the events stream.
    pub(super) fn publish(&mut self, ticket: Ticket, told: &Told, last: bool) {
        let batch = (ticket.instance, ticket.attempt);
        if self.down || self.broken.contains(&batch) {
            // What comes behind is sent only when this one is acknowledged.
            self.broken.insert(batch);
            return;
        }
        trace!(
            self,
            "event @{} {} {:?}", told.revision.0, told.key, told.transition.event
        );
        self.events.append(told);
        if last && !self.trouble(self.setup.ack_lost) {
            let after = self.latency();
            self.after(after, Event::Fed(ticket, Fed::Go));
        }
    }

    pub(super) fn publisher_fed(&mut self, instance: usize, attempt: u64, fed: Fed) {
        let one = &mut self.instances[instance];
        if one.publisher.attempt != attempt {
            return;
        }
        match (std::mem::take(&mut one.publisher.state), fed) {
            (State::Sending(told, write), Fed::Go) => {
                one.core.index.outbox.sent(&told);
                if let Some(write) = write {
                    self.write_checkpoint(instance, write);
                }
            }
            (State::WritingFirst(told), Fed::Written(_)) => self.send_events(instance, told, None),
            (State::Writing, Fed::Written(_)) => self.count("checkpoints"),
            _ => {}
        }
    }
}
