//! The registry as a pure state machine over an ordered log. No async, no NATS, no clock, no randomness.
//!
//! From below upwards; nothing imports what is above it:
//!
//! - [`key`], [`record_parts`], [`lease`], [`call`], [`node`], [`trust`]: values in records and commands.
//! - [`node_record`], [`host_record`], [`execution`], [`settings`], and [`record`], which is any of them; [`entry`]: what the
//!   state and the log hold, as it is stored.
//! - [`state`], [`slot`], [`indexes`]: every record, with indexes, pools and timers; [`nodes`], `hosts`, [`availability`], `calls`: what the
//!   state says of them.
//! - [`format_one`]: from the records of the format before the log to those of today.
//! - [`command`], [`txn`], [`decide`]: what can be asked for, and what it changes.
//! - [`engine`]: the loop: inputs in, outputs out.

pub mod availability;
pub mod bus_index;
pub mod call;
mod calls;
pub mod command;
pub mod decide;
pub mod engine;
pub mod entry;
pub mod execution;
mod facets;
pub mod format_one;
pub mod host_names;
pub mod host_record;
mod host_use;
mod hosts;
pub mod indexes;
pub mod key;
pub mod lease;
pub mod mechanism;
pub mod node;
pub mod node_command;
pub mod node_event;
pub mod node_index;
pub mod node_record;
pub mod nodes;
pub mod offers;
mod owners;
pub mod pool;
pub mod record;
pub mod record_parts;
pub mod settings;
pub mod slot;
pub mod state;
mod timers;
pub mod trust;
pub mod txn;

#[cfg(test)]
mod simulation;
