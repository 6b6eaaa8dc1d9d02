//! Ports, nodes, buses: what is granted and announced, what ends it, and what is shown and told of it.

// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../strict/mod.rs"]
mod strict;

mod admin;
mod buses;
mod describe;
mod errors;
mod errors_nodes;
mod events;
mod explain;
mod fields;
mod free_json;
mod hosts;
mod hosts_several;
mod leases;
mod many;
mod nodes;
mod old_answers;
mod pools;
mod probing;
mod races;
mod rebind;
mod sets;
mod trust;
