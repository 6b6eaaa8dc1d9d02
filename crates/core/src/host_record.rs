//! What instances say of the hosts that they run on.

use std::collections::BTreeSet;

use onex_types::{bounds::ALIASES_MAX, ids::Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::record_parts::Unknown;

/// What `host.<host>` holds: what the last instance that started on that host said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostRecord {
    /// The instance that said it.
    pub said_by: Uuid,
    /// Which kernel and network namespace the host is; absent where the instance is not on its network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_space: Option<String>,
    /// The host's other names, and its addresses, loopback ones excluded.
    #[schemars(length(max = ALIASES_MAX))]
    #[serde(default)]
    pub aliases: BTreeSet<Host>,
    /// The host under which the same machine is served now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_to: Option<Host>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl HostRecord {
    /// Of a host of which nothing but its name is known.
    pub fn new(said_by: Uuid) -> Self {
        Self {
            said_by,
            port_space: None,
            aliases: BTreeSet::new(),
            renamed_to: None,
            unknown: Unknown::new(),
        }
    }
}

/// What an instance says of the host that it runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TellHost {
    /// The host, by the name that it is served under.
    pub host: Host,
    /// The instance.
    pub said_by: Uuid,
    /// See [`HostRecord::port_space`].
    pub port_space: Option<String>,
    /// See [`HostRecord::aliases`].
    pub aliases: BTreeSet<Host>,
    /// What this instance said before: names of these that it does not say any more go.
    pub replaces: BTreeSet<Host>,
    /// Whether no other instance runs on the host: names that others said go as well.
    pub alone: bool,
    /// The hosts on which instances run: they are not forgotten for this one.
    pub running: BTreeSet<Host>,
}
