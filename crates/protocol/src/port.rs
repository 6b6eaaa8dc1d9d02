//! Requests and replies of the `port.*` endpoints.

use std::sync::Arc;

use jiff::Timestamp;
pub use onex_types::bounds::LEASE_PORTS_MAX;
use onex_types::holder::Holder;
use onex_types::ids::{
    Host, Invalid, Label, LeaseId, Name, NodeId, Port, Reason, RequestId, RequesterId, Token,
    Transport, Ttl,
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{bounds, schema::SafeNumber, time, warning::Warning};

/// Labels of one lease, at most.
pub const LEASE_LABELS_MAX: usize = 16;
/// Leases that one heartbeat names, and that one requester may hold, at most.
pub const HEARTBEAT_LEASES_MAX: usize = 1_000;
/// Items of a page, at most.
pub const PAGE_ITEMS_MAX: u16 = 1_000;
/// Items of a page that asks for no number.
pub const PAGE_ITEMS_DEFAULT: u16 = 100;

/// In which port space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "lowercase")]
pub enum RequestedTransport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// The same number in both.
    Both,
}

/// Asks for a port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseRequest {
    /// Who will hold it: a name that you choose and keep, not a secret.
    pub requester_id: RequesterId,
    /// What will be spoken there: `http`, `grpc`, `redis`, `jetstream`, …
    pub protocol: Token,
    /// Seconds that the lease lasts without a heartbeat. Default 60, or the longest allowed if that is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Ttl>,
    /// Where the port will be bound. Default: the `host` of the node, with `node_id` and if it has said one; else
    /// the registry's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// `tcp` (default), `udp`, or `both`: the same numbers in both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<RequestedTransport>,
    /// Tried first; of several, the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_port: Option<Port>,
    /// Only the preferred port will do. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<bool>,
    /// How many ports: all of them, or none. One lease, one heartbeat. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = LEASE_PORTS_MAX))]
    pub count: Option<u16>,
    /// Whether they have to follow one another, from `port` on. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contiguous: Option<bool>,
    /// The node that the lease ends with, which must be yours and live. It then needs no heartbeat of its own
    /// and takes no `ttl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// The epoch of that node that you live in. Without it the lease ends with whatever life the node leads:
    /// another process that has taken over ends it as it likes, and you do not know.
    #[serde(
        default,
        deserialize_with = "bounds::optional_number",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<SafeNumber>")]
    pub epoch: Option<u64>,
    /// Your name for it: you get the same port again when it is free, and others can resolve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// At most 16, by which it can be found.
    #[serde(
        default,
        deserialize_with = "or_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "Option<Vec<Label>>", length(max = LEASE_LABELS_MAX))]
    pub labels: Vec<Label>,
    /// Your name for this request: the same again is answered with what it got, never done twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// What you say of yourself, for those who look for the port's holder. A retry may say something else, which
    /// changes nothing.
    #[serde(
        default,
        deserialize_with = "bounds::optional_object",
        skip_serializing_if = "Option::is_none"
    )]
    pub holder: Option<Holder>,
    /// When you asked, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Timestamp>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

impl LeaseRequest {
    /// For any one port, for as long as is usual, on the registry's own host.
    pub fn new(requester_id: RequesterId, protocol: Token) -> Self {
        Self {
            requester_id,
            protocol,
            ttl: None,
            host: None,
            transport: None,
            preferred_port: None,
            exact: None,
            count: None,
            contiguous: None,
            node_id: None,
            epoch: None,
            name: None,
            labels: Vec::new(),
            request_id: None,
            holder: None,
            requested_at: None,
            min_revision: None,
        }
    }
}

/// A list that may be null: clients that keep what they do not say as a null send it for every field.
fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Lets leases last their TTL again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatRequest {
    /// Who holds them.
    pub requester_id: RequesterId,
    /// One lease. With neither this nor `lease_ids`: all that you hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// Several leases, at most 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = HEARTBEAT_LEASES_MAX))]
    pub lease_ids: Option<Vec<LeaseId>>,
    /// A new TTL in seconds; a shorter one than the lease has changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Ttl>,
    /// Your name for this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// Asks for another port for one that cannot be used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RebindRequest {
    /// Who holds the lease.
    pub requester_id: RequesterId,
    /// The lease whose port is replaced.
    pub lease_id: LeaseId,
    /// The port that you give up: one of the lease. Stop using it before you send this. Nobody gets it for a minute, or for
    /// the TTL of the lease if that is longer.
    pub port: Port,
    /// Why, for people: it is in the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Your name for this request: the same again is answered with what it got, never done twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// Gives a lease back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseRequest {
    /// Who holds it.
    pub requester_id: RequesterId,
    /// The lease to give back.
    pub lease_id: LeaseId,
    /// Your name for this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// Items of a page: 1 to [`PAGE_ITEMS_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Limit(u16);

impl Limit {
    /// The number.
    pub fn get(self) -> usize {
        usize::from(self.0)
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(PAGE_ITEMS_DEFAULT)
    }
}

impl TryFrom<u16> for Limit {
    type Error = Invalid;
    fn try_from(number: u16) -> Result<Self, Invalid> {
        if (1..=PAGE_ITEMS_MAX).contains(&number) {
            return Ok(Self(number));
        }
        Err(Invalid(format!("must be 1 to {PAGE_ITEMS_MAX}")))
    }
}

impl From<Limit> for u16 {
    fn from(limit: Limit) -> u16 {
        limit.0
    }
}

/// Asks for live leases, in the order of host, transport and port.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListRequest {
    /// Only on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// Only of this requester.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester_id: Option<RequesterId>,
    /// Only those that end with this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Only of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Only with this label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// Only those that hold this port, on whichever host and in whichever port space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
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

/// Asks for the live leases of a name, or with a label, to connect to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResolveRequest {
    /// The name. Either this or `label`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The label. Either this or `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// Only on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
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

/// What a lease is while it is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaseStatus {
    /// No write has ended it.
    Active,
    /// One that a later version knows.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// Whether a port was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// It could be bound on `verified_on` just after the grant.
    Verified,
    /// Nobody could try it.
    Unverified,
    /// One that a later version knows.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// A live lease.
///
/// You hold the port until `ttl` seconds after the moment before you first sent the request that was
/// granted or last renewed. A retry does not restart that. Count on a clock that runs while the machine
/// sleeps, believe the reply with the highest `revision`, and then stop using the port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseReply {
    /// The lease's id.
    pub lease_id: LeaseId,
    /// Always `active`.
    pub status: LeaseStatus,
    /// The first of `ports`.
    pub port: Port,
    /// What it holds.
    pub ports: Vec<Port>,
    /// The host that the ports are on.
    pub host: Host,
    /// In which port space; of a lease in both, `tcp`.
    pub transport: Transport,
    /// The port spaces in which it holds its ports; absent where that is the only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transports: Vec<Transport>,
    /// What is spoken there.
    pub protocol: Token,
    /// Who holds it.
    pub requester_id: RequesterId,
    /// The same as `requester_id`, by its older name.
    pub assigned_to: RequesterId,
    /// The node that it ends with: its TTL is the node's, and so are its heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// Seconds that it lasts without a heartbeat.
    pub ttl: Ttl,
    /// What its holder says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Arc<Holder>>,
    /// When its holder says that it asked.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "time::optional"
    )]
    pub requested_at: Option<Timestamp>,
    /// When it was granted, for people.
    #[serde(serialize_with = "time::serialize")]
    pub granted_at: Timestamp,
    /// When it ends without a heartbeat, for people.
    #[serde(serialize_with = "time::serialize")]
    pub expires_at: Timestamp,
    /// What is left, for people: 0 when it is due and has not ended.
    pub expires_in_ms: u64,
    /// When to send the next heartbeat: a third of what is left.
    pub renew_after_ms: u64,
    /// The revision at which the lease last got a port: stays as long as its ports, and is higher in every later lease of a
    /// port.
    pub fencing_token: u64,
    /// What this answer is true for.
    pub revision: u64,
    /// Whether the port was tried; in the replies to `port.lease` and `port.rebind` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability: Option<Availability>,
    /// The host that tried it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_on: Option<Host>,
    /// What is worth a look, though it was done; in the replies to `port.lease` and `port.rebind` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// One renewed lease of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Renewed {
    /// The lease's id.
    pub lease_id: LeaseId,
    /// The lease's.
    pub fencing_token: u64,
    /// What is left.
    pub expires_in_ms: u64,
    /// What is said of this lease is true for it.
    #[serde(default)]
    pub revision: u64,
}

/// One lost lease of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lost {
    /// The lease's id.
    pub lease_id: LeaseId,
    /// Why: an error code. With `LEASE_EXPIRED`, `LEASE_NOT_FOUND` and `NOT_HOLDER`: stop using its
    /// port.
    pub code: String,
    /// What is said of this lease is true for it.
    #[serde(default)]
    pub revision: u64,
}

/// What came of a heartbeat for several leases.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatReply {
    /// These last their TTL again.
    pub renewed: Vec<Renewed>,
    /// These do not.
    pub lost: Vec<Lost>,
    /// Of these nobody knew before the deadline: ask again.
    pub unknown: Vec<LeaseId>,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// How a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndStatus {
    /// Its holder gave it back.
    Released,
    /// It had ended by itself.
    Expired,
    /// One that a later version knows.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// A lease that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseReply {
    /// The lease's id.
    pub lease_id: LeaseId,
    /// How it ended.
    pub status: EndStatus,
    /// When, for people.
    #[serde(serialize_with = "time::serialize")]
    pub released_at: Timestamp,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// In the order of their keys.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// What this page is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}
