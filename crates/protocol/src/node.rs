//! Requests and replies of the `node.*` endpoints but `node.list`.

use jiff::Timestamp;
use onex_types::ids::{
    Host, Label, LeaseId, Name, NodeId, Port, RequestId, RequesterId, Token, Ttl,
};
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    bounds::{self, Open, Text, list, or_default},
    schema::{AnyJson, SafeNumber, SchemaDocument, UriText, VersionText},
    tool::Tool,
    trust::TrustState,
    uri::EndpointUri,
    warning::Warning,
};

pub use crate::bounds::DESCRIPTION_CHARS_MAX;
use onex_types::bounds::NODE_TOOLS_MAX;

/// Tags of one node, at most.
pub const NODE_TAGS_MAX: usize = 32;
/// Inbound ports of one node, at most, and as many outbound ones.
pub const NODE_PORTS_MAX: usize = 64;
/// Inputs of one node, at most, and as many outputs.
pub const NODE_SCHEMA_FIELDS_MAX: usize = 128;
/// Side effects of one node, at most.
pub const NODE_SIDE_EFFECTS_MAX: usize = 32;
/// Nodes or agents that one list of a node names, at most.
pub const NODE_RELATED_MAX: usize = 64;
/// Bytes of a node's capabilities, and of its binding to a graph, at most.
pub const NODE_CAPABILITIES_BYTES_MAX: usize = 16 * 1024;
/// Bytes of the schema of one input or output, at most.
pub const FIELD_SCHEMA_BYTES_MAX: usize = 16 * 1024;
/// Bytes of what a node says of its health, at most.
pub const HEALTH_BYTES_MAX: usize = 4 * 1024;
/// Longest topic, in characters.
pub const TOPIC_CHARS_MAX: usize = 255;

/// What a node is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum NodeType {
    /// It offers tools.
    Tool,
    /// It examines other nodes.
    Validator,
    /// It tests.
    Test,
    /// It connects something that does not speak this protocol.
    Adapter,
    /// It decides by itself what to do.
    Agent,
}

impl NodeType {
    /// As it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Validator => "validator",
            Self::Test => "test",
            Self::Adapter => "adapter",
            Self::Agent => "agent",
        }
    }
}

/// How a node runs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ExecutionMode {
    /// In the process of who uses it.
    Memory,
    /// In a container.
    Container,
    /// Somewhere else.
    External,
}

/// An input or output of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SchemaField {
    /// Its name.
    pub name: Label,
    /// Its type, in the node's own words.
    #[serde(rename = "type")]
    pub kind: Label,
    /// Whether it must be there. Default false.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<bool>")]
    pub required: bool,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Text<DESCRIPTION_CHARS_MAX>>,
    /// Its JSON Schema, at most 16 KiB and 64 levels deep.
    #[serde(
        default,
        deserialize_with = "bounds::schema::<_, FIELD_SCHEMA_BYTES_MAX>",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<SchemaDocument>")]
    pub schema: Option<Value>,
}

/// What goes into a node and what comes out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeSchema {
    /// What goes in, at most 128.
    #[serde(
        default,
        deserialize_with = "bounds::objects::<_, _, NODE_SCHEMA_FIELDS_MAX>"
    )]
    #[schemars(with = "Option<Vec<SchemaField>>", length(max = NODE_SCHEMA_FIELDS_MAX))]
    pub inputs: Vec<SchemaField>,
    /// What comes out, at most 128.
    #[serde(
        default,
        deserialize_with = "bounds::objects::<_, _, NODE_SCHEMA_FIELDS_MAX>"
    )]
    #[schemars(with = "Option<Vec<SchemaField>>", length(max = NODE_SCHEMA_FIELDS_MAX))]
    pub outputs: Vec<SchemaField>,
    /// Whether it takes a context along with its inputs. Default false.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<bool>")]
    pub accepts_context: bool,
    /// Whether it remembers anything between two calls. Default false.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<bool>")]
    pub modifies_state: bool,
    /// What it changes beyond its outputs, at most 32.
    #[serde(default, deserialize_with = "list::<_, _, NODE_SIDE_EFFECTS_MAX>")]
    #[schemars(with = "Option<Vec<Label>>", length(max = NODE_SIDE_EFFECTS_MAX))]
    pub side_effects: Vec<Label>,
}

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InboundPort {
    /// Its name.
    pub name: Name,
    /// Its number.
    pub port: Port,
    /// What is spoken there.
    pub protocol: Token,
    /// The lease that it is from: live, and yours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<LeaseId>,
    /// Its address. Credentials in it are removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<UriText>")]
    pub endpoint_uri: Option<EndpointUri>,
    /// Whether it may be another one next time. Default false.
    #[serde(default, deserialize_with = "or_default")]
    #[schemars(with = "Option<bool>")]
    pub dynamic: bool,
}

/// Where a node sends to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutboundPort {
    /// Its name.
    pub name: Name,
    /// The topic or subject.
    pub topic: Text<TOPIC_CHARS_MAX>,
    /// What is spoken there.
    pub protocol: Token,
}

/// Announces a node, or again what has changed about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RegisterRequest {
    /// Its name.
    pub node_id: NodeId,
    /// Its version: a semantic version.
    #[serde(deserialize_with = "bounds::version")]
    #[schemars(with = "VersionText")]
    pub version: Version,
    /// What exactly runs, condensed by whoever built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_hash: Option<Label>,
    /// What it is.
    pub node_type: NodeType,
    /// What it does, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Text<DESCRIPTION_CHARS_MAX>>,
    /// By which it can be found, at most 32.
    #[serde(
        default,
        deserialize_with = "list::<_, _, NODE_TAGS_MAX>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "Option<Vec<Name>>", length(max = NODE_TAGS_MAX))]
    pub tags: Vec<Name>,
    /// How it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_mode: Option<ExecutionMode>,
    /// Where it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// Seconds that it counts as alive without a heartbeat. Default 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Ttl>,
    /// Grows with every start of the node. The same as before: a refresh. Higher: the old life
    /// and what hangs on it end. Lower: refused. Default: the registry gives the next.
    #[serde(
        default,
        deserialize_with = "bounds::optional_number",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<SafeNumber>")]
    pub epoch: Option<u64>,
    /// Who announces it: a name that you choose and keep, not a secret.
    pub requester_id: RequesterId,
    /// What goes in and what comes out.
    #[serde(
        default,
        deserialize_with = "bounds::optional_object",
        skip_serializing_if = "Option::is_none"
    )]
    pub schema: Option<NodeSchema>,
    /// Where it listens, at most 64.
    #[serde(
        default,
        deserialize_with = "bounds::objects::<_, _, NODE_PORTS_MAX>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "Option<Vec<InboundPort>>", length(max = NODE_PORTS_MAX))]
    pub inbound_ports: Vec<InboundPort>,
    /// Where it sends to, at most 64.
    #[serde(
        default,
        deserialize_with = "bounds::objects::<_, _, NODE_PORTS_MAX>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "Option<Vec<OutboundPort>>", length(max = NODE_PORTS_MAX))]
    pub outbound_ports: Vec<OutboundPort>,
    /// What others may call, at most 256.
    #[serde(
        default,
        deserialize_with = "bounds::objects::<_, _, NODE_TOOLS_MAX>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "Option<Vec<Tool>>", length(max = NODE_TOOLS_MAX))]
    pub tools: Vec<Tool>,
    /// What else it can do, in its own words: any JSON of at most 16 KiB and 64 levels.
    #[serde(
        default,
        deserialize_with = "bounds::json::<_, NODE_CAPABILITIES_BYTES_MAX>",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "AnyJson")]
    pub capabilities: Option<Value>,
    /// Where in a graph it stands, in the graph's own words: any JSON of at most 16 KiB and 64 levels.
    #[serde(
        default,
        deserialize_with = "bounds::json::<_, NODE_CAPABILITIES_BYTES_MAX>",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "AnyJson")]
    pub graph_binding: Option<Value>,
    /// The agent that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned_by_agent: Option<Label>,
    /// Agents that follow what it does, at most 64.
    #[serde(
        default,
        deserialize_with = "list::<_, _, NODE_RELATED_MAX>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "Option<Vec<Label>>", length(max = NODE_RELATED_MAX))]
    pub subscribed_by_agents: Vec<Label>,
    /// Nodes that it gets its inputs from, at most 64.
    #[serde(
        default,
        deserialize_with = "list::<_, _, NODE_RELATED_MAX>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "Option<Vec<NodeId>>", length(max = NODE_RELATED_MAX))]
    pub upstream_nodes: Vec<NodeId>,
    /// Nodes that get its outputs, at most 64.
    #[serde(
        default,
        deserialize_with = "list::<_, _, NODE_RELATED_MAX>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "Option<Vec<NodeId>>", length(max = NODE_RELATED_MAX))]
    pub downstream_nodes: Vec<NodeId>,
    /// Your name for this request: the same again is answered with the present state, never done twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// When you asked, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Timestamp>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

impl RegisterRequest {
    /// What is worth a look about the request itself.
    pub fn warnings(&self) -> Vec<Warning> {
        let ports = self.inbound_ports.iter().enumerate();
        let warning = |(at, port): (usize, &InboundPort)| {
            let pointer = format!("/inbound_ports/{at}/endpoint_uri");
            port.endpoint_uri.as_ref()?.warning(&pointer)
        };
        ports.filter_map(warning).collect()
    }

    /// Of a node that says no more than it must.
    pub fn new(
        node_id: NodeId,
        version: Version,
        node_type: NodeType,
        requester_id: RequesterId,
    ) -> Self {
        Self {
            node_id,
            version,
            version_hash: None,
            node_type,
            description: None,
            tags: Vec::new(),
            execution_mode: None,
            host: None,
            ttl: None,
            epoch: None,
            requester_id,
            schema: None,
            inbound_ports: Vec::new(),
            outbound_ports: Vec::new(),
            tools: Vec::new(),
            capabilities: None,
            graph_binding: None,
            owned_by_agent: None,
            subscribed_by_agents: Vec::new(),
            upstream_nodes: Vec::new(),
            downstream_nodes: Vec::new(),
            request_id: None,
            requested_at: None,
            min_revision: None,
        }
    }
}

/// What became of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RegisterStatus {
    /// The node is in the list.
    Accepted,
    /// One that a later version knows.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

/// An announced node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RegisterReply {
    /// The node's id.
    pub node_id: NodeId,
    /// Always `accepted`.
    pub status: RegisterStatus,
    /// The instance that answered.
    pub registry_id: Uuid,
    /// How far it is trusted.
    pub trust_state: Open<TrustState>,
    /// Seconds that it counts as alive without a heartbeat.
    pub ttl: Ttl,
    /// Name it in heartbeats.
    pub epoch: u64,
    /// What is left.
    pub expires_in_ms: u64,
    /// When to send the next heartbeat: a third of what is left.
    pub heartbeat_after_ms: u64,
    /// What is worth a look, though it was done: tools by whose name and version others offer another
    /// contract.
    pub warnings: Vec<Warning>,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}
