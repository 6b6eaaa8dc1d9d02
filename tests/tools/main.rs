//! Tools: their contracts, who offers them, and calls of them through the registry.

// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../harness/mod.rs"]
mod harness;

mod checks;
mod contracts;
mod errors_tools;
mod executions;
mod foreign;
mod hostile_values;
mod invoke;
mod invoke_failover;
mod invoke_late;
mod invoke_load;
mod invoke_once;
mod invoke_storm;
mod patterns;
mod tools;
