//! What an instance does beside requests; most of it the named one only.

mod derived;
mod event_messages;
mod host_names;
mod named;
mod publisher;
mod view;
mod view_records;

pub(super) use derived::{DerivedStreams, Entries, applied_channels};
pub(super) use host_names::HostNames;
pub(super) use named::{Candidate, Target};
pub(super) use publisher::{events_options, last_event};
pub(super) use view::{unshown, view_options};
