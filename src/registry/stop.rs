//! Telling every task that the registry stops, and why.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::{sync::watch, task::AbortHandle};

use super::fatal::Fatal;

/// Where any task can report a reason to stop.
#[derive(Clone)]
pub(super) struct Stop {
    reason: Arc<Mutex<Option<Fatal>>>,
    stopped: watch::Sender<bool>,
    ending: Arc<AtomicBool>,
}

impl Stop {
    pub(super) fn new() -> Self {
        Self {
            reason: Arc::default(),
            stopped: watch::Sender::new(false),
            ending: Arc::default(),
        }
    }

    /// Stops, for that reason; the first one counts.
    pub(super) fn fail(&self, fatal: Fatal) {
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.get_or_insert(fatal);
        drop(reason);
        self.stopped.send_replace(true);
    }

    /// Runs a part of the registry that never ends; if it does, the registry stops.
    pub(super) fn watch<F>(&self, name: &'static str, part: F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let part = tokio::spawn(part);
        let abort = part.abort_handle();
        let stop = self.clone();
        tokio::spawn(async move {
            let cancelled = part.await.is_err_and(|error| error.is_cancelled());
            if !cancelled && !stop.is_ending() {
                stop.fail(Fatal::TaskEnded(name));
            }
        });
        abort
    }

    /// The process is about to end: what is lost from now on is no news.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether the process is about to end.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
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
        reason.unwrap_or(Fatal::TaskEnded("registry"))
    }
}
