//! What one command changes, one key at a time, and what is published of it.

use std::sync::Arc;

use jiff::Timestamp;
use onex_types::ids::{Port, Ttl};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    call::ExecutionEnd,
    execution::Run,
    key::Key,
    node_event::{NodeEvent, TrustEvent},
    record::{Json, Lease, LeaseEnd, Record, Request},
};

/// One change of one key.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The key has this record now.
    Put {
        /// Which.
        key: Key,
        /// What.
        record: Record,
        /// It is a grant whose port is still being tried, and that its granter may roll back.
        tentative: bool,
        /// What to publish.
        event: Option<EventRecord>,
    },
    /// A lease or a node lasts its TTL again, and more changes than that.
    Renew {
        /// Which.
        key: Key,
        /// Its TTL from now on.
        ttl: Option<Ttl>,
        /// The request that asked for it.
        request: Option<Request>,
        /// Of a node: what it says of its health, where that has changed.
        health: Option<Json>,
    },
    /// A grant is tentative no longer: it is never rolled back.
    Confirm {
        /// Which.
        key: Key,
    },
    /// A lease ends. What becomes of its other ports is said of each.
    End {
        /// Which.
        key: Key,
        /// How.
        how: LeaseEnd,
        /// How long nobody gets the port, in milliseconds, where that does not follow from how it ended.
        cooldown_ms: Option<u64>,
        /// The request that asked for it.
        request: Option<Request>,
        /// What to publish.
        event: Option<EventRecord>,
    },
    /// More executions of a node's tools have ended: they add to its counts.
    Add {
        /// Which counts.
        key: Key,
        /// How many.
        runs: u64,
        /// How many of them were answered with a result.
        ok: u64,
    },
    /// The key has no record any more.
    Delete {
        /// Which.
        key: Key,
        /// What to publish.
        event: Option<EventRecord>,
    },
    /// No command has the revisions up to that one: the next has a higher one.
    Skip {
        /// The revision.
        to: u64,
    },
    /// A part of a snapshot: every record of a range of keys. Changes nothing.
    Chunk(Box<Chunk>),
}

impl Change {
    /// Numbers what is told of it: `next` says which number is next for its key.
    pub(crate) fn number(&mut self, mut next: impl FnMut(&Key) -> u64) {
        if let Self::Put { key, event, .. }
        | Self::End { key, event, .. }
        | Self::Delete { key, event } = self
            && let Some(event) = event
        {
            event.n = next(key);
        }
    }

    /// The key whose record it changes.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Put { key, .. }
            | Self::Renew { key, .. }
            | Self::Confirm { key }
            | Self::End { key, .. }
            | Self::Add { key, .. }
            | Self::Delete { key, .. } => Some(key),
            Self::Skip { .. } | Self::Chunk(_) => None,
        }
    }

    /// What to publish of it.
    pub fn event(&self) -> Option<&EventRecord> {
        match self {
            Self::Put { event, .. } | Self::End { event, .. } | Self::Delete { event, .. } => {
                event.as_ref()
            }
            Self::Renew { .. }
            | Self::Confirm { .. }
            | Self::Add { .. }
            | Self::Skip { .. }
            | Self::Chunk(_) => None,
        }
    }
}

/// Something that happened, as it is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// The event's kind, which its subject names.
    pub kind: EventKind,
    /// Counts what was told of its key from 1, without a gap as long as there is a record under that key.
    #[serde(default)]
    pub n: u64,
    /// The lease, where the change does not put it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Arc<Lease>>,
    /// The port that the lease gave up, where it got another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_port: Option<Port>,
    /// The events that are missing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// The node, and tools of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Box<NodeEvent>>,
    /// What a validator said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Box<TrustEvent>>,
    /// The execution, where the change does not put it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Arc<Run>>,
    /// How an execution ended, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Arc<ExecutionEnd>>,
}

/// Events that were removed before they were published: those of these revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first revision.
    pub from: u64,
    /// The last revision.
    pub to: u64,
}

/// The kinds of events, each with its text in subjects, events and entries.
macro_rules! event_kinds {
    ($($(#[$doc:meta])* $kind:ident = $text:literal,)*) => {
        /// Kinds of events.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// A node was registered.
    NodeRegistered = "node.registered",
    /// A node was registered again after its time had been up.
    NodeRejoined = "node.rejoined",
    /// A node's time was up.
    NodeExpired = "node.expired",
    /// A node was deregistered.
    NodeDeregistered = "node.deregistered",
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
    ];
}

/// A part of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// Which snapshot.
    pub snapshot: Uuid,
    /// Counts its chunks from 0.
    pub n: u32,
    /// Whether it is the last one.
    pub last: bool,
    /// The lowest key of its range; absent in the first chunk, which has no lower end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Key>,
    /// The lowest key above its range; absent in the last chunk, which has no upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Key>,
    /// Every record of the range as of this entry.
    pub records: Vec<Kept>,
}

/// A record of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Its key.
    pub key: Key,
    /// The revision of the command that last changed it.
    pub rev: u64,
    /// When that was.
    pub at: Timestamp,
    /// Whether it is a tentative grant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tentative: bool,
    /// The number of its last event.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub event_count: u64,
    /// The record.
    pub record: Record,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
