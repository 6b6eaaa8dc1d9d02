//! What the view bucket holds: records as people read them with `nats kv get`, what matters to them first.

use jiff::Timestamp;
use onex_core::{node, record::LeaseEnd};
use onex_types::{
    holder::Holder,
    ids::{Host, Label, LeaseId, Name, NodeId, Port, Reason, RequesterId, Token, Transport, Ttl},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::protocol::{
    message_schema::{Message, remark},
    names::{self, Namespace},
    port::LeaseStatus,
    time,
};

use super::{examples, schema::schema_of};

/// A port, under `port.<host>.<transport>.<port>`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum PortView<'a> {
    /// Somebody holds it.
    Lease(LeaseView<'a>),
    /// Nobody holds it any more.
    Ended(EndedView<'a>),
}

/// A port that somebody holds.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LeaseView<'a> {
    /// Always `active`.
    pub status: LeaseStatus,
    /// Who holds it.
    pub requester_id: RequesterId,
    /// The node that the lease ends with; absent where it ends with none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<&'a NodeId>,
    /// The lease's name; absent where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a Name>,
    /// When it ends without a heartbeat. Absent where it ends with a node: `live.<node_id>` has that; and where
    /// `part_of` says where the rest of the lease is.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "time::optional"
    )]
    pub expires_at: Option<Timestamp>,
    /// Of a port that is not the first of its lease: the key under which the rest of the lease is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<String>,
    /// Which lease.
    pub lease_id: LeaseId,
    /// Where the port is.
    pub host: &'a Host,
    /// In which port space.
    pub transport: Transport,
    /// The port spaces in which the lease has its ports; absent where that is the only one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transports: Vec<Transport>,
    /// All ports of the lease.
    pub ports: &'a [Port],
    /// What is spoken there.
    pub protocol: &'a Token,
    /// The lease's labels; absent where it has none.
    #[serde(skip_serializing_if = "<[Label]>::is_empty")]
    pub labels: &'a [Label],
    /// Seconds that it lasts without a heartbeat. Absent where `expires_at` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Ttl>,
    /// What the holder says of itself; absent where it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<&'a Holder>,
    /// When it was granted.
    #[serde(serialize_with = "time::serialize")]
    pub granted_at: Timestamp,
    /// The lease's fencing token: every later holder of the port has a higher one.
    pub fencing_token: u64,
    /// The revision of the command that last changed it.
    pub revision: u64,
}

/// A port that nobody holds any more.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EndedView<'a> {
    /// How the last lease of it ended.
    pub status: LeaseEnd,
    /// Why an administrator took it away; absent where none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a Reason>,
    /// Who held it.
    pub requester_id: RequesterId,
    /// That lease's name; absent where it had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a Name>,
    /// What that holder said of itself; absent where it said nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<&'a Holder>,
    /// When that lease ended.
    #[serde(serialize_with = "time::serialize")]
    pub ended_at: Timestamp,
    /// Until when nobody gets the port; absent where it can be had at once.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "time::optional"
    )]
    pub free_at: Option<Timestamp>,
    /// Which lease it was.
    pub lease_id: LeaseId,
    /// Where the port is.
    pub host: &'a Host,
    /// In which port space.
    pub transport: Transport,
    /// Its number.
    pub port: Port,
    /// That lease's fencing token.
    pub fencing_token: u64,
    /// The revision of the command that ended it.
    pub revision: u64,
}

/// What a node announced, under `node.<node id>`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NodeView<'a> {
    /// Which node.
    pub node_id: &'a NodeId,
    /// What it announced, as `node.register` has it, with a `contract_hash`; and each of its tools with its own.
    #[serde(flatten)]
    #[schemars(with = "Map<String, Value>")]
    pub registration: Value,
    /// The revision of the command that last changed it.
    pub revision: u64,
}

/// Whether a node is live, under `live.<node id>`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LiveView<'a> {
    /// Whether it has ended, by the log.
    pub liveness: LiveStatus,
    /// Which node.
    pub node_id: &'a NodeId,
    /// Who registered it.
    pub requester_id: RequesterId,
    /// When it ends without a heartbeat; absent once it has ended.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "time::optional"
    )]
    pub expires_at: Option<Timestamp>,
    /// How it ended; absent while it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<node::NodeEnd>,
    /// Why an administrator ended it; absent where none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a Reason>,
    /// When it ended; absent while it has not.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "time::optional"
    )]
    pub ended_at: Option<Timestamp>,
    /// Counts the node's lives.
    pub epoch: u64,
    /// Seconds that it lasts without a heartbeat.
    pub ttl: Ttl,
    /// When this life was registered.
    #[serde(serialize_with = "time::serialize")]
    pub registered_at: Timestamp,
    /// What it said of its health at its last heartbeat; absent where it said nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<&'a Value>,
    /// The revision of the command that last changed it, a heartbeat included.
    pub revision: u64,
}

/// Whether a node is live, as far as an entry of the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LiveStatus {
    /// No entry has ended it.
    Online,
    /// It has ended.
    Ended,
}

/// The schema of each record of the view.
pub(super) fn messages() -> impl Iterator<Item = Message> {
    [
        message(
            "port",
            "Port in the view",
            "port.<host>.<transport>.<port>",
            "Who holds a port and until when, or how its last lease ended.",
            schema_of::<PortView<'static>>(true),
            vec![examples::leased_port(), examples::ended_port()],
        ),
        message(
            "node",
            "Node in the view",
            "node.<node id>",
            "What a node announced when it was last registered, and its tools as they are now.",
            schema_of::<NodeView<'static>>(true),
            vec![examples::shown_node()],
        ),
        message(
            "live",
            "Life of a node in the view",
            "live.<node id>",
            "Whether a node is live and until when, or how its last life ended.",
            schema_of::<LiveView<'static>>(true),
            vec![examples::shown_live()],
        ),
    ]
    .into_iter()
}

fn message(
    kind: &str,
    title: &str,
    key: &str,
    what: &str,
    mut schema: Value,
    examples: Vec<Value>,
) -> Message {
    let bucket = Namespace::default().view_bucket();
    let description = format!(
        "{what} `nats kv get {bucket} {key}` shows it; in <host> and <node id> each character but letters, digits, `-` \
        and `_` is `=XX`, its bytes in hexadecimal. Nothing reads it to decide anything: it is written again from the \
        log. When there is no such record any more, the key is deleted: its marker (`KV-Operation: DEL`, no body) goes \
        after an hour."
    );
    remark(&mut schema, &description);
    if let Some(schema) = schema.as_object_mut() {
        let subject = names::bucket_subject(&bucket, key);
        schema.insert("x-nats-subject".to_owned(), json!(subject));
    }
    Message::new(&format!("view.{kind}"), title, schema, examples)
}
