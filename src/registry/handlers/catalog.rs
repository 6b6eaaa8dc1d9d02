//! The state as it is described.

use onex_core::{
    bus_index::BusFilter,
    key::Key,
    node_index::{Liveness, NodeFilter},
    nodes::NodeView,
    state::State,
};

use crate::{
    domain::{
        ids::{LeaseId, NodeId, Token},
        node::Tool,
        time::Moment,
        trust::Verdicts,
    },
    protocol::{
        bus::{BusItem, BusListRequest},
        describe::Totals,
        error::Error,
        pool::{PoolItem, PoolListRequest},
        port::{LeaseReply, Page},
    },
    registry::queries::{Catalog, Executed, Known},
};

use super::{buses, leases, pools};

/// What readers see at one moment.
#[derive(Clone, Copy)]
pub(super) struct LogCore<'a> {
    pub(super) state: &'a State,
    pub(super) now: Moment,
}

impl<'a> LogCore<'a> {
    fn known(self, view: NodeView<'a>) -> Known<'a> {
        let live = view.live;
        let said = self.state.slot(&Key::Node(view.node_id.clone()));
        Known {
            node_id: view.node_id,
            registration: &view.node.registration,
            said_at: said.map_or(0, |slot| slot.revision),
            epoch: live.epoch,
            requester_id: live.requester_id,
            ttl: live.ttl,
            registered_at: live.registered_at,
            renewed_at: view.slot.at,
            ended: live.ended.map(|ended| (ended.how, ended.at)),
            left: view.left(self.now),
            health: live.health.as_ref(),
        }
    }
}

impl<'a> Catalog<'a> for LogCore<'a> {
    fn revision(self) -> u64 {
        self.state.revision()
    }

    fn lineage(self) -> u64 {
        self.state.restores()
    }

    fn node(self, id: &NodeId) -> Option<Known<'a>> {
        self.state.node(id).map(|view| self.known(view))
    }

    fn nodes(self, after: Option<&NodeId>) -> impl Iterator<Item = Known<'a>> {
        let ids = self
            .state
            .indexes
            .nodes
            .nodes(&NodeFilter::default(), after);
        ids.filter_map(move |id| self.node(id))
    }

    fn tool_names(self, after: Option<&Token>) -> impl Iterator<Item = &'a Token> {
        self.state.indexes.nodes.offers(after).map(|(name, _)| name)
    }

    fn providers(self, name: &Token) -> impl Iterator<Item = Known<'a>> {
        let offer = self.state.indexes.nodes.offer(name).into_iter();
        let ids = offer.flat_map(|offer| offer.providers(None));
        ids.filter_map(move |id| self.node(id))
    }

    fn colliding(self, id: &NodeId, tool: &Tool) -> impl Iterator<Item = &'a NodeId> {
        let offer = self.state.indexes.nodes.offer(&tool.name);
        let version = offer.and_then(|offer| offer.version(&tool.version));
        let contracts = version.into_iter().flatten();
        let others = contracts.filter(|(hash, _)| **hash != tool.contract_hash);
        let others = others.flat_map(|(_, providers)| providers);
        others.filter(move |other| *other != id)
    }

    fn verdicts(self, id: &NodeId) -> Option<&'a Verdicts> {
        self.state.verdicts(id).map(|verdicts| &**verdicts)
    }

    fn executed(self, id: &NodeId) -> Option<Executed> {
        self.state.counts(id).map(|counts| Executed {
            count: counts.runs,
            success_rate: counts.success_rate(),
            last: counts.last_at,
        })
    }

    fn is_leased(self, lease_id: LeaseId) -> bool {
        let key = self.state.indexes.lease(lease_id);
        key.is_some_and(|key| self.state.reads_live(&Key::Port(key.clone()), self.now))
    }

    fn leases_of(self, id: &NodeId) -> Vec<LeaseReply> {
        let Some(view) = self.state.live_node(id) else {
            return Vec::new();
        };
        let owned = self.state.owned(&view.owner(), None);
        owned
            .filter_map(|key| leases::of_key(self.state, key, self.now))
            .collect()
    }

    fn buses_of(self, id: &NodeId, shown: usize) -> (Vec<BusItem>, usize) {
        let ids: Vec<_> = buses::of_node(self.state, id).collect();
        let shown = ids.iter().take(shown);
        let items = shown.filter_map(|id| buses::of_id(self.state, id, self.now));
        (items.collect(), ids.len())
    }

    fn pools(self, request: &PoolListRequest, limit: usize) -> Result<Page<PoolItem>, Error> {
        pools::list(self.state, request, limit, self.now)
    }

    fn buses(self, request: &BusListRequest, limit: usize) -> Result<Page<BusItem>, Error> {
        buses::list(self.state, request, limit, self.now)
    }

    fn totals(self) -> Totals {
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
}
