//! What an instance does beside requests; most of it the named one only.

mod event_messages;
mod host_names;
mod publisher;

pub(super) use event_messages::EventEncoder;
pub(super) use host_names::HostNames;
pub(super) use publisher::{Publisher, events_options};
