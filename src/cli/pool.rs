//! `onex pool`: the ports that there are.

use clap::{Args, Subcommand};
use onex_machine::new_id;
use onex_types::{
    ids::{Host, RequestId},
    ports::PortRange,
};

use crate::protocol::{
    bounds::Text,
    pool::{
        POOL_DESCRIPTION_CHARS_MAX, PoolDeleteRequest, PoolItem, PoolListRequest, PoolSetRequest,
        Range,
    },
    port::{Page, RequestedTransport},
};

use super::{
    cells::said,
    failure::{Exit, Failure},
    host,
    order::Columns,
    output::{Detail, Table},
    parse::{self, Ranges},
    session::Session,
    watch::Listing,
};

/// Show and set the ports that can be leased.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  onex pool list --host build-7\n  onex pool set build-7 --ports 20000-29999"
)]
pub(super) enum Pool {
    List(List),
    Set(Set),
    Delete(Delete),
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

/// Set which ports are granted on a host.
///
/// What is not given is not kept: with no --reserved nothing is reserved. Leases outside the ranges stay until they end.
/// Every registry grants by it at once, and goes on to after a start, whatever `onex serve --ports` says.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex pool set build-7 --ports 20000-29999 --reserved 22000,22443\n  \
        onex pool set build-7 --ports 40000-40999 --transport udp --expected-revision 4711"
)]
pub(super) struct Set {
    /// The host. It need not be known.
    #[arg(value_name = "HOST", value_parser = host::parse)]
    host: Host,
    /// What is granted: ports, and ranges of them.
    #[arg(long, value_name = "RANGES", value_parser = parse::some_ranges)]
    ports: Ranges,
    /// What of it is never granted [default: nothing].
    #[arg(long, value_name = "RANGES", value_parser = parse::ranges)]
    reserved: Option<Ranges>,
    /// What people are told of it.
    #[arg(long, value_name = "TEXT", value_parser = description)]
    description: Option<Text<POOL_DESCRIPTION_CHARS_MAX>>,
    /// In tcp or udp only; the other one keeps its ports [default: both].
    #[arg(long, value_parser = parse::transport)]
    transport: Option<RequestedTransport>,
    /// Only if the pool is at that revision, as `onex pool list -o wide` shows it; 0 for none yet.
    #[arg(long, value_name = "N")]
    expected_revision: Option<u64>,
}

/// Grant the default ports on a host again, those of the first `onex serve`.
///
/// Leases outside of them stay until they end.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  onex pool delete build-7")]
pub(super) struct Delete {
    /// The host.
    #[arg(value_name = "HOST", value_parser = host::parse)]
    host: Host,
    /// Only if the pool is at that revision, as `onex pool list -o wide` shows it.
    #[arg(long, value_name = "N")]
    expected_revision: Option<u64>,
}

fn description(text: &str) -> Result<Text<POOL_DESCRIPTION_CHARS_MAX>, onex_types::ids::Invalid> {
    text.to_owned().try_into()
}

impl Pool {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(session).await,
            Self::Set(set) => set.run(session).await,
            Self::Delete(delete) => delete.run(session).await,
        }
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = PoolListRequest {
            host: self.host.map(host::named).transpose()?,
            limit: self.listing.limit(),
            ..PoolListRequest::default()
        };
        self.listing
            .show(session, request, COLUMNS, hosts, |pools, detail| {
                vec![table(&pools.items, detail).into()]
            })
            .await?;
        Ok(Exit::Done)
    }
}

impl Set {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let on_the_wire =
            |ranges: Vec<PortRange>| ranges.into_iter().map(Range::from).collect::<Vec<_>>();
        let request = PoolSetRequest {
            host: host::named(self.host)?,
            transport: self.transport,
            ranges: on_the_wire(self.ports.0),
            reserved: self.reserved.map_or_else(Vec::new, |it| on_the_wire(it.0)),
            description: self.description,
            expected_revision: self.expected_revision,
            request_id: Some(RequestId(new_id())),
            min_revision: None,
        };
        let set = session.client.set_pool(&request).await;
        show(session, &session.settle(set).await?)
    }
}

impl Delete {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = PoolDeleteRequest {
            host: host::named(self.host)?,
            expected_revision: self.expected_revision,
            request_id: Some(RequestId(new_id())),
            min_revision: None,
        };
        let deleted = session.client.delete_pool(&request).await;
        show(session, &session.settle(deleted).await?)
    }
}

/// Shows a pool that was changed, and what of it goes on as it was.
fn show(session: &Session, pools: &Page<PoolItem>) -> Result<Exit, Failure> {
    session.output.show(pools, hosts, |pools, detail| {
        vec![table(&pools.items, detail).into()]
    })?;
    let outside: usize = pools.items.iter().map(|pool| pool.held_outside).sum();
    if outside > 0 {
        session.output.note(&format!(
            "{outside} held outside of these ports: they stay until their leases end"
        ));
    }
    Ok(Exit::Done)
}

fn hosts(pools: &Page<PoolItem>) -> Vec<String> {
    let hosts = pools.items.iter().map(|pool| pool.host.to_string());
    let mut hosts: Vec<_> = hosts.collect();
    hosts.dedup();
    hosts
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
    ("outside", &["held_outside"]),
    ("revision", &["revision"]),
    ("description", &["description"]),
];

/// A line for each pool. What can be leased at all is the sum of the numbers, and is left out unless all is to be
/// seen, with what is rarely there.
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
        header.extend(["CAPACITY", "OUTSIDE", "REVISION", "DESCRIPTION"]);
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
            cells.extend([
                pool.capacity.to_string(),
                pool.held_outside.to_string(),
                said(pool.revision.as_ref()),
                said(pool.description.as_ref()),
            ]);
        }
        cells
    });
    // A number that is broken into two lines reads as another number.
    let whole = header.len() - usize::from(detail.is_wide());
    (1..whole).fold(table, Table::whole)
}

fn ranges(ranges: &[Range]) -> String {
    let shown = ranges.iter().map(|range| match range {
        Range { first, last } if first == last => first.to_string(),
        Range { first, last } => format!("{first}-{last}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}
