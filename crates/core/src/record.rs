//! What is stored under a key. These types are the storage format: they are written to the log as they stand here.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use onex_types::{
    ids::{
        Digest, Host, Incarnation, Label, LeaseId, Name, NodeId, Port, RequestId, RequesterId,
        Token, Transport, Ttl,
    },
    key::PortKey,
    ports::PortRange,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    execution::{Call, Counts, Run},
    host_names::HostRecord,
    node_record::{Bus, Live, Node, NodeLimits},
    trust::Verdicts,
};

/// How long a port stays quarantined that another program was found to use, in milliseconds: one minute.
pub const QUARANTINE_MILLIS: u64 = 60_000;

/// How long what has ended is remembered where no setting says it, in milliseconds: one hour.
pub const RETENTION_MILLIS_DEFAULT: u64 = 3_600_000;

fn retention_default() -> u64 {
    RETENTION_MILLIS_DEFAULT
}

/// Free-form JSON: carried as it came.
pub type Json = serde_json::Value;

/// Members that this version does not know. They are kept when a record is written again.
pub type Unknown = BTreeMap<String, Json>;

/// A write that its caller named, to make retries idempotent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Its id, chosen by the caller.
    pub id: RequestId,
    /// A digest of its parameters: tells a retry from another request under the same id.
    pub digest: Digest,
}

/// The life of a node that something belongs to and ends with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OwnerRef {
    /// Which node.
    pub node_id: NodeId,
    /// Which life of it.
    pub incarnation: Incarnation,
}

/// A lease that has not ended. Its record is under the key of one of its ports; its other ports hold a [`Member`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// Which.
    pub lease_id: LeaseId,
    /// Who holds it.
    pub requester_id: RequesterId,
    /// What will be spoken there.
    pub protocol: Token,
    /// How long it lasts without a renewal.
    pub ttl: Ttl,
    /// The node that it ends with; absent for a lease that is renewed by its holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerRef>,
    /// All its ports, on the host of its key.
    pub ports: Vec<Port>,
    /// The port spaces that it holds them in.
    pub transports: Vec<Transport>,
    /// By which it can be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// By which it can be found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// When the caller says that it asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Timestamp>,
    /// When it was granted, for people.
    pub granted_at: Timestamp,
    /// The revision of the command that last gave it a port: its fencing token.
    pub fence: u64,
    /// The request that was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// The request that last renewed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Request>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A port of a lease whose record is under another key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Where that record is.
    pub of: PortKeyText,
}

/// A [`PortKey`] as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKeyText(pub PortKey);

impl Serialize for PortKeyText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PortKeyText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A port that nobody holds, and what is remembered of its last lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cooldown {
    /// How that ended.
    pub how: LeaseEnd,
    /// When, for people.
    pub ended_at: Timestamp,
    /// How long nobody gets the port, in milliseconds from when an instance applies this.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cooldown_ms: u64,
    /// The lease.
    pub last: Last,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What is remembered of a lease that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Last {
    /// Which.
    pub lease_id: LeaseId,
    /// Who held it.
    pub requester_id: RequesterId,
    /// Its name: the same requester's same name gets the port again while it is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Its fencing token.
    pub fence: u64,
    /// The request that was granted; absent when its caller never got this lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// The request that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Request>,
    /// Whether this was a port of the lease, and the lease itself is or was under another key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub part: bool,
}

/// How a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseEnd {
    /// Its holder released it.
    Released,
    /// Its time was up.
    Expired,
    /// Another program was using the port; the caller got another one.
    InUse,
    /// Another life of the node that it belonged to was registered: its holder may still count on it.
    Superseded,
}

impl LeaseEnd {
    /// How long the port then cools down, in milliseconds, where the entry does not say it. Nothing where the holder
    /// stopped first.
    pub fn cooldown_millis(self) -> u64 {
        match self {
            Self::InUse => QUARANTINE_MILLIS,
            Self::Released | Self::Expired | Self::Superseded => 0,
        }
    }

    /// Whether the caller of the grant was told of the lease. One that was not may ask again under its request id.
    pub fn was_told(self) -> bool {
        match self {
            Self::InUse => false,
            Self::Released | Self::Expired | Self::Superseded => true,
        }
    }
}

/// A request that was granted a port which has been granted again since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Counts all that were ever remembered so; the slot is this modulo the number of slots.
    pub n: u64,
    /// Whose request.
    pub requester_id: RequesterId,
    /// The request.
    pub request: Request,
    /// The lease that it got.
    pub lease_id: LeaseId,
    /// The port of that lease.
    pub port: Port,
}

/// A host's port ranges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostPool {
    /// What may be granted.
    pub ranges: Vec<PortRange>,
    /// What of it is never granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserved: Vec<PortRange>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The settings that all instances share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The longest TTL that a request may ask for.
    pub ttl_max: Ttl,
    /// How many leases one requester may hold.
    pub holder_leases_max: usize,
    /// For how many hosts ports are granted.
    pub hosts_max: usize,
    /// The ranges of a host that has no pool of its own.
    pub ports_default: Vec<PortRange>,
    /// What of them is never granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserved_default: Vec<PortRange>,
    /// Whether a host without a pool is refused.
    #[serde(default)]
    pub known_hosts_only: bool,
    /// How long what has ended is remembered at least, in milliseconds.
    #[serde(default = "retention_default")]
    pub retention_ms: u64,
    /// What bounds nodes and buses.
    #[serde(default)]
    pub nodes: NodeLimits,
    /// How many calls with a request id may be remembered.
    pub calls_max: usize,
    /// How long such a call is remembered after its end, in milliseconds.
    pub calls_kept_ms: u64,
    /// How many executions without a request id may be under way; see [`RUNS_MAX`](crate::execution::RUNS_MAX).
    pub runs_max: usize,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Which store this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// Chosen once, when the store was made.
    pub store_id: Uuid,
    /// When the stream was made, by the server.
    pub created_at: Timestamp,
}

/// The instance that writes snapshots, view and events, and up to where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The instance; nil when the last one has stopped.
    pub instance: InstanceId,
    /// Every event up to this revision is in the stream of events.
    pub published: u64,
    /// The position of the entry up to which that is so.
    pub published_sequence: u64,
}

/// That the log was restored from a backup, and what was skipped then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Revisions that no command of this log has, the latest last. Somebody who knows of one knows what is lost.
    pub skipped: Vec<RevisionRange>,
    /// For how long nothing is granted, in milliseconds from when an instance applies this: who holds what is lost may use
    /// it until then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub quiet_ms: u64,
}

/// Revisions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionRange {
    /// The lowest.
    pub from: u64,
    /// The highest.
    pub to: u64,
}

/// The format of the entries behind this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// Its number.
    pub format: u32,
}

/// One start of one instance.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct InstanceId(pub u64);

macro_rules! records {
    ($($(#[$doc:meta])* $variant:ident($body:ty) $member:ident,)*) => {
        /// A record; written as an object with one member, which names its kind.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Record {
            $($(#[$doc])* $variant(Arc<$body>),)*
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

impl Lease {
    /// The keys of all its ports, where `key` is that of its record.
    pub fn port_keys(&self, host: &Host) -> impl Iterator<Item = PortKey> {
        self.transports.iter().flat_map(move |transport| {
            self.ports.iter().map(move |port| PortKey {
                host: host.clone(),
                transport: *transport,
                port: *port,
            })
        })
    }

    /// The requests that it remembers.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.request.iter().chain(&self.renewal)
    }
}

impl Last {
    /// The requests that it remembers.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.request.iter().chain(&self.release)
    }
}
