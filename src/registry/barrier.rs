//! Learning how far the bucket has come: a write that the follower then delivers with nothing behind
//! it. Whatever was acknowledged before the write is in the index after it. One write serves all who
//! wait.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use crate::store::{Store, Written};

use super::{fatal::Fatal, follower::Restart, mirror::Mirror, stop::Stop};

/// How long the follower may take to deliver a barrier; after that it starts again.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(2);
/// Commands that wait for a barrier, at most.
const WAITERS_MAX: usize = 4_096;

/// Asks for barriers.
#[derive(Clone)]
pub(super) struct Barrier(mpsc::Sender<oneshot::Sender<bool>>);

impl Barrier {
    /// Starts the task that writes them.
    pub(super) fn start(
        store: Store,
        mirror: Arc<Mirror>,
        restart: Arc<Restart>,
        stop: &Stop,
    ) -> Self {
        let (sender, requests) = mpsc::channel(WAITERS_MAX);
        stop.watch(
            "barrier",
            run(store, mirror, restart, requests, stop.clone()),
        );
        Self(sender)
    }

    /// Passes one that is written after this call; false when that cannot be had.
    pub(super) async fn pass(&self) -> bool {
        let (sender, passed) = oneshot::channel();
        self.0.send(sender).await.is_ok() && passed.await.unwrap_or(false)
    }
}

async fn run(
    store: Store,
    mirror: Arc<Mirror>,
    restart: Arc<Restart>,
    mut requests: mpsc::Receiver<oneshot::Sender<bool>>,
    stop: Stop,
) {
    let mut waiters = Vec::new();
    while requests.recv_many(&mut waiters, WAITERS_MAX).await > 0 {
        let seen = mirror.with(|core| core.index.applied());
        let passed = match store.write_barrier().await {
            Written::At(last) if last <= seen => {
                stop.fail(Fatal::Backwards { last, seen });
                false
            }
            Written::At(revision) => {
                let delivered = tokio::time::timeout(DELIVERY_TIMEOUT, mirror.exact(revision))
                    .await
                    .is_ok();
                // While it still reads what was there before, it only needs time.
                let reads = mirror.with(|core| core.index.applied()) > seen;
                if !delivered && !reads {
                    tracing::warn!(
                        revision = revision.0,
                        "a barrier was written and does not come"
                    );
                    restart.again();
                }
                delivered
            }
            Written::Lost | Written::Unknown | Written::Unsent => false,
        };
        for waiter in waiters.drain(..) {
            let _ = waiter.send(passed);
        }
    }
}
