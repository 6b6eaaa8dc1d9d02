//! The named instance publishes what is in the log and not yet out.

use onex_types::{entry::Sequence, ids::CommandId, time::Moment};
use uuid::Uuid;

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
        let behind = |event: &&(u64, usize, Sequence)| event.2 >= from;
        let few: Vec<_> = self
            .truth
            .events
            .iter()
            .filter(behind)
            .take(3)
            .copied()
            .collect();
        let new = few.iter().map(|(revision, place, _)| (*revision, *place));
        let new = new.filter(|event| self.published.last().is_none_or(|last| event > last));
        let new: Vec<_> = new.collect();
        if fits {
            self.published.extend(new);
        }
        let instance = &mut self.instances[index];
        if instance.epoch != epoch {
            return;
        }
        instance.publishing = false;
        let Some(engine) = instance.engine.as_ref().filter(|_| fits) else {
            return;
        };
        let out = few
            .last()
            .map(|(revision, _, sequence)| (*revision, *sequence));
        // Of the last entry more may be to come; with nothing left, everything that was applied is out.
        let (revision, sequence) = match out {
            Some((revision, sequence)) if few.len() == 3 => (revision, Sequence(sequence.0 - 1)),
            _ => (engine.state().revision(), engine.head()),
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
        self.commands += 1;
        // A grant in the place of one that was taken back has the next id.
        let id = CommandId(Uuid::from_u128(self.commands * 1_000));
        let command = Command {
            id,
            correlation_id: None,
            action,
        };
        let job = Job {
            id: None,
            command,
            deadline: Moment::NEVER,
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
