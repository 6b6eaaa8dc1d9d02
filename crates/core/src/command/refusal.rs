//! Why a command changes nothing.

use std::{collections::BTreeSet, time::Duration};

use onex_types::{
    ids::{BusId, Host, LeaseId, NodeId, Port, Reason, RequestId, Token, Transport},
    key::PortKey,
    span,
};

use super::{FullPool, HeldBy, bounds};
use crate::{
    node::EPOCH_NAMED_MAX,
    pool::{Counts, PortState},
    settings::SettingDiffers,
};

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The TTL is above the bound.
    #[error(
        "ttl must be 1 to {longest} seconds here, not {given}: --ttl-max of `onex serve` says how long"
    )]
    TtlTooLong {
        /// What was asked for, in seconds.
        given: u32,
        /// The longest that is granted, in seconds.
        longest: u32,
    },
    /// The request id came with other parameters before.
    #[error("request_id {0} was used before with other parameters")]
    IdempotencyMismatch(RequestId),
    /// The lease has ended and is still remembered.
    #[error("lease {}, of port {}, has ended", .0.0, .1)]
    LeaseExpired(LeaseId, Port),
    /// The lease was taken away from its holder, and is still remembered.
    #[error("lease {}, of port {port}, was revoked: {reason}", .lease_id.0)]
    LeaseRevoked {
        /// The lease's id.
        lease_id: LeaseId,
        /// The port of its record.
        port: Port,
        /// Why, as the administrator said.
        reason: Reason,
    },
    /// Nobody has that port.
    #[error("nobody holds {} port {} of host {}", .0.transport, .0.port, .0.host)]
    NobodyHolds(PortKey),
    /// A lease that ends with a node is not taken away without it: its holder counts on it as long as the node lives.
    #[error(
        "lease {}, of port {port}, ends with node {node_id}, which holds it as long as it lives: evict the node",
        .lease_id.0
    )]
    LeaseOfNode {
        /// Which lease.
        lease_id: LeaseId,
        /// Its port.
        port: Port,
        /// The node.
        node_id: NodeId,
    },
    /// The port is not quarantined, and cannot be granted all the same.
    #[error("port {port} is not quarantined: it {why}{}", for_another(*left_ms))]
    NotQuarantined {
        /// The port that was named.
        port: Port,
        /// What it is.
        why: Unavailable,
        /// How long that lasts, in milliseconds, where time ends it.
        left_ms: Option<u64>,
        /// Who holds it, if somebody does.
        by: Option<Box<HeldBy>>,
    },
    /// The port was given up for another one a moment ago.
    #[error(
        "port {port} was given up for another one, and its holder may not know that yet: it is not granted for another {}",
        roughly(*left_ms)
    )]
    GivenUp {
        /// The port that was given up.
        port: Port,
        /// How long its holder may count on it, in milliseconds.
        left_ms: u64,
    },
    /// Something is on a host that was to be forgotten.
    #[error("host {host} is in use: {what}")]
    HostInUse {
        /// The host to forget.
        host: Host,
        /// What is there, by name.
        what: String,
    },
    /// There is no such lease, and none is remembered.
    #[error("there is no lease {}", .0.0)]
    LeaseNotFound(LeaseId),
    /// The lease is somebody else's.
    #[error("lease {}, of port {port}, belongs to another requester: {}", .lease_id.0, .by.whose())]
    NotHolder {
        /// The lease's id.
        lease_id: LeaseId,
        /// Its port.
        port: Port,
        /// Whose it is.
        by: Box<HeldBy>,
    },
    /// The host has no pool, and new ones are not allowed.
    #[error("there is no pool for host {0}")]
    PoolNotFound(Host),
    /// The host grants the default ranges.
    #[error("host {0} has no pool of its own: the default ranges hold for it")]
    NoOwnPool(Host),
    /// A host's pool was changed since it was read.
    #[error("{}", pool_changed(host, *expected, *present))]
    PoolChanged {
        /// The host.
        host: Host,
        /// The revision that its pool was expected to be of.
        expected: u64,
        /// The one that it is of; 0 where it has none of its own.
        present: u64,
    },
    /// A name or address of several hosts.
    #[error("{host:?} is a name or address of several hosts", host = .host.as_str())]
    HostAmbiguous {
        /// The name or address that was given.
        host: Host,
        /// The hosts.
        hosts: BTreeSet<Host>,
    },
    /// An instance was started with other settings than the store has.
    #[error("{}", crate::settings::explain(.0))]
    SettingsDiffer(Vec<SettingDiffers>),
    /// Nothing is granted for a while after a restore.
    #[error(
        "the store was restored from a backup: nothing is granted before the leases that may be lost have run out, in \
         {}",
        roughly(*retry_after_ms)
    )]
    Quiet {
        /// For how long, in milliseconds.
        retry_after_ms: u64,
    },
    /// This version does not know the format.
    #[error("format {0} is not known to this version, or is older than what the log has")]
    FormatUnknown(u32),
    /// The settings were changed since they were read.
    #[error("the settings were changed by somebody else meanwhile: read them again")]
    SettingsChanged,
    /// A bound is reached.
    #[error(
        "no more {what} are allowed: the limit is {limit}{}",
        ended_count(what)
    )]
    LimitExceeded {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The lease has no such port.
    #[error("the lease does not hold port {0}")]
    PortNotHeld(Port),
    /// The one port that will do cannot be had.
    #[error("{}", unavailable(*port, *why, by.as_deref(), *expires_in_ms))]
    PortUnavailable {
        /// The exact port.
        port: Port,
        /// Why not.
        why: Unavailable,
        /// Who holds it, if somebody does.
        by: Option<Box<HeldBy>>,
        /// When that ends if nothing happens before, in milliseconds; none where no time ends it.
        expires_in_ms: Option<u64>,
    },
    /// A new life's epoch is above the bound.
    #[error(
        "the epoch of a new life must be at most {EPOCH_NAMED_MAX}; without one the registry gives the next"
    )]
    EpochTooHigh,
    /// No such node is live.
    #[error("there is no node {0}, or it has ended")]
    NodeNotFound(NodeId),
    /// The node has had no such life yet.
    #[error("node {node_id} has no epoch {named}: its last one is {last}")]
    EpochNotFound {
        /// Which node.
        node_id: NodeId,
        /// The epoch that was named.
        named: u64,
        /// The epoch of its last life.
        last: u64,
    },
    /// That life of the node has ended.
    #[error("that life of node {node_id} has ended; the last epoch is {last}")]
    Superseded {
        /// Which node.
        node_id: NodeId,
        /// The epoch of its last life.
        last: u64,
    },
    /// An administrator ended that life of the node.
    #[error("node {node_id} was evicted, in epoch {last}: {reason}")]
    Evicted {
        /// Which node.
        node_id: NodeId,
        /// The epoch of that life, its last one.
        last: u64,
        /// Why, as the administrator said.
        reason: Reason,
    },
    /// The node is somebody else's.
    #[error("node {0} belongs to another requester")]
    NotNodeHolder(NodeId),
    /// The bus is somebody else's.
    #[error("bus {0} belongs to another requester")]
    NotBusHolder(BusId),
    /// Somebody else's node of that name is live.
    #[error("node {node_id} belongs to another requester and is live, in epoch {epoch}")]
    NodeTaken {
        /// Which node.
        node_id: NodeId,
        /// Its epoch.
        epoch: u64,
    },
    /// The node offers no such tool.
    #[error("node {0} offers no tool {1}, or not in that version")]
    ToolNotFound(NodeId, Token),
    /// There is no such bus.
    #[error("there is no bus {0}, or it has ended")]
    BusNotFound(BusId),
    /// The node's contract must not change.
    #[error(
        "node {0} is frozen: its contract must not change until a validator reports it as canary or validated"
    )]
    Frozen(NodeId),
    /// The reporter is no validator.
    #[error("no node {0} of type validator is live that this requester registered")]
    NotValidator(NodeId),
    /// No node reports on itself.
    #[error("node {0} cannot report on itself")]
    OwnReport(NodeId),
    /// The node has another contract than the one that was examined.
    #[error("node {node_id} has another contract by now: {contract_hash}")]
    OtherContract {
        /// Which node.
        node_id: NodeId,
        /// Its contract.
        contract_hash: String,
    },
    /// An inbound port names a lease that does not fit it.
    #[error("{why}")]
    Inbound {
        /// Which of the node's ports.
        index: usize,
        /// Why not.
        why: Box<Refusal>,
    },
    /// The lease ends with the node's present life, and the registration begins another one.
    #[error(
        "this begins a new life of the node, and the lease ends with the present one: name its epoch, {0}, \
         to change what that announced"
    )]
    LeaseOfLastIncarnation(u64),
    /// What belonged to too many earlier lives has not ended yet.
    #[error("what belonged to earlier lives of node {0} is still ending; ask again in a moment")]
    StillEnding(NodeId),
    /// The lease is of another port.
    #[error("lease {} is of port {}", .0.0, .1)]
    OtherPort(LeaseId, Port),
    /// The registration is too long.
    #[error("the registration of node {0} with its tools is larger than {1} bytes")]
    NodeTooLarge(NodeId, usize),
    /// No port can be had now.
    #[error("{}{}", no_port(host, *transport, *both, *count, *contiguous), full(pool, *transport))]
    Exhausted {
        /// The host.
        host: Host,
        /// In which port space.
        transport: Transport,
        /// And in the other one.
        both: bool,
        /// How many together.
        count: u16,
        /// As neighbours.
        contiguous: bool,
        /// When one may be, in milliseconds.
        retry_after_ms: u64,
        /// What the pool is like, in the first of the port spaces.
        pool: Box<FullPool>,
    },
    /// So many requests were granted that none of them can be forgotten yet.
    #[error("too many requests are remembered; ask again in a moment")]
    Busy,
    /// As many commands wait as may.
    #[error("too many requests are waiting to be decided; ask again in a moment")]
    QueueFull,
    /// The log has nearly reached its size.
    #[error(
        "the store is nearly full: leases are renewed and released, and nothing new is granted. Give it more room (--store-bytes-max)"
    )]
    StoreFull,
    /// What it would write does not fit into one message.
    #[error("this would take {bytes} bytes in one message of the store, which takes {limit}")]
    TooLarge {
        /// How many it would take.
        bytes: usize,
        /// How many there may be.
        limit: usize,
    },
    /// No instance could read it.
    #[error("what this would write could not be read again")]
    Unreadable,
    /// So many calls with a request id are remembered that none can be added.
    #[error("too many calls with a request_id are remembered; ask again in a moment")]
    CallsFull,
    /// No call of that request id is remembered.
    #[error("no call with this request_id is known")]
    CallNotFound,
    /// The command was decided by nobody before its caller's deadline, and never will be.
    #[error("the store did not answer in time; nothing was done")]
    Unavailable,
    /// The command is in an entry of which is not known whether it is in the log.
    #[error("the store did not answer in time; whether it was done is not known")]
    Unknown,
}

/// What there is more to say of a bound.
fn ended_count(what: &str) -> &'static str {
    match what {
        bounds::NODES | bounds::BUSES => {
            ", and ended ones count until they are forgotten (the registry's --retention)"
        }
        _ => "",
    }
}

/// Why a port cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Somebody holds it.
    #[error("is held")]
    Held,
    /// It is resting.
    #[error("is cooling down: its last holder may still count on it")]
    Resting,
    /// It is quarantined.
    #[error("is quarantined: another program was using it")]
    Quarantined,
    /// It is quarantined, because its lease got another one for it.
    #[error(
        "is quarantined: it was given up for another one, and its holder may not know that yet"
    )]
    GivenUp,
    /// It is never granted.
    #[error("is reserved and never granted")]
    Reserved,
    /// It is in no range.
    #[error("is in none of the host's ranges")]
    Outside,
    /// Another program is using it.
    #[error("is used by another program")]
    InUse,
}

/// How long it lasts.
fn for_another(left_ms: Option<u64>) -> String {
    left_ms.map_or_else(String::new, |left| {
        format!(" for another {}. Nothing ends that sooner", roughly(left))
    })
}

/// Why that port cannot be had.
fn unavailable(
    port: Port,
    why: Unavailable,
    by: Option<&HeldBy>,
    expires_in_ms: Option<u64>,
) -> String {
    let is = by.map_or_else(
        || why.to_string(),
        |by| format!("is held by {}", by.whose()),
    );
    let left = match (why, expires_in_ms) {
        (_, None) => "",
        (Unavailable::Held, Some(0)) => ", and the lease is about to end",
        (Unavailable::Held, Some(left)) => {
            &format!(" for another {}, unless it is renewed before", spoken(left))
        }
        (_, Some(left)) => &format!("; it can be had in {}", spoken(left)),
    };
    format!("port {port} {is}{left}")
}

/// What a pool is like that has not what is asked for.
fn full(pool: &FullPool, transport: Transport) -> String {
    let Counts {
        capacity,
        held,
        resting,
        quarantined,
        ..
    } = pool.counts;
    let others = [(resting, "cooling down"), (quarantined, "quarantined")];
    let others = others.into_iter().filter(|(count, _)| *count > 0);
    let others = others.map(|(count, what)| format!(", {count} {what}"));
    let others = others.collect::<Vec<_>>().concat();
    let next = pool.next.map_or_else(String::new, |next| {
        let unless = if next.state == PortState::Held {
            " unless it is renewed"
        } else {
            ""
        };
        let (port, left) = (next.port, spoken(next.expires_in_ms));
        format!("; the next to come free may be {port} in {left}{unless}")
    });
    format!(": {held} of {capacity} {transport} ports held{others}{next}")
}

fn spoken(millis: u64) -> String {
    span(Duration::from_millis(millis))
}

/// How long that is, for people.
fn roughly(millis: u64) -> String {
    match millis.div_ceil(1_000) {
        seconds @ 0..7_200 => format!("{seconds} seconds"),
        seconds => format!("{} hours", seconds.div_ceil(3_600)),
    }
}

/// That a pool is not as it was expected.
fn pool_changed(host: &Host, expected: u64, present: u64) -> String {
    let is = match present {
        0 => "there is none: the default ranges hold".to_owned(),
        present => format!("it is at {present}"),
    };
    format!("the pool of host {host} is not at revision {expected}: {is}. Read it again")
}

/// That a pool has not the ports that were asked for.
fn no_port(host: &Host, transport: Transport, both: bool, count: u16, contiguous: bool) -> String {
    let (of, free) = if both {
        (String::new(), "free in tcp and udp")
    } else {
        (format!("{transport} "), "free")
    };
    if count <= 1 {
        return format!("no {of}port of the pool of host {host} is {free}");
    }
    let neighbouring = if contiguous { "neighbouring " } else { "" };
    format!("no {count} {neighbouring}{of}ports of the pool of host {host} are {free}")
}
