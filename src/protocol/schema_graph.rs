//! The schemas within a schema, and which of them look at the same value: what can be known of a schema
//! before it is used. Everything that would let a stranger's schema fetch, hang or grow is refused here.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{
    error::Error,
    keyword::{Holds, holds},
    pointer,
    uri::percent_decoded,
};

/// Schemas within one schema, at most, itself included.
pub const SCHEMA_NODES_MAX: usize = 2_000;
/// How deep schemas may stand within each other.
pub const SCHEMA_DEPTH_MAX: usize = 32;
/// How many schemas may lead to each other that look at the same value: by `$ref`, `allOf` and the like.
pub const SCHEMA_CHAIN_MAX: usize = 32;
/// Regular expressions in one schema, at most.
pub const SCHEMA_PATTERNS_MAX: usize = 64;
/// Longest regular expression, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1_024;

/// What a schema may name as its dialect.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Keywords of other dialects that a validator may heed all the same, and what to say of them.
const ELSEWHERE: &[(&str, &str)] = &[
    ("$recursiveRef", "is not part of 2020-12: use $dynamicRef"),
    ("$vocabulary", "is for meta-schemas only"),
    (
        "additionalItems",
        "is not part of 2020-12: use prefixItems and items",
    ),
    (
        "dependencies",
        "is not part of 2020-12: use dependentSchemas or dependentRequired",
    ),
];

/// At which values a schema within a schema looks.
#[derive(Debug, PartialEq)]
pub(super) enum Place {
    /// The same.
    Here,
    /// A member.
    Member(String),
    /// All members.
    Members,
    /// Members that `properties` beside it does not name.
    OtherMembers,
    /// The names of members.
    Names,
    /// An item.
    Item(usize),
    /// Items from this one on.
    ItemsFrom(usize),
    /// None: it only stands there, to be referred to.
    Nowhere,
}

/// A schema that another one applies.
#[derive(Debug)]
pub(super) struct Edge {
    /// To what.
    pub(super) place: Place,
    /// Which.
    pub(super) to: usize,
}

/// One schema.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Where it stands.
    pub(super) pointer: String,
    /// What it applies.
    pub(super) edges: Vec<Edge>,
    /// What it takes to look at one value, beyond its edges: its lists of names and values.
    pub(super) weight: u64,
    /// How many regular expressions it holds.
    pub(super) patterns: u64,
    /// Whether it asks its applied schemas twice, to know what they have seen.
    pub(super) twice: bool,
    /// The members that its `properties` names.
    properties: HashSet<String>,
}

impl Node {
    /// Whether its `properties` names that member.
    pub(super) fn names(&self, member: &str) -> bool {
        self.properties.contains(member)
    }
}

/// All schemas of a schema; the first is itself.
#[derive(Debug, Default)]
pub(super) struct Graph {
    /// In the order in which they were found.
    pub(super) nodes: Vec<Node>,
    /// Pointers to the regular expressions.
    pub(super) patterns: Vec<String>,
    anchors: HashMap<String, usize>,
    /// From which node, by which keyword, where to.
    references: Vec<(usize, &'static str, String)>,
}

impl Graph {
    /// Of a schema.
    pub(super) fn of(schema: &Value) -> Result<Self, Error> {
        let mut graph = Self::default();
        graph.add(schema, "", 1)?;
        graph.resolve()?;
        let mut chains = vec![Chain::Unknown; graph.nodes.len()];
        for start in 0..graph.nodes.len() {
            graph.chain(start, 1, &mut chains)?;
        }
        Ok(graph)
    }

    fn add(&mut self, schema: &Value, pointer: &str, depth: usize) -> Result<usize, Error> {
        let at = self.nodes.len();
        let refused = |message: String| Err(Error::invalid(pointer, message));
        if at == SCHEMA_NODES_MAX {
            return refused(format!("must hold at most {SCHEMA_NODES_MAX} schemas"));
        }
        if depth > SCHEMA_DEPTH_MAX {
            return refused(format!(
                "schemas must not stand in each other more than {SCHEMA_DEPTH_MAX} deep"
            ));
        }
        let members = match schema {
            Value::Object(members) => Some(members),
            Value::Bool(_) => None,
            _ => return refused("must be a schema: an object, true or false".to_owned()),
        };
        self.nodes.push(Node {
            pointer: pointer.to_owned(),
            ..Node::default()
        });
        let Some(members) = members else {
            return Ok(at);
        };
        self.identify(at, members, pointer)?;
        for (keyword, value) in members {
            self.keyword(at, keyword, value, members, depth)?;
        }
        Ok(at)
    }

    /// Where other documents would come in.
    fn identify(
        &mut self,
        at: usize,
        members: &Map<String, Value>,
        pointer: &str,
    ) -> Result<(), Error> {
        let refused = |keyword, message: &str| {
            Err(Error::invalid(pointer::member(pointer, keyword), message))
        };
        if let Some(dialect) = members.get("$schema") {
            let dialect = dialect.as_str().unwrap_or_default();
            if dialect.strip_suffix('#').unwrap_or(dialect) != DIALECT {
                return refused("$schema", &format!("must be {DIALECT}, or absent"));
            }
        }
        if members.contains_key("$id") && at != 0 {
            return refused("$id", "only the whole schema may have an $id");
        }
        for (keyword, message) in ELSEWHERE {
            if members.contains_key(*keyword) {
                return refused(keyword, message);
            }
        }
        for keyword in ["$anchor", "$dynamicAnchor"] {
            if let Some(name) = members.get(keyword).and_then(Value::as_str)
                && self
                    .anchors
                    .insert(name.to_owned(), at)
                    .is_some_and(|other| other != at)
            {
                return refused(keyword, "another schema here has that name");
            }
        }
        for keyword in ["$ref", "$dynamicRef"] {
            let Some(target) = members.get(keyword) else {
                continue;
            };
            match target.as_str().and_then(|target| target.strip_prefix('#')) {
                Some(target) => self.references.push((at, keyword, target.to_owned())),
                None => return refused(keyword, "must refer to this schema itself: '#…'"),
            }
        }
        Ok(())
    }

    fn keyword(
        &mut self,
        at: usize,
        keyword: &str,
        value: &Value,
        members: &Map<String, Value>,
        depth: usize,
    ) -> Result<(), Error> {
        let below = self.pointer_of(at, keyword);
        let length = match value {
            Value::Array(items) => items.len(),
            Value::Object(members) => members.len(),
            _ => 0,
        };
        self.change(at, |node| {
            node.twice |= keyword.starts_with("unevaluated");
            node.weight += size(length) / 8;
            if let ("properties", Value::Object(members)) = (keyword, value) {
                node.properties = members.keys().cloned().collect();
            }
        });
        match (holds(keyword), value) {
            (Some(Holds::Schema), _) => {
                self.apply(at, place(keyword, members), value, &below, depth)?;
            }
            (Some(Holds::List), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let place = match keyword {
                        "prefixItems" => Place::Item(index),
                        _ => Place::Here,
                    };
                    self.apply(at, place, item, &format!("{below}/{index}"), depth)?;
                }
            }
            (Some(Holds::Named), Value::Object(named)) => {
                for (name, schema) in named {
                    let place = match keyword {
                        "properties" => Place::Member(name.clone()),
                        "patternProperties" => Place::Members,
                        "dependentSchemas" => Place::Here,
                        _ => Place::Nowhere,
                    };
                    let pointer = pointer::member(&below, name);
                    if keyword == "patternProperties" {
                        self.pattern(at, name, pointer.clone())?;
                    }
                    self.apply(at, place, schema, &pointer, depth)?;
                }
            }
            (None, Value::String(pattern)) if keyword == "pattern" => {
                self.pattern(at, pattern, below)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn apply(
        &mut self,
        at: usize,
        place: Place,
        schema: &Value,
        pointer: &str,
        depth: usize,
    ) -> Result<(), Error> {
        let to = self.add(schema, pointer, depth + 1)?;
        self.change(at, |node| node.edges.push(Edge { place, to }));
        Ok(())
    }

    fn pattern(&mut self, at: usize, pattern: &str, pointer: String) -> Result<(), Error> {
        if self.patterns.len() == SCHEMA_PATTERNS_MAX {
            let message = format!("must hold at most {SCHEMA_PATTERNS_MAX} regular expressions");
            return Err(Error::invalid(pointer, message));
        }
        if pattern.len() > PATTERN_BYTES_MAX {
            let message =
                format!("must be a regular expression of at most {PATTERN_BYTES_MAX} bytes");
            return Err(Error::invalid(pointer, message));
        }
        self.change(at, |node| node.patterns += 1);
        self.patterns.push(pointer);
        Ok(())
    }

    fn resolve(&mut self) -> Result<(), Error> {
        let by_pointer: HashMap<&str, usize> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(at, node)| (node.pointer.as_str(), at))
            .collect();
        let mut found = Vec::new();
        for (at, keyword, target) in &self.references {
            let target = percent_decoded(target).unwrap_or_default();
            let to = match target.as_str() {
                "" => Some(0),
                pointer if pointer.starts_with('/') => by_pointer.get(pointer).copied(),
                anchor => self.anchors.get(anchor).copied(),
            };
            let Some(to) = to else {
                let pointer = self.pointer_of(*at, keyword);
                return Err(Error::invalid(
                    pointer,
                    "refers to a schema that is not there",
                ));
            };
            found.push((*at, to));
        }
        for (at, to) in found {
            let place = Place::Here;
            self.change(at, |node| node.edges.push(Edge { place, to }));
        }
        Ok(())
    }

    /// How many schemas look at the same value one below the other, from `at` on.
    fn chain(&self, at: usize, length: usize, chains: &mut [Chain]) -> Result<usize, Error> {
        let refused = |message: String| {
            let pointer = self.nodes.get(at).map(|node| node.pointer.clone());
            Err(Error::invalid(pointer.unwrap_or_default(), message))
        };
        match chains.get(at) {
            Some(Chain::Known(below)) if length + below <= SCHEMA_CHAIN_MAX + 1 => {
                return Ok(*below);
            }
            Some(Chain::Begun) => {
                return refused("leads back to itself without looking any deeper".to_owned());
            }
            _ if length > SCHEMA_CHAIN_MAX => {
                return refused(format!(
                    "more than {SCHEMA_CHAIN_MAX} schemas look at the same value one below the other"
                ));
            }
            _ => {}
        }
        let set = |chains: &mut [Chain], chain| {
            if let Some(entry) = chains.get_mut(at) {
                *entry = chain;
            }
        };
        set(chains, Chain::Begun);
        let mut longest = 0;
        for edge in self.nodes.get(at).into_iter().flat_map(|node| &node.edges) {
            if edge.place == Place::Here {
                longest = longest.max(self.chain(edge.to, length + 1, chains)?);
            }
        }
        set(chains, Chain::Known(longest + 1));
        Ok(longest + 1)
    }

    fn pointer_of(&self, at: usize, keyword: &str) -> String {
        let parent = self.nodes.get(at).map_or("", |node| node.pointer.as_str());
        pointer::member(parent, keyword)
    }

    fn change(&mut self, at: usize, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(at) {
            change(node);
        }
    }
}

/// What is known of the schemas that a schema leads to.
#[derive(Debug, Clone, Copy)]
enum Chain {
    Unknown,
    Begun,
    Known(usize),
}

/// At which values the one schema under that keyword looks, among `members` of the schema that has it.
fn place(keyword: &str, members: &Map<String, Value>) -> Place {
    match keyword {
        "items" => {
            let prefix = members.get("prefixItems").and_then(Value::as_array);
            Place::ItemsFrom(prefix.map_or(0, Vec::len))
        }
        "contains" | "unevaluatedItems" => Place::ItemsFrom(0),
        "additionalProperties" => Place::OtherMembers,
        "unevaluatedProperties" => Place::Members,
        "propertyNames" => Place::Names,
        "contentSchema" => Place::Nowhere,
        _ => Place::Here,
    }
}

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
