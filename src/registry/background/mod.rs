//! What the named instance does beside requests.

mod event_messages;
mod publisher;

pub(super) use event_messages::EventEncoder;
pub(super) use publisher::{Publisher, events_options};
