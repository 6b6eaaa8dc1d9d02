//! Requests and replies of the `bus.*` endpoints.

use jiff::Timestamp;
use onex_types::ids::{BusId, LeaseId, NodeId, RequestId, RequesterId, Token};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bounds::{or_true, yes},
    port::{Limit, PAGE_ITEMS_MAX},
    schema::UriText,
    time,
    uri::EndpointUri,
    warning::Warning,
};

/// Announces a bus, or changes one that you have announced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BusRegisterRequest {
    /// Its name.
    pub bus_id: BusId,
    /// What it speaks: `jetstream`, `redis`, …
    pub protocol: Token,
    /// Where it listens. Credentials in it are removed.
    #[schemars(with = "UriText")]
    pub endpoint_uri: EndpointUri,
    /// Whether messages are taken from it. Default true.
    #[serde(default = "yes", deserialize_with = "or_true")]
    #[schemars(with = "Option<bool>")]
    pub inbound: bool,
    /// Whether messages are put on it. Default true.
    #[serde(default = "yes", deserialize_with = "or_true")]
    #[schemars(with = "Option<bool>")]
    pub outbound: bool,
    /// Who announces it: a name that you choose and keep, not a secret.
    pub requester_id: RequesterId,
    /// The node that it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// The lease of the port that it listens on, and that it ends with: live, and yours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// Your name for this request: the same again is answered with the present state, never done twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// Takes a bus out of the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BusDeregisterRequest {
    /// The bus's id.
    pub bus_id: BusId,
    /// Who announced it.
    pub requester_id: RequesterId,
    /// Your name for this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// What became of a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BusStatus {
    /// It is in the list.
    Accepted,
    /// It is not any more.
    Removed,
    /// One that a later version knows.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// What became of a bus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BusReply {
    /// The bus's id.
    pub bus_id: BusId,
    /// `accepted` or `removed`.
    pub status: BusStatus,
    /// The address as it is shown: without credentials. Absent when it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<UriText>")]
    pub endpoint_uri: Option<EndpointUri>,
    /// What is worth a look, though it was done.
    pub warnings: Vec<Warning>,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// Asks for buses, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BusListRequest {
    /// Only of this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Only with this protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Token>,
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

/// A bus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BusItem {
    /// The bus's id.
    pub bus_id: BusId,
    /// What it speaks.
    pub protocol: Token,
    /// Where it listens, without credentials.
    #[schemars(with = "UriText")]
    pub endpoint_uri: EndpointUri,
    /// Whether messages are taken from it.
    pub inbound: bool,
    /// Whether messages are put on it.
    pub outbound: bool,
    /// Who announced it.
    pub requester_id: RequesterId,
    /// The node that it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// The lease that it ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// Whether what it ends with is alive.
    pub active: bool,
    /// How many listen; null until measured.
    pub subscriber_count: Option<u64>,
    /// How busy it is; null until measured.
    pub messages_per_sec: Option<f64>,
    /// Whether it answered when it was tried; null until tried.
    pub health_check_passed: Option<bool>,
    /// When it was announced, for people.
    #[serde(serialize_with = "time::serialize")]
    pub registered_at: Timestamp,
}
