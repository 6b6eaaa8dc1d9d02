//! Events: their bodies, their headers, and their schemas.
//!
//! A new kind: a variant of [`EventKind`], and an arm where the registry makes messages of changes. What a family of
//! kinds is about is a struct of its own, like [`PortEvent`]. Their schemas are made in `event_schema`.

use std::sync::Arc;

use jiff::Timestamp;
use onex_types::{
    holder::Holder,
    ids::{
        BusId, ExecutionId, Host, Label, LeaseId, Name, NodeId, Port, Reason, RequestId,
        RequesterId, Token, Transport,
    },
    key::{PortKey, escape},
    kinds::{EventKind, Executed, ExecutionStatus, LeaseEnd},
};
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    attempt::Attempt,
    bounds::Open,
    names::{
        HEADER_CE_ID, HEADER_CE_SOURCE, HEADER_CE_SPECVERSION, HEADER_CE_SUBJECT, HEADER_CE_TIME,
        HEADER_CE_TYPE, HEADER_CONTENT_TYPE, Namespace,
    },
    pool::Range,
    schema::VersionText,
    time,
    trust::{Lifecycle, TrustState, Verdict},
};

/// The version of CloudEvents that the headers follow.
pub(super) const CE_SPECVERSION: &str = "1.0";
/// What a `gap` event has in the place of a key: it is about all of them.
const GAP_KEY: &str = "all";
/// What a body is.
pub(super) const CONTENT_TYPE: &str = "application/json";

/// The body of an event: what all have, and what it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventBody<T> {
    /// Its kind.
    pub event: String,
    /// Where it happened in the course of the registry, as in replies.
    pub revision: u64,
    /// When, for people.
    #[serde(serialize_with = "time::serialize")]
    pub at: Timestamp,
    /// What it is about.
    #[serde(flatten)]
    pub about: T,
    /// Of the request that caused it; null when the registry did it by itself.
    pub correlation_id: Option<String>,
    /// The instance that told it.
    pub registry_id: Uuid,
    /// The key of the record that it happened to: `live.calc`, or `run.<execution_id>` for a call without a request id.
    pub record: String,
    /// Counts what happened to that key from 1, without a gap. What happened to it at once has one number:
    /// a node that is announced, and its tools.
    pub n: u64,
}

/// What a `port.*` event is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PortEvent {
    /// The host that the port is on.
    pub host: Host,
    /// In which port space.
    pub transport: Transport,
    /// Which port.
    pub port: Port,
    /// All ports of the lease; absent where that is the only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// The port spaces in which the lease has its ports; absent where that is the only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transports: Vec<Transport>,
    /// The port that the lease had in the place of one of its ports; of `port.rebound` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_port: Option<Port>,
    /// Which lease.
    pub lease_id: Option<LeaseId>,
    /// Who holds or held the lease; null where no lease is told of.
    pub requester_id: Option<RequesterId>,
    /// Its name; null where it has none.
    pub name: Option<Name>,
    /// What its holder says of itself; absent where it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Arc<Holder>>,
    /// How the lease ended, or how the port was lost to it; null where it began.
    pub outcome: Option<LeaseEnd>,
    /// Why an administrator did it, or a holder gave the port up; absent where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// What a `host.*` event is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostEvent {
    /// Which host.
    pub host: Host,
    /// Why an administrator did it.
    pub reason: Option<Reason>,
}

/// What a `pool.*` event is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PoolEvent {
    /// Whose pool.
    pub host: Host,
    /// What is granted there from now on, in each port space; null where the host has no pool of its own any more.
    pub pools: Option<Vec<PoolPorts>>,
    /// What people are told of it; null for nothing.
    pub description: Option<String>,
}

/// The ports of a host in one port space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PoolPorts {
    /// In which port space.
    pub transport: Transport,
    /// What may be granted.
    pub ranges: Vec<Range>,
    /// What of it is never granted.
    pub reserved: Vec<Range>,
}

/// What a `node.*` event is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeEvent {
    /// Which node.
    pub node_id: NodeId,
    /// Who registered the node; null where that is not known.
    pub requester_id: Option<RequesterId>,
    /// Which life of it.
    pub epoch: Option<u64>,
    /// Why an administrator did it; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// What a `tool.*` event is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolEvent {
    /// Which tool.
    pub tool_name: Token,
    /// In which version.
    #[schemars(with = "VersionText")]
    pub tool_version: Version,
    /// A node that offers another contract by that name and version; in collisions only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_node_id: Option<NodeId>,
    /// The node that offers it.
    #[serde(flatten)]
    pub node: NodeEvent,
}

/// What `tool.invoked`, `tool.completed` and `tool.failed` are about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionEvent {
    /// Which run of the tool.
    pub execution_id: ExecutionId,
    /// The caller's name for the call; null where it gave none.
    pub request_id: Option<RequestId>,
    /// Who calls; null where that was not said.
    pub requester_id: Option<RequesterId>,
    /// Which tool.
    pub tool_name: Token,
    /// In which version.
    #[schemars(with = "VersionText")]
    pub tool_version: Version,
    /// Under which contract.
    pub contract_hash: String,
    /// The node that was asked; of several, the last.
    pub provider_node_id: NodeId,
    /// How long it may run, in milliseconds.
    pub timeout_ms: u64,
    /// How it ended; null where it begins.
    pub outcome: Option<Open<ExecutionStatus>>,
    /// The error's code; null where there is none.
    pub code: Option<String>,
    /// Whether the tool was run; null where it begins.
    pub executed: Option<Open<Executed>>,
    /// How long it took, in milliseconds; null where that is not known.
    pub duration_ms: Option<u64>,
    /// How many providers were asked; null where that is not known.
    pub attempts: Option<u32>,
    /// Which, in order, and what each said; empty where that is not known.
    #[serde(default)]
    pub asked: Vec<Attempt>,
    /// The caller's trace, or else its correlation id.
    pub trace_log_id: Option<String>,
}

/// What a `bus.*` event is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BusEvent {
    /// Which bus.
    pub bus_id: BusId,
    /// Who announced the bus; null where that is not known.
    pub requester_id: Option<RequesterId>,
    /// How it ended; null where it began.
    pub outcome: Option<LeaseEnd>,
}

/// What a `trust.*` event is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrustEvent {
    /// Of which node.
    pub node_id: NodeId,
    /// Who judged it.
    pub validator_id: NodeId,
    /// Who registered that validator.
    pub requester_id: Option<RequesterId>,
    /// What it found.
    pub outcome: Open<Verdict>,
    /// In which way the node failed; null where it did not, or nobody said.
    pub failure_mode: Option<Label>,
    /// Which contract of the node was judged.
    pub contract_hash: String,
    /// How far the node is trusted now, with that contract.
    pub trust_state: Open<TrustState>,
    /// 0 to 1.
    #[schemars(range(min = 0, max = 1))]
    pub trust_score: Option<f64>,
    /// How far it is on its way into use; null while no validator has said.
    pub registry_lifecycle: Option<Open<Lifecycle>>,
}

/// What a `gap` event is about: events that were removed before they were published. What they told of is not told again:
/// list what there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GapEvent {
    /// The first revision of which events are missing.
    pub from_revision: u64,
    /// The last revision of which events are missing.
    pub to_revision: u64,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum About {
    /// A port.
    Port(PortEvent),
    /// A tool.
    Tool(ToolEvent),
    /// A node.
    Node(NodeEvent),
    /// A host.
    Host(HostEvent),
    /// A pool.
    Pool(PoolEvent),
    /// A bus.
    Bus(BusEvent),
    /// Trust in a node.
    Trust(TrustEvent),
    /// A run of a tool.
    Execution(Box<ExecutionEvent>),
    /// Events that are missing.
    Gap(GapEvent),
}

impl About {
    /// What stands in the event's subject behind its kind.
    pub fn key(&self) -> String {
        let node = |id: &NodeId| format!("node.{}", escape(id.as_str()));
        match self {
            Self::Port(port) => PortKey {
                host: port.host.clone(),
                transport: port.transport,
                port: port.port,
            }
            .to_string(),
            Self::Tool(tool) => tool_key(&tool.tool_name, &tool.node.node_id, &tool.tool_version),
            Self::Execution(event) => event.key(),
            Self::Gap(_) => GAP_KEY.to_owned(),
            Self::Node(event) => node(&event.node_id),
            Self::Host(event) => format!("host.{}", escape(event.host.as_str())),
            Self::Pool(event) => format!("pool.{}", escape(event.host.as_str())),
            Self::Bus(event) => format!("bus.{}", event.bus_id),
            Self::Trust(event) => node(&event.node_id),
        }
    }
}

fn tool_key(name: &Token, node_id: &NodeId, version: &Version) -> String {
    let node_id = escape(node_id.as_str());
    let version = escape(&version.to_string());
    format!("tool.{name}.{node_id}.{version}")
}

impl ExecutionEvent {
    /// What stands in the event's subject behind its kind.
    pub fn key(&self) -> String {
        tool_key(&self.tool_name, &self.provider_node_id, &self.tool_version)
    }
}

/// What the headers of an event say.
pub struct Envelope<'a> {
    /// Whose event.
    pub namespace: &'a Namespace,
    /// What happened.
    pub kind: EventKind,
    /// What it happened to: see [`About::key`].
    pub key: String,
    /// The name by which the same event again is known.
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
}

impl Envelope<'_> {
    /// CloudEvents 1.0 in binary mode. The place in the stream says which event it is: the server is not asked to remember
    /// names.
    pub fn headers(self) -> [(&'static str, String); 7] {
        let kind = self.kind.as_str();
        [
            (HEADER_CE_SPECVERSION, CE_SPECVERSION.to_owned()),
            (HEADER_CE_ID, self.id),
            (HEADER_CE_SOURCE, self.namespace.prefix()),
            (HEADER_CE_TYPE, kind.to_owned()),
            (HEADER_CE_SUBJECT, self.key),
            (HEADER_CE_TIME, time::show(self.at)),
            (HEADER_CONTENT_TYPE, CONTENT_TYPE.to_owned()),
        ]
    }
}
