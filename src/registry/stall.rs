//! Noticing that this process stood still. Requests that came meanwhile waited in a socket, and their
//! callers may have given up: they count from before the stop.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How often it is looked whether time has passed unnoticed.
const TICK: Duration = Duration::from_millis(100);
/// Longer than what is a busy machine's doing.
const STALL_MIN: Duration = Duration::from_secs(1);

/// When the process was last seen running, and since when it stood still if that is not over.
pub(super) struct Stall(Mutex<Seen>);

struct Seen {
    running: Instant,
    stood_since: Option<Instant>,
}

impl Stall {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Seen {
            running: Instant::now(),
            stood_since: None,
        }))
    }

    /// Waits until the process has stood still.
    pub(super) async fn noticed(&self) {
        loop {
            tokio::time::sleep(TICK).await;
            if self.look().is_some() {
                return;
            }
        }
    }

    /// All that had waited is taken.
    pub(super) fn over(&self) {
        self.lock().stood_since = None;
    }

    /// Since when a request that is taken now may have waited.
    pub(super) fn arrived(&self) -> Instant {
        self.look().unwrap_or_else(Instant::now)
    }

    fn look(&self) -> Option<Instant> {
        let mut seen = self.lock();
        if seen.running.elapsed() >= STALL_MIN {
            let since = seen.running;
            seen.stood_since.get_or_insert(since);
        }
        seen.running = Instant::now();
        seen.stood_since
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
