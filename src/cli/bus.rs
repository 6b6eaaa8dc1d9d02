//! `onex bus`: the buses that nodes and agents announce.

use clap::{Args, Subcommand};
use onex_types::ids::{NodeId, Token};

use crate::protocol::bus::{BusItem, BusListRequest};

use super::{
    cells::said,
    failure::{Exit, Failure},
    order::Columns,
    output::{Detail, Table, UNMEASURED, at, yes_or_no},
    session::Session,
    watch::Listing,
};

/// List buses.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  onex bus list --protocol redis")]
pub(super) enum Bus {
    List(List),
}

/// List buses by their names.
///
/// One is active while what it ends with is alive: its node, its lease, or both.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  onex bus list --protocol redis\n  onex bus list --node calc.1"
)]
pub(super) struct List {
    /// Only of this node.
    #[arg(long, value_name = "NODE")]
    node: Option<NodeId>,
    /// Only with this protocol.
    #[arg(long)]
    protocol: Option<Token>,
    #[command(flatten)]
    listing: Listing,
}

impl Bus {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let Self::List(list) = self;
        let request = BusListRequest {
            node_id: list.node,
            protocol: list.protocol,
            limit: list.listing.limit(),
            ..BusListRequest::default()
        };
        list.listing
            .show(
                session,
                request,
                COLUMNS,
                |buses| {
                    buses
                        .items
                        .iter()
                        .map(|bus| bus.bus_id.to_string())
                        .collect()
                },
                |buses, detail| vec![table(&buses.items, detail).into()],
            )
            .await?;
        Ok(Exit::Done)
    }
}

/// What buses can be sorted by.
const COLUMNS: Columns = &[
    ("bus", &["bus_id"]),
    ("protocol", &["protocol"]),
    ("active", &["active"]),
    ("node", &["node_id"]),
    ("address", &["endpoint_uri"]),
    ("registered", &["registered_at"]),
    ("direction", &["inbound", "outbound"]),
    ("subscribers", &["subscriber_count"]),
    ("messages/s", &["messages_per_sec"]),
    ("healthy", &["health_check_passed"]),
    ("lease-id", &["lease_id"]),
    ("requester", &["requester_id"]),
];

/// A line for each bus.
pub(super) fn table(buses: &[BusItem], detail: Detail) -> Table {
    let mut header = vec!["BUS", "PROTOCOL", "ACTIVE", "DIRECTION", "NODE", "ADDRESS"];
    if detail.is_wide() {
        header.extend([
            "SUBSCRIBERS",
            "MESSAGES/S",
            "HEALTHY",
            "LEASE ID",
            "REQUESTER",
            "REGISTERED",
        ]);
    }
    let measured = |text: Option<String>| text.unwrap_or_else(|| UNMEASURED.to_owned());
    let table = Table::new(&header).rows(buses, |bus| {
        let mut cells = vec![
            bus.bus_id.to_string(),
            bus.protocol.to_string(),
            yes_or_no(bus.active).to_owned(),
            direction(bus).to_owned(),
            said(bus.node_id.as_ref()),
            bus.endpoint_uri.to_string(),
        ];
        if detail.is_wide() {
            cells.extend([
                measured(bus.subscriber_count.map(|count| count.to_string())),
                measured(bus.messages_per_sec.map(|rate| format!("{rate:.1}"))),
                measured(
                    bus.health_check_passed
                        .map(|passed| yes_or_no(passed).to_owned()),
                ),
                said(bus.lease_id.map(|id| id.0).as_ref()),
                bus.requester_id.to_string(),
                at(bus.registered_at),
            ]);
        }
        cells
    });
    [2, 3].into_iter().fold(table, Table::whole)
}

fn direction(bus: &BusItem) -> &'static str {
    match (bus.inbound, bus.outbound) {
        (true, true) => "in, out",
        (true, false) => "in",
        (false, true) => "out",
        (false, false) => "none",
    }
}
