//! The JSON Schema of every message, as `schemas/` has them: requests, replies, errors, and events.

use crate::{detail, endpoint::Endpoint, event_schema};

pub use crate::message_schema::Message;

/// All of them.
pub fn all() -> Vec<Message> {
    let endpoints = Endpoint::ALL
        .into_iter()
        .flat_map(|endpoint| [endpoint.request(), endpoint.reply()]);
    endpoints
        .chain([detail::message()])
        .chain(event_schema::messages())
        .collect()
}
