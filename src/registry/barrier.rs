//! Learning how far the bucket has come: a write that the follower then delivers with nothing behind
//! it. Whatever was acknowledged before the write is in the index after it. One write serves all who
//! wait.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::{
    domain::core::Core,
    store::{Store, Written},
};

use super::{fatal::Fatal, follower::Restart, mirror::Mirror, stop::Stop};

/// How long the follower may take to deliver a barrier; after that it starts again.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long nothing may come while something is said to be pending, in milliseconds; up to twice that, so
/// that two instances do not overwrite each other's barrier again and again.
const NUDGE_MILLIS: u64 = 25;
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
        stop.watch("nudge", nudge(store.clone(), Arc::clone(&mirror)));
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

/// The server counts what is pending by what it has heard of, and for a moment it has not heard that a
/// message was overwritten: the last one there is then comes with something behind it that never does. One
/// more message puts that right.
async fn nudge(store: Store, mirror: Arc<Mirror>) {
    let behind = |core: &Core| core.index.exact() < core.index.applied();
    loop {
        mirror.until(behind).await;
        let applied = mirror.with(|core| core.index.applied());
        let (_, random) = Uuid::new_v4().as_u64_pair();
        tokio::time::sleep(Duration::from_millis(NUDGE_MILLIS + random % NUDGE_MILLIS)).await;
        if mirror.with(|core| behind(core) && core.index.applied() == applied) {
            let written = store.write_barrier().await;
            tracing::debug!(revision = applied.0, ?written, "nothing comes behind it");
        }
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
            Written::Lost | Written::Unknown | Written::Unsent | Written::Unreadable => false,
        };
        for waiter in waiters.drain(..) {
            let _ = waiter.send(passed);
        }
    }
}
