//! What must be true, and what a run remembers to tell whether it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::{
    ids::{CommandId, LeaseId, RequestId, RequesterId},
    key::{Key, PortKey, Revision},
    record::{Record, Stored},
    transition::Transition,
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
    /// Fencing tokens of a port grow.
    TokensGrow,
    /// A negative answer was true at some moment between request and answer.
    TrueAnswers,
    /// Every transition is told, in order.
    EventsComplete,
    /// Trying a port does not get in a holder's way.
    ProbesApart,
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

/// What a run remembers.
#[derive(Default)]
pub(super) struct Check {
    pub(super) violation: Option<Violation>,
    pub(super) past: HashMap<PortKey, Vec<Past>>,
    /// Every transition that was ever written.
    pub(super) transitions: Vec<(Revision, Key, Transition)>,
    /// Where something was last written over a port from outside.
    pub(super) foreign: HashMap<PortKey, Revision>,
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
}
