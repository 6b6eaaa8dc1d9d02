//! Numbers that a [`Value`] would round.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::pointer;

/// The numbers of a document that a [`Value`] would round, as they are written, and where they stand.
#[derive(Debug, Clone, PartialEq)]
pub enum Exact {
    /// It is one.
    Number(Box<str>),
    /// Some stand in these items.
    Items(BTreeMap<usize, Exact>),
    /// Some stand in these members.
    Members(BTreeMap<String, Exact>),
}

impl Exact {
    /// Of an item of a list.
    pub fn item(&self, index: usize) -> Option<&Self> {
        match self {
            Self::Items(items) => items.get(&index),
            _ => None,
        }
    }

    /// Of a member of an object.
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Members(members) => members.get(name),
            _ => None,
        }
    }

    /// The number as it is written.
    pub fn number(&self) -> Option<&str> {
        match self {
            Self::Number(text) => Some(text),
            _ => None,
        }
    }

    /// The first of its numbers that is such a one, and where it stands, as a JSON Pointer.
    pub(super) fn find(&self, is_such: &impl Fn(&str) -> bool) -> Option<(String, &str)> {
        match self {
            Self::Number(text) => is_such(text).then_some((String::new(), text)),
            Self::Items(items) => items.iter().find_map(|(index, exact)| {
                let (below, number) = exact.find(is_such)?;
                Some((format!("/{index}{below}"), number))
            }),
            Self::Members(members) => members.iter().find_map(|(name, exact)| {
                let (below, number) = exact.find(is_such)?;
                Some((pointer::member("", name) + &below, number))
            }),
        }
    }

    pub(super) fn mark(&self, value: &mut Value) {
        match (self, value) {
            (Self::Number(text), value) => *value = Value::String(format!("\0number {text}")),
            (Self::Items(exact), Value::Array(items)) => {
                for (index, exact) in exact {
                    if let Some(item) = items.get_mut(*index) {
                        exact.mark(item);
                    }
                }
            }
            (Self::Members(exact), Value::Object(members)) => {
                for (name, exact) in exact {
                    if let Some(member) = members.get_mut(name) {
                        exact.mark(member);
                    }
                }
            }
            _ => {}
        }
    }
}
