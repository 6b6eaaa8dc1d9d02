//! The schemas of what is stored: records of the view, and entries of the log.
//!
//! Records of the view are written from the types in [`view`]. What the log holds is written from types of `onex_core`, which
//! knows no schemas: the types in `entry`, `record`, `request`, `node_record` and `call_record` mirror them, member by
//! member and in words for people who read the log. `tests/project/schemas.rs` holds one against the other.

mod call_record;
mod entry;
mod examples;
mod node_record;
mod record;
mod request;
pub mod view;

use super::message_schema::Message;

/// The schema of each.
pub(super) fn messages() -> impl Iterator<Item = Message> {
    view::messages().chain([entry::message()])
}
