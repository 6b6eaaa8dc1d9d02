//! Detects that this process was paused. Requests that came meanwhile waited in a socket, and their
//! callers may have given up: they count from before the pause.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

/// How often it is looked whether time has passed unnoticed.
const TICK: Duration = Duration::from_millis(100);
/// Longer than what is a busy machine's doing.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// How long whoever takes requests may be busy with those that had waited.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(1);

/// When the process was last seen running, and since when it was paused if that is not over.
pub(super) struct PauseDetector {
    seen: Mutex<Seen>,
    /// Whoever takes requests adds one to it when it has taken all that had come.
    sweep: watch::Sender<Arc<Semaphore>>,
}

struct Seen {
    running: Instant,
    paused_since: Option<Instant>,
}

impl PauseDetector {
    pub(super) fn new() -> Self {
        Self {
            seen: Mutex::new(Seen {
                running: Instant::now(),
                paused_since: None,
            }),
            sweep: watch::Sender::new(Arc::new(Semaphore::new(0))),
        }
    }

    /// Waits until the process has been paused.
    pub(super) async fn paused(&self) {
        loop {
            tokio::time::sleep(TICK).await;
            if self.look().is_some() {
                return;
            }
        }
    }

    /// For who takes requests.
    pub(super) fn sweep(&self) -> watch::Receiver<Arc<Semaphore>> {
        self.sweep.subscribe()
    }

    /// All that had waited is here; it is over when it is taken.
    pub(super) async fn over(&self) {
        let swept = Arc::new(Semaphore::new(0));
        let takers = u32::try_from(self.sweep.receiver_count()).unwrap_or(u32::MAX);
        self.sweep.send_replace(Arc::clone(&swept));
        let _ = timeout(SWEEP_TIMEOUT, swept.acquire_many(takers)).await;
        self.lock().paused_since = None;
    }

    /// Since when a request that is taken now may have waited.
    pub(super) fn arrived(&self) -> Instant {
        self.look().unwrap_or_else(Instant::now)
    }

    fn look(&self) -> Option<Instant> {
        let mut seen = self.lock();
        if seen.running.elapsed() >= PAUSE_MIN {
            let since = seen.running;
            seen.paused_since.get_or_insert(since);
        }
        seen.running = Instant::now();
        seen.paused_since
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
