//! The schemas of what is stored: records of the view, and entries of the log. They are derived from the types that are
//! written there.

mod entry;
mod examples;
mod schema;
pub mod view;

use crate::protocol::schemas::{self, Message};

/// The schema of every message, as `schemas/` has them, and of all that is stored.
pub fn all_schemas() -> Vec<Message> {
    let mut all = schemas::all();
    all.extend(view::messages());
    all.push(entry::message());
    all
}
