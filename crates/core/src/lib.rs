//! The registry as a pure state machine over an ordered log. No async, no NATS, no clock, no randomness.
//!
//! - [`entry`], [`record`], [`key`]: what the log and the state hold, as it is stored.
//! - [`state`], [`slot`]: every record, with indexes, pools and timers.
//! - [`command`], [`decide`]: what can be asked for, and what it changes.
//! - [`engine`]: the loop: inputs in, outputs out.

pub mod command;
pub mod decide;
pub mod engine;
pub mod entry;
mod hosts;
pub mod indexes;
pub mod key;
pub mod mechanism;
pub mod pool;
pub mod record;
pub mod settings;
pub mod slot;
pub mod state;
pub mod txn;

#[cfg(test)]
mod simulation;
