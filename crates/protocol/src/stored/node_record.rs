//! The schemas of records of nodes, buses and trust, and of what events say of them: see [`stored`](super).

#![expect(
    dead_code,
    reason = "these types are never values: their schemas are all there is to them"
)]
#![expect(
    clippy::struct_field_names,
    reason = "they are called what the records' members are"
)]

use schemars::JsonSchema;

use super::{
    super::{
        event::LeaseEndText,
        node::{ExecutionMode, InboundPort, NodeSchema, NodeType, OutboundPort},
        schema::{
            AnyJson, HostText, LabelText, NameText, Time, TokenText, TtlSeconds, UriText, UuidText,
            VersionText,
        },
        tool::Tool,
        trust::{Lifecycle, TrustState, Verdict},
    },
    request::Request,
};

/// The life of a node that something belongs to and ends with.
#[derive(JsonSchema)]
pub(super) struct OwnerRef {
    /// The node.
    node_id: NameText,
    /// Its life.
    incarnation: UuidText,
}

/// A node as it was registered.
#[derive(JsonSchema)]
pub(super) struct Node {
    /// The life that it was registered for.
    incarnation: UuidText,
    /// What it announced.
    registration: Registration,
    /// The request that this life began with.
    began: Option<Request>,
    /// The last requests that changed it since, oldest first; at most eight.
    requests: Option<Vec<Request>>,
    /// The requests that earlier lives began with, oldest first; at most sixteen.
    earlier: Option<Vec<Request>>,
}

/// What a node says of itself, without what the registry adds for itself.
#[derive(JsonSchema)]
struct Announced {
    /// Its version.
    version: VersionText,
    /// What it is.
    node_type: NodeType,
    /// Its tags.
    tags: Option<Vec<NameText>>,
    /// Where it runs.
    host: Option<HostText>,
    /// A hash of its version, type, schema and tools.
    contract_hash: String,
    /// Where it listens.
    inbound_ports: Option<Vec<InboundPort>>,
    /// A hash of what runs, made by whoever built it.
    version_hash: Option<LabelText>,
    /// What it does, for people.
    description: Option<String>,
    /// How it runs.
    execution_mode: Option<ExecutionMode>,
    /// What goes in and what comes out.
    schema: Option<NodeSchema>,
    /// Where it sends to.
    outbound_ports: Option<Vec<OutboundPort>>,
    /// What else it can do.
    capabilities: Option<AnyJson>,
    /// Where in a graph it stands.
    graph_binding: Option<AnyJson>,
    /// The agent that it belongs to.
    owned_by_agent: Option<LabelText>,
    /// Agents that follow what it does.
    subscribed_by_agents: Option<Vec<LabelText>>,
    /// Nodes that it gets its inputs from.
    upstream_nodes: Option<Vec<NameText>>,
    /// Nodes that get its outputs.
    downstream_nodes: Option<Vec<NameText>>,
}

/// What a node says of itself, as the view shows it.
#[derive(JsonSchema)]
pub(super) struct ShownRegistration {
    #[schemars(flatten)]
    announced: Announced,
    /// What it offers.
    tools: Option<Vec<ShownTool>>,
}

/// A tool as the view shows it.
#[derive(JsonSchema)]
struct ShownTool {
    #[schemars(flatten)]
    tool: Tool,
    /// A hash of what callers rely on.
    contract_hash: String,
}

/// What a node says of itself.
#[derive(JsonSchema)]
struct Registration {
    #[schemars(flatten)]
    announced: Announced,
    /// A hash of the same without its tools.
    base_hash: String,
    /// How long it is as JSON, without its tools, in bytes.
    bytes: u64,
    /// What it offers.
    tools: Option<Vec<OfferedTool>>,
}

/// A tool that a node offers.
#[derive(JsonSchema)]
struct OfferedTool {
    #[schemars(flatten)]
    tool: ShownTool,
    /// How long it is as JSON, in bytes.
    bytes: u64,
    /// How many regular expressions its schemas have.
    patterns: u64,
}

/// The life that a node has, or had last.
#[derive(JsonSchema)]
pub(super) struct Live {
    /// Its id.
    incarnation: UuidText,
    /// Counts the node's lives.
    epoch: u64,
    /// Who registered it.
    requester_id: UuidText,
    /// Seconds that it lasts without a heartbeat.
    ttl: TtlSeconds,
    /// When it was registered, for people.
    registered_at: Time,
    /// How and when it ended; absent while it lasts.
    ended: Option<NodeEnded>,
    /// Earlier lives to which something belonged when this one was registered; at most sixteen.
    past: Option<Vec<PastIncarnation>>,
    /// What the node says of its health.
    health: Option<AnyJson>,
}

/// The end of a life.
#[derive(JsonSchema)]
struct NodeEnded {
    /// How.
    how: NodeEndText,
    /// When, for people.
    at: Time,
    /// How long the node is remembered, in milliseconds from when an instance applies this.
    kept_ms: u64,
}

/// How a life ended.
#[derive(JsonSchema)]
#[schemars(rename = "NodeEnd", rename_all = "snake_case")]
pub(super) enum NodeEndText {
    /// The node was deregistered.
    Deregistered,
    /// Its time was up.
    Expired,
}

/// An earlier life of a node.
#[derive(JsonSchema)]
struct PastIncarnation {
    /// Its id.
    incarnation: UuidText,
    /// How its leases end.
    how: LeaseEndText,
    /// When it ended, for people.
    at: Time,
    /// Its TTL in seconds: for so long a holder that was superseded may still count on what belonged to it.
    ttl: TtlSeconds,
}

/// A bus as it was announced.
#[derive(JsonSchema)]
pub(super) struct Bus {
    /// Who announced it.
    requester_id: UuidText,
    /// What is spoken there.
    protocol: TokenText,
    /// The life of a node that it ends with.
    owner: Option<OwnerRef>,
    /// The lease that it ends with.
    lease_id: Option<UuidText>,
    /// When it was announced, for people.
    registered_at: Time,
    /// How and when it ended; absent while it lasts.
    ended: Option<BusEnded>,
    /// The last requests that announced or removed it, oldest first; at most eight.
    requests: Option<Vec<Request>>,
    /// Where it listens, without credentials.
    endpoint_uri: UriText,
    /// Whether messages are taken from it.
    inbound: bool,
    /// Whether messages are put on it.
    outbound: bool,
}

/// The end of a bus.
#[derive(JsonSchema)]
struct BusEnded {
    /// How.
    how: LeaseEndText,
    /// When, for people.
    at: Time,
    /// How long the bus is remembered, in milliseconds from when an instance applies this.
    kept_ms: u64,
}

/// What bounds nodes and buses.
#[derive(JsonSchema)]
pub(super) struct NodeLimits {
    /// How many nodes may be known, ended ones that are remembered included.
    nodes_max: u64,
    /// How many buses may be known, ended ones that are remembered included.
    buses_max: u64,
    /// How long a registration may be with all its tools, in bytes.
    node_bytes_max: u64,
}

/// What validators say of a node.
#[derive(JsonSchema)]
pub(super) struct Verdicts {
    /// By contract, the one that was judged last at the end; at most four.
    contracts: Vec<OnContract>,
}

/// What validators say of one contract of a node.
#[derive(JsonSchema)]
struct OnContract {
    /// The contract's hash.
    contract_hash: String,
    /// How far the node is on its way into use.
    lifecycle: Option<Lifecycle>,
    /// The last verdict of each validator, the latest at the end; at most 64.
    latest: Vec<LatestVerdict>,
}

/// A validator's last verdict on a contract.
#[derive(JsonSchema)]
struct LatestVerdict {
    /// The validator.
    validator_id: NameText,
    /// What it found.
    outcome: Verdict,
    /// In which way the node failed.
    failure_mode: Option<LabelText>,
    /// When, for people.
    at: Time,
    /// The last requests that reported it, oldest first; at most four.
    requests: Option<Vec<Request>>,
}

/// What an event says of a node and of tools of it; each tool is an event of its own.
#[derive(JsonSchema)]
pub(super) struct NodeEvent {
    /// Who registered the node.
    requester_id: UuidText,
    /// Its epoch.
    epoch: u64,
    /// Tools that it does not offer any more.
    tools_removed: Option<Vec<ToolRef>>,
    /// Tools that it offers from now on, or under another contract.
    tools_added: Option<Vec<ToolRef>>,
    /// Those of them that another node offers under another contract.
    collisions: Option<Vec<ToolRef>>,
}

/// A tool that an event is about.
#[derive(JsonSchema)]
struct ToolRef {
    /// Its name.
    name: TokenText,
    /// Its version.
    version: VersionText,
    /// A node that offers another contract by that name and version.
    other: Option<NameText>,
}

/// What an event says of a validator's report, and of what follows from it.
#[derive(JsonSchema)]
pub(super) struct TrustEvent {
    /// The validator.
    validator_id: NameText,
    /// Who registered the validator.
    requester_id: UuidText,
    /// What it found.
    outcome: Verdict,
    /// In which way the node failed.
    failure_mode: Option<LabelText>,
    /// The hash of the contract that was examined.
    contract_hash: String,
    /// How far the node is trusted now.
    state: TrustState,
    /// How many validators found it good.
    passes: u64,
    /// How many did not.
    fails: u64,
    /// How far the node is on its way into use.
    lifecycle: Option<Lifecycle>,
}
