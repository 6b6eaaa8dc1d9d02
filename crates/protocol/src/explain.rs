//! Requests and replies of `port.explain`.

use std::sync::Arc;

use jiff::Timestamp;
use onex_types::{
    holder::Holder,
    ids::{Host, LeaseId, Name, Port, Reason, RequesterId, Transport},
    kinds::LeaseEnd,
    listener::Listener,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{bounds::Open, pool::Range, port::LeaseReply, time};

/// Asks who holds a port, and why it can be had or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainRequest {
    /// Which port.
    pub port: Port,
    /// Of which host. Default: the registry's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// In which port space. Default `tcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// What a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PortState {
    /// Nobody holds it, and no other program was seen to use it.
    Free,
    /// Somebody holds it.
    Held,
    /// Nobody gets it yet: its last holder may still count on it.
    Resting,
    /// Nobody gets it yet: another program was using it, or its lease gave it up for another one.
    Quarantined,
    /// It is never granted.
    Reserved,
    /// It is in none of the host's ranges.
    Outside,
    /// Nobody holds it, and another program uses it.
    InUse,
}

/// A lease of a port that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LastLease {
    /// That lease's id.
    pub lease_id: LeaseId,
    /// Whose it was.
    pub requester_id: RequesterId,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// What its holder said of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Arc<Holder>>,
    /// How it ended.
    pub outcome: Open<LeaseEnd>,
    /// Why an administrator took it away; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// When, for people.
    #[serde(serialize_with = "time::serialize")]
    pub ended_at: Timestamp,
    /// Its fencing token.
    pub fencing_token: u64,
}

/// States of a port that are told, at most.
pub const HISTORY_STATES_MAX: usize = 10;

/// What a port was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PastState {
    /// What it became.
    pub state: Open<PortState>,
    /// When, for people.
    #[serde(serialize_with = "time::serialize")]
    pub since: Timestamp,
    /// Why, for people.
    pub reason: String,
    /// The kind of the event that told it.
    pub event: String,
    /// Which lease began or ended.
    pub lease_id: Option<LeaseId>,
    /// Whose it was.
    pub requester_id: Option<RequesterId>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// What its holder said of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Arc<Holder>>,
    /// Of the request that caused it; null when the registry did it by itself.
    pub correlation_id: Option<String>,
    /// The revision of that.
    pub revision: u64,
}

/// A port of a pool that may come free next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NextPort {
    /// The port.
    pub port: Port,
    /// What it is until then: one that is held stays so if it is renewed.
    pub state: Open<PortState>,
    /// How long until then, in milliseconds.
    pub expires_in_ms: u64,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainReply {
    /// Which port.
    pub port: Port,
    /// Where: what the request's `host` means.
    pub host: Host,
    /// In which port space.
    pub transport: Transport,
    /// What it is.
    pub state: Open<PortState>,
    /// The lease that holds it; its `host` is another one where it was granted under another name of this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseReply>,
    /// Since when it is that, for people; absent where that is not known.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "time::optional"
    )]
    pub since: Option<Timestamp>,
    /// Until when, unless something happens before, for people; absent where no time ends it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "time::optional"
    )]
    pub until: Option<Timestamp>,
    /// What is left until then; 0 when it is due and has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    /// The last lease of it that has ended; absent while another one holds it, and where none is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastLease>,
    /// What it was, the newest first, at most ten, as far as events tell that are published and kept; null where they cannot
    /// be read.
    pub history: Option<Vec<PastState>>,
    /// Who listens on it (for UDP: is bound to it) by the kernel's tables, at most 16 sockets; null where nobody can look:
    /// on another host than that of the instance that answers.
    pub in_use: Option<Vec<Listener>>,
    /// The ports that the host's kernel takes for outgoing connections; null where nobody can look.
    pub ephemeral_range: Option<Range>,
    /// The next port, upwards from this one and round to it again, that would be granted; null where there is none.
    pub next_free: Option<Port>,
    /// All that in a sentence, for people.
    pub verdict: String,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}
