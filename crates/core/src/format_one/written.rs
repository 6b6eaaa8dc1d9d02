//! Records as they stand in the bucket. Members that are not named here had no meaning beyond that format.

#![expect(
    clippy::struct_field_names,
    reason = "members are called so in the bucket"
)]

use jiff::Timestamp;
use onex_types::ids::{Digest, Incarnation, Label, LeaseId, Name, Port, RequesterId, Token, Ttl};
use serde::Deserialize;

use crate::{
    call::{CallEnded, Execution},
    lease::LeaseEnd,
    node::{NodeEnd, Registration},
    record_parts::{Json, OwnerRef, Request, Unknown},
    trust::Verdicts,
};

/// Which format a record has.
#[derive(Deserialize)]
pub(super) struct Format {
    pub(super) format: u32,
}

/// A record.
#[derive(Deserialize)]
pub(super) struct Record<B> {
    #[serde(default)]
    pub(super) outbox: Vec<Transition>,
    #[serde(flatten)]
    pub(super) body: B,
}

/// A change that waits to be told; absent: it was made by the message that tells of it.
#[derive(Deserialize)]
pub(super) struct Transition {
    pub(super) revision: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Sys {
    pub(super) lineage: u64,
    pub(super) ttl_max: Ttl,
}

#[derive(Deserialize)]
pub(super) struct Checkpoint {
    pub(super) out_to: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PortBody {
    Lease(Lease),
    Rest(Rest),
}

#[derive(Deserialize)]
pub(super) struct Lease {
    pub(super) lease_id: LeaseId,
    pub(super) requester_id: RequesterId,
    pub(super) protocol: Token,
    pub(super) ttl: Ttl,
    pub(super) node: Option<OwnerRef>,
    pub(super) ports: Vec<Port>,
    pub(super) name: Option<Name>,
    #[serde(default)]
    pub(super) labels: Vec<Label>,
    pub(super) requested_at: Option<Timestamp>,
    pub(super) granted_at: Timestamp,
    pub(super) request: Option<Request>,
    pub(super) renewal: Option<Request>,
}

#[derive(Deserialize)]
pub(super) struct Rest {
    pub(super) last: Option<Last>,
    pub(super) ended: Ended,
    pub(super) ended_at: Timestamp,
    pub(super) rest_ms: u64,
}

#[derive(Deserialize)]
pub(super) struct Last {
    pub(super) lease_id: LeaseId,
    pub(super) requester_id: RequesterId,
    pub(super) name: Option<Name>,
    pub(super) request: Option<Request>,
    pub(super) release: Option<Request>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ended {
    Released,
    Expired,
    InUse,
    Duplicate,
    Overwritten,
    Superseded,
    NodeGone,
}

impl Ended {
    /// The same in words of today.
    pub(super) fn how(self) -> LeaseEnd {
        match self {
            Self::Released | Self::Duplicate | Self::NodeGone => LeaseEnd::Released,
            Self::Expired | Self::Overwritten => LeaseEnd::Expired,
            Self::InUse => LeaseEnd::InUse,
            Self::Superseded => LeaseEnd::Superseded,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Announced {
    pub(super) node: Node,
}

#[derive(Deserialize)]
pub(super) struct Node {
    pub(super) registration: Registration,
    #[serde(default)]
    pub(super) requests: Vec<Request>,
    #[serde(default)]
    pub(super) earlier: Vec<Request>,
}

#[derive(Deserialize)]
pub(super) struct Lived {
    pub(super) live: Live,
}

#[derive(Deserialize)]
pub(super) struct Live {
    pub(super) incarnation: Incarnation,
    pub(super) epoch: u64,
    pub(super) requester_id: RequesterId,
    pub(super) ttl: Ttl,
    pub(super) registered_at: Timestamp,
    pub(super) ended: Option<LifeEnded>,
    pub(super) superseded_ttl: Option<Ttl>,
    pub(super) request: Option<Request>,
    pub(super) health: Option<Json>,
}

#[derive(Deserialize)]
pub(super) struct LifeEnded {
    pub(super) how: NodeEnd,
    pub(super) at: Timestamp,
}

#[derive(Deserialize)]
pub(super) struct BusBody {
    pub(super) bus: Bus,
}

#[derive(Deserialize)]
pub(super) struct Bus {
    pub(super) requester_id: RequesterId,
    pub(super) protocol: Token,
    pub(super) node: Option<OwnerRef>,
    pub(super) lease_id: Option<LeaseId>,
    pub(super) registered_at: Timestamp,
    pub(super) ended: Option<BusEnded>,
    pub(super) request: Option<Request>,
    #[serde(default)]
    pub(super) earlier: Vec<Request>,
    #[serde(flatten)]
    pub(super) more: Unknown,
}

#[derive(Deserialize)]
pub(super) struct BusEnded {
    pub(super) how: Ended,
    pub(super) at: Timestamp,
}

#[derive(Deserialize)]
pub(super) struct Judged {
    pub(super) verdicts: Verdicts,
}

#[derive(Deserialize)]
pub(super) struct Called {
    pub(super) call: Call,
}

#[derive(Deserialize)]
pub(super) struct Call {
    pub(super) digest: Digest,
    pub(super) execution: Execution,
    pub(super) timeout_ms: u64,
    pub(super) idempotent: bool,
    pub(super) requester_id: Option<RequesterId>,
    pub(super) correlation_id: Option<String>,
    pub(super) began_at: Timestamp,
    pub(super) ended: Option<CallEnded>,
}

#[derive(Deserialize)]
pub(super) struct Counted {
    pub(super) counts: Counts,
}

#[derive(Deserialize)]
pub(super) struct Counts {
    pub(super) execution_count: u64,
    pub(super) success_count: u64,
    pub(super) last_execution: Timestamp,
}
