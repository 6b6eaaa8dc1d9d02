//! Everything together: what is under way, in the order of time, and what must hold at every step.

use std::{collections::BTreeMap, sync::Arc};

use onex_types::{
    entry::{EntryHeader, Sequence},
    ids::{CommandId, LeaseId},
    key::PortKey,
    time::MonoMillis,
};
use uuid::Uuid;

use crate::{
    command::{Command, Outcome},
    engine::{Input, Limits, Output, Sizes, StartError},
    mechanism::Mechanisms,
};

use super::{
    calls::{CallEvent, Calls},
    chance::Chance,
    faults::Faults,
    holder::Holder,
    instance::{Asked, Instance},
    process::Process,
    store::Store,
    truth::Truth,
};

/// What is under way.
pub(super) enum Event {
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
    /// Ports are tried.
    Probe {
        to: usize,
        epoch: u64,
        keys: Vec<PortKey>,
        lease_id: LeaseId,
        until: MonoMillis,
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
    /// A reply arrives.
    Reply { asked: Asked, outcome: Outcome },
    /// A holder does something.
    Holder(usize),
    /// A process that is a node does something.
    Process(usize),
    /// Time passes for an instance.
    Tick(usize),
    /// Everything below that position is removed, however long ago that was asked for.
    Trim(Sequence),
    /// Something happens to a call.
    Call(CallEvent),
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
    pub(super) processes: Vec<Process>,
    pub(super) calls: Calls,
    pub(super) faults: Faults,
    pub(super) mechanisms: Mechanisms,
    pub(super) queue: BTreeMap<(u64, u64), Event>,
    pub(super) events: u64,
    pub(super) commands: u128,
    pub(super) jobs: u64,
    /// How many of the published events were compared.
    pub(super) compared: usize,
    /// How many events of the log were published, or lost.
    pub(super) passed: usize,
    pub(super) outage_until: u64,
    /// Ports that a program uses which never asked.
    pub(super) squatted: Vec<u16>,
    pub(super) published: Vec<(u64, usize)>,
    pub(super) violations: Vec<String>,
    pub(super) grants: usize,
    pub(super) registrations: usize,
    /// Since when there is something that belongs to what has ended.
    pub(super) left_over_since: u64,
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
            kept_millis: 4_000,
            ..Limits::default()
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
            processes: Vec::new(),
            calls: Calls::default(),
            faults: Faults::NONE,
            mechanisms,
            queue: BTreeMap::new(),
            events: 0,
            commands: 1 << 64,
            jobs: 0,
            compared: 0,
            passed: 0,
            outage_until: 0,
            squatted: Vec::new(),
            published: Vec::new(),
            violations: Vec::new(),
            grants: 0,
            registrations: 0,
            left_over_since: 0,
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

    /// Places at which processes of nodes run.
    pub(super) fn run_processes(&mut self, places: usize) {
        for index in 0..places {
            let drift = i64::try_from(self.chance.below(800)).unwrap() - 400;
            let process = Process::new(index, drift, &mut self.chance);
            self.processes.push(process);
            self.after(120 + index as u64 * 30, Event::Process(index));
        }
    }

    pub(super) fn squat(&mut self, port: u16) {
        self.squatted.push(port);
    }

    /// The id of another command. A grant whose port is in use takes the ids behind its own.
    pub(super) fn next_command(&mut self) -> CommandId {
        self.commands += 1 << 10;
        CommandId(Uuid::from_u128(self.commands))
    }

    pub(super) fn after(&mut self, millis: u64, event: Event) {
        self.events += 1;
        self.queue.insert((self.t + millis, self.events), event);
    }

    /// Runs until that time, or until something is wrong.
    pub(super) fn run(&mut self, until: u64) {
        while let Some(next) = self.queue.first_entry() {
            if next.key().0 > until || !self.violations.is_empty() {
                return;
            }
            let ((t, _), event) = next.remove_entry();
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
            Event::Trim(below) => self.store.trim(below),
            Event::Call(event) => self.call_event(event),
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
                keys,
                lease_id,
                until,
            } => {
                self.probe(to, epoch, &keys, lease_id, until);
            }
            Event::Publish {
                to,
                epoch,
                last,
                from,
            } => self.publish(to, epoch, last, from),
            Event::Request { to, asked, command } => self.request(to, asked, command),
            Event::Reply { asked, outcome } => self.replied(asked, &outcome),
            Event::Holder(index) => self.holder(index),
            Event::Process(index) => self.process(index),
        }
    }

    pub(super) fn say(&self, text: impl FnOnce() -> String) {
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
        if let Some(input) = instance.follow(&self.store) {
            let follower = instance.follower;
            self.input(index, epoch, input);
            return self.after(
                1,
                Event::Deliver {
                    to: index,
                    follower,
                },
            );
        }
        // What it applied last is not kept any more: it begins anew.
        self.stop(index, true);
        self.after(1, Event::Start(index));
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
        self.administrate();
        for index in 0..self.instances.len() {
            self.tell_sizes(index);
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
        for process in &mut self.processes {
            if self.chance.hit(faults.pause) {
                process.asleep_until = self.t + self.chance.between(100, 20_000);
            }
        }
    }

    /// What an instance's driver knows of the store.
    fn tell_sizes(&mut self, index: usize) {
        let sizes = Sizes {
            bytes: self.store.bytes,
            bytes_max: self.store.bytes_max,
            payload_max: 16_000,
            first: self.store.first(),
        };
        let epoch = self.instances[index].epoch;
        if self.t >= self.outage_until {
            self.input(index, epoch, Input::Sizes(sizes));
        }
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
                keys,
                until,
            } => {
                let delay = self.chance.between(0, 400);
                self.after(
                    delay,
                    Event::Probe {
                        to: index,
                        epoch,
                        keys,
                        lease_id,
                        until,
                    },
                );
            }
            Output::Trim(below) => {
                let delay = self.chance.between(1, 3_000);
                self.after(delay, Event::Trim(below));
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
}
