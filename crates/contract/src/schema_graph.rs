//! The schemas within a schema, and which of them look at the same value: what can be known of a schema
//! before it is used. Everything that would let a stranger's schema fetch, hang or grow is refused here.

use std::collections::{HashMap, HashSet};

use onex_protocol::{error::Error, percent::percent_decoded, pointer};
use serde_json::{Map, Value};

use crate::{
    keyword::{Holds, holds},
    measure,
    pattern::Pattern,
    unique::UNIQUE_ITEMS,
};

/// Schemas within one schema, at most, itself included.
pub const SCHEMA_NODES_MAX: usize = 2_000;
/// How deep schemas may stand within each other.
pub const SCHEMA_DEPTH_MAX: usize = 32;
/// How many schemas may lead to each other that look at the same value: by `$ref`, `allOf` and the like.
pub const SCHEMA_CHAIN_MAX: usize = 32;
/// Regular expressions in one schema, at most.
pub const SCHEMA_PATTERNS_MAX: usize = 64;
/// How much looking up a name takes more than comparing a value.
const LOOKED_UP_WEIGHT: u64 = 4;

/// The keyword that holds a regular expression for a text.
pub(super) const PATTERN: &str = "pattern";
/// The keyword whose names are regular expressions for names.
pub(super) const PATTERN_PROPERTIES: &str = "patternProperties";

/// The instance locations to which a subschema applies, seen from those of its schema.
#[derive(Debug, PartialEq)]
pub(super) enum InstanceLocation {
    /// The same: an in-place applicator.
    InPlace,
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
    /// To which parts of a value.
    pub(super) location: InstanceLocation,
    /// The index of the schema that is applied.
    pub(super) to: usize,
}

/// One schema.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is about another keyword"
)]
pub(super) struct Node {
    /// Where it stands.
    pub(super) pointer: String,
    /// What it applies.
    pub(super) edges: Vec<Edge>,
    /// What it compares a value with: names, values, and what is in them.
    pub(super) weight: u64,
    /// The regular expressions for a text.
    pub(super) patterns: Vec<usize>,
    /// The regular expressions for the names of members.
    pub(super) name_patterns: Vec<usize>,
    /// Whether it goes through the names of members.
    pub(super) looks_at_names: bool,
    /// Whether it compares items with each other.
    pub(super) unique: bool,
    /// Faults that it may find in one value, beyond those that the schemas find that it applies.
    pub(super) faults: u64,
    /// Whether it is an alternative, or in one.
    pub(super) in_union: bool,
    /// Whether it asks its applied schemas twice, to know what they have seen.
    pub(super) twice: bool,
    /// The members that its `properties` names.
    properties: HashSet<String>,
}

impl Node {
    /// Notes what a keyword of its takes.
    fn note(&mut self, keyword: &str, value: &Value) {
        self.twice |= keyword.starts_with("unevaluated");
        self.looks_at_names |= matches!(
            keyword,
            "additionalProperties" | "unevaluatedProperties" | "propertyNames" | PATTERN_PROPERTIES
        );
        self.unique |= keyword == UNIQUE_ITEMS && *value == Value::Bool(true);
        self.weight += match keyword {
            "const" | "enum" => measure::size(value, u64::MAX),
            // Each is looked up.
            "dependentRequired" => LOOKED_UP_WEIGHT * measure::size(value, u64::MAX),
            _ => children(value),
        };
        self.faults += match keyword {
            "required" | "dependentRequired" => measure::size(value, u64::MAX),
            _ => 1,
        };
        if let ("properties", Value::Object(members)) = (keyword, value) {
            self.properties = members.keys().cloned().collect();
        }
    }

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
    /// The regular expressions.
    pub(super) patterns: Vec<Pattern>,
    /// Schemas that are alternatives.
    alternatives: Vec<usize>,
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
        graph.mark_unions();
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
        if members.contains_key("$id") && at != 0 {
            return refused("$id", "only the whole schema may have an $id");
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
        self.change(at, |node| node.note(keyword, value));
        match (holds(keyword), value) {
            (Some(Holds::Schema), _) => {
                self.apply(at, location(keyword, members), value, &below, depth)?;
            }
            (Some(Holds::List), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let location = match keyword {
                        "prefixItems" => InstanceLocation::Item(index),
                        _ => InstanceLocation::InPlace,
                    };
                    let to = self.apply(at, location, item, &format!("{below}/{index}"), depth)?;
                    if matches!(keyword, "anyOf" | "oneOf") {
                        self.alternatives.push(to);
                    }
                }
            }
            (Some(Holds::Named), Value::Object(named)) => {
                for (name, schema) in named {
                    let location = match keyword {
                        "properties" => InstanceLocation::Member(name.clone()),
                        PATTERN_PROPERTIES => InstanceLocation::Members,
                        "dependentSchemas" => InstanceLocation::InPlace,
                        _ => InstanceLocation::Nowhere,
                    };
                    let pointer = pointer::member(&below, name);
                    if keyword == PATTERN_PROPERTIES {
                        let pattern = self.pattern(name, &pointer)?;
                        self.change(at, |node| node.name_patterns.push(pattern));
                    }
                    self.apply(at, location, schema, &pointer, depth)?;
                }
            }
            (None, Value::String(pattern)) if keyword == PATTERN => {
                let pattern = self.pattern(pattern, &below)?;
                self.change(at, |node| node.patterns.push(pattern));
            }
            _ => {}
        }
        Ok(())
    }

    fn apply(
        &mut self,
        at: usize,
        location: InstanceLocation,
        schema: &Value,
        pointer: &str,
        depth: usize,
    ) -> Result<usize, Error> {
        let to = self.add(schema, pointer, depth + 1)?;
        self.change(at, |node| node.edges.push(Edge { location, to }));
        Ok(to)
    }

    fn pattern(&mut self, pattern: &str, pointer: &str) -> Result<usize, Error> {
        let at = self.patterns.len();
        if at == SCHEMA_PATTERNS_MAX {
            let message = format!("must hold at most {SCHEMA_PATTERNS_MAX} regular expressions");
            return Err(Error::invalid(pointer, message));
        }
        self.patterns.push(Pattern::read(pattern, pointer)?);
        Ok(at)
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
                // Their names are written anew for the engine.
                pointer if self.is_below_pattern(pointer) => {
                    let message = "must not refer to a schema below patternProperties: put it under $defs, and \
                        refer to it in both places";
                    return Err(Error::invalid(self.pointer_of(*at, keyword), message));
                }
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
            let location = InstanceLocation::InPlace;
            self.change(at, |node| node.edges.push(Edge { location, to }));
        }
        Ok(())
    }

    /// Whether a pointer to a schema leads through the name of a `patternProperties`.
    fn is_below_pattern(&self, pointer: &str) -> bool {
        let names = self.nodes.iter().flat_map(|node| &node.name_patterns);
        let mut names = names.filter_map(|name| self.patterns.get(*name));
        names.any(|name| {
            let below = pointer.strip_prefix(name.pointer.as_str());
            below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
        })
    }

    /// Finds what is within alternatives.
    fn mark_unions(&mut self) {
        let mut pending = std::mem::take(&mut self.alternatives);
        while let Some(node) = pending.pop().and_then(|at| self.nodes.get_mut(at)) {
            if !std::mem::replace(&mut node.in_union, true) {
                pending.extend(node.edges.iter().map(|edge| edge.to));
            }
        }
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
            if edge.location == InstanceLocation::InPlace {
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
fn location(keyword: &str, members: &Map<String, Value>) -> InstanceLocation {
    match keyword {
        "items" => {
            let prefix = members.get("prefixItems").and_then(Value::as_array);
            InstanceLocation::ItemsFrom(prefix.map_or(0, Vec::len))
        }
        "contains" | "unevaluatedItems" => InstanceLocation::ItemsFrom(0),
        "additionalProperties" => InstanceLocation::OtherMembers,
        "unevaluatedProperties" => InstanceLocation::Members,
        "propertyNames" => InstanceLocation::Names,
        "contentSchema" => InstanceLocation::Nowhere,
        _ => InstanceLocation::InPlace,
    }
}

/// Values right in a value.
fn children(value: &Value) -> u64 {
    measure::length(match value {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    })
}
