//! One registry instance: the steps of its deeds, done as the service does them.

use std::collections::BTreeMap;

use crate::domain::{
    command::{Action, Command, Probed, Refusal},
    core::Core,
    deed::{Deed, Fed, Step},
    ids::{CommandId, Ttl},
    index::Index,
    key::{Key, PortKey, Revision},
    policy::Policy,
    pool::PortRange,
    time::Now,
    write::Write,
};

use super::{
    chance::{Chance, Clock},
    consumer::Consumer,
    publisher::Publisher,
    setup::Setup,
    store::Log,
    world::{Ask, Event, Outcome, Ticket, World, host, trace},
};

/// How long an instance waits for an acknowledgement, in milliseconds.
const ACK_MILLIS: u64 = 2_000;
/// How long a barrier may take altogether.
const BARRIER_MILLIS: u64 = 5_000;
/// What a caller allows.
const CALLER_MILLIS: u64 = 4_000;
const REAPED_AT_ONCE_MAX: usize = 16;
/// Jobs that are not deeds.
const BARRIER: u64 = 0;
pub(super) const PUBLISHER: u64 = 1;
const FIRST_DEED: u64 = 2;

#[derive(Debug, PartialEq)]
enum Wait {
    Ack(u64),
    Barrier,
    Moved(PortKey, Revision),
    Exact(Revision),
    Pause(u64),
    Probe(u64, PortKey),
}

/// A deed under way, and who asked for it.
pub(super) struct Job {
    deed: Deed,
    wait: Wait,
    pub(super) ask: Option<Ask>,
    answered: bool,
    reaps: Option<PortKey>,
    /// When it came, and how far the stream was then.
    pub(super) arrived: u64,
    pub(super) behind: Revision,
    /// Every id that its command has had.
    pub(super) ids: Vec<CommandId>,
}

#[derive(Default)]
struct Barrier {
    waiting: Vec<u64>,
    current: Vec<u64>,
    attempt: u64,
    reach: Option<Revision>,
}

pub(super) struct Instance {
    pub(super) core: Core,
    pub(super) consumer: Consumer,
    pub(super) clock: Clock,
    pub(super) incarnation: u64,
    pub(super) up: bool,
    pub(super) paused: bool,
    pub(super) paused_at: u64,
    /// What the server that it talks to still shows, when that is cut off from the others.
    pub(super) cut: Option<Log>,
    pub(super) backlog: Vec<Event>,
    pub(super) publisher: Publisher,
    pub(super) attempt: u64,
    jobs: BTreeMap<u64, Job>,
    jobs_ever: u64,
    barrier: Barrier,
}

fn new_core(chance: &mut Chance, setup: &Setup) -> Core {
    let ports = PortRange {
        first: crate::domain::ids::Port::new(20_000).unwrap(),
        last: crate::domain::ids::Port::new(20_000 + setup.ports - 1).unwrap(),
    };
    let mut index = Index::new(Policy {
        registry_id: chance.uuid(),
        host: host(true),
        probe: setup.probe,
        ranges: vec![ports],
        reserved: Vec::new(),
        ttl_max: Ttl::try_from(setup.ttl_max).unwrap(),
        holder_leases_max: 64,
        hosts_max: 4,
        known_hosts_only: false,
    });
    index.mechanisms = setup.mechanisms;
    Core::new(index)
}

impl Instance {
    pub(super) fn new(chance: &mut Chance, setup: &Setup) -> Self {
        Self {
            core: new_core(chance, setup),
            consumer: Consumer::default(),
            clock: Clock::new(chance, setup.walls_apart),
            incarnation: 0,
            up: false,
            paused: false,
            paused_at: 0,
            cut: None,
            backlog: Vec::new(),
            publisher: Publisher::default(),
            attempt: 0,
            jobs: BTreeMap::new(),
            jobs_ever: FIRST_DEED,
            barrier: Barrier::default(),
        }
    }

    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// What its jobs wait for.
    pub(super) fn waits(&self) -> String {
        let waits: Vec<_> = self
            .jobs
            .values()
            .map(|job| format!("{:?}", job.wait))
            .collect();
        waits.join(", ")
    }
}

impl World {
    pub(super) fn now(&self, instance: usize) -> Now {
        self.instances[instance].clock.now(self.time)
    }

    /// A process begins: it knows nothing.
    pub(super) fn start(&mut self, instance: usize) {
        let mut core = new_core(&mut self.chance, &self.setup);
        if self.setup.keeps_id {
            let before = self.instances[instance].core.index.policy.registry_id;
            let policy = Policy {
                registry_id: before,
                ..core.index.policy
            };
            core = Core::new(Index::new(policy));
            core.index.mechanisms = self.setup.mechanisms;
        }
        let clock = Clock::new(&mut self.chance, self.setup.walls_apart);
        let one = &mut self.instances[instance];
        one.core = core;
        one.clock = clock;
        one.up = true;
        let incarnation = one.incarnation;
        trace!(self, "#{instance} starts");
        self.subscribe(instance, true);
        self.after(1, Event::Tick(instance, incarnation));
    }

    /// A process ends in the middle of whatever it was doing.
    pub(super) fn crash(&mut self, instance: usize) {
        trace!(self, "#{instance} crashes");
        let one = &mut self.instances[instance];
        one.incarnation += 1;
        one.up = false;
        one.paused = false;
        one.backlog.clear();
        one.jobs.clear();
        one.barrier = Barrier::default();
        one.publisher = Publisher::default();
    }

    pub(super) fn ticket(&mut self, instance: usize, job: u64) -> Ticket {
        let one = &mut self.instances[instance];
        one.attempt += 1;
        Ticket {
            instance,
            incarnation: one.incarnation,
            job,
            attempt: one.attempt,
        }
    }

    /// Sends a write; what comes of it is fed to the job.
    pub(super) fn send(&mut self, instance: usize, job: u64, write: Write) -> u64 {
        let ticket = self.ticket(instance, job);
        self.after(ACK_MILLIS, Event::Fed(ticket, Fed::Unknown));
        let unreachable = self.down || self.instances[instance].cut.is_some();
        if self.trouble(self.setup.write_unsent) || (unreachable && self.chance.hit(300)) {
            self.count("writes unsent");
            // The other answer is "undecided": nothing has landed, and nobody knows.
            let fed = [Fed::Unsent, Fed::Unknown][self.chance.index(2)];
            self.after(1, Event::Fed(ticket, fed));
        } else if self.trouble(self.setup.write_late) || (unreachable && self.chance.hit(400)) {
            self.count("writes late");
            let after = self.chance.between(self.setup.late);
            self.after(after, Event::Land(ticket, Box::new(write)));
        } else if !unreachable {
            let after = self.latency();
            self.after(after, Event::Land(ticket, Box::new(write)));
        }
        ticket.attempt
    }

    /// A request reaches an instance.
    pub(super) fn asked(&mut self, instance: usize, ask: Ask) {
        if !self.instances[instance].up {
            return;
        }
        let command = Command {
            id: CommandId(self.chance.uuid()),
            correlation_id: Some(format!("{}/{}/{}", ask.holder, ask.life, ask.request)),
            confirmed: false,
            action: ask.action.clone(),
        };
        trace!(
            self,
            "#{instance} is asked by holder {} ({}): {}",
            ask.holder,
            ask.request,
            brief(&ask.action)
        );
        self.begin_deed(instance, command, Some(ask), None);
    }

    fn begin_deed(
        &mut self,
        instance: usize,
        command: Command,
        ask: Option<Ask>,
        reaps: Option<PortKey>,
    ) {
        let now = self.now(instance);
        let caller = ask.is_some();
        let job = Job {
            ids: vec![command.id],
            deed: Deed::new(command, now.mono.plus(CALLER_MILLIS)),
            wait: Wait::Pause(0),
            ask,
            answered: false,
            reaps,
            arrived: self.time,
            behind: Revision(self.store.last),
        };
        let one = &mut self.instances[instance];
        let id = one.jobs_ever;
        one.jobs_ever += 1;
        one.jobs.insert(id, job);
        if caller {
            let ticket = self.ticket(instance, id);
            let reading = now.mono.0 + CALLER_MILLIS;
            let deadline = self.instances[instance].clock.when(reading);
            self.after(deadline - self.time, Event::Deadline(ticket, reading));
        }
        self.drive(instance, id, Fed::Go);
    }

    fn drive(&mut self, instance: usize, id: u64, fed: Fed) {
        let mut fed = fed;
        loop {
            let now = self.now(instance);
            let one = &mut self.instances[instance];
            let Some(job) = one.jobs.get_mut(&id) else {
                return;
            };
            if let Fed::Probed(_, id) = fed {
                job.ids.push(id);
            }
            let step = job.deed.step(&mut one.core, fed, now);
            if job.ids.last() != Some(&job.deed.id()) {
                job.ids.push(job.deed.id());
            }
            if self.loud {
                let step = format!("{step:?}");
                eprintln!(
                    "{:>9}   #{instance}.{id} {fed:?} -> {:.90}",
                    self.time, step
                );
            }
            let wait = match step {
                Step::Done(outcome) => return self.done(instance, id, outcome),
                Step::Moved(key, at) if one.core.index.revision(&Key::Port(key.clone())) > at => {
                    fed = Fed::Go;
                    continue;
                }
                Step::Exact(at) if one.core.index.exact() >= at => {
                    fed = Fed::Go;
                    continue;
                }
                Step::Moved(key, at) => Wait::Moved(key, at),
                Step::Exact(at) => Wait::Exact(at),
                Step::Barrier => {
                    job.wait = Wait::Barrier;
                    one.barrier.waiting.push(id);
                    return self.raise_barrier(instance);
                }
                Step::Write(write) => Wait::Ack(self.send(instance, id, write)),
                Step::Pause(times) => {
                    let longest = if times == 0 {
                        0
                    } else {
                        (10 << times.min(7)).min(1_000)
                    };
                    let after = self.chance.below(longest + 1);
                    let ticket = self.ticket(instance, id);
                    self.after(after, Event::Wake(ticket));
                    Wait::Pause(ticket.attempt)
                }
                Step::Probe(key) => {
                    let ticket = self.ticket(instance, id);
                    let after = self.latency();
                    self.after(after, Event::Wake(ticket));
                    Wait::Probe(ticket.attempt, key)
                }
            };
            if let Some(job) = self.instances[instance].jobs.get_mut(&id) {
                job.wait = wait;
            }
            return;
        }
    }

    fn live(&self, ticket: Ticket) -> bool {
        self.instances[ticket.instance].incarnation == ticket.incarnation
    }

    pub(super) fn feed(&mut self, ticket: Ticket, fed: Fed) {
        let Ticket {
            instance,
            job,
            attempt,
            ..
        } = ticket;
        if !self.live(ticket) {
            return;
        }
        if matches!(fed, Fed::Unknown)
            && self.instances[instance]
                .jobs
                .get(&job)
                .is_some_and(|job| job.wait == Wait::Ack(attempt))
        {
            self.count("unknown outcomes");
        }
        match job {
            BARRIER => self.barrier_fed(instance, attempt, fed),
            PUBLISHER => self.publisher_fed(instance, attempt, fed),
            id => {
                let job = self.instances[instance].jobs.get(&id);
                if job.is_some_and(|job| job.wait == Wait::Ack(attempt)) {
                    self.drive(instance, id, fed);
                }
            }
        }
    }

    pub(super) fn wake(&mut self, ticket: Ticket) {
        let Ticket {
            instance,
            job: id,
            attempt,
            ..
        } = ticket;
        if !self.live(ticket) {
            return;
        }
        if id == BARRIER {
            return self.barrier_fed(instance, attempt, Fed::Unknown);
        }
        let Some(job) = self.instances[instance].jobs.get(&id) else {
            return;
        };
        match &job.wait {
            Wait::Pause(at) if *at == attempt => self.drive(instance, id, Fed::Go),
            Wait::Probe(at, key) if *at == attempt => {
                let key = key.clone();
                let caller = job.ask.as_ref().map(|ask| ask.holder);
                let ids = job.ids.clone();
                let probed = if job.deed.may_probe(self.now(instance).mono) {
                    self.probed(instance, &key, &ids, caller);
                    self.probe(&key)
                } else {
                    Probed::Unknown
                };
                let next = CommandId(self.chance.uuid());
                self.drive(instance, id, Fed::Probed(probed, next));
            }
            _ => {}
        }
    }

    fn probe(&mut self, key: &PortKey) -> Probed {
        let taken = self.strangers.contains(key) || self.holders.iter().any(|one| one.binds(key));
        if self.trouble(20) {
            Probed::Unknown
        } else if taken {
            self.count("probes in use");
            Probed::InUse
        } else {
            self.count("probes bindable");
            Probed::Bindable
        }
    }

    /// What waits for the follower may have waited long enough.
    pub(super) fn progress(&mut self, instance: usize) {
        let index = &self.instances[instance].core.index;
        let ready: Vec<u64> = self.instances[instance]
            .jobs
            .iter()
            .filter(|(_, job)| match &job.wait {
                Wait::Moved(key, at) => index.revision(&Key::Port(key.clone())) > *at,
                Wait::Exact(at) => index.exact() >= *at,
                _ => false,
            })
            .map(|(id, _)| *id)
            .collect();
        for id in ready {
            self.drive(instance, id, Fed::Go);
        }
        let one = &self.instances[instance];
        if one
            .barrier
            .reach
            .is_some_and(|at| one.core.index.exact() >= at)
        {
            self.count("barriers passed");
            self.lower_barrier(instance, Fed::Go);
        }
    }

    fn raise_barrier(&mut self, instance: usize) {
        let barrier = &mut self.instances[instance].barrier;
        if !barrier.current.is_empty() || barrier.waiting.is_empty() {
            return;
        }
        barrier.current = std::mem::take(&mut barrier.waiting);
        barrier.reach = None;
        let write = Write {
            key: Key::Barrier,
            expected: Revision::default(),
            value: crate::domain::record::Stored::Barrier,
        };
        let attempt = self.send(instance, BARRIER, write);
        self.instances[instance].barrier.attempt = attempt;
        let ticket = Ticket {
            instance,
            incarnation: self.instances[instance].incarnation,
            job: BARRIER,
            attempt,
        };
        self.after(BARRIER_MILLIS, Event::Wake(ticket));
    }

    fn barrier_fed(&mut self, instance: usize, attempt: u64, fed: Fed) {
        let barrier = &mut self.instances[instance].barrier;
        if barrier.attempt != attempt || barrier.current.is_empty() {
            return;
        }
        match fed {
            Fed::Written(revision) => {
                barrier.reach = Some(revision);
                self.progress(instance);
            }
            _ if barrier.reach.is_none() || fed != Fed::Unknown => {
                self.count("barriers failed");
                self.lower_barrier(instance, Fed::Failed);
            }
            _ => {}
        }
    }

    fn lower_barrier(&mut self, instance: usize, fed: Fed) {
        let barrier = &mut self.instances[instance].barrier;
        barrier.reach = None;
        for id in std::mem::take(&mut barrier.current) {
            self.drive(instance, id, fed);
        }
        self.raise_barrier(instance);
    }

    fn done(
        &mut self,
        instance: usize,
        id: u64,
        outcome: Result<crate::domain::command::Answer, Refusal>,
    ) {
        let Some(job) = self.instances[instance].jobs.remove(&id) else {
            return;
        };
        if job.ask.is_some() && !job.answered {
            let outcome = match outcome {
                Ok(answer) => Outcome::Done(answer),
                Err(Refusal::Unreachable) => Outcome::TimedOut {
                    unknown: job.deed.is_unsettled(),
                },
                Err(refusal) => Outcome::Refused(refusal),
            };
            self.answer(instance, &job, outcome);
        }
    }

    /// The caller waits no longer.
    pub(super) fn deadline(&mut self, ticket: Ticket, reading: u64) {
        if !self.live(ticket) {
            return;
        }
        let clock = self.instances[ticket.instance].clock;
        if clock.at(self.time) < reading {
            // The clock stood in the meantime.
            let after = clock.when(reading) - self.time;
            return self.after(after, Event::Deadline(ticket, reading));
        }
        let Some(mut job) = self.instances[ticket.instance].jobs.remove(&ticket.job) else {
            return;
        };
        if !job.answered {
            job.answered = true;
            let unknown = job.deed.is_unsettled();
            self.answer(ticket.instance, &job, Outcome::TimedOut { unknown });
        }
        self.instances[ticket.instance].jobs.insert(ticket.job, job);
    }

    fn answer(&mut self, instance: usize, job: &Job, outcome: Outcome) {
        self.judge(instance, job, &outcome);
        let Some(ask) = job.ask.clone() else {
            return;
        };
        trace!(
            self,
            "#{instance} answers holder {} ({}): {outcome:?}", ask.holder, ask.request
        );
        if self.trouble(self.setup.reply_lost) {
            self.count("replies lost");
            return;
        }
        let after = self.latency();
        self.after(after, Event::Reply(Box::new((ask, outcome))));
    }

    /// The reaper's and the publisher's turn.
    pub(super) fn tick(&mut self, instance: usize, incarnation: u64) {
        let now = self.now(instance);
        let one = &mut self.instances[instance];
        if one.incarnation != incarnation || !one.up {
            return;
        }
        for key in one.core.reap(now, REAPED_AT_ONCE_MAX) {
            let busy = |job: &Job| job.reaps.as_ref() == Some(&key);
            if self.instances[instance].jobs.values().any(busy) {
                continue;
            }
            let command = Command::expire(CommandId(self.chance.uuid()), key.clone());
            self.begin_deed(instance, command, None, Some(key));
        }
        self.publish_next(instance);
        self.heartbeat(instance);
        let one = &self.instances[instance];
        let after = self.chance.between(self.setup.tick);
        let change = one.core.index.next_change().map_or(after, |at| {
            one.clock.when(at.0).saturating_sub(self.time).max(1)
        });
        self.after(after.min(change), Event::Tick(instance, incarnation));
    }
}

fn brief(action: &Action) -> String {
    match action {
        Action::Lease(wish) => format!(
            "lease ttl {} preferred {:?} exact {} request {:?}",
            wish.ttl.seconds(),
            wish.preferred,
            wish.exact,
            wish.request.map(|request| request.id.0)
        ),
        Action::Renew { lease_id, ttl, .. } => format!("renew {lease_id} {ttl:?}"),
        Action::Release { lease_id, .. } => format!("release {lease_id}"),
        other => format!("{other:?}"),
    }
}
