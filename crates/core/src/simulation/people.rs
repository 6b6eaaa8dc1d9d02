//! Between holders and instances: questions, answers, and ports that are tried.

use onex_types::{
    ids::{CommandId, LeaseId},
    key::PortKey,
    time::Moment,
};
use uuid::Uuid;

use crate::{
    command::{Answer, Command, Outcome, Probed},
    engine::{Input, Job, JobId},
};

use super::{
    holder::PATIENCE_MILLIS,
    instance::Asked,
    world::{Event, World},
};

impl World {
    pub(super) fn reply(&mut self, index: usize, job: JobId, outcome: Outcome) {
        let Some(asked) = self.instances[index].jobs.remove(&job) else {
            return;
        };
        self.say(|| format!("I{index} answers H{}: {:?}", asked.holder, outcome.result));
        if let Ok(Answer::Lease(held)) = &outcome.result {
            // Whoever is told of a grant is told of one that the log has.
            if !self.truth.granted.contains_key(&held.lease.lease_id) {
                let text = format!("I{index} answers with a lease that is not in the log");
                self.violations.push(text);
            }
            self.grants += 1;
        }
        if self.chance.hit(self.faults.message_lost) {
            return;
        }
        let delay = self.delay(self.faults.reply_late);
        self.after(delay, Event::Reply { asked, outcome });
    }

    pub(super) fn request(&mut self, index: usize, asked: Asked, command: Command) {
        self.jobs += 1;
        let id = JobId(self.jobs);
        let instance = &mut self.instances[index];
        if instance.engine.is_none() || instance.paused_until > self.t {
            return;
        }
        instance.jobs.insert(id, asked);
        let deadline = instance.now(self.t).mono.plus(PATIENCE_MILLIS);
        let job = Job {
            id: Some(id),
            command,
            deadline,
        };
        let epoch = instance.epoch;
        self.input(index, epoch, Input::Command(job));
    }

    pub(super) fn holder(&mut self, index: usize) {
        let wait = self.chance.between(200, 2_500);
        self.after(wait, Event::Holder(index));
        if self.holders[index].asleep_until > self.t {
            return;
        }
        self.commands += 1;
        // A grant in the place of one that was taken back has the next id.
        let id = CommandId(Uuid::from_u128(self.commands * 1_000));
        let (t, chance) = (self.t, &mut self.chance);
        let Some(command) = self.holders[index].wake(t, chance, id) else {
            return;
        };
        let Some(ask) = self.holders[index].ask.as_ref() else {
            return;
        };
        let asked = Asked {
            holder: index,
            ask: ask.n,
        };
        self.say(|| format!("H{index} asks: {:?}", command.action));
        if self.chance.hit(self.faults.message_lost) {
            return;
        }
        let to = self.chance.index(self.instances.len());
        let delay = self.delay(self.faults.reply_late);
        self.after(delay, Event::Request { to, asked, command });
    }

    pub(super) fn probe(
        &mut self,
        index: usize,
        epoch: u64,
        keys: &[PortKey],
        lease_id: LeaseId,
        until: Moment,
    ) {
        let instance = &self.instances[index];
        let late = instance.now(self.t).mono > until || instance.paused_until > self.t;
        if instance.epoch != epoch || late {
            return;
        }
        let t = self.t;
        let is_bound = |key: &&PortKey| {
            let mut holders = self.holders.iter().filter_map(|holder| holder.holds(t));
            self.squatted.contains(&key.port.number())
                || holders.any(|hold| hold.keys.contains(key))
        };
        let in_use: Vec<PortKey> = keys.iter().filter(is_bound).cloned().collect();
        let probed = if in_use.is_empty() {
            Probed::Bindable
        } else {
            Probed::InUse
        };
        let input = Input::Probed {
            lease_id,
            probed,
            in_use,
        };
        let delay = self.chance.between(0, 300);
        self.after(
            delay,
            Event::Input {
                to: index,
                epoch,
                input,
            },
        );
    }
}
