//! What is stored of nodes and buses. As in [`record`](crate::record), these types are the storage format.

use jiff::Timestamp;
use onex_types::ids::{Incarnation, LeaseId, Reason, RequesterId, Token, Ttl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    lease::LeaseEnd,
    node::{EARLIER_INCARNATIONS_MAX, NodeEnd, REQUESTS_REMEMBERED, Registration},
    record_parts::{Json, OwnerRef, Request, Unknown},
};

/// Earlier lives of a node of which something may still be there, at most. What belongs to them ends within
/// moments, so that only a node which registers again and again has more than one.
pub const PAST_INCARNATIONS_MAX: usize = 16;

/// A node as it was registered, under `node.<id>`. It is written together with the life that it is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// The life that it is for.
    pub incarnation: Incarnation,
    /// What it announced.
    pub registration: Registration,
    /// The request that this life began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Request>,
    /// The last requests that changed it since, oldest first.
    #[schemars(length(max = REQUESTS_REMEMBERED))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
    /// The requests that earlier lives began with, oldest first. A late copy of one must not begin another life.
    #[schemars(length(max = EARLIER_INCARNATIONS_MAX))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Request>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The life that a node has, or had last, under `live.<id>`. A heartbeat renews it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Live {
    /// This life, among all that nodes have led.
    pub incarnation: Incarnation,
    /// Counts a node's lives.
    pub epoch: u64,
    /// Who registered it.
    pub requester_id: RequesterId,
    /// How long it lasts without a heartbeat.
    pub ttl: Ttl,
    /// When it was registered, for people.
    pub registered_at: Timestamp,
    /// How and when it ended; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<NodeEnded>,
    /// Earlier lives to which something belonged when this one was registered.
    #[schemars(length(max = PAST_INCARNATIONS_MAX))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<PastIncarnation>,
    /// What the node says of its health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Json>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The end of a life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeEnded {
    /// How it ended.
    pub how: NodeEnd,
    /// When, for people.
    pub at: Timestamp,
    /// How long the node is remembered, in milliseconds from when an instance applies this.
    pub kept_ms: u64,
    /// Why an administrator ended it; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// An earlier life of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PastIncarnation {
    /// The incarnation that is over.
    pub incarnation: Incarnation,
    /// How its leases end.
    pub how: LeaseEnd,
    /// When it ended, for people.
    pub at: Timestamp,
    /// Its TTL: for so long its holder may still count on what belonged to it, if it was superseded.
    pub ttl: Ttl,
}

/// A bus as it was announced, under `bus.<id>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bus {
    /// Who announced it.
    pub requester_id: RequesterId,
    /// What is spoken there.
    pub protocol: Token,
    /// The node that it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerRef>,
    /// The lease that it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// When it was announced, for people.
    pub registered_at: Timestamp,
    /// How and when it ended; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<BusEnded>,
    /// The last requests that announced or removed it, oldest first.
    #[schemars(length(max = REQUESTS_REMEMBERED))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
    /// Everything else that was said of it.
    #[serde(flatten)]
    pub more: Unknown,
}

/// The end of a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BusEnded {
    /// How it ended.
    pub how: LeaseEnd,
    /// When, for people.
    pub at: Timestamp,
    /// How long the bus is remembered, in milliseconds from when an instance applies this.
    pub kept_ms: u64,
}

/// What bounds nodes and buses; a part of the settings that all instances share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeLimits {
    /// How many nodes may be known, ended ones that are remembered included.
    pub nodes_max: usize,
    /// How many buses may be known, ended ones that are remembered included.
    pub buses_max: usize,
    /// How long a registration may be with all its tools, in bytes.
    pub node_bytes_max: usize,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            nodes_max: 10_000,
            buses_max: 10_000,
            node_bytes_max: 448 * 1024,
        }
    }
}

impl Live {
    /// Whether no entry has ended it.
    pub fn is_live(&self) -> bool {
        self.ended.is_none()
    }

    /// How its leases end once it has ended.
    pub fn leases_end(&self) -> Option<LeaseEnd> {
        self.ended.as_ref().map(|ended| match ended.how {
            NodeEnd::Deregistered => LeaseEnd::Released,
            NodeEnd::Expired => LeaseEnd::Expired,
            NodeEnd::Evicted => LeaseEnd::Revoked,
        })
    }
}
