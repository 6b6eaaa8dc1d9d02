//! Asks the store how large the log is and may be, for the engine.

use std::{sync::Arc, time::Duration};

use onex_log::{Info, Store};
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};

use crate::throttle::LogThrottle;

/// How often the store is asked.
const ASK_INTERVAL: Duration = Duration::from_secs(5);

/// What asks.
pub(super) struct Sizes {
    again: Arc<Notify>,
    infos: mpsc::UnboundedReceiver<Info>,
}

impl Sizes {
    /// Asks from now on, until this is dropped.
    pub(super) fn ask(store: Store) -> Self {
        let (found, infos) = mpsc::unbounded_channel();
        let again = Arc::new(Notify::new());
        tokio::spawn(run(store, Arc::clone(&again), found));
        Self { again, infos }
    }

    /// What makes it ask at once.
    pub(super) fn again(&self) -> Arc<Notify> {
        Arc::clone(&self.again)
    }

    /// What the store says next.
    pub(super) async fn next(&mut self) -> Info {
        match self.infos.recv().await {
            Some(info) => info,
            None => std::future::pending().await,
        }
    }
}

async fn run(store: Store, again: Arc<Notify>, found: mpsc::UnboundedSender<Info>) {
    let complaints = LogThrottle::new("the size of the log");
    while !found.is_closed() {
        match store.check().await {
            Ok(info) => {
                let _ = found.send(info);
            }
            Err(error) if complaints.admits() => {
                let error = onex_types::chain(&error);
                tracing::warn!(error, "cannot see how large the log is");
            }
            Err(_) => {}
        }
        let _ = timeout(ASK_INTERVAL, again.notified()).await;
    }
}
