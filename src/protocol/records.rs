//! The schemas of what is stored in the bucket: mirrors of the records of `domain::record`, which know nothing
//! of schemas. `tests/schemas.rs` holds one against the other.
//!
//! A new record: a struct that mirrors it, and a line in [`messages`]. Its schema's name is `record.<key>`, or
//! `record.<first token of the key>`, or that and the member that tells it from others under such keys. Those of nodes
//! and buses are in `node_records`, those of calls in `call_records`. The marker of a removed key has no body.

#![expect(
    dead_code,
    reason = "these types are never values: their schemas are all there is to them"
)]

use schemars::JsonSchema;
use serde_json::{Value, json};

use crate::domain::hosts::ALIASES_MAX;

use super::{
    call_records, node_records,
    schema::{
        self, HostText, LabelText, NameText, PortNumber, Time, TokenText, TtlSeconds, UuidText,
    },
    schemas::Message,
};

/// What the key of a port holds that someone has.
#[derive(JsonSchema)]
struct PortLease {
    #[schemars(flatten)]
    common: Common<Transition>,
    lease: Held,
}

/// What the key of a port holds that nobody has.
#[derive(JsonSchema)]
struct PortRest {
    #[schemars(flatten)]
    common: Common<Transition>,
    rest: Resting,
}

/// What the records of ports, nodes and buses have in common; `T` is what can happen to their key.
#[derive(JsonSchema)]
pub(super) struct Common<T> {
    /// The format of the record: 1. A later one is not understood.
    format: u32,
    /// The command that wrote it.
    write: UuidText,
    /// How many transitions this key has made, ever.
    transitions: u64,
    /// The last of them, those that are not known to be published.
    outbox: Vec<T>,
}

/// A lease that no write has ended.
#[derive(JsonSchema)]
struct Held {
    /// Which.
    lease_id: UuidText,
    /// Whose.
    requester_id: UuidText,
    /// What will be spoken there.
    protocol: TokenText,
    /// Seconds that it lasts without a renewal; with a node, what the node's were.
    ttl: TtlSeconds,
    /// The life of a node that it ends with.
    node: Option<Life>,
    /// What it holds, on the host and transport of its key.
    ports: Vec<PortNumber>,
    /// Its name.
    name: Option<NameText>,
    /// Its labels.
    #[schemars(default)]
    labels: Vec<LabelText>,
    /// When the caller says that it asked.
    requested_at: Option<Time>,
    /// When it was granted, for people.
    granted_at: Time,
    /// When it was granted or last renewed, for people.
    renewed_at: Time,
    /// Where in the stream its grant is; absent in the grant itself.
    granted: Option<u64>,
    /// The request that was granted.
    request: Option<Request>,
    /// The request that last renewed it.
    renewal: Option<Request>,
    /// Its command may still take it back.
    #[schemars(default)]
    unanswered: bool,
}

/// A port that nobody holds, and what is remembered of its last lease.
#[derive(JsonSchema)]
struct Resting {
    /// The last lease; absent when its record was destroyed from outside.
    last: Option<Last>,
    /// How it ended.
    ended: EndedText,
    /// When, for people.
    ended_at: Time,
    /// For how long nobody gets it, in milliseconds, from when this is first seen.
    rest_ms: u64,
}

/// What is remembered of a lease that has ended.
#[derive(JsonSchema)]
struct Last {
    /// Which.
    lease_id: UuidText,
    /// Whose.
    requester_id: UuidText,
    /// Its name.
    name: Option<NameText>,
    /// Where in the stream its grant is.
    granted: u64,
    /// The request that was granted; absent when its caller never got the lease.
    request: Option<Request>,
    /// The request that ended it.
    release: Option<Request>,
}

/// A write that a caller named.
#[derive(JsonSchema)]
pub(super) struct Request {
    /// Its name.
    id: UuidText,
    /// What it asked for, condensed.
    digest: UuidText,
}

/// One life of one node.
#[derive(JsonSchema)]
pub(super) struct Life {
    /// Whose.
    node_id: NameText,
    /// Which.
    incarnation: UuidText,
}

/// What all transitions have in common.
#[derive(JsonSchema)]
pub(super) struct Happened {
    /// Counts this key's transitions from 1.
    n: u64,
    /// When, for people.
    at: Time,
    /// Where in the stream; absent while that is the record's own revision.
    revision: Option<u64>,
    /// Whose it is; of a verdict, who reported it. Absent when that is not known.
    requester_id: Option<UuidText>,
    /// Of the request that caused it; absent when it was the registry itself.
    correlation_id: Option<String>,
}

/// Something that happened to the port and that an event tells.
#[derive(JsonSchema)]
struct Transition {
    #[schemars(flatten)]
    happened: Happened,
    /// What.
    event: HappenedText,
    /// Which lease; absent when that is not known.
    lease_id: Option<UuidText>,
    /// Its name.
    name: Option<NameText>,
    /// How the lease ended, where it did.
    outcome: Option<EndedText>,
}

/// How a lease or bus ended.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum EndedText {
    /// Its holder gave it back.
    Released,
    /// Its time was up.
    Expired,
    /// Another program had the port; the caller was given another one.
    InUse,
    /// The same request was granted twice; the caller has the other lease.
    Duplicate,
    /// Its record was overwritten from outside, and the longest TTL has passed since.
    Overwritten,
    /// The life of the node that it hung on was ended by a later one; its holder may still count on it.
    Superseded,
    /// The node that it was to hang on had ended before anybody was told of it.
    NodeGone,
}

/// What happened to a port.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum HappenedText {
    /// It was granted.
    Leased,
    /// Its holder gave it back, or a grant that nobody was told of was taken back.
    Released,
    /// Its time was up.
    Expired,
    /// It rests: another program is using it.
    Quarantined,
    /// It was taken from a holder who may still count on it.
    Revoked,
}

/// The registry's own settings.
#[derive(JsonSchema)]
struct Sys {
    /// The format of the record: 1. A later one is not understood.
    format: u32,
    /// Grows when a store that went backwards is accepted.
    lineage: u64,
    /// The longest TTL that any instance ever allowed, in seconds.
    ttl_max: TtlSeconds,
}

/// What the instances on a host said of it.
#[derive(JsonSchema)]
struct HostRecord {
    /// The format of the record: 1. A later one is not understood.
    format: u32,
    /// The instance that said it.
    said_by: UuidText,
    /// Which kernel and network namespace the host is; absent where the instance is not on its network.
    port_space: Option<String>,
    /// The host's other names, and its addresses, loopback ones excluded.
    #[schemars(length(max = ALIASES_MAX))]
    aliases: Vec<HostText>,
    /// The host under which the same machine is served now; absent where it is served under this one.
    renamed_to: Option<HostText>,
}

/// Who publishes events, and how far that has come.
#[derive(JsonSchema)]
struct Checkpoint {
    /// The format of the record: 1. A later one is not understood.
    format: u32,
    /// The instance; nil when the last one has stopped.
    owner: UuidText,
    /// Every transition up to this position of the stream is out.
    out_to: u64,
}

/// Written to learn how far the bucket has come. What it says does not matter.
#[derive(JsonSchema)]
struct Barrier {
    /// The format of the record: 1.
    format: u32,
}

pub(super) const WRITE: &str = "0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f";
pub(super) const REQUESTER: &str = "0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21";

/// The schema of each record, with the name of its file.
pub(super) fn messages() -> impl Iterator<Item = Message> {
    [
        message(
            "port.lease",
            "Record of a port that someone has",
            schema::of::<PortLease>(),
            lease(),
        ),
        message(
            "port.rest",
            "Record of a port that nobody has",
            schema::of::<PortRest>(),
            rest(),
        ),
        message(
            "host",
            "Record of what a host is called",
            schema::of::<HostRecord>(),
            json!({
                "format": 1, "said_by": "0198f39f-0a4d-7b5e-8f60-718293a4b5c6",
                "port_space": "7b0f6a52-1c1e-4d0f-9f0e-0a8d3c5e2b11 net:[4026531840]",
                "aliases": ["192.0.2.7", "build-7.lab.example"],
            }),
        ),
        message(
            "sys",
            "Record of the settings",
            schema::of::<Sys>(),
            json!({"format": 1, "lineage": 0, "ttl_max": 86_400}),
        ),
        message(
            "sys.barrier",
            "Record of a barrier",
            schema::of::<Barrier>(),
            json!({"format": 1}),
        ),
        message(
            "sys.checkpoint",
            "Record of the publisher",
            schema::of::<Checkpoint>(),
            json!({"format": 1, "owner": "0198f39f-0a4d-7b5e-8f60-718293a4b5c6", "out_to": 4_711}),
        ),
    ]
    .into_iter()
    .chain(node_records::messages())
    .chain(call_records::messages())
}

/// The schema of the record under keys like `key`.
pub(super) fn message(key: &str, title: &str, schema: Value, example: Value) -> Message {
    Message::new(&format!("record.{key}"), title, schema, vec![example])
}

fn lease() -> Value {
    json!({
        "format": 1,
        "write": WRITE,
        "transitions": 1,
        "outbox": [{
            "n": 1, "event": "leased", "at": "2026-11-22T10:04:07.6Z", "lease_id": WRITE, "requester_id": REQUESTER,
            "name": "api", "correlation_id": "deploy-81",
        }],
        "lease": {
            "lease_id": WRITE, "requester_id": REQUESTER, "protocol": "http", "ttl": 60, "ports": [20_017],
            "name": "api", "granted_at": "2026-11-22T10:04:07.6Z", "renewed_at": "2026-11-22T10:04:07.6Z",
            "unanswered": true,
        },
    })
}

fn rest() -> Value {
    json!({
        "format": 1,
        "write": "0198f3a1-2e44-7a02-b7f1-9d0e1f203142",
        "transitions": 2,
        "outbox": [{
            "n": 2, "event": "released", "at": "2026-11-22T10:05:00Z", "lease_id": WRITE, "requester_id": REQUESTER,
            "name": "api", "correlation_id": "deploy-81", "outcome": "released",
        }],
        "rest": {
            "last": {"lease_id": WRITE, "requester_id": REQUESTER, "name": "api", "granted": 4_711},
            "ended": "released", "ended_at": "2026-11-22T10:05:00Z", "rest_ms": 0,
        },
    })
}
