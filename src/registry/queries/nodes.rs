//! Nodes: in lists, one by one, and how far they are trusted.

use std::sync::Arc;

use serde::{Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    domain::{
        command::Refusal,
        counts::Counts,
        ids::{LeaseId, NodeId},
        index::Index,
        node::LifeEnd,
        nodes::Seen,
        time::Moment,
        trust::TrustState as State,
    },
    protocol::{
        bounds::Open,
        describe::DescribeRequest,
        error::Error,
        node_life::NodeEnd,
        node_view::{
            InboundLease, ListensAt, Liveness, NodeItem, NodeListRequest, NodeMetadata, NodePorts,
            NodeView, Section,
        },
        port::Page,
        trust::{Computed, Trust, TrustReply},
    },
};

use super::super::view;
use super::{buses, cursor, page, texts::Texts};

/// Leases, and buses, that a node's description shows where there is room for them.
pub(in crate::registry) const SHOWN_MAX: usize = 100;
/// How a score comes about, for people.
const RULE: &str = "the part of the validators whose last report on the present contract is a pass; trusted above \
    one half, verified with two or more and no fail";

/// A [`NodeDescribeReply`](crate::protocol::describe::NodeDescribeReply), with its tools as text.
#[derive(Serialize)]
pub(in crate::registry) struct Described<'a> {
    node_id: &'a NodeId,
    #[serde(flatten)]
    view: NodeView,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_it_is")]
    tools: Option<Arc<RawValue>>,
    revision: u64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ignored: &'a [String],
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn as_it_is<S: Serializer>(text: &Option<Arc<RawValue>>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(serializer)
}

/// Nodes, a page of at most `limit`.
pub(in crate::registry) fn nodes(
    index: &Index,
    request: &NodeListRequest,
    limit: usize,
    now: Moment,
) -> Result<Page<NodeItem>, Error> {
    let after = cursor(request.cursor.as_deref(), |text| {
        text.parse::<NodeId>().ok()
    })?;
    let trusted_only = request.trusted_only.unwrap_or(false);
    let found = index
        .nodes
        .all(after.as_ref())
        .filter(|seen| {
            let said = &seen.node.registration;
            request
                .node_type
                .is_none_or(|kind| said.node_type == kind.into())
                && request
                    .tag
                    .as_ref()
                    .is_none_or(|tag| said.tags.contains(tag))
                && request
                    .host
                    .as_ref()
                    .is_none_or(|host| said.host.as_ref() == Some(host))
                && request
                    .liveness
                    .is_none_or(|wanted| liveness(seen, now) == wanted)
                && (!trusted_only || index.nodes.trust(seen).state != State::Untrusted)
        })
        .map(|seen| (seen.node_id.to_string(), item(index, &seen, now)));
    Ok(page(index, found, limit))
}

/// One node, with the sections that are asked for, and at most `shown` of its leases and of its buses.
pub(in crate::registry) fn node<'a>(
    index: &Index,
    texts: &Texts,
    request: &DescribeRequest,
    node_id: &'a NodeId,
    ignored: &'a [String],
    shown: usize,
    now: Moment,
) -> Result<Described<'a>, Error> {
    let seen = found(index, node_id)?;
    let wanted = |section: Section| {
        let sections = request.sections.as_ref();
        sections.is_none_or(|sections| sections.contains(&section))
    };
    let view = NodeView {
        node: wanted(Section::Node).then(|| metadata(index, &seen, now)),
        ports: wanted(Section::Ports).then(|| ports(index, &seen, shown, now)),
        schema: wanted(Section::Schema).then(|| said(&seen, "schema").unwrap_or_default()),
        trust: wanted(Section::Trust).then(|| trust_of(index, &seen)),
        tools: None,
        buses: wanted(Section::Buses).then(|| buses::of_node(index, node_id, shown)),
        bus_count: wanted(Section::Buses).then(|| index.nodes.buses_of_node(node_id).count()),
    };
    Ok(Described {
        node_id,
        view,
        tools: wanted(Section::Tools)
            .then(|| texts.tools(index, &seen))
            .transpose()?,
        revision: index.applied().wire(index.lineage()),
        ignored,
    })
}

/// How far a node is trusted.
pub(in crate::registry) fn trust(index: &Index, node_id: &NodeId) -> Result<TrustReply, Error> {
    let seen = found(index, node_id)?;
    Ok(TrustReply {
        node_id: node_id.clone(),
        trust: trust_of(index, &seen),
        revision: index.applied().wire(index.lineage()),
        ignored: Vec::new(),
    })
}

fn found<'a>(index: &'a Index, node_id: &NodeId) -> Result<Seen<'a>, Error> {
    index
        .nodes
        .seen(node_id)
        .ok_or_else(|| Error::from(Refusal::NodeNotFound(node_id.clone())))
}

fn liveness(seen: &Seen<'_>, now: Moment) -> Liveness {
    if !seen.is_live() {
        Liveness::Ended
    } else if seen.left(now) == 0 {
        Liveness::Expired
    } else {
        Liveness::Online
    }
}

/// A node in short.
pub(super) fn item(index: &Index, seen: &Seen<'_>, now: Moment) -> NodeItem {
    let said = &seen.node.registration;
    let trust = index.nodes.trust(seen);
    NodeItem {
        node_id: seen.node_id.clone(),
        version: said.version.clone(),
        node_type: said.node_type.into(),
        host: said.host.clone(),
        tags: said.tags.clone(),
        liveness: Open::Known(liveness(seen, now)),
        epoch: seen.live.epoch,
        registered_at: seen.live.registered_at,
        ended_at: seen.live.ended.map(|ended| ended.at),
        ended: seen.live.ended.map(|ended| match ended.how {
            LifeEnd::Deregistered => NodeEnd::Deregistered,
            LifeEnd::Expired => NodeEnd::Expired,
        }),
        expires_in_ms: if seen.is_live() { seen.left(now) } else { 0 },
        tools: said.tools.len(),
        trust_state: Open::Known(trust.state.into()),
        trust_score: trust.score(),
    }
}

fn metadata(index: &Index, seen: &Seen<'_>, now: Moment) -> NodeMetadata {
    let live = seen.live;
    let ttl = jiff::SignedDuration::from_secs(live.ttl.seconds().into());
    let counts = index.nodes.counts(seen.node_id);
    NodeMetadata {
        summary: item(index, seen, now),
        version_hash: said(seen, "version_hash"),
        description: said(seen, "description"),
        execution_mode: said(seen, "execution_mode"),
        ttl: live.ttl,
        requester_id: live.requester_id,
        expires_at: live
            .renewed_at
            .saturating_add(ttl)
            .unwrap_or(live.renewed_at),
        last_heartbeat_at: Some(live.renewed_at).filter(|at| *at > live.registered_at),
        health: live.health.clone(),
        capabilities: said(seen, "capabilities"),
        graph_binding: said(seen, "graph_binding"),
        owned_by_agent: said(seen, "owned_by_agent"),
        subscribed_by_agents: said(seen, "subscribed_by_agents").unwrap_or_default(),
        upstream_nodes: said(seen, "upstream_nodes").unwrap_or_default(),
        downstream_nodes: said(seen, "downstream_nodes").unwrap_or_default(),
        contract_hash: seen.node.registration.contract_hash.clone(),
        execution_count: counts.map(|counts| counts.execution_count),
        success_rate: counts.and_then(Counts::success_rate),
        last_execution_timestamp: counts.map(|counts| counts.last_execution),
    }
}

/// A member of what a node said of itself that the domain only carries along.
fn said<T: DeserializeOwned>(seen: &Seen<'_>, name: &str) -> Option<T> {
    let value = seen.node.registration.more.get(name)?;
    serde_json::from_value(value.clone()).ok()
}

fn ports(index: &Index, seen: &Seen<'_>, shown: usize, now: Moment) -> NodePorts {
    let inbound = seen.node.registration.inbound_ports.iter();
    let (revision, lineage) = (index.applied(), index.lineage());
    let mut leases: Vec<_> = index
        .lookup
        .bound_to(seen.node_id, None)
        .filter_map(|key| view::held(index, key))
        .map(|held| view::lease(held, revision, lineage, now))
        .collect();
    let lease_count = leases.len();
    leases.truncate(shown);
    NodePorts {
        inbound: inbound
            .filter_map(|port| {
                let lease = port.lease_id.map(|lease_id| lease_status(index, lease_id));
                Some(ListensAt {
                    port: again(port)?,
                    lease_status: lease.map(Open::Known),
                })
            })
            .collect(),
        outbound: said(seen, "outbound_ports").unwrap_or_default(),
        leases,
        lease_count,
    }
}

/// What became of a lease that was live when a node spoke of it.
fn lease_status(index: &Index, lease_id: LeaseId) -> InboundLease {
    let found = index.find_lease(lease_id);
    let live = found.and_then(|(key, _)| view::held(index, key));
    if live.is_some_and(|held| held.lease.lease_id == lease_id) {
        InboundLease::Active
    } else {
        InboundLease::Ended
    }
}

/// What the domain carries as the type by which it came; members of the domain's own are not in that.
pub(super) fn again<T: serde::Serialize, U: DeserializeOwned>(carried: &T) -> Option<U> {
    let value: Value = serde_json::to_value(carried).ok()?;
    let Value::Object(members) = value else {
        return None;
    };
    let own = ["contract_hash", "bytes", "patterns"];
    let members: Map<String, Value> = members
        .into_iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .collect();
    serde_json::from_value(Value::Object(members)).ok()
}

/// How far a node is trusted, and why.
pub(super) fn trust_of(index: &Index, seen: &Seen<'_>) -> Trust {
    let trust = index.nodes.trust(seen);
    let verdicts = index.nodes.verdicts(seen.node_id);
    let contract = &seen.node.registration.contract_hash;
    let outdated = verdicts.map_or(0, |verdicts| verdicts.outdated(contract));
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let reports = trust.passes + trust.fails;
    Trust {
        trust_state: Open::Known(trust.state.into()),
        trust_score: trust.score(),
        validated: trust.is_validated(),
        registry_lifecycle: trust.lifecycle.map(|stage| Open::Known(stage.into())),
        computed: Computed {
            rule: RULE.to_owned(),
            reports: count(reports),
            passed: count(trust.passes),
            failed: count(trust.fails),
            validators: count(trust.validator_ids.len()),
            outdated: count(outdated),
        },
        validator_ids: trust.validator_ids,
        failure_modes: trust.failure_modes,
        contract_hash: seen.node.registration.contract_hash.clone(),
    }
}
