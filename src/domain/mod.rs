//! The registry as a pure state machine: no async, no NATS, no clock, no randomness, and no JSON but
//! for members of records that this version does not know and carries along.

pub use onex_types::{ids, time};

pub mod agenda;
pub mod bus;
pub mod call;
pub mod calls;
pub mod command;
pub mod core;
pub mod counts;
pub mod cursor;
pub mod decide;
pub mod deed;
pub mod hosts;
pub mod index;
pub mod key;
pub mod lookup;
pub mod mechanism;
pub mod node;
pub mod nodes;
mod offers;
pub mod outbox;
pub mod policy;
pub mod pool;
pub mod record;
pub mod refusal;
pub mod reserved;
pub mod review;
pub mod standing;
pub mod transition;
pub mod trust;
pub mod write;
