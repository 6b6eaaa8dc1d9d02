//! Clients: the Rust client, those of other languages, and those that are generated.

// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../languages/mod.rs"]
mod languages;

mod client;
mod client_hold;
mod client_node;
mod client_serve;
mod clients;
mod codegen;
mod codegen_shapes;
mod scripted;
