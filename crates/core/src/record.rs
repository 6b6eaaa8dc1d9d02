//! What is stored under a key. These types are the storage format: they are written to the log as they stand here.

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;
use onex_types::{ids::Transport, ports::PortRange};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

pub use crate::{
    lease::{Cooldown, Last, Lease, LeaseEnd, Member, PortKeyText, QUARANTINE_MILLIS, Remembered},
    record_parts::{Json, OwnerRef, Request, Unknown},
    settings::{RETENTION_MILLIS_DEFAULT, Settings},
};

use crate::{
    execution::{Call, Counts, Run},
    host_record::HostRecord,
    node_record::{Bus, Live, Node},
    record_parts::is_zero,
    trust::Verdicts,
};

/// A host's port ranges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostPool {
    /// Those of both port spaces, or of tcp where `udp` says something else.
    #[serde(flatten)]
    pub ports: PoolPorts,
    /// Those of udp, where they are not those of tcp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub udp: Option<PoolPorts>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What is granted in a port space of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PoolPorts {
    /// What may be granted.
    pub ranges: Vec<PortRange>,
    /// What of it is never granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserved: Vec<PortRange>,
}

impl HostPool {
    /// What is granted in that port space.
    pub fn ports(&self, transport: Transport) -> &PoolPorts {
        match (transport, &self.udp) {
            (Transport::Udp, Some(udp)) => udp,
            _ => &self.ports,
        }
    }
}

/// Which store this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Store {
    /// Chosen once, when the store was made.
    pub store_id: Uuid,
    /// When the stream was made, by the server.
    pub created_at: Timestamp,
}

/// The instance that writes snapshots, view and events, and up to where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Named {
    /// The instance; nil when the last one has stopped.
    pub instance: InstanceId,
    /// Every event up to this revision is in the stream of events.
    pub published: u64,
    /// The position of the entry up to which that is so.
    pub published_sequence: u64,
}

/// That the log was restored from a backup, and what was skipped then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restored {
    /// Revisions that no command of this log has, the latest last. Somebody who knows of one knows what is lost.
    pub skipped: Vec<RevisionRange>,
    /// For how long nothing is granted, in milliseconds from when an instance applies this: who holds what is lost may use
    /// it until then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub quiet_ms: u64,
}

/// Revisions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevisionRange {
    /// The lowest.
    pub from: u64,
    /// The highest.
    pub to: u64,
}

/// The format of the entries behind this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Format {
    /// Its number.
    pub format: u32,
}

/// One start of one instance.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct InstanceId(pub u64);

/// Of the members that are named so far, exactly one is there.
fn exactly_one(schema: &mut Schema) {
    let members = schema.get("properties").and_then(Value::as_object);
    let each = members.into_iter().flat_map(|members| members.keys());
    let each: Vec<Value> = each.map(|name| json!({"required": [name]})).collect();
    schema.insert("oneOf".to_owned(), Value::Array(each));
}

macro_rules! records {
    ($($(#[$doc:meta])* $variant:ident($body:ty) $member:ident,)*) => {
        /// A record; written as an object with one member, which names its kind.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Record {
            $($(#[$doc])* $variant(Arc<$body>),)*
        }

        /// One of these members: the schema of a record.
        #[derive(JsonSchema)]
        #[schemars(rename = "Record", transform = exactly_one)]
        #[expect(dead_code, reason = "it is never a value: its schema is all there is to it")]
        struct Members {
            $($(#[$doc])* #[schemars(skip_serializing_if = "Option::is_none")] $member: Option<$body>,)*
        }

        impl JsonSchema for Record {
            fn schema_name() -> Cow<'static, str> {
                Members::schema_name()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                Members::json_schema(generator)
            }
        }

        $(impl From<$body> for Record {
            fn from(body: $body) -> Self {
                Self::$variant(Arc::new(body))
            }
        })*

        impl Record {
            $($(#[$doc])*
            pub fn $member(&self) -> Option<&Arc<$body>> {
                match self {
                    Self::$variant(body) => Some(body),
                    _ => None,
                }
            })*
        }
    };
}

records!(
    /// The store.
    Store(Store) store,
    /// The shared settings.
    Settings(Settings) settings,
    /// A host's port ranges.
    Pool(HostPool) pool,
    /// A lease.
    Lease(Lease) lease,
    /// A port of a lease.
    Member(Member) member,
    /// A port that nobody holds.
    Cooldown(Cooldown) cooldown,
    /// A request that is remembered.
    Request(Remembered) request,
    /// The named instance.
    Named(Named) named,
    /// What a node announced.
    Node(Node) node,
    /// A node's life.
    Live(Live) live,
    /// A bus.
    Bus(Bus) bus,
    /// What validators say of a node.
    Trust(Verdicts) trust,
    /// A call with a request id.
    Call(Call) call,
    /// An execution that is under way.
    Run(Run) run,
    /// How many executions have ended.
    Counts(Counts) counts,
    /// What was skipped when a restored log was accepted.
    Restored(Restored) restored,
    /// The format that the log was raised to.
    Format(Format) format,
    /// What a host is called.
    Host(HostRecord) host,
);
