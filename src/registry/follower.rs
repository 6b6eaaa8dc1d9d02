//! Brings the bucket into the mirror, in the order of its stream. Nothing else writes the index.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use tokio::sync::Notify;

use crate::{
    domain::{
        cursor::{Cursor, behind},
        key::Key,
        record::Stored,
    },
    store::{
        Identity, InfoError, Store, Written,
        codec::Found,
        follow::{Delivery, FollowError},
    },
    throttle::LogThrottle,
};

use super::{clock::Clock, fatal::Fatal, mirror::Mirror, seldom::Seldom};

/// How long to wait before following again after that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Follows the bucket for ever.
pub(super) struct Follower {
    pub(super) store: Store,
    pub(super) mirror: Arc<Mirror>,
    pub(super) clock: Clock,
    /// Told when the consumer is not to be trusted any more.
    pub(super) restart: Arc<Restart>,
    /// The stream as it was when it was opened.
    pub(super) opened: Identity,
    /// The first record of a later version, if there is one: its key and format.
    pub(super) later: Arc<OnceLock<(String, u32)>>,
    /// Bounds what is said of records that are not ours.
    pub(super) foreign: Arc<LogThrottle>,
}

/// Makes the follower begin anew.
#[derive(Debug, Default)]
pub(super) struct Restart {
    told: Notify,
    from_start: AtomicBool,
}

impl Restart {
    /// With what comes behind the last message: after a reconnect, or when a barrier that was written does
    /// not come.
    pub(super) fn again(&self) {
        self.told.notify_one();
    }

    /// With everything: a message is in the bucket that this follower has not seen and is behind. A server
    /// that is killed may bring back what lay under a message that it had removed (nats-server issue 8505).
    pub(super) fn all_again(&self) {
        self.from_start.store(true, Ordering::Relaxed);
        self.told.notify_one();
    }
}

/// Why one attempt to follow ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the store is not to be served from")]
    Fatal(#[source] Fatal),
    #[error("the bucket cannot be followed")]
    Follow(#[source] FollowError),
    #[error("the bucket's stream cannot be looked up")]
    Unknown(#[source] InfoError),
    #[error(
        "the bucket's stream looks shorter than it was, and a write that would tell is not acknowledged"
    )]
    Undecided,
}

impl Follower {
    /// Ends only when the store is not to be served from any more.
    pub(super) async fn run(self) -> Fatal {
        let mut cursor = Cursor::default();
        let complaints = Seldom::default();
        loop {
            // Whatever is waited for: after a reconnect its answer may never come.
            let ended = tokio::select! {
                ended = self.attempt(&mut cursor) => ended,
                () = self.restart.told.notified() => Ok(()),
            };
            if self.restart.from_start.swap(false, Ordering::Relaxed) {
                cursor = Cursor::default();
            }
            match ended {
                Ok(()) => tracing::debug!(after = cursor.last().0, "following again"),
                Err(Ended::Fatal(fatal)) => return fatal,
                Err(error) => {
                    if complaints.may() {
                        let error = crate::chain(&error);
                        tracing::warn!(error, after = cursor.last().0, "following again");
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn attempt(&self, cursor: &mut Cursor) -> Result<(), Ended> {
        self.check(cursor).await?;
        self.follow(cursor).await
    }

    /// A store that is another one, or that has gone backwards, is not served from.
    async fn check(&self, cursor: &Cursor) -> Result<(), Ended> {
        let identity = self.store.identity().await.map_err(Ended::Unknown)?;
        if identity.created != self.opened.created {
            return Err(Ended::Fatal(Fatal::Recreated));
        }
        if identity.last >= cursor.last() {
            return Ok(());
        }
        // A server that is cut off from the others says old things as well. A write tells the two apart.
        match self.store.write_barrier().await {
            Written::At(last) if last <= cursor.last() => {
                let seen = cursor.last();
                Err(Ended::Fatal(Fatal::Backwards { last, seen }))
            }
            Written::At(_) => Ok(()),
            Written::Lost | Written::Unknown | Written::Unsent | Written::Unreadable => {
                Err(Ended::Undecided)
            }
        }
    }

    async fn follow(&self, cursor: &mut Cursor) -> Result<(), Ended> {
        let mut deliveries = std::pin::pin!(
            self.store
                .follow(cursor.last())
                .await
                .map_err(Ended::Follow)?
        );
        cursor.restart();
        while let Some(delivery) = deliveries.next().await {
            let delivery = delivery.map_err(Ended::Follow)?;
            if !cursor.take(delivery.delivered, delivery.revision) {
                tracing::warn!(
                    delivered = delivery.delivered,
                    revision = delivery.revision.0,
                    "the consumer skipped a message",
                );
                return Ok(());
            }
            self.bring(delivery);
        }
        Ok(())
    }

    fn bring(&self, delivery: Delivery) {
        let Delivery {
            key,
            subject,
            revision,
            pending,
            goes_on,
            found,
            ..
        } = delivery;
        let pending = behind(pending, goes_on);
        tracing::trace!(key = subject, revision = revision.0, pending, "delivered");
        let Some(key) = key else {
            tracing::debug!(
                key = subject,
                revision = revision.0,
                "a key that this version does not know"
            );
            let now = self.clock.now().mono;
            return self.mirror.pass(revision, pending, now);
        };
        let stored = match found {
            Found::Stored(stored) => stored,
            Found::Later(format) => {
                if self.foreign.admits() {
                    tracing::error!(key = subject, format, "a record of a later version");
                }
                // Only the first is kept.
                let _ = self.later.set((subject, format));
                Stored::Later
            }
            Found::Foreign(what) => {
                if self.foreign.admits() {
                    let over_port = " over a port: held by nobody knows whom, for the longest ttl";
                    let over = if matches!(key, Key::Port(_)) {
                        over_port
                    } else {
                        ""
                    };
                    let revision = revision.0;
                    tracing::error!(
                        key = subject,
                        revision,
                        what,
                        "something foreign was written{over}"
                    );
                }
                Stored::Foreign
            }
        };
        self.mirror
            .apply(&key, revision, stored, pending, self.clock.now());
    }
}
