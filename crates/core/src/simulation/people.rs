//! Between holders and instances: questions, answers, and ports that are tried.

use std::collections::BTreeSet;

use onex_types::{ids::LeaseId, key::PortKey, time::MonoMillis};

use crate::{
    command::{Answer, Command, Outcome, Probed},
    engine::{Input, Job, JobId},
    node::NodeEnd,
};

use super::{
    holder::PATIENCE_MILLIS,
    instance::{Asked, Person},
    world::{Event, World},
};

/// What belongs to something that has ended is ended within this time, in milliseconds: longer than all instances together
/// stand still.
const LEFT_OVER_MILLIS_MAX: u64 = 60_000;

impl World {
    pub(super) fn reply(&mut self, index: usize, job: JobId, outcome: Outcome) {
        let Some(asked) = self.instances[index].jobs.remove(&job) else {
            return self.call_replied(index, job, &outcome);
        };
        self.say(|| format!("I{index} answers {:?}: {:?}", asked.person, outcome.result));
        if let Ok(Answer::Lease(held)) = &outcome.result {
            // Whoever is told of a grant is told of one that the log has.
            if !self.truth.granted.contains_key(&held.lease.lease_id) {
                let text = format!("I{index} answers with a lease that is not in the log");
                self.violations.push(text);
            }
            self.grants += 1;
        }
        if let Ok(Answer::Node(node)) = &outcome.result {
            // And whoever is told of a node.
            if !self
                .truth
                .nodes
                .incarnations
                .contains(&node.live.incarnation)
            {
                let text = format!("I{index} answers with a node that is not in the log");
                self.violations.push(text);
            }
            self.registrations += 1;
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
        let id = self.next_command();
        let (t, chance) = (self.t, &mut self.chance);
        let Some(command) = self.holders[index].wake(t, chance, id) else {
            return;
        };
        let Some(ask) = self.holders[index].ask.as_ref() else {
            return;
        };
        let asked = Asked {
            person: Person::Holder(index),
            ask: ask.n,
        };
        self.say(|| format!("H{index} asks: {:?}", command.action));
        if self.chance.hit(self.faults.message_lost) {
            return;
        }
        self.send(asked, command);
    }

    pub(super) fn process(&mut self, index: usize) {
        let wait = self.chance.between(200, 2_000);
        self.after(wait, Event::Process(index));
        if self.processes[index].asleep_until > self.t {
            return;
        }
        let id = self.next_command();
        let (t, chance) = (self.t, &mut self.chance);
        let Some(command) = self.processes[index].wake(t, chance, id) else {
            return;
        };
        let Some(ask) = self.processes[index].ask.as_ref() else {
            return;
        };
        let asked = Asked {
            person: Person::Process(index),
            ask: ask.n,
        };
        self.say(|| format!("N{index} asks: {:?}", command.action));
        if self.chance.hit(self.faults.message_lost) {
            return;
        }
        self.send(asked, command);
    }

    /// To some instance.
    pub(super) fn send(&mut self, asked: Asked, command: Command) {
        let to = self.chance.index(self.instances.len());
        let delay = self.delay(self.faults.reply_late);
        self.after(delay, Event::Request { to, asked, command });
    }

    pub(super) fn replied(&mut self, asked: Asked, outcome: &Outcome) {
        let t = self.t;
        match asked.person {
            Person::Holder(index) if self.holders[index].asleep_until <= t => {
                self.holders[index].replied(asked.ask, outcome, t);
            }
            Person::Process(index) if self.processes[index].asleep_until <= t => {
                self.processes[index].replied(asked.ask, outcome, t);
            }
            _ => {}
        }
    }

    /// What processes count on is so, unless another life has superseded them.
    pub(super) fn check_processes(&mut self) {
        let t = self.t;
        for (index, process) in self.processes.iter().enumerate() {
            let Some(alive) = process.lives(t) else {
                continue;
            };
            let state = &self.truth.state;
            let live = state.live(&process.node_id).map(|(_, live)| live);
            let own = live.filter(|live| live.incarnation == alive.incarnation);
            let superseded = live.is_some_and(|live| live.epoch > alive.epoch);
            let evicted = own.is_some_and(|live| {
                let ended = live.ended.as_ref();
                ended.is_some_and(|ended| ended.how == NodeEnd::Evicted)
            });
            if !(superseded || evicted || own.is_some_and(|live| live.is_live())) {
                let text = format!("N{index} is live, and the log does not say so");
                return self.violations.push(text);
            }
            if own.is_none() || evicted {
                continue;
            }
            for (lease_id, keys) in &alive.ports {
                let at = state.indexes.lease(*lease_id);
                let lease = at.and_then(|at| Some((at, state.live_lease(at)?.1)));
                let own: Vec<PortKey> = lease
                    .map(|(at, lease)| lease.port_keys(&at.host).collect())
                    .unwrap_or_default();
                if own != *keys {
                    let text = format!("N{index} holds {keys:?}, and the log says {own:?}");
                    return self.violations.push(text);
                }
            }
            let node = state.node(&process.node_id).unwrap();
            let tools = node.node.registration.tools.iter();
            let tools: BTreeSet<String> = tools.map(|tool| tool.name.to_string()).collect();
            let known = alive.tools.as_ref().filter(|_| process.ask.is_none());
            if known.is_some_and(|known| *known != tools) {
                let text = format!("N{index} offers {known:?}, and the log says {tools:?}");
                return self.violations.push(text);
            }
        }
        if self.truth.state.left_over().next().is_none() {
            self.left_over_since = t;
        } else if t - self.left_over_since > LEFT_OVER_MILLIS_MAX {
            let text = "nobody ends what belongs to something that has ended".to_owned();
            self.violations.push(text);
        }
    }

    pub(super) fn probe(
        &mut self,
        index: usize,
        epoch: u64,
        keys: &[PortKey],
        lease_id: LeaseId,
        until: MonoMillis,
    ) {
        let instance = &self.instances[index];
        let late = instance.now(self.t).mono > until || instance.paused_until > self.t;
        if instance.epoch != epoch || late {
            return;
        }
        let t = self.t;
        let is_bound = |key: &&PortKey| {
            let mut holders = self.holders.iter().filter_map(|holder| holder.holds(t));
            let mut processes = self.processes.iter().filter_map(|process| process.lives(t));
            self.squatted.contains(&key.port.number())
                || holders.any(|hold| hold.keys.contains(key))
                || processes.any(|alive| alive.ports.values().flatten().any(|port| port == *key))
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
