//! `bus.register` and `bus.deregister`.

use onex_core::{
    command::{Action, Answer},
    node_command::{DeregisterBus, RegisterBus},
    record::Unknown,
};

use crate::{
    protocol::{
        bus::{BusDeregisterRequest, BusRegisterRequest, BusReply, BusStatus},
        endpoint::Endpoint,
        error::{Error, ErrorCode},
        frame::Parsed,
    },
    registry::{
        message::to_bytes, queries::endpoint_of, refusal::decided, registration::members,
        request::Plan, request_id::identified,
    },
};

/// `bus.register`.
pub(super) fn register(parsed: Parsed<BusRegisterRequest>) -> Result<Plan, Error> {
    let Parsed { request, ignored } = parsed;
    let named = identified(Endpoint::BusRegister, request.request_id, &request);
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
            let (Answer::Bus(bus), revision) = decided(outcome)? else {
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
            request: identified(Endpoint::BusDeregister, request.request_id, &request),
            bus_id: request.bus_id,
        }),
        min_revision: request.min_revision,
        reply: Box::new(move |outcome, _| {
            let (_, revision) = decided(outcome)?;
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

/// Members of a bus that are not carried as they come.
const NOT_CARRIED: [&str; 7] = [
    "bus_id",
    "requester_id",
    "protocol",
    "node_id",
    "lease_id",
    "request_id",
    "min_revision",
];

/// Everything that is said of a bus and has no place of its own.
fn carried(request: &BusRegisterRequest) -> Result<Unknown, Error> {
    let mut more = members(request)?;
    more.retain(|name, _| !NOT_CARRIED.contains(&name.as_str()));
    Ok(more.into_iter().collect())
}
