//! `onex pool`: the ports that there are.

use clap::{Args, Subcommand};
use onex_types::ids::Host;

use crate::protocol::pool::{PoolItem, PoolListRequest, Range};

use super::{
    failure::{Exit, Failure},
    host,
    order::Columns,
    output::{Detail, Table},
    session::Session,
    watch::Listing,
};

/// Show the ports that can be leased.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  onex pool list --host build-7")]
pub(super) enum Pool {
    List(List),
}

/// List the pools: how many ports are free, held, resting or quarantined.
///
/// A port rests after a lease that its holder did not end, and is quarantined when something that never
/// asked was using it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onex pool list --host build-7")]
pub(super) struct List {
    /// Only of this host.
    #[arg(long, value_name = "NAME", value_parser = host::parse)]
    host: Option<Host>,
    #[command(flatten)]
    listing: Listing,
}

impl Pool {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let Self::List(list) = self;
        let request = PoolListRequest {
            host: list.host.map(host::named).transpose()?,
            limit: list.listing.limit(),
            ..PoolListRequest::default()
        };
        list.listing
            .show(
                session,
                request,
                COLUMNS,
                |pools| {
                    let mut hosts: Vec<_> = pools
                        .items
                        .iter()
                        .map(|pool| pool.host.to_string())
                        .collect();
                    hosts.dedup();
                    hosts
                },
                |pools, detail| vec![table(&pools.items, detail).into()],
            )
            .await?;
        Ok(Exit::Done)
    }
}

/// What pools can be sorted by.
const COLUMNS: Columns = &[
    ("host", &["host"]),
    ("transport", &["transport"]),
    ("free", &["free"]),
    ("held", &["held"]),
    ("resting", &["resting"]),
    ("quarantined", &["quarantined"]),
    ("capacity", &["capacity"]),
    ("ports", &["ranges"]),
];

/// A line for each pool. What can be leased at all is the sum of the numbers, and is left out unless all is to be
/// seen.
pub(super) fn table(pools: &[PoolItem], detail: Detail) -> Table {
    let mut header = vec![
        "HOST",
        "TRANSPORT",
        "FREE",
        "HELD",
        "RESTING",
        "QUARANTINED",
        "PORTS",
    ];
    if detail.is_wide() {
        header.push("CAPACITY");
    }
    let table = Table::new(&header).rows(pools, |pool| {
        let mut ports = ranges(&pool.ranges);
        if !pool.reserved.is_empty() {
            ports = format!("{ports} without {}", ranges(&pool.reserved));
        }
        let mut cells = vec![
            pool.host.to_string(),
            pool.transport.to_string(),
            pool.free.to_string(),
            pool.held.to_string(),
            pool.resting.to_string(),
            pool.quarantined.to_string(),
            ports,
        ];
        if detail.is_wide() {
            cells.push(pool.capacity.to_string());
        }
        cells
    });
    // A number that is broken into two lines reads as another number.
    (1..header.len()).fold(table, Table::whole)
}

fn ranges(ranges: &[Range]) -> String {
    let shown = ranges.iter().map(|range| match range {
        Range { first, last } if first == last => first.to_string(),
        Range { first, last } => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}
