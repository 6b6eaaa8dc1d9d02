//! Buses that were announced.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ids::{LeaseId, RequesterId, Token},
    node::Life,
    record::{Ended, Request, Unknown},
};

/// What one `bus.<id>` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bus {
    /// The bus.
    pub bus: Announcement,
}

/// A bus as it was announced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Announcement {
    /// Who announced it.
    pub requester_id: RequesterId,
    /// What is spoken there.
    pub protocol: Token,
    /// The life of a node that it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Life>,
    /// The lease that it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// When it was announced, for people.
    pub registered_at: Timestamp,
    /// How and when it ended; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<BusEnded>,
    /// The request that it was announced by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// The requests that announced or ended it before, oldest first; at most
    /// [`REQUESTS_REMEMBERED`](super::node::REQUESTS_REMEMBERED).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Request>,
    /// Everything else that was said of it.
    #[serde(flatten)]
    pub more: Unknown,
}

/// The end of a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusEnded {
    /// How.
    pub how: Ended,
    /// When, for people.
    pub at: Timestamp,
}
