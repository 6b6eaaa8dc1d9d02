//! What a registry can be asked to do, and what it can say to that.

use jiff::Timestamp;

use super::{
    ids::{CommandId, Host, Label, LeaseId, Name, Port, RequesterId, Token, Transport, Ttl},
    key::{PortKey, Revision},
    record::{Ended, Lease, Request},
    time::Moment,
    write::Write,
};

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Chosen once; a grant's lease id, and the mark of every record that this command writes.
    pub id: CommandId,
    /// The request that it came with; none for the registry's own.
    pub correlation_id: Option<String>,
    /// Whether the index has been behind a barrier since the command arrived.
    pub confirmed: bool,
    /// What.
    pub action: Action,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Grant a port.
    Lease(Wish),
    /// Let a lease last its TTL again.
    Renew {
        /// Who asks.
        requester_id: RequesterId,
        /// Which.
        lease_id: LeaseId,
        /// A longer TTL from now on.
        ttl: Option<Ttl>,
        /// The caller's name for this.
        request: Option<Request>,
    },
    /// End a lease for its holder.
    Release {
        /// Who asks.
        requester_id: RequesterId,
        /// Which.
        lease_id: LeaseId,
        /// The caller's name for this.
        request: Option<Request>,
    },
    /// End what is due under that key.
    Expire(PortKey),
    /// End that grant, which its caller never got.
    Withdraw(PortKey, LeaseId, Ended),
}

/// The port that someone wants.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// Who.
    pub requester_id: RequesterId,
    /// What will be spoken there.
    pub protocol: Token,
    /// For how long without a renewal.
    pub ttl: Ttl,
    /// On which host.
    pub host: Host,
    /// In which port space.
    pub transport: Transport,
    /// Tried first.
    pub preferred: Option<Port>,
    /// Whether only the preferred one will do.
    pub exact: bool,
    /// Sticky, and resolvable.
    pub name: Option<Name>,
    /// For finding it.
    pub labels: Vec<Label>,
    /// When the caller says that it asked.
    pub requested_at: Option<Timestamp>,
    /// The caller's name for this.
    pub request: Option<Request>,
}

/// What to do about a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Nothing is to be written.
    Answer(Answer),
    /// Write, and if that is acknowledged give the answer.
    Commit {
        /// The write.
        write: Write,
        /// What is true once it is acknowledged.
        answer: Answer,
        /// What comes before the answer.
        then: Effect,
    },
    /// Decide again at an exact point there or later.
    Wait(Revision),
}

/// What comes between an acknowledged write and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Reply,
    /// The command is decided again once this is seen: another lease is its answer.
    Again,
    /// It is a grant: judge it again if `echo`, then try the port if `probe`.
    Grant {
        /// Another instance may have granted the same request.
        echo: bool,
        /// The port is on this registry's own host.
        probe: bool,
    },
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// This lease is live.
    Lease(Held),
    /// This lease has ended.
    Ended {
        /// Which.
        lease_id: LeaseId,
        /// How.
        ended: Ended,
        /// When, for people.
        at: Timestamp,
        /// Where in the stream; 0 while that is being written.
        revision: Revision,
    },
    /// There was nothing to do.
    Nothing,
}

/// A live lease.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The key of its first port.
    pub key: PortKey,
    /// The lease.
    pub lease: Lease,
    /// Its record's revision; 0 while that is being written.
    pub revision: Revision,
    /// Since when its TTL counts, by this instance's clock.
    pub since: Moment,
    /// What trying the port said; none where nobody tried.
    pub probed: Option<Probed>,
}

/// What trying to bind a port said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// It can be bound.
    Bindable,
    /// Another program has it.
    InUse,
    /// It could not be tried.
    Unknown,
}

/// The bound on hosts, as a refusal names it.
pub const BOUND_HOSTS: &str = "hosts";
/// The bound on what one requester holds, as a refusal names it.
pub const BOUND_LEASES: &str = "leases per requester";

/// Why nothing was done. The order of the variants is the order in which they are judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The TTL is above the registry's bound.
    #[error("ttl must be at most {0} seconds here")]
    TtlTooLong(u32),
    /// The request id came with other parameters before.
    #[error("this request_id was used before with other parameters")]
    IdempotencyMismatch,
    /// The lease has ended and is still remembered.
    #[error("the lease has ended")]
    LeaseExpired,
    /// There is no such lease, and none is remembered.
    #[error("there is no such lease")]
    LeaseNotFound,
    /// The lease is someone else's.
    #[error("the lease belongs to another requester")]
    NotHolder,
    /// The host has no pool, and new ones are not allowed.
    #[error("there is no pool for host {0:?}")]
    PoolNotFound(String),
    /// A bound is reached.
    #[error("no more {what} are allowed: the limit is {limit}")]
    LimitExceeded {
        /// Of what.
        what: &'static str,
        /// Which.
        limit: usize,
    },
    /// The one port that will do cannot be had.
    #[error("{}", .0.said())]
    PortUnavailable(Unavailable),
    /// No port can be had now.
    #[error("no port of the pool is free")]
    Exhausted {
        /// When one may be, in milliseconds.
        retry_after_ms: u64,
    },
    /// The port's events are not published yet.
    #[error("events of this port wait to be published")]
    Busy,
    /// Others write the same keys.
    #[error("others are writing the same keys")]
    Contended,
    /// The store did not answer; nothing was done.
    #[error("the store cannot be reached; nothing was done")]
    Unreachable,
}

/// Why a port cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// Someone has it.
    Held,
    /// It rests.
    Resting,
    /// It rests: another program was using it.
    Quarantined,
    /// It is never granted.
    Reserved,
    /// It is in no range.
    Outside,
    /// Another program is using it.
    InUse,
}

impl Unavailable {
    /// For people.
    pub fn said(self) -> &'static str {
        match self {
            Self::Held => "somebody holds the port",
            Self::Resting => "the port rests: its last holder may still count on it",
            Self::Quarantined => "the port rests: another program was using it",
            Self::Reserved => "the port is reserved and never granted",
            Self::Outside => "the port is in none of the ranges that are granted",
            Self::InUse => "another program is using the port",
        }
    }

    /// As it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Resting => "resting",
            Self::Quarantined => "quarantined",
            Self::Reserved => "reserved",
            Self::Outside => "outside",
            Self::InUse => "in_use",
        }
    }
}

impl Refusal {
    /// Whether an index that lags could be the reason: then it is judged again behind a barrier.
    pub fn needs_barrier(&self) -> bool {
        match self {
            Self::LeaseNotFound
            | Self::PoolNotFound(_)
            | Self::LimitExceeded { .. }
            | Self::Exhausted { .. } => true,
            Self::PortUnavailable(why) => match why {
                Unavailable::Held | Unavailable::Resting | Unavailable::Quarantined => true,
                Unavailable::Reserved | Unavailable::Outside | Unavailable::InUse => false,
            },
            Self::TtlTooLong(_)
            | Self::IdempotencyMismatch
            | Self::LeaseExpired
            | Self::NotHolder
            | Self::Busy
            | Self::Contended
            | Self::Unreachable => false,
        }
    }
}
