//! Everything together: what is under way, in the order of time, and what must hold at every step.

use std::{collections::BTreeMap, sync::Arc};

use onex_types::{
    entry::{EntryHeader, EntryId, Sequence},
    ids::CommandId,
    key::PortKey,
    time::Moment,
};
use uuid::Uuid;

use crate::{
    command::{Action, Answer, Command, Outcome, Probed},
    engine::{Engine, Input, Job, JobId, Limits, Output, StartError},
    mechanism::{Mechanism, Mechanisms},
};

use super::{
    chance::Chance,
    faults::Faults,
    holder::{Holder, PATIENCE_MILLIS},
    instance::{Asked, Instance},
    store::Store,
    truth::{Truth, records},
};

/// More messages than this in a run of minutes mean that instances write without cause.
const LOG_MESSAGES_MAX: Sequence = Sequence(20_000);

/// What is under way.
enum Event {
    /// An append arrives at the server.
    Append {
        to: usize,
        epoch: u64,
        expected: Sequence,
        header: EntryHeader,
        bytes: Arc<[u8]>,
    },
    /// Something arrives at an instance.
    Input { to: usize, epoch: u64, input: Input },
    /// A follower delivers.
    Deliver { to: usize, follower: u64 },
    /// A follower is there again.
    Follow { to: usize, epoch: u64 },
    /// An instance starts.
    Start(usize),
    /// A port is tried.
    Probe {
        to: usize,
        epoch: u64,
        key: PortKey,
        lease_id: onex_types::ids::LeaseId,
        until: Moment,
    },
    /// The named instance publishes what is in the log and not yet out.
    Publish {
        to: usize,
        epoch: u64,
        last: Option<(u64, usize)>,
        from: Sequence,
    },
    /// A request arrives at an instance.
    Request {
        to: usize,
        asked: Asked,
        command: Command,
    },
    /// A reply arrives at a holder.
    Reply { asked: Asked, outcome: Outcome },
    /// A holder does something.
    Holder(usize),
    /// Time passes for an instance.
    Tick(usize),
    /// Faults of this second.
    Second,
}

/// A run.
pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) t: u64,
    pub(super) store: Store,
    pub(super) truth: Truth,
    pub(super) instances: Vec<Instance>,
    pub(super) holders: Vec<Holder>,
    pub(super) faults: Faults,
    mechanisms: Mechanisms,
    queue: BTreeMap<(u64, u64), Event>,
    events: u64,
    commands: u128,
    jobs: u64,
    /// How many of the published events were compared.
    compared: usize,
    outage_until: u64,
    /// Ports that a program uses which never asked.
    squatted: Vec<u16>,
    published: Vec<(u64, usize)>,
    pub(super) violations: Vec<String>,
    pub(super) grants: usize,
    pub(super) verbose: bool,
}

impl World {
    pub(super) fn new(seed: u64, instances: usize, holders: usize, mechanisms: Mechanisms) -> Self {
        let mut chance = Chance::new(seed);
        // Small, so that a run sees several snapshots and trims.
        let limits = Limits {
            snapshot_bytes: 6_000,
            snapshot_millis: 20_000,
            chunk_bytes: 400,
        };
        let drift = |chance: &mut Chance| i64::try_from(chance.below(800)).unwrap() - 400;
        let instances = (0..instances).map(|_| {
            let mut instance = Instance::new(mechanisms, limits.clone());
            instance.drift = drift(&mut chance);
            instance.skew = i64::try_from(chance.below(1_200_000)).unwrap() - 600_000;
            instance
        });
        let instances: Vec<Instance> = instances.collect();
        let holders = (0..holders)
            .map(|index| Holder::new(index, drift(&mut chance)))
            .collect();
        let mut world = Self {
            chance,
            t: 1_000,
            store: Store::new(),
            truth: Truth::new(),
            instances,
            holders,
            faults: Faults::NONE,
            mechanisms,
            queue: BTreeMap::new(),
            events: 0,
            commands: 1 << 64,
            jobs: 0,
            compared: 0,
            outage_until: 0,
            squatted: Vec::new(),
            published: Vec::new(),
            violations: Vec::new(),
            grants: 0,
            verbose: false,
        };
        for index in 0..world.instances.len() {
            world.after(index as u64 * 7, Event::Start(index));
            world.after(50, Event::Tick(index));
        }
        for index in 0..world.holders.len() {
            world.after(100 + index as u64 * 30, Event::Holder(index));
        }
        world.after(1_000, Event::Second);
        world
    }

    pub(super) fn squat(&mut self, port: u16) {
        self.squatted.push(port);
    }

    fn after(&mut self, millis: u64, event: Event) {
        self.events += 1;
        self.queue.insert((self.t + millis, self.events), event);
    }

    /// Runs until that time, or until something is wrong.
    pub(super) fn run(&mut self, until: u64) {
        while let Some(((t, _), event)) = self.queue.pop_first() {
            if t > until || !self.violations.is_empty() {
                return;
            }
            self.t = t;
            self.happen(event);
            self.check();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start(index) => self.start(index),
            Event::Tick(index) => {
                self.after(50, Event::Tick(index));
                let epoch = self.instances[index].epoch;
                self.input(index, epoch, Input::Tick);
            }
            Event::Second => self.second(),
            Event::Append {
                to,
                epoch,
                expected,
                header,
                bytes,
            } => {
                self.append(to, epoch, expected, header, bytes);
            }
            Event::Input { to, epoch, input } => self.input(to, epoch, input),
            Event::Deliver { to, follower } => self.deliver(to, follower),
            Event::Follow { to, epoch } => self.follow(to, epoch),
            Event::Probe {
                to,
                epoch,
                key,
                lease_id,
                until,
            } => {
                self.probe(to, epoch, &key, lease_id, until);
            }
            Event::Publish {
                to,
                epoch,
                last,
                from,
            } => self.publish(to, epoch, last, from),
            Event::Request { to, asked, command } => self.request(to, asked, command),
            Event::Reply { asked, outcome } => {
                if self.holders[asked.holder].asleep_until > self.t {
                    return;
                }
                self.holders[asked.holder].told(asked.ask, &outcome, self.t);
            }
            Event::Holder(index) => self.holder(index),
        }
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{:>7} {}", self.t, text());
        }
    }

    fn start(&mut self, index: usize) {
        let t = self.t;
        match self.instances[index].start(index, &self.store, t) {
            Ok(inputs) => {
                let epoch = self.instances[index].epoch;
                self.say(|| format!("I{index} starts at {}", self.store.last()));
                for input in inputs {
                    self.input(index, epoch, input);
                }
                let delay = self.chance.between(1, 200);
                self.after(delay, Event::Follow { to: index, epoch });
            }
            Err(StartError::WentBack(at)) => {
                self.violations
                    .push(format!("I{index}: the store went back, at {at}"));
            }
            Err(error) => self
                .violations
                .push(format!("I{index} does not start: {error}")),
        }
    }

    fn follow(&mut self, index: usize, epoch: u64) {
        let instance = &mut self.instances[index];
        if instance.epoch != epoch || instance.engine.is_none() {
            return;
        }
        match instance.follow(&self.store) {
            Some(input) => {
                let follower = instance.follower;
                self.input(index, epoch, input);
                self.after(
                    1,
                    Event::Deliver {
                        to: index,
                        follower,
                    },
                );
            }
            None => {
                // What it applied last is not kept any more: it begins anew.
                self.stop(index, true);
                self.after(1, Event::Start(index));
            }
        }
    }

    /// The engine of an instance goes, and with it everything that was under way to it.
    fn stop(&mut self, index: usize, remembers: bool) {
        let instance = &mut self.instances[index];
        let engine = instance.engine.take();
        instance.known = engine.filter(|_| remembers).map(|engine| engine.known());
        instance.known = instance
            .known
            .filter(|(sequence, _)| *sequence > Sequence::default());
        instance.epoch += 1;
        instance.next = None;
    }

    fn second(&mut self) {
        self.after(1_000, Event::Second);
        let faults = self.faults;
        if self.chance.hit(faults.outage) {
            self.outage_until = self.t + self.chance.between(200, 4_000);
            self.say(|| "the server is silent".to_owned());
        }
        if self.chance.hit(faults.foreign) {
            self.foreign();
        }
        for index in 0..self.instances.len() {
            if self.chance.hit(faults.pause) {
                let until = self.t + self.chance.between(100, 25_000);
                self.instances[index].paused_until = until;
                self.say(|| format!("I{index} stands still until {until}"));
            }
            if self.chance.hit(faults.kill) && self.instances[index].engine.is_some() {
                self.say(|| format!("I{index} is killed"));
                self.stop(index, false);
                let delay = self.chance.between(1, 15_000);
                self.after(delay, Event::Start(index));
            }
        }
        for holder in &mut self.holders {
            if self.chance.hit(faults.pause) {
                holder.asleep_until = self.t + self.chance.between(100, 20_000);
            }
        }
    }

    /// Somebody else writes: without a header, with a copied one, with a wrong predecessor.
    fn foreign(&mut self) {
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
        let landed = self.store.append(None, header, b"{}".as_slice().into());
        self.landed(landed);
    }

    fn append(
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
        let checks = self.mechanisms.on(Mechanism::CompareAndAppend);
        let expected = checks.then_some(expected);
        let landed = match falsely {
            true => None,
            false => self.store.append(expected, Some(header), bytes),
        };
        self.landed(landed);
        if self.chance.hit(self.faults.ack_lost) {
            return;
        }
        let id = header.id;
        let input = match landed {
            Some(sequence) => Input::Acked { id, sequence },
            None => Input::Refused { id, conflict: true },
        };
        let delay = self.delay(self.faults.reply_late);
        self.after(delay, Event::Input { to, epoch, input });
    }

    fn delay(&mut self, late: u64) -> u64 {
        if self.chance.hit(late) {
            self.chance.between(100, 3_000)
        } else {
            self.chance.between(1, 4)
        }
    }

    fn landed(&mut self, landed: Option<Sequence>) {
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

    fn deliver(&mut self, index: usize, follower: u64) {
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

    fn break_follower(&mut self, index: usize) {
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

    pub(super) fn input(&mut self, index: usize, epoch: u64, input: Input) {
        let t = self.t;
        let instance = &mut self.instances[index];
        if instance.epoch != epoch {
            return;
        }
        if instance.paused_until > t {
            let wait = instance.paused_until - t;
            if !matches!(input, Input::Tick) {
                self.after(
                    wait,
                    Event::Input {
                        to: index,
                        epoch,
                        input,
                    },
                );
            }
            return;
        }
        let now = instance.now(t);
        let Some(engine) = instance.engine.as_mut() else {
            return;
        };
        let outputs = engine.handle([input], now);
        for output in outputs {
            self.output(index, epoch, output);
        }
        self.alike(index);
        self.keep_publishing(index);
    }

    fn output(&mut self, index: usize, epoch: u64, output: Output) {
        match output {
            Output::Append {
                expected,
                header,
                bytes,
            } => {
                let send = |bytes| Event::Append {
                    to: index,
                    epoch,
                    expected,
                    header,
                    bytes,
                };
                if self.chance.hit(self.faults.append_twice) {
                    let late = self.chance.between(5, 5_000);
                    self.after(late, send(bytes.clone()));
                }
                if self.chance.hit(self.faults.append_lost) {
                    return;
                }
                let late = self.chance.hit(self.faults.append_late);
                let delay = if late {
                    self.chance.between(100, 5_000)
                } else {
                    1
                };
                self.after(delay, send(bytes));
            }
            Output::Fetch(sequence) => {
                let input = match self.store.delivered(sequence) {
                    Some(delivered) => Input::Delivered(delivered),
                    None => Input::Absent(sequence),
                };
                if self.t >= self.outage_until {
                    self.after(
                        2,
                        Event::Input {
                            to: index,
                            epoch,
                            input,
                        },
                    );
                }
            }
            Output::Reply(job, outcome) => self.reply(index, job, outcome),
            Output::Probe {
                lease_id,
                key,
                until,
            } => {
                let delay = self.chance.between(0, 400);
                self.after(
                    delay,
                    Event::Probe {
                        to: index,
                        epoch,
                        key,
                        lease_id,
                        until,
                    },
                );
            }
            Output::Trim(below) => {
                let delay = self.chance.between(1, 3_000);
                let _ = delay;
                self.store.trim(below);
            }
            Output::Follow => self.break_follower(index),
            Output::ReadAgain => {
                self.stop(index, true);
                self.after(1, Event::Start(index));
            }
            Output::Fatal(fatal) => self.violations.push(format!("I{index} stops: {fatal}")),
            Output::Applied { .. } | Output::Foreign(_) => {}
        }
    }

    fn reply(&mut self, index: usize, job: JobId, outcome: Outcome) {
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

    fn request(&mut self, index: usize, asked: Asked, command: Command) {
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

    fn holder(&mut self, index: usize) {
        let wait = self.chance.between(200, 2_500);
        self.after(wait, Event::Holder(index));
        if self.holders[index].asleep_until > self.t {
            return;
        }
        self.commands += 1;
        let id = CommandId(Uuid::from_u128(self.commands));
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

    fn probe(
        &mut self,
        index: usize,
        epoch: u64,
        key: &PortKey,
        lease_id: onex_types::ids::LeaseId,
        until: Moment,
    ) {
        let instance = &self.instances[index];
        let late = instance.now(self.t).mono > until || instance.paused_until > self.t;
        if instance.epoch != epoch || late {
            return;
        }
        let t = self.t;
        let bound = self
            .holders
            .iter()
            .any(|holder| holder.holds(t).is_some_and(|hold| hold.key == *key));
        let squatted = self.squatted.contains(&key.port.number());
        let probed = if bound || squatted {
            Probed::InUse
        } else {
            Probed::Bindable
        };
        let input = Input::Probed { lease_id, probed };
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

    /// The named instance publishes what is in the log and not yet out, a few events at a time.
    fn keep_publishing(&mut self, index: usize) {
        let instance = &mut self.instances[index];
        let Some(engine) = instance.engine.as_ref().filter(|_| !instance.publishing) else {
            return;
        };
        let named = engine.state().named();
        let own = named.filter(|named| named.instance == engine.local.instance);
        let Some(from) = own.map(|named| Sequence(named.published_sequence).next()) else {
            return;
        };
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

    fn publish(&mut self, index: usize, epoch: u64, last: Option<(u64, usize)>, from: Sequence) {
        // What was sent arrives even if its sender is gone; the stream takes it only behind what the sender saw there.
        let fits = self.published.last().copied() == last;
        let kept = from >= self.store.first();
        if fits && !kept {
            return self
                .violations
                .push(format!("what is behind {from} was trimmed unpublished"));
        }
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
        let id = CommandId(Uuid::from_u128(self.commands));
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

    /// An instance that has decided nothing of its own has the records that the log says.
    fn alike(&mut self, index: usize) {
        let engine: Option<&Engine> = self.instances[index].engine.as_ref();
        let Some(engine) = engine.filter(|engine| engine.is_settled()) else {
            return;
        };
        let (head, epoch) = (engine.head(), self.instances[index].epoch);
        if self.instances[index].compared == (epoch, head) {
            return;
        }
        let alike = self
            .truth
            .at(head)
            .is_none_or(|truth| *truth == records(engine.state()));
        self.instances[index].compared = (epoch, head);
        if !alike {
            self.violations
                .push(format!("I{index} differs from the log at {head}"));
        }
    }

    fn check(&mut self) {
        self.violations.append(&mut self.truth.wrong);
        if self.store.last() > LOG_MESSAGES_MAX {
            self.violations.push("the log grows without end".to_owned());
        }
        let mut held: BTreeMap<&PortKey, usize> = BTreeMap::new();
        for (index, holder) in self.holders.iter().enumerate() {
            let Some(hold) = holder.holds(self.t) else {
                continue;
            };
            if let Some(other) = held.insert(&hold.key, index) {
                let text = format!("H{other} and H{index} both hold {}", hold.key);
                return self.violations.push(text);
            }
            let lease = self.truth.state.lease(&hold.key);
            if lease.is_none_or(|(_, lease)| lease.lease_id != hold.lease_id) {
                let text = format!("H{index} holds {} and the log does not say so", hold.key);
                return self.violations.push(text);
            }
        }
        while let Some(out) = self.published.get(self.compared) {
            let is = self.truth.events.get(self.compared);
            let is = is.map(|(revision, place, _)| (*revision, *place));
            if is != Some(*out) {
                let text = format!("event {out:?} was published in the place of {is:?}");
                return self.violations.push(text);
            }
            self.compared += 1;
        }
    }
}
