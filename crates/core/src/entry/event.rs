//! What an entry says of what is to be published.

use std::sync::Arc;

use onex_types::ids::Port;
use serde::{Deserialize, Serialize};

use crate::{
    call::ExecutionEnd,
    execution::Run,
    lease::Lease,
    node_event::{NodeEvent, ToolRef, TrustEvent},
};

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

impl EventRecord {
    /// An event of that kind, of what the change itself says.
    pub fn new(kind: EventKind) -> Self {
        Self {
            kind,
            n: 0,
            lease: None,
            old_port: None,
            gap: None,
            node: None,
            trust: None,
            run: None,
            end: None,
        }
    }

    /// An event about a node.
    pub fn of_node(kind: EventKind, node: NodeEvent) -> Self {
        Self {
            node: Some(Box::new(node)),
            ..Self::new(kind)
        }
    }

    /// Whether it says more than of a lease.
    pub(crate) fn is_free_form(&self) -> bool {
        let Self {
            kind: _,
            n: _,
            lease,
            old_port: _,
            gap: _,
            node,
            trust,
            run,
            end,
        } = self;
        let others = node.is_some() || trust.is_some() || run.is_some() || end.is_some();
        others
            || lease
                .as_ref()
                .is_some_and(|lease| !lease.unknown.is_empty())
    }

    /// The events that are published of it, in order, each with the tool that it is about.
    pub fn events(&self) -> impl Iterator<Item = (EventKind, Option<&ToolRef>)> {
        let own = (self.kind != EventKind::ToolsChanged).then_some((self.kind, None));
        let node = self.node.as_deref();
        let tools = node.into_iter().flat_map(|node| {
            let of = |kind| move |tool| (kind, Some(tool));
            let removed = node.tools_removed.iter().map(of(EventKind::ToolRemoved));
            let added = node.tools_added.iter().map(of(EventKind::ToolRegistered));
            let collisions = node.collisions.iter().map(of(EventKind::ToolCollision));
            removed.chain(added).chain(collisions)
        });
        own.into_iter().chain(tools)
    }
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
