//! Schemas as values: where references lead, and what several of them say together.

use serde_json::{Map, Value, json};

use crate::protocol::percent::percent_decoded;

/// Keywords that say nothing of which values are admitted.
const ANNOTATIONS: &[&str] = &[
    "title",
    "description",
    "$comment",
    "examples",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$defs",
    "definitions",
    "$schema",
    "$id",
    "$anchor",
    "$dynamicAnchor",
];

/// Keywords that say of which shape a value is.
const STRUCTURE: &[&str] = &[
    "type",
    "properties",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
    "items",
    "prefixItems",
    "unevaluatedItems",
    "enum",
    "const",
    "$ref",
    "$dynamicRef",
    "allOf",
    "anyOf",
    "oneOf",
];

/// Whether a schema says of which shape a value is.
pub(super) fn says_shape(members: &Map<String, Value>) -> bool {
    let mut keywords = members.keys();
    keywords.any(|keyword| STRUCTURE.contains(&keyword.as_str()))
}

/// Whether a schema bounds values whose shape others say, and does not say which members there must be.
pub(super) fn bounds_only(schema: &Value) -> bool {
    let Value::Object(members) = schema else {
        return true;
    };
    !says_shape(members) && !members.contains_key("required")
}

/// Whether a keyword says nothing of which values are admitted.
pub(super) fn is_annotation(keyword: &str) -> bool {
    ANNOTATIONS.contains(&keyword) || keyword.starts_with("x-")
}

/// Whether a schema says nothing of which values it admits.
pub(super) fn admits_all(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.keys().all(|keyword| is_annotation(keyword)),
        other => other == &Value::Bool(true),
    }
}

/// Where a reference leads, as a JSON Pointer into `root`; none when it leads nowhere.
pub(super) fn target(root: &Value, reference: &str) -> Option<String> {
    let target = percent_decoded(reference.strip_prefix('#')?)?;
    if target.is_empty() || target.starts_with('/') {
        return root.pointer(&target).map(|_| target);
    }
    anchored(root, &target, String::new())
}

/// Where the schema stands that has that anchor.
fn anchored(value: &Value, anchor: &str, here: String) -> Option<String> {
    let below = |part: &str| format!("{here}/{}", part.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(members) => {
            let named = |keyword| members.get(keyword).and_then(Value::as_str) == Some(anchor);
            if named("$anchor") || named("$dynamicAnchor") {
                return Some(here);
            }
            let mut members = members.iter();
            members.find_map(|(name, member)| anchored(member, anchor, below(name)))
        }
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(at, item)| anchored(item, anchor, below(&at.to_string())))
        }
        _ => None,
    }
}

/// The reference in a schema, if it has one.
pub(super) fn reference(members: &Map<String, Value>) -> Option<&str> {
    let named = |keyword| members.get(keyword).and_then(Value::as_str);
    named("$ref").or_else(|| named("$dynamicRef"))
}

/// What two schemas say together, in one; none when nothing is admitted by both. Said twice, what is for people counts
/// as `one` says it. What cannot be said in one schema is left out of it: it admits no less than both do.
pub(super) fn both(
    one: &Map<String, Value>,
    other: &Map<String, Value>,
) -> Option<Map<String, Value>> {
    let mut merged = one.clone();
    for (keyword, value) in other {
        let Some(have) = merged.get(keyword) else {
            merged.insert(keyword.clone(), value.clone());
            continue;
        };
        let together = match keyword.as_str() {
            "type" => types(have, value)?,
            "enum" => shared(have, value)?,
            "properties" | "patternProperties" => properties(have, value),
            "required" => united(have, value),
            "items" | "additionalProperties" | "unevaluatedItems" | "unevaluatedProperties" => {
                combined(have, value)
            }
            // To us the two mean the same. What has no place is left out.
            "anyOf" | "oneOf" => {
                let other = if keyword == "anyOf" { "oneOf" } else { "anyOf" };
                merged.entry(other).or_insert_with(|| value.clone());
                continue;
            }
            "allOf" => {
                let mut all = listed(Some(have.clone()));
                all.extend(listed(Some(value.clone())));
                all.into()
            }
            _ => continue,
        };
        merged.insert(keyword.clone(), together);
    }
    Some(merged)
}

fn listed(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(items)) => items,
        Some(value) => vec![value],
        None => Vec::new(),
    }
}

/// The types that both lists name: an integer is a number.
fn types(one: &Value, other: &Value) -> Option<Value> {
    let (one, other) = (listed(Some(one.clone())), listed(Some(other.clone())));
    let within = |kind: &Value, list: &[Value]| {
        list.contains(kind) || kind == "integer" && list.contains(&json!("number"))
    };
    let mut found: Vec<Value> = Vec::new();
    let kept = one.iter().filter(|kind| within(kind, &other));
    for kind in kept.chain(other.iter().filter(|kind| within(kind, &one))) {
        if !found.contains(kind) {
            found.push(kind.clone());
        }
    }
    match found.len() {
        0 => None,
        1 => found.pop(),
        _ => Some(found.into()),
    }
}

fn shared(one: &Value, other: &Value) -> Option<Value> {
    let other = listed(Some(other.clone()));
    let mut found = listed(Some(one.clone()));
    found.retain(|value| other.contains(value));
    (!found.is_empty()).then(|| found.into())
}

fn united(one: &Value, other: &Value) -> Value {
    let mut all = listed(Some(one.clone()));
    for name in listed(Some(other.clone())) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all.into()
}

fn properties(one: &Value, other: &Value) -> Value {
    let (Value::Object(one), Value::Object(other)) = (one, other) else {
        return one.clone();
    };
    let mut all = one.clone();
    for (name, schema) in other {
        let together = match all.get(name) {
            Some(have) => combined(have, schema),
            None => schema.clone(),
        };
        all.insert(name.clone(), together);
    }
    all.into()
}

/// A schema that admits what both do. The same two, in whatever order and however often, come to the same, so that
/// what is recursive comes to an end.
fn combined(one: &Value, other: &Value) -> Value {
    if one == &Value::Bool(false) || other == &Value::Bool(false) {
        return Value::Bool(false);
    }
    let mut all: Vec<Value> = Vec::new();
    for schema in [one, other] {
        let parts = match schema.get("allOf") {
            Some(Value::Array(parts)) if schema.as_object().is_some_and(|it| it.len() == 1) => {
                parts.clone()
            }
            _ => vec![schema.clone()],
        };
        for part in parts {
            if !admits_all(&part) && !all.contains(&part) {
                all.push(part);
            }
        }
    }
    match all.len() {
        // What is for people stays.
        0 => one.clone(),
        1 => all.pop().unwrap_or_default(),
        _ => json!({ "allOf": all }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a table reads better without borrows"
    )]
    fn check(one: Value, other: Value, together: Option<Value>) {
        let merged = both(one.as_object().unwrap(), other.as_object().unwrap());
        assert_eq!(merged.map(Value::Object), together, "{one} {other}");
    }

    #[test]
    fn two_schemas_are_one() {
        check(
            json!({"type": "number"}),
            json!({"type": ["integer", "null"]}),
            Some(json!({"type": "integer"})),
        );
        check(json!({"type": "string"}), json!({"type": "number"}), None);
        check(json!({"enum": [1, 2]}), json!({"enum": [3]}), None);
        check(
            json!({"enum": [1, 2], "description": "a"}),
            json!({"enum": [2, 3], "description": "b"}),
            Some(json!({"enum": [2], "description": "a"})),
        );
        check(
            json!({"properties": {"a": {"type": "string"}, "b": {"minimum": 1}}, "required": ["a"]}),
            json!({"properties": {"b": {"type": "number"}}, "required": ["b", "a"]}),
            Some(json!({
                "properties": {
                    "a": {"type": "string"}, "b": {"allOf": [{"minimum": 1}, {"type": "number"}]},
                },
                "required": ["a", "b"],
            })),
        );
        check(
            json!({"anyOf": [1]}),
            json!({"anyOf": [2]}),
            Some(json!({"anyOf": [1], "oneOf": [2]})),
        );
        check(
            json!({"additionalProperties": false}),
            json!({"additionalProperties": true}),
            Some(json!({"additionalProperties": false})),
        );
    }

    #[test]
    fn what_is_combined_again_is_the_same() {
        let (one, other) = (json!({"$ref": "#/a"}), json!({"$ref": "#/b"}));
        let once = combined(&one, &other);
        assert_eq!(combined(&once, &other), once);
        assert_eq!(combined(&one, &once), once);
    }

    #[test]
    fn references_lead_to_places() {
        let root = json!({"$defs": {"a/b": {"$anchor": "here"}, "c d": {}}});
        let to = |reference| target(&root, reference);
        assert_eq!(to("#"), Some(String::new()));
        assert_eq!(to("#/$defs/a~1b"), Some("/$defs/a~1b".to_owned()));
        assert_eq!(to("#/$defs/c%20d"), Some("/$defs/c d".to_owned()));
        assert_eq!(to("#here"), Some("/$defs/a~1b".to_owned()));
        assert_eq!(to("#there"), None);
        assert_eq!(to("http://x/"), None);
    }
}
