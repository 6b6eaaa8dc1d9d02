//! What is answered from what readers see: a [`Catalog`].

mod buses;
mod catalog;
mod describe;
mod leases;
mod nodes;
mod pools;
mod schemas;
mod texts;
mod tools;

pub(super) use buses::{buses, endpoint_of};
pub(super) use catalog::{Catalog, CatalogNode};
pub(super) use describe::{Here, registry};
pub(super) use leases::{granted, lease_reply, leases, resolved};
pub(super) use nodes::{SHOWN_MAX, node, nodes, trust, trust_of};
pub(super) use pools::pools;
pub(super) use schemas::{schema, schemas};
pub(super) use texts::Texts;
pub(super) use tools::{announced, tool, tools};

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
