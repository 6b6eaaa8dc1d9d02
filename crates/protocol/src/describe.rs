//! Requests and replies of `describe` and `help`.

use jiff::Timestamp;
use onex_types::ids::{Host, NodeId, Ttl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    bus::BusItem,
    node_view::{NodeItem, NodeView, Section},
    pool::PoolItem,
    port::{Limit, PAGE_ITEMS_MAX},
    time,
    tool::ToolItem,
};

/// Asks what there is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DescribeRequest {
    /// Describe this node in the place of the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Only these. Of a node all six; of the registry `ports` are its pools, `node` its nodes, and `schema` and
    /// `trust` say nothing. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sections: Option<Vec<Section>>,
    /// Items of the registry on this page, pools, nodes, tools and buses together, at most: 1 to 1,000, default 100.
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

/// The instance that answers, and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Registry {
    /// Which instance.
    pub registry_id: Uuid,
    /// Its build.
    pub version: String,
    /// The protocol that it speaks, `1.<minor>`.
    pub protocol: String,
    /// Its namespace; absent for the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Where it runs: the default of a request's `host`.
    pub host: Host,
    /// When it started, for people.
    #[serde(serialize_with = "time::serialize")]
    pub started_at: Timestamp,
    /// The longest TTL that it grants, in seconds.
    pub ttl_max: Ttl,
    /// Whether it tries ports of its own host after a grant.
    pub probes: bool,
    /// The NATS server that it is connected to.
    pub nats_server: String,
    /// How often its store was accepted after it had gone backwards.
    pub lineage: u64,
}

/// One instance that shares the work.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// The id of this start of the instance.
    pub registry_id: String,
    /// Its build.
    pub version: String,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// How much there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Live leases.
    pub leases: usize,
    /// Hosts with a pool.
    pub hosts: usize,
    /// Live nodes.
    pub nodes: usize,
    /// Tools of live nodes, by their names.
    pub tools: usize,
    /// Buses that are active.
    pub buses: usize,
    /// Events that wait to be published.
    pub events_waiting: usize,
}

/// The registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DescribeReply {
    /// The instance that answers.
    pub registry: Registry,
    /// All that were heard of lately, this one included.
    pub instances: Vec<Instance>,
    /// How much there is.
    pub counts: Totals,
    /// The pools, those of this page.
    pub pools: Vec<PoolItem>,
    /// The nodes, those of this page.
    #[serde(default)]
    pub nodes: Vec<NodeItem>,
    /// The tools, those of this page.
    #[serde(default)]
    pub tools: Vec<ToolItem>,
    /// The buses, those of this page.
    #[serde(default)]
    pub buses: Vec<BusItem>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeDescribeReply {
    /// The node's id.
    pub node_id: NodeId,
    /// All about it, or the sections that were asked for.
    #[serde(flatten)]
    pub view: NodeView,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// Asks for help.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HelpRequest {}

/// How to use one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Help {
    /// Its name.
    pub endpoint: String,
    /// Where it listens.
    pub subject: String,
    /// What it does.
    pub description: String,
    /// What it takes: JSON Schema 2020-12.
    pub request_schema: Value,
    /// What it answers: JSON Schema 2020-12.
    pub response_schema: Value,
    /// A request.
    pub example: Value,
    /// The codes of the errors that it can answer with.
    #[serde(default)]
    pub errors: Vec<String>,
}

/// An error that can come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorHelp {
    /// The stable name.
    pub code: String,
    /// Its number.
    pub number: u16,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// What it means.
    #[serde(default)]
    pub meaning: String,
}

/// All endpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HelpReply {
    /// Each.
    pub endpoints: Vec<Help>,
    /// What can go wrong.
    pub errors: Vec<ErrorHelp>,
    /// How a holder knows for how long it holds a port.
    pub holders_clock: String,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}
