//! The registry's loop as a pure state machine: inputs in, outputs out. No clock, no randomness, no I/O.
//!
//! Commands that arrive while an append is under way wait, and are decided together when it is settled: one entry holds
//! all of them (group commit). An entry is decided on a state that includes everything before it, because the append
//! names the position behind which it belongs and the server refuses it anywhere else. So an entry is a fact, and every
//! instance that applies the same entries has the same records.

mod answer;
mod bounds;
mod commit;
mod follow;
mod io;
mod named;
mod pace;
mod queues;
mod room;
mod snapshots;
mod start;
mod trim;
mod trimming;
mod unpublished;

use std::{collections::BTreeMap, sync::Arc};

use onex_types::{
    entry::{EntryHeader, EntryId, Sequence, SnapshotRef},
    ids::{CommandId, LeaseId},
    key::PortKey,
    time::{MonoMicros, MonoMillis, Now},
};
use uuid::Uuid;

use crate::{
    command::{Action, Command, GrantRequest, Outcome, Refusal},
    decide::{Decided, Local},
    entry::Entry,
    mechanism::{Mechanism, Mechanisms},
    record::InstanceId,
    state::{State, Undo},
};

pub use bounds::{
    APPEND_SILENCE_MILLIS, CONFIRM_MILLIS, CONFLICT_WAIT_MILLIS, EMPTY_ENTRY_MILLIS,
    ENTRY_BYTES_MAX, ENTRY_COMMANDS_MAX, EXPIRIES_BESIDE_REQUESTS, LEADERLESS_MILLIS, PROBE_MILLIS,
    PROBE_WAIT_MILLIS, QUIET_MILLIS, STALE_MILLIS, WAITING_MAX,
};
pub use io::{Delivered, Fatal, Input, Job, JobId, Limits, NotAppended, Output};
pub use room::Sizes;
pub use snapshots::Snapshots;
pub use start::{Foreign, Loaded, Loader, StartError};
pub use unpublished::Unpublished;

use pace::Pace;
use queues::Queues;
use room::Room;
use trimming::Trimming;

/// The entry whose outcome is open. There is at most one.
struct Pending {
    header: EntryHeader,
    expected: Sequence,
    entry: Arc<Entry>,
    bytes: Arc<[u8]>,
    undo: Vec<Undo>,
    jobs: Vec<(Job, Result<Decided, Refusal>, u64)>,
    first_sent: Now,
    sent: MonoMillis,
    /// How long after that the same is sent again if nothing is heard, in milliseconds.
    patience: u64,
    /// How often it was sent.
    copies: u32,
    /// Since when it is known to be refused; what took its place is not here yet.
    refused: Option<MonoMillis>,
}

/// A grant whose port is being tried.
struct Probing {
    job: JobId,
    deadline: MonoMillis,
    key: PortKey,
    grant: GrantRequest,
    outcome: Outcome,
    until: MonoMillis,
    tried: usize,
    command: Command,
}

/// Whether an engine takes what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// It decides what has come.
    Stopping,
    /// It does nothing more.
    Failed,
}

/// The engine.
pub struct Engine {
    /// What this instance knows of itself.
    pub local: Local,
    limits: Limits,
    state: State,
    /// The last position that was applied, and what is there: an entry, or something that is void.
    head: (Sequence, Option<EntryId>),
    last_valid: EntryId,
    snapshots: Snapshots,
    queues: Queues,
    room: Room,
    /// Since when there is something that belongs to what has ended, and that no entry has ended.
    left_over_since: Option<MonoMillis>,
    pending: Option<Pending>,
    probing: BTreeMap<LeaseId, Probing>,
    /// Answers that wait for a time.
    waiting: BTreeMap<(MonoMillis, JobId), Outcome>,
    follows: bool,
    /// Whether an entry of its own has shown that it has everything.
    ready: bool,
    phase: Phase,
    entries_made: u64,
    commands_made: u64,
    last_empty: MonoMillis,
    last_entry: MonoMillis,
    named_seen: MonoMillis,
    hosts_seen: MonoMillis,
    pace: Pace,
    trimming: Trimming,
    /// The snapshot that the last entry names.
    named_last: Option<SnapshotRef>,
    out: Vec<Output>,
}

impl Engine {
    /// An engine that goes on from what was loaded. It sends nothing before the first [`Input::Following`].
    pub fn new(local: Local, limits: Limits, loaded: Loaded, now: Now) -> Self {
        Self {
            local,
            limits,
            state: loaded.state,
            head: loaded.head,
            last_valid: loaded.last_valid,
            snapshots: loaded.snapshots,
            queues: Queues::default(),
            room: Room::default(),
            left_over_since: None,
            pending: None,
            probing: BTreeMap::new(),
            waiting: BTreeMap::new(),
            follows: false,
            ready: false,
            phase: Phase::Running,
            entries_made: 0,
            commands_made: 0,
            last_empty: MonoMillis::default(),
            last_entry: now.mono,
            named_seen: now.mono,
            hosts_seen: now.mono,
            pace: Pace::default(),
            trimming: Trimming::new(),
            named_last: None,
            out: Vec::new(),
        }
    }

    /// Takes everything that has happened, then decides what is to be appended next.
    pub fn handle(&mut self, inputs: impl IntoIterator<Item = Input>, now: Now) -> Vec<Output> {
        for input in inputs {
            match input {
                Input::Command(job) if self.phase == Phase::Failed => {
                    self.refuse(job.id, Refusal::Unavailable);
                }
                _ if self.phase == Phase::Failed => {}
                input => self.take(input, now),
            }
        }
        if self.phase != Phase::Failed {
            self.pass_time(now);
            self.decide(now);
        }
        std::mem::take(&mut self.out)
    }

    fn take(&mut self, input: Input, now: Now) {
        match input {
            Input::Command(job) if self.phase == Phase::Stopping => {
                self.refuse(job.id, Refusal::Unavailable);
            }
            Input::Command(job) => self.enqueue(job),
            Input::Sizes(sizes) => self.learn_sizes(sizes, now),
            Input::Acked { id, sequence } => self.acked(id, sequence, now),
            Input::Refused { id, why } => self.refused(id, why, now),
            Input::Delivered(delivered) => self.delivered(&delivered, now),
            Input::Absent(sequence) => self.absent(sequence, now),
            Input::Disconnected => self.follows = false,
            Input::Following(first) => self.following(first, now),
            Input::Probed {
                lease_id,
                probed,
                in_use,
            } => self.probed(lease_id, probed, in_use, now),
            Input::Tick => {}
            Input::Stop => self.stop(now),
        }
    }

    /// Decides what has come and ends what is due, which readers saw as ended: after a restart it would last its TTL anew.
    /// Nothing that comes later is decided.
    fn stop(&mut self, now: Now) {
        let due = self.state.all_due(now.mono);
        self.queues.expiries.extend(due);
        if self.is_named() {
            let from = Some(self.local.instance);
            self.submit(Action::TakeOver {
                from,
                to: InstanceId::default(),
            });
        }
        self.phase = Phase::Stopping;
    }

    fn enqueue(&mut self, job: Job) {
        if let Some(job) = self.queues.admit(job, self.limits.waiting_max) {
            self.refuse(job.id, Refusal::QueueFull);
        }
    }

    fn learn_sizes(&mut self, sizes: Sizes, now: Now) {
        self.room.learn(sizes);
        self.trimming.learn(sizes.first, now.mono);
        if self.on(Mechanism::SnapshotAfterPurge) {
            self.snapshots.note_first(sizes.first);
        }
    }

    /// What is due because time has passed.
    fn pass_time(&mut self, now: Now) {
        self.answer_waiting(now);
        self.give_up_late(now);
        self.repeat_append(now);
        self.keep_named(now);
    }

    /// The records as far as this instance has decided, an entry that is under way included.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The last position that was applied.
    pub fn head(&self) -> Sequence {
        self.head.0
    }

    /// The id of the last valid entry.
    pub fn last_valid(&self) -> EntryId {
        self.last_valid
    }

    /// Whether an entry is under way.
    pub fn is_settled(&self) -> bool {
        self.pending.is_none()
    }

    /// Whether nothing waits to be decided or answered any more.
    pub fn is_idle(&self) -> bool {
        self.pending.is_none()
            && !self.has_queued()
            && self.queues.confirms_at().is_none()
            && self.probing.is_empty()
            && self.waiting.is_empty()
    }

    /// Whether an entry of its own has shown that this instance has everything that was there when it started.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// What a start after this engine has to find again.
    pub fn known(&self) -> (Sequence, Option<EntryId>) {
        self.head
    }

    /// Whether commands wait to be decided.
    pub fn has_queued(&self) -> bool {
        !self.queues.is_empty()
    }

    /// Whether readers may be answered from memory.
    pub fn is_fresh(&self, now: MonoMillis) -> bool {
        now.since(self.last_entry) < STALE_MILLIS
    }

    /// The newest complete snapshots.
    pub fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// When [`Engine::handle`] has to be called at the latest.
    pub fn wake_at(&self, now: Now) -> MonoMicros {
        let mut at = now.mono.plus(CONFLICT_WAIT_MILLIS);
        if let Some(timer) = self.state.next_timer() {
            at = at.min(timer);
        }
        if let Some(((waits, _), _)) = self.waiting.first_key_value() {
            at = at.min(*waits);
        }
        if self.pending.is_none() && self.has_queued() {
            at = at.min(self.last_empty.plus(EMPTY_ENTRY_MILLIS));
        }
        if self.pending.is_none() {
            at = self.queues.confirms_at().map_or(at, |due| at.min(due));
        }
        let at = MonoMicros::from(at.max(now.mono.plus(1)));
        let yields = self.pace.yields_until(now.exact());
        yields.map_or(at, |until| at.min(until))
    }

    /// Switches mechanisms off.
    #[cfg(test)]
    pub(crate) fn switch(&mut self, mechanisms: Mechanisms) {
        self.state.mechanisms = mechanisms;
    }

    fn on(&self, mechanism: Mechanism) -> bool {
        Mechanisms::on(self.state.mechanisms, mechanism)
    }

    fn is_named(&self) -> bool {
        let named = self.state.named();
        named.is_some_and(|named| named.instance == self.local.instance)
    }

    fn next_entry_id(&mut self) -> EntryId {
        self.entries_made += 1;
        EntryId(Uuid::from_u64_pair(
            self.local.instance.0,
            self.entries_made,
        ))
    }

    fn next_command_id(&mut self) -> CommandId {
        self.commands_made += 1;
        // The highest bit keeps them apart from entries' ids; nobody outside sees either as a command's.
        let n = self.commands_made | (1 << 63);
        CommandId(Uuid::from_u64_pair(self.local.instance.0, n))
    }

    fn fail(&mut self, fatal: Fatal) {
        self.phase = Phase::Failed;
        self.give_up_all();
        self.out.push(Output::Fatal(fatal));
    }

    fn snapshot_ref(&self) -> Option<SnapshotRef> {
        self.snapshots.newest()
    }
}

/// The instance that made an entry.
fn author(id: EntryId) -> u64 {
    id.0.as_u64_pair().0
}
