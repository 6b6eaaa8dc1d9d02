//! Nodes: what they announce, and the life that they lead.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ids::{Incarnation, RequesterId, Ttl},
    record::{Json, Request, Unknown},
};

pub use onex_core::{
    node::{
        CONTRACT_HASH_PREFIX, EARLIER_INCARNATIONS_MAX as EARLIER_LIVES_MAX, EPOCH_NAMED_MAX,
        Inbound, NODE_PATTERNS_MAX, NODE_TOOLS_MAX, NodeEnd as LifeEnd, NodeType,
        REQUESTS_REMEMBERED, Registration, Tool,
    },
    record::OwnerRef as Life,
};

/// What one `node.<id>` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Announced {
    /// What was announced.
    pub node: Node,
}

/// What one `live.<id>` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lived {
    /// The life that it leads or last led.
    pub live: Live,
}

/// A node as it was announced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The life that it was announced for: it is what the node is only as long as that is the one it leads.
    pub incarnation: Incarnation,
    /// What it said.
    pub registration: Registration,
    /// The last requests that changed it, oldest first; at most [`REQUESTS_REMEMBERED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
    /// The requests that its earlier lives began with, oldest first; at most [`EARLIER_LIVES_MAX`]. One that
    /// comes late must not begin another life.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Request>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The life that a node leads, or last led.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// Which.
    pub incarnation: Incarnation,
    /// Counts a node's lives.
    pub epoch: u64,
    /// Whose node it is.
    pub requester_id: RequesterId,
    /// How long it lasts without a heartbeat.
    pub ttl: Ttl,
    /// When it began, for people.
    pub registered_at: Timestamp,
    /// The last announcement or heartbeat, for people.
    pub renewed_at: Timestamp,
    /// How and when it ended; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<LifeEnded>,
    /// What an earlier life may still be counted on for by its holder: it was ended by this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_ttl: Option<Ttl>,
    /// The request that it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// What the node says of its health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Json>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The end of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeEnded {
    /// How.
    pub how: LifeEnd,
    /// When, for people.
    pub at: Timestamp,
}
