//! What an instance was told at its start.

use uuid::Uuid;

use super::{
    ids::{Host, Ttl},
    pool::PortRange,
};

/// What this instance was told at its start.
#[derive(Debug, Clone)]
pub struct Policy {
    /// This instance.
    pub registry_id: Uuid,
    /// Where it runs; the default of a request's `host`.
    pub host: Host,
    /// Whether ports of its own host are tried after a grant.
    pub probe: bool,
    /// What may be granted on every host.
    pub ranges: Vec<PortRange>,
    /// What is never granted.
    pub reserved: Vec<PortRange>,
    /// The longest TTL that a request may ask for.
    pub ttl_max: Ttl,
    /// How many leases one requester may hold.
    pub holder_leases_max: usize,
    /// For how many hosts ports are kept.
    pub hosts_max: usize,
    /// Whether a host that has no pool yet is refused.
    pub known_hosts_only: bool,
    /// How many nodes may be known, ended ones included.
    pub nodes_max: usize,
    /// How many buses may be known, ended ones included.
    pub buses_max: usize,
    /// How long a registration may be with all its tools, in bytes.
    pub node_bytes_max: usize,
    /// How long a node or bus that has ended is remembered, in milliseconds.
    pub retention_millis: u64,
    /// How long the server keeps the marker of a removed key, in milliseconds:
    /// [`MARKER_SECONDS`](super::nodes::MARKER_SECONDS), outside the simulation.
    pub marker_millis: u64,
    /// How many calls with a request id may be remembered.
    pub calls_max: usize,
    /// How long a call that has ended is remembered, in milliseconds, from when an instance first saw its end.
    pub calls_kept_millis: u64,
}
