//! Nodes, buses and verdicts as the index knows them, and what hangs on a node's life.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use super::{
    agenda::Change,
    bus::{self, Bus},
    counts::{Counted, Counts},
    ids::{BusId, Incarnation, LeaseId, NodeId, Token},
    key::{Key, Revision},
    mechanism::{Mechanism, Mechanisms},
    node::{Announced, Life, LifeEnd, Live, Lived, Node, Tool},
    offers::Offers,
    policy::Policy,
    record::{Ended, Record},
    standing::{Bond, Entry, Terms},
    time::Moment,
    trust::{Judged, Trust, Verdicts},
};

/// How long the server keeps the marker of a removed key, in seconds: long enough for every follower to
/// have seen it.
pub const MARKER_SECONDS: u64 = 3_600;
/// What is added to that before a key counts as never written, in milliseconds: the server looks for what
/// it has to remove every now and then.
const MARKER_SLACK_MILLIS: u64 = 10_000;
/// After which time it is tried again to forget what could not be forgotten, in milliseconds.
const FORGET_RETRY_MILLIS: u64 = 1_000;

/// The announcement of a node, and the one before while the life that was written behind it has not been seen.
#[derive(Debug)]
struct Said {
    latest: Entry<Announced>,
    valid: Valid,
}

/// Which announcement counts.
#[derive(Debug)]
enum Valid {
    Latest,
    /// The one before it, if there was one of the life that is known: the life behind the latest has not been seen.
    Before(Option<(Revision, Node)>),
}

/// Nodes, buses and verdicts.
#[derive(Debug, Default)]
pub struct Nodes {
    /// Which mechanisms are on: all of them, outside the simulation.
    pub mechanisms: Mechanisms,
    said: BTreeMap<NodeId, Said>,
    lives: BTreeMap<NodeId, Entry<Lived>>,
    buses: BTreeMap<BusId, Entry<Bus>>,
    verdicts: BTreeMap<NodeId, Entry<Judged>>,
    counted: BTreeMap<NodeId, Entry<Counted>>,
    offers: Offers,
    node_buses: BTreeSet<(NodeId, BusId)>,
    lease_buses: BTreeSet<(LeaseId, BusId)>,
    markers: Markers,
}

/// How many of the keys are markers of what was forgotten.
#[derive(Debug, Default)]
struct Markers {
    lives: usize,
    buses: usize,
}

/// A node whose announcement and life are both there.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Which.
    pub node_id: &'a NodeId,
    /// What it announced.
    pub node: &'a Node,
    /// Where in the stream that is.
    pub said_at: Revision,
    /// The life that it leads or last led.
    pub live: &'a Live,
    /// Where in the stream that is.
    pub revision: Revision,
    /// Since when its TTL counts, by this instance's clock.
    pub since: Moment,
}

impl Seen<'_> {
    /// Whether no write has ended it.
    pub fn is_live(&self) -> bool {
        self.live.ended.is_none()
    }

    /// What is left of its TTL, in milliseconds; 0 when it is due.
    pub fn left(&self, now: Moment) -> u64 {
        self.live.ttl.millis().saturating_sub(now.since(self.since))
    }
}

impl Nodes {
    /// A node's announcement is seen; says how many transitions its key was known to have made.
    pub(super) fn put_node(&mut self, id: &NodeId, mut entry: Entry<Announced>) -> Option<u64> {
        if let Some(record) = entry.record.as_deref_mut() {
            record.body.node.registration.order_tools();
        }
        let before = self.said.remove(id);
        if let Some(before) = &before {
            self.offers.remove(id, before.tools());
        }
        let known = before.as_ref().map(|said| said.latest.transitions);
        let shown = before.and_then(|said| match said.valid {
            Valid::Before(before) => before,
            Valid::Latest => Some((said.latest.revision, said.latest.record?.body.node)),
        });
        let now = self.incarnation(id);
        let said = Said {
            valid: Valid::Before(shown.filter(|(_, node)| Some(node.incarnation) == now)),
            latest: entry,
        };
        self.offers.add(id, said.tools());
        self.said.insert(id.clone(), said);
        known
    }

    /// A node's life is seen.
    pub(super) fn put_live(&mut self, id: &NodeId, entry: Entry<Lived>) -> Option<u64> {
        self.markers.lives += usize::from(entry.forgotten);
        let known = self.lives.insert(id.clone(), entry);
        self.markers.lives -= usize::from(known.as_ref().is_some_and(|entry| entry.forgotten));
        self.settle(&Key::Node(id.clone()));
        known.map(|entry| entry.transitions)
    }

    /// A life is seen, or the follower is at an exact point, where it would have been: the last announcement
    /// counts.
    pub(super) fn settle(&mut self, key: &Key) {
        let Key::Node(id) = key else {
            return;
        };
        let Some(said) = self.said.get_mut(id) else {
            return;
        };
        if matches!(said.valid, Valid::Before(_)) {
            self.offers.remove(id, said.tools());
            said.valid = Valid::Latest;
            self.offers.add(id, said.tools());
        }
    }

    /// A bus is seen.
    pub(super) fn put_bus(&mut self, id: &BusId, entry: Entry<Bus>) -> Option<u64> {
        let before = self.take_bus(id);
        if let Some(bus) = entry.body() {
            if let Some(life) = &bus.bus.node {
                self.node_buses.insert((life.node_id.clone(), id.clone()));
            }
            if let Some(lease_id) = bus.bus.lease_id {
                self.lease_buses.insert((lease_id, id.clone()));
            }
        }
        self.markers.buses += usize::from(entry.forgotten);
        self.buses.insert(id.clone(), entry);
        before.map(|entry| entry.transitions)
    }

    fn take_bus(&mut self, id: &BusId) -> Option<Entry<Bus>> {
        let before = self.buses.remove(id);
        self.markers.buses -= usize::from(before.as_ref().is_some_and(|entry| entry.forgotten));
        if let Some(bus) = before.as_ref().and_then(Entry::body) {
            if let Some(life) = &bus.bus.node {
                self.node_buses.remove(&(life.node_id.clone(), id.clone()));
            }
            if let Some(lease_id) = bus.bus.lease_id {
                self.lease_buses.remove(&(lease_id, id.clone()));
            }
        }
        before
    }

    /// Verdicts are seen.
    pub(super) fn put_verdict(&mut self, id: &NodeId, entry: Entry<Judged>) -> Option<u64> {
        let known = self.verdicts.insert(id.clone(), entry);
        known.map(|entry| entry.transitions)
    }

    /// What is counted of a node is seen.
    pub(super) fn put_counted(&mut self, id: &NodeId, entry: Entry<Counted>) {
        self.counted.insert(id.clone(), entry);
    }

    /// Nothing is in the stream under a key any more: its marker has gone, seen or not.
    pub(super) fn drop_key(&mut self, key: &Key) {
        match key {
            Key::Node(id) => {
                if let Some(said) = self.said.remove(id) {
                    self.offers.remove(id, said.tools());
                }
            }
            Key::Live(id) => {
                let gone = self.lives.remove(id);
                self.markers.lives -= usize::from(gone.is_some_and(|entry| entry.forgotten));
            }
            Key::Bus(id) => drop(self.take_bus(id)),
            Key::Verdict(id) => drop(self.verdicts.remove(id)),
            Key::Exec(id) => drop(self.counted.remove(id)),
            Key::Call(_)
            | Key::Port(_)
            | Key::Host(_)
            | Key::Sys
            | Key::Barrier
            | Key::Checkpoint
            | Key::Folded => {}
        }
    }

    fn incarnation(&self, id: &NodeId) -> Option<Incarnation> {
        Some(self.live(id)?.incarnation)
    }

    /// The entry under `node.<id>`.
    pub fn said(&self, id: &NodeId) -> Option<&Entry<Announced>> {
        self.said.get(id).map(|said| &said.latest)
    }

    /// The entry under `live.<id>`.
    pub fn life(&self, id: &NodeId) -> Option<&Entry<Lived>> {
        self.lives.get(id)
    }

    /// The life that a node leads or last led.
    pub fn live(&self, id: &NodeId) -> Option<&Live> {
        Some(&self.lives.get(id)?.body()?.live)
    }

    /// The entry under `bus.<id>`.
    pub fn bus(&self, id: &BusId) -> Option<&Entry<Bus>> {
        self.buses.get(id)
    }

    /// Whether a write has ended that bus.
    pub(super) fn has_ended(&self, id: &BusId) -> bool {
        let body = self.buses.get(id).and_then(Entry::body);
        body.is_none_or(|bus| bus.bus.ended.is_some())
    }

    /// The entry under `verdict.<id>`.
    pub fn verdict(&self, id: &NodeId) -> Option<&Entry<Judged>> {
        self.verdicts.get(id)
    }

    /// The entry under `exec.<id>`.
    pub fn counted(&self, id: &NodeId) -> Option<&Entry<Counted>> {
        self.counted.get(id)
    }

    /// How often a node's tools were run, where that was counted.
    pub fn counts(&self, id: &NodeId) -> Option<&Counts> {
        Some(&self.counted.get(id)?.body()?.counts)
    }

    /// What validators say of a node.
    pub fn verdicts(&self, id: &NodeId) -> Option<&Verdicts> {
        Some(&self.verdicts.get(id)?.body()?.verdicts)
    }

    /// What follows from that for its present contract.
    pub fn trust(&self, seen: &Seen<'_>) -> Trust {
        let contract = &seen.node.registration.contract_hash;
        self.verdicts(seen.node_id).map_or_else(
            || Verdicts::default().trust(contract),
            |verdicts| verdicts.trust(contract),
        )
    }

    /// A node, live or ended and still remembered.
    pub fn seen<'a>(&'a self, id: &NodeId) -> Option<Seen<'a>> {
        let (node_id, life) = self.lives.get_key_value(id)?;
        let live = &life.body()?.live;
        let said = self.said.get(id)?;
        let latest = said.latest.body().map(|said| &said.node);
        let latest = latest.map(|node| (said.latest.revision, node));
        let counts = match &said.valid {
            Valid::Before(before) => before.as_ref().map(|(at, node)| (*at, node)),
            Valid::Latest => latest,
        };
        let (said_at, node) = if self.mechanisms.on(Mechanism::OneLife) {
            counts.filter(|(_, node)| node.incarnation == live.incarnation)?
        } else {
            latest.or(counts)?
        };
        Some(Seen {
            node_id,
            node,
            said_at,
            live,
            revision: life.revision,
            since: life.observed,
        })
    }

    /// All of them behind `after`, in the order of their ids.
    pub fn all<'a>(&'a self, after: Option<&NodeId>) -> impl Iterator<Item = Seen<'a>> + use<'a> {
        let ids = match after {
            None => self.lives.range::<NodeId, _>(..),
            Some(after) => self
                .lives
                .range::<NodeId, _>((Bound::Excluded(after), Bound::Unbounded)),
        };
        ids.filter_map(|(id, _)| self.seen(id))
    }

    /// Nodes that offer a tool of that name, and live.
    pub fn providers<'a>(&'a self, name: &Token) -> impl Iterator<Item = Seen<'a>> + use<'a> {
        let of_name = self.offers.of_name(name);
        let name = name.clone();
        of_name.filter_map(move |id| {
            let seen = self.seen(id).filter(Seen::is_live)?;
            let mut offered = seen.node.registration.tools_named(&name);
            offered.next().is_some().then_some(seen)
        })
    }

    /// Nodes other than `id` that live and offer that tool in that version under another contract.
    pub fn colliding<'a>(
        &'a self,
        id: &NodeId,
        tool: &Tool,
    ) -> impl Iterator<Item = &'a NodeId> + use<'a> {
        let differing = self.offers.differing(tool);
        let (id, name, version) = (id.clone(), tool.name.clone(), tool.version.clone());
        differing.filter_map(move |(hash, other)| {
            let seen = self.seen(other).filter(Seen::is_live)?;
            let theirs = seen.node.registration.tool(&name, &version)?;
            (*other != id && theirs.contract_hash == hash).then_some(seen.node_id)
        })
    }

    /// Names of tools behind `after` that any node has announced, in their order.
    pub fn tool_names<'a>(
        &'a self,
        after: Option<&Token>,
    ) -> impl Iterator<Item = &'a Token> + use<'a> {
        self.offers.names(after)
    }

    /// All buses behind `after`, in the order of their ids.
    pub fn all_buses<'a>(
        &'a self,
        after: Option<&BusId>,
    ) -> impl Iterator<Item = (&'a BusId, &'a bus::Announcement)> + use<'a> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.buses
            .range::<BusId, _>((start, Bound::Unbounded))
            .filter_map(|(id, entry)| Some((id, &entry.body()?.bus)))
    }

    /// Buses that end with a life of that node.
    pub fn buses_of_node<'a>(&'a self, id: &NodeId) -> impl Iterator<Item = &'a BusId> + use<'a> {
        let id = id.clone();
        self.node_buses
            .range((id.clone(), BusId::lowest())..)
            .take_while(move |(node, _)| *node == id)
            .map(|(_, bus)| bus)
    }

    /// Buses that end with that lease.
    pub fn buses_of_lease(&self, lease_id: LeaseId) -> impl Iterator<Item = &BusId> {
        self.lease_buses
            .range((lease_id, BusId::lowest())..)
            .take_while(move |(lease, _)| *lease == lease_id)
            .map(|(_, bus)| bus)
    }

    /// How many nodes are known, those that have ended and are not forgotten yet included.
    pub fn known(&self) -> usize {
        self.lives.len() - self.markers.lives
    }

    /// How many buses are known, those that have ended and are not forgotten yet included.
    pub fn buses_known(&self) -> usize {
        self.buses.len() - self.markers.buses
    }

    /// What hangs on that life, by a record at `since`; `exact` is the index's last exact point.
    ///
    /// A life that has not been seen, or another one in its place, says something only at an exact point
    /// behind that record: in between the follower may have skipped what was overwritten.
    pub fn bond(&self, life: &Life, since: Revision, exact: Revision, terms: Terms) -> Bond {
        let entry = self.lives.get(&life.node_id);
        let live = entry.and_then(|entry| Some(&entry.body()?.live));
        if let Some(live) = live
            && live.incarnation == life.incarnation
        {
            return match live.ended.map(|ended| ended.how) {
                None => Bond::Holds,
                Some(LifeEnd::Deregistered) => Bond::Over(Ended::Released, live.ttl),
                Some(LifeEnd::Expired) => Bond::Over(Ended::Expired, live.ttl),
            };
        }
        if exact < since && terms.mechanisms.on(Mechanism::BondAtExactPoint) {
            return Bond::Holds;
        }
        match (live, entry) {
            (
                Some(Live {
                    superseded_ttl: Some(ttl),
                    ..
                }),
                _,
            ) => Bond::Over(Ended::Superseded, *ttl),
            (Some(_), _) => Bond::Over(Ended::Expired, terms.longest),
            (None, Some(entry)) if entry.later => Bond::Holds,
            // Something foreign is there: who was told what is not known.
            (None, Some(entry)) if !entry.forgotten => {
                let longest = terms.lengthened(terms.longest.millis());
                Bond::Until(entry.observed.plus(longest))
            }
            (None, _) => Bond::Over(Ended::Superseded, terms.longest),
        }
    }

    /// When a node's life changes by itself: it falls due, or it ended so long ago that it is forgotten.
    pub(super) fn life_change(
        &self,
        id: &NodeId,
        now: Moment,
        terms: Terms,
        policy: &Policy,
    ) -> Change {
        let retention = policy.retention_millis;
        let Some(entry) = self.lives.get(id) else {
            return Change::At(Moment::NEVER);
        };
        let at = match entry.body().map(|lived| &lived.live) {
            _ if entry.forgotten => return marker_change(entry.observed, now, policy),
            _ if entry.later => Moment::NEVER,
            None => entry
                .observed
                .plus(terms.lengthened(terms.longest.millis()).max(retention)),
            Some(live) if live.ended.is_none() => {
                entry.observed.plus(terms.lengthened(live.ttl.millis()))
            }
            Some(_) => entry.observed.plus(retention),
        };
        due_from(at, now)
    }

    /// When something that belongs to a node which is not there any more is forgotten; `exact` is the index's
    /// last exact point. Before that the node may be there and not have been seen yet.
    pub(super) fn orphan_change<B>(
        &self,
        id: &NodeId,
        entry: &Entry<B>,
        exact: Revision,
        now: Moment,
        policy: &Policy,
    ) -> Change {
        if entry.forgotten {
            return marker_change(entry.observed, now, policy);
        }
        let owner = self.lives.get(id).is_some_and(|life| !life.forgotten);
        let known = exact >= entry.revision || !self.mechanisms.on(Mechanism::ForgetAtExactPoint);
        if owner || entry.later || !known {
            return Change::At(Moment::NEVER);
        }
        due_from(entry.observed.plus(policy.retention_millis), now)
    }
}

impl Said {
    fn tools(&self) -> impl Iterator<Item = &Tool> {
        let latest = self.latest.body().map(|said| &said.node);
        let before = match &self.valid {
            Valid::Before(Some((_, node))) => Some(node),
            Valid::Before(None) | Valid::Latest => None,
        };
        let nodes = latest.into_iter().chain(before);
        nodes.flat_map(|node| node.registration.tools.iter())
    }
}

/// When a marker that was seen then has gone.
pub(super) fn marker_change(observed: Moment, now: Moment, policy: &Policy) -> Change {
    due_from(
        observed.plus(policy.marker_millis.saturating_add(MARKER_SLACK_MILLIS)),
        now,
    )
}

pub(super) fn due_from(at: Moment, now: Moment) -> Change {
    if now < at {
        Change::At(at)
    } else {
        Change::Due
    }
}

/// When it is tried again to forget what something keeps from being forgotten.
pub(super) fn forget_again(now: Moment) -> Change {
    Change::At(now.plus(FORGET_RETRY_MILLIS))
}

/// Whether every transition of a record is out.
pub(super) fn is_out<B>(entry: &Entry<B>, out_to: Revision) -> bool {
    let unpublished = |record: &Record<B>| record.unpublished(entry.revision, out_to) > 0;
    !entry.record.as_deref().is_some_and(unpublished)
}
