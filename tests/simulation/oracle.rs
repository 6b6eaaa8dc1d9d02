//! The judge: looks at the stream, the holders and the answers from outside.

use crate::domain::{
    ids::{CommandId, LeaseId},
    key::{Key, PortKey, Revision},
    record::{Body, Ended, Lease, Stored},
    standing::Standing,
    transition::Happened,
    write::Write,
};

use super::{
    check::{Fate, Past, Rule, What, common},
    world::{Who, World},
};

fn lease(stored: &Stored) -> Option<&Lease> {
    match stored {
        Stored::Port(record) => record.lease(),
        _ => None,
    }
}

impl World {
    pub(super) fn fail(&mut self, rule: Rule, text: String) {
        self.check.fail(self.time, rule, text);
    }

    /// A holder is told that its lease is no more.
    pub(super) fn gone(&mut self, holder: usize, of: Option<LeaseId>) {
        let held = self.holders[holder].holds(self.time, self.setup.rules);
        let Some(belief) = held.filter(|held| Some(held.lease_id) == of) else {
            return;
        };
        if !self.check.overwritten.contains(&belief.lease_id) {
            let text = format!("holder {holder} is told that it lost {belief:?}");
            self.fail(Rule::NothingLost, text);
        }
    }

    /// A write is in the stream.
    pub(super) fn landed(&mut self, write: &Write, revision: Revision, before: Option<&Stored>) {
        self.noted(write, revision);
        let (Key::Port(key), Stored::Port(_)) = (&write.key, &write.value) else {
            return self.life_landed(write, revision, before);
        };
        let what = What::of(&write.value);
        self.record(key, revision, what);
        let back = match what {
            What::Rest(lease_id, _) => {
                self.check.ended.extend(lease_id);
                false
            }
            What::Lease(lease_id) => self.check.ended.contains(&lease_id),
            What::Foreign => false,
        };
        if back {
            let text = format!("@{} {key}: {what:?} had ended", revision.0);
            self.fail(Rule::NothingLost, text);
        }
        let live = |past: &Past| matches!(what, What::Lease(_)) && past.what == what;
        let keys = self.check.past.values().filter_map(|past| past.last());
        if keys.filter(|past| live(past)).count() > 1 {
            let text = format!(
                "@{} {key}: {what:?} is live under another key as well",
                revision.0
            );
            self.fail(Rule::NoSecondDeed, text);
        }
        if let Some(lost) = before.and_then(lease) {
            if what == What::Lease(lost.lease_id) {
                self.count("renewals");
            } else {
                self.ended(lost, revision, &write.value);
            }
        }
    }

    /// A write of any kind is in the stream.
    fn noted(&mut self, write: &Write, revision: Revision) {
        if matches!(write.key, Key::Sys | Key::Barrier | Key::Checkpoint) {
            return;
        }
        let history = self.check.history.entry(write.key.clone()).or_default();
        history.push((revision, write.value.clone()));
        let Some((command, outbox)) = common(&write.value) else {
            return;
        };
        if self.check.undone.contains(&command) {
            let text = format!(
                "@{} {}: its caller was told that nothing was done",
                revision.0, write.key
            );
            self.fail(Rule::TrueAnswers, text);
        }
        self.check.wrote.insert(command);
        for transition in outbox.iter().filter(|one| one.revision.is_none()) {
            self.count(match (transition.event, transition.outcome) {
                (Happened::Leased, _) => "grants",
                (_, Some(Ended::Duplicate)) => "duplicates ended",
                (_, Some(Ended::NodeGone)) => "grants to nodes gone",
                (Happened::Released, _) => "releases",
                (_, Some(Ended::Overwritten)) => "overwritten ended",
                (Happened::Expired, _) => "expiries",
                (Happened::Quarantined, _) => "quarantines",
                (Happened::Revoked, _) => "revocations",
                (Happened::NodeRegistered, _) => "nodes registered",
                (Happened::NodeRejoined, _) => "nodes rejoined",
                (Happened::NodeExpired, _) => "nodes expired",
                (Happened::NodeDeregistered, _) => "nodes left",
                (Happened::ToolsChanged, _) => "tools changed",
                (Happened::BusRegistered, _) => "buses registered",
                (Happened::BusRemoved, _) => "buses removed",
                (Happened::TrustChanged, _) => "verdicts",
                (Happened::CallBegan, _) => "calls begun",
                (Happened::CallCompleted, _) => "calls completed",
                (Happened::CallFailed, _) => "calls failed",
            });
            let entry = (revision, write.key.clone(), transition.clone());
            self.check.transitions.push(entry);
        }
    }

    /// A lease is no longer in the stream: nobody may still count on it.
    fn ended(&mut self, lost: &Lease, revision: Revision, now: &Stored) {
        let superseded = match now {
            Stored::Port(record) => match &record.body {
                Body::Rest(rest) => rest.ended == Ended::Superseded,
                Body::Lease(_) => false,
            },
            _ => false,
        };
        let fate = lost
            .node
            .as_ref()
            .and_then(|life| self.check.fates.get(&life.incarnation));
        let lost = lost.lease_id;
        // Its holder did not ask for that end: the port rests instead.
        if superseded && fate != Some(&Fate::Lasts) || self.check.overwritten.contains(&lost) {
            return;
        }
        let holder = self.held().find(|(_, lease_id, _)| *lease_id == lost);
        if let Some((holder, _, key)) = holder {
            let how = match now {
                Stored::Port(record) => match &record.body {
                    Body::Rest(rest) => format!("{:?}", rest.ended),
                    Body::Lease(_) => "granted to another".to_owned(),
                },
                other => format!("{other:?}"),
            };
            let text = format!(
                "@{} {key}: {holder} still counts on {lost}: {how}",
                revision.0
            );
            self.fail(Rule::NothingLost, text);
        }
    }

    fn record(&mut self, key: &PortKey, revision: Revision, what: What) {
        let past = Past { revision, what };
        self.check.past.entry(key.clone()).or_default().push(past);
    }

    /// Something was written over a key from outside.
    pub(super) fn overwritten(&mut self, key: &Key, revision: Revision, before: Option<&Stored>) {
        self.check.foreign.insert(key.clone(), revision);
        let history = self.check.history.entry(key.clone()).or_default();
        history.push((revision, Stored::Foreign));
        let Key::Port(port) = key else {
            return self.life_overwritten(key);
        };
        self.record(port, revision, What::Foreign);
        let lost = before.and_then(|before| What::of(before).lease_id());
        self.check.overwritten.extend(lost);
    }

    /// A port is being tried.
    ///
    /// Its own holder may have heard of it from another instance; then nothing is taken from it.
    pub(super) fn probed(
        &mut self,
        instance: usize,
        key: &PortKey,
        job: &[CommandId],
        caller: Option<Who>,
    ) {
        let holder = self
            .held()
            .find(|(_, lease_id, held)| *held == key && !job.iter().any(|id| id.0 == lease_id.0));
        if let Some((holder, ..)) = holder {
            let text = format!("#{instance} tries {key} for {caller:?}, which {holder} holds");
            self.fail(Rule::ProbesApart, text);
        }
    }

    /// The faults have stopped long ago.
    pub(super) fn settled(&mut self) {
        if self.check.violation.is_some() {
            return;
        }
        for instance in 0..self.instances.len() {
            let now = self.now(instance).mono;
            let one = &self.instances[instance];
            let index = &one.core.index;
            let mut stuck = Vec::new();
            if one.jobs() > 0 {
                stuck.push(format!("{} jobs: {}", one.jobs(), one.waits()));
            }
            if index.exact() != super::world::revision(&self.store) {
                stuck.push(format!("at {:?} of {}", index.exact(), self.store.last));
            }
            for key in self.ports() {
                let standing = index.standing(&key, now);
                if one.core.reserved.contains(&Key::Port(key.clone())) {
                    stuck.push(format!("{key} is reserved"));
                }
                if standing != Standing::Free {
                    stuck.push(format!("{key} is {standing:?}"));
                }
            }
            for key in self.store.keys() {
                if matches!(
                    key,
                    Key::Node(_) | Key::Live(_) | Key::Bus(_) | Key::Verdict(_)
                ) {
                    stuck.push(format!("{key} is there"));
                }
            }
            let nodes = index.nodes.all(None).count();
            let known = nodes + index.nodes.known() + index.nodes.buses_known();
            if known > 0 || index.nodes.tool_names(None).next().is_some() {
                stuck.push(format!("{known} nodes and buses are known"));
            }
            if !index.outbox.is_empty() {
                stuck.push(format!("{} transitions wait", index.outbox.len()));
            }
            let gaps = index.outbox.gaps();
            if !stuck.is_empty() {
                self.fail(
                    Rule::NothingStuck,
                    format!("#{instance}: {}", stuck.join(", ")),
                );
            } else if gaps > 0 && self.check.foreign.is_empty() {
                let text = format!("#{instance} counts {gaps} events as lost");
                self.fail(Rule::EventsComplete, text);
            }
        }
        self.calls_settled();
        self.judge_events();
    }

    fn judge_events(&mut self) {
        let foreign = |key: &Key, at: Revision| {
            let until = self.check.foreign.get(key);
            until.is_some_and(|until| at <= *until)
        };
        let mut text = None;
        for (revision, key, transition) in &self.check.transitions {
            if !foreign(key, *revision) && !self.events.contains(*revision, key) {
                text.get_or_insert(format!("@{} {key}: never told: {transition:?}", revision.0));
            }
        }
        let mut last = std::collections::HashMap::new();
        for told in &self.events.told {
            let before = last.insert(told.key.clone(), told.revision);
            if before.is_some_and(|before| before > told.revision)
                && !self.check.foreign.contains_key(&told.key)
            {
                text.get_or_insert(format!("@{} {}: out of order", told.revision.0, told.key));
            }
        }
        let told = self.events.told.len() as u64;
        self.counts.insert("events", told);
        if let Some(text) = text {
            self.fail(Rule::EventsComplete, text);
        }
    }
}
