//! `onex serve`: what it starts on, whom it trusts, what it logs.

// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../monitored/mod.rs"]
mod monitored;

mod compose;
mod connections;
mod embedded;
mod hostile;
mod logs;
mod secured;
mod serve_flags;
mod start;
