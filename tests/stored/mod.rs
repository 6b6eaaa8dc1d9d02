//! The schemas of what is stored are derived from the types that are written, which some of them write by hand: everything
//! that those types can say is well by the schemas, and the schemas name nothing that no type has.

// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;

use choice::{Choice, INTERNAL, all_of};
use onex_core::{
    entry::{Change, Entry},
    record::Record,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::strict::Schemas;

mod choice;

/// Members that a schema names, each by its path, and `<path>=<value>` for each value that it lists.
fn named(root: &Value, schema: &Value, path: &str, into: &mut BTreeSet<String>) {
    if let Some(part) = schema["$ref"].as_str() {
        let part = part.strip_prefix('#').unwrap();
        named(root, root.pointer(part).unwrap(), path, into);
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        named(root, schema, &path, into);
        into.insert(path);
    }
    named_items(root, schema, path, into);
    for keyword in ["anyOf", "oneOf", "allOf"] {
        for one in schema[keyword].as_array().into_iter().flatten() {
            named(root, one, path, into);
        }
    }
    let listed = schema["enum"].as_array().into_iter().flatten();
    for value in listed.chain(schema.get("const")) {
        into.insert(format!("{path}={}", value.as_str().unwrap()));
    }
}

fn named_items(root: &Value, schema: &Value, path: &str, into: &mut BTreeSet<String>) {
    if schema["items"].is_object() {
        named(root, &schema["items"], path, into);
    }
}

/// What a value has of that, by the same paths.
fn present(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| present(item, path, into)),
        Value::Object(members) => {
            for (name, value) in members {
                let path = format!("{path}/{name}");
                present(value, &path, into);
                into.insert(path);
            }
        }
        Value::String(text) => {
            into.insert(format!("{path}={text}"));
        }
        _ => {}
    }
}

/// Each of the values is well by the schema of that name; and together they have everything that it names.
fn check(name: &str, values: impl Iterator<Item = Value>) {
    let schemas = Schemas::new();
    let schema = schemas.get(name).unwrap();
    let (mut wanted, mut seen) = (BTreeSet::new(), BTreeSet::new());
    named(schema, schema, "", &mut wanted);
    for value in values {
        let errors = schemas.errors(name, &value);
        assert!(errors.is_empty(), "{name}: {errors:#?}\n{value:#}");
        present(&value, "", &mut seen);
    }
    let never: Vec<&String> = wanted.difference(&seen).collect();
    assert!(never.is_empty(), "{name} names what nothing has: {never:?}");
}

fn to_json(value: &impl Serialize) -> Value {
    // As it is written, not as serde_json makes a value of it.
    serde_json::from_slice(&serde_json::to_vec(value).unwrap()).unwrap()
}

const MANY: u64 = 400;

#[test]
fn the_schema_of_an_entry_is_true_of_everything_that_an_entry_can_say() {
    let entries = (0..MANY).map(|n| {
        let entry = Choice::of(n).entry();
        let written = to_json(&entry);
        assert_eq!(
            serde_json::from_value::<Entry>(written.clone()).unwrap(),
            entry
        );
        written
    });
    check("entry", entries);
}

/// serde's complaint about a member that it does not know names all that it knows.
fn known(complaint: &serde_json::Error) -> BTreeSet<String> {
    let complaint = complaint.to_string();
    let (_, listed) = complaint.split_once("expected one of ").unwrap();
    listed
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_kind_of_change_and_of_record_is_in_the_schema_of_an_entry() {
    let schemas = Schemas::new();
    let parts = &schemas.get("entry").unwrap()["$defs"];
    let members = |part: &str| -> BTreeSet<String> {
        let members = parts[part]["properties"].as_object().unwrap();
        members.keys().cloned().collect()
    };
    let unknown = json!({"no-such": 1});
    let records = known(&serde_json::from_value::<Record>(unknown.clone()).unwrap_err());
    assert_eq!(members("Record"), records);
    let kinds = parts["Change"]["anyOf"].as_array().unwrap().iter();
    let named: BTreeSet<String> = kinds
        .flat_map(|kind| kind["properties"].as_object().unwrap().keys().cloned())
        .collect();
    let changes = known(&serde_json::from_value::<Change>(unknown).unwrap_err());
    assert_eq!(named, changes);
}

#[test]
fn the_schemas_of_the_view_are_true_of_everything_that_it_can_show() {
    check("view.port", (0..MANY).map(|n| Choice::of(n).port_view()));
    check("view.node", (0..MANY).map(|n| Choice::of(n).node_view()));
    check("view.live", (0..MANY).map(|n| Choice::of(n).live_view()));
}

/// What the registry keeps for itself is in the log and not in the view.
#[test]
fn the_view_names_nothing_that_the_registry_keeps_for_itself() {
    let schemas = Schemas::new();
    let mut shown = BTreeSet::new();
    let schema = schemas.get("view.node").unwrap();
    named(schema, schema, "", &mut shown);
    for internal in INTERNAL {
        let end = format!("/{internal}");
        assert!(!shown.iter().any(|path| path.ends_with(&end)), "{internal}");
    }
}

#[test]
fn all_values_of_an_enumeration_are_found() {
    use onex_core::record::LeaseEnd;
    let all = all_of::<LeaseEnd>();
    assert!(all.contains(&LeaseEnd::InUse) && all.contains(&LeaseEnd::Superseded));
}
