//! The command line, and the programs that people run with it.

// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../harness/mod.rs"]
mod harness;

mod cli;
mod cli_admin;
mod cli_explain;
mod cli_invoke;
mod cli_nodes;
mod cli_options;
mod cli_pools;
mod cli_tables;
mod cli_watch;
mod examples;
mod examples_tool;
mod run;
