//! What is wrong with a value.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Violations that are told, at most.
pub const VIOLATIONS_MAX: usize = 64;
/// Longest message of a violation, in characters: it may quote the value.
pub const VIOLATION_CHARS_MAX: usize = 256;
/// What is said of a property that the schema does not have: its name is at fault, whatever its value is.
pub const NOT_ALLOWED: &str = "is not a property that is allowed here";

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Violation {
    /// Where: a JSON Pointer into the value.
    pub pointer: String,
    /// What, for people.
    pub message: String,
}

/// The place, unless it is all of the value, and what is wrong there.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.pointer.is_empty() {
            write!(f, "{} ", self.pointer)?;
        }
        f.write_str(&self.message)
    }
}

/// At most [`VIOLATION_CHARS_MAX`] characters of a text, and whether that is all.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(VIOLATION_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
