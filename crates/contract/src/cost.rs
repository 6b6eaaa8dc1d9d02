//! What checking a value by a schema takes, counted before it is done: a schema may be written so that a short value
//! takes years, and a check that runs cannot be stopped.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::{
    measure::{length, parts, size},
    schema_graph::{Edge, Graph, InstanceLocation, Node},
};

/// How deep a schema may look into a value, by schemas one below the other. A thread's stack holds them.
pub const VALIDATION_DEPTH_MAX: usize = 256;

/// Values in a schema that are compared with one, and 64 bytes of text that are compared or counted, in a step.
const COMPARED_PER_STEP: u64 = 32;
/// Values that are written down to be compared with others, in a step.
const WRITTEN_PER_STEP: u64 = 4;
/// Values that are copied in a step.
const COPIED_PER_STEP: u64 = 4;
/// Names of members that are looked up, or matched by a regular expression, in a step.
const NAMES_PER_STEP: u64 = 4;

/// What a step of a check looks at.
#[derive(Clone, Copy)]
enum Looked<'v> {
    Value(&'v Value),
    /// The name of a member.
    Name(&'v str),
}

impl<'v> Looked<'v> {
    /// What it is known by within the value that is checked.
    fn address(self) -> usize {
        match self {
            Self::Value(value) => std::ptr::from_ref(value).addr(),
            Self::Name(name) => name.as_ptr().addr(),
        }
    }

    fn text(self) -> Option<&'v str> {
        match self {
            Self::Value(value) => value.as_str(),
            Self::Name(name) => Some(name),
        }
    }

    fn members(self) -> Option<&'v Map<String, Value>> {
        match self {
            Self::Value(value) => value.as_object(),
            Self::Name(_) => None,
        }
    }

    fn items(self) -> &'v [Value] {
        match self {
            Self::Value(Value::Array(items)) => items,
            _ => &[],
        }
    }

    /// Values in it, itself and its text included, as far as there are at most `cap`.
    fn size(self, cap: u64) -> u64 {
        match self {
            Self::Value(value) => size(value, cap),
            Self::Name(name) => 1 + parts(name.len()),
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Of {
    /// Finding out whether the value is as the schema says.
    Deciding,
    /// Finding out what is wrong with it: every alternative that does not hold keeps copies of the value.
    Telling,
}

/// Steps that checking a value takes; none when they are more than `limit`, or too deep. A step takes about as long as
/// a schema that looks at one number.
pub(super) fn steps(graph: &Graph, value: &Value, of: Of, limit: u64) -> Option<u64> {
    let mut count = Count {
        graph,
        limit,
        known: HashMap::new(),
    };
    count.at(0, Looked::Value(value), 1, of)
}

struct Count<'a> {
    graph: &'a Graph,
    limit: u64,
    /// By schema, by address of a value or name within the value that is checked, and by what is counted.
    known: HashMap<(usize, usize, Of), u64>,
}

impl Count<'_> {
    /// Steps for a schema at a value; none when they are too many or too deep.
    fn at(&mut self, at: usize, looked: Looked<'_>, depth: usize, of: Of) -> Option<u64> {
        let key = (at, looked.address(), of);
        if let Some(steps) = self.known.get(&key) {
            return Some(*steps);
        }
        let room = length(self.known.len()) < self.limit;
        let node = self.graph.nodes.get(at)?;
        if depth > VALIDATION_DEPTH_MAX || !room {
            return None;
        }
        let mut steps = self.own(node, looked, of)?;
        for edge in &node.edges {
            let deciding = match of {
                Of::Deciding if node.twice && edge.location == InstanceLocation::InPlace => 2,
                // What holds is found out first, at every level.
                Of::Telling if edge.location == InstanceLocation::InPlace => 2,
                Of::Deciding => 1,
                Of::Telling => 0,
            };
            for (times, of) in [
                (deciding, Of::Deciding),
                (u64::from(of == Of::Telling), Of::Telling),
            ] {
                if times > 0 {
                    let more = self.along(node, edge, looked, depth + 1, of)?;
                    steps = steps.saturating_add(more.saturating_mul(times));
                }
            }
            self.within(steps)?;
        }
        self.known.insert(key, steps);
        Some(steps)
    }

    /// Steps that are the schema's own, without the schemas that it applies.
    fn own(&self, node: &Node, looked: Looked<'_>, of: Of) -> Option<u64> {
        let mut steps = 1 + node.weight / COMPARED_PER_STEP;
        if let Some(text) = looked.text() {
            steps += parts(text.len()) / COMPARED_PER_STEP;
            for pattern in &node.patterns {
                steps += self.matching(*pattern, text, steps)?;
            }
        }
        if let Some(members) = looked.members()
            && node.looks_at_names
        {
            // Those that are named by nothing are looked for anew.
            let names = 2 * length(members.len()) / NAMES_PER_STEP;
            steps += names;
            for pattern in &node.name_patterns {
                steps += names;
                for name in members.keys() {
                    steps += 2 * self.matching(*pattern, name, steps)?;
                }
            }
        }
        let cap = self
            .limit
            .saturating_mul(COPIED_PER_STEP.max(WRITTEN_PER_STEP));
        if node.unique && !looked.items().is_empty() {
            steps += looked.size(cap) / WRITTEN_PER_STEP;
        }
        if of == Of::Telling {
            steps = steps.saturating_add(node.faults);
        }
        if of == Of::Telling && node.in_union {
            let copies = node.faults.saturating_mul(looked.size(cap));
            steps = steps.saturating_add(copies / COPIED_PER_STEP);
        }
        self.within(steps)?;
        Some(steps)
    }

    fn along(
        &mut self,
        node: &Node,
        edge: &Edge,
        looked: Looked<'_>,
        depth: usize,
        of: Of,
    ) -> Option<u64> {
        let mut steps: u64 = 0;
        let mut add = |count: &mut Self, looked: Looked<'_>| {
            steps = steps.saturating_add(count.at(edge.to, looked, depth, of)?);
            count.within(steps)
        };
        match (&edge.location, looked.members()) {
            (InstanceLocation::InPlace, _) => add(self, looked)?,
            (InstanceLocation::Member(name), Some(members)) => {
                if let Some(member) = members.get(name) {
                    add(self, Looked::Value(member))?;
                }
            }
            (InstanceLocation::Members, Some(members)) => {
                for member in members.values() {
                    add(self, Looked::Value(member))?;
                }
            }
            (InstanceLocation::OtherMembers, Some(members)) => {
                for (name, member) in members {
                    if !node.names(name) {
                        add(self, Looked::Value(member))?;
                    }
                }
            }
            (InstanceLocation::Names, Some(members)) => {
                for name in members.keys() {
                    add(self, Looked::Name(name))?;
                }
            }
            (InstanceLocation::Item(index), None) => {
                if let Some(item) = looked.items().get(*index) {
                    add(self, Looked::Value(item))?;
                }
            }
            (InstanceLocation::ItemsFrom(first), None) => {
                for item in looked.items().iter().skip(*first) {
                    add(self, Looked::Value(item))?;
                }
            }
            _ => {}
        }
        Some(steps)
    }

    /// Steps for matching a text, beside those that were counted.
    fn matching(&self, pattern: usize, text: &str, counted: u64) -> Option<u64> {
        let left = self.limit.checked_sub(counted)?;
        self.graph.patterns.get(pattern)?.steps(text, left)
    }

    fn within(&self, steps: u64) -> Option<()> {
        (steps <= self.limit).then_some(())
    }
}
