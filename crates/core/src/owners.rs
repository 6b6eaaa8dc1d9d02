//! What belongs to a node's life or to a lease, and ends with it. A pure function of the records.
//!
//! The end of a node is one change. What belonged to it is found here, and is ended by the node's next registration or by
//! later entries, as much as an entry has room for; until then it reads as ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use onex_types::ids::{BusId, Incarnation, LeaseId, NodeId, RequesterId};

use crate::{key::Key, node_record::Bus, record::Record, record_parts::OwnerRef};

/// Live leases and buses, by what they belong to.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Owners {
    /// The lives that are live.
    live: BTreeMap<NodeId, Incarnation>,
    groups: BTreeMap<OwnerRef, Group>,
    /// The groups whose life is not live.
    ended: BTreeSet<OwnerRef>,
    /// Live leases, each with how many records hold it: for a moment two do, while it moves from one key to another.
    /// Whether a bus's lease is among them decides whether the bus goes on.
    leases: HashMap<LeaseId, usize>,
    lease_buses: BTreeSet<(LeaseId, BusId)>,
    /// The buses whose lease is not live.
    ended_buses: BTreeSet<BusId>,
    buses: usize,
}

/// What belongs to one life.
#[derive(Debug, Clone, PartialEq)]
struct Group {
    /// Who registered the life, and holds all of it.
    requester_id: RequesterId,
    keys: BTreeSet<Key>,
    leases: usize,
}

impl Owners {
    /// A record comes under its key.
    pub(crate) fn insert(&mut self, key: &Key, record: &Record) {
        match (key, record) {
            (Key::Port(_), Record::Lease(lease)) => {
                self.lease(lease.lease_id, true);
                if let Some(owner) = &lease.owner {
                    self.join(owner, key, lease.requester_id, 1);
                }
            }
            (Key::Bus(id), Record::Bus(bus)) => self.insert_bus(id, key, bus),
            (Key::Live(id), Record::Live(live)) if live.is_live() => {
                self.live.insert(id.clone(), live.incarnation);
                self.look_at(id);
            }
            _ => {}
        }
    }

    /// That record goes.
    pub(crate) fn remove(&mut self, key: &Key, record: &Record) {
        match (key, record) {
            (Key::Port(_), Record::Lease(lease)) => {
                self.lease(lease.lease_id, false);
                if let Some(owner) = &lease.owner {
                    self.leave(owner, key, 1);
                }
            }
            (Key::Bus(id), Record::Bus(bus)) => self.remove_bus(id, key, bus),
            (Key::Live(id), Record::Live(live)) if live.is_live() => {
                self.live.remove(id);
                self.look_at(id);
            }
            _ => {}
        }
    }

    fn join(&mut self, owner: &OwnerRef, key: &Key, requester_id: RequesterId, leases: usize) {
        let group = self.groups.entry(owner.clone()).or_insert_with(|| Group {
            requester_id,
            keys: BTreeSet::new(),
            leases: 0,
        });
        group.keys.insert(key.clone());
        group.leases += leases;
        if !self.is_live(owner) {
            self.ended.insert(owner.clone());
        }
    }

    fn leave(&mut self, owner: &OwnerRef, key: &Key, leases: usize) {
        let Some(group) = self.groups.get_mut(owner) else {
            return;
        };
        group.keys.remove(key);
        group.leases = group.leases.saturating_sub(leases);
        if group.keys.is_empty() {
            self.groups.remove(owner);
            self.ended.remove(owner);
        }
    }

    /// Whether a lease is live has changed.
    fn lease(&mut self, lease_id: LeaseId, live: bool) {
        let count = self.leases.entry(lease_id).or_default();
        *count = if live {
            *count + 1
        } else {
            count.saturating_sub(1)
        };
        let live = *count > 0;
        if !live {
            self.leases.remove(&lease_id);
        }
        let buses = self.lease_buses.range((lease_id, BusId::lowest())..);
        let buses = buses.take_while(|(lease, _)| *lease == lease_id);
        for (_, bus) in buses {
            if live {
                self.ended_buses.remove(bus);
            } else {
                self.ended_buses.insert(bus.clone());
            }
        }
    }

    fn insert_bus(&mut self, id: &BusId, key: &Key, bus: &Bus) {
        self.buses += 1;
        if bus.ended.is_some() {
            return;
        }
        if let Some(owner) = &bus.owner {
            self.join(owner, key, bus.requester_id, 0);
        }
        if let Some(lease_id) = bus.lease_id {
            self.lease_buses.insert((lease_id, id.clone()));
            if !self.leases.contains_key(&lease_id) {
                self.ended_buses.insert(id.clone());
            }
        }
    }

    fn remove_bus(&mut self, id: &BusId, key: &Key, bus: &Bus) {
        self.buses = self.buses.saturating_sub(1);
        if let Some(owner) = bus.owner.as_ref().filter(|_| bus.ended.is_none()) {
            self.leave(owner, key, 0);
        }
        if let Some(lease_id) = bus.lease_id {
            self.lease_buses.remove(&(lease_id, id.clone()));
            self.ended_buses.remove(id);
        }
    }

    /// The life of a node has changed: of which lives something is left.
    fn look_at(&mut self, id: &NodeId) {
        let owners: Vec<OwnerRef> = self.of_node(id).cloned().collect();
        for owner in owners {
            if self.is_live(&owner) {
                self.ended.remove(&owner);
            } else {
                self.ended.insert(owner);
            }
        }
    }

    /// The lives of a node to which something belongs.
    fn of_node(&self, id: &NodeId) -> impl Iterator<Item = &OwnerRef> {
        let first = OwnerRef {
            node_id: id.clone(),
            incarnation: Incarnation(uuid::Uuid::nil()),
        };
        let groups = self.groups.range(first..);
        groups
            .map(|(owner, _)| owner)
            .take_while(move |owner| owner.node_id == *id)
    }

    fn is_live(&self, owner: &OwnerRef) -> bool {
        self.live.get(&owner.node_id) == Some(&owner.incarnation)
    }

    /// Whether anything belongs to any life of that node.
    pub(crate) fn owns_any(&self, id: &NodeId) -> bool {
        self.of_node(id).next().is_some()
    }

    /// The keys of the live leases and buses of a life, in their order, from `from` on.
    pub(crate) fn owned<'a>(
        &'a self,
        owner: &OwnerRef,
        from: Option<&Key>,
    ) -> impl Iterator<Item = &'a Key> + use<'a> {
        let start = from.map_or(std::ops::Bound::Unbounded, |key| {
            std::ops::Bound::Included(key.clone())
        });
        let group = self.groups.get(owner).into_iter();
        group.flat_map(move |group| {
            group
                .keys
                .range((start.clone(), std::ops::Bound::Unbounded))
        })
    }

    /// Keys of leases and buses that no entry has ended, though what they belong to has ended.
    pub(crate) fn left_over(&self) -> impl Iterator<Item = Key> {
        let groups = self
            .ended
            .iter()
            .filter_map(|owner| self.groups.get(owner))
            .flat_map(|group| group.keys.iter().cloned());
        groups.chain(self.ended_buses.iter().cloned().map(Key::Bus))
    }

    /// How many leases of a requester belong to lives that have ended: they read as ended.
    pub(crate) fn ended_leases(&self, requester_id: RequesterId) -> usize {
        let groups = self.ended.iter().filter_map(|owner| self.groups.get(owner));
        groups
            .filter(|group| group.requester_id == requester_id)
            .map(|group| group.leases)
            .sum()
    }

    /// How many leases are live, without those that read as ended.
    pub(crate) fn live_leases(&self) -> usize {
        let groups = self.ended.iter().filter_map(|owner| self.groups.get(owner));
        let ended: usize = groups.map(|group| group.leases).sum();
        self.leases.len().saturating_sub(ended)
    }

    /// The buses that end with a lease.
    pub(crate) fn buses_of(&self, lease_id: LeaseId) -> impl Iterator<Item = &BusId> {
        self.lease_buses
            .range((lease_id, BusId::lowest())..)
            .take_while(move |(lease, _)| *lease == lease_id)
            .map(|(_, bus)| bus)
    }

    /// How many buses are known.
    pub(crate) fn buses(&self) -> usize {
        self.buses
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use onex_types::{
        ids::{Port, Transport, Ttl},
        key::PortKey,
    };
    use uuid::Uuid;

    use super::*;
    use crate::{lease::Lease, record_parts::Unknown};

    fn lease() -> Record {
        let lease = Lease {
            lease_id: LeaseId(Uuid::nil()),
            requester_id: RequesterId(Uuid::nil()),
            protocol: "p".parse().unwrap(),
            ttl: Ttl::DEFAULT,
            owner: None,
            ports: Vec::new(),
            transports: Vec::new(),
            name: None,
            labels: Vec::new(),
            holder: None,
            requested_at: None,
            granted_at: Timestamp::UNIX_EPOCH,
            fence: 1,
            request: None,
            renewal: None,
            rebind: None,
            unknown: Unknown::new(),
        };
        lease.into()
    }

    fn key(port: u16) -> Key {
        Key::Port(PortKey {
            host: "h".parse().unwrap(),
            transport: Transport::Tcp,
            port: Port::new(port).unwrap(),
        })
    }

    #[test]
    fn a_bus_goes_on_while_its_lease_moves_to_another_key() {
        let bus = Bus {
            requester_id: RequesterId(Uuid::nil()),
            protocol: "p".parse().unwrap(),
            owner: None,
            lease_id: Some(LeaseId(Uuid::nil())),
            registered_at: Timestamp::UNIX_EPOCH,
            ended: None,
            requests: Vec::new(),
            more: Unknown::new(),
        };
        let mut owners = Owners::default();
        owners.insert(&key(1), &lease());
        owners.insert(&Key::Bus("x".parse().unwrap()), &bus.into());
        owners.insert(&key(2), &lease());
        owners.remove(&key(1), &lease());
        assert_eq!(owners.left_over().count(), 0);
        owners.remove(&key(2), &lease());
        assert_eq!(owners.left_over().count(), 1);
    }
}
