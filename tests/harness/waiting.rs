//! Waiting for a condition.

use std::future::Future;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// How long between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Looks until there is something to see.
pub(crate) async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let since = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(since.elapsed() < PATIENCE, "waited in vain for: {what}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// How long between two looks at a process, which tests catch at a certain moment.
const PROCESS_LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Waits for a process, or for what it does, in a test that waits for nothing else.
#[track_caller]
pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    wait_until(what, || condition().then_some(()));
}

/// How that process ended, once it has by itself.
#[track_caller]
pub(crate) fn ended(child: &mut Child) -> ExitStatus {
    wait_until("a process to end", || child.try_wait().unwrap())
}

#[track_caller]
fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(since.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::sleep(PROCESS_LOOK_INTERVAL);
    }
}
