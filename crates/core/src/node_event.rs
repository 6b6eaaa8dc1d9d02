//! What events tell of nodes and of trust, where the record that the change puts does not say it.

use onex_types::ids::{Label, NodeId, RequesterId, Token};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    entry::{EventKind, EventRecord},
    trust::{Lifecycle, Outcome, TrustState},
};

/// What an event tells of a node, and of its tools: each tool is an event of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEvent {
    /// Who registered it.
    pub requester_id: RequesterId,
    /// Its epoch.
    pub epoch: u64,
    /// Tools that it offers no longer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools_removed: Vec<ToolRef>,
    /// Tools that it offers from now on, or under another contract.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools_added: Vec<ToolRef>,
    /// Those of them that another node offers under another contract.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collisions: Vec<ToolRef>,
}

/// A tool that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ToolRef {
    /// Its name.
    pub name: Token,
    /// Its version.
    pub version: Version,
    /// A node that offers another contract by that name and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<NodeId>,
}

/// What an event tells of a validator's report, and of what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustEvent {
    /// Which validator.
    pub validator_id: NodeId,
    /// Who registered that validator.
    pub requester_id: RequesterId,
    /// What it says.
    pub outcome: Outcome,
    /// In which way the node failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_mode: Option<Label>,
    /// The contract that was examined.
    pub contract_hash: String,
    /// How far the node is trusted now.
    pub state: TrustState,
    /// How many validators let it pass.
    pub passes: usize,
    /// How many do not.
    pub fails: usize,
    /// How far the node has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

impl NodeEvent {
    /// Whether it tells of any tool.
    pub fn tells_of_tools(&self) -> bool {
        !(self.tools_removed.is_empty() && self.tools_added.is_empty())
    }
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
