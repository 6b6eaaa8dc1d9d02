//! When keys of nodes, buses and verdicts change by themselves, and when they may be forgotten.

use super::Index;
use crate::domain::{
    agenda::Change,
    bus::{self, Bus},
    key::{Key, Revision},
    mechanism::Mechanism,
    nodes::{due_from, forget_again, is_out, marker_change},
    record::Ended,
    standing::{Bond, Entry},
    time::Moment,
};

impl Index {
    /// When a key of a node or bus changes by itself.
    pub fn change(&self, key: &Key, now: Moment) -> Change {
        let terms = self.terms();
        let nodes = &self.nodes;
        let change = match key {
            Key::Live(id) => nodes.life_change(id, now, terms, &self.policy),
            Key::Node(id) => nodes.said(id).map_or(Change::At(Moment::NEVER), |entry| {
                nodes.orphan_change(id, entry, self.exact, now, &self.policy)
            }),
            Key::Verdict(id) => nodes
                .verdict(id)
                .map_or(Change::At(Moment::NEVER), |entry| {
                    nodes.orphan_change(id, entry, self.exact, now, &self.policy)
                }),
            Key::Exec(id) => nodes
                .counted(id)
                .map_or(Change::At(Moment::NEVER), |entry| {
                    nodes.orphan_change(id, entry, self.exact, now, &self.policy)
                }),
            Key::Bus(id) => nodes.bus(id).map_or(Change::At(Moment::NEVER), |entry| {
                self.bus_change(entry, now)
            }),
            Key::Call(id) => self.calls.change(*id, now, terms, &self.policy),
            Key::Port(_)
            | Key::Host(_)
            | Key::Sys
            | Key::Barrier
            | Key::Checkpoint
            | Key::Folded => Change::At(Moment::NEVER),
        };
        match change {
            Change::Due if !self.is_marker(key) && !self.may_go(key) => forget_again(now),
            change => change,
        }
    }

    /// A write lost against `revision`, and behind a barrier the key is still there: the message is gone. On
    /// a port somebody gave it a time to live, and the port stays what it was; anything else was removed by a
    /// registry, and this one was away for as long as the marker was there.
    pub fn vanish(&mut self, key: &Key, revision: Revision) {
        let Key::Port(port) = key else {
            if self.revision(key) == revision {
                self.drop_key(key);
                self.agenda.set(key, Change::At(Moment::NEVER));
            }
            if let Key::Live(id) = key {
                self.hang_on_node(id);
            }
            return;
        };
        let entry = self.ports.get_mut(port);
        if let Some(entry) = entry.filter(|entry| entry.revision == revision) {
            entry.vanished = true;
        }
    }

    /// Nothing is in the stream under that key any more.
    pub(super) fn drop_key(&mut self, key: &Key) {
        match key {
            Key::Call(id) => self.calls.drop_key(*id),
            key => self.nodes.drop_key(key),
        }
    }

    fn bus_change(&self, entry: &Entry<Bus>, now: Moment) -> Change {
        if entry.forgotten {
            return marker_change(entry.observed, now, &self.policy);
        }
        match entry.body().map(|bus| &bus.bus) {
            _ if entry.later => Change::At(Moment::NEVER),
            Some(bus) if bus.ended.is_none() => match self.bus_over(bus, entry.revision) {
                Some(_) => Change::Due,
                None => Change::At(Moment::NEVER),
            },
            _ => due_from(entry.observed.plus(self.policy.retention_millis), now),
        }
    }

    /// How what a bus hangs on has ended, when it has.
    pub fn bus_over(&self, bus: &bus::Announcement, since: Revision) -> Option<Ended> {
        if let Some(life) = &bus.node
            && let Bond::Over(ended, _) = self.nodes.bond(life, since, self.exact, self.terms())
        {
            return Some(ended);
        }
        let lease_id = bus.lease_id?;
        let live = self
            .find_lease(lease_id)
            .is_some_and(|(key, entry)| entry.lease().is_some() && self.lease_over(key).is_none());
        (!live && self.exact >= since).then_some(Ended::Expired)
    }

    pub(super) fn is_marker(&self, key: &Key) -> bool {
        match key {
            Key::Node(id) => self.nodes.said(id).is_some_and(|entry| entry.forgotten),
            Key::Live(id) => self.nodes.life(id).is_some_and(|entry| entry.forgotten),
            Key::Bus(id) => self.nodes.bus(id).is_some_and(|entry| entry.forgotten),
            Key::Verdict(id) => self.nodes.verdict(id).is_some_and(|entry| entry.forgotten),
            Key::Exec(id) => self.nodes.counted(id).is_some_and(|entry| entry.forgotten),
            Key::Call(id) => self.calls.entry(*id).is_some_and(|entry| entry.forgotten),
            Key::Port(_)
            | Key::Host(_)
            | Key::Sys
            | Key::Barrier
            | Key::Checkpoint
            | Key::Folded => false,
        }
    }

    /// Whether what is due under a key may be done now: a life is forgotten only when nothing hangs on
    /// it any more, and nothing is forgotten of which events are not out.
    fn may_go(&self, key: &Key) -> bool {
        let out_to = self.outbox.out_to();
        match key {
            Key::Live(id) => self.nodes.life(id).is_some_and(|entry| {
                let live = self.nodes.live(id).is_some_and(|live| live.ended.is_none());
                // What hangs on it is known at an exact point behind it.
                let known = self.exact >= entry.revision
                    || !self.mechanisms.on(Mechanism::ForgetAtExactPoint);
                // Buses of a life that was overwritten end when it is forgotten: nobody knows how it did.
                let mut buses = self.nodes.buses_of_node(id);
                let ended = entry.record.is_none() || buses.all(|bus| self.nodes.has_ended(bus));
                let free = known
                    && ended
                    && self.lookup.bound_to(id, None).next().is_none()
                    && is_out(entry, out_to)
                    && self
                        .nodes
                        .said(id)
                        .is_none_or(|entry| is_out(entry, out_to))
                    && self
                        .nodes
                        .verdict(id)
                        .is_none_or(|entry| is_out(entry, out_to));
                live || free
            }),
            Key::Bus(id) => self.nodes.bus(id).is_some_and(|entry| {
                let live = entry.body().is_some_and(|bus| bus.bus.ended.is_none());
                live || is_out(entry, out_to)
            }),
            Key::Node(id) => self
                .nodes
                .said(id)
                .is_some_and(|entry| is_out(entry, out_to)),
            Key::Verdict(id) => self
                .nodes
                .verdict(id)
                .is_some_and(|entry| is_out(entry, out_to)),
            Key::Exec(_) => true,
            Key::Call(id) => self.calls.entry(*id).is_some_and(|entry| {
                let runs = entry
                    .body()
                    .is_some_and(|called| called.call.ended.is_none());
                runs || is_out(entry, out_to)
            }),
            Key::Port(_)
            | Key::Host(_)
            | Key::Sys
            | Key::Barrier
            | Key::Checkpoint
            | Key::Folded => false,
        }
    }
}
