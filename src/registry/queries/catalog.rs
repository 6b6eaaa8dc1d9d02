//! What can be described, whichever core keeps it.

use jiff::Timestamp;

use crate::{
    domain::{
        bus::Announcement,
        ids::{BusId, LeaseId, NodeId, RequesterId, Token, Ttl},
        index::Index,
        node::{LifeEnd, Registration, Tool},
        nodes::Seen,
        record::Json,
        time::Moment,
        trust::{Trust, Verdicts},
    },
    protocol::{
        bus::{BusItem, BusListRequest},
        describe::Totals,
        error::Error,
        pool::{PoolItem, PoolListRequest},
        port::{LeaseReply, Page},
    },
};

use super::super::view;
use super::{buses, pools};

/// A node, live or ended and remembered.
#[derive(Clone, Copy)]
pub(in crate::registry) struct Known<'a> {
    pub(in crate::registry) node_id: &'a NodeId,
    /// What it announced.
    pub(in crate::registry) registration: &'a Registration,
    /// The revision of that.
    pub(in crate::registry) said_at: u64,
    pub(in crate::registry) epoch: u64,
    pub(in crate::registry) requester_id: RequesterId,
    pub(in crate::registry) ttl: Ttl,
    pub(in crate::registry) registered_at: Timestamp,
    /// When it was registered or last renewed.
    pub(in crate::registry) renewed_at: Timestamp,
    /// How and when it ended; none while no entry has ended it.
    pub(in crate::registry) ended: Option<(LifeEnd, Timestamp)>,
    /// What is left of its TTL, in milliseconds.
    pub(in crate::registry) left: u64,
    pub(in crate::registry) health: Option<&'a Json>,
}

impl Known<'_> {
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

/// What there is at one moment.
pub(in crate::registry) trait Catalog<'a>: Copy {
    /// What an answer is true for.
    fn revision(self) -> u64;
    /// How often the store was accepted after it had gone backwards.
    fn lineage(self) -> u64;
    /// One node.
    fn node(self, id: &NodeId) -> Option<Known<'a>>;
    /// Nodes behind `after`, in the order of their ids.
    fn nodes(self, after: Option<&NodeId>) -> impl Iterator<Item = Known<'a>>;
    /// Names of tools that live nodes offer, behind `after`, in their order.
    fn tool_names(self, after: Option<&Token>) -> impl Iterator<Item = &'a Token>;
    /// The live nodes that offer a tool of that name, in the order of their ids.
    fn providers(self, name: &Token) -> impl Iterator<Item = Known<'a>>;
    /// Other nodes that offer a tool of that name and version under another contract.
    fn colliding(self, id: &NodeId, tool: &Tool) -> impl Iterator<Item = &'a NodeId>;
    /// What validators say of a node.
    fn verdicts(self, id: &NodeId) -> Option<&'a Verdicts>;
    /// What a node has executed; none where nothing was measured.
    fn executed(self, id: &NodeId) -> Option<Executed>;
    /// Whether that lease is live.
    fn is_leased(self, lease_id: LeaseId) -> bool;
    /// The live leases that end with a node.
    fn leases_of(self, id: &NodeId) -> Vec<LeaseReply>;
    /// The first `shown` buses of a node in the order of their ids, and how many it has.
    fn buses_of(self, id: &NodeId, shown: usize) -> (Vec<BusItem>, usize);
    /// `pool.list`.
    fn pools(self, request: &PoolListRequest, limit: usize) -> Result<Page<PoolItem>, Error>;
    /// `bus.list`.
    fn buses(self, request: &BusListRequest, limit: usize) -> Result<Page<BusItem>, Error>;
    /// How much there is.
    fn totals(self) -> Totals;

    /// What follows from the verdicts on a node's present contract.
    fn trust(self, known: &Known<'_>) -> Trust {
        let contract = &known.registration.contract_hash;
        let verdicts = self.verdicts(known.node_id);
        verdicts.map_or_else(
            || Verdicts::default().trust(contract),
            |verdicts| verdicts.trust(contract),
        )
    }
}

/// What the core in `crate::domain` knows.
#[derive(Clone, Copy)]
pub(in crate::registry) struct FirstCore<'a> {
    pub(in crate::registry) index: &'a Index,
    pub(in crate::registry) now: Moment,
}

impl<'a> FirstCore<'a> {
    fn known(self, seen: Seen<'a>) -> Known<'a> {
        let live = seen.live;
        Known {
            node_id: seen.node_id,
            registration: &seen.node.registration,
            said_at: seen.said_at.0,
            epoch: live.epoch,
            requester_id: live.requester_id,
            ttl: live.ttl,
            registered_at: live.registered_at,
            renewed_at: live.renewed_at,
            ended: live.ended.map(|ended| (ended.how, ended.at)),
            left: seen.left(self.now),
            health: live.health.as_ref(),
        }
    }

    fn is_active(self, (id, bus): &(&BusId, &Announcement)) -> bool {
        buses::is_active(self.index, id, bus)
    }
}

impl<'a> Catalog<'a> for FirstCore<'a> {
    fn revision(self) -> u64 {
        self.index.applied().wire(self.index.lineage())
    }

    fn lineage(self) -> u64 {
        self.index.lineage()
    }

    fn node(self, id: &NodeId) -> Option<Known<'a>> {
        self.index.nodes.seen(id).map(|seen| self.known(seen))
    }

    fn nodes(self, after: Option<&NodeId>) -> impl Iterator<Item = Known<'a>> {
        let all = self.index.nodes.all(after);
        all.map(move |seen| self.known(seen))
    }

    fn tool_names(self, after: Option<&Token>) -> impl Iterator<Item = &'a Token> {
        self.index.nodes.tool_names(after)
    }

    fn providers(self, name: &Token) -> impl Iterator<Item = Known<'a>> {
        let seen = self.index.nodes.providers(name);
        seen.map(move |seen| self.known(seen))
    }

    fn colliding(self, id: &NodeId, tool: &Tool) -> impl Iterator<Item = &'a NodeId> {
        self.index.nodes.colliding(id, tool)
    }

    fn verdicts(self, id: &NodeId) -> Option<&'a Verdicts> {
        self.index.nodes.verdicts(id)
    }

    fn executed(self, id: &NodeId) -> Option<Executed> {
        self.index.nodes.counts(id).map(|counts| Executed {
            count: counts.execution_count,
            success_rate: counts.success_rate(),
            last: counts.last_execution,
        })
    }

    fn is_leased(self, lease_id: LeaseId) -> bool {
        let found = self.index.find_lease(lease_id);
        let live = found.and_then(|(key, _)| view::held(self.index, key));
        live.is_some_and(|held| held.lease.lease_id == lease_id)
    }

    fn leases_of(self, id: &NodeId) -> Vec<LeaseReply> {
        let Self { index, now } = self;
        let (revision, lineage) = (index.applied(), index.lineage());
        let held = index.lookup.bound_to(id, None);
        held.filter_map(|key| view::held(index, key))
            .map(|held| view::lease(held, revision, lineage, now))
            .collect()
    }

    fn buses_of(self, id: &NodeId, shown: usize) -> (Vec<BusItem>, usize) {
        let count = self.index.nodes.buses_of_node(id).count();
        (buses::of_node(self.index, id, shown), count)
    }

    fn pools(self, request: &PoolListRequest, limit: usize) -> Result<Page<PoolItem>, Error> {
        pools::pools(self.index, request, limit)
    }

    fn buses(self, request: &BusListRequest, limit: usize) -> Result<Page<BusItem>, Error> {
        buses::buses(self.index, request, limit)
    }

    fn totals(self) -> Totals {
        let nodes = &self.index.nodes;
        let offered = |name: &&Token| nodes.providers(name).next().is_some();
        let active = nodes.all_buses(None).filter(|bus| self.is_active(bus));
        Totals {
            leases: self.index.lookup.live_leases(),
            hosts: self.index.host_count(),
            nodes: nodes.all(None).filter(Seen::is_live).count(),
            tools: nodes.tool_names(None).filter(offered).count(),
            buses: active.count(),
            events_waiting: self.index.outbox.len(),
        }
    }
}
