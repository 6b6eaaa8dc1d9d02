//! `bus.register`, `bus.deregister`, `bus.list`.

use onex_core::{
    bus_index::BusFilter,
    command::{Action, Answer},
    key::Key,
    node_command::{DeregisterBus, RegisterBus},
    node_record::Bus,
    state::State,
};

use crate::{
    domain::{
        ids::{BusId, NodeId},
        time::Moment,
    },
    protocol::{
        bus::{
            BusDeregisterRequest, BusItem, BusListRequest, BusRegisterRequest, BusReply, BusStatus,
        },
        endpoint::Endpoint,
        error::{Error, ErrorCode},
        frame::Parsed,
        port::Page,
    },
    registry::{
        buses::carried,
        intake::Plan,
        queries::{cursor, endpoint_of, flag, page},
        requests::named,
        serve::to_bytes,
    },
};

use super::refusal::error;

/// `bus.register`.
pub(super) fn register(parsed: Parsed<BusRegisterRequest>) -> Result<Plan, Error> {
    let Parsed { request, ignored } = parsed;
    let named = named(Endpoint::BusRegister, request.request_id, &request);
    let more = carried(&request)?;
    let bus_id = request.bus_id.clone();
    let warnings = request.endpoint_uri.warning("/endpoint_uri");
    let action = Action::RegisterBus(Box::new(RegisterBus {
        bus_id: request.bus_id,
        requester_id: request.requester_id,
        protocol: request.protocol,
        node_id: request.node_id,
        lease_id: request.lease_id,
        more,
        request: named,
    }));
    Ok(Plan {
        action,
        min_revision: request.min_revision,
        reply: Box::new(move |outcome, _| {
            let revision = outcome.revision;
            let Answer::Bus(bus) = outcome.result.map_err(error)? else {
                return Err(Error::new(ErrorCode::Internal, "nothing was announced"));
            };
            // The answer to the same request again is what has become of the bus since.
            to_bytes(&BusReply {
                bus_id,
                status: if bus.is_some() {
                    BusStatus::Accepted
                } else {
                    BusStatus::Removed
                },
                endpoint_uri: bus.and_then(|bus| endpoint_of(&bus.more)),
                warnings: warnings.into_iter().collect(),
                revision,
                ignored,
            })
        }),
    })
}

/// `bus.deregister`.
pub(super) fn deregister(parsed: Parsed<BusDeregisterRequest>) -> Plan {
    let Parsed { request, ignored } = parsed;
    let bus_id = request.bus_id.clone();
    Plan {
        action: Action::DeregisterBus(DeregisterBus {
            requester_id: request.requester_id,
            request: named(Endpoint::BusDeregister, request.request_id, &request),
            bus_id: request.bus_id,
        }),
        min_revision: request.min_revision,
        reply: Box::new(move |outcome, _| {
            let revision = outcome.revision;
            outcome.result.map_err(error)?;
            to_bytes(&BusReply {
                bus_id,
                status: BusStatus::Removed,
                endpoint_uri: None,
                warnings: Vec::new(),
                revision,
                ignored,
            })
        }),
    }
}

/// `bus.list`: buses, a page of at most `limit`.
pub(super) fn list(
    state: &State,
    request: &BusListRequest,
    limit: usize,
    now: Moment,
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

/// The buses of a node, in the order of their ids.
pub(super) fn of_node(state: &State, node_id: &NodeId) -> impl Iterator<Item = BusId> {
    let filter = BusFilter {
        node_id: Some(node_id.clone()),
        protocol: None,
    };
    state.indexes.buses.buses(&filter, None).cloned()
}

/// A bus in a list.
pub(super) fn of_id(state: &State, id: &BusId, now: Moment) -> Option<BusItem> {
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
