//! One registry instance: how it starts, writes, reaps and dies.

use std::collections::BTreeMap;

use crate::domain::{
    command::Command,
    core::Core,
    deed::Fed,
    ids::{CommandId, Ttl},
    index::Index,
    policy::Policy,
    pool::PortRange,
    time::Now,
    write::Write,
};

use super::{
    barrier::Barrier,
    callers::Waiting,
    chance::{Chance, Clock},
    consumer::Consumer,
    deeds::{Job, Wait},
    publisher::Publisher,
    setup::Setup,
    store::Log,
    world::{Event, Ticket, World, host, trace},
};

/// How long an instance waits for an acknowledgement, in milliseconds.
const ACK_MILLIS: u64 = 2_000;
const REAPED_AT_ONCE_MAX: usize = 16;
/// Jobs that are not deeds.
pub(super) const BARRIER: u64 = 0;
pub(super) const PUBLISHER: u64 = 1;
const FIRST_DEED: u64 = 2;

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
    pub(super) jobs: BTreeMap<u64, Job>,
    pub(super) jobs_ever: u64,
    /// Calls that it waits for.
    pub(super) calls: Vec<Waiting>,
    pub(super) barrier: Barrier,
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
        nodes_max: 64,
        buses_max: 64,
        node_bytes_max: 1 << 20,
        retention_millis: setup.retention,
        marker_millis: setup.marker,
        calls_max: setup.calls_max,
        calls_kept_millis: setup.calls_kept,
    });
    index.switch(setup.mechanisms);
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
            calls: Vec::new(),
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
            core.index.switch(self.setup.mechanisms);
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
        one.calls.clear();
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
    pub(super) fn send(&mut self, instance: usize, job: u64, writes: Vec<Write>) -> u64 {
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
            self.after(after, Event::Land(ticket, writes));
        } else if !unreachable {
            let after = self.latency();
            self.after(after, Event::Land(ticket, writes));
        }
        ticket.attempt
    }

    pub(super) fn live(&self, ticket: Ticket) -> bool {
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

    /// What waits for the follower may have waited long enough.
    pub(super) fn progress(&mut self, instance: usize) {
        let index = &self.instances[instance].core.index;
        let ready: Vec<u64> = self.instances[instance]
            .jobs
            .iter()
            .filter(|(_, job)| match &job.wait {
                Wait::Moved(judged, _) => judged.iter().any(|(key, at)| index.revision(key) > *at),
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
            let command = Command::settle(CommandId(self.chance.uuid()), key.clone());
            self.begin_deed(instance, command, None, Some(key));
        }
        self.publish_next(instance);
        self.heartbeat(instance);
        self.nudge(instance);
        let one = &self.instances[instance];
        let after = self.chance.between(self.setup.tick);
        let change = one.core.index.next_change().map_or(after, |at| {
            one.clock.when(at.0).saturating_sub(self.time).max(1)
        });
        self.after(after.min(change), Event::Tick(instance, incarnation));
    }
}
