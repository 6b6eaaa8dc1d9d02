//! The project against itself: its structure, its schemas, its docs, and what the other tests sent and got.

// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../stored/mod.rs"]
mod stored;
#[path = "../strict/mod.rs"]
mod strict;

mod architecture;
mod checks_doc;
mod circles;
mod errors_doc;
mod schemas;
mod traffic;
