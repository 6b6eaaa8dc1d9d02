//! The log on real servers: one, and a cluster of three. Tests wait for conditions.

// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod appending;
mod cluster;
mod derived;
mod following;
mod foreign;
#[path = "../../../../tests/harness/nats.rs"]
#[allow(
    dead_code,
    reason = "shared with the root's tests, which use all of it"
)]
mod nats;
#[path = "../../../../tests/harness/proxy.rs"]
mod proxy;
mod raw;
mod settings;
mod trimming;
#[path = "../../../../tests/harness/waiting.rs"]
#[allow(
    dead_code,
    reason = "shared with the root's tests, which use all of it"
)]
mod waiting;
mod writer;

use std::time::Duration;

use waiting::until;

/// Far longer than anything here takes; reached only when a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// The root's tests write down what they sent; these do not.
mod traffic {
    pub(crate) fn read_streams(_: &str) {}
}
