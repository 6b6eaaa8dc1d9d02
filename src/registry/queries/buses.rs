//! Buses, in lists.

use onex_core::{bus_index::BusFilter, key::Key, node_record::Bus, record::Unknown, state::State};
use onex_types::{
    ids::{BusId, NodeId},
    time::MonoMillis,
};
use serde_json::Value;

use crate::protocol::{
    bus::{BusItem, BusListRequest},
    error::Error,
    port::Page,
    uri::EndpointUri,
};

use super::{
    Catalog,
    page::{cursor, page},
};

/// Buses, a page of at most `limit`.
pub(in crate::registry) fn buses(
    Catalog { state, now }: Catalog<'_>,
    request: &BusListRequest,
    limit: usize,
) -> Result<Page<BusItem>, Error> {
    let after = cursor(request.cursor.as_deref(), |text| text.parse::<BusId>().ok())?;
    let filter = BusFilter {
        node_id: request.node_id.clone(),
        protocol: request.protocol.clone(),
    };
    let found = state.indexes.buses.buses(&filter, after.as_ref());
    let found = found.filter_map(|id| Some((id.to_string(), of_id(state, id, now)?)));
    Ok(page(state.revision(), found, limit))
}

impl Catalog<'_> {
    /// The first `shown` buses of a node in the order of their ids, and how many it has.
    pub(in crate::registry) fn buses_of(self, id: &NodeId, shown: usize) -> (Vec<BusItem>, usize) {
        let ids: Vec<_> = of_node(self.state, id).collect();
        let shown = ids.iter().take(shown);
        let items = shown.filter_map(|id| of_id(self.state, id, self.now));
        (items.collect(), ids.len())
    }
}

/// The buses of a node, in the order of their ids.
fn of_node(state: &State, node_id: &NodeId) -> impl Iterator<Item = BusId> {
    let filter = BusFilter {
        node_id: Some(node_id.clone()),
        protocol: None,
    };
    state.indexes.buses.buses(&filter, None).cloned()
}

/// A bus in a list.
fn of_id(state: &State, id: &BusId, now: MonoMillis) -> Option<BusItem> {
    let (_, bus) = state.bus(id)?;
    let active = state.reads_live(&Key::Bus(id.clone()), now);
    item(id, bus, active)
}

fn item(id: &BusId, bus: &Bus, active: bool) -> Option<BusItem> {
    Some(BusItem {
        bus_id: id.clone(),
        protocol: bus.protocol.clone(),
        endpoint_uri: endpoint_of(&bus.more)?,
        inbound: flag(&bus.more, "inbound"),
        outbound: flag(&bus.more, "outbound"),
        requester_id: bus.requester_id,
        node_id: bus.owner.as_ref().map(|owner| owner.node_id.clone()),
        lease_id: bus.lease_id,
        active,
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
fn flag(more: &Unknown, name: &str) -> bool {
    more.get(name).and_then(Value::as_bool).unwrap_or(true)
}
