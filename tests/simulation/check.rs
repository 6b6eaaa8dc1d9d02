//! What must be true, and what a run remembers to tell whether it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use semver::Version;

use super::callers::Calls;
use crate::domain::{
    ids::{CommandId, Incarnation, LeaseId, NodeId, RequestId, RequesterId, Token},
    key::{Key, PortKey, Revision},
    node::{Life, Live, Node},
    record::{Record, Stored},
    transition::Transition,
    trust::{Trust, Verdicts},
};

/// The promises of `docs/architecture.md`, as far as a run can judge them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Never two holders of one port, by their own reckoning.
    OneHolder,
    /// What was acknowledged stays until its holder gives it up or its time is up.
    NothingLost,
    /// A request that comes again does no second deed.
    NoSecondDeed,
    /// Fencing tokens of a port grow, and so do the epochs of a node.
    TokensGrow,
    /// A negative answer was true at some moment between request and answer.
    TrueAnswers,
    /// Every transition is told, in order, and together they say what is so.
    EventsComplete,
    /// At every exact point an instance lists and describes what the stream says, and holds what hangs on
    /// it for exactly as long.
    Described,
    /// Trying a port does not get in a holder's way.
    ProbesApart,
    /// Of an execution everybody is told the same, for ever.
    OneOutcome,
    /// When the faults stop, everything comes to an end.
    NothingStuck,
}

/// A promise that was broken, and how.
#[derive(Debug, Clone)]
pub(super) struct Violation {
    pub(super) rule: Rule,
    pub(super) text: String,
    pub(super) time: u64,
}

/// What a port's key held from some point on.
#[derive(Debug, Clone)]
pub(super) struct Past {
    pub(super) revision: Revision,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Lease(LeaseId),
    /// Who had it last, and whether it rests.
    Rest(Option<LeaseId>, bool),
    Foreign,
}

impl What {
    pub(super) fn of(stored: &Stored) -> Self {
        match stored {
            Stored::Port(record) => Self::of_record(record),
            _ => Self::Foreign,
        }
    }

    fn of_record(record: &Record) -> Self {
        match &record.body {
            crate::domain::record::Body::Lease(lease) => Self::Lease(lease.lease_id),
            crate::domain::record::Body::Rest(rest) => Self::Rest(
                rest.last.as_ref().map(|last| last.lease_id),
                rest.rest_ms > 0,
            ),
        }
    }

    /// The lease that it holds or held last.
    pub(super) fn lease_id(self) -> Option<LeaseId> {
        match self {
            Self::Lease(lease_id) => Some(lease_id),
            Self::Rest(lease_id, _) => lease_id,
            Self::Foreign => None,
        }
    }

    /// Whether nobody can be granted it.
    pub(super) fn is_taken(self) -> bool {
        !matches!(self, Self::Rest(_, false))
    }
}

/// What became of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Lasts,
    Left,
    Expired,
    Superseded,
    /// Somebody who is no registry wrote over it, or over what was announced for it.
    Overwritten,
}

/// What the transitions of a node say, one after another.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) lives: bool,
    pub(super) tools: BTreeSet<(Token, Version)>,
}

/// What a run remembers.
#[derive(Default)]
pub(super) struct Check {
    pub(super) violation: Option<Violation>,
    pub(super) past: HashMap<PortKey, Vec<Past>>,
    /// Every transition that was ever written.
    pub(super) transitions: Vec<(Revision, Key, Transition)>,
    /// Where something was last written over a key from outside.
    pub(super) foreign: HashMap<Key, Revision>,
    /// All that was ever written under a key.
    pub(super) history: HashMap<Key, Vec<(Revision, Stored)>>,
    /// What became of every life that was ever begun.
    pub(super) fates: HashMap<Incarnation, Fate>,
    /// Requests that have changed a key, in their order, since what it remembers was last forgotten.
    pub(super) changed: BTreeMap<Key, Vec<RequestId>>,
    /// What a follower of the events knows of a node.
    pub(super) told: BTreeMap<NodeId, Told>,
    /// What calls have led to.
    pub(super) calls: Calls,
    pub(super) overwritten: BTreeSet<LeaseId>,
    pub(super) ended: BTreeSet<LeaseId>,
    /// Commands of which a caller was told that they did nothing.
    pub(super) undone: BTreeSet<CommandId>,
    /// Commands that wrote something.
    pub(super) wrote: BTreeSet<CommandId>,
    /// Leases that callers were told of, by their request.
    pub(super) answered: BTreeMap<(RequesterId, RequestId), BTreeSet<LeaseId>>,
    /// The lowest and the highest token told of a port's leases.
    pub(super) tokens: HashMap<PortKey, BTreeMap<LeaseId, (u64, u64)>>,
}

impl Check {
    /// Only the first counts.
    pub(super) fn fail(&mut self, time: u64, rule: Rule, text: String) {
        self.violation.get_or_insert(Violation { rule, text, time });
    }

    /// What the key held at some point between `from` and now, the value at `from` included.
    pub(super) fn since(&self, key: &PortKey, from: Revision) -> impl Iterator<Item = &Past> {
        let past = self.past.get(key).map_or(&[][..], Vec::as_slice);
        let behind = past.partition_point(|past| past.revision <= from);
        past.iter().skip(behind.saturating_sub(1))
    }

    /// What the key held when the stream was there.
    pub(super) fn at(&self, key: &PortKey, revision: Revision) -> Option<What> {
        let past = self.past.get(key)?;
        let after = past.partition_point(|past| past.revision <= revision);
        past.get(after.checked_sub(1)?).map(|past| past.what)
    }

    /// What lay under the key when the stream was there, and since when.
    pub(super) fn stored(&self, key: &Key, at: Revision) -> Option<(Revision, &Stored)> {
        let history = self.history.get(key)?;
        let after = history.partition_point(|(revision, _)| *revision <= at);
        let (revision, stored) = history.get(after.checked_sub(1)?)?;
        Some((*revision, stored))
    }

    /// The node as the stream had it there: its announcement and its life, when they belong together.
    pub(super) fn node(&self, id: &NodeId, at: Revision) -> Option<True<'_>> {
        let (said_at, said) = self.stored(&Key::Node(id.clone()), at)?;
        let (lives_at, lives) = self.stored(&Key::Live(id.clone()), at)?;
        let (Stored::Node(said), Stored::Live(lives)) = (said, lives) else {
            return None;
        };
        let (node, live) = (&said.body.node, &lives.body.live);
        (node.incarnation == live.incarnation).then_some(True {
            node,
            said_at,
            live,
            lives_at,
        })
    }

    /// Whether that life lasted there; none when somebody who is no registry wrote over it.
    pub(super) fn lasts(&self, life: &Life, at: Revision) -> Option<bool> {
        match self.stored(&Key::Live(life.node_id.clone()), at) {
            Some((_, Stored::Live(record))) => {
                let live = &record.body.live;
                Some(live.incarnation == life.incarnation && live.ended.is_none())
            }
            Some((_, Stored::Foreign)) => None,
            _ => Some(false),
        }
    }

    /// The same, if it lives.
    pub(super) fn living(&self, id: &NodeId, at: Revision) -> Option<True<'_>> {
        self.node(id, at).filter(|node| node.live.ended.is_none())
    }

    /// What follows there from what was said of a node.
    pub(super) fn trust(&self, id: &NodeId, contract: &str, at: Revision) -> Trust {
        match self.stored(&Key::Verdict(id.clone()), at) {
            Some((_, Stored::Verdict(record))) => record.body.verdicts.trust(contract),
            _ => Verdicts::default().trust(contract),
        }
    }

    /// Every revision from `from` on at which one of the keys was another one than before.
    pub(super) fn moments(&self, keys: &[Key], from: Revision) -> Vec<Revision> {
        let histories = keys.iter().filter_map(|key| self.history.get(key));
        let changes = histories
            .flatten()
            .map(|(revision, _)| *revision)
            .filter(|revision| *revision > from);
        std::iter::once(from).chain(changes).collect()
    }
}

/// A node as it truly is.
#[derive(Debug, Clone, Copy)]
pub(super) struct True<'a> {
    pub(super) node: &'a Node,
    pub(super) said_at: Revision,
    pub(super) live: &'a Live,
    pub(super) lives_at: Revision,
}

/// What every record has: the command that wrote it, and the transitions that it carries.
pub(super) fn common(stored: &Stored) -> Option<(CommandId, &[Transition])> {
    fn of<B>(record: &Record<B>) -> (CommandId, &[Transition]) {
        (record.write, record.outbox.as_slice())
    }
    Some(match stored {
        Stored::Port(record) => of(record),
        Stored::Node(record) => of(record),
        Stored::Live(record) => of(record),
        Stored::Bus(record) => of(record),
        Stored::Verdict(record) => of(record),
        Stored::Call(record) => of(record),
        _ => return None,
    })
}
