//! Requests and replies of `pool.list`.

use onex_types::{
    ids::{Host, Port, Transport},
    ports::PortRange,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::port::{Limit, PAGE_ITEMS_MAX};

/// Asks for pools, in the order of host and transport.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PoolListRequest {
    /// Only of this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// Items of this page, at most: 1 to 1,000, default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<u16>", range(min = 1, max = PAGE_ITEMS_MAX))]
    pub limit: Option<Limit>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    /// The lowest.
    pub first: Port,
    /// The highest.
    pub last: Port,
}

impl From<PortRange> for Range {
    fn from(range: PortRange) -> Self {
        Self {
            first: range.first,
            last: range.last,
        }
    }
}

/// The ports of one host and transport.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PoolItem {
    /// Where.
    pub host: Host,
    /// In which port space.
    pub transport: Transport,
    /// What is granted.
    pub ranges: Vec<Range>,
    /// What is never granted.
    pub reserved: Vec<Range>,
    /// How many ports may be granted at all: `held` + `resting` + `quarantined` + `free`.
    pub capacity: usize,
    /// How many someone has.
    pub held: usize,
    /// How many rest because their last holder did not end the lease.
    pub resting: usize,
    /// How many rest because another program was using them.
    pub quarantined: usize,
    /// How many can be had now.
    pub free: usize,
}
