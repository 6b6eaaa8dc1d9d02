//! All who have ports, whoever they are.

use crate::domain::{ids::LeaseId, key::PortKey};

use super::{
    check::Rule,
    world::{Who, World},
};

impl World {
    /// Every port that anyone holds now, by its own reckoning.
    pub(super) fn held(&self) -> impl Iterator<Item = (Who, LeaseId, &PortKey)> {
        let (time, rules) = (self.time, self.setup.rules);
        let holders = self.holders.iter().enumerate().filter_map(move |(n, one)| {
            let belief = one.holds(time, rules)?;
            Some((Who::Holder(n), belief.lease_id, &belief.key))
        });
        let owners = self.owners.iter().enumerate().flat_map(move |(n, one)| {
            let ports = one.lives(time, rules).map(|alive| &alive.ports);
            let ports = ports.into_iter().flatten();
            ports.map(move |(lease_id, key)| (Who::Owner(n), *lease_id, key))
        });
        holders.chain(owners)
    }

    /// Whether some process has that port bound.
    pub(super) fn is_bound(&self, key: &PortKey) -> bool {
        self.strangers.contains(key)
            || self.holders.iter().any(|one| one.binds(key))
            || self.owners.iter().any(|one| one.binds(key))
    }

    /// Somebody has come to believe something.
    pub(super) fn alone(&mut self, who: Who) {
        let mine: Vec<&PortKey> = self
            .held()
            .filter_map(|(other, _, key)| (other == who).then_some(key))
            .collect();
        let both = self
            .held()
            .find(|(other, _, key)| *other != who && mine.contains(key))
            .map(|(other, _, key)| format!("{key} is held by {who} and by {other}"));
        if !mine.is_empty() {
            self.count("beliefs");
        }
        if let Some(text) = both {
            self.fail(Rule::OneHolder, text);
        }
    }
}
