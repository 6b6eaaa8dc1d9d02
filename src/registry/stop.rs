//! Telling every task that the registry stops, and why.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use async_nats::{Client, SubscribeError};
use futures::StreamExt;
use tokio::{sync::watch, task::AbortHandle};

use super::fatal::Fatal;

/// Where any task can report a reason to stop.
#[derive(Clone)]
pub(super) struct Stop {
    reason: Arc<Mutex<Option<Fatal>>>,
    stopped: watch::Sender<bool>,
    ending: Arc<AtomicBool>,
    abandoned: watch::Sender<bool>,
}

impl Stop {
    pub(super) fn new() -> Self {
        Self {
            reason: Arc::default(),
            stopped: watch::Sender::new(false),
            ending: Arc::default(),
            abandoned: watch::Sender::new(false),
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
        let (stop, part_ends) = (self.clone(), part.abort_handle());
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = part => ended,
                () = stop.abandoned() => return part_ends.abort(),
            };
            let cancelled = ended.is_err_and(|error| error.is_cancelled());
            if !cancelled && !stop.is_ending() {
                stop.fail(Fatal::TaskEnded(name));
            }
        });
        abort
    }

    /// Runs a part that ends with its connection, which [`Self::watch_connection`] notices.
    pub(super) fn spawn<F>(&self, part: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = part => {}
                () = stop.abandoned() => {}
            }
        });
    }

    /// Everything that still runs of this registry ends, whatever it is doing.
    pub(super) fn abandon(&self) {
        self.end();
        self.abandoned.send_replace(true);
    }

    /// Waits until the registry is abandoned.
    pub(super) async fn abandoned(&self) {
        let mut abandoned = self.abandoned.subscribe();
        // The sender is a field of this.
        let _ = abandoned.wait_for(|abandoned| *abandoned).await;
    }

    /// Notices when a connection is dead. The client library connects again by itself, but for a fault of
    /// its own; then every subscription just ends.
    pub(super) async fn watch_connection(&self, client: &Client) -> Result<(), SubscribeError> {
        let mut canary = client.subscribe(client.new_inbox()).await?;
        let stop = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = async { while canary.next().await.is_some() {} } => {}
                () = stop.abandoned() => return,
            }
            if !stop.is_ending() {
                stop.fail(Fatal::ConnectionEnded);
            }
        });
        Ok(())
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
