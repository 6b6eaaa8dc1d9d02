//! A line for each lease.

use onex_types::{ids::RequesterId, ports::PortRange};

use crate::{
    cli::{
        cells::{listed, said},
        failure::Failure,
        order::Columns,
        output::{Detail, Table, at, span},
        requester,
        session::Session,
    },
    protocol::port::LeaseReply,
};

/// Digits of a requester's id that tell it from others in a table.
const HOLDER_DIGITS: usize = 8;

/// What leases can be sorted by.
pub(super) const COLUMNS: Columns = &[
    ("port", &["port"]),
    ("host", &["host"]),
    ("name", &["name"]),
    ("holder", &["requester_id"]),
    ("protocol", &["protocol"]),
    ("left", &["expires_in_ms"]),
    ("node", &["node_id"]),
    ("granted", &["granted_at"]),
    ("ttl", &["ttl"]),
    ("address", &["host", "port"]),
    ("transport", &["transport"]),
    ("labels", &["labels"]),
    ("lease-id", &["lease_id"]),
    ("requester", &["requester_id"]),
    ("process", &["holder"]),
];

/// A line for each lease.
pub(in crate::cli) fn table(leases: &[LeaseReply], detail: Detail) -> Table {
    let mut header = vec!["PORT", "HOST", "NAME", "HOLDER", "PROTOCOL", "LEFT"];
    if detail.is_wide() {
        header.extend([
            "LEASE ID",
            "NODE",
            "LABELS",
            "TTL",
            "GRANTED",
            "REQUESTER",
            "PROCESS",
        ]);
    }
    let user = requester::known();
    Table::new(&header).rows(leases, |lease| {
        let mut cells = vec![
            address(lease),
            lease.host.to_string(),
            said(lease.name.as_ref()),
            holder(lease, user),
            lease.protocol.to_string(),
            left(lease.expires_in_ms),
        ];
        if detail.is_wide() {
            cells.extend([
                lease.lease_id.to_string(),
                said(lease.node_id.as_ref()),
                listed(&lease.labels),
                span(lease.ttl.millis()),
                at(lease.granted_at),
                lease.requester_id.to_string(),
                said(lease.holder.as_deref()),
            ]);
        }
        cells
    })
}

/// Who holds it, in few columns: the node that it ends with, `you`, or the end of the requester's id. Ids that were made
/// at about the same time begin alike.
fn holder(lease: &LeaseReply, user: Option<RequesterId>) -> String {
    if let Some(node_id) = &lease.node_id {
        return node_id.to_string();
    }
    if user == Some(lease.requester_id) {
        return "you".to_owned();
    }
    let id = lease.requester_id.to_string();
    let end = id.len().saturating_sub(HOLDER_DIGITS);
    format!("…{}", id.get(end..).unwrap_or_default())
}

/// Shows one lease.
pub(super) fn show(session: &Session, lease: &LeaseReply) -> Result<(), Failure> {
    session.output.show(
        lease,
        |lease| vec![lease.lease_id.to_string()],
        |lease, detail| vec![table(std::slice::from_ref(lease), detail).into()],
    )
}

/// The ports with their transport: `20000/tcp`, `20000-20002,20010/tcp+udp`.
pub(in crate::cli) fn address(lease: &LeaseReply) -> String {
    let mut ranges: Vec<PortRange> = Vec::new();
    for port in &lease.ports {
        match ranges.last_mut() {
            Some(range) if range.last.number().checked_add(1) == Some(port.number()) => {
                range.last = *port;
            }
            _ => ranges.push(PortRange {
                first: *port,
                last: *port,
            }),
        }
    }
    let ports: Vec<String> = ranges.iter().map(ToString::to_string).collect();
    let transports: Vec<&str> = if lease.transports.is_empty() {
        vec![lease.transport.as_str()]
    } else {
        lease.transports.iter().map(|it| it.as_str()).collect()
    };
    format!("{}/{}", ports.join(","), transports.join("+"))
}

/// What is left of a lease. One whose time is up has not ended before the registry says so.
pub(in crate::cli) fn left(millis: u64) -> String {
    if millis == 0 {
        return "due".to_owned();
    }
    span(millis)
}
