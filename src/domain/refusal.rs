//! Why a registry does not do what it is asked to.

use super::{
    ids::{BusId, Host, LeaseId, NodeId, Port, RequestId, Token, Transport},
    node::EPOCH_NAMED_MAX,
};

/// The bound on hosts, as a refusal names it.
pub const BOUND_HOSTS: &str = "hosts";
/// The bound on what one requester holds, as a refusal names it.
pub const BOUND_LEASES: &str = "leases per requester";

/// The bound on nodes, as a refusal names it.
pub const BOUND_NODES: &str = "nodes";
/// The bound on buses, as a refusal names it.
pub const BOUND_BUSES: &str = "buses";
/// The bound on who judges one node, as a refusal names it.
pub const BOUND_VALIDATORS: &str = "validators of one contract";
/// The bound on tools, as a refusal names it.
pub const BOUND_TOOLS: &str = "tools of one node";
/// The bound on regular expressions, as a refusal names it.
pub const BOUND_PATTERNS: &str = "regular expressions of one node";

/// Why nothing was done. The order of the variants is the order in which they are judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The TTL is above the registry's bound.
    #[error("ttl must be at most {0} seconds here")]
    TtlTooLong(u32),
    /// A new life's epoch is above the bound.
    #[error(
        "the epoch of a new life must be at most {EPOCH_NAMED_MAX}; without one the registry gives the next"
    )]
    EpochTooHigh,
    /// The request id came with other parameters before.
    #[error("request_id {0} was used before with other parameters")]
    IdempotencyMismatch(RequestId),
    /// The lease has ended and is still remembered.
    #[error("lease {}, of port {}, has ended", .0.0, .1)]
    LeaseExpired(LeaseId, Port),
    /// There is no such lease, and none is remembered.
    #[error("there is no lease {}", .0.0)]
    LeaseNotFound(LeaseId),
    /// The lease is someone else's.
    #[error("lease {}, of port {}, belongs to another requester", .0.0, .1)]
    NotHolder(LeaseId, Port),
    /// No such node lives.
    #[error("there is no node {0}, or it has ended")]
    NodeNotFound(NodeId),
    /// That life of the node is over.
    #[error("that life of node {node_id} is over (the last epoch is {last})")]
    Superseded {
        /// The node.
        node_id: NodeId,
        /// The epoch of its last life.
        last: u64,
    },
    /// The node is someone else's.
    #[error("node {0} belongs to another requester")]
    NotNodesHolder(NodeId),
    /// The bus is someone else's.
    #[error("bus {0} belongs to another requester")]
    NotBusHolder(BusId),
    /// Someone else's node of that name lives.
    #[error("node {node_id} belongs to another requester and lives, in epoch {epoch}")]
    NodeTaken {
        /// The node.
        node_id: NodeId,
        /// The epoch that it lives in.
        epoch: u64,
    },
    /// The node offers no such tool.
    #[error("node {0} offers no tool {1}, or not in that version")]
    ToolNotFound(NodeId, Token),
    /// There is no such bus.
    #[error("there is no bus {0}")]
    BusNotFound(BusId),
    /// The node's contract must not change.
    #[error(
        "node {0} is frozen: its contract must not change until a validator reports it as canary or validated"
    )]
    Frozen(NodeId),
    /// Who judges is no validator.
    #[error("no node of type validator lives by the id {0} and that requester")]
    NotValidator(NodeId),
    /// Nobody judges itself.
    #[error("node {0} cannot judge itself")]
    OwnVerdict(NodeId),
    /// The node has another contract than the one that was examined.
    #[error("node {0} has another contract by now: {1}")]
    OtherContract(NodeId, String),
    /// A port that a node says it listens on is not leased like that.
    #[error("{why}")]
    Inbound {
        /// Which of its ports.
        index: usize,
        /// Why not.
        why: Box<Refusal>,
    },
    /// The lease ends with the node's present life, and the announcement begins another one.
    #[error(
        "this begins a new life of the node, and the lease ends with the present one: name its epoch, {0}, to change \
         what is said of that"
    )]
    LeaseOfLastLife(u64),
    /// The lease is of another port.
    #[error("lease {} is of port {}", .0.0, .1)]
    OtherPort(LeaseId, Port),
    /// The registration is too long.
    #[error("the registration of node {0} with its tools is larger than {1} bytes")]
    NodeTooLarge(NodeId, usize),
    /// The host has no pool, and new ones are not allowed.
    #[error("there is no pool for host {0:?}")]
    PoolNotFound(String),
    /// A bound is reached.
    #[error(
        "no more {what} are allowed: the limit is {limit}{}",
        ended_count(what)
    )]
    LimitExceeded {
        /// Of what.
        what: &'static str,
        /// Which.
        limit: usize,
    },
    /// The one port that will do cannot be had.
    #[error("{}", .1.said(*.0))]
    PortUnavailable(Port, Unavailable),
    /// No port can be had now.
    #[error("no {transport} port of the pool of host {host} is free")]
    Exhausted {
        /// The host.
        host: Host,
        /// In which port space.
        transport: Transport,
        /// When one may be, in milliseconds.
        retry_after_ms: u64,
    },
    /// Too many calls are remembered.
    #[error("too many calls with a request_id are remembered")]
    CallsFull,
    /// The port's events are not published yet.
    #[error("earlier events of the same port, node, bus or call wait to be published")]
    Busy,
    /// Others write the same keys.
    #[error("others are writing the same keys")]
    Contended,
    /// The record to write could not be read back; nothing was written.
    #[error("the record to write could not be read back; nothing was written")]
    Unreadable,
    /// The store did not answer; nothing was done.
    #[error("the store cannot be reached; nothing was done")]
    Unreachable,
}

/// What there is more to say of a bound.
fn ended_count(what: &str) -> &'static str {
    match what {
        BOUND_NODES | BOUND_BUSES => {
            ", and ended ones count until they are forgotten (the registry's --retention)"
        }
        _ => "",
    }
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
    /// For people, of that port.
    pub fn said(self, port: Port) -> String {
        match self {
            Self::Held => format!("somebody holds port {port}"),
            Self::Resting => format!("port {port} rests: its last holder may still count on it"),
            Self::Quarantined => format!("port {port} rests: another program was using it"),
            Self::Reserved => format!("port {port} is reserved and never granted"),
            Self::Outside => format!("port {port} is in none of the ranges that are granted"),
            Self::InUse => format!("another program is using port {port}"),
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
            Self::LeaseNotFound(_)
            | Self::NodeNotFound(_)
            | Self::NotNodesHolder(_)
            | Self::NotBusHolder(_)
            | Self::NodeTaken { .. }
            // A node that was forgotten begins with low epochs again.
            | Self::Superseded { .. }
            | Self::ToolNotFound(..)
            | Self::BusNotFound(_)
            | Self::Frozen(_)
            // Whether the life that the lease ends with goes on is a matter of the epoch that is seen.
            | Self::Inbound { .. }
            | Self::NotValidator(_)
            | Self::OtherContract(..)
            | Self::PoolNotFound(_)
            | Self::LimitExceeded { .. }
            | Self::Exhausted { .. } => true,
            Self::PortUnavailable(_, why) => match why {
                Unavailable::Held | Unavailable::Resting | Unavailable::Quarantined => true,
                Unavailable::Reserved | Unavailable::Outside | Unavailable::InUse => false,
            },
            Self::TtlTooLong(_)
            | Self::EpochTooHigh
            | Self::IdempotencyMismatch(_)
            | Self::LeaseExpired(..)
            | Self::NotHolder(..)
            | Self::OwnVerdict(_)
            | Self::OtherPort(..)
            | Self::LeaseOfLastLife(_)
            | Self::NodeTooLarge(..)
            | Self::CallsFull
            | Self::Busy
            | Self::Contended
            | Self::Unreadable
            | Self::Unreachable => false,
        }
    }
}
