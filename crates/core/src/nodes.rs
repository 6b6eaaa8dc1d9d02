//! What the state says of nodes, of what belongs to them, and of buses.

use std::sync::Arc;

use onex_types::{
    ids::{BusId, LeaseId, NodeId, Reason, Ttl},
    key::PortKey,
    time::MonoMillis,
};

use crate::{
    key::Key,
    lease::{Lease, LeaseEnd},
    mechanism::Mechanism,
    node::Tool,
    node_event::ToolRef,
    node_record::{Bus, Live, Node, NodeLimits, PastIncarnation},
    record::Record,
    record_parts::OwnerRef,
    settings::RETENTION_MILLIS_DEFAULT,
    slot::Slot,
    state::State,
    trust::{Trust, Verdicts},
};

/// A node, live or ended and remembered.
#[derive(Debug, Clone, Copy)]
pub struct NodeView<'a> {
    /// The node's id.
    pub node_id: &'a NodeId,
    /// What it announced.
    pub node: &'a Arc<Node>,
    /// Its life.
    pub live: &'a Arc<Live>,
    /// Where that is: since when its TTL counts, and when it was last renewed.
    pub slot: &'a Slot,
}

impl NodeView<'_> {
    /// Whether no entry has ended it.
    pub fn is_live(&self) -> bool {
        self.live.is_live()
    }

    /// What is left of its TTL, in milliseconds; 0 when it is due, or has ended.
    pub fn left(&self, now: MonoMillis) -> u64 {
        let ttl = if self.is_live() {
            self.live.ttl.millis()
        } else {
            0
        };
        ttl.saturating_sub(now.since(self.slot.since))
    }

    /// Its life, as what belongs to it names it.
    pub fn owner(&self) -> OwnerRef {
        OwnerRef {
            node_id: self.node_id.clone(),
            incarnation: self.live.incarnation,
        }
    }
}

/// How what belongs to something ends, because that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerEnd {
    /// How a lease ends by it.
    pub how: LeaseEnd,
    /// When its owner ended, for people.
    pub at: jiff::Timestamp,
    /// The TTL that its holder counts.
    pub ttl: Ttl,
    /// Why an administrator ended it; none where none did, or where another life of its owner has begun since.
    pub reason: Option<Reason>,
}

impl From<&PastIncarnation> for OwnerEnd {
    fn from(past: &PastIncarnation) -> Self {
        Self {
            how: past.how,
            at: past.at,
            ttl: past.ttl,
            reason: None,
        }
    }
}

impl State {
    /// The life that a node has, or had last.
    pub fn live(&self, id: &NodeId) -> Option<(&Slot, &Arc<Live>)> {
        let slot = self.slots.get(&Key::Live(id.clone()))?;
        Some((slot, slot.record.live()?))
    }

    /// A node, live or ended and remembered.
    pub fn node(&self, id: &NodeId) -> Option<NodeView<'_>> {
        let (key, slot) = self.slots.get_key_value(&Key::Live(id.clone()))?;
        let Key::Live(node_id) = key else { return None };
        let live = slot.record.live()?;
        let node = self.slots.get(&Key::Node(id.clone()))?.record.node()?;
        (node.incarnation == live.incarnation).then_some(NodeView {
            node_id,
            node,
            live,
            slot,
        })
    }

    /// A node that is live.
    pub fn live_node(&self, id: &NodeId) -> Option<NodeView<'_>> {
        self.node(id).filter(NodeView::is_live)
    }

    /// What validators say of a node.
    pub fn verdicts(&self, id: &NodeId) -> Option<&Arc<Verdicts>> {
        self.slots.get(&Key::Trust(id.clone()))?.record.trust()
    }

    /// What follows from that for its present contract.
    pub fn trust(&self, view: &NodeView<'_>) -> Trust {
        let contract = &view.node.registration.contract_hash;
        self.verdicts(view.node_id).map_or_else(
            || Verdicts::default().trust(contract),
            |verdicts| verdicts.trust(contract),
        )
    }

    /// Tools of `tools` that another node offers in that version under another contract, each with one such node.
    pub fn collisions(&self, id: &NodeId, tools: &[Tool]) -> Vec<ToolRef> {
        let colliding = |tool: &Tool| {
            let offer = self.indexes.nodes.offer(&tool.name)?;
            let mut others = offer.colliding(id, &tool.version, &tool.contract_hash);
            others.next().map(|other| tool.reference(Some(other)))
        };
        tools.iter().filter_map(colliding).collect()
    }

    /// How what belongs to that life ends; none while the life is live.
    pub fn owner_end(&self, owner: &OwnerRef) -> Option<OwnerEnd> {
        // A node is forgotten only when nothing belongs to it any more.
        let Some((slot, live)) = self.live(&owner.node_id) else {
            return Some(self.owner_unknown());
        };
        if live.incarnation == owner.incarnation {
            let ended = live.ended.as_ref();
            return live.leases_end().map(|how| OwnerEnd {
                how,
                at: ended.map_or(slot.at, |ended| ended.at),
                ttl: live.ttl,
                reason: ended.and_then(|ended| ended.reason.clone()),
            });
        }
        let mut past = live.past.iter();
        let past = past.find(|past| past.incarnation == owner.incarnation);
        Some(past.map_or_else(|| self.owner_unknown(), OwnerEnd::from))
    }

    fn owner_unknown(&self) -> OwnerEnd {
        OwnerEnd {
            how: LeaseEnd::Expired,
            at: jiff::Timestamp::UNIX_EPOCH,
            ttl: self
                .settings()
                .map_or(Ttl::MAX, |settings| settings.ttl_max),
            reason: None,
        }
    }

    /// How a lease ends because its node has ended; none while that is live, and of a lease that belongs to no node.
    /// Such a lease reads as ended, though no entry has ended it yet.
    pub fn lease_over(&self, lease: &Lease) -> Option<OwnerEnd> {
        if !self.mechanisms.on(Mechanism::EndsWithOwner) {
            return None;
        }
        self.owner_end(lease.owner.as_ref()?)
    }

    /// The lease under that key, unless it reads as ended.
    pub fn live_lease(&self, key: &PortKey) -> Option<(&Slot, &Arc<Lease>)> {
        self.lease(key)
            .filter(|(_, lease)| self.lease_over(lease).is_none())
    }

    /// Whether what is under that key reads as live: no entry has ended it or what it belongs to, and its time is not up by
    /// this instance's clock.
    pub fn reads_live(&self, key: &Key, now: MonoMillis) -> bool {
        let Some(slot) = self.slots.get(key) else {
            return false;
        };
        let in_time = |slot: &Slot| self.due_at(slot).is_none_or(|due| due > now);
        let owner_lives = |owner: &OwnerRef| {
            let live = self.live(&owner.node_id);
            self.owner_end(owner).is_none() && live.is_some_and(|(slot, _)| in_time(slot))
        };
        match &slot.record {
            Record::Lease(lease) => lease.owner.as_ref().map_or(in_time(slot), owner_lives),
            Record::Live(live) => live.is_live() && in_time(slot),
            Record::Bus(bus) => {
                let lease = bus.lease_id.map(|lease_id| self.indexes.lease(lease_id));
                bus.ended.is_none()
                    && bus.owner.as_ref().is_none_or(owner_lives)
                    && lease.is_none_or(|port| {
                        port.is_some_and(|port| self.reads_live(&Key::Port(port.clone()), now))
                    })
            }
            _ => false,
        }
    }

    /// How many leases are live, without those that read as ended because their node has ended.
    pub fn live_leases(&self) -> usize {
        self.indexes.owners.live_leases()
    }

    /// How many live leases a requester holds, without those that read as ended.
    pub fn leases_held(&self, requester_id: onex_types::ids::RequesterId) -> usize {
        let held = self.indexes.held(requester_id);
        held.saturating_sub(self.indexes.owners.ended_leases(requester_id))
    }

    /// The live leases and buses of a node's life, in the order of their keys, from `from` on.
    pub fn owned<'a>(
        &'a self,
        owner: &OwnerRef,
        from: Option<&Key>,
    ) -> impl Iterator<Item = &'a Key> + use<'a> {
        self.indexes.owners.owned(owner, from)
    }

    /// A bus, live or ended and remembered.
    pub fn bus(&self, id: &BusId) -> Option<(&Slot, &Arc<Bus>)> {
        let slot = self.slots.get(&Key::Bus(id.clone()))?;
        Some((slot, slot.record.bus()?))
    }

    /// How a bus ends because its node or lease has ended, or has ended; none while it goes on.
    pub fn bus_over(&self, bus: &Bus) -> Option<LeaseEnd> {
        if let Some(ended) = bus.ended {
            return Some(ended.how);
        }
        if !self.mechanisms.on(Mechanism::EndsWithOwner) {
            return None;
        }
        let end = bus.owner.as_ref().and_then(|owner| self.owner_end(owner));
        end.map(|end| end.how)
            .or_else(|| self.lease_end(bus.lease_id?))
    }

    /// How a lease has ended; none while it is live. One that is not remembered any more counts as expired.
    fn lease_end(&self, lease_id: LeaseId) -> Option<LeaseEnd> {
        let key = self.indexes.lease(lease_id);
        let slot = key.and_then(|key| self.slots.get(&Key::Port(key.clone())));
        match slot.map(|slot| &slot.record) {
            Some(Record::Lease(lease)) => self.lease_over(lease).map(|end| end.how),
            Some(Record::Cooldown(cooldown)) => Some(cooldown.how),
            _ => Some(LeaseEnd::Expired),
        }
    }

    /// The live buses that end with a lease.
    pub fn buses_of_lease(&self, lease_id: LeaseId) -> impl Iterator<Item = &BusId> {
        self.indexes.owners.buses_of(lease_id)
    }

    /// How many buses are known, those included that have ended and are remembered.
    pub fn buses_known(&self) -> usize {
        self.indexes.owners.buses()
    }

    /// Keys of leases and buses that no entry has ended, though what they belong to has ended.
    pub fn left_over(&self) -> impl Iterator<Item = Key> {
        self.indexes.owners.left_over()
    }

    /// What bounds nodes and buses.
    pub fn node_limits(&self) -> NodeLimits {
        let settings = self.settings();
        settings.map_or_else(NodeLimits::default, |settings| settings.nodes.clone())
    }

    /// How long what has ended is remembered at least, in milliseconds.
    pub(crate) fn retention_ms(&self) -> u64 {
        let settings = self.settings();
        settings.map_or(RETENTION_MILLIS_DEFAULT, |settings| settings.retention_ms)
    }
}

impl Tool {
    /// What an event says of it.
    pub(crate) fn reference(&self, other: Option<&NodeId>) -> ToolRef {
        ToolRef {
            name: self.name.clone(),
            version: self.version.clone(),
            other: other.cloned(),
        }
    }
}
