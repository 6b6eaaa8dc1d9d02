//! A registry that runs, and its end.

use std::{sync::Arc, time::Duration};

use onex_core::record::InstanceId;
use tokio::{sync::watch, time::timeout};

use crate::{connect, serving::round_trip};

use super::{
    driver::LoadError,
    fatal::Fatal,
    intake::{Intake, Listening},
    stop::Stop,
};

/// How long a registry that stops waits for what is in flight.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long for callers to be told that nobody knows what came of their calls.
const GIVE_UP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it waits after that until events are published.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a registry did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No connection.
    #[error("no connection to NATS")]
    Connect(#[from] connect::Error),
    /// No store.
    #[error("the store cannot be used")]
    Store(#[from] onex_log::Error),
    /// The log cannot be read.
    #[error("{0}")]
    Load(String),
    /// The server does not let it subscribe.
    #[error("the NATS server does not allow what a registry needs: {0}")]
    Refused(String),
    /// No subscription.
    #[error("cannot subscribe")]
    Subscribe(#[from] async_nats::SubscribeError),
    /// The store has other settings.
    #[error("{0}")]
    Settings(String),
    /// Another namespace grants the same ports.
    #[error("another registry grants the same ports: {}. Choose other --ports", .0.join("; "))]
    Overlap(Vec<String>),
    /// The engine ended.
    #[error("the engine ended while starting: {0}")]
    Ended(String),
}

impl From<LoadError> for StartError {
    fn from(error: LoadError) -> Self {
        Self::Load(crate::chain(&error))
    }
}

/// A registry that takes requests.
pub struct Registry {
    pub(super) intake: Arc<Intake>,
    pub(super) listening: Listening,
    pub(super) instance: InstanceId,
    /// The revision up to which this instance has published every event.
    pub(super) published: watch::Receiver<u64>,
    pub(super) stop: Stop,
}

impl Registry {
    /// Waits until the registry cannot serve any more; says why.
    pub async fn failed(&self) -> Fatal {
        tokio::select! {
            ended = self.intake.driver.ended() => Fatal::of_engine(ended),
            fatal = self.stop.failed() => fatal,
        }
    }

    /// Ends at once, whatever is in flight: another one takes its place.
    pub fn abandon(self) {
        self.intake.driver.abandon();
        self.stop.abandon();
    }

    /// Stops taking requests, answers those that were taken, within [`DRAIN_TIMEOUT`] if that can be, and ends.
    pub async fn drain(self) {
        let Self {
            intake,
            listening,
            instance,
            mut published,
            stop,
        } = self;
        stop.end();
        let answered = async {
            intake.leave(listening).await;
            intake.all_answered().await;
        };
        if timeout(DRAIN_TIMEOUT, answered).await.is_err() {
            intake.invoke.give_up();
            let answered = timeout(GIVE_UP_TIMEOUT, intake.all_answered());
            if answered.await.is_err() {
                tracing::warn!("some requests were not settled in time");
            }
        }
        let all_out = all_published(&intake, instance, &mut published);
        if timeout(PUBLISH_TIMEOUT, all_out).await.is_err() {
            tracing::info!("some events are left for the next publisher");
        }
        intake.driver.stop();
        intake.driver.ended().await;
        round_trip(&intake.client).await;
        stop.abandon();
    }
}

/// Waits until the events of everything that readers see now are out, if it is this instance that publishes them.
async fn all_published(
    intake: &Intake,
    instance: InstanceId,
    published: &mut watch::Receiver<u64>,
) {
    let reads = &intake.driver.handle.reads;
    let last = reads.revision();
    let named = reads.with(intake.clock.now().mono, |state| state.named().cloned());
    if named
        .flatten()
        .is_some_and(|named| named.instance == instance)
    {
        // A publisher that has ended publishes nothing.
        let _ = published.wait_for(|out| *out >= last).await;
    }
}
