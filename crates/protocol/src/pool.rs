//! Requests and replies of the `pool.*` endpoints.

pub use onex_types::bounds::POOL_RANGES_MAX;
use onex_types::{
    ids::{Host, Port, RequestId, Transport},
    ports::PortRange,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bounds::{self, Text},
    port::{Limit, PAGE_ITEMS_MAX, RequestedTransport},
    schema::SafeNumber,
};

/// Longest description of a pool, in characters.
pub const POOL_DESCRIPTION_CHARS_MAX: usize = 256;

/// Sets what is granted on a host, all of it: what is not said is not kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PoolSetRequest {
    /// Where. It need not have been named before.
    pub host: Host,
    /// In which port space: `tcp`, `udp` or `both` (default). The other one keeps its ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<RequestedTransport>,
    /// What is granted: 1 to 64 ranges. Those that touch are shown as one.
    #[serde(deserialize_with = "bounds::objects::<_, _, POOL_RANGES_MAX>")]
    #[schemars(length(min = 1, max = POOL_RANGES_MAX))]
    pub ranges: Vec<Range>,
    /// What of it is never granted: at most 64 ranges. Default: nothing.
    #[serde(
        default,
        deserialize_with = "bounds::objects::<_, _, POOL_RANGES_MAX>",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(with = "Option<Vec<Range>>", length(max = POOL_RANGES_MAX))]
    pub reserved: Vec<Range>,
    /// For people. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Text<POOL_DESCRIPTION_CHARS_MAX>>,
    /// Only if the pool is as you have read it: its `revision` in `pool.list`, or 0 where it had none.
    #[serde(
        default,
        deserialize_with = "bounds::optional_number",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<SafeNumber>")]
    pub expected_revision: Option<u64>,
    /// Your name for this request. It is not remembered: the same again changes nothing unless the pool was changed meanwhile;
    /// with `expected_revision` never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// Takes a host's own ranges away: the default ones hold for it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PoolDeleteRequest {
    /// Which host's.
    pub host: Host,
    /// Only if the pool is as you have read it: its `revision` in `pool.list`.
    #[serde(
        default,
        deserialize_with = "bounds::optional_number",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<SafeNumber>")]
    pub expected_revision: Option<u64>,
    /// Your name for this request: again it is answered that there is no such pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

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

impl From<Range> for PortRange {
    fn from(range: Range) -> Self {
        Self {
            first: range.first,
            last: range.last,
        }
    }
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
    /// The host whose ports these are.
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
    /// How many someone has beside these: leased before the ranges changed, and granted to nobody else when they end.
    /// Absent for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_outside: usize,
    /// How many rest because their last holder did not end the lease.
    pub resting: usize,
    /// How many rest because another program was using them, or their lease gave them up for others.
    pub quarantined: usize,
    /// How many can be had now.
    pub free: usize,
    /// What somebody said of it; absent where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where its ranges were last set, for `expected_revision`; absent where the default ones hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
