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
mod writer;

use std::time::{Duration, Instant};

/// Far longer than anything here takes; reached only when a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Looks until there is something to see.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(since.elapsed() < PATIENCE, "waited in vain for: {what}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The root's tests write down what they sent; these do not.
mod traffic {
    pub(crate) fn read_streams(_: &str) {}
}
