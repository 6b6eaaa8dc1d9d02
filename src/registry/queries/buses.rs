//! Lists of buses.

use serde_json::Value;

use crate::{
    domain::{
        bus::Announcement,
        ids::{BusId, NodeId},
        index::Index,
        record::Unknown,
    },
    protocol::{
        bus::{BusItem, BusListRequest},
        error::Error,
        port::Page,
        uri::EndpointUri,
    },
};

use super::{cursor, page};

/// Buses, a page of at most `limit`.
pub(in crate::registry) fn buses(
    index: &Index,
    request: &BusListRequest,
    limit: usize,
) -> Result<Page<BusItem>, Error> {
    let after = cursor(request.cursor.as_deref(), |text| text.parse::<BusId>().ok())?;
    let node = request.node_id.as_ref();
    let found = index
        .nodes
        .all_buses(after.as_ref())
        .filter(|(_, bus)| node.is_none_or(|node| belongs_to(bus, node)))
        .filter(|(_, bus)| {
            let protocol = request.protocol.as_ref();
            protocol.is_none_or(|protocol| bus.protocol == *protocol)
        })
        .filter_map(|(id, bus)| Some((id.to_string(), item(index, id, bus)?)));
    let revision = index.applied().wire(index.lineage());
    Ok(page(revision, found, limit))
}

/// The first buses of a node, in the order of their ids.
pub(super) fn of_node(index: &Index, node: &NodeId, shown: usize) -> Vec<BusItem> {
    index
        .nodes
        .buses_of_node(node)
        .take(shown)
        .filter_map(|id| item(index, id, &index.nodes.bus(id)?.body()?.bus))
        .collect()
}

fn belongs_to(bus: &Announcement, node: &NodeId) -> bool {
    bus.node.as_ref().is_some_and(|life| life.node_id == *node)
}

/// Whether what a bus ends with is alive.
pub(super) fn is_active(index: &Index, id: &BusId, bus: &Announcement) -> bool {
    let since = index.nodes.bus(id).map(|entry| entry.revision);
    bus.ended.is_none() && index.bus_over(bus, since.unwrap_or_default()).is_none()
}

fn item(index: &Index, id: &BusId, bus: &Announcement) -> Option<BusItem> {
    Some(BusItem {
        bus_id: id.clone(),
        protocol: bus.protocol.clone(),
        endpoint_uri: endpoint_of(&bus.more)?,
        inbound: flag(&bus.more, "inbound"),
        outbound: flag(&bus.more, "outbound"),
        requester_id: bus.requester_id,
        node_id: bus.node.as_ref().map(|life| life.node_id.clone()),
        lease_id: bus.lease_id,
        active: is_active(index, id, bus),
        subscriber_count: None,
        messages_per_sec: None,
        health_check_passed: None,
        registered_at: bus.registered_at,
    })
}

/// Where a bus can be reached.
pub(in crate::registry) fn endpoint_of(more: &Unknown) -> Option<EndpointUri> {
    let uri = more.get("endpoint_uri")?;
    serde_json::from_value(uri.clone()).ok()
}

/// What was said of a bus that is so unless somebody says otherwise.
pub(in crate::registry) fn flag(more: &Unknown, name: &str) -> bool {
    more.get(name).and_then(Value::as_bool).unwrap_or(true)
}
