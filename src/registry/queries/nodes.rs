//! Nodes: in lists, one by one, and how far they are trusted.

use std::sync::Arc;

use onex_core::{
    command::Refusal,
    node::NodeEnd as Ended,
    node_index::{Liveness as Facet, NodeFilter},
    trust::Verdicts,
};
use onex_types::ids::{LeaseId, NodeId};
use serde::{Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue};

use crate::protocol::{
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
};

use super::super::{
    on_the_wire::{node_type, stored_node_type},
    refusal,
};
use super::{
    Catalog, CatalogNode,
    page::{cursor, page},
    texts::Texts,
};

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
    catalog: Catalog<'_>,
    request: &NodeListRequest,
    limit: usize,
) -> Result<Page<NodeItem>, Error> {
    let after = cursor(request.cursor.as_deref(), |text| {
        text.parse::<NodeId>().ok()
    })?;
    let filter = NodeFilter {
        node_type: request.node_type.map(stored_node_type),
        tag: request.tag.clone(),
        host: request.host.clone(),
        requester_id: None,
        trusted_only: request.trusted_only.unwrap_or(false),
        liveness: request
            .liveness
            .map_or_else(Vec::new, |wanted| match wanted {
                Liveness::Online | Liveness::Expired => vec![Facet::Online],
                Liveness::Ended => vec![Facet::Expired, Facet::Ended],
            }),
    };
    let found = catalog
        .nodes(&filter, after.as_ref())
        .filter(|node| {
            let wanted = request.liveness;
            wanted.is_none_or(|wanted| liveness(node) == wanted)
        })
        .map(|node| (node.node_id.to_string(), item(catalog, &node)));
    Ok(page(catalog.revision(), found, limit))
}

/// One node, with the sections that are asked for, and at most `shown` of its leases and of its buses.
pub(in crate::registry) fn node<'a>(
    catalog: Catalog<'_>,
    texts: &Texts,
    request: &DescribeRequest,
    node_id: &'a NodeId,
    ignored: &'a [String],
    shown: usize,
) -> Result<Described<'a>, Error> {
    let node = found(catalog, node_id)?;
    let wanted = |section: Section| {
        let sections = request.sections.as_ref();
        sections.is_none_or(|sections| sections.contains(&section))
    };
    let buses = wanted(Section::Buses).then(|| catalog.buses_of(node_id, shown));
    let (buses, bus_count) = buses.unzip();
    let view = NodeView {
        node: wanted(Section::Node).then(|| metadata(catalog, &node)),
        ports: wanted(Section::Ports).then(|| ports(catalog, &node, shown)),
        schema: wanted(Section::Schema).then(|| announced(&node, "schema").unwrap_or_default()),
        trust: wanted(Section::Trust).then(|| {
            let verdicts = catalog.verdicts(node_id);
            trust_of(verdicts, &node.registration.contract_hash)
        }),
        tools: None,
        buses,
        bus_count,
    };
    Ok(Described {
        node_id,
        view,
        tools: wanted(Section::Tools)
            .then(|| texts.tools(catalog, &node))
            .transpose()?,
        revision: catalog.revision(),
        ignored,
    })
}

/// How far a node is trusted.
pub(in crate::registry) fn trust(
    catalog: Catalog<'_>,
    node_id: &NodeId,
) -> Result<TrustReply, Error> {
    let node = found(catalog, node_id)?;
    Ok(TrustReply {
        node_id: node_id.clone(),
        trust: trust_of(catalog.verdicts(node_id), &node.registration.contract_hash),
        revision: catalog.revision(),
        ignored: Vec::new(),
    })
}

fn found<'a>(catalog: Catalog<'a>, node_id: &NodeId) -> Result<CatalogNode<'a>, Error> {
    catalog
        .node(node_id)
        .ok_or_else(|| refusal::error(Refusal::NodeNotFound(node_id.clone())))
}

fn liveness(node: &CatalogNode<'_>) -> Liveness {
    if !node.is_live() {
        Liveness::Ended
    } else if node.left == 0 {
        Liveness::Expired
    } else {
        Liveness::Online
    }
}

/// A node in short.
pub(in crate::registry) fn item(catalog: Catalog<'_>, node: &CatalogNode<'_>) -> NodeItem {
    let registration = node.registration;
    let trust = catalog.trust(node);
    NodeItem {
        node_id: node.node_id.clone(),
        version: registration.version.clone(),
        node_type: node_type(registration.node_type),
        host: registration.host.clone(),
        tags: registration.tags.clone(),
        liveness: Open::Known(liveness(node)),
        epoch: node.epoch,
        registered_at: node.registered_at,
        ended_at: node.ended.map(|ended| ended.at),
        ended: node.ended.map(|ended| match ended.how {
            Ended::Deregistered => NodeEnd::Deregistered,
            Ended::Expired => NodeEnd::Expired,
            Ended::Evicted => NodeEnd::Evicted,
        }),
        reason: node.ended.and_then(|ended| ended.reason.clone()),
        expires_in_ms: if node.is_live() { node.left } else { 0 },
        tools: registration.tools.len(),
        trust_state: Open::Known(trust.state),
        trust_score: trust.score(),
    }
}

fn metadata(catalog: Catalog<'_>, node: &CatalogNode<'_>) -> NodeMetadata {
    let ttl = jiff::SignedDuration::from_secs(node.ttl.seconds().into());
    let executed = catalog.executed(node.node_id);
    NodeMetadata {
        summary: item(catalog, node),
        version_hash: announced(node, "version_hash"),
        description: announced(node, "description"),
        execution_mode: announced(node, "execution_mode"),
        ttl: node.ttl,
        requester_id: node.requester_id,
        expires_at: node
            .renewed_at
            .saturating_add(ttl)
            .unwrap_or(node.renewed_at),
        last_heartbeat_at: Some(node.renewed_at).filter(|at| *at > node.registered_at),
        health: node.health.cloned(),
        capabilities: announced(node, "capabilities"),
        graph_binding: announced(node, "graph_binding"),
        owned_by_agent: announced(node, "owned_by_agent"),
        subscribed_by_agents: announced(node, "subscribed_by_agents").unwrap_or_default(),
        upstream_nodes: announced(node, "upstream_nodes").unwrap_or_default(),
        downstream_nodes: announced(node, "downstream_nodes").unwrap_or_default(),
        contract_hash: node.registration.contract_hash.clone(),
        execution_count: executed.as_ref().map(|executed| executed.count),
        success_rate: executed.as_ref().and_then(|executed| executed.success_rate),
        last_execution_timestamp: executed.map(|executed| executed.last),
    }
}

/// A member of what a node said of itself that the core only carries along.
fn announced<T: DeserializeOwned>(node: &CatalogNode<'_>, name: &str) -> Option<T> {
    let value = node.registration.more.get(name)?;
    serde_json::from_value(value.clone()).ok()
}

fn ports(catalog: Catalog<'_>, node: &CatalogNode<'_>, shown: usize) -> NodePorts {
    let inbound = node.registration.inbound_ports.iter();
    let mut leases = catalog.leases_of(node.node_id);
    let lease_count = leases.len();
    leases.truncate(shown);
    NodePorts {
        inbound: inbound
            .filter_map(|port| {
                let lease = port
                    .lease_id
                    .map(|lease_id| lease_status(catalog, lease_id));
                Some(ListensAt {
                    port: again(port)?,
                    lease_status: lease.map(Open::Known),
                })
            })
            .collect(),
        outbound: announced(node, "outbound_ports").unwrap_or_default(),
        leases,
        lease_count,
    }
}

/// What became of a lease that was live when a node spoke of it.
fn lease_status(catalog: Catalog<'_>, lease_id: LeaseId) -> InboundLease {
    if catalog.is_leased(lease_id) {
        InboundLease::Active
    } else {
        InboundLease::Ended
    }
}

/// What the core carries as the type by which it came; members of the core's own are not in that.
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

/// How far a node of that contract is trusted, and why.
pub(in crate::registry) fn trust_of(verdicts: Option<&Verdicts>, contract_hash: &str) -> Trust {
    let none = Verdicts::default();
    let verdicts = verdicts.unwrap_or(&none);
    let trust = verdicts.trust(contract_hash);
    let outdated = verdicts.outdated(contract_hash);
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let reports = trust.passes + trust.fails;
    Trust {
        trust_state: Open::Known(trust.state),
        trust_score: trust.score(),
        validated: trust.is_validated(),
        registry_lifecycle: trust.lifecycle.map(Open::Known),
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
        contract_hash: contract_hash.to_owned(),
    }
}
