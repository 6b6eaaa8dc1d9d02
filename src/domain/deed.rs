//! One command from its arrival to its outcome, as a state machine: it says what to do next and is fed
//! what came of it. It does nothing itself; the service and the simulation drive the same one.

use std::sync::Arc;

use super::{
    command::{Action, Answer, Command, Decision, Effect, Held, Probed, Refusal, Unavailable},
    core::Core,
    decide::decide,
    ids::{CommandId, LeaseId},
    key::{Key, PortKey, Revision},
    mechanism::Mechanism,
    record::Ended,
    review::Review,
    time::{Moment, Now},
    write::Write,
};

/// How often a command is decided again after others wrote its keys; then it is CONTENDED.
pub const TRIES_MAX: u32 = 24;
/// How many ports are tried that other programs turn out to use; then the pool counts as exhausted.
pub const PROBES_MAX: u32 = 64;
/// Ports in use after which each further try waits: the pool is crowded.
const PROBES_UNPAUSED_MAX: u32 = 4;
/// How long after the grant was decided on its port may be tried, in milliseconds; no TTL is shorter.
/// Later the lease may have ended without this instance knowing: its time was up, or another instance
/// told the caller of it, who gave it back. Then the port may be someone else's.
const PROBE_AFTER_MILLIS_MAX: u64 = 1_000;
/// How often a refusal that an index which lags could be the reason for waits for an exact point; where so
/// much is written that there is none when it is judged, it is said all the same.
const LOOKS_MAX: u32 = 8;
/// What a client is told to wait when the pool is full of other programs, in milliseconds.
const CROWDED_RETRY_MILLIS: u64 = 1_000;

/// What to do next. Each is fed back with [`Fed::Go`] when it is done, unless its line says otherwise.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Pass a barrier. [`Fed::Failed`] when that cannot be had.
    Barrier,
    /// Write, in one piece. Fed back with what the store said; a revision is that of the last one.
    Write(Arc<[Write]>),
    /// Wait until the follower shows one of those keys past its revision.
    Moved(Vec<(Key, Revision)>),
    /// Wait for an exact point at that revision or later.
    Exact(Revision),
    /// Try to bind the port, if [`Deed::may_probe`] at that moment. Fed back with what came of it.
    Probe(PortKey),
    /// Wait a random time that grows with the number.
    Pause(u32),
    /// It has an outcome. With [`Refusal::Unreachable`], [`Deed::is_unsettled`] says whether something
    /// may have been done all the same.
    Done(Result<Answer, Refusal>),
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fed {
    /// It is done.
    Go,
    /// The barrier cannot be had.
    Failed,
    /// The store acknowledged the write at that revision.
    Written(Revision),
    /// The key was at another revision: the write can never land.
    Lost,
    /// Nobody knows: the write may have landed, or may still land.
    Unknown,
    /// The write never left, or nobody was there to take it.
    Unsent,
    /// What was to be written could not be read back: it was not sent, and never will be.
    Unreadable,
    /// What trying the port said.
    Probed(Probed),
}

#[derive(Debug)]
enum State {
    Deciding,
    Confirming,
    ProbingFirst(Arc<[Write]>, Answer, Effect),
    Writing(Arc<[Write]>, Answer, Effect),
    Repeating(Arc<[Write]>, Answer, Effect),
    Moving(Vec<Key>),
    Seeing(Answer),
    Probing(PortKey, Answer),
    Done,
}

/// A command under way.
#[derive(Debug)]
pub struct Deed {
    command: Command,
    /// What has to be ended before the command goes on.
    undo: Option<Command>,
    deadline: Moment,
    state: State,
    tries: u32,
    turns: u32,
    probes: u32,
    looks: u32,
    probed: bool,
    /// A lease or execution of this command's id may have been in the stream and have ended: another one needs
    /// another id, because an end is final.
    spent: bool,
    /// When the grant was decided on.
    granting: Moment,
    /// What had been seen when the last write was decided on.
    decided: Revision,
    unsettled: bool,
    /// What keeps it from going on, while it pauses for that.
    waits: Option<Refusal>,
}

impl Deed {
    /// Begins no new write at or after `deadline`; what is begun is settled.
    pub fn new(command: Command, deadline: Moment) -> Self {
        Self {
            command,
            undo: None,
            deadline,
            state: State::Deciding,
            tries: 0,
            turns: 0,
            probes: 0,
            looks: 0,
            probed: false,
            spent: false,
            granting: Moment::default(),
            decided: Revision::default(),
            unsettled: false,
            waits: None,
        }
    }

    /// Whether a write is under way of which nobody knows yet whether it landed, or one has landed
    /// that is not answered yet.
    pub fn is_unsettled(&self) -> bool {
        self.unsettled || matches!(self.state, State::Writing(..))
    }

    /// Why it is not done yet, when others are the reason: the outcome for a caller that waits no longer.
    pub fn waits_for(&self) -> Option<&Refusal> {
        self.waits.as_ref().filter(|_| !self.is_unsettled())
    }

    /// The command's id as it is now: a grant that is given up for another one changes it.
    pub fn id(&self) -> CommandId {
        self.command.id
    }

    /// Whether a port may still be tried; asked right before it is, because much time may have passed
    /// since the step said so. Otherwise what trying it said is [`Probed::Unknown`].
    pub fn may_probe(&self, now: Moment) -> bool {
        now.since(self.granting) < PROBE_AFTER_MILLIS_MAX
    }

    /// What to do next, given what came of the last step; [`Fed::Go`] for the first.
    pub fn step(&mut self, core: &mut Core, fed: Fed, now: Now) -> Step {
        match (std::mem::replace(&mut self.state, State::Done), fed) {
            (State::Deciding, _) => self.decide(core, now),
            (State::Confirming, Fed::Failed) => Step::Done(Err(Refusal::Unreachable)),
            (State::Confirming, _) => {
                self.command.confirmed = true;
                self.decide(core, now)
            }
            (State::ProbingFirst(write, answer, then), Fed::Probed(probed)) => match probed {
                Probed::InUse => self.avoid(write.first().and_then(|write| write.key.port())),
                Probed::Bindable | Probed::Unknown => self.write(write, answer, then),
            },
            (State::Writing(write, answer, then), Fed::Written(revision)) => {
                self.written(core, &write, answer.at(revision), then, revision, now)
            }
            (State::Writing(write, _, _), Fed::Lost) => self.lost(&write),
            (State::Writing(write, answer, then), Fed::Unknown) => {
                self.unsettled = true;
                if core.index.mechanisms.on(Mechanism::SettleByWrite) {
                    self.repeat(write, answer, then)
                } else {
                    self.again(core, &write)
                }
            }
            (State::Writing(write, answer, then), Fed::Unsent) => self.repeat(write, answer, then),
            (State::Writing(write, _, _), Fed::Unreadable) => {
                free(core, &write);
                Step::Done(Err(Refusal::Unreadable))
            }
            (State::Repeating(write, answer, then), _) => {
                if self.unsettled || now.mono < self.deadline {
                    self.write(write, answer, then)
                } else {
                    free(core, &write);
                    Step::Done(Err(Refusal::Unreachable))
                }
            }
            (State::Moving(keys), _) => {
                for key in &keys {
                    core.reserved.remove(key);
                }
                self.pause(Refusal::Contended)
            }
            (State::Seeing(answer), _) => {
                self.unsettled = false;
                Step::Done(Ok(answer))
            }
            (State::Probing(key, answer), Fed::Probed(probed)) => self.tried(key, answer, probed),
            (
                State::ProbingFirst(..) | State::Writing(..) | State::Probing(..) | State::Done,
                _,
            ) => {
                debug_assert!(false, "fed {fed:?} to a step that does not take it");
                Step::Done(Err(Refusal::Unreachable))
            }
        }
    }

    fn decide(&mut self, core: &mut Core, now: Now) -> Step {
        core.index.advance(now.mono);
        let command = self.undo.as_ref().unwrap_or(&self.command);
        match decide(&core.index, &core.reserved, command, now) {
            Ok(Decision::Answer(answer)) => self.answered(core, answer, now),
            Ok(Decision::Wait(revision)) => {
                self.state = State::Deciding;
                Step::Exact(revision)
            }
            Ok(Decision::Commit {
                writes,
                answer,
                then,
            }) => {
                let names = matches!(then, Effect::Grant { .. })
                    || matches!(self.command.action, Action::BeginCall(_));
                if self.spent && names {
                    self.another_id();
                    return self.decide(core, now);
                }
                self.commit(core, writes, answer, then, now)
            }
            Err(Refusal::Contended) => self.wait(now),
            Err(Refusal::Busy) => self.pause(Refusal::Busy),
            Err(refusal) => self.refused(core, refusal),
        }
    }

    /// What an index that lags could be the reason for is said behind a barrier, and at an exact point: by
    /// the time that it is judged values may have been skipped again.
    fn refused(&mut self, core: &Core, refusal: Refusal) -> Step {
        let index = &core.index;
        if !refusal.needs_barrier() || !index.mechanisms.on(Mechanism::Barrier) {
            return Step::Done(Err(refusal));
        }
        if !self.command.confirmed {
            self.state = State::Confirming;
            return Step::Barrier;
        }
        if index.exact() < index.applied() && self.looks < LOOKS_MAX {
            self.looks += 1;
            self.state = State::Deciding;
            return Step::Exact(index.applied());
        }
        Step::Done(Err(refusal))
    }

    fn commit(
        &mut self,
        core: &mut Core,
        writes: Vec<Write>,
        answer: Answer,
        then: Effect,
        now: Now,
    ) -> Step {
        // What ends a grant that its caller never gets is begun late as well, and so is what has to be told
        // of something that was done.
        let late = matches!(then, Effect::Again)
            || self.undo.is_some()
            || matches!(self.command.action, Action::Review(_));
        if now.mono >= self.deadline && !late {
            return Step::Done(Err(Refusal::Unreachable));
        }
        if matches!(then, Effect::Grant { .. }) {
            self.granting = now.mono;
        }
        if let (Action::Announce(announce), Answer::Node(known)) =
            (&mut self.command.action, &answer)
            && announce.epoch.is_none()
        {
            announce.chosen = Some(known.live.epoch);
        }
        let grant_to = match (&answer, then) {
            (Answer::Lease(held), Effect::Grant { .. }) => Some(held.lease.requester_id),
            _ => None,
        };
        self.decided = core.index.applied();
        let writes: Arc<[Write]> = writes.into();
        for write in writes.iter() {
            core.reserved.insert(write.key.clone(), grant_to);
        }
        if let [
            Write {
                key: Key::Port(key),
                ..
            },
        ] = &*writes
            && matches!(then, Effect::Grant { probe: true, .. })
            && !core.index.mechanisms.on(Mechanism::ProbeAfterGrant)
        {
            let key = key.clone();
            self.state = State::ProbingFirst(writes, answer, then);
            return Step::Probe(key);
        }
        self.write(writes, answer, then)
    }

    fn write(&mut self, writes: Arc<[Write]>, answer: Answer, then: Effect) -> Step {
        self.waits = None;
        let step = Step::Write(Arc::clone(&writes));
        self.state = State::Writing(writes, answer, then);
        step
    }

    /// The same write with the same expected revision: if it lands, no earlier one can any more.
    fn repeat(&mut self, writes: Arc<[Write]>, answer: Answer, then: Effect) -> Step {
        self.tries += 1;
        self.state = State::Repeating(writes, answer, then);
        Step::Pause(self.tries)
    }

    fn written(
        &mut self,
        core: &mut Core,
        writes: &[Write],
        answer: Answer,
        then: Effect,
        revision: Revision,
        now: Now,
    ) -> Step {
        for (behind, write) in (0..).zip(writes.iter().rev()) {
            let seen = core.index.revision(&write.key);
            let at = Revision(revision.0.saturating_sub(behind));
            core.reserved.written(&write.key, at, seen);
        }
        match then {
            Effect::Reply if self.undo.is_some() => self.undone(),
            Effect::Reply => {
                self.unsettled = false;
                Step::Done(Ok(answer))
            }
            Effect::Again | Effect::Review => {
                self.unsettled = true;
                let review = Review::of(&self.command.action, &answer, self.decided, revision);
                if let Some(review) = review.filter(|_| then == Effect::Review) {
                    self.command.action = Action::Review(Box::new(review));
                }
                self.state = State::Deciding;
                Step::Exact(revision)
            }
            Effect::Seen => {
                self.unsettled = true;
                self.state = State::Seeing(answer);
                Step::Exact(revision)
            }
            Effect::Grant { echo, .. } => {
                self.unsettled = true;
                self.spent = true;
                if echo {
                    self.state = State::Deciding;
                    return Step::Exact(revision);
                }
                self.answered(core, answer, now)
            }
        }
    }

    fn answered(&mut self, core: &Core, answer: Answer, now: Now) -> Step {
        if self.undo.is_some() && !matches!(answer, Answer::Lease(_)) {
            return self.undone();
        }
        let policy = &core.index.policy;
        if let Answer::Lease(held) = &answer
            && held.lease.lease_id == LeaseId(self.command.id.0)
            && held.lease.unanswered
            && !self.probed
            && self.may_probe(now.mono)
            && (policy.probe && policy.host == held.key.host)
            && core.index.mechanisms.on(Mechanism::ProbeAfterGrant)
        {
            let key = held.key.clone();
            self.state = State::Probing(key.clone(), answer);
            return Step::Probe(key);
        }
        self.unsettled = false;
        Step::Done(Ok(answer))
    }

    fn tried(&mut self, key: PortKey, answer: Answer, probed: Probed) -> Step {
        self.probed = true;
        match (answer, probed) {
            (Answer::Lease(held), Probed::InUse) => {
                let undo = Command {
                    action: Action::Withdraw(key.clone(), held.lease.lease_id, Ended::InUse),
                    ..self.command.clone()
                };
                self.undo = Some(undo);
                self.state = State::Deciding;
                // The grant itself has to be seen before it can be ended.
                let before = Revision(held.revision.0.saturating_sub(1));
                Step::Moved(vec![(Key::Port(key), before)])
            }
            (Answer::Lease(held), Probed::Bindable | Probed::Unknown) => {
                self.unsettled = false;
                let probed = Some(probed);
                Step::Done(Ok(Answer::Lease(Held { probed, ..held })))
            }
            (answer, _) => Step::Done(Ok(answer)),
        }
    }

    /// The grant of a port in use is taken back; on to the next port.
    fn undone(&mut self) -> Step {
        let undone = self.undo.take().map(|undo| undo.action);
        self.unsettled = false;
        self.probed = false;
        match undone {
            Some(Action::Withdraw(key, ..)) => self.avoid(Some(&key)),
            _ => self.avoid(None),
        }
    }

    /// That port is in use: on to another one.
    fn avoid(&mut self, at: Option<&PortKey>) -> Step {
        self.another_id();
        self.probes += 1;
        if let Action::Lease(wish) = &self.command.action
            && wish.exact
            && let Some(port) = wish.preferred
        {
            return Step::Done(Err(Refusal::PortUnavailable(port, Unavailable::InUse)));
        }
        if self.probes >= PROBES_MAX {
            let Some(at) = at else {
                return Step::Done(Err(Refusal::Contended));
            };
            return Step::Done(Err(Refusal::Exhausted {
                host: at.host.clone(),
                transport: at.transport,
                retry_after_ms: CROWDED_RETRY_MILLIS,
            }));
        }
        self.state = State::Deciding;
        Step::Pause(self.probes.saturating_sub(PROBES_UNPAUSED_MAX))
    }

    /// What was granted under this id has ended: the next grant is another lease.
    fn another_id(&mut self) {
        self.command.id = self.command.id.next();
        self.spent = false;
    }

    fn lost(&mut self, writes: &[Write]) -> Step {
        self.spent |= self.unsettled;
        if let Action::Announce(announce) = &mut self.command.action
            && !self.unsettled
        {
            // No life of that epoch is its own, and none will be.
            announce.chosen = None;
        }
        let judged = |write: &Write| (write.key.clone(), write.expected);
        let judged: Vec<_> = writes.iter().map(judged).collect();
        self.state = State::Moving(judged.iter().map(|(key, _)| key.clone()).collect());
        Step::Moved(judged)
    }

    fn again(&mut self, core: &mut Core, writes: &[Write]) -> Step {
        free(core, writes);
        self.pause(Refusal::Contended)
    }

    /// Another command of this instance is writing the key: decides again when that may be settled,
    /// for as long as its own caller waits.
    fn wait(&mut self, now: Now) -> Step {
        if now.mono >= self.deadline && !self.unsettled {
            return Step::Done(Err(Refusal::Contended));
        }
        self.turns += 1;
        self.waits = Some(Refusal::Contended);
        self.state = State::Deciding;
        Step::Pause(self.turns)
    }

    /// Decides again after a while; after too many times it is `refusal`.
    fn pause(&mut self, refusal: Refusal) -> Step {
        self.tries += 1;
        if self.tries > TRIES_MAX && !self.unsettled {
            return Step::Done(Err(refusal));
        }
        self.waits = Some(refusal);
        self.state = State::Deciding;
        Step::Pause(self.tries)
    }
}

fn free(core: &mut Core, writes: &[Write]) {
    for write in writes {
        core.reserved.remove(&write.key);
    }
}
