//! Fields of a request that no type names: where they stand, and what was probably meant.

use std::collections::BTreeSet;

use serde_ignored::Path;
use serde_json::Value;

use crate::{error::Error, pointer};

/// Characters of a field's name that a message repeats, at most.
const FIELD_CHARS_SHOWN_MAX: usize = 128;
/// How many `$ref` are followed one after another.
const REFERENCES_MAX: usize = 16;

/// A field that is not known: the names and indices that lead to it, itself last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unknown(Vec<String>);

impl Unknown {
    /// The field at `path`.
    pub(super) fn at(path: &Path<'_>) -> Self {
        let mut parts = Vec::new();
        let mut next = Some(path);
        while let Some(path) = next {
            next = match path {
                Path::Root => None,
                Path::Seq { parent, index } => {
                    parts.push(index.to_string());
                    Some(parent)
                }
                Path::Map { parent, key } => {
                    parts.push(key.clone());
                    Some(parent)
                }
                Path::Some { parent }
                | Path::NewtypeStruct { parent }
                | Path::NewtypeVariant { parent } => Some(parent),
            };
        }
        parts.reverse();
        Self(parts)
    }

    /// The JSON Pointer to it.
    pub(super) fn pointer(&self) -> String {
        self.0
            .iter()
            .fold(String::new(), |parent, part| pointer::member(&parent, part))
    }

    /// Its refusal, with the nearest name that the request's schema knows there.
    pub(super) fn refusal(&self, schema: &Value) -> Error {
        let (field, parents) = match self.0.split_last() {
            Some((field, parents)) => (field.as_str(), parents),
            None => ("", [].as_slice()),
        };
        let shown: String = field.chars().take(FIELD_CHARS_SHOWN_MAX).collect();
        match nearest(schema, parents, field) {
            Some(nearest) => Error::invalid(
                self.pointer(),
                format!("unknown field {shown:?}; did you mean {nearest:?}?"),
            )
            .with("nearest", nearest),
            None => Error::invalid(self.pointer(), format!("unknown field {shown:?}")),
        }
    }
}

/// The known field of the object at `parents` whose name is like `field`; a required one first.
fn nearest(schema: &Value, parents: &[String], field: &str) -> Option<String> {
    let mut here = alternatives(schema, schema);
    for part in parents {
        here = here
            .into_iter()
            .filter_map(|one| below(one, part))
            .flat_map(|one| alternatives(schema, one))
            .collect();
    }
    let mut known = BTreeSet::new();
    for one in here {
        let required = one.get("required").and_then(Value::as_array);
        let is_required =
            |name: &str| required.is_some_and(|required| required.iter().any(|one| one == name));
        let properties = one.get("properties").and_then(Value::as_object);
        for name in properties
            .into_iter()
            .flat_map(|properties| properties.keys())
        {
            let distance = strsim::damerau_levenshtein(name, field);
            if distance <= name.len().max(3) / 3 {
                known.insert((distance, !is_required(name), name));
            }
        }
    }
    known.first().map(|(_, _, name)| (*name).clone())
}

/// The schema with all that it refers to or chooses from, at the same value.
fn alternatives<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let mut found = vec![schema];
    let mut open = vec![(schema, 0)];
    while let Some((one, references)) = open.pop() {
        let target = one
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|target| root.pointer(target.strip_prefix('#')?));
        let chosen = ["anyOf", "oneOf", "allOf"]
            .into_iter()
            .filter_map(|keyword| one.get(keyword)?.as_array())
            .flatten();
        for next in target.into_iter().chain(chosen) {
            if references < REFERENCES_MAX {
                found.push(next);
                open.push((next, references + 1));
            }
        }
    }
    found
}

/// Schemas of the member or item `part`.
fn below<'a>(schema: &'a Value, part: &str) -> Option<&'a Value> {
    let member = schema.get("properties").and_then(|known| known.get(part));
    let item = || {
        schema
            .get("items")
            .filter(|_| part.parse::<usize>().is_ok())
    };
    let other = || schema.get("additionalProperties");
    member.or_else(item).or_else(other)
}
