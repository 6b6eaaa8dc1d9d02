//! Pages of lists, and the cursors between them.

use crate::protocol::{error::Error, port::Page};

/// A page of what `found` has, each with the cursor behind it.
pub(super) fn page<T>(
    revision: u64,
    found: impl Iterator<Item = (String, T)>,
    limit: usize,
) -> Page<T> {
    let mut found = found.peekable();
    let mut items = Vec::new();
    let mut last = None;
    while items.len() < limit
        && let Some((cursor, item)) = found.next()
    {
        items.push(item);
        last = Some(cursor);
    }
    Page {
        items,
        next_cursor: found.peek().and(last),
        revision,
        ignored: Vec::new(),
    }
}

/// What a cursor says, by how it was made.
pub(super) fn cursor<T>(
    text: Option<&str>,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Error> {
    text.map(|text| parse(text).ok_or_else(bad_cursor))
        .transpose()
}

pub(super) fn bad_cursor() -> Error {
    Error::invalid("/cursor", "must be the next_cursor of the page before")
}
