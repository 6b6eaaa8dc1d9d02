//! What the named instance does beside requests.

mod event_messages;
mod named;
mod publisher;
mod view;
mod view_records;

pub(super) use event_messages::EventEncoder;
pub(super) use named::{Candidate, Target};
pub(super) use publisher::{Publisher, events_options, last_event};
pub(super) use view::{View, view_options};
