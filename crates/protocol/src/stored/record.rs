//! The schemas of records of ports, settings, and the registry itself: see [`stored`](super).

#![expect(
    dead_code,
    reason = "these types are never values: their schemas are all there is to them"
)]
#![expect(
    clippy::struct_field_names,
    reason = "they are called what the records' members are"
)]

use onex_core::{entry::FORMAT, key::REQUEST_SLOTS_MAX};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::{
    super::{
        event::LeaseEndText,
        schema::{
            HostText, LabelText, NameText, PortKeyText, PortNumber, Time, TokenText, TransportText,
            TtlSeconds, UuidText,
        },
    },
    call_record::{Call, Counts, Run},
    node_record::{Bus, Live, Node, NodeLimits, OwnerRef, Verdicts},
    request::Request,
};

/// A record: an object with one member, which names its kind.
#[derive(JsonSchema)]
#[schemars(transform = exactly_one)]
pub(super) struct Record {
    /// Which store this is; under `sys.store`.
    store: Option<Store>,
    /// The settings that all instances share; under `sys.settings`.
    settings: Option<Settings>,
    /// A host's port ranges; under `pool.<host>`.
    pool: Option<HostPool>,
    /// A lease; under the key of one of its ports.
    lease: Option<Lease>,
    /// Another port of a lease; under `port.<host>.<transport>.<port>`.
    member: Option<Member>,
    /// A port that nobody holds any more; under `port.<host>.<transport>.<port>`.
    cooldown: Option<Cooldown>,
    /// A request whose port has been granted again since; under `req.<number>`.
    request: Option<Remembered>,
    /// The instance that writes snapshots, view and events; under `sys.named`.
    named: Option<Named>,
    /// What a node announced; under `node.<node id>`.
    node: Option<Node>,
    /// The life that a node has, or had last; under `live.<node id>`.
    live: Option<Live>,
    /// A bus; under `bus.<bus id>`.
    bus: Option<Bus>,
    /// What validators say of a node; under `trust.<node id>`.
    trust: Option<Verdicts>,
    /// A call with a request id; under `call.<request id>`.
    call: Option<Call>,
    /// An execution without a request id, while it is under way; under `run.<execution id>`.
    run: Option<Run>,
    /// How many executions of a node's tools have ended; under `exec.<node id>`.
    counts: Option<Counts>,
    /// That the log was restored from a backup; under `sys.restored`.
    restored: Option<Restored>,
    /// The format that the log was raised to; under `sys.format`.
    format: Option<Format>,
    /// What a host is called; under `host.<host>`.
    host: Option<HostRecord>,
}

/// Of the members that are named so far, exactly one is there.
pub(super) fn exactly_one(schema: &mut Schema) {
    let members = schema.get("properties").and_then(Value::as_object);
    let each = members.into_iter().flat_map(|members| members.keys());
    let each: Vec<Value> = each.map(|name| json!({"required": [name]})).collect();
    schema.insert("oneOf".to_owned(), Value::Array(each));
}

/// A lease that has not ended.
#[derive(JsonSchema)]
pub(super) struct Lease {
    /// Its id.
    lease_id: UuidText,
    /// Who holds it.
    requester_id: UuidText,
    /// What is spoken there.
    protocol: TokenText,
    /// Seconds that it lasts without a renewal.
    ttl: TtlSeconds,
    /// The life of a node that it ends with; absent for a lease that its holder renews.
    owner: Option<OwnerRef>,
    /// All its ports, on the host of its key.
    ports: Vec<PortNumber>,
    /// The port spaces in which it holds them.
    transports: Vec<TransportText>,
    /// Its name.
    name: Option<NameText>,
    /// Its labels.
    labels: Option<Vec<LabelText>>,
    /// When the caller says that it asked.
    requested_at: Option<Time>,
    /// When it was granted, for people.
    granted_at: Time,
    /// Its fencing token: the revision of the command that last gave it a port.
    fence: u64,
    /// The request that was granted.
    request: Option<Request>,
    /// The request that last renewed it.
    renewal: Option<Request>,
}

/// A port of a lease whose record is under another key.
#[derive(JsonSchema)]
struct Member {
    /// The key of that record.
    of: PortKeyText,
}

/// A port that nobody holds, and what is remembered of its last lease.
#[derive(JsonSchema)]
struct Cooldown {
    /// How that lease ended.
    how: LeaseEndText,
    /// When, for people.
    ended_at: Time,
    /// How long nobody gets the port, in milliseconds from when an instance applies this; absent for no time.
    cooldown_ms: Option<u64>,
    /// That lease.
    last: Last,
}

/// What is remembered of a lease that has ended.
#[derive(JsonSchema)]
struct Last {
    /// Its id.
    lease_id: UuidText,
    /// Who held it.
    requester_id: UuidText,
    /// Its name: the same requester's same name gets the port again while it is free.
    name: Option<NameText>,
    /// Its fencing token.
    fence: u64,
    /// The request that was granted; absent when its caller never got this lease.
    request: Option<Request>,
    /// The request that ended it.
    release: Option<Request>,
    /// Whether this was another port of the lease, whose record is or was under another key; absent for no.
    part: Option<bool>,
}

/// A request that was granted a port which has been granted again since.
#[derive(JsonSchema)]
struct Remembered {
    /// Counts all that were ever remembered so; the number in its key is this modulo 262,144.
    n: u64,
    /// Who asked.
    requester_id: UuidText,
    /// The request.
    request: Request,
    /// The lease that it got.
    lease_id: UuidText,
    /// The port of that lease.
    port: PortNumber,
}

const _: () = assert!(
    REQUEST_SLOTS_MAX == 262_144,
    "the description of `n` says so"
);

/// Ports from one to another, both included.
#[derive(JsonSchema)]
struct PortRange {
    /// The lowest.
    first: PortNumber,
    /// The highest.
    last: PortNumber,
}

/// A host's port ranges.
#[derive(JsonSchema)]
struct HostPool {
    /// What may be granted.
    ranges: Vec<PortRange>,
    /// What of it is never granted.
    reserved: Option<Vec<PortRange>>,
    /// For people.
    description: Option<String>,
}

/// The settings that all instances share.
#[derive(JsonSchema)]
struct Settings {
    /// The longest TTL that a request may ask for, in seconds.
    ttl_max: TtlSeconds,
    /// How many leases one requester may hold.
    holder_leases_max: u64,
    /// For how many hosts ports are granted.
    hosts_max: u64,
    /// The ranges of a host that has no pool of its own.
    ports_default: Vec<PortRange>,
    /// What of them is never granted.
    reserved_default: Option<Vec<PortRange>>,
    /// Whether a host without a pool is refused.
    known_hosts_only: bool,
    /// How long what has ended is remembered at least, in milliseconds.
    retention_ms: u64,
    /// What bounds nodes and buses.
    nodes: NodeLimits,
    /// How many calls with a request id may be remembered.
    calls_max: u64,
    /// How long such a call is remembered after its end, in milliseconds.
    calls_kept_ms: u64,
    /// How many executions without a request id may be under way.
    runs_max: u64,
}

/// Which store this is.
#[derive(JsonSchema)]
struct Store {
    /// Chosen once, when the store was made.
    store_id: UuidText,
    /// When the log's stream was made, by the server.
    created_at: Time,
}

/// The instance that writes snapshots, view and events, and up to where.
#[derive(JsonSchema)]
struct Named {
    /// The instance, as a number of its own; 0 when the last one has stopped.
    instance: u64,
    /// Every event up to this revision is in the stream of events.
    published: u64,
    /// The sequence of the entry up to which that is so.
    published_sequence: u64,
}

/// That the log was restored from a backup, and which revisions were skipped then.
#[derive(JsonSchema)]
struct Restored {
    /// Revisions that no command of this log has, the latest last.
    skipped: Vec<RevisionRange>,
    /// For how long nothing is granted, in milliseconds from when an instance applies this; absent for no time.
    quiet_ms: Option<u64>,
}

/// Revisions from one to another, both included.
#[derive(JsonSchema)]
struct RevisionRange {
    /// The lowest.
    from: u64,
    /// The highest.
    to: u64,
}

/// The format of the entries behind this one.
#[derive(JsonSchema)]
struct Format {
    /// Its number.
    #[schemars(range(min = FORMAT))]
    format: u32,
}

/// What the last instance that started on a host said of it.
#[derive(JsonSchema)]
struct HostRecord {
    /// The instance that said it.
    said_by: UuidText,
    /// Which kernel and network namespace the host is; absent where the instance is not on its network.
    port_space: Option<String>,
    /// The host's other names, and its addresses, loopback ones excluded.
    #[schemars(length(max = onex_types::bounds::ALIASES_MAX))]
    aliases: Vec<HostText>,
    /// The host under which the same machine is served now; absent where it is served under this one.
    renamed_to: Option<HostText>,
}
