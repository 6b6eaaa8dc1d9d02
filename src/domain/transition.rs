//! What happened to a key and has to be told as events: part of its record until it is published.

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::{
    call::Execution,
    ids::{Label, LeaseId, Name, NodeId, RequesterId, Token},
    record::Ended,
    trust::{Lifecycle, Outcome, TrustState},
};

pub use onex_core::call::{ExecutionEnd as EndTold, ExecutionStatus as How};

/// Something that happened to a key and that events tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Counts this key's transitions from 1.
    pub n: u64,
    /// What.
    pub event: Happened,
    /// When, for people.
    pub at: Timestamp,
    /// Where in the stream; absent while that is the record's own revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Which lease; absent when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// Whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester_id: Option<RequesterId>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The request that caused it; absent when it was the registry itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// How the lease or bus ended, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Ended>,
    /// A node's epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Tools that a node offers from now on, or under another contract; each is an event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools_added: Vec<ToolTold>,
    /// Tools that a node offers no longer; each is an event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools_removed: Vec<ToolTold>,
    /// Tools of a node that another one offers under another contract; each is an event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collisions: Vec<ToolTold>,
    /// How a node was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Box<JudgedTold>>,
    /// What is carried out for a caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Box<ExecutionTold>>,
}

/// A tool that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolTold {
    /// Its name.
    pub name: Token,
    /// Its version.
    pub version: Version,
    /// A node that offers another contract by that name and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<NodeId>,
}

/// What a validator said of a node, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgedTold {
    /// Which validator.
    pub validator_id: NodeId,
    /// What it says.
    pub outcome: Outcome,
    /// In which way the node failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_mode: Option<Label>,
    /// Of which contract.
    pub contract_hash: String,
    /// Whether the node is to be trusted now.
    pub state: TrustState,
    /// Validators that say yes.
    pub passes: usize,
    /// Validators that say no.
    pub fails: usize,
    /// How far the node has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

/// The run of a tool that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionTold {
    /// What is run, and by whom.
    #[serde(flatten)]
    pub execution: Execution,
    /// How long it may run, in milliseconds.
    pub timeout_ms: u64,
    /// How it ended; absent where it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndTold>,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// A port was granted.
    Leased,
    /// Its holder gave it back, or it was a second grant for one request.
    Released,
    /// Its time was up.
    Expired,
    /// It rests: another program is using it.
    Quarantined,
    /// It was taken from its holder.
    Revoked,
    /// A node was announced.
    NodeRegistered,
    /// A node was announced again after its time had been up.
    NodeRejoined,
    /// A node's time was up.
    NodeExpired,
    /// A node took its leave.
    NodeDeregistered,
    /// A running node's tools changed; nothing is told but of the tools.
    ToolsChanged,
    /// A bus was announced.
    BusRegistered,
    /// A bus is no more.
    BusRemoved,
    /// A validator judged a node.
    TrustChanged,
    /// A tool is about to be run for a caller.
    CallBegan,
    /// It has answered.
    CallCompleted,
    /// It has not answered, or not well, or nobody knows.
    CallFailed,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `port.leased`
    PortLeased,
    /// `port.released`
    PortReleased,
    /// `port.expired`
    PortExpired,
    /// `port.rebound`
    PortRebound,
    /// `port.quarantined`
    PortQuarantined,
    /// `port.revoked`
    PortRevoked,
    /// `node.registered`
    NodeRegistered,
    /// `node.rejoined`
    NodeRejoined,
    /// `node.expired`
    NodeExpired,
    /// `node.deregistered`
    NodeDeregistered,
    /// `tool.registered`
    ToolRegistered,
    /// `tool.removed`
    ToolRemoved,
    /// `tool.collision`
    ToolCollision,
    /// `bus.registered`
    BusRegistered,
    /// `bus.removed`
    BusRemoved,
    /// `trust.changed`
    TrustChanged,
    /// `tool.invoked`
    ToolInvoked,
    /// `tool.completed`
    ToolCompleted,
    /// `tool.failed`
    ToolFailed,
    /// `gap`
    Gap,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::PortLeased,
        Self::PortReleased,
        Self::PortExpired,
        Self::PortRebound,
        Self::PortQuarantined,
        Self::PortRevoked,
        Self::NodeRegistered,
        Self::NodeRejoined,
        Self::NodeExpired,
        Self::NodeDeregistered,
        Self::ToolRegistered,
        Self::ToolRemoved,
        Self::ToolCollision,
        Self::BusRegistered,
        Self::BusRemoved,
        Self::TrustChanged,
        Self::ToolInvoked,
        Self::ToolCompleted,
        Self::ToolFailed,
        Self::Gap,
    ];

    /// Those that only the core on the log has.
    pub const ON_THE_LOG: [Self; 2] = [Self::PortRebound, Self::Gap];
}

impl Happened {
    /// The event that tells of it, when one does but of tools.
    fn kind(self) -> Option<Kind> {
        Some(match self {
            Self::Leased => Kind::PortLeased,
            Self::Released => Kind::PortReleased,
            Self::Expired => Kind::PortExpired,
            Self::Quarantined => Kind::PortQuarantined,
            Self::Revoked => Kind::PortRevoked,
            Self::NodeRegistered => Kind::NodeRegistered,
            Self::NodeRejoined => Kind::NodeRejoined,
            Self::NodeExpired => Kind::NodeExpired,
            Self::NodeDeregistered => Kind::NodeDeregistered,
            Self::ToolsChanged => return None,
            Self::BusRegistered => Kind::BusRegistered,
            Self::BusRemoved => Kind::BusRemoved,
            Self::TrustChanged => Kind::TrustChanged,
            Self::CallBegan => Kind::ToolInvoked,
            Self::CallCompleted => Kind::ToolCompleted,
            Self::CallFailed => Kind::ToolFailed,
        })
    }
}

impl Transition {
    /// The events that tell of it, each with the tool that it is about.
    pub fn events(&self) -> impl Iterator<Item = (Kind, Option<&ToolTold>)> {
        let own = self.event.kind().map(|kind| (kind, None));
        let of = |kind| move |tool| (kind, Some(tool));
        let removed = self.tools_removed.iter().map(of(Kind::ToolRemoved));
        let added = self.tools_added.iter().map(of(Kind::ToolRegistered));
        let collisions = self.collisions.iter().map(of(Kind::ToolCollision));
        own.into_iter()
            .chain(removed)
            .chain(added)
            .chain(collisions)
    }

    /// How many tools it tells of, one in several ways counted several times.
    pub fn tools(&self) -> usize {
        self.tools_added.len() + self.tools_removed.len() + self.collisions.len()
    }

    /// Whether it tells of any tool.
    pub fn tells_of_tools(&self) -> bool {
        self.tools() > 0
    }

    /// Of that kind, at that time, and nothing else said. Its number is given when it is written.
    pub fn new(event: Happened, at: Timestamp, correlation_id: Option<String>) -> Self {
        Self {
            n: 0,
            event,
            at,
            revision: None,
            lease_id: None,
            requester_id: None,
            name: None,
            correlation_id,
            outcome: None,
            epoch: None,
            tools_added: Vec::new(),
            tools_removed: Vec::new(),
            collisions: Vec::new(),
            judged: None,
            execution: None,
        }
    }
}
