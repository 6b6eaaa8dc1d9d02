//! What is told of a schema, for people.

use serde_json::Value;

use super::{
    schema::{bounds_only, is_annotation},
    shape::Shape,
};

/// Keywords that bound a value; types say nothing of them.
const LIMITS: &[&str] = &[
    "format",
    "pattern",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "contentEncoding",
    "contentMediaType",
];

/// Keywords that no type says anything of, and no text can say shortly.
const UNSAID: &[&str] = &[
    "not",
    "if",
    "contains",
    "propertyNames",
    "patternProperties",
    "dependentSchemas",
    "dependentRequired",
];

/// Longest JSON, in characters, that is shown of a default.
const VALUE_CHARS_MAX: usize = 200;

/// Whether a type of that shape can be less than its schema: it is that of anything, or does not say which item is what.
pub(super) fn is_loose(shape: &Shape, schema: &Value) -> bool {
    match shape {
        Shape::Any => true,
        Shape::Nullable(inner) => is_loose(inner, schema),
        Shape::List(_) => schema.get("prefixItems").is_some(),
        _ => false,
    }
}

/// What is told of a schema, a paragraph each; `loose` is whether its type can be less.
pub(super) fn docs(schema: &Value, loose: bool) -> Vec<String> {
    let Value::Object(members) = schema else {
        return match schema {
            Value::Bool(false) => vec!["The contract admits no value here.".to_owned()],
            _ => Vec::new(),
        };
    };
    let text = |keyword| members.get(keyword).and_then(Value::as_str);
    let mut docs: Vec<String> = Vec::new();
    docs.extend(text("description").or(text("title")).map(str::to_owned));
    if members.get("deprecated") == Some(&Value::Bool(true)) {
        docs.push("Deprecated.".to_owned());
    }
    if let Some(default) = members.get("default") {
        docs.push(format!("Default: {}", value(default)));
    }
    let limits: Vec<String> = LIMITS
        .iter()
        .filter_map(|keyword| Some(format!("{keyword} {}", value(members.get(*keyword)?))))
        .collect();
    if !limits.is_empty() {
        docs.push(format!("Contract: {}", limits.join(", ")));
    }
    let says = |keyword: &str| !is_annotation(keyword) && !LIMITS.contains(&keyword);
    let bounds = |keyword: &&str| match members.get(*keyword) {
        Some(Value::Array(all)) => all.iter().all(bounds_only),
        _ => false,
    };
    let unsaid = members.keys().any(|it| UNSAID.contains(&it.as_str()))
        || ["oneOf", "anyOf"].iter().any(bounds);
    if unsaid || loose && members.keys().any(|keyword| says(keyword)) {
        docs.push("The contract says more of this than its type can.".to_owned());
    }
    docs
}

/// A value in code font, cut where it is long.
fn value(value: &Value) -> String {
    let text = match value {
        Value::String(text) if !text.contains('`') => text.clone(),
        other => other.to_string(),
    };
    let text = text.replace('`', "'");
    if text.chars().count() > VALUE_CHARS_MAX {
        let cut: String = text.chars().take(VALUE_CHARS_MAX).collect();
        return format!("`{cut}…`");
    }
    format!("`{text}`")
}
