//! Nodes by what they are looked up by, and the tools that live ones offer. A pure function of the records.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use onex_types::ids::{Host, Incarnation, LeaseId, Name, NodeId, RequesterId, Token};

use crate::{
    facets::{bound, intersect},
    key::Key,
    node::{NodeEnd, NodeType, Tool},
    node_record::{Live, Node},
    offers::{Offer, Offers},
    record::Record,
    trust::{TrustState, Verdicts},
};

/// Whether a node is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Liveness {
    /// It is.
    Online,
    /// Its time was up.
    Expired,
    /// It was deregistered.
    Ended,
}

impl Liveness {
    const ALL: [Self; 3] = [Self::Online, Self::Expired, Self::Ended];
}

/// Which nodes are wanted: those of which everything is true that is said here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFilter {
    /// Of that type.
    pub node_type: Option<NodeType>,
    /// With that tag.
    pub tag: Option<Name>,
    /// On that host.
    pub host: Option<Host>,
    /// Of that requester.
    pub requester_id: Option<RequesterId>,
    /// Trusted with their present contract.
    pub trusted_only: bool,
    /// Live, or ended, in one of these ways; in any if empty.
    pub liveness: Vec<Liveness>,
}

/// Something that nodes are looked up by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Facet {
    Any,
    Type(NodeType),
    Tag(Name),
    Host(Host),
    Requester(RequesterId),
    Trusted,
    /// It listens at a port of that lease.
    Lease(LeaseId),
}

/// The index.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct NodeIndex {
    entries: BTreeMap<NodeId, Entry>,
    facets: BTreeSet<(Facet, Liveness, NodeId)>,
    counts: [usize; 3],
    offers: Offers,
}

/// What is known of one node.
#[derive(Debug, Default, Clone, PartialEq)]
struct Entry {
    node: Option<Arc<Node>>,
    live: Option<(Incarnation, RequesterId, Liveness)>,
    trust: Option<Arc<Verdicts>>,
}

impl NodeIndex {
    /// A record comes under its key.
    pub(crate) fn insert(&mut self, key: &Key, record: &Record) {
        match (key, record) {
            (Key::Node(id), Record::Node(node)) => {
                self.change(id, |entry| entry.node = Some(node.clone()));
            }
            (Key::Live(id), Record::Live(live)) => {
                let live = (live.incarnation, live.requester_id, liveness(live));
                self.change(id, |entry| entry.live = Some(live));
            }
            (Key::Trust(id), Record::Trust(trust)) => {
                self.change(id, |entry| entry.trust = Some(trust.clone()));
            }
            _ => {}
        }
    }

    /// That record goes.
    pub(crate) fn remove(&mut self, key: &Key, record: &Record) {
        match (key, record) {
            (Key::Node(id), Record::Node(_)) => self.change(id, |entry| entry.node = None),
            (Key::Live(id), Record::Live(_)) => self.change(id, |entry| entry.live = None),
            (Key::Trust(id), Record::Trust(_)) => self.change(id, |entry| entry.trust = None),
            _ => {}
        }
    }

    fn change(&mut self, id: &NodeId, change: impl FnOnce(&mut Entry)) {
        let mut entry = self.entries.remove(id).unwrap_or_default();
        self.take_out(id, &entry);
        change(&mut entry);
        self.put_in(id, &entry);
        if entry != Entry::default() {
            self.entries.insert(id.clone(), entry);
        }
    }

    fn take_out(&mut self, id: &NodeId, entry: &Entry) {
        let Some((node, liveness)) = entry.present() else {
            return;
        };
        self.count(liveness, |count| count.saturating_sub(1));
        for facet in entry.facets(node) {
            self.facets.remove(&(facet, liveness, id.clone()));
        }
        for tool in offered(node, liveness) {
            self.offers.remove(id, tool);
        }
    }

    fn put_in(&mut self, id: &NodeId, entry: &Entry) {
        let Some((node, liveness)) = entry.present() else {
            return;
        };
        self.count(liveness, |count| count + 1);
        for facet in entry.facets(node) {
            self.facets.insert((facet, liveness, id.clone()));
        }
        for tool in offered(node, liveness) {
            self.offers.insert(id, tool);
        }
    }

    fn count(&mut self, liveness: Liveness, change: impl FnOnce(usize) -> usize) {
        let counts = Liveness::ALL.iter().zip(&mut self.counts);
        let mut counts = counts.filter(|(of, _)| **of == liveness);
        if let Some((_, count)) = counts.next() {
            *count = change(*count);
        }
    }

    /// How many nodes are like that.
    pub fn count_of(&self, liveness: Liveness) -> usize {
        let counts = Liveness::ALL.iter().zip(&self.counts);
        let mut counts = counts.filter(|(of, _)| **of == liveness);
        counts.next().map_or(0, |(_, count)| *count)
    }

    /// How many nodes are known, those included that have ended and are remembered.
    pub fn known(&self) -> usize {
        self.counts.iter().sum()
    }

    /// The nodes that a filter is for, behind `after`, in the order of their ids. Each costs the same however many there
    /// are, unless its conditions hold for many nodes each and for few together.
    pub fn nodes<'a>(
        &'a self,
        filter: &NodeFilter,
        after: Option<&NodeId>,
    ) -> impl Iterator<Item = &'a NodeId> + use<'a> {
        let facets = filter.facets();
        let liveness = filter.liveness.clone();
        let mut start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.clone()));
        std::iter::from_fn(move || {
            let found = intersect(&facets, start.clone(), |facet, start| {
                self.next_of(facet, &liveness, start)
            })?;
            start = Bound::Excluded(found.clone());
            Some(found)
        })
    }

    /// The live nodes that say they listen at a port of that lease.
    pub(crate) fn listening_by(&self, lease_id: LeaseId) -> impl Iterator<Item = &NodeId> {
        let of = (Facet::Lease(lease_id), Liveness::Online);
        let first = (of.0.clone(), of.1, NodeId::lowest());
        let nodes = self.facets.range(first..);
        nodes
            .take_while(move |(facet, liveness, _)| (facet, liveness) == (&of.0, &of.1))
            .map(|(_, _, id)| id)
    }

    fn next_of(
        &self,
        facet: &Facet,
        wanted: &[Liveness],
        start: &Bound<NodeId>,
    ) -> Option<&NodeId> {
        #[cfg(test)]
        tests::LOOKED.with(|looked| looked.set(looked.get() + 1));
        let of = |liveness: &Liveness| {
            let key = |id| (facet.clone(), *liveness, id);
            let start = bound(start, NodeId::lowest, key);
            let next = self.facets.range((start, Bound::Unbounded)).next();
            let next = next.filter(|(of, is, _)| of == facet && is == liveness);
            next.map(|(_, _, id)| id)
        };
        let is_wanted = |one: &&Liveness| wanted.is_empty() || wanted.contains(one);
        let wanted = Liveness::ALL.iter().filter(is_wanted);
        wanted.filter_map(of).min()
    }

    /// A tool that live nodes offer.
    pub fn offer(&self, name: &Token) -> Option<&Offer> {
        self.offers.get(name)
    }

    /// The tools that live nodes offer, behind `after`, in the order of their names.
    pub fn offers<'a>(
        &'a self,
        after: Option<&Token>,
    ) -> impl Iterator<Item = (&'a Token, &'a Offer)> + use<'a> {
        self.offers.names(after)
    }

    /// The same, of those to which a node gives that tag.
    pub fn offers_tagged<'a>(
        &'a self,
        tag: &Name,
        after: Option<&Token>,
    ) -> impl Iterator<Item = (&'a Token, &'a Offer)> + use<'a> {
        let names = self.offers.tagged(tag, after);
        names.filter_map(|name| Some((name, self.offers.get(name)?)))
    }
}

impl Entry {
    /// The node, if there is a life that it is for.
    fn present(&self) -> Option<(&Arc<Node>, Liveness)> {
        let node = self.node.as_ref()?;
        let (incarnation, _, liveness) = self.live?;
        (node.incarnation == incarnation).then_some((node, liveness))
    }

    fn facets(&self, node: &Node) -> Vec<Facet> {
        let said = &node.registration;
        let trust = self.trust.as_ref();
        let trusted = trust
            .is_some_and(|trust| trust.trust(&said.contract_hash).state > TrustState::Untrusted);
        let mut facets = vec![Facet::Any, Facet::Type(said.node_type)];
        facets.extend(said.tags.iter().cloned().map(Facet::Tag));
        facets.extend(said.host.clone().map(Facet::Host));
        facets.extend(
            self.live
                .map(|(_, requester, _)| Facet::Requester(requester)),
        );
        facets.extend(trusted.then_some(Facet::Trusted));
        let leases = said.inbound_ports.iter().filter_map(|port| port.lease_id);
        facets.extend(leases.map(Facet::Lease));
        facets
    }
}

impl NodeFilter {
    fn facets(&self) -> Vec<Facet> {
        let mut facets: Vec<Facet> = self.node_type.map(Facet::Type).into_iter().collect();
        facets.extend(self.tag.clone().map(Facet::Tag));
        facets.extend(self.host.clone().map(Facet::Host));
        facets.extend(self.requester_id.map(Facet::Requester));
        facets.extend(self.trusted_only.then_some(Facet::Trusted));
        if facets.is_empty() {
            facets.push(Facet::Any);
        }
        facets
    }
}

/// Whether a node with that life is live.
pub(crate) fn liveness(live: &Live) -> Liveness {
    match live.ended.as_ref().map(|ended| ended.how) {
        None => Liveness::Online,
        Some(NodeEnd::Expired) => Liveness::Expired,
        Some(NodeEnd::Deregistered | NodeEnd::Evicted) => Liveness::Ended,
    }
}

fn offered(node: &Node, liveness: Liveness) -> &[Tool] {
    match liveness {
        Liveness::Online => &node.registration.tools,
        Liveness::Expired | Liveness::Ended => &[],
    }
}

#[cfg(test)]
mod tests;
