//! What is stored of leases, and of ports that were leased. As in [`record`](crate::record), these types are the storage
//! format.

use std::sync::Arc;

use jiff::Timestamp;
pub use onex_types::kinds::LeaseEnd;
use onex_types::{
    holder::Holder,
    ids::{Host, Label, LeaseId, Name, Port, Reason, RequesterId, Token, Transport, Ttl},
    impl_schema,
    key::PortKey,
};
use schemars::{JsonSchema, json_schema};
use serde::{Deserialize, Serialize};

use crate::record_parts::{OwnerRef, Request, Unknown, is_zero};

/// How long a port stays quarantined that another program was found to use, or that a lease gave up for another one, in
/// milliseconds: one minute.
pub const QUARANTINE_MILLIS: u64 = 60_000;

/// A lease that has not ended. Its record is under the key of one of its ports; its other ports hold a `member`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lease {
    /// The lease's id.
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
    /// What the holder says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Arc<Holder>>,
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
    /// The request that last gave it another port for one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebind: Option<Request>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

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
        [&self.request, &self.renewal, &self.rebind]
            .into_iter()
            .flatten()
    }
}

/// A port of a lease whose record is under another key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Where that record is.
    pub of: PortKeyText,
}

/// A [`PortKey`] as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKeyText(pub PortKey);

impl_schema!(
    PortKeyText,
    json_schema!({
        "type": "string", "pattern": r"^port\.[A-Za-z0-9_=-]+\.(tcp|udp)\.[1-9][0-9]*$",
    })
);

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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cooldown {
    /// How that ended.
    pub how: LeaseEnd,
    /// When, for people.
    pub ended_at: Timestamp,
    /// How long nobody gets the port, in milliseconds from when an instance applies this.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cooldown_ms: u64,
    /// For how long of that its last holder, who gave it up for another port, may still count on it, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub holder_ms: u64,
    /// Why an administrator took it away; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The lease.
    pub last: Last,
}

/// What is remembered of a lease that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Last {
    /// The lease's id.
    pub lease_id: LeaseId,
    /// Who held it.
    pub requester_id: RequesterId,
    /// Its name: the same requester's same name gets the port again while it is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// What its holder said of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Arc<Holder>>,
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

impl Last {
    /// The requests that it remembers.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.request.iter().chain(&self.release)
    }
}

/// How long a port then cools down, in milliseconds, where the entry does not say it. Nothing where the holder stopped
/// first.
pub(crate) fn cooldown_millis(how: LeaseEnd) -> u64 {
    match how {
        LeaseEnd::InUse | LeaseEnd::Rebound => QUARANTINE_MILLIS,
        LeaseEnd::Released | LeaseEnd::Expired | LeaseEnd::Superseded | LeaseEnd::Revoked => 0,
    }
}

/// Whether the caller of the grant was told of the lease. One that was not may ask again under its request id.
pub(crate) fn was_told(how: LeaseEnd) -> bool {
    match how {
        LeaseEnd::InUse => false,
        LeaseEnd::Released
        | LeaseEnd::Expired
        | LeaseEnd::Rebound
        | LeaseEnd::Superseded
        | LeaseEnd::Revoked => true,
    }
}

/// A request that was granted a port which has been granted again since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
