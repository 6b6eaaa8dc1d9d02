//! What came of a command.

use std::sync::Arc;

use jiff::Timestamp;
use onex_types::{
    ids::{ExecutionId, LeaseId, Port, Ttl},
    key::PortKey,
    time::MonoMillis,
};

use crate::{
    call::CallOutcome,
    execution::Call,
    lease::{Lease, LeaseEnd},
    node_command::{NodeAnswer, TrustAnswer},
    node_record::Bus,
};

use super::{HeldBy, Refusal};

/// What came of a command, true at that revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The revision.
    pub revision: u64,
    /// What was done or found, or why not.
    pub result: Result<Answer, Refusal>,
}

/// What was done, or found.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// This lease is live.
    Lease(Held),
    /// This lease has ended.
    Ended {
        /// The lease's id.
        lease_id: LeaseId,
        /// How the lease ended.
        how: LeaseEnd,
        /// When, for people.
        at: Timestamp,
    },
    /// The call has begun, with an execution of this command's id: whoever asked for it executes it, nobody else does,
    /// and this is answered once.
    Begun(Arc<Call>),
    /// The same request has begun this call before: it is under way, or has ended.
    Call(Arc<Call>),
    /// That execution has ended, with the outcome that counts: another one than was reported if its time was up before.
    ExecutionEnded {
        /// The execution's id.
        execution_id: ExecutionId,
        /// What came of it.
        outcome: CallOutcome,
    },
    /// What was asked for is so.
    Done,
    /// This is the node.
    Node(Box<NodeAnswer>),
    /// This is the bus; none where it has ended since the same request announced it.
    Bus(Option<Arc<Bus>>),
    /// This is what validators say of a node.
    Trust(Box<TrustAnswer>),
    /// The node's tools are as was asked for.
    Tools {
        /// The contract of the tool that was named with a version; none where there is no such tool any more.
        contract_hash: Option<String>,
    },
}

/// A live lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The key of its record.
    pub key: PortKey,
    /// The lease.
    pub lease: Arc<Lease>,
    /// How long it lasts without a renewal: of a lease that belongs to a node, the node's TTL.
    pub ttl: Ttl,
    /// When it was granted or last renewed, for people.
    pub renewed_at: Timestamp,
    /// Since when its TTL counts, by this instance's clock.
    pub since: MonoMillis,
    /// Whether its port was found bindable just after the grant.
    pub verified: bool,
    /// Whether it was granted just now on a host that nobody has named before.
    pub is_first_on_host: bool,
    /// The port that it got just now in the place of another one.
    pub rebound: Option<Port>,
}

impl Held {
    /// What is left of its TTL, in milliseconds: 0 when it is due.
    pub fn left(&self, now: MonoMillis) -> u64 {
        self.ttl.millis().saturating_sub(now.since(self.since))
    }

    /// Who holds it, as others are told.
    pub(crate) fn by(&self, now: MonoMillis) -> HeldBy {
        HeldBy::of(&self.lease, self.left(now))
    }
}

/// What trying to bind a port said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// It can be bound.
    Bindable,
    /// Another program has it.
    InUse,
    /// It could not be tried.
    Unknown,
}
