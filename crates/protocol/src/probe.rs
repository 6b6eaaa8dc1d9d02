//! What instances ask whoever runs on another host: whether its ports can be bound, and who listens there. Within the
//! registry only.

use std::{collections::BTreeSet, time::Duration};

use onex_types::{
    ids::{Port, Transport},
    listener::Listener,
    ports::PortRange,
};
use serde::{Deserialize, Serialize};

/// Ports that are asked for at once, at most: those of the largest lease, in both port spaces.
pub const PROBE_PORTS_MAX: usize = 2 * onex_types::bounds::LEASE_PORTS_MAX as usize;

/// How long an answer may take: who asked for the port waits for it.
pub const ANSWER_WAIT_MAX: Duration = Duration::from_millis(250);

/// One port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePort {
    /// In which port space.
    pub transport: Transport,
    /// Its number.
    pub port: Port,
}

/// Ports in use that are named, at most; of more, the lowest.
pub const USED_PORTS_MAX: usize = 8_192;

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeRequest {
    /// Can these be bound? At most [`PROBE_PORTS_MAX`]; answered with a [`ProbeReply`].
    Try(Vec<ProbePort>),
    /// Who listens there? Nothing is bound for it; answered with a [`SeenPort`].
    Look(ProbePort),
}

/// What trying a port said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeResult {
    /// It can be bound.
    Bindable,
    /// Another program has it.
    InUse,
    /// It could not be tried.
    Unknown,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReply {
    /// For each of the ports, in their order.
    pub results: Vec<ProbeResult>,
}

/// What the kernel's tables say of a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenPort {
    /// Who uses it.
    pub listeners: Vec<Listener>,
    /// The ports that somebody uses in the same port space, at most [`USED_PORTS_MAX`].
    pub used: BTreeSet<Port>,
    /// What the kernel takes for outgoing connections; none where it does not say.
    pub ephemeral: Option<PortRange>,
}
