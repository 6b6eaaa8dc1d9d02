//! What an entry says of what is to be published.

use std::sync::Arc;

use onex_types::{
    ids::{Port, Reason},
    kinds::EventKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    call::ExecutionEnd,
    execution::Run,
    lease::Lease,
    node_event::{NodeEvent, ToolRef, TrustEvent},
};

/// Something that happened, as it is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Why an administrator did it, or a holder gave a port up; absent where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
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
            reason: None,
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
            reason: _,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// The first revision.
    pub from: u64,
    /// The last revision.
    pub to: u64,
}
