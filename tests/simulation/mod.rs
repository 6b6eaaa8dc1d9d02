//! The core in a world where everything goes wrong: several instances over one simulated stream, holders
//! that retry, die and sleep, nodes that are replaced while they run, clocks that run apart. One seed is one run; nothing here reads a clock.
//!
//! `ONEX_SIM_SEED=<seed> cargo test simulation::random` replays one run and prints what happened,
//! `ONEX_SIM_SEEDS=<count>` runs that many.

#![allow(
    clippy::large_enum_variant,
    clippy::struct_excessive_bools,
    clippy::too_many_lines,
    reason = "speed and settings of a test; a table of schedules reads best in one piece"
)]

mod answers;
mod barrier;
mod callers;
mod chance;
mod check;
mod consumer;
mod crowd;
mod deeds;
mod faults;
mod found;
mod found_calls;
mod found_nodes;
mod found_pieces;
mod holder;
mod instance;
mod lives;
mod node_answers;
mod node_replies;
mod oracle;
mod owner;
mod publisher;
mod random;
mod replies;
mod schedules;
mod schedules_calls;
mod schedules_nodes;
mod setup;
mod store;
mod views;
mod world;
