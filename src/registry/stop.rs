//! Telling every task that the registry stops, and why.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::fatal::Fatal;

/// Where any task can report a reason to stop.
#[derive(Clone)]
pub(super) struct Stop {
    reason: Arc<Mutex<Option<Fatal>>>,
    stopped: watch::Sender<bool>,
}

impl Stop {
    pub(super) fn new() -> Self {
        Self {
            reason: Arc::default(),
            stopped: watch::Sender::new(false),
        }
    }

    /// Stops, for that reason; the first one counts.
    pub(super) fn fail(&self, fatal: Fatal) {
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.get_or_insert(fatal);
        drop(reason);
        self.stopped.send_replace(true);
    }

    /// Waits for a reason.
    pub(super) async fn failed(&self) -> Fatal {
        let mut stopped = self.stopped.subscribe();
        // The sender is a field of this.
        let _ = stopped.wait_for(|stopped| *stopped).await;
        let reason = self
            .reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        reason.unwrap_or(Fatal::Closed)
    }
}
