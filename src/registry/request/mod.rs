//! A request between its arrival and its reply: what it needs decided, and how the outcome becomes a reply.

mod in_flight;
mod replies;

pub(super) use in_flight::{Completion, InFlight, Plan};
pub(super) use replies::Replies;
