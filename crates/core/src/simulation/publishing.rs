//! The named instance publishes what is in the log and not yet out.

use onex_types::{entry::Sequence, time::MonoMillis};

use crate::{
    command::{Action, Command},
    engine::{Input, Job},
};

use super::world::{Event, World};

impl World {
    /// The named instance publishes what is in the log and not yet out, a few events at a time.
    pub(super) fn keep_publishing(&mut self, index: usize) {
        let instance = &mut self.instances[index];
        let Some(engine) = instance.engine.as_ref().filter(|_| !instance.publishing) else {
            return;
        };
        let named = engine.state().named();
        let own = named.filter(|named| named.instance == engine.local.instance);
        let Some(from) = own.map(|named| Sequence(named.published_sequence).next()) else {
            return;
        };
        // What is not there any more becomes a gap first.
        if from < self.store.first() {
            return;
        }
        if from > engine.head() || !engine.is_settled() {
            return;
        }
        instance.publishing = true;
        let (epoch, last) = (instance.epoch, self.published.last().copied());
        let delay = self.chance.between(1, 500);
        self.after(
            delay,
            Event::Publish {
                to: index,
                epoch,
                last,
                from,
            },
        );
    }

    pub(super) fn publish(
        &mut self,
        index: usize,
        epoch: u64,
        last: Option<(u64, usize)>,
        from: Sequence,
    ) {
        // What was sent arrives even if its sender is gone; the stream takes it only behind what the sender saw there.
        let fits = self.published.last().copied() == last && from >= self.store.first();
        let events = &self.truth.events;
        let behind = events.partition_point(|(_, _, sequence)| *sequence < from);
        let behind = events.iter().skip(behind);
        let out = self.published.last().copied();
        let is_out = move |event: &&(u64, usize, Sequence)| Some((event.0, event.1)) <= out;
        let few = behind.clone().skip_while(is_out).take(3);
        let few: Vec<_> = few
            .map(|(revision, place, _)| (*revision, *place))
            .collect();
        if fits {
            self.published.extend(few);
        }
        let instance = &mut self.instances[index];
        if instance.epoch != epoch {
            return;
        }
        instance.publishing = false;
        let engine = instance
            .engine
            .as_ref()
            .filter(|engine| engine.is_settled());
        let Some(engine) = engine.filter(|_| fits) else {
            return;
        };
        // Of an entry everything is out, or it is as if nothing was.
        let out = self.published.last().copied();
        let is_out = move |event: &&(u64, usize, Sequence)| Some((event.0, event.1)) <= out;
        let next = behind.clone().find(|event| !is_out(event));
        let next = next.filter(|(_, _, sequence)| *sequence <= engine.head());
        let (revision, sequence) = match next {
            None => (engine.state().revision(), engine.head()),
            Some((_, _, next)) => {
                let before = behind.take_while(|(_, _, sequence)| sequence < next);
                let revision = before.last().map_or(0, |(revision, ..)| *revision);
                (revision, Sequence(next.0 - 1))
            }
        };
        if sequence < from {
            return;
        }
        let instance_id = engine.local.instance;
        let action = Action::Published {
            instance: instance_id,
            revision,
            sequence: sequence.0,
        };
        let id = self.next_command();
        let command = Command {
            id,
            correlation_id: None,
            action,
        };
        let job = Job {
            id: None,
            command,
            deadline: MonoMillis::NEVER,
        };
        self.after(
            1,
            Event::Input {
                to: index,
                epoch,
                input: Input::Command(job),
            },
        );
    }
}
