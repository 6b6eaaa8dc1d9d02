//! Schemas as the tests read them: strictly. A reader takes what it does not know; what this registry sends is known,
//! so a member that a schema does not name is an error here.

// The lints' exception for tests does not reach the helpers of one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use onex_registry::registry::stored::all_schemas;
use serde_json::Value;

/// The member of a schema that says what the message's headers are.
const HEADERS: &str = "x-nats-headers";

/// Every schema, by its name.
pub(crate) struct Schemas {
    raw: BTreeMap<String, Value>,
    validators: BTreeMap<String, Validator>,
    headers: BTreeMap<String, Validator>,
}

impl Schemas {
    pub(crate) fn new() -> Self {
        let raw: BTreeMap<String, Value> = all_schemas()
            .into_iter()
            .map(|message| (message.name, message.schema))
            .collect();
        let strict = |(name, schema): (&String, &Value)| (name.clone(), compile(schema));
        let of_headers = |(name, schema): (&String, &Value)| {
            let headers = schema.get(HEADERS)?;
            Some((name.clone(), compile(headers)))
        };
        Self {
            validators: raw.iter().map(strict).collect(),
            headers: raw.iter().filter_map(of_headers).collect(),
            raw,
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.raw.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.raw.get(name)
    }

    /// What is wrong with a message of that name; nothing when it is well.
    pub(crate) fn errors(&self, name: &str, message: &Value) -> Vec<String> {
        match self.validators.get(name) {
            Some(validator) => said(validator, message),
            None => vec![format!("no schema is named {name}")],
        }
    }

    /// What is wrong with the headers of a message of that name.
    pub(crate) fn header_errors(&self, name: &str, headers: &Value) -> Vec<String> {
        match self.headers.get(name) {
            Some(validator) => said(validator, headers),
            None => vec![format!("no schema of headers is named {name}")],
        }
    }
}

fn said(validator: &Validator, message: &Value) -> Vec<String> {
    let errors = validator.iter_errors(message);
    let each = errors.flat_map(|error| explained(&error));
    each.map(|(_, said)| said).collect()
}

/// An error, and how deep in the message it is. Where a value fits none of several schemas: what is wrong with it by the one
/// that it fits furthest.
fn explained(error: &ValidationError<'_>) -> Vec<(usize, String)> {
    let nearest = match error.kind() {
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            let each = context.iter();
            let each = each.map(|errors| errors.iter().flat_map(explained).collect::<Vec<_>>());
            each.max_by_key(|errors| errors.iter().map(|(depth, _)| *depth).max())
        }
        _ => None,
    };
    nearest.unwrap_or_else(|| {
        let path = error.instance_path().to_string();
        vec![(path.matches('/').count(), format!("{path}: {error}"))]
    })
}

fn compile(schema: &Value) -> Validator {
    let mut schema = schema.clone();
    close(&mut schema);
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap_or_else(|error| panic!("no schema: {error}\n{schema:#}"))
}

/// Objects with named members have no others, unless the schema says something of the others.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let named =
                members.contains_key("properties") && members.get("type").is_some_and(is_object);
            if named && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            for (name, value) in members.iter_mut() {
                if !["const", "default", "enum", "examples"].contains(&name.as_str()) {
                    close(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Whether a type, or one of several, is `object`.
fn is_object(types: &Value) -> bool {
    types == "object"
        || types
            .as_array()
            .is_some_and(|types| types.iter().any(|one| one == "object"))
}

/// The fields that a request of that schema may have, and those of the objects and lists in it: `tools/*/name`, with
/// the schema of each. What is free JSON has none.
pub(crate) fn fields(schema: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), schema)];
    while let Some((path, schema)) = open.pop() {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = join(&path, name);
            open.push((join(&path, "*"), &field["items"]));
            open.push((path.clone(), field));
            found.push((path, field));
        }
        for keyword in ["anyOf", "oneOf", "allOf"] {
            let chosen = schema[keyword].as_array().into_iter().flatten();
            open.extend(chosen.map(|one| (path.clone(), one)));
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}/{name}"),
    }
}

/// The field that a JSON Pointer into a request names, as [`fields`] has it: where it leads into free JSON, the field
/// that holds that.
pub(crate) fn field_of(pointer: &str, fields: &[String]) -> Option<String> {
    let is_index = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = pointer.split('/').skip(1);
    let parts: Vec<&str> = parts
        .map(|part| if is_index(part) { "*" } else { part })
        .collect();
    let known = |length: &usize| {
        let path = parts[..*length].join("/");
        fields.contains(&path)
    };
    let length = (1..=parts.len()).rev().find(known)?;
    Some(parts[..length].join("/"))
}
