//! Values as they stand in cells and lines, where some may be missing or long.

use super::output::{Detail, NOTHING, shortened};

/// Columns of a hash that are shown: the name of its kind and a dozen digits.
const HASH_COLUMNS_MAX: usize = 20;

/// A score, if anybody has examined it.
pub(super) fn score(score: Option<f64>) -> String {
    score.map_or_else(|| NOTHING.to_owned(), |score| format!("{score:.2}"))
}

/// A hash: what tells it from others, or all of it.
pub(super) fn hash(hash: &str, detail: Detail) -> String {
    match detail {
        Detail::Wide => hash.to_owned(),
        Detail::Short => shortened(hash, HASH_COLUMNS_MAX).into_owned(),
    }
}

/// What was said, if anything.
pub(super) fn said<T: ToString>(text: Option<&T>) -> String {
    text.map_or_else(|| NOTHING.to_owned(), ToString::to_string)
}

/// All of them, if there are any.
pub(super) fn listed<T: ToString>(all: &[T]) -> String {
    if all.is_empty() {
        return NOTHING.to_owned();
    }
    let texts: Vec<_> = all.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
