//! Schedules that broke designs, step by step: each holds as the engine is, and breaks without the mechanism that it
//! names.

use onex_types::{
    entry::{EntryHeader, EntryId, Sequence},
    ids::{CommandId, Digest, LeaseId, Port, RequestId, RequesterId, Transport, Ttl},
    time::Now,
};
use uuid::Uuid;

use crate::{
    command::{Action, Answer, Command, GrantRequest, Outcome, Probed, Refusal},
    engine::{Engine, Input, Job, JobId, Limits, Output},
    mechanism::{Mechanism, Mechanisms},
    record::{LeaseEnd, Request},
};

use super::{
    instance::{Instance, clock, host, load},
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
    pub(super) sent: Vec<(usize, Sequence, EntryHeader, std::sync::Arc<[u8]>)>,
    pub(super) probes: Vec<(usize, LeaseId)>,
    pub(super) fetched: Vec<(usize, Sequence)>,
    pub(super) notes: Vec<String>,
    commands: u128,
}

impl Stage {
    /// That many instances, started, following, and the first of them named.
    pub(super) fn new(instances: usize, mechanisms: Mechanisms) -> Self {
        let limits = Limits {
            snapshot_bytes: usize::MAX,
            snapshot_millis: u64::MAX,
            chunk_bytes: 300,
        };
        let mut stage = Self::empty(instances, mechanisms, &limits);
        for index in 0..instances {
            stage.start(index);
            stage.settle();
        }
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
                Output::Trim(below) => self.notes.push(format!("I{index} trims below {below}")),
                Output::Applied { .. } => {}
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
            None => Input::Refused { id, conflict: true },
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
        let id = CommandId(Uuid::from_u128(self.commands));
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
            self.input(index, [Input::Probed { lease_id, probed }]);
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

    /// Somebody else writes.
    pub(super) fn foreign(&mut self, header: Option<EntryHeader>) {
        self.store.append(None, header, b"{}".as_slice().into());
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
        host: host(),
        transport: Transport::Tcp,
        preferred: port.and_then(Port::new),
        exact: port.is_some(),
        name: None,
        labels: Vec::new(),
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

#[test]
fn s02_a_lagging_instance_does_not_end_what_was_renewed() {
    let (mut stage, lease_id) = held(2, Mechanisms::default(), 4);
    // Instance 1 has not seen the renewal when it finds the lease due.
    stage.t += 3_000;
    stage.ask(0, renew(1, lease_id, None));
    stage.arrive_acked().unwrap();
    stage.t += 3_000;
    stage.input(1, [Input::Tick]);
    assert_eq!(stage.arrive_acked(), None, "its end must lose");
    stage.settle();
    assert_eq!(stage.engine(1).state().indexes.held(requester(1)), 1);
    assert!(stage.alike());
}

#[test]
fn s03_a_ttl_counts_from_when_an_instance_applies_it() {
    needs(Mechanism::OwnClock, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        // The granter's wall clock is ten minutes slow.
        stage.instances[0].skew = -600_000;
        let job = stage.ask(0, wants(1, 8, None, Some(20_000)));
        stage.settle();
        stage.probed(Probed::Bindable);
        stage.settle();
        assert!(stage.lease(job).is_some());
        stage.pass(2_000);
        stage.settle();
        stage.engine(1).state().indexes.held(requester(1)) == 1
    });
}

#[test]
fn s04_a_registry_counts_longer_than_a_holder_whose_clock_is_slow() {
    needs(Mechanism::Slack, |mechanisms| {
        let (mut stage, _) = held(1, mechanisms, 8);
        // A clock that is slow by four in ten thousand.
        let granted = clock(stage.t, -400);
        while clock(stage.t, -400).since(granted) < 8_000 {
            stage.pass(1);
            stage.settle();
            let holds = clock(stage.t, -400).since(granted) < 8_000;
            if holds && stage.engine(0).state().indexes.held(requester(1)) == 0 {
                return false;
            }
        }
        true
    });
}

#[test]
fn s05_a_retry_gets_the_lease_that_its_request_got() {
    needs(Mechanism::Idempotency, |mechanisms| {
        let (mut stage, lease_id) = held(2, mechanisms, 8);
        let again = stage.ask(1, wants(1, 8, Some(1), Some(20_000)));
        stage.settle();
        stage.lease(again) == Some((lease_id, 20_000))
    });
}

#[test]
fn s06_a_late_copy_of_a_request_does_not_revive_its_lease() {
    needs(Mechanism::Idempotency, |mechanisms| {
        let (mut stage, lease_id) = held(2, mechanisms, 8);
        stage.ask(0, release(1, lease_id));
        stage.settle();
        // The port is granted to others since, so the request is remembered in a slot.
        let other = stage.ask(1, wants(2, 8, Some(2), Some(20_000)));
        stage.settle();
        stage.probed(Probed::Bindable);
        stage.settle();
        assert!(stage.lease(other).is_some());
        let late = stage.ask(1, wants(1, 8, Some(1), None));
        stage.settle();
        stage.refusal(late) == Some(&Refusal::LeaseExpired)
    });
}

#[test]
fn s23_a_heartbeat_does_not_shorten() {
    needs(Mechanism::OnlyLengthens, |mechanisms| {
        let (mut stage, lease_id) = held(1, mechanisms, 8);
        // Its reply is lost: the holder goes on counting eight seconds.
        stage.ask(0, renew(1, lease_id, Some(2)));
        stage.settle();
        stage.pass(6_000);
        stage.settle();
        stage.engine(0).state().indexes.held(requester(1)) == 1
    });
}

#[test]
fn two_instances_that_append_at_once_leave_nothing_void_in_the_log() {
    // The predecessor alone would keep them apart, and leave a void message for each loss.
    let mut stage = Stage::new(2, Mechanisms::default());
    for round in 0..20 {
        stage.ask(0, wants(10 + round, 8, None, None));
        stage.ask(1, wants(50 + round, 8, None, None));
        stage.settle();
    }
    let void = |stage: &Stage| stage.notes.iter().any(|note| note.contains("void"));
    assert!(!void(&stage), "{:?}", stage.notes);
    assert!(stage.alike());
    // Without the comparison:
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.ask(0, wants(1, 8, None, None));
    stage.ask(1, wants(2, 8, None, None));
    for (_, _, header, bytes) in std::mem::take(&mut stage.sent) {
        stage.store.append(None, Some(header), bytes);
    }
    stage.settle();
    assert!(void(&stage));
    assert!(stage.alike());
}

#[test]
fn s26_an_entry_whose_own_copy_is_refused_has_landed() {
    needs(Mechanism::RepeatSameEntry, |mechanisms| {
        let mut stage = Stage::new(1, mechanisms);
        let job = stage.ask(0, wants(1, 8, Some(1), None));
        // It lands, and neither its acknowledgement nor its delivery comes.
        stage.arrive().unwrap();
        stage.pass(1_000);
        let (_, _, again, _) = stage.sent[0].clone();
        let same = stage.store.get(stage.store.last()).unwrap().header == Some(again);
        stage.arrive_acked();
        stage.settle();
        stage.probed(Probed::Bindable);
        stage.settle();
        same && stage.lease(job).is_some() && stage.alike()
    });
}

#[test]
fn s27_a_refusal_that_names_a_winner_which_never_lands_decides_nothing() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let job = stage.ask(0, wants(1, 8, Some(1), None));
    let (_, expected, header, _) = stage.sent.remove(0);
    stage.input(
        0,
        [Input::Refused {
            id: header.id,
            conflict: true,
        }],
    );
    stage.pass(100);
    assert_eq!(stage.fetched, [(0, expected.next())]);
    assert!(stage.sent.is_empty());
    stage.input(0, [Input::Absent(expected.next())]);
    assert_eq!(stage.sent[0].2, header, "the same entry again");
    stage.settle();
    stage.probed(Probed::Bindable);
    stage.settle();
    assert!(stage.lease(job).is_some());
}

/// An instance's entries 2 and 3 are in a store that comes back at 1, where the other instance has appended others.
fn forked(mechanisms: Mechanisms) -> (Stage, JobId) {
    let mut stage = Stage::new(2, mechanisms);
    let common = stage.store.last();
    stage.ask(0, wants(1, 8, None, None));
    stage.arrive_acked().unwrap();
    // The server loses what it had not synced. Instance 1 never saw it.
    stage.input(0, [Input::Disconnected]);
    stage.store.go_back(common);
    let job = stage.ask(0, wants(1, 8, Some(9), None));
    stage.ask(1, wants(2, 8, None, None));
    stage.arrive_acked().unwrap();
    (stage, job)
}

#[test]
fn s28_a_fork_is_noticed_by_what_is_at_the_applied_position() {
    let (mut stage, _) = forked(Mechanisms::default());
    stage.follow(0);
    assert_eq!(stage.notes.last().unwrap(), "I0 reads again");
    let known = stage.engine(0).known();
    let now = stage.now(0);
    let again = load(&stage.store, Some(known), Mechanisms::default(), now);
    assert!(matches!(again, Err(crate::engine::StartError::WentBack(_))));
}

#[test]
fn s50_an_acknowledgement_from_behind_a_fork_does_not_count() {
    needs(Mechanism::FitBeforeAck, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        let common = stage.store.last();
        stage.ask(0, wants(1, 8, None, None));
        stage.arrive_acked().unwrap();
        stage.probes.clear();
        // An append is in the client's buffer when the server goes, and leaves on reconnect.
        let job = stage.ask(0, wants(3, 8, Some(9), Some(20_005)));
        let buffered = stage.sent.remove(0);
        stage.input(0, [Input::Disconnected]);
        stage.store.go_back(common);
        stage.ask(1, wants(2, 8, None, None));
        stage.arrive_acked().unwrap();
        stage.sent = vec![buffered];
        stage.arrive_acked();
        stage.lease(job).is_none() && stage.probes.iter().all(|(index, _)| *index != 0)
    });
}

#[test]
fn a_message_behind_a_fork_is_void_for_its_sender_too() {
    needs(Mechanism::VoidForAll, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        let job = stage.ask(0, wants(1, 8, None, None));
        // A copy of its own entry with another predecessor, as a restored store may hold it.
        let (_, expected, header, bytes) = stage.sent.remove(0);
        let wrong = EntryHeader {
            predecessor: EntryId(Uuid::from_u128(77)),
            ..header
        };
        stage
            .store
            .append(Some(expected), Some(wrong), bytes)
            .unwrap();
        stage.deliver(0);
        stage.deliver(1);
        let told = stage.lease(job).is_some() || !stage.probes.is_empty();
        !told && records(stage.engine(1).state()).len() < 10_000
    });
}

#[test]
fn s29_only_an_entry_that_was_first_sent_after_the_question_answers_it() {
    needs(Mechanism::OutcomeHeldByEntry, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        // Instance 0's empty entry is under way; instance 1 grants behind it; then instance 0 is asked for that lease.
        stage.t += 6_000;
        stage.input(0, [Input::Tick]);
        stage.arrive().unwrap();
        let grant = stage.ask(1, wants(1, 8, Some(1), None));
        stage.deliver(1);
        stage.settle_only(1);
        stage.probed(Probed::Bindable);
        let (lease_id, _) = stage.lease(grant).unwrap();
        let find = stage.ask(0, Action::Find(lease_id));
        stage.t += 10;
        stage.settle();
        stage.pass(10);
        stage.settle();
        stage.lease(find).map(|(found, _)| found) == Some(lease_id)
    });
}

impl Stage {
    /// What that instance has sent arrives; the others hear of nothing.
    fn settle_only(&mut self, index: usize) {
        while let Some(at) = self.sent.iter().position(|(from, ..)| *from == index) {
            let append = self.sent.remove(at);
            self.sent.insert(0, append);
            self.arrive_acked();
        }
    }
}

#[test]
fn s30_a_command_past_its_deadline_is_not_decided_again() {
    needs(Mechanism::CommandDeadline, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        let job = stage.ask_until(0, wants(1, 8, Some(1), Some(20_000)), 2_000);
        // Its entry is under way for an hour, and then another instance's is in its place.
        let stuck = stage.sent.remove(0);
        stage.pass(2_000);
        let told = stage.refusal(job).cloned();
        stage.t += 3_600_000;
        stage.ask(1, wants(2, 8, None, Some(20_001)));
        stage.settle_only(1);
        drop(stuck);
        stage.settle();
        stage.pass(100);
        stage.settle();
        told == Some(Refusal::Unknown) && stage.engine(1).state().indexes.held(requester(1)) == 0
    });
}

#[test]
fn s31_after_a_loss_a_command_is_decided_on_the_winners_state() {
    needs(Mechanism::UndoOnLoss, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        let own = stage.ask(0, wants(1, 8, Some(1), Some(20_000)));
        let other = stage.ask(1, wants(2, 8, Some(2), Some(20_000)));
        // The second one lands first.
        stage.sent.swap(0, 1);
        stage.settle();
        stage.pass(10);
        stage.settle();
        while !stage.probes.is_empty() {
            stage.probed(Probed::Bindable);
        }
        stage.settle();
        let refused = matches!(stage.refusal(own), Some(Refusal::PortUnavailable { .. }));
        refused && stage.lease(other).is_some() && stage.alike()
    });
}

#[test]
fn s32_a_grant_that_somebody_was_told_of_is_not_rolled_back() {
    needs(Mechanism::TentativeGrants, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        stage.ask(0, wants(1, 8, Some(1), Some(20_000)));
        stage.settle();
        // Its port is being tried. The retry reaches another instance, which vouches for the grant.
        let retry = stage.ask(1, wants(1, 8, Some(1), Some(20_000)));
        stage.settle();
        stage.pass(300);
        // The try finds the port in use: by the holder, if the retry was answered at once.
        stage.probed(Probed::InUse);
        stage.settle();
        stage.pass(1_300);
        stage.settle();
        stage
            .lease(retry)
            .is_some_and(|(lease_id, _)| stage.holds(lease_id))
    });
}

impl Stage {
    fn holds(&self, lease_id: LeaseId) -> bool {
        let state = self.engine(0).state();
        let key = state.indexes.lease(lease_id);
        key.and_then(|key| state.lease(key))
            .is_some_and(|(_, lease)| lease.lease_id == lease_id)
    }
}

#[test]
fn s32_the_answer_to_a_retry_waits_until_nobody_tries_the_port() {
    needs(Mechanism::ConfirmWaits, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        stage.ask(0, wants(1, 8, Some(1), Some(20_000)));
        stage.settle();
        let granted = stage.t;
        let retry = stage.ask(1, wants(1, 8, Some(1), Some(20_000)));
        stage.settle();
        while stage.lease(retry).is_none() && stage.t < granted + 3_000 {
            stage.pass(50);
            stage.settle();
        }
        stage.lease(retry).is_some() && stage.t - granted > crate::engine::PROBE_MILLIS
    });
}

#[test]
fn s33_a_retry_after_its_granter_died_is_not_told_that_the_port_was_tried() {
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.ask(0, wants(1, 8, Some(1), Some(20_000)));
    stage.settle();
    stage.instances[0].engine = None;
    let retry = stage.ask(1, wants(1, 8, Some(1), Some(20_000)));
    stage.settle();
    stage.pass(1_300);
    stage.settle();
    let outcome = stage.reply(retry).unwrap();
    assert!(matches!(&outcome.result, Ok(Answer::Lease(held)) if !held.verified));
    // And of those probes that there were, none is of the instance that answers (s47).
    assert!(stage.probes.iter().all(|(index, _)| *index == 0));
}

#[test]
fn a_port_in_use_is_quarantined_and_another_granted_in_one_command() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let job = stage.ask(0, wants(1, 8, Some(1), None));
    stage.settle();
    let before = stage.store.last();
    stage.probed(Probed::InUse);
    stage.arrive_acked().unwrap();
    assert_eq!(stage.store.last(), before.next());
    assert!(stage.reply(job).is_none());
    stage.probed(Probed::Bindable);
    stage.settle();
    assert!(stage.lease(job).is_some());
    let pool = stage
        .engine(0)
        .state()
        .pool(&host(), Transport::Tcp)
        .unwrap()
        .counts();
    assert_eq!((pool.held, pool.quarantined), (1, 1));
    assert!(stage.alike());
}

#[test]
fn an_exact_port_in_use_is_refused_and_the_grant_taken_back() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let job = stage.ask(0, wants(1, 8, Some(1), Some(20_002)));
    stage.settle();
    stage.probed(Probed::InUse);
    stage.settle();
    assert!(matches!(
        stage.refusal(job),
        Some(Refusal::PortUnavailable { .. })
    ));
    assert_eq!(stage.engine(0).state().indexes.held(requester(1)), 0);
    // The caller never got that lease: the same request may ask again.
    let again = stage.ask(0, wants(1, 8, Some(1), Some(20_003)));
    stage.settle();
    assert_ne!(stage.refusal(again), Some(&Refusal::LeaseExpired));
}

#[test]
fn s38_what_others_write_is_void_for_all_and_the_next_append_fits_behind_it() {
    needs(Mechanism::PredecessorChain, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        let copied = stage.store.get(stage.store.last()).unwrap().header.unwrap();
        let wrong = EntryHeader {
            id: EntryId(Uuid::from_u128(3)),
            predecessor: EntryId::NONE,
            ..copied
        };
        for header in [None, Some(copied), Some(wrong)] {
            stage.foreign(header);
            let job = stage.ask(0, wants(1, 8, None, None));
            stage.settle();
            stage.pass(120);
            if stage.fetched.pop().is_some() {
                stage.deliver(0);
            }
            stage.settle();
            while !stage.probes.is_empty() {
                stage.probed(Probed::Bindable);
            }
            stage.settle();
            if stage.lease(job).is_none() || !stage.alike() {
                return false;
            }
        }
        true
    });
}

#[test]
fn s42_queued_heartbeats_are_taken_before_leases_that_are_due() {
    needs(Mechanism::RequestsBeforeTimers, |mechanisms| {
        let (mut stage, lease_id) = held(1, mechanisms, 4);
        // The server is away for longer than the TTL; the heartbeat waits.
        stage.input(0, [Input::Disconnected]);
        stage.t += 20_000;
        let beat = stage.ask(0, renew(1, lease_id, None));
        stage.follow(0);
        stage.settle();
        stage.pass(10);
        stage.settle();
        stage.lease(beat).is_some() && stage.engine(0).state().indexes.held(requester(1)) == 1
    });
}

#[test]
fn s48_fencing_tokens_of_a_port_grow() {
    let mut stage = Stage::new(2, Mechanisms::default());
    let mut last = 0;
    for round in 0..6_u32 {
        let index = usize::try_from(round % 2).unwrap();
        let job = stage.ask(index, wants(1, 8, None, Some(20_000)));
        stage.settle();
        stage.probed(Probed::Bindable);
        stage.settle();
        let Ok(Answer::Lease(first)) = stage.reply(job).unwrap().result.clone() else {
            panic!("not granted")
        };
        assert!(first.lease.fence > last);
        last = first.lease.fence;
        let beat = stage.ask(1 - index, renew(1, first.lease.lease_id, None));
        stage.settle();
        let renewed = stage.reply(beat).unwrap();
        assert!(renewed.revision > last);
        assert!(matches!(&renewed.result, Ok(Answer::Lease(held)) if held.lease.fence == last));
        stage.ask(index, release(1, first.lease.lease_id));
        stage.settle();
    }
}

#[test]
fn s49_a_lagging_instance_does_not_say_that_an_ended_lease_is_live() {
    needs(Mechanism::OutcomeHeldByEntry, |mechanisms| {
        let (mut stage, lease_id) = held(2, mechanisms, 8);
        stage.ask(1, release(1, lease_id));
        stage.arrive_acked().unwrap();
        // Instance 0 has not seen the release.
        let retry = stage.ask(0, wants(1, 8, Some(1), Some(20_000)));
        stage.settle();
        stage.pass(10);
        stage.settle();
        stage.refusal(retry) == Some(&Refusal::LeaseExpired)
    });
}

#[test]
fn a_release_is_answered_again_as_long_as_it_is_remembered() {
    let (mut stage, lease_id) = held(2, Mechanisms::default(), 8);
    for index in [0, 1, 0] {
        let job = stage.ask(index, release(1, lease_id));
        stage.settle();
        stage.pass(10);
        stage.settle();
        let outcome = stage.reply(job).unwrap().result.clone();
        assert!(matches!(
            outcome,
            Ok(Answer::Ended {
                how: LeaseEnd::Released,
                ..
            })
        ));
    }
}
