//! What readers see at one moment, as it is described.

use jiff::Timestamp;
use onex_core::{
    bus_index::BusFilter,
    key::Key,
    node::{Registration, Tool},
    node_index::{Liveness, NodeFilter},
    node_record::NodeEnded,
    nodes::NodeView,
    record::Json,
    state::State,
    trust::{Trust, Verdicts},
};
use onex_types::{
    ids::{LeaseId, NodeId, RequesterId, Token, Ttl},
    time::MonoMillis,
};

use crate::protocol::describe::Totals;

/// A node, live or ended and remembered.
#[derive(Clone, Copy)]
pub(in crate::registry) struct CatalogNode<'a> {
    pub(in crate::registry) node_id: &'a NodeId,
    /// What it announced.
    pub(in crate::registry) registration: &'a Registration,
    /// The revision of that.
    pub(in crate::registry) registration_revision: u64,
    pub(in crate::registry) epoch: u64,
    pub(in crate::registry) requester_id: RequesterId,
    pub(in crate::registry) ttl: Ttl,
    pub(in crate::registry) registered_at: Timestamp,
    /// When it was registered or last renewed.
    pub(in crate::registry) renewed_at: Timestamp,
    /// How, when and why it ended; none while no entry has ended it.
    pub(in crate::registry) ended: Option<&'a NodeEnded>,
    /// What is left of its TTL, in milliseconds.
    pub(in crate::registry) left: u64,
    pub(in crate::registry) health: Option<&'a Json>,
}

impl CatalogNode<'_> {
    /// Whether no entry has ended it.
    pub(in crate::registry) fn is_live(&self) -> bool {
        self.ended.is_none()
    }
}

/// Executions of a node's tools that have ended.
pub(in crate::registry) struct Executed {
    pub(in crate::registry) count: u64,
    pub(in crate::registry) success_rate: Option<f64>,
    pub(in crate::registry) last: Timestamp,
}

/// What readers see at one moment.
#[derive(Clone, Copy)]
pub(in crate::registry) struct Catalog<'a> {
    pub(in crate::registry) state: &'a State,
    pub(in crate::registry) now: MonoMillis,
}

impl<'a> Catalog<'a> {
    fn catalog_node(self, view: NodeView<'a>) -> CatalogNode<'a> {
        let live = view.live;
        let registration = self.state.slot(&Key::Node(view.node_id.clone()));
        CatalogNode {
            node_id: view.node_id,
            registration: &view.node.registration,
            registration_revision: registration.map_or(0, |slot| slot.revision),
            epoch: live.epoch,
            requester_id: live.requester_id,
            ttl: live.ttl,
            registered_at: live.registered_at,
            renewed_at: view.slot.at,
            ended: live.ended.as_ref(),
            left: view.left(self.now),
            health: live.health.as_ref(),
        }
    }

    /// What an answer is true for.
    pub(in crate::registry) fn revision(self) -> u64 {
        self.state.revision()
    }

    /// How often the store was accepted after it had gone backwards.
    pub(in crate::registry) fn lineage(self) -> u64 {
        self.state.restores()
    }

    /// One node.
    pub(in crate::registry) fn node(self, id: &NodeId) -> Option<CatalogNode<'a>> {
        self.state.node(id).map(|view| self.catalog_node(view))
    }

    /// Nodes that a filter takes, behind `after`, in the order of their ids.
    pub(in crate::registry) fn nodes(
        self,
        filter: &NodeFilter,
        after: Option<&NodeId>,
    ) -> impl Iterator<Item = CatalogNode<'a>> {
        let ids = self.state.indexes.nodes.nodes(filter, after);
        ids.filter_map(move |id| self.node(id))
    }

    /// Names of tools that live nodes offer, behind `after`, in their order.
    pub(in crate::registry) fn tool_names(
        self,
        after: Option<&Token>,
    ) -> impl Iterator<Item = &'a Token> {
        self.state.indexes.nodes.offers(after).map(|(name, _)| name)
    }

    /// The live nodes that offer a tool of that name, in the order of their ids.
    pub(in crate::registry) fn providers(
        self,
        name: &Token,
    ) -> impl Iterator<Item = CatalogNode<'a>> {
        let offer = self.state.indexes.nodes.offer(name).into_iter();
        let ids = offer.flat_map(|offer| offer.providers(None));
        ids.filter_map(move |id| self.node(id))
    }

    /// Other nodes that offer a tool of that name and version under another contract.
    pub(in crate::registry) fn colliding(
        self,
        id: &NodeId,
        tool: &Tool,
    ) -> impl Iterator<Item = &'a NodeId> {
        let offer = self.state.indexes.nodes.offer(&tool.name);
        let version = offer.and_then(|offer| offer.version(&tool.version));
        let contracts = version.into_iter().flatten();
        let others = contracts.filter(|(hash, _)| **hash != tool.contract_hash);
        let others = others.flat_map(|(_, providers)| providers);
        others.filter(move |other| *other != id)
    }

    /// What validators say of a node.
    pub(in crate::registry) fn verdicts(self, id: &NodeId) -> Option<&'a Verdicts> {
        self.state.verdicts(id).map(|verdicts| &**verdicts)
    }

    /// What a node has executed; none where nothing was measured.
    pub(in crate::registry) fn executed(self, id: &NodeId) -> Option<Executed> {
        self.state.counts(id).map(|counts| Executed {
            count: counts.runs,
            success_rate: counts.success_rate(),
            last: counts.last_at,
        })
    }

    /// Whether that lease is live.
    pub(in crate::registry) fn is_leased(self, lease_id: LeaseId) -> bool {
        let key = self.state.indexes.lease(lease_id);
        key.is_some_and(|key| self.state.reads_live(&Key::Port(key.clone()), self.now))
    }

    /// How much there is.
    pub(in crate::registry) fn totals(self) -> Totals {
        let Self { state, now } = self;
        let buses = state.indexes.buses.buses(&BusFilter::default(), None);
        let active = buses.filter(|id| state.reads_live(&Key::Bus((*id).clone()), now));
        let nodes = &state.indexes.nodes;
        Totals {
            leases: state.live_leases(),
            hosts: state.hosts_with_ports(),
            nodes: nodes.count_of(Liveness::Online),
            tools: nodes.offers(None).count(),
            buses: active.count(),
            events_waiting: 0,
        }
    }

    /// What follows from the verdicts on a node's present contract.
    pub(in crate::registry) fn trust(self, node: &CatalogNode<'_>) -> Trust {
        let contract = &node.registration.contract_hash;
        let verdicts = self.verdicts(node.node_id);
        verdicts.map_or_else(
            || Verdicts::default().trust(contract),
            |verdicts| verdicts.trust(contract),
        )
    }
}
