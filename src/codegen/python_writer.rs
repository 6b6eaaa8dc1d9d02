//! What Python is written with, whatever part of it.

use serde_json::Value;

use super::{
    shape::{Kind, Model},
    text::{WIDTH, block, quoted, wrapped},
};

pub(super) struct Writer<'a> {
    pub(super) model: &'a Model,
    pub(super) names: Vec<String>,
    /// Which types come in, and which go out.
    pub(super) read: Vec<bool>,
    pub(super) written: Vec<bool>,
}

impl Writer<'_> {
    pub(super) fn name(&self, id: usize) -> &str {
        self.names.get(id).map_or("object", String::as_str)
    }

    pub(super) fn is_read(&self, id: usize) -> bool {
        self.read.get(id) == Some(&true)
    }

    /// The value of a type that has but one.
    pub(super) fn constant(&self, id: usize) -> Option<&Value> {
        match self.model.kind(id) {
            Some(Kind::Literals(values)) => match values.as_slice() {
                [value] => Some(value),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn is_root(&self, id: usize) -> bool {
        let mut tools = self.model.tools.iter();
        tools.any(|tool| tool.arguments == id || tool.result == id)
    }
}

pub(super) fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Null => "None".to_owned(),
        Value::Number(number) if number.is_f64() && is_whole(value) && !is_long(value) => {
            format!("{:.0}", number.as_f64().unwrap_or_default())
        }
        other => other.to_string(),
    }
}

/// Whether a number is beyond 64 bits: it is written as a double, in its shortest form as in the contract. All digits of
/// that double would be another number to whoever compares them.
pub(super) fn is_long(value: &Value) -> bool {
    // 2^64 and -2^63, exactly.
    let is_within =
        |it: f64| (-9_223_372_036_854_775_808.0..18_446_744_073_709_551_616.0).contains(&it);
    value.is_f64() && value.as_f64().is_some_and(|it| !is_within(it))
}

/// Whether a number has no fraction, however it is written.
pub(super) fn is_whole(value: &Value) -> bool {
    value.as_f64().is_some_and(|it| it.fract() == 0.0)
}

pub(super) fn docstring(docs: &[String], indent: &str) -> String {
    let lines = wrapped(docs, WIDTH - indent.len() - 6);
    let escape = |line: &String| {
        let line = line.replace('\\', "\\\\");
        // Three together end a text, and so does one in front of them.
        if line.contains("\"\"") || line.ends_with('"') {
            line.replace('"', "\\\"")
        } else {
            line
        }
    };
    let lines: Vec<String> = lines.iter().map(escape).collect();
    match lines.as_slice() {
        [] => String::new(),
        [line] => format!("{indent}\"\"\"{line}\"\"\"\n"),
        [first, rest @ ..] => {
            format!(
                "{indent}\"\"\"{first}\n{}{indent}\"\"\"\n",
                block(rest, indent, "")
            )
        }
    }
}

pub(super) fn string(text: &str) -> String {
    quoted(text, |c| format!("\\U{:08x}", u32::from(c)))
}
