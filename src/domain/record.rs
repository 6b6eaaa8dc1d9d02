//! What is stored under a key, in words of the domain. How it is written as bytes is the store's.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    bus::Bus,
    call::Called,
    counts::{Counted, Folded},
    hosts::HostRecord,
    ids::{CommandId, Label, LeaseId, Name, Port, RequesterId, Token, Ttl},
    key::Revision,
    node::{Announced, Life, Lived},
    transition::{Happened, Transition},
    trust::Judged,
};

/// The format of every record that this version writes; a later one is not understood.
pub const FORMAT: u32 = 1;

/// Transitions that a port's record carries before a grant is refused (BUSY) until they are published.
/// An end always fits: a lease must never outlive its time because events are slow.
pub const OUTBOX_TRANSITIONS_MAX: usize = 6;

/// Tools of which the unpublished transitions of a key may tell before an announcement waits: a record
/// has to fit a message, with another announcement and an end in it.
pub const OUTBOX_TOOLS_MAX: usize = 256;

/// How long a port rests that another program was using, in milliseconds: one minute.
pub const IN_USE_REST_MILLIS: u64 = 60_000;

pub use onex_core::record::{Json, Request, Unknown};

/// What a key holds: a port's, unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record<B = Body> {
    /// [`FORMAT`].
    pub format: u32,
    /// The command that wrote it: after an unknown outcome it tells whose write landed.
    pub write: CommandId,
    /// How many transitions this key has made, ever.
    pub transitions: u64,
    /// The last of them, those that are not known to be published.
    pub outbox: Vec<Transition>,
    /// What it is about.
    #[serde(flatten)]
    pub body: B,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Held, or at rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Someone holds it until a write says that it has ended.
    Lease(Lease),
    /// Nobody holds it.
    Rest(Rest),
}

/// A lease that no write has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// Which.
    pub lease_id: LeaseId,
    /// Whose.
    pub requester_id: RequesterId,
    /// What will be spoken there.
    pub protocol: Token,
    /// How long it lasts without a renewal. Of a lease that is bound to a node: what the node's was.
    pub ttl: Ttl,
    /// The life of a node that it ends with; it then needs no renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Life>,
    /// What it holds, on the host and transport of its key.
    pub ports: Vec<Port>,
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
    /// When it was granted or last renewed, for people.
    pub renewed_at: Timestamp,
    /// Where in the stream its grant is; absent in the grant itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<u64>,
    /// The request that was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// The request that last renewed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Request>,
    /// Its command may still take it back: the port is in use, or the request was granted twice.
    /// Whoever tells anybody else of this lease writes it without this mark first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unanswered: bool,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A port that nobody holds, and what is remembered of its last lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rest {
    /// The last lease; absent when a foreign write destroyed its record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
    /// How it ended.
    pub ended: Ended,
    /// When, for people.
    pub ended_at: Timestamp,
    /// For how long nobody gets it, from when this is first seen.
    pub rest_ms: u64,
}

/// What is remembered of a lease that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Last {
    /// Which.
    pub lease_id: LeaseId,
    /// Whose.
    pub requester_id: RequesterId,
    /// Its name: the same requester's same name gets the port again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Where in the stream its grant is.
    pub granted: u64,
    /// The request that was granted; absent when its caller never got this lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// The request that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Request>,
}

/// How a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Its holder gave it back.
    Released,
    /// Its time was up.
    Expired,
    /// Another program had the port; the caller was given another one.
    InUse,
    /// Two instances granted the same request; the caller has the other lease.
    Duplicate,
    /// Its record was overwritten from outside, and the longest TTL has passed since.
    Overwritten,
    /// The life of the node that it was bound to was ended by another one; its holder still counts on it.
    Superseded,
    /// The node that it was to be bound to had ended before anybody was told of it.
    NodeGone,
}

impl Ended {
    /// The event that tells of such an end.
    pub fn event(self) -> Happened {
        match self {
            Self::Released | Self::Duplicate | Self::NodeGone => Happened::Released,
            Self::Expired | Self::Overwritten => Happened::Expired,
            Self::InUse => Happened::Quarantined,
            Self::Superseded => Happened::Revoked,
        }
    }

    /// How long the port then rests, in milliseconds, when its holder may count on it for `ttl`. Nothing
    /// where the holder stopped first.
    pub fn rest_millis(self, ttl: Ttl) -> u64 {
        match self {
            Self::InUse => IN_USE_REST_MILLIS,
            Self::Superseded => ttl.millis(),
            Self::Released
            | Self::Expired
            | Self::Duplicate
            | Self::Overwritten
            | Self::NodeGone => 0,
        }
    }
}

/// The registry's own settings, under `sys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sys {
    /// [`FORMAT`].
    pub format: u32,
    /// Grows when a store that went backwards is accepted.
    pub lineage: u64,
    /// The longest TTL that any instance ever allowed.
    pub ttl_max: Ttl,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// Who publishes events, and up to where they are out, under `sys.checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// [`FORMAT`].
    pub format: u32,
    /// The instance; nil when the last one has stopped.
    pub owner: Uuid,
    /// Every transition up to this position of the stream is out.
    pub out_to: u64,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What the follower found under a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored {
    /// A port's record.
    Port(Box<Record>),
    /// A node's announcement.
    Node(Box<Record<Announced>>),
    /// A node's life.
    Live(Box<Record<Lived>>),
    /// A bus.
    Bus(Box<Record<Bus>>),
    /// What validators say of a node.
    Verdict(Box<Record<Judged>>),
    /// A call that its caller named.
    Call(Box<Record<Called>>),
    /// How often a node's tools were run.
    Exec(Box<Record<Counted>>),
    /// A marker by which a registry has removed the key; the server removes it in its turn.
    Forgotten,
    /// What the instances on a host said of it.
    Host(HostRecord),
    /// The settings.
    Sys(Sys),
    /// The publisher's.
    Checkpoint(Checkpoint),
    /// Up to where events of executions are counted.
    Folded(Folded),
    /// A barrier; what it says does not matter.
    Barrier,
    /// A record of a later version: it means something that is not understood here.
    Later,
    /// Something that no registry wrote, a marker of `nats kv del` among them.
    Foreign,
}

/// What a record can be about.
pub(super) trait Kept: Sized {
    /// The record as it is stored.
    fn stored(record: Box<Record<Self>>) -> Stored;
    /// The record, when one of these is stored.
    fn of(stored: Stored) -> Option<Box<Record<Self>>>;
}

macro_rules! kept {
    ($($body:ty = $variant:ident)*) => {$(
        impl Kept for $body {
            fn stored(record: Box<Record<Self>>) -> Stored {
                Stored::$variant(record)
            }

            fn of(stored: Stored) -> Option<Box<Record<Self>>> {
                if let Stored::$variant(record) = stored {
                    Some(record)
                } else {
                    None
                }
            }
        }
    )*};
}

kept!(Body = Port Announced = Node Lived = Live Bus = Bus Judged = Verdict Called = Call Counted = Exec);

impl Record {
    /// The lease, when there is one.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.body {
            Body::Lease(lease) => Some(lease),
            Body::Rest(_) => None,
        }
    }

    /// The revision at which the lease that it holds or last held was granted, if that is known.
    pub fn granted(&self, own: Revision) -> Option<Revision> {
        match &self.body {
            Body::Lease(lease) => Some(lease.granted.map_or(own, Revision)),
            Body::Rest(rest) => rest.last.as_ref().map(|last| Revision(last.granted)),
        }
    }

    /// Every request that it remembers.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        let (first, second) = match &self.body {
            Body::Lease(lease) => (&lease.request, &lease.renewal),
            Body::Rest(rest) => match &rest.last {
                Some(last) => (&last.request, &last.release),
                None => (&None, &None),
            },
        };
        first.iter().chain(second)
    }
}

impl<B> Record<B> {
    /// How many of its transitions are not published up to `out_to`.
    pub fn unpublished(&self, own: Revision, out_to: Revision) -> usize {
        self.waiting(own, out_to).count()
    }

    /// Whether there is room for another transition before those are published that are not up to
    /// `out_to`. An end is not asked.
    pub fn has_room(&self, own: Revision, out_to: Revision) -> bool {
        let tools: usize = self.waiting(own, out_to).map(Transition::tools).sum();
        self.unpublished(own, out_to) < OUTBOX_TRANSITIONS_MAX && tools <= OUTBOX_TOOLS_MAX
    }

    fn waiting(&self, own: Revision, out_to: Revision) -> impl Iterator<Item = &Transition> {
        self.outbox
            .iter()
            .filter(move |transition| transition.revision.unwrap_or(own.0) > out_to.0)
    }

    /// The outbox as the next record has to carry it: without what is published up to `out_to`, and
    /// with this record's own revision where that was still open.
    pub fn outbox_after(&self, own: Revision, out_to: Revision) -> Vec<Transition> {
        self.waiting(own, out_to)
            .map(|transition| Transition {
                revision: Some(transition.revision.unwrap_or(own.0)),
                ..transition.clone()
            })
            .collect()
    }
}
