//! From a parsed request to commands, and from their outcomes to a reply: buses and trust.

use std::sync::Arc;

use crate::{
    domain::{
        command::{Action, BusWish, Judgement},
        index::Index,
        record::Unknown,
    },
    protocol::{
        bus::{BusDeregisterRequest, BusRegisterRequest, BusReply, BusStatus},
        endpoint::Endpoint,
        error::Error,
        trust::{ReportRequest, TrustReply},
    },
};

use super::{
    announce::members,
    commit::Commit,
    queries::{FirstCore, endpoint_of, trust},
    requests::{Caller, named},
};

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
pub(super) fn carried(request: &BusRegisterRequest) -> Result<Unknown, Error> {
    let mut more = members(request)?;
    more.retain(|name, _| !NOT_CARRIED.contains(&name.as_str()));
    Ok(more.into_iter().collect())
}

impl Commit {
    pub(super) async fn register_bus(
        self: &Arc<Self>,
        caller: &Caller,
        request: BusRegisterRequest,
    ) -> Result<BusReply, Error> {
        let named = named(Endpoint::BusRegister, request.request_id, &request);
        let more = carried(&request)?;
        let bus_id = request.bus_id.clone();
        let warnings = request.endpoint_uri.warning("/endpoint_uri");
        let wish = BusWish {
            bus_id: request.bus_id,
            requester_id: request.requester_id,
            protocol: request.protocol,
            node_id: request.node_id,
            lease_id: request.lease_id,
            more,
            request: named,
        };
        self.done(caller, Action::AnnounceBus(Box::new(wish)))
            .await?;
        Ok(self.mirror.with(|core| {
            let bus = core.index.nodes.bus(&bus_id).and_then(|entry| entry.body());
            // The answer to the same request again is what has become of the bus since.
            let bus = bus.filter(|bus| bus.bus.ended.is_none());
            BusReply {
                endpoint_uri: bus.and_then(|bus| endpoint_of(&bus.bus.more)),
                status: match bus {
                    Some(_) => BusStatus::Accepted,
                    None => BusStatus::Removed,
                },
                warnings: warnings.into_iter().collect(),
                revision: revision(&core.index),
                ignored: Vec::new(),
                bus_id,
            }
        }))
    }

    pub(super) async fn deregister_bus(
        self: &Arc<Self>,
        caller: &Caller,
        request: BusDeregisterRequest,
    ) -> Result<BusReply, Error> {
        let action = Action::RemoveBus {
            requester_id: request.requester_id,
            bus_id: request.bus_id.clone(),
            request: named(Endpoint::BusDeregister, request.request_id, &request),
        };
        self.done(caller, action).await?;
        Ok(self.mirror.with(|core| BusReply {
            bus_id: request.bus_id,
            status: BusStatus::Removed,
            endpoint_uri: None,
            warnings: Vec::new(),
            revision: revision(&core.index),
            ignored: Vec::new(),
        }))
    }

    pub(super) async fn report(
        self: &Arc<Self>,
        caller: &Caller,
        request: ReportRequest,
    ) -> Result<TrustReply, Error> {
        let named = named(Endpoint::TrustReport, request.request_id, &request);
        request.check()?;
        let node_id = request.node_id.clone();
        let judgement = Judgement {
            node_id: request.node_id,
            validator_id: request.validator_id,
            requester_id: request.requester_id,
            outcome: request.outcome.into(),
            failure_mode: request.failure_mode,
            lifecycle: request.lifecycle.map(Into::into),
            contract_hash: request.contract_hash.map(String::from),
            request: named,
        };
        self.done(caller, Action::Judge(Box::new(judgement)))
            .await?;
        let now = self.clock.now().mono;
        self.mirror.with(|core| {
            let index = &core.index;
            trust(FirstCore { index, now }, &node_id)
        })
    }
}

fn revision(index: &Index) -> u64 {
    index.applied().wire(index.lineage())
}
