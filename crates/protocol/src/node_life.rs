//! How a node stays and goes: requests and replies of `node.heartbeat` and `node.deregister`.

use jiff::Timestamp;
use onex_types::ids::{NodeId, RequestId, RequesterId, Ttl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    bounds,
    node::HEALTH_BYTES_MAX,
    schema::{AnyJson, SafeNumber},
    time,
};

/// A heartbeat is due after this part of what is left.
pub const HEARTBEAT_AFTER_PART: u64 = 3;

/// Lets a node, and what ends with it, last its TTL again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatRequest {
    /// The node's id.
    pub node_id: NodeId,
    /// Who registered it.
    pub requester_id: RequesterId,
    /// From its registration.
    #[serde(deserialize_with = "bounds::number")]
    #[schemars(with = "SafeNumber")]
    pub epoch: u64,
    /// A new TTL in seconds; a shorter one than the node has changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Ttl>,
    /// How it is: any JSON of at most 4 KiB and 64 levels. Default: as before.
    #[serde(
        default,
        deserialize_with = "bounds::json::<_, HEALTH_BYTES_MAX>",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "AnyJson")]
    pub health: Option<Value>,
    /// Your name for this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// A node that lives on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatReply {
    /// The node's id.
    pub node_id: NodeId,
    /// What is left.
    pub expires_in_ms: u64,
    /// When to send the next heartbeat: a third of what is left.
    pub heartbeat_after_ms: u64,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// Ends a node; its leases, buses and tools end with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeregisterRequest {
    /// The node's id.
    pub node_id: NodeId,
    /// Who registered it.
    pub requester_id: RequesterId,
    /// From its registration.
    #[serde(deserialize_with = "bounds::number")]
    #[schemars(with = "SafeNumber")]
    pub epoch: u64,
    /// Your name for this request: the same again is answered with the present state, never done twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// How a node ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum NodeEnd {
    /// It said so itself.
    Deregistered,
    /// No heartbeat came in time.
    Expired,
    /// The same node was announced with a higher epoch.
    Superseded,
    /// An operator ended it.
    Evicted,
    /// One that a later version knows.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// A node that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeregisterReply {
    /// The node's id.
    pub node_id: NodeId,
    /// Which life of it.
    pub epoch: u64,
    /// How it ended.
    pub status: NodeEnd,
    /// When, for people.
    #[serde(serialize_with = "time::serialize")]
    pub ended_at: Timestamp,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}
