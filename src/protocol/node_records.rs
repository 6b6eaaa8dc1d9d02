//! The schemas of what is stored of nodes and buses: see `records`.

#![expect(
    dead_code,
    reason = "these types are never values: their schemas are all there is to them"
)]

use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{
    node::{ExecutionMode, InboundPort, NodeSchema, NodeType, OutboundPort},
    records::{Common, EndedText, Happened, Life, REQUESTER, Request, WRITE, message},
    schema::{
        self, AnyJson, HostText, LabelText, NameText, Time, TokenText, TtlSeconds, UriText,
        UuidText, VersionText,
    },
    schemas::Message,
    tool::Tool,
    trust::{Lifecycle, TrustState, Verdict},
};

/// What a node announced.
#[derive(JsonSchema)]
struct NodeRecord {
    #[schemars(flatten)]
    common: Common<NodeTransition>,
    node: Node,
}

/// What a node announced for one of its lives.
#[derive(JsonSchema)]
struct Node {
    /// The life: while `live.<node>` has another one, this is not what the node is.
    incarnation: UuidText,
    /// What it said.
    registration: Registration,
    /// The last requests that changed it, at most eight.
    #[schemars(default)]
    requests: Vec<Request>,
    /// The requests that its earlier lives began with, at most sixteen.
    #[schemars(default)]
    earlier: Vec<Request>,
}

/// What a node says of itself.
#[derive(JsonSchema)]
struct Registration {
    /// Its version.
    version: VersionText,
    /// What it is.
    node_type: NodeType,
    /// Its tags.
    #[schemars(default)]
    tags: Vec<NameText>,
    /// Where it runs.
    host: Option<HostText>,
    /// Its version, type, schema and tools, condensed.
    contract_hash: String,
    /// The same without its tools.
    base_hash: String,
    /// How long it is as JSON, less its tools, in bytes.
    bytes: u64,
    /// Where it listens.
    #[schemars(default)]
    inbound_ports: Vec<InboundPort>,
    /// What it offers.
    #[schemars(default)]
    tools: Vec<OfferedTool>,
    /// What exactly runs.
    version_hash: Option<LabelText>,
    /// What it does, for people.
    description: Option<String>,
    /// How it runs.
    execution_mode: Option<ExecutionMode>,
    /// What goes in and what comes out.
    schema: Option<NodeSchema>,
    /// Where it sends to.
    #[schemars(default)]
    outbound_ports: Vec<OutboundPort>,
    /// What else it can do.
    capabilities: Option<AnyJson>,
    /// Where in a graph it stands.
    graph_binding: Option<AnyJson>,
    /// The agent that it belongs to.
    owned_by_agent: Option<LabelText>,
    /// Agents that follow what it does.
    #[schemars(default)]
    subscribed_by_agents: Vec<LabelText>,
    /// Nodes that it gets its inputs from.
    #[schemars(default)]
    upstream_nodes: Vec<NameText>,
    /// Nodes that get its outputs.
    #[schemars(default)]
    downstream_nodes: Vec<NameText>,
}

/// A tool that a node offers.
#[derive(JsonSchema)]
struct OfferedTool {
    #[schemars(flatten)]
    tool: Tool,
    /// What callers rely on, condensed.
    contract_hash: String,
    /// How long it is as JSON, in bytes.
    bytes: u64,
    /// How many regular expressions its schemas hold.
    #[schemars(default)]
    patterns: u64,
}

/// Tools of a running node changed.
#[derive(JsonSchema)]
struct NodeTransition {
    #[schemars(flatten)]
    happened: Happened,
    /// What.
    event: NodeHappened,
    #[schemars(flatten)]
    tools: ToolsChanged,
}

/// What changed about a node.
#[derive(JsonSchema)]
struct ToolsChanged {
    /// The node's.
    epoch: Option<u64>,
    /// Tools that it offers from now on, or under another contract; each is an event.
    #[schemars(default)]
    tools_added: Vec<ToolTold>,
    /// Tools that it offers no longer; each is an event.
    #[schemars(default)]
    tools_removed: Vec<ToolTold>,
    /// Tools that other nodes offer under another contract; each is an event.
    #[schemars(default)]
    collisions: Vec<ToolTold>,
}

/// A tool that an event is about.
#[derive(JsonSchema)]
struct ToolTold {
    /// Its name.
    name: TokenText,
    /// Its version.
    version: VersionText,
    /// A node that offers another contract by that name and version.
    other: Option<NameText>,
}

/// What happens to what a node announced.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum NodeHappened {
    /// Its tools changed.
    ToolsChanged,
}

/// Whether a node lives.
#[derive(JsonSchema)]
struct LiveRecord {
    #[schemars(flatten)]
    common: Common<LiveTransition>,
    live: Live,
}

/// The life that a node leads, or last led.
#[derive(JsonSchema)]
struct Live {
    /// Which.
    incarnation: UuidText,
    /// Counts a node's lives.
    epoch: u64,
    /// Whose node it is.
    requester_id: UuidText,
    /// Seconds that it lasts without a heartbeat.
    ttl: TtlSeconds,
    /// When it began, for people.
    registered_at: Time,
    /// The last announcement or heartbeat, for people.
    renewed_at: Time,
    /// How and when it ended; absent while it lasts.
    ended: Option<LifeEnded>,
    /// For how long, in seconds, an earlier life may still be counted on that this one ended.
    superseded_ttl: Option<TtlSeconds>,
    /// The request that it began with.
    request: Option<Request>,
    /// What the node says of its health.
    health: Option<AnyJson>,
}

/// The end of a life.
#[derive(JsonSchema)]
struct LifeEnded {
    /// How.
    how: LifeEnd,
    /// When, for people.
    at: Time,
}

/// How a life ended.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum LifeEnd {
    /// The node took its leave.
    Deregistered,
    /// Its time was up.
    Expired,
}

/// Something that happened to a node.
#[derive(JsonSchema)]
struct LiveTransition {
    #[schemars(flatten)]
    happened: Happened,
    /// What.
    event: LiveHappened,
    #[schemars(flatten)]
    tools: ToolsChanged,
}

/// What happens to a node's life.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum LiveHappened {
    /// The node was announced.
    NodeRegistered,
    /// It was announced again after its time had been up.
    NodeRejoined,
    /// Its time was up.
    NodeExpired,
    /// It took its leave.
    NodeDeregistered,
    /// It was announced again in the same life, with other tools.
    ToolsChanged,
}

/// A bus that was announced.
#[derive(JsonSchema)]
struct BusRecord {
    #[schemars(flatten)]
    common: Common<BusTransition>,
    bus: Bus,
}

/// A bus as it was announced.
#[derive(JsonSchema)]
struct Bus {
    /// Who announced it.
    requester_id: UuidText,
    /// What is spoken there.
    protocol: TokenText,
    /// The life of a node that it ends with.
    node: Option<Life>,
    /// The lease that it ends with.
    lease_id: Option<UuidText>,
    /// When it was announced, for people.
    registered_at: Time,
    /// How and when it ended; absent while it lasts.
    ended: Option<BusEnded>,
    /// The request that it was announced by.
    request: Option<Request>,
    /// Those that announced or ended it before, at most eight.
    #[schemars(default)]
    earlier: Vec<Request>,
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
    how: EndedText,
    /// When, for people.
    at: Time,
}

/// Something that happened to a bus.
#[derive(JsonSchema)]
struct BusTransition {
    #[schemars(flatten)]
    happened: Happened,
    /// What.
    event: BusHappened,
    /// How it ended, where it did.
    outcome: Option<EndedText>,
}

/// What happens to a bus.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum BusHappened {
    /// It was announced.
    BusRegistered,
    /// It is no more.
    BusRemoved,
}

/// What validators say of a node.
#[derive(JsonSchema)]
struct VerdictRecord {
    #[schemars(flatten)]
    common: Common<VerdictTransition>,
    verdicts: Verdicts,
}

/// What validators say of a node.
#[derive(JsonSchema)]
struct Verdicts {
    /// By contract, the one that was judged last at the end; at most four.
    contracts: Vec<OnContract>,
}

/// What validators say of one contract of a node.
#[derive(JsonSchema)]
struct OnContract {
    /// Which contract.
    contract_hash: String,
    /// How far the node has come with it.
    lifecycle: Option<Lifecycle>,
    /// The last word of each validator, the latest at the end; at most 64.
    latest: Vec<Judgement>,
}

/// One validator's word.
#[derive(JsonSchema)]
struct Judgement {
    /// Whose.
    validator_id: NameText,
    /// What it says.
    outcome: Verdict,
    /// In which way the node failed.
    failure_mode: Option<LabelText>,
    /// When, for people.
    at: Time,
    /// The last requests that said so, at most four.
    #[schemars(default)]
    requests: Vec<Request>,
}

/// A node was judged.
#[derive(JsonSchema)]
struct VerdictTransition {
    #[schemars(flatten)]
    happened: Happened,
    /// What.
    event: VerdictHappened,
    /// How.
    judged: Option<JudgedTold>,
}

/// What a validator said of a node, and what follows from it.
#[derive(JsonSchema)]
struct JudgedTold {
    /// Which validator.
    validator_id: NameText,
    /// What it says.
    outcome: Verdict,
    /// In which way the node failed.
    failure_mode: Option<LabelText>,
    /// Of which contract.
    contract_hash: String,
    /// How far the node is trusted now.
    state: TrustState,
    /// Validators that say yes.
    passes: u64,
    /// Validators that say no.
    fails: u64,
    /// How far the node has come.
    lifecycle: Option<Lifecycle>,
}

/// What happens to verdicts.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum VerdictHappened {
    /// A validator judged the node.
    TrustChanged,
}

const TIME: &str = "2026-11-22T10:04:07.6Z";
const HASH: &str = "c2:6f1ed002ab5595859014ebf0951522d9b3c1a6f3b0d5f7e8c1d2a3b4c5d6e7f8";

/// The schema of each record.
pub(super) fn messages() -> impl Iterator<Item = Message> {
    [
        message(
            "node",
            "Record of what a node announced",
            schema::of::<NodeRecord>(),
            with_common(json!({"node": {
                "incarnation": WRITE,
                "registration": {
                    "version": "1.2.0", "node_type": "tool", "tags": ["text"], "host": "build-7",
                    "contract_hash": HASH, "base_hash": HASH, "bytes": 212,
                    "tools": [{
                        "name": "summarise", "version": "1.0.0", "contract_hash": HASH, "bytes": 304, "patterns": 0,
                        "subject": "onex.node.v1.tool.summarise.text=2Esummariser", "idempotent": true,
                        "input_schema": {"type": "object"}, "output_schema": true,
                    }],
                },
            }})),
        ),
        message(
            "live",
            "Record of a node's life",
            schema::of::<LiveRecord>(),
            with_common(json!({
                "outbox": [{
                    "n": 1, "event": "node_registered", "at": TIME, "requester_id": REQUESTER, "epoch": 1,
                    "correlation_id": "deploy-81", "tools_added": [{"name": "summarise", "version": "1.0.0"}],
                }],
                "live": {
                    "incarnation": WRITE, "epoch": 1, "requester_id": REQUESTER, "ttl": 60, "registered_at": TIME,
                    "renewed_at": TIME,
                },
            })),
        ),
        message(
            "bus",
            "Record of a bus",
            schema::of::<BusRecord>(),
            with_common(json!({"bus": {
                "requester_id": REQUESTER, "protocol": "redis", "registered_at": TIME, "inbound": true,
                "node": {"node_id": "text.summariser", "incarnation": WRITE}, "outbound": true,
                "endpoint_uri": "redis://build-7:20018/0",
            }})),
        ),
        message(
            "verdict",
            "Record of what validators say of a node",
            schema::of::<VerdictRecord>(),
            with_common(json!({"verdicts": {
                "contracts": [{
                    "contract_hash": HASH, "lifecycle": "canary",
                    "latest": [{"validator_id": "contract-checker", "outcome": "pass", "at": TIME}],
                }],
            }})),
        ),
    ]
    .into_iter()
}

fn with_common(more: Value) -> Value {
    let mut record = json!({"format": 1, "write": WRITE, "transitions": 1, "outbox": []});
    if let (Some(record), Value::Object(more)) = (record.as_object_mut(), more) {
        record.extend(more);
    }
    record
}
