//! The judge of what is written of nodes and buses: one life after another, each with its own.

use std::collections::BTreeSet;

use semver::Version;

use crate::domain::{
    bus::Announcement,
    ids::{Incarnation, NodeId, RequestId, Token},
    key::{Key, Revision},
    mechanism::Mechanism,
    node::{LifeEnd, Live, REQUESTS_REMEMBERED},
    record::{Request, Stored},
    transition::{Happened, ToolTold, Transition},
    write::Write,
};

use super::{
    check::{Fate, Rule, common},
    world::World,
};

impl World {
    /// Something is written under a key that is no port's.
    pub(super) fn life_landed(
        &mut self,
        write: &Write,
        revision: Revision,
        before: Option<&Stored>,
    ) {
        match (&write.key, &write.value) {
            (key, Stored::Forgotten) => self.forgotten(key, revision),
            (Key::Live(id), Stored::Live(record)) => {
                let before = match before {
                    Some(Stored::Live(record)) => Some(&record.body.live),
                    _ => None,
                };
                self.lives_on(id, revision, &record.body.live, before);
            }
            (key @ Key::Node(_), Stored::Node(record)) => {
                let node = &record.body.node;
                let before: &[Request] = match before {
                    Some(Stored::Node(record))
                        if record.body.node.incarnation == node.incarnation =>
                    {
                        &record.body.node.requests
                    }
                    _ => &[],
                };
                self.requested(key, revision, &node.requests, before);
            }
            (key @ Key::Bus(_), Stored::Bus(record)) => {
                let requests = |bus: &Announcement| -> Vec<Request> {
                    bus.request.iter().chain(&bus.earlier).copied().collect()
                };
                let before = match before {
                    Some(Stored::Bus(record)) => requests(&record.body.bus),
                    _ => Vec::new(),
                };
                let now = requests(&record.body.bus);
                self.requested(key, revision, &now, &before);
            }
            (key @ Key::Verdict(_), Stored::Verdict(record)) => {
                let requests = |stored: &Stored| -> Vec<Request> {
                    let Stored::Verdict(record) = stored else {
                        return Vec::new();
                    };
                    let contracts = record.body.verdicts.contracts.iter();
                    let verdicts = contracts.flat_map(|on| &on.latest);
                    verdicts
                        .flat_map(|verdict| verdict.requests.iter().copied())
                        .collect()
                };
                let now = requests(&Stored::Verdict(record.clone()));
                let before = before.map(requests).unwrap_or_default();
                self.requested(key, revision, &now, &before);
            }
            _ => {}
        }
    }

    /// A life begins, goes on or ends.
    fn lives_on(&mut self, id: &NodeId, revision: Revision, live: &Live, before: Option<&Live>) {
        let incarnation = live.incarnation;
        let same = before.filter(|before| before.incarnation == incarnation);
        let fate = match live.ended.map(|ended| ended.how) {
            None => Fate::Lasts,
            Some(LifeEnd::Deregistered) => Fate::Left,
            Some(LifeEnd::Expired) => Fate::Expired,
        };
        if let Some(same) = same {
            if same.ended.is_some() && same.ended != live.ended {
                let text = format!("@{} {id}: {live:?} had ended", revision.0);
                self.fail(Rule::NothingLost, text);
            }
            if fate != Fate::Lasts && same.ended.is_none() {
                self.life_ends(id, revision, incarnation, fate);
            }
            return;
        }
        // Who announced a life that was overwritten may announce it again.
        let before_that = self.check.fates.insert(incarnation, fate);
        let back = before_that.is_some_and(|fate| fate != Fate::Overwritten);
        if back || fate != Fate::Lasts {
            let text = format!("@{} {id}: {live:?} is no new life", revision.0);
            self.fail(Rule::NothingLost, text);
        }
        if let Some(before) = before {
            if before.epoch >= live.epoch {
                let text = format!(
                    "@{} {id}: epoch {} comes after epoch {}",
                    revision.0, live.epoch, before.epoch
                );
                self.fail(Rule::TokensGrow, text);
            }
            if before.ended.is_none() {
                self.count("lives superseded");
                self.check
                    .fates
                    .entry(before.incarnation)
                    .and_modify(|fate| {
                        if *fate == Fate::Lasts {
                            *fate = Fate::Superseded;
                        }
                    });
            }
        }
        let Some(request) = live.request else {
            return;
        };
        self.changes_by(&Key::Live(id.clone()), revision, request.id);
    }

    /// A life has ended by a write of its own: nobody may still count on it.
    fn life_ends(&mut self, id: &NodeId, revision: Revision, incarnation: Incarnation, fate: Fate) {
        let overwritten = self.check.fates.get(&incarnation) == Some(&Fate::Overwritten);
        if !overwritten {
            self.check.fates.insert(incarnation, fate);
        }
        let (time, rules) = (self.time, self.setup.rules);
        let owner = self.owners.iter().position(|one| {
            one.lives(time, rules)
                .is_some_and(|alive| alive.incarnation == incarnation)
        });
        if let Some(owner) = owner
            && !overwritten
        {
            let text = format!("@{} {id}: owner {owner} still lives: {fate:?}", revision.0);
            self.fail(Rule::NothingLost, text);
        }
    }

    /// Each request changes a key once.
    fn requested(
        &mut self,
        key: &Key,
        revision: Revision,
        requests: &[Request],
        before: &[Request],
    ) {
        for request in requests {
            if before.contains(request) {
                continue;
            }
            self.changes_by(key, revision, request.id);
        }
    }

    fn changes_by(&mut self, key: &Key, revision: Revision, request: RequestId) {
        let changed = self.check.changed.entry(key.clone()).or_default();
        let mut remembered = changed.iter().rev().take(REQUESTS_REMEMBERED);
        let again = remembered.any(|other| *other == request);
        changed.push(request);
        if again {
            let text = format!("@{} {key}: {request} a second time", revision.0);
            self.fail(Rule::NoSecondDeed, text);
        }
    }

    /// A key is removed: nothing may hang on it any more, and all that it had to tell is told.
    fn forgotten(&mut self, key: &Key, revision: Revision) {
        self.count("keys forgotten");
        let foreign = self.check.foreign.get(key).copied();
        let untold = self.check.transitions.iter().find(|(at, of, _)| {
            of == key && Some(*at) > foreign && !self.events.contains(*at, key)
        });
        if let Some((at, ..)) = untold {
            let text = format!(
                "@{} {key} is forgotten, and @{} was never told",
                revision.0, at.0
            );
            self.fail(Rule::EventsComplete, text);
        }
        self.check.changed.remove(key);
        let Key::Live(id) = key else {
            return;
        };
        let hanging: Vec<String> = self
            .store
            .log
            .values()
            .filter(|(_, stored)| match stored {
                Stored::Port(record) => record.lease().is_some_and(|lease| {
                    let of = lease.node.as_ref();
                    // A grant that nobody was told of is taken back when that is seen.
                    !lease.unanswered && of.is_some_and(|life| life.node_id == *id)
                }),
                _ => false,
            })
            .map(|(key, _)| key.to_string())
            .collect();
        if !hanging.is_empty() {
            let text = format!(
                "@{} {id} is forgotten, and {hanging:?} hang on it",
                revision.0
            );
            self.fail(Rule::Described, text);
        }
    }

    /// Somebody who is no registry wrote there.
    pub(super) fn life_overwritten(&mut self, key: &Key) {
        // What it remembered of requests is gone as well.
        self.check.changed.remove(key);
        let (Key::Node(id) | Key::Live(id)) = key else {
            return;
        };
        self.check.changed.remove(&Key::Live(id.clone()));
        self.check.changed.remove(&Key::Node(id.clone()));
        let history = self.check.history.get(&Key::Live(id.clone()));
        let lives = history.into_iter().flatten().rev();
        let last = lives.filter_map(|(_, stored)| match stored {
            Stored::Live(record) => Some(record.body.live.incarnation),
            _ => None,
        });
        if let Some(last) = last.take(1).next() {
            self.check.fates.insert(last, Fate::Overwritten);
        }
    }

    /// What was written in one piece is in the stream: what events tell is what is so.
    pub(super) fn landed_together(&mut self, writes: &[Write], revision: Revision) {
        for write in writes {
            let (Key::Node(id) | Key::Live(id)) = &write.key else {
                continue;
            };
            let transitions = common(&write.value).map_or(&[][..], |(_, outbox)| outbox);
            for transition in transitions.iter().filter(|one| one.revision.is_none()) {
                self.follow_events(id, transition);
            }
        }
        if !self.setup.mechanisms.on(Mechanism::AtomicBatch) {
            // A part of it says a part of what is so.
            return;
        }
        let ids: BTreeSet<&NodeId> = writes
            .iter()
            .filter_map(|write| match &write.key {
                Key::Node(id) | Key::Live(id) => Some(id),
                _ => None,
            })
            .collect();
        for id in ids {
            let keys = [Key::Node(id.clone()), Key::Live(id.clone())];
            if keys.iter().any(|key| self.check.foreign.contains_key(key)) {
                continue;
            }
            let living = self.check.living(id, revision);
            let tools: BTreeSet<(Token, Version)> = living
                .iter()
                .flat_map(|living| &living.node.registration.tools)
                .map(|tool| (tool.name.clone(), tool.version.clone()))
                .collect();
            let lives = living.is_some();
            let told = self.check.told.entry(id.clone()).or_default();
            if told.lives != lives || told.tools != tools {
                let text = format!(
                    "@{} {id}: events say {told:?}, it lives: {lives}, with {tools:?}",
                    revision.0
                );
                self.fail(Rule::EventsComplete, text);
            }
        }
    }

    fn follow_events(&mut self, id: &NodeId, transition: &Transition) {
        let told = self.check.told.entry(id.clone()).or_default();
        match transition.event {
            Happened::NodeRegistered | Happened::NodeRejoined => told.lives = true,
            Happened::NodeExpired | Happened::NodeDeregistered => told.lives = false,
            _ => {}
        }
        let versioned = |tool: &ToolTold| (tool.name.clone(), tool.version.clone());
        for tool in &transition.tools_removed {
            told.tools.remove(&versioned(tool));
        }
        told.tools
            .extend(transition.tools_added.iter().map(versioned));
    }
}
