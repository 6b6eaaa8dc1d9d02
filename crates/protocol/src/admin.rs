//! Requests and replies of the `admin.*` endpoints: what is taken from its holder, and why.

use jiff::Timestamp;
use onex_types::{
    ids::{Host, LeaseId, NodeId, Port, Reason, RequestId, Transport},
    kinds::LeaseEnd,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bounds::{self, Open},
    schema::SafeNumber,
    time,
};

/// Takes a lease away from its holder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RevokeRequest {
    /// Which lease; or else `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// The lease that has this port when the request is carried out: a copy that comes late may meet another lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// With `port`: on which host. Default: the registry's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// With `port`: in which port space. Default `tcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Why: it is in the event, in the log, and in what the holder is told.
    pub reason: Reason,
    /// Your name for this request. The same again changes nothing, with or without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// A lease that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RevokeReply {
    /// The lease that was taken away.
    pub lease_id: LeaseId,
    /// How: `revoked`, or as it had ended before.
    pub outcome: Open<LeaseEnd>,
    /// When, for people.
    #[serde(serialize_with = "time::serialize")]
    pub ended_at: Timestamp,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// Lets a port that is quarantined be granted again at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnquarantineRequest {
    /// Which port.
    pub port: Port,
    /// On which host. Default: the registry's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// In which port space. Default `tcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Why: it is in the event and in the log.
    pub reason: Reason,
    /// Your name for this request. The same again changes nothing, with or without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// A port that nobody holds, and that can be granted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnquarantineReply {
    /// On which host.
    pub host: Host,
    /// In which port space.
    pub transport: Transport,
    /// Which port.
    pub port: Port,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// Has a host forgotten on which nothing is: its pool, its names, and how the last leases of its ports ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForgetHostRequest {
    /// Which host.
    pub host: Host,
    /// Why: it is in the event and in the log.
    pub reason: Reason,
    /// Your name for this request. The same again changes nothing, with or without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// A host of which nothing is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForgetHostReply {
    /// Which host.
    pub host: Host,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// Ends a node, whoever registered it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvictRequest {
    /// Which node.
    pub node_id: NodeId,
    /// Only this life of it. Without it a copy of this request that comes late ends another one.
    #[serde(
        default,
        deserialize_with = "bounds::optional_number",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<SafeNumber>")]
    pub epoch: Option<u64>,
    /// Why: it is in the event, in the log, and in what the node is told.
    pub reason: Reason,
    /// Your name for this request. The same again changes nothing, with or without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}
