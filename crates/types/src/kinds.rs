//! Closed lists of words that stand in the log, in the view, in events and on the wire alike.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a lease or bus ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LeaseEnd {
    /// Its holder released it.
    Released,
    /// Its time was up, or that of what it belonged to.
    Expired,
    /// Another program was using the port; the caller got another one.
    InUse,
    /// It gave this port up for another one, and goes on: its holder may not know that yet.
    Rebound,
    /// Another life of the node that it belonged to was registered: its holder may still count on it.
    Superseded,
    /// An administrator took it away, or the node that it belonged to: its holder may still count on it.
    Revoked,
}

/// How a life of a node ends by itself. One that another life supersedes has no such mark.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum NodeEnd {
    /// The node was deregistered.
    Deregistered,
    /// Its time was up.
    Expired,
    /// An administrator ended it.
    Evicted,
}

/// What a node said when it was asked to run a tool.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AttemptResult {
    /// It gave a result.
    Answered,
    /// It gave an error.
    Failed,
    /// It gave a result that is not as its contract says.
    InvalidResult,
    /// It cannot take more calls now.
    Declined,
    /// Nothing: nobody listens on its subject.
    NoResponders,
    /// Nothing: nobody listens on its subject any more, and somebody did when it was asked.
    Gone,
    /// Nothing in the time that it had.
    Silent,
    /// The request could not be sent to it.
    NotSent,
}

/// How the run of a tool ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionStatus {
    /// The tool has answered.
    Completed,
    /// It has not, or not well.
    Failed,
    /// Its time was up, and whoever ran it has not said what came of it.
    Unknown,
}

/// Whether the tool was run.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Executed {
    /// It was not, and will not be.
    No,
    /// It was.
    Yes,
    /// Nobody knows.
    Unknown,
}

/// What a validator found.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The node does what it announces.
    Pass,
    /// It does not.
    Fail,
}

/// How far a node is on its way into use, by its validators.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// On trial.
    Canary,
    /// Examined.
    Validated,
    /// Examined, and not to change any more.
    Frozen,
}

/// How far a node is trusted.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TrustState {
    /// Nobody has examined what it is now, or at least half of those who have found it bad.
    Untrusted,
    /// More than half of those who have examined it found it good.
    Trusted,
    /// Two or more validators found it good, and none bad.
    Verified,
}

/// The kinds of events, each with its text in subjects, events and entries.
macro_rules! event_kinds {
    ($($(#[$doc:meta])* $kind:ident = $text:literal,)*) => {
        /// Kinds of events.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[schemars(inline)]
        pub enum EventKind {
            $($(#[$doc])* #[serde(rename = $text)] $kind,)*
        }

        impl EventKind {
            /// As it stands in subjects, events and entries.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $text,)*
                }
            }
        }
    };
}

event_kinds! {
    /// A port was granted.
    PortLeased = "port.leased",
    /// A holder released its lease.
    PortReleased = "port.released",
    /// A lease's time was up.
    PortExpired = "port.expired",
    /// A lease got another port for one of its own.
    PortRebound = "port.rebound",
    /// Another program was using a port.
    PortQuarantined = "port.quarantined",
    /// Events were removed before they were published. Watchers take a new snapshot.
    Gap = "gap",
    /// A port was taken from its holder.
    PortRevoked = "port.revoked",
    /// A port that was quarantined can be granted again: an administrator said so.
    PortUnquarantined = "port.unquarantined",
    /// A node was registered.
    NodeRegistered = "node.registered",
    /// A node was registered again after its time had been up.
    NodeRejoined = "node.rejoined",
    /// A node's time was up.
    NodeExpired = "node.expired",
    /// A node was deregistered.
    NodeDeregistered = "node.deregistered",
    /// An administrator ended a node.
    NodeEvicted = "node.evicted",
    /// An administrator had a host forgotten.
    HostForgotten = "host.forgotten",
    /// A host got a pool of its own, or another one.
    PoolChanged = "pool.changed",
    /// A host has no pool of its own any more.
    PoolDeleted = "pool.deleted",
    /// A running node's tools changed; only events of the tools are published.
    ToolsChanged = "tools.changed",
    /// A node offers a tool, or another contract of it.
    ToolRegistered = "tool.registered",
    /// A node offers a tool no longer.
    ToolRemoved = "tool.removed",
    /// Another node offers the tool in that version under another contract.
    ToolCollision = "tool.collision",
    /// A bus was announced.
    BusRegistered = "bus.registered",
    /// A bus has ended.
    BusRemoved = "bus.removed",
    /// Something follows from a validator's report that was not so before.
    TrustChanged = "trust.changed",
    /// An execution has begun.
    ToolInvoked = "tool.invoked",
    /// An execution was answered with a result.
    ToolCompleted = "tool.completed",
    /// An execution ended without a result.
    ToolFailed = "tool.failed",
}

impl EventKind {
    /// Those that are published.
    pub const PUBLISHED: &[Self] = &[
        Self::PortLeased,
        Self::PortReleased,
        Self::PortExpired,
        Self::PortRebound,
        Self::PortQuarantined,
        Self::Gap,
        Self::PortRevoked,
        Self::PortUnquarantined,
        Self::NodeRegistered,
        Self::NodeRejoined,
        Self::NodeExpired,
        Self::NodeDeregistered,
        Self::NodeEvicted,
        Self::HostForgotten,
        Self::PoolChanged,
        Self::PoolDeleted,
        Self::ToolRegistered,
        Self::ToolRemoved,
        Self::ToolCollision,
        Self::BusRegistered,
        Self::BusRemoved,
        Self::TrustChanged,
        Self::ToolInvoked,
        Self::ToolCompleted,
        Self::ToolFailed,
    ];
}
