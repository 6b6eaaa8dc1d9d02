//! The run: what is due next happens next.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    call::Begin,
    command::{Action, Refusal},
    deed::Fed,
    ids::{ExecutionId, Host, NodeId, Port, RequesterId, Transport},
    key::{Key, PortKey, Revision},
    mechanism::Mechanism,
    outbox::Told,
    record::{FORMAT, Stored, Sys},
    write::Write,
};

use super::{
    callers::Caller,
    chance::Chance,
    check::{Check, Violation},
    consumer::Message,
    faults::Fault,
    holder::Holder,
    instance::Instance,
    owner::Owner,
    setup::Setup,
    store::{Events, Store},
};

/// Which wait of which instance something is for; void when the instance has begun anew since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) instance: usize,
    pub(super) incarnation: u64,
    pub(super) job: u64,
    pub(super) attempt: u64,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Holder(usize),
    Owner(usize),
    Caller(usize),
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Holder(n) => write!(f, "holder {n}"),
            Self::Owner(n) => write!(f, "owner {n}"),
            Self::Caller(n) => write!(f, "caller {n}"),
        }
    }
}

/// A request on its way.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) who: Who,
    pub(super) life: u64,
    /// Which of its requests; a retry under the same request id is the same one.
    pub(super) request: usize,
    pub(super) action: Action,
}

/// What a caller is told.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Done(crate::domain::command::Answer),
    Refused(Refusal),
    /// The caller's deadline passed; whether anything was done is unknown, or nothing was.
    TimedOut {
        unknown: bool,
    },
}

#[derive(Debug, Clone)]
pub(super) enum Event {
    Land(Ticket, Vec<Write>),
    Publish(Ticket, Box<Told>, bool),
    Fed(Ticket, Fed),
    Wake(Ticket),
    /// On the instance's own clock.
    Deadline(Ticket, u64),
    Serve(usize, u64),
    Deliver(usize, u64, Box<Message>),
    Tick(usize, u64),
    Ask(usize, Box<Ask>),
    Reply(Box<(Ask, Outcome)>),
    Holder(usize, u64, u64),
    Owner(usize, u64),
    Caller(usize, u64),
    /// A call reaches a provider.
    Provide(usize, u64, ExecutionId, Box<Begin>),
    /// A provider's answer reaches an instance, or with none the call's time is up.
    Called(usize, u64, ExecutionId, Option<u64>),
    /// The server removes what lies under that key, if it still is at that revision.
    Remove(Key, Revision),
    Fault(Fault),
    Heal(Fault, usize),
    StrangerLeaves(PortKey),
    Calm,
}

pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) chance: Chance,
    pub(super) time: u64,
    pub(super) store: Store,
    pub(super) events: Events,
    pub(super) instances: Vec<Instance>,
    pub(super) holders: Vec<Holder>,
    pub(super) owners: Vec<Owner>,
    pub(super) callers: Vec<Caller>,
    /// The highest epoch that anyone who starts processes of a node has heard of.
    pub(super) epochs: BTreeMap<NodeId, u64>,
    /// Ports that programs have bound that never asked.
    pub(super) strangers: Vec<PortKey>,
    pub(super) down: bool,
    /// Rounds of events of which one was lost on the way.
    pub(super) broken: BTreeSet<(usize, u64)>,
    /// The faults have stopped.
    pub(super) calm: bool,
    pub(super) check: Check,
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) loud: bool,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
}

/// Prints what happens when the run is a replay.
macro_rules! trace {
    ($world:expr, $($what:tt)+) => {
        if $world.loud {
            eprintln!("{:>9} {}", $world.time, format_args!($($what)+));
        }
    };
}
pub(super) use trace;

/// How long the slowest things take after the faults have stopped, in milliseconds: a late write, the
/// longest TTL, a rest of a minute, a takeover of the checkpoint.
const SETTLE_MILLIS: u64 = 150_000;

/// How much later than it should the server removes a marker, at most, in milliseconds.
const MARKER_LATE_MILLIS: u64 = 5_000;

pub(super) fn host(own: bool) -> Host {
    if own { "here" } else { "there" }.parse().unwrap()
}

impl World {
    fn new(setup: Setup, seed: u64, loud: bool) -> Self {
        let mut chance = Chance::new(seed);
        let instances = (0..setup.instances)
            .map(|_| Instance::new(&mut chance, &setup))
            .collect();
        let shared = RequesterId(chance.uuid());
        let holders = (0..setup.holders)
            .map(|_| {
                let own = RequesterId(chance.uuid());
                let requester = if setup.one_requester { shared } else { own };
                Holder::new(&mut chance, requester)
            })
            .collect();
        let owners = Owner::all(&mut chance, &setup);
        Self {
            chance,
            time: 0,
            store: Store::default(),
            events: Events::default(),
            instances,
            holders,
            owners,
            callers: (0..setup.callers).map(|_| Caller::default()).collect(),
            epochs: BTreeMap::new(),
            strangers: Vec::new(),
            down: false,
            broken: BTreeSet::new(),
            calm: false,
            check: Check::default(),
            counts: BTreeMap::new(),
            loud,
            queue: BTreeMap::new(),
            queued: 0,
            setup,
        }
    }

    /// One run to its end, or to the first violation.
    pub(super) fn run(
        setup: Setup,
        seed: u64,
        loud: bool,
    ) -> Result<BTreeMap<&'static str, u64>, Violation> {
        let mut world = Self::new(setup, seed, loud);
        world.begin();
        let longest = 3_000 * u64::from(world.setup.ttl_max);
        let forgets = if world.setup.owners > 0 {
            world.setup.retention + world.setup.marker
        } else {
            0
        };
        let calls = if world.setup.callers > 0 {
            world.setup.calls_kept
        } else {
            0
        };
        let end = world.setup.trouble + SETTLE_MILLIS + longest + forgets.max(calls);
        while let Some(((at, _), event)) = world.queue.pop_first() {
            if at > end {
                break;
            }
            world.time = at;
            world.happen(event);
            if let Some(violation) = world.check.violation.take() {
                return Err(violation);
            }
        }
        world.settled();
        match world.check.violation.take() {
            Some(violation) => Err(violation),
            None => Ok(world.counts),
        }
    }

    fn begin(&mut self) {
        let sys = Sys {
            format: FORMAT,
            lineage: 0,
            ttl_max: self.setup.ttl_max.try_into().unwrap(),
            unknown: BTreeMap::default(),
        };
        self.store.put(Key::Sys, Stored::Sys(sys));
        for instance in 0..self.instances.len() {
            self.start(instance);
        }
        for holder in 0..self.holders.len() {
            let after = self.chance.below(3_000);
            self.alarm(holder, after);
        }
        for owner in 0..self.owners.len() {
            let after = self.chance.below(3_000);
            self.owner_alarm(owner, after);
        }
        for caller in 0..self.callers.len() {
            let after = self.chance.below(3_000);
            self.caller_alarm(caller, after);
        }
        for fault in Fault::ALL {
            self.plan(fault);
        }
        self.after(self.setup.trouble, Event::Calm);
    }

    pub(super) fn after(&mut self, millis: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((self.time + millis, self.queued), event);
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(super) fn latency(&mut self) -> u64 {
        self.chance.between(self.setup.latency)
    }

    /// True so often while things go wrong, never afterwards.
    pub(super) fn trouble(&mut self, per_mille: u64) -> bool {
        !self.calm && self.chance.hit(per_mille)
    }

    /// A port by its number in the pool.
    pub(super) fn port(own: bool, number: u16) -> PortKey {
        PortKey {
            host: host(own),
            transport: Transport::Tcp,
            port: Port::new(20_000 + number).unwrap(),
        }
    }

    /// Every port that can be granted.
    pub(super) fn ports(&self) -> Vec<PortKey> {
        [true, false]
            .into_iter()
            .flat_map(|own| (0..self.setup.ports).map(move |number| (own, number)))
            .map(|(own, number)| Self::port(own, number))
            .collect()
    }

    fn happen(&mut self, event: Event) {
        if let Some(instance) = event.inside()
            && self.instances[instance].paused
        {
            self.instances[instance].backlog.push(event);
            return;
        }
        match event {
            Event::Land(ticket, writes) => self.land(ticket, &writes),
            Event::Publish(ticket, told, last) => self.publish(ticket, &told, last),
            Event::Fed(ticket, fed) => self.feed(ticket, fed),
            Event::Wake(ticket) => self.wake(ticket),
            Event::Deadline(ticket, reading) => self.deadline(ticket, reading),
            Event::Serve(instance, subscription) => self.serve(instance, subscription),
            Event::Deliver(instance, subscription, message) => {
                self.deliver(instance, subscription, *message);
            }
            Event::Tick(instance, incarnation) => self.tick(instance, incarnation),
            Event::Ask(instance, ask) => self.asked(instance, *ask),
            Event::Reply(reply) => {
                let (ask, outcome) = *reply;
                match ask.who {
                    Who::Holder(holder) => self.replied(holder, ask, outcome),
                    Who::Owner(owner) => self.owner_replied(owner, ask, outcome),
                    Who::Caller(caller) => self.caller_replied(caller, &ask, &outcome),
                }
            }
            Event::Holder(holder, life, alarm) => self.holder(holder, life, alarm),
            Event::Owner(owner, alarm) => self.owner(owner, alarm),
            Event::Caller(caller, alarm) => self.caller(caller, alarm),
            Event::Provide(instance, incarnation, id, begin) => {
                self.provide(instance, incarnation, id, &begin);
            }
            Event::Called(instance, incarnation, id, result) => {
                self.called(instance, incarnation, id, result);
            }
            Event::Remove(key, revision) => {
                trace!(self, "removed @{} {key}", revision.0);
                self.store.remove(&key, revision);
            }
            Event::Fault(fault) => self.strike(fault),
            Event::Heal(fault, instance) => self.heal(fault, instance),
            Event::StrangerLeaves(key) => self.strangers.retain(|other| *other != key),
            Event::Calm => self.calm_down(),
        }
    }

    /// A write reaches the server.
    fn land(&mut self, ticket: Ticket, writes: &[Write]) {
        let shown = writes.iter().map(short).collect::<Vec<_>>().join(" + ");
        if self.down {
            trace!(self, "lost on the way: {shown}");
            return;
        }
        let checkpoint = writes.iter().any(|write| write.key == Key::Checkpoint);
        let compares = self.setup.checkpoint_compares || !checkpoint;
        let compare = self.setup.mechanisms.on(Mechanism::CompareAndSet) && compares;
        let whole = writes;
        let writes = if self.setup.mechanisms.on(Mechanism::AtomicBatch) {
            writes
        } else {
            // One after another: whatever comes in between comes in between.
            &writes[..1]
        };
        let before: Vec<_> = writes
            .iter()
            .map(|write| self.store.value(&write.key).cloned())
            .collect();
        let fed = if let Some(revision) = self.store.write(writes, compare) {
            trace!(
                self,
                "landed @{} {shown} from #{}", revision.0, ticket.instance
            );
            let first = revision.0 + 1 - writes.len() as u64;
            for (at, (write, before)) in (first..).zip(writes.iter().zip(before)) {
                self.landed(write, Revision(at), before.as_ref());
                if write.value == Stored::Forgotten {
                    let after = self.setup.marker + self.chance.below(MARKER_LATE_MILLIS);
                    self.after(after, Event::Remove(write.key.clone(), Revision(at)));
                }
            }
            self.landed_together(writes, revision);
            let left = &whole[writes.len()..];
            if !left.is_empty() {
                self.rouse();
                let after = self.latency();
                if self.live(ticket) {
                    self.after(after, Event::Land(ticket, left.to_vec()));
                }
                return;
            }
            Fed::Written(revision)
        } else {
            self.count("conflicts");
            trace!(self, "conflict {shown} from #{}", ticket.instance);
            Fed::Lost
        };
        self.rouse();
        if self.trouble(self.setup.ack_lost) || self.instances[ticket.instance].cut.is_some() {
            self.count("acks lost");
            return;
        }
        let after = self.latency();
        self.after(after, Event::Fed(ticket, fed));
    }

    /// Something is written over a key from outside.
    pub(super) fn overwrite(&mut self, key: &Key) {
        let before = self.store.value(key).cloned();
        let revision = self.store.put(key.clone(), Stored::Foreign);
        trace!(self, "foreign @{} {key}", revision.0);
        self.count("foreign");
        self.overwritten(key, revision, before.as_ref());
        self.rouse();
    }
}

impl Event {
    /// The instance whose process has to run for this to happen.
    fn inside(&self) -> Option<usize> {
        match self {
            Self::Fed(ticket, _) | Self::Wake(ticket) | Self::Deadline(ticket, _) => {
                Some(ticket.instance)
            }
            Self::Deliver(instance, ..)
            | Self::Tick(instance, _)
            | Self::Ask(instance, _)
            | Self::Called(instance, ..) => Some(*instance),
            _ => None,
        }
    }
}

fn short(write: &Write) -> String {
    let what = match &write.value {
        Stored::Port(record) => match record.lease() {
            Some(lease) => format!("lease {} ttl {}", lease.lease_id, lease.ttl.seconds()),
            None => format!("rest {:?}", record.body),
        },
        other => format!("{other:?}"),
    };
    format!("{} (at {}) {what}", write.key, write.expected.0)
}

/// As a position in the stream.
pub(super) fn revision(store: &Store) -> Revision {
    Revision(store.last)
}
