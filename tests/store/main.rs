//! The log: starts, ends, restores, clusters, and what others write into it.

// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../harness/mod.rs"]
mod harness;

mod cluster;
mod cluster_costs;
mod doctor;
mod kills;
mod log_core;
mod log_foreign;
mod log_restore;
mod log_start;
mod log_view;
mod operations;
mod store_account;
mod upgrade;
