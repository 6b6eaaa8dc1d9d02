//! Which nodes may offer which tools: found by name, and by contract. Whether one does is for the caller to
//! look up: what is announced here may belong to a life that has ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use semver::Version;

use super::{
    ids::{NodeId, Token},
    node::Tool,
};

/// The maps.
#[derive(Debug, Default)]
pub(super) struct Offers {
    names: BTreeSet<(Token, NodeId)>,
    /// By name and version: under which contract by which node.
    contracts: BTreeMap<(Token, Version), BTreeSet<(String, NodeId)>>,
}

impl Offers {
    /// A node announces these.
    pub(super) fn add<'a>(&mut self, id: &NodeId, tools: impl Iterator<Item = &'a Tool>) {
        for tool in tools {
            self.names.insert((tool.name.clone(), id.clone()));
            let contracts = self.contracts.entry(versioned(tool)).or_default();
            contracts.insert((tool.contract_hash.clone(), id.clone()));
        }
    }

    /// A node announces these no longer.
    pub(super) fn remove<'a>(&mut self, id: &NodeId, tools: impl Iterator<Item = &'a Tool>) {
        for tool in tools {
            self.names.remove(&(tool.name.clone(), id.clone()));
            let key = versioned(tool);
            if let Some(contracts) = self.contracts.get_mut(&key) {
                contracts.remove(&(tool.contract_hash.clone(), id.clone()));
                if contracts.is_empty() {
                    self.contracts.remove(&key);
                }
            }
        }
    }

    /// Nodes that announce a tool of that name, in the order of their ids.
    pub(super) fn of_name<'a>(
        &'a self,
        name: &Token,
    ) -> impl Iterator<Item = &'a NodeId> + use<'a> {
        let name = name.clone();
        self.names
            .range((name.clone(), NodeId::lowest())..)
            .take_while(move |(other, _)| *other == name)
            .map(|(_, id)| id)
    }

    /// Nodes that announce that tool in that version under other contracts, each with the contract. All
    /// that announce the same one are passed over at once.
    pub(super) fn differing<'a>(
        &'a self,
        tool: &Tool,
    ) -> impl Iterator<Item = (&'a str, &'a NodeId)> + use<'a> {
        let own = |id| (tool.contract_hash.clone(), id);
        let below = (Bound::Unbounded, Bound::Excluded(own(NodeId::lowest())));
        let above = (Bound::Excluded(own(NodeId::highest())), Bound::Unbounded);
        // In the order of their hashes: the first and the last tell whether there are others.
        let own_only = |(hash, _): &(String, NodeId)| *hash == tool.contract_hash;
        let contracts = self.contracts.get(&versioned(tool));
        let contracts = contracts.filter(|contracts| {
            !contracts.first().is_none_or(own_only) || !contracts.last().is_none_or(own_only)
        });
        let differing = contracts.into_iter().flat_map(move |contracts| {
            let below = contracts.range(below.clone());
            below.chain(contracts.range(above.clone()))
        });
        differing.map(|(hash, id)| (hash.as_str(), id))
    }

    /// Names behind `after` that any node announces, in their order.
    pub(super) fn names<'a>(
        &'a self,
        after: Option<&Token>,
    ) -> impl Iterator<Item = &'a Token> + use<'a> {
        let start = after.map_or(Bound::Unbounded, |name| {
            Bound::Excluded((name.clone(), NodeId::highest()))
        });
        let mut last = None;
        self.names
            .range((start, Bound::Unbounded))
            .map(|(name, _)| name)
            .filter(move |name| {
                let new = last != Some(*name);
                last = Some(*name);
                new
            })
    }
}

fn versioned(tool: &Tool) -> (Token, Version) {
    (tool.name.clone(), tool.version.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, version: &str, hash: &str) -> Tool {
        Tool {
            name: name.parse().unwrap(),
            version: version.parse().unwrap(),
            contract_hash: hash.to_owned(),
            bytes: 0,
            patterns: 0,
            subject: String::new(),
            tags: Vec::new(),
            more: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn what_differs_is_found_on_both_sides_of_a_contract() {
        let mut offers = Offers::default();
        let id = |text: &str| -> NodeId { text.parse().unwrap() };
        for (node, hash) in [("n", "b"), ("a", "b"), ("z", "b"), ("m", "a"), ("b", "c")] {
            offers.add(&id(node), [tool("add", "1.0.0", hash)].iter());
        }
        offers.add(
            &id("n"),
            [tool("add", "2.0.0", "d"), tool("sum", "1.0.0", "a")].iter(),
        );
        let differing = |version: &str, hash: &str| -> Vec<String> {
            let found = offers.differing(&tool("add", version, hash));
            found.map(|(hash, id)| format!("{hash} {id}")).collect()
        };
        assert_eq!(differing("1.0.0", "b"), ["a m", "c b"]);
        assert_eq!(differing("1.0.0", "a"), ["b a", "b n", "b z", "c b"]);
        assert_eq!(differing("2.0.0", "d"), Vec::<String>::new());
        assert_eq!(differing("3.0.0", "d"), Vec::<String>::new());

        let names = |after: Option<&str>| -> Vec<String> {
            let after = after.map(|name| name.parse().unwrap());
            offers
                .names(after.as_ref())
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(names(None), ["add", "sum"]);
        assert_eq!(names(Some("add")), ["sum"]);
        let add: Token = "add".parse().unwrap();
        assert_eq!(offers.of_name(&add).count(), 5);
        for (node, hash) in [("n", "b"), ("a", "b"), ("z", "b"), ("m", "a"), ("b", "c")] {
            offers.remove(&id(node), [tool("add", "1.0.0", hash)].iter());
        }
        offers.remove(
            &id("n"),
            [tool("add", "2.0.0", "d"), tool("sum", "1.0.0", "a")].iter(),
        );
        assert!(offers.names.is_empty() && offers.contracts.is_empty());
    }
}
