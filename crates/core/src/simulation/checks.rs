//! What must hold at every step of a run.

use std::collections::BTreeMap;

use onex_types::{entry::Sequence, key::PortKey};

use crate::engine::Engine;

use super::{truth::records, truth_nodes::indexes, world::World};

/// More messages than this in a run of minutes mean that instances write without cause.
const LOG_MESSAGES_MAX: Sequence = Sequence(20_000);

impl World {
    /// An instance that has decided nothing of its own has the records that the log says.
    pub(super) fn alike(&mut self, index: usize) {
        let engine: Option<&Engine> = self.instances[index].engine.as_ref();
        let Some(engine) = engine.filter(|engine| engine.is_settled()) else {
            return;
        };
        let (head, epoch) = (engine.head(), self.instances[index].epoch);
        if self.instances[index].compared == (epoch, head) {
            return;
        }
        let truth = self.truth.at(head);
        let alike = truth.is_none_or(|truth| *truth == records(engine.state()));
        let state = engine.state();
        let looked_up = truth.is_none() || state.indexes == indexes(state);
        if truth.is_some() && state.bytes() != state.bytes_counted() {
            let text = format!("I{index} counts other bytes than there are at {head}");
            self.violations.push(text);
        }
        if !looked_up {
            let (has, right) = (
                format!("{:?}", state.indexes),
                format!("{:?}", indexes(state)),
            );
            let at = has
                .bytes()
                .zip(right.bytes())
                .take_while(|(one, other)| one == other);
            let from = at.count().saturating_sub(120);
            let part = |text: &str| text.chars().skip(from).take(400).collect::<String>();
            let text = format!(
                "I{index} finds other things than there are at {head}: {} and not {}",
                part(&has),
                part(&right)
            );
            self.violations.push(text);
        }
        self.instances[index].compared = (epoch, head);
        if !alike {
            self.violations
                .push(format!("I{index} differs from the log at {head}"));
        }
    }

    pub(super) fn check(&mut self) {
        self.violations.append(&mut self.truth.wrong);
        self.violations.append(&mut self.calls.truth.wrong);
        if self.store.last() > LOG_MESSAGES_MAX {
            self.violations.push("the log grows without end".to_owned());
        }
        self.check_processes();
        if let Err(text) = self.check_held() {
            return self.violations.push(text);
        }
        self.check_published();
    }

    /// A port is used by one at a time, by the reckoning of those who use it.
    fn check_held(&self) -> Result<(), String> {
        let mut held: BTreeMap<&PortKey, String> = BTreeMap::new();
        for (index, process) in self.processes.iter().enumerate() {
            let ports = process.lives(self.t).into_iter();
            for key in ports.flat_map(|alive| alive.ports.values().flatten()) {
                if let Some(other) = held.insert(key, format!("N{index}")) {
                    return Err(format!("{other} and N{index} both hold {key}"));
                }
            }
        }
        for (index, holder) in self.holders.iter().enumerate() {
            let Some(hold) = holder.holds(self.t) else {
                continue;
            };
            let state = &self.truth.state;
            let key = state.indexes.lease(hold.lease_id);
            let lease = key.and_then(|key| Some((key, state.lease(key)?.1)));
            let own: Vec<PortKey> = lease
                .map(|(key, lease)| lease.port_keys(&key.host).collect())
                .unwrap_or_default();
            for key in &hold.keys {
                if let Some(other) = held.insert(key, format!("H{index}")) {
                    return Err(format!("{other} and H{index} both hold {key}"));
                }
                if !own.contains(key) && !self.truth.revoked.contains(&hold.lease_id) {
                    return Err(format!("H{index} holds {key} and the log does not say so"));
                }
            }
        }
        Ok(())
    }

    /// What is published is what the log says, in its order and whole.
    fn check_published(&mut self) {
        while let Some(out) = self.published.get(self.compared) {
            let lost = |event: &&(u64, usize, Sequence)| {
                let gaps = self.truth.gaps.iter();
                (event.0, event.1) < *out
                    && gaps
                        .clone()
                        .any(|gap| (gap.from..=gap.to).contains(&event.0))
            };
            let behind = self.truth.events.iter().skip(self.passed);
            self.passed += behind.take_while(lost).count();
            let is = self.truth.events.get(self.passed);
            let is = is.map(|(revision, place, _)| (*revision, *place));
            self.passed += 1;
            if is != Some(*out) {
                let text = format!("event {out:?} was published in the place of {is:?}");
                return self.violations.push(text);
            }
            self.compared += 1;
        }
        // What a full log has lost is said by a gap before anything later is published.
        let next = self.truth.events.get(self.passed);
        if let Some((revision, _, sequence)) = next
            && *sequence < self.store.first()
            && self.store.bytes_max == u64::MAX
        {
            let text = format!("event {revision} at {sequence} was trimmed unpublished");
            self.violations.push(text);
        }
    }
}
