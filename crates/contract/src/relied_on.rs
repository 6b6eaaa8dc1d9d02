//! What callers rely on in a schema.

use serde_json::{Map, Value};

use crate::{
    canonical_form::{form, in_order},
    keyword::{Holds, holds},
};

/// Keywords that callers do not rely on: annotations for people and their tools, and the dialect, which says nothing
/// that the schema does not say without it.
const NOT_RELIED_ON: [&str; 8] = [
    "title",
    "description",
    "$comment",
    "examples",
    "$schema",
    "deprecated",
    "readOnly",
    "writeOnly",
];
/// What names of keywords begin with that no specification defines.
const EXTENSION: &str = "x-";

/// Keywords that hold a set of values. The schemas of `allOf`, `anyOf` and `oneOf` are none: references lead to them by
/// their place.
const SETS: [&str; 2] = ["required", "enum"];
/// The keyword that holds sets by name.
const SETS_BY_NAME: &str = "dependentRequired";
/// The keyword that holds a set of values, or one value in the place of a set of one.
const TYPE: &str = "type";

/// A schema without what no caller relies on, and with its sets in order. What an unknown keyword holds is kept as it
/// is.
pub(super) fn relied_on(schema: &Value) -> Value {
    let Value::Object(members) = schema else {
        return schema.clone();
    };
    let members = members.iter().filter(|(keyword, _)| {
        !NOT_RELIED_ON.contains(&keyword.as_str()) && !keyword.starts_with(EXTENSION)
    });
    let below = |(keyword, value): (&String, &Value)| {
        let value = match (holds(keyword), value) {
            (Some(Holds::Schema), schema) => relied_on(schema),
            (Some(Holds::List), Value::Array(list)) => list.iter().map(relied_on).collect(),
            (Some(Holds::Named), Value::Object(named)) => each(named, relied_on),
            (None, Value::Object(named)) if keyword == SETS_BY_NAME => each(named, set),
            (None, value) if keyword == TYPE => only(set(value)),
            (None, value) if SETS.contains(&keyword.as_str()) => set(value),
            _ => value.clone(),
        };
        (keyword.clone(), value)
    };
    Value::Object(members.map(below).collect())
}

fn each(named: &Map<String, Value>, change: fn(&Value) -> Value) -> Value {
    let named = named.iter();
    let named = named.map(|(name, value)| (name.clone(), change(value)));
    Value::Object(named.collect())
}

/// A list in the order of what its values look like in canonical form, each once.
fn set(value: &Value) -> Value {
    let Value::Array(items) = value else {
        return value.clone();
    };
    let mut items: Vec<(String, &Value)> = items.iter().map(|item| (form(item), item)).collect();
    items.sort_by(|(one, _), (other, _)| in_order(one, other));
    items.dedup_by(|(one, _), (other, _)| one == other);
    items.into_iter().map(|(_, item)| item.clone()).collect()
}

/// The value in the place of a list of one.
fn only(value: Value) -> Value {
    match value {
        Value::Array(mut items) if items.len() == 1 => items.pop().unwrap_or_default(),
        other => other,
    }
}
