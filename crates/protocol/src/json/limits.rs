//! How deep free-form JSON may be, and how long its numbers.

/// Levels of lists and objects in arguments, results, schemas, health and whatever else is free JSON; the outermost
/// counts 1. `serde_json` reads 127, and what is kept or answered stands a few levels deeper than where it came from.
pub const JSON_LEVELS_MAX: usize = 64;

/// Characters of one number in free-form JSON. Exact comparisons take time that grows with them, and checks count every
/// number as one step.
pub const JSON_NUMBER_CHARS_MAX: usize = 128;

/// What JSON must be.
pub(super) fn levels_rule() -> String {
    format!("must be nested at most {JSON_LEVELS_MAX} levels deep")
}
