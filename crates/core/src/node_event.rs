//! What events tell of nodes and of trust, where the record that the change puts does not say it.

use onex_types::ids::{Label, NodeId, RequesterId, Token};
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::trust::{Lifecycle, TrustState, Verdict};

/// What an event tells of a node, and of its tools: each tool is an event of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrustEvent {
    /// Which validator.
    pub validator_id: NodeId,
    /// Who registered that validator.
    pub requester_id: RequesterId,
    /// What it says.
    pub outcome: Verdict,
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
