//! Nodes as lists and `describe` show them.

use jiff::Timestamp;
use onex_types::ids::{Host, Label, Name, NodeId, Reason, RequesterId, Ttl};
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    bounds::Open,
    bus::BusItem,
    node::{ExecutionMode, InboundPort, NodeSchema, NodeType, OutboundPort},
    node_life::NodeEnd,
    port::{LeaseReply, Limit, PAGE_ITEMS_MAX},
    schema::{AnyJson, VersionText},
    time,
    tool::Tool,
    trust::{Trust, TrustState},
};

/// Whether a node is alive.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Liveness {
    /// Its TTL has not run out.
    Online,
    /// No heartbeat came in time, and nothing has ended it yet.
    Expired,
    /// It has ended.
    Ended,
}

/// Asks for nodes, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeListRequest {
    /// Only of this type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_type: Option<NodeType>,
    /// Only with this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Name>,
    /// Only these. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Liveness>,
    /// Only on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// Only `trusted` and `verified` ones. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_only: Option<bool>,
    /// Items of this page, at most: 1 to 1,000, default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u16>", range(min = 1, max = PAGE_ITEMS_MAX))]
    pub limit: Option<Limit>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// A node, in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeItem {
    /// Its name.
    pub node_id: NodeId,
    /// Its version.
    #[schemars(with = "VersionText")]
    pub version: Version,
    /// What it is.
    pub node_type: Open<NodeType>,
    /// Where it runs; null if it did not say.
    pub host: Option<Host>,
    /// Its tags.
    pub tags: Vec<Name>,
    /// Whether it is alive.
    pub liveness: Open<Liveness>,
    /// Which life of it.
    pub epoch: u64,
    /// When this life was announced, for people.
    #[serde(serialize_with = "time::serialize")]
    pub registered_at: Timestamp,
    /// When it ended, for people; absent while it has not.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "time::optional"
    )]
    pub ended_at: Option<Timestamp>,
    /// How it ended; absent while it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<NodeEnd>,
    /// Why an administrator ended it; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What is left of its time without a heartbeat, for people: 0 when it is due or has ended.
    pub expires_in_ms: u64,
    /// How many tools it offers, or offered before it ended.
    pub tools: usize,
    /// How far it is trusted.
    pub trust_state: Open<TrustState>,
    /// 0 to 1; null while nobody has examined it.
    pub trust_score: Option<f64>,
}

/// A section of a node's description.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// What it is and how it is.
    Node,
    /// Where it listens, where it sends to, and its leases.
    Ports,
    /// What goes in and what comes out.
    Schema,
    /// How far it is trusted, and why.
    Trust,
    /// What others may call.
    Tools,
    /// Its buses.
    Buses,
}

impl Section {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Node,
        Self::Ports,
        Self::Schema,
        Self::Trust,
        Self::Tools,
        Self::Buses,
    ];
}

/// What a node is and how it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeMetadata {
    /// In short.
    #[serde(flatten)]
    pub summary: NodeItem,
    /// What exactly runs; null if it did not say. So are all that follow.
    pub version_hash: Option<Label>,
    /// What it does, for people.
    pub description: Option<String>,
    /// How it runs.
    pub execution_mode: Option<Open<ExecutionMode>>,
    /// Seconds that it counts as alive without a heartbeat.
    pub ttl: Ttl,
    /// Who registered it.
    pub requester_id: RequesterId,
    /// When it ends without a heartbeat, for people.
    #[serde(serialize_with = "time::serialize")]
    pub expires_at: Timestamp,
    /// When the last heartbeat came, for people; null before the first.
    #[serde(default, serialize_with = "time::optional")]
    pub last_heartbeat_at: Option<Timestamp>,
    /// What it said of its health at the last heartbeat.
    #[schemars(with = "AnyJson")]
    pub health: Option<Value>,
    /// What else it can do, in its own words.
    #[schemars(with = "AnyJson")]
    pub capabilities: Option<Value>,
    /// Where in a graph it stands.
    #[schemars(with = "AnyJson")]
    pub graph_binding: Option<Value>,
    /// The agent that it belongs to.
    pub owned_by_agent: Option<Label>,
    /// Agents that follow what it does.
    pub subscribed_by_agents: Vec<Label>,
    /// Nodes that it gets its inputs from.
    pub upstream_nodes: Vec<NodeId>,
    /// Nodes that get its outputs.
    pub downstream_nodes: Vec<NodeId>,
    /// What it is now, condensed: its version, type, schema and tools.
    pub contract_hash: String,
    /// How often its tools were called through the registry; null where nothing was measured.
    pub execution_count: Option<u64>,
    /// The share of those calls that went well, 0 to 1; null where nothing was measured.
    #[schemars(range(min = 0, max = 1))]
    pub success_rate: Option<f64>,
    /// When the last of those calls was, for people; null where nothing was measured.
    #[serde(default, serialize_with = "time::optional")]
    pub last_execution_timestamp: Option<Timestamp>,
}

/// What became of the lease of a port.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum InboundLease {
    /// It is live.
    Active,
    /// It was released, its time was up, or its node has ended: the port may be another's.
    Ended,
}

/// Where a node listens, as it said, and whether it still may.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListensAt {
    /// As it was announced.
    #[serde(flatten)]
    pub port: InboundPort,
    /// What became of the lease; null where the port is from none.
    pub lease_status: Option<Open<InboundLease>>,
}

/// Where a node listens and where it sends to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodePorts {
    /// Where it listens.
    pub inbound: Vec<ListensAt>,
    /// Where it sends to.
    pub outbound: Vec<OutboundPort>,
    /// The leases that end with it: the first hundred, or fewer where the answer would be too large.
    /// `port.list` with its `node_id` has all.
    pub leases: Vec<LeaseReply>,
    /// How many there are.
    pub lease_count: usize,
}

/// A tool of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeTool {
    /// The whole contract, with the subject where the tool listens.
    #[serde(flatten)]
    pub tool: Tool,
    /// What callers rely on, condensed: the schemas, errors and effects, but no description.
    pub contract_hash: String,
    /// Whether others offer another contract by that name and version.
    pub collision: bool,
}

/// One node, as `describe` shows it: a section that was not asked for is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeView {
    /// What it is and how it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeMetadata>,
    /// Where it listens and where it sends to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<NodePorts>,
    /// What goes in and what comes out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<NodeSchema>,
    /// How far it is trusted, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
    /// What others may call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<NodeTool>>,
    /// Its buses: the first hundred, or fewer where the answer would be too large. `bus.list` with its
    /// `node_id` has all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buses: Option<Vec<BusItem>>,
    /// How many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus_count: Option<usize>,
}
