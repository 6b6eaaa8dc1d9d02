//! A registry that runs, and its end.

use std::{sync::Arc, time::Duration};

use onex_core::record::InstanceId;
use onex_nats::serving::round_trip;
use tokio::{sync::watch, time::timeout};

use super::{
    fatal::Fatal,
    intake::Intake,
    session::{Opener, Session},
    stop::Stop,
};

/// How long a registry that stops waits for what is in flight.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long for callers to be told that nobody knows what came of their calls.
const GIVE_UP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it waits after that until events are published.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// A registry that takes requests.
pub struct Registry {
    pub(super) intake: Arc<Intake>,
    pub(super) session: Session,
    pub(super) opener: Opener,
    pub(super) instance: InstanceId,
    /// The revision up to which this instance has published every event.
    pub(super) published: watch::Receiver<u64>,
    pub(super) stop: Stop,
}

impl Registry {
    /// Waits until the registry cannot serve any more; says why. Where it is only the connection to the bus that ended,
    /// requests are taken over another one.
    pub async fn failed(&mut self) -> Fatal {
        loop {
            let why = tokio::select! {
                ended = self.intake.driver.ended() => return Fatal::of_engine(ended),
                fatal = self.stop.failed() => return fatal,
                why = self.session.stop.failed() => why,
            };
            self.session.end(&self.intake, &why).await;
            tokio::select! {
                ended = self.intake.driver.ended() => return Fatal::of_engine(ended),
                fatal = self.stop.failed() => return fatal,
                session = self.opener.again(&self.intake, &why) => self.session = session,
            }
        }
    }

    /// Ends at once, whatever is in flight: another one takes its place.
    pub fn abandon(self) {
        self.intake.driver.abandon();
        self.session.stop.abandon();
        self.stop.abandon();
    }

    /// Stops taking requests, answers those that were taken, within [`DRAIN_TIMEOUT`] if that can be, and ends.
    pub async fn drain(self) {
        let Self {
            intake,
            mut session,
            instance,
            mut published,
            stop,
            ..
        } = self;
        stop.end();
        session.stop.end();
        let answered = async {
            intake.leave(&mut session.listening).await;
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
        round_trip(&intake.bus.client()).await;
        session.stop.abandon();
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
