//! What Rust is written with, whatever part of it.

use serde_json::Value;

use super::{shape::Model, text::quoted};

pub(super) struct Writer<'a> {
    pub(super) model: &'a Model,
    pub(super) names: Vec<String>,
}

impl Writer<'_> {
    pub(super) fn name(&self, id: usize) -> &str {
        self.names.get(id).map_or("Value", String::as_str)
    }
}

pub(super) fn string(text: &str) -> String {
    quoted(text, |c| format!("\\u{{{:x}}}", u32::from(c)))
}

/// A value as JSON text in a literal: how values are told apart.
pub(super) fn json(value: &Value) -> String {
    string(&value.to_string())
}
