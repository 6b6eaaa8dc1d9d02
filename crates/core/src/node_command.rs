//! What can be asked for about nodes, tools, buses and trust.

use std::sync::Arc;

use jiff::Timestamp;
use onex_types::{
    ids::{BusId, Label, LeaseId, NodeId, RequesterId, Token, Ttl},
    time::MonoMillis,
};
use semver::Version;

use crate::{
    node::{Registration, Tool},
    node_record::Live,
    record_parts::{Json, Request, Unknown},
    trust::{Lifecycle, Verdict, Verdicts},
};

/// Who acts for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeClaim {
    /// Which node.
    pub node_id: NodeId,
    /// Who asks.
    pub requester_id: RequesterId,
    /// Which life of it.
    pub epoch: u64,
}

/// A node is registered, anew or again.
#[derive(Debug, Clone, PartialEq)]
pub struct Register {
    /// The node's id.
    pub node_id: NodeId,
    /// Who asks.
    pub requester_id: RequesterId,
    /// Which life; none for the next one.
    pub epoch: Option<u64>,
    /// How long it lasts without a heartbeat.
    pub ttl: Ttl,
    /// What it announces.
    pub registration: Registration,
    /// Makes retries idempotent.
    pub request: Option<Request>,
}

/// A node's life lasts its TTL again.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// The life that goes on, and who says so.
    pub of: NodeClaim,
    /// A longer TTL from now on.
    pub ttl: Option<Ttl>,
    /// What it says of its health, when it says anything.
    pub health: Option<Json>,
}

/// A node offers a tool, or another contract in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisterTool {
    /// Which node.
    pub of: NodeClaim,
    /// The tool.
    pub tool: Tool,
    /// Makes retries idempotent.
    pub request: Option<Request>,
}

/// A node offers a tool no longer.
#[derive(Debug, Clone, PartialEq)]
pub struct DeregisterTool {
    /// Which node.
    pub of: NodeClaim,
    /// The tool's name.
    pub name: Token,
    /// Its version; all of them if none.
    pub version: Option<Version>,
    /// Makes retries idempotent.
    pub request: Option<Request>,
}

/// A bus is announced, anew or again.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisterBus {
    /// The bus's id.
    pub bus_id: BusId,
    /// Who asks.
    pub requester_id: RequesterId,
    /// What is spoken there.
    pub protocol: Token,
    /// The node that it ends with.
    pub node_id: Option<NodeId>,
    /// The lease that it ends with.
    pub lease_id: Option<LeaseId>,
    /// Everything else that was said of it.
    pub more: Unknown,
    /// Makes retries idempotent.
    pub request: Option<Request>,
}

/// A bus is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeregisterBus {
    /// The bus's id.
    pub bus_id: BusId,
    /// Who asks.
    pub requester_id: RequesterId,
    /// Makes retries idempotent.
    pub request: Option<Request>,
}

/// What a validator says of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct TrustReport {
    /// Of which.
    pub node_id: NodeId,
    /// Which validator.
    pub validator_id: NodeId,
    /// Who asks.
    pub requester_id: RequesterId,
    /// What it says.
    pub outcome: Verdict,
    /// In which way the node failed.
    pub failure_mode: Option<Label>,
    /// How far the node has come.
    pub lifecycle: Option<Lifecycle>,
    /// The contract that was examined; none for the one that the node has now.
    pub contract_hash: Option<String>,
    /// Makes retries idempotent.
    pub request: Option<Request>,
}

/// What validators say of a node, as who reports is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct TrustAnswer {
    /// What they say, on all of its contracts.
    pub verdicts: Verdicts,
    /// The contract that the node has now.
    pub contract_hash: String,
}

/// The node that a lease is to end with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerRequest {
    /// The node's id.
    pub node_id: NodeId,
    /// Which life of it; none for the one that it has.
    pub epoch: Option<u64>,
    /// Whether the port is wanted where the node says that it runs, if it says so, and not on the request's host.
    pub on_its_host: bool,
}

/// A node as its caller is told of it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeAnswer {
    /// The node's id.
    pub node_id: NodeId,
    /// Its life.
    pub live: Arc<Live>,
    /// When that was registered or last renewed, for people.
    pub renewed_at: Timestamp,
    /// Since when its TTL counts, by this instance's clock.
    pub since: MonoMillis,
}
