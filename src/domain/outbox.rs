//! From the transitions that records carry to events that are out: what waits, who publishes, and how
//! far that has come.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{
    key::{Key, Revision},
    record::{Checkpoint, FORMAT, OUTBOX_TRANSITIONS_MAX, Record, Stored},
    time::Moment,
    transition::Transition,
    write::Write,
};

/// How long a publisher may make no progress before another instance takes over, in milliseconds.
pub const TAKEOVER_MILLIS: u64 = 10_000;
/// How long it may make none before others ask whether it is still there, in milliseconds.
pub const LATE_MILLIS: u64 = 1_000;
/// Events in one round, at most; then the checkpoint moves.
pub const ROUND_EVENTS_MAX: usize = 512;

/// For how long a round may send, in milliseconds; then it is broken off and the checkpoint moves as far
/// as it came ([`Outbox::up_to`]). A longer one would look like no progress: another instance would take
/// over and begin the same round again, and so on without end.
pub const ROUND_MILLIS_MAX: u64 = TAKEOVER_MILLIS / 3;

/// A transition with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Where in the stream.
    pub revision: Revision,
    /// Under which key.
    pub key: Key,
    /// What happened.
    pub transition: Transition,
}

/// What a publisher has to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Publish {
    /// Nothing.
    Idle,
    /// Become the publisher.
    Claim(Write),
    /// Send these, in order; then call [`Outbox::sent`]; then do the write.
    Send(Vec<Told>, Write),
}

/// What is not published yet, and who publishes.
pub struct Outbox {
    me: Uuid,
    waiting: BTreeMap<(Revision, Key), Transition>,
    sent: BTreeSet<(Revision, Key)>,
    checkpoint: Option<Checkpoint>,
    checkpoint_revision: Revision,
    progress: Moment,
    suspected: u64,
    gaps: u64,
    crowded: bool,
    gone: Option<Uuid>,
}

impl Outbox {
    /// Nothing waits.
    pub fn new(me: Uuid) -> Self {
        Self {
            me,
            waiting: BTreeMap::new(),
            sent: BTreeSet::new(),
            checkpoint: None,
            checkpoint_revision: Revision::default(),
            progress: Moment::default(),
            suspected: 0,
            gaps: 0,
            crowded: false,
            gone: None,
        }
    }

    /// Up to where events are known to be out.
    pub fn out_to(&self) -> Revision {
        self.checkpoint
            .as_ref()
            .map_or(Revision::default(), |checkpoint| {
                Revision(checkpoint.out_to)
            })
    }

    /// Where the checkpoint is in the stream.
    pub fn checkpoint_revision(&self) -> Revision {
        self.checkpoint_revision
    }

    /// Whether this instance publishes.
    pub fn is_mine(&self) -> bool {
        self.checkpoint
            .as_ref()
            .is_some_and(|checkpoint| checkpoint.owner == self.me)
    }

    /// Transitions that this instance, as the publisher, never saw: each is an event lost. 0, unless
    /// something wrote to the bucket that should not.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Whether some record has filled half of its room since the checkpoint last moved.
    pub fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// Whom another instance waits for: the publisher, while transitions wait and the checkpoint has not
    /// moved for a while.
    pub fn awaits(&self, now: Moment) -> Option<Uuid> {
        let owner = self.checkpoint.as_ref()?.owner;
        let late = !self.waiting.is_empty() && now.since(self.progress) >= LATE_MILLIS;
        (late && owner != self.me).then_some(owner)
    }

    /// That instance has ended: nobody has to wait for it.
    pub fn gone(&mut self, owner: Uuid) {
        self.gone = Some(owner);
    }

    /// Who publishes, when that is another instance.
    pub fn other_publisher(&self) -> Option<Uuid> {
        let owner = self.checkpoint.as_ref()?.owner;
        (owner != self.me && !owner.is_nil()).then_some(owner)
    }

    /// The write by which this instance becomes the publisher where there is none, though nothing waits to be
    /// published: other things are left to the publisher as well.
    pub fn claim_if_vacant(&self) -> Option<Write> {
        (!self.is_mine() && self.is_vacant()).then(|| self.write(self.me, self.out_to()))
    }

    fn is_vacant(&self) -> bool {
        self.checkpoint.as_ref().is_none_or(|checkpoint| {
            checkpoint.owner.is_nil() || Some(checkpoint.owner) == self.gone
        })
    }

    /// How many transitions wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none wait.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A record passes by. `known` is how many transitions of its key this instance had seen.
    pub fn observe<B>(
        &mut self,
        key: &Key,
        revision: Revision,
        record: &Record<B>,
        known: Option<u64>,
        now: Moment,
    ) {
        if self.waiting.is_empty() {
            self.progress = self.progress.max(now);
        }
        let out_to = self.out_to();
        self.crowded |= record.unpublished(revision, out_to) * 2 >= OUTBOX_TRANSITIONS_MAX;
        for transition in &record.outbox {
            let at = transition.revision.map_or(revision, Revision);
            // What this instance sees for the first time waits even when the checkpoint says that it
            // is out: a publisher may have passed it without seeing it.
            if at > out_to || known.is_some_and(|known| transition.n > known) {
                self.waiting
                    .entry((at, key.clone()))
                    .or_insert_with(|| transition.clone());
            }
        }
        let first = record
            .outbox
            .first()
            .map_or(record.transitions.saturating_add(1), |transition| {
                transition.n
            });
        if let Some(known) = known
            && self.is_mine()
        {
            self.suspected += first.saturating_sub(known.saturating_add(1));
        }
    }

    /// The follower is at an exact point. What looked like a gap was none when another instance turns
    /// out to publish since: it has told what this one did not see.
    pub fn settle(&mut self) {
        if self.is_mine() {
            self.gaps += self.suspected;
        }
        self.suspected = 0;
    }

    /// The checkpoint passes by.
    pub fn checkpoint(&mut self, revision: Revision, checkpoint: Checkpoint, now: Moment) {
        let out_to = Revision(checkpoint.out_to);
        let mine = checkpoint.owner == self.me;
        self.waiting
            .retain(|at, _| at.0 > out_to || (mine && !self.sent.contains(at)));
        self.sent.retain(|at| at.0 > out_to);
        self.checkpoint = Some(checkpoint);
        self.checkpoint_revision = revision;
        self.progress = now;
        self.crowded = false;
    }

    /// Something foreign is where the checkpoint was: somebody has to claim it again.
    pub fn foreign(&mut self, revision: Revision) {
        self.checkpoint = None;
        self.checkpoint_revision = revision;
    }

    /// What to do next. `exact` is the last exact point: nothing that happened before it is unseen.
    pub fn next(&self, exact: Revision, now: Moment) -> Publish {
        if self.waiting.is_empty() {
            return Publish::Idle;
        }
        if !self.is_mine() {
            if self.is_vacant() || now.since(self.progress) >= TAKEOVER_MILLIS {
                return Publish::Claim(self.write(self.me, self.out_to()));
            }
            return Publish::Idle;
        }
        let told: Vec<Told> = self
            .waiting
            .range(..(Revision(exact.0 + 1), Key::first()))
            .take(ROUND_EVENTS_MAX)
            .map(|((revision, key), transition)| Told {
                revision: *revision,
                key: key.clone(),
                transition: transition.clone(),
            })
            .collect();
        let Some(last) = told.last() else {
            return Publish::Idle;
        };
        let to = if told.len() < ROUND_EVENTS_MAX {
            exact
        } else {
            last.revision
        };
        let write = self.write(self.me, to.max(self.out_to()));
        Publish::Send(told, write)
    }

    /// The checkpoint of a round that was broken off before `unsent`.
    pub fn up_to(&self, unsent: &Told) -> Write {
        let sent = Revision(unsent.revision.0.saturating_sub(1));
        self.write(self.me, sent.max(self.out_to()))
    }

    /// These are in the events stream now.
    pub fn sent(&mut self, told: &[Told]) {
        self.sent
            .extend(told.iter().map(|told| (told.revision, told.key.clone())));
    }

    /// The write by which this instance, when it stops, leaves publishing to whoever is next; none when
    /// it does not publish.
    pub fn resign(&self) -> Option<Write> {
        self.is_mine()
            .then(|| self.write(Uuid::nil(), self.out_to()))
    }

    fn write(&self, owner: Uuid, out_to: Revision) -> Write {
        let checkpoint = Checkpoint {
            format: FORMAT,
            owner,
            out_to: out_to.0,
            unknown: self
                .checkpoint
                .as_ref()
                .map(|checkpoint| checkpoint.unknown.clone())
                .unwrap_or_default(),
        };
        Write {
            key: Key::Checkpoint,
            expected: self.checkpoint_revision,
            value: Stored::Checkpoint(checkpoint),
        }
    }
}
