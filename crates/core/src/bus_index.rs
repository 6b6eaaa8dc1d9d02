//! Buses by what they are looked up by, live and ended ones that are remembered. A pure function of the records.

use std::{collections::BTreeSet, ops::Bound};

use onex_types::ids::{BusId, NodeId, Token};

use crate::{
    facets::{bound, intersect},
    key::Key,
    node_record::Bus,
    record::Record,
};

/// Which buses are wanted: those of which everything is true that is said here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BusFilter {
    /// That end with this node, whichever life of it.
    pub node_id: Option<NodeId>,
    /// On which that is spoken.
    pub protocol: Option<Token>,
}

/// Something that buses are looked up by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Facet {
    Any,
    Node(NodeId),
    Protocol(Token),
}

/// The index.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct BusIndex {
    facets: BTreeSet<(Facet, BusId)>,
}

impl BusIndex {
    /// A record comes under its key.
    pub(crate) fn insert(&mut self, key: &Key, record: &Record) {
        if let (Key::Bus(id), Record::Bus(bus)) = (key, record) {
            let facets = facets(bus).map(|facet| (facet, id.clone()));
            self.facets.extend(facets);
        }
    }

    /// That record goes.
    pub(crate) fn remove(&mut self, key: &Key, record: &Record) {
        if let (Key::Bus(id), Record::Bus(bus)) = (key, record) {
            for facet in facets(bus) {
                self.facets.remove(&(facet, id.clone()));
            }
        }
    }

    /// The buses that a filter is for, behind `after`, in the order of their ids.
    pub fn buses<'a>(
        &'a self,
        filter: &BusFilter,
        after: Option<&BusId>,
    ) -> impl Iterator<Item = &'a BusId> + use<'a> {
        let node = filter.node_id.clone().map(Facet::Node);
        let mut facets: Vec<Facet> = node.into_iter().collect();
        facets.extend(filter.protocol.clone().map(Facet::Protocol));
        if facets.is_empty() {
            facets.push(Facet::Any);
        }
        let mut start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.clone()));
        std::iter::from_fn(move || {
            let found = intersect(&facets, start.clone(), |facet, start| {
                self.next_of(facet, start)
            })?;
            start = Bound::Excluded(found.clone());
            Some(found)
        })
    }

    fn next_of(&self, facet: &Facet, start: &Bound<BusId>) -> Option<&BusId> {
        let start = bound(start, BusId::lowest, |id| (facet.clone(), id));
        let next = self.facets.range((start, Bound::Unbounded)).next();
        next.filter(|(of, _)| of == facet).map(|(_, id)| id)
    }
}

fn facets(bus: &Bus) -> impl Iterator<Item = Facet> {
    let owner = bus.owner.as_ref();
    let node = owner.map(|owner| Facet::Node(owner.node_id.clone()));
    let own = [Facet::Any, Facet::Protocol(bus.protocol.clone())];
    own.into_iter().chain(node)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use onex_types::ids::{Incarnation, RequesterId};
    use uuid::Uuid;

    use super::*;
    use crate::record_parts::{OwnerRef, Unknown};

    #[test]
    fn buses_are_found_by_node_and_protocol_together() {
        let mut index = BusIndex::default();
        let bus = |n: usize| Bus {
            requester_id: RequesterId(Uuid::nil()),
            protocol: format!("p{}", n % 2).parse().unwrap(),
            owner: (!n.is_multiple_of(5)).then(|| OwnerRef {
                node_id: format!("n{}", n % 3).parse().unwrap(),
                incarnation: Incarnation(Uuid::from_u128(n as u128)),
            }),
            lease_id: None,
            registered_at: Timestamp::UNIX_EPOCH,
            ended: None,
            requests: Vec::new(),
            more: Unknown::new(),
        };
        let id = |n: usize| -> BusId { format!("b{n:02}").parse().unwrap() };
        for n in 0..30 {
            index.insert(&Key::Bus(id(n)), &bus(n).into());
        }
        let found = |node: Option<&str>, protocol: Option<&str>, after: usize| -> Vec<BusId> {
            let filter = BusFilter {
                node_id: node.map(|node| node.parse().unwrap()),
                protocol: protocol.map(|protocol| protocol.parse().unwrap()),
            };
            index.buses(&filter, Some(&id(after))).cloned().collect()
        };
        assert_eq!(found(None, None, 26), [id(27), id(28), id(29)]);
        assert_eq!(found(None, Some("p1"), 26), [id(27), id(29)]);
        assert_eq!(found(Some("n1"), None, 12), [13, 16, 19, 22, 28].map(id));
        assert_eq!(found(Some("n1"), Some("p0"), 12), [16, 22, 28].map(id));
        assert_eq!(found(Some("n9"), Some("p0"), 0), []);
        for n in 0..30 {
            index.remove(&Key::Bus(id(n)), &bus(n).into());
        }
        assert_eq!(index, BusIndex::default());
    }
}
