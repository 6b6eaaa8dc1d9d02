//! Which tools are offered by nodes that are live: found by name, by tag, and by contract. Counted while they change, so
//! that a list costs what it shows.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use onex_types::ids::{Name, NodeId, Token};
use semver::Version;

use crate::node::Tool;

/// The tools.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Offers {
    names: BTreeMap<Token, Offer>,
    tags: BTreeSet<(Name, Token)>,
}

/// A tool, in all its versions.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Offer {
    /// Who offers it, and in how many versions.
    providers: BTreeMap<NodeId, usize>,
    versions: BTreeMap<Version, Providers>,
    tags: BTreeMap<Name, usize>,
}

/// By contract, who offers it.
type Providers = BTreeMap<String, BTreeSet<NodeId>>;

impl Offers {
    /// A node offers that tool.
    pub(crate) fn insert(&mut self, id: &NodeId, tool: &Tool) {
        let offer = self.names.entry(tool.name.clone()).or_default();
        *offer.providers.entry(id.clone()).or_default() += 1;
        let contracts = offer.versions.entry(tool.version.clone()).or_default();
        let providers = contracts.entry(tool.contract_hash.clone()).or_default();
        providers.insert(id.clone());
        for tag in &tool.tags {
            *offer.tags.entry(tag.clone()).or_default() += 1;
            self.tags.insert((tag.clone(), tool.name.clone()));
        }
    }

    /// A node offers that tool no longer.
    pub(crate) fn remove(&mut self, id: &NodeId, tool: &Tool) {
        let Some(offer) = self.names.get_mut(&tool.name) else {
            return;
        };
        less(&mut offer.providers, id);
        if let Some(contracts) = offer.versions.get_mut(&tool.version) {
            if let Some(providers) = contracts.get_mut(&tool.contract_hash) {
                providers.remove(id);
                if providers.is_empty() {
                    contracts.remove(&tool.contract_hash);
                }
            }
            if contracts.is_empty() {
                offer.versions.remove(&tool.version);
            }
        }
        for tag in &tool.tags {
            if less(&mut offer.tags, tag) {
                self.tags.remove(&(tag.clone(), tool.name.clone()));
            }
        }
        if offer.providers.is_empty() {
            self.names.remove(&tool.name);
        }
    }

    pub(crate) fn get(&self, name: &Token) -> Option<&Offer> {
        self.names.get(name)
    }

    /// Names behind `after`, in their order.
    pub(crate) fn names<'a>(
        &'a self,
        after: Option<&Token>,
    ) -> impl Iterator<Item = (&'a Token, &'a Offer)> + use<'a> {
        let start = after.map_or(Bound::Unbounded, |name| Bound::Excluded(name.clone()));
        self.names.range((start, Bound::Unbounded))
    }

    /// Names of tools with that tag, behind `after`, in their order.
    pub(crate) fn tagged<'a>(
        &'a self,
        tag: &Name,
        after: Option<&Token>,
    ) -> impl Iterator<Item = &'a Token> + use<'a> {
        let tag = tag.clone();
        let start = match after {
            Some(after) => Bound::Excluded((tag.clone(), after.clone())),
            None => Bound::Included((tag.clone(), Token::lowest())),
        };
        let tools = self.tags.range((start, Bound::Unbounded));
        tools
            .take_while(move |(other, _)| *other == tag)
            .map(|(_, name)| name)
    }
}

/// Counts one less. Whether that was the last one.
fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) -> bool {
    let Some(count) = counts.get_mut(key) else {
        return false;
    };
    *count = count.saturating_sub(1);
    *count == 0 && counts.remove(key).is_some()
}

impl Offer {
    /// How many nodes offer it.
    pub fn providers_count(&self) -> usize {
        self.providers.len()
    }

    /// Who offers it in any version, behind `after`, in the order of their ids.
    pub fn providers<'a>(
        &'a self,
        after: Option<&NodeId>,
    ) -> impl Iterator<Item = &'a NodeId> + use<'a> {
        let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.clone()));
        self.providers
            .range((start, Bound::Unbounded))
            .map(|(id, _)| id)
    }

    /// Its versions, oldest first; each with who offers it, by contract.
    pub fn versions(
        &self,
    ) -> impl DoubleEndedIterator<Item = (&Version, &BTreeMap<String, BTreeSet<NodeId>>)> {
        self.versions.iter()
    }

    /// Who offers that version, by contract.
    pub fn version(&self, version: &Version) -> Option<&BTreeMap<String, BTreeSet<NodeId>>> {
        self.versions.get(version)
    }

    /// Whether some version of it is offered under several contracts.
    pub fn collides(&self) -> bool {
        self.versions.values().any(|contracts| contracts.len() > 1)
    }

    /// The tags that any of its providers gives it.
    pub fn tags(&self) -> impl Iterator<Item = &Name> {
        self.tags.keys()
    }

    /// Nodes other than `id` that offer that version under another contract than `contract_hash`, in the order of contract
    /// and id.
    pub fn colliding<'a>(
        &'a self,
        id: &'a NodeId,
        version: &Version,
        contract_hash: &'a str,
    ) -> impl Iterator<Item = &'a NodeId> + use<'a> {
        let contracts = self.versions.get(version).into_iter().flatten();
        let others = contracts.filter(move |(hash, _)| *hash != contract_hash);
        let providers = others.flat_map(|(_, providers)| providers);
        providers.filter(move |other| *other != id)
    }
}
