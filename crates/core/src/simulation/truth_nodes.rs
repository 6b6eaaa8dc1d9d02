//! What must be true of nodes, tools and buses in the log, whoever wrote it.

use std::collections::{BTreeMap, BTreeSet};

use onex_types::ids::{BusId, Incarnation, NodeId, RequestId, RequesterId};

use crate::{
    entry::{Change, CommandRecord, EventKind, EventRecord},
    indexes::Indexes,
    key::Key,
    node_record::{Live, Node},
    state::State,
};

/// What is held against the log.
#[derive(Default)]
pub(super) struct NodeTruth {
    /// Incarnations that there ever were.
    pub(super) incarnations: BTreeSet<Incarnation>,
    /// Requests that began a life.
    began: BTreeSet<(NodeId, RequesterId, RequestId)>,
    /// Requests that changed a node or bus.
    changed: BTreeSet<(String, RequestId)>,
    /// Nodes that are live, tools that are offered, and buses that there are, by the events alone.
    live: BTreeSet<NodeId>,
    offered: BTreeSet<(NodeId, String)>,
    buses: BTreeSet<BusId>,
}

impl NodeTruth {
    /// A command is about to be applied to `state`.
    pub(super) fn before(&mut self, state: &State, command: &CommandRecord) -> Vec<String> {
        let (mut wrong, mut numbers) = (Vec::new(), BTreeMap::new());
        let changes = command.changes();
        for change in changes {
            match change {
                Change::Put {
                    key: Key::Live(id),
                    record,
                    ..
                } => {
                    let live = record.live().unwrap();
                    let node = changes.iter().find_map(|change| match change {
                        Change::Put { record, .. } => record.node(),
                        _ => None,
                    });
                    self.incarnation(state, id, live, node.map(AsRef::as_ref), &mut wrong);
                }
                Change::Put {
                    key: key @ Key::Node(id),
                    record,
                    ..
                } => self.node(state, key, id, record.node().unwrap(), &mut wrong),
                Change::Put {
                    key: key @ Key::Bus(id),
                    record,
                    ..
                } => {
                    let requests = &record.bus().unwrap().requests;
                    let before = state.bus(id).map(|(_, bus)| bus.requests.clone());
                    self.check_requests(key, before.as_ref(), requests, &mut wrong);
                }
                Change::Delete {
                    key: Key::Live(id), ..
                } => {
                    let (_, live) = state.live(id).unwrap();
                    if live.is_live() || state.indexes.owners.owns_any(id) {
                        wrong.push(format!("{id} is forgotten though something is left of it"));
                    }
                }
                _ => {}
            }
            if let Some(event) = change.event() {
                let key = change_key(change);
                let told = || state.slot(key).map_or(0, |slot| slot.event_count);
                let last = numbers.get(key).copied().unwrap_or_else(told);
                if event.n != last + 1 {
                    wrong.push(format!("{key}: event {} follows {last}", event.n));
                }
                numbers.insert(key, event.n);
                self.publish(key, event);
            }
        }
        wrong
    }

    fn incarnation(
        &mut self,
        state: &State,
        id: &NodeId,
        live: &Live,
        node: Option<&Node>,
        wrong: &mut Vec<String>,
    ) {
        let before = state.live(id).map(|(_, live)| live);
        if let Some(before) = before.filter(|before| before.incarnation == live.incarnation) {
            if !before.is_live() || before.epoch != live.epoch {
                wrong.push(format!("{id} comes back in epoch {}", live.epoch));
            }
            return;
        }
        if before.is_some_and(|before| before.epoch >= live.epoch) {
            wrong.push(format!("{id}: epoch {} is not new", live.epoch));
        }
        if !self.incarnations.insert(live.incarnation) {
            wrong.push(format!("{id}: {:?} is not new", live.incarnation));
        }
        match node {
            None => wrong.push(format!("{id} begins without what it announces")),
            Some(node) => {
                let began = node
                    .began
                    .map(|request| (id.clone(), live.requester_id, request.id));
                if began.is_some_and(|began| !self.began.insert(began)) {
                    wrong.push(format!("{id}: two incarnations for one request"));
                }
            }
        }
    }

    fn node(
        &mut self,
        state: &State,
        key: &Key,
        id: &NodeId,
        node: &Node,
        wrong: &mut Vec<String>,
    ) {
        let before = state.node(id).map(|view| view.node.clone());
        let frozen = before.as_ref().is_some_and(|before| {
            let contract = &before.registration.contract_hash;
            let verdicts = state.verdicts(id);
            verdicts.is_some_and(|verdicts| verdicts.is_frozen(contract))
                && *contract != node.registration.contract_hash
        });
        if frozen {
            wrong.push(format!("{id} is frozen and has another contract"));
        }
        let before = before.filter(|before| before.incarnation == node.incarnation);
        let before = before.map(|before| before.requests.clone());
        self.check_requests(key, before.as_ref(), &node.requests, wrong);
    }

    /// A request that is new to the record has not been done before.
    fn check_requests(
        &mut self,
        key: &Key,
        before: Option<&Vec<crate::record::Request>>,
        after: &[crate::record::Request],
        wrong: &mut Vec<String>,
    ) {
        let known = |request: &&_| before.is_some_and(|before| before.contains(request));
        for request in after.iter().filter(|request| !known(request)) {
            if !self.changed.insert((key.to_string(), request.id)) {
                wrong.push(format!("{key}: {:?} is done twice", request.id));
            }
        }
    }

    fn publish(&mut self, key: &Key, event: &EventRecord) {
        for (kind, tool) in event.events() {
            match (kind, key) {
                (EventKind::NodeRegistered | EventKind::NodeRejoined, Key::Live(id)) => {
                    self.live.insert(id.clone());
                }
                (
                    EventKind::NodeExpired | EventKind::NodeDeregistered | EventKind::NodeEvicted,
                    Key::Live(id),
                ) => {
                    self.live.remove(id);
                }
                (EventKind::ToolRegistered, Key::Live(id) | Key::Node(id)) => {
                    self.offered
                        .insert((id.clone(), tool.unwrap().name.to_string()));
                }
                (EventKind::ToolRemoved, Key::Live(id) | Key::Node(id)) => {
                    self.offered
                        .remove(&(id.clone(), tool.unwrap().name.to_string()));
                }
                (EventKind::BusRegistered, Key::Bus(id)) => {
                    self.buses.insert(id.clone());
                }
                (EventKind::BusRemoved, Key::Bus(id)) => {
                    self.buses.remove(id);
                }
                _ => {}
            }
        }
    }

    /// A command was applied: what the events have told so far is what there is.
    pub(super) fn after(&self, state: &State, command: &CommandRecord) -> Option<String> {
        for change in command.changes() {
            if let (Key::Trust(id), Some(event)) = (change_key(change), change.event()) {
                let told = event.trust.as_ref().unwrap();
                let trust = state.verdicts(id).unwrap().trust(&told.contract_hash);
                let so = (trust.state, trust.passes, trust.fails, trust.lifecycle);
                if so != (told.state, told.passes, told.fails, told.lifecycle) {
                    return Some(format!("{id}: {told:?} is told, and {trust:?} is so"));
                }
            }
        }
        let touches = command.changes().iter().any(|change| {
            let key = change_key(change);
            matches!(key, Key::Node(_) | Key::Live(_) | Key::Bus(_))
        });
        if !touches {
            return None;
        }
        let mut live = BTreeSet::new();
        let mut offered = BTreeSet::new();
        let mut buses = BTreeSet::new();
        for (key, slot) in state.slots_from(None) {
            match key {
                Key::Live(id) if slot.record.live().unwrap().is_live() => {
                    live.insert(id.clone());
                    let node = state.slot(&Key::Node(id.clone())).unwrap();
                    let tools = &node.record.node().unwrap().registration.tools;
                    offered.extend(tools.iter().map(|tool| (id.clone(), tool.name.to_string())));
                }
                Key::Bus(id) if slot.record.bus().unwrap().ended.is_none() => {
                    buses.insert(id.clone());
                }
                _ => {}
            }
        }
        let told = live == self.live && offered == self.offered && buses == self.buses;
        (!told).then(|| format!("events do not tell what is so: {live:?} {offered:?} {buses:?}"))
    }
}

fn change_key(change: &Change) -> &Key {
    static NONE: Key = Key::Store;
    match change {
        Change::Put { key, .. }
        | Change::Renew { key, .. }
        | Change::Confirm { key }
        | Change::End { key, .. }
        | Change::Add { key, .. }
        | Change::Delete { key, .. } => key,
        Change::Skip { .. } | Change::Chunk { .. } => &NONE,
    }
}

/// Indexes as they are made from the records alone.
pub(super) fn indexes(state: &State) -> Indexes {
    let mut indexes = Indexes::default();
    for (key, slot) in state.slots_from(None) {
        indexes.insert(key, &slot.record);
    }
    indexes
}
