//! A store and instances that do only what a schedule says, and what schedules ask them for.

use std::sync::Arc;

use onex_types::{
    entry::{EntryHeader, Sequence},
    ids::{CommandId, Digest, LeaseId, Port, RequestId, RequesterId, Transport, Ttl},
    time::Now,
};
use uuid::Uuid;

use crate::{
    command::{Action, Answer, Command, GrantRequest, Outcome, Probed, Refusal},
    engine::{CONFIRM_MILLIS, Engine, Input, Job, JobId, Limits, NotAppended, Output},
    entry::{Change, CommandRecord, Entry},
    mechanism::{Mechanism, Mechanisms},
    record_parts::Request,
    settings::Settings,
};

use super::{
    instance::{Instance, host, load},
    store::Store,
    truth::records,
};

/// A store and instances that do only what a schedule says.
pub(super) struct Stage {
    pub(super) store: Store,
    pub(super) instances: Vec<Instance>,
    pub(super) t: u64,
    pub(super) replies: Vec<(JobId, Outcome)>,
    /// Appends that were sent and have not arrived: by whom, and what.
    pub(super) sent: Vec<(usize, Sequence, EntryHeader, Arc<[u8]>)>,
    pub(super) probes: Vec<(usize, LeaseId)>,
    pub(super) fetched: Vec<(usize, Sequence)>,
    pub(super) notes: Vec<String>,
    /// Below what the log is to be trimmed.
    pub(super) trims: Vec<Sequence>,
    /// What instances have applied.
    pub(super) applied: Vec<(usize, Arc<Entry>)>,
    pub(super) commands: u128,
}

impl Stage {
    /// That many instances, started, following, and the first of them named.
    pub(super) fn new(instances: usize, mechanisms: Mechanisms) -> Self {
        let limits = Limits {
            snapshot_bytes: usize::MAX,
            snapshot_millis: u64::MAX,
            chunk_bytes: 300,
            ..Limits::default()
        };
        let mut stage = Self::empty(instances, mechanisms, &limits);
        for index in 0..instances {
            stage.start(index);
            stage.settle();
        }
        stage
    }

    /// One instance whose log is made with these settings.
    pub(super) fn with_settings(settings: &Settings) -> Self {
        let limits = Limits {
            snapshot_bytes: usize::MAX,
            snapshot_millis: u64::MAX,
            chunk_bytes: 300,
            ..Limits::default()
        };
        let mut stage = Self::empty(1, Mechanisms::default(), &limits);
        stage.instances[0].settings = settings.clone();
        stage.start(0);
        stage.settle();
        stage
    }

    pub(super) fn empty(instances: usize, mechanisms: Mechanisms, limits: &Limits) -> Self {
        Self {
            store: Store::new(),
            instances: (0..instances)
                .map(|_| Instance::new(mechanisms, limits.clone()))
                .collect(),
            // Far enough from the start of every clock that a TTL can be reckoned back.
            t: 10_000_000,
            replies: Vec::new(),
            sent: Vec::new(),
            probes: Vec::new(),
            fetched: Vec::new(),
            notes: Vec::new(),
            trims: Vec::new(),
            applied: Vec::new(),
            commands: 1 << 64,
        }
    }

    pub(super) fn start(&mut self, index: usize) {
        let inputs = self.instances[index]
            .start(index, &self.store, self.t)
            .unwrap();
        self.input(index, inputs);
        self.follow(index);
    }

    pub(super) fn follow(&mut self, index: usize) {
        let following = self.instances[index].follow(&self.store).unwrap();
        self.input(index, [following]);
    }

    pub(super) fn engine(&self, index: usize) -> &Engine {
        self.instances[index].engine.as_ref().unwrap()
    }

    pub(super) fn now(&self, index: usize) -> Now {
        self.instances[index].now(self.t)
    }

    pub(super) fn input(&mut self, index: usize, inputs: impl IntoIterator<Item = Input>) {
        let now = self.now(index);
        let engine = self.instances[index].engine.as_mut().unwrap();
        for output in engine.handle(inputs, now) {
            match output {
                Output::Append {
                    expected,
                    header,
                    bytes,
                } => {
                    self.sent.push((index, expected, header, bytes));
                }
                Output::Reply(job, outcome) => self.replies.push((job, outcome)),
                Output::Probe { lease_id, .. } => self.probes.push((index, lease_id)),
                Output::Fetch(sequence) => self.fetched.push((index, sequence)),
                Output::ReadAgain => self.notes.push(format!("I{index} reads again")),
                Output::Follow => self.notes.push(format!("I{index} follows anew")),
                Output::Fatal(fatal) => self.notes.push(format!("I{index} stops: {fatal}")),
                Output::Foreign(at) => self.notes.push(format!("I{index}: {at} is void")),
                Output::Trim(below) => {
                    self.notes.push(format!("I{index} trims below {below}"));
                    self.trims.push(below);
                }
                Output::Applied { entry, .. } => self.applied.push((index, entry)),
            }
        }
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.t += millis;
        for index in 0..self.instances.len() {
            if self.instances[index].engine.is_some() {
                self.input(index, [Input::Tick]);
            }
        }
    }

    /// The first append that is under way arrives at the server. Whether it landed is returned.
    pub(super) fn arrive(&mut self) -> Option<Sequence> {
        let (_, expected, header, bytes) = self.sent.remove(0);
        self.store.append(Some(expected), Some(header), bytes)
    }

    /// The first append arrives, and its sender hears of it.
    pub(super) fn arrive_acked(&mut self) -> Option<Sequence> {
        let (index, _, header, _) = self.sent[0].clone();
        let landed = self.arrive();
        let id = header.id;
        let input = match landed {
            Some(sequence) => Input::Acked { id, sequence },
            None => Input::Refused {
                id,
                why: NotAppended::Conflict,
            },
        };
        self.input(index, [input]);
        landed
    }

    /// An instance's follower delivers everything that is there.
    pub(super) fn deliver(&mut self, index: usize) {
        while let Some(next) = self.instances[index]
            .next
            .filter(|next| *next <= self.store.last())
        {
            self.instances[index].next = Some(next.next());
            let Some(delivered) = self.store.delivered(next) else {
                return;
            };
            self.input(index, [Input::Delivered(delivered)]);
        }
    }

    /// Everything arrives and is delivered, until nothing is under way.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            while !self.sent.is_empty() {
                self.arrive_acked();
            }
            let before = self.heads();
            for index in 0..self.instances.len() {
                if self.instances[index].engine.is_some() {
                    self.deliver(index);
                }
            }
            if self.heads() != before || !self.sent.is_empty() {
                continue;
            }
            if !self.waits_for_an_entry() {
                return;
            }
            // Entries that change nothing are a few milliseconds apart.
            self.pass(5);
        }
    }

    /// Everything arrives, and what was found free is confirmed.
    pub(super) fn confirm(&mut self) {
        self.settle();
        self.pass(CONFIRM_MILLIS);
        self.settle();
    }

    fn heads(&self) -> Vec<Sequence> {
        let engines = self.instances.iter().filter_map(|one| one.engine.as_ref());
        engines.map(Engine::head).collect()
    }

    fn waits_for_an_entry(&self) -> bool {
        let engines = self.instances.iter().filter_map(|one| one.engine.as_ref());
        engines.into_iter().any(Engine::has_queued)
    }

    /// Asks an instance; it decides at once if it can.
    pub(super) fn ask(&mut self, index: usize, action: Action) -> JobId {
        self.ask_until(index, action, 4_000)
    }

    pub(super) fn ask_until(&mut self, index: usize, action: Action, millis: u64) -> JobId {
        self.commands += 1;
        // A grant in the place of one that was taken back has the next id.
        let id = CommandId(Uuid::from_u128(self.commands * 1_000));
        let job = JobId(u64::try_from(self.commands - (1 << 64)).unwrap());
        let command = Command {
            id,
            correlation_id: None,
            action,
        };
        let deadline = self.now(index).mono.plus(millis);
        self.input(
            index,
            [Input::Command(Job {
                id: Some(job),
                command,
                deadline,
            })],
        );
        job
    }

    pub(super) fn reply(&self, job: JobId) -> Option<&Outcome> {
        self.replies
            .iter()
            .find(|(id, _)| *id == job)
            .map(|(_, outcome)| outcome)
    }

    /// The lease that a job was answered with.
    pub(super) fn lease(&self, job: JobId) -> Option<(LeaseId, u16)> {
        match &self.reply(job)?.result {
            Ok(Answer::Lease(held)) => Some((held.lease.lease_id, held.key.port.number())),
            _ => None,
        }
    }

    pub(super) fn refusal(&self, job: JobId) -> Option<&Refusal> {
        self.reply(job)?.result.as_ref().err()
    }

    /// The tried port of the first probe can be bound, or not.
    pub(super) fn probed(&mut self, probed: Probed) {
        if !self.probes.is_empty() {
            let (index, lease_id) = self.probes.remove(0);
            let in_use = Vec::new();
            self.input(
                index,
                [Input::Probed {
                    lease_id,
                    probed,
                    in_use,
                }],
            );
        }
    }

    /// Whether every instance that runs has the records of one that starts now.
    pub(super) fn alike(&self) -> bool {
        let now = self.now(0);
        let loaded = load(&self.store, None, Mechanisms::default(), now);
        let fresh = loaded.map(|loaded| records(loaded.state()));
        let engines = self
            .instances
            .iter()
            .filter_map(|instance| instance.engine.as_ref());
        engines
            .into_iter()
            .all(|engine| Ok(records(engine.state())) == fresh)
    }

    /// What an instance has applied since it started, in the order of the log.
    pub(super) fn changes(&self, index: usize) -> Vec<Change> {
        let entries = self.applied.iter().filter(|(at, _)| *at == index);
        let commands = entries.flat_map(|(_, entry)| &entry.cmds);
        commands.flat_map(CommandRecord::changes).cloned().collect()
    }

    /// Somebody else writes.
    pub(super) fn foreign(&mut self, header: Option<EntryHeader>) {
        self.store.append(None, header, b"{}".as_slice().into());
    }

    /// What that instance has sent arrives; the others hear of nothing.
    pub(super) fn settle_only(&mut self, index: usize) {
        while let Some(at) = self.sent.iter().position(|(from, ..)| *from == index) {
            let append = self.sent.remove(at);
            self.sent.insert(0, append);
            self.arrive_acked();
        }
    }

    pub(super) fn holds(&self, lease_id: LeaseId) -> bool {
        let state = self.engine(0).state();
        let key = state.indexes.lease(lease_id);
        key.and_then(|key| state.lease(key))
            .is_some_and(|(_, lease)| lease.lease_id == lease_id)
    }
}

pub(super) fn requester(n: u128) -> RequesterId {
    RequesterId(Uuid::from_u128(n))
}

pub(super) fn wants(n: u128, ttl: u32, request: Option<u128>, port: Option<u16>) -> Action {
    Action::Lease(Box::new(GrantRequest {
        requester_id: requester(n),
        protocol: "p".parse().unwrap(),
        ttl: Ttl::try_from(ttl).unwrap(),
        owner: None,
        host: host(),
        transport: Transport::Tcp,
        both: false,
        count: 1,
        contiguous: false,
        preferred: port.and_then(Port::new),
        exact: port.is_some(),
        name: None,
        labels: Vec::new(),
        holder: None,
        requested_at: None,
        request: request.map(named),
    }))
}

pub(super) fn named(n: u128) -> Request {
    Request {
        id: RequestId(Uuid::from_u128(n)),
        digest: Digest(Uuid::from_u128(n)),
    }
}

pub(super) fn renew(n: u128, lease_id: LeaseId, ttl: Option<u32>) -> Action {
    let ttl = ttl.map(|ttl| Ttl::try_from(ttl).unwrap());
    Action::Renew {
        requester_id: requester(n),
        lease_id,
        ttl,
        request: None,
    }
}

pub(super) fn release(n: u128, lease_id: LeaseId) -> Action {
    Action::Release {
        requester_id: requester(n),
        lease_id,
        request: None,
    }
}

/// Runs a schedule as the engine is, and without a mechanism: it must hold, and must not.
#[track_caller]
pub(super) fn needs(mechanism: Mechanism, schedule: impl Fn(Mechanisms) -> bool) {
    assert!(
        schedule(Mechanisms::default()),
        "the schedule does not hold"
    );
    let without = Mechanisms::default().without(mechanism);
    assert!(
        !schedule(without),
        "the schedule holds without {mechanism:?}"
    );
}

/// A stage on which requester 1 holds port 20000, granted by instance 0, for `ttl` seconds.
pub(super) fn held(instances: usize, mechanisms: Mechanisms, ttl: u32) -> (Stage, LeaseId) {
    let mut stage = Stage::new(instances, mechanisms);
    let job = stage.ask(0, wants(1, ttl, Some(1), Some(20_000)));
    stage.settle();
    stage.probed(Probed::Bindable);
    stage.settle();
    let (lease_id, _) = stage.lease(job).unwrap();
    (stage, lease_id)
}
