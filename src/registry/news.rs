//! What to do when a connection is lost, or back, or refused something.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use async_nats::Event;

use crate::throttle::LogThrottle;

use super::{follower::Restart, seldom::Seldom, stop::Stop};

/// What the NATS server does not allow, in the log.
const SERVER_REFUSALS: &str = "refusals of the NATS server";

/// What to do with news of the connection that takes requests; `refused` keeps what the server does not
/// allow, and `changed` is told when the connection is lost, and when it is back.
pub(super) fn request_events(
    refused: Arc<OnceLock<String>>,
    changed: impl Fn() + Send + Sync + 'static,
) -> impl Fn(Event) + Send + Sync + 'static {
    let lost = Seldom::default();
    let refusals = LogThrottle::new(SERVER_REFUSALS);
    move |event| match event {
        Event::SlowConsumer(_) if lost.may() => {
            tracing::error!("requests come faster than they are taken; some are lost");
        }
        Event::ServerError(error) => {
            if refusals.admits() {
                tracing::error!(error = error.to_string(), "the NATS server refuses");
            }
            // Only the first is kept.
            let _ = refused.set(error.to_string());
        }
        event => {
            tracing::debug!(%event, "requests");
            if matches!(event, Event::Connected | Event::Disconnected) {
                changed();
            }
        }
    }
}

/// What to do when the store's connection is lost, or back.
pub(super) fn store_events(
    restart: Arc<Restart>,
    stop: Stop,
) -> impl Fn(Event) + Send + Sync + 'static {
    let lost = AtomicBool::new(false);
    let refusals = LogThrottle::new(SERVER_REFUSALS);
    move |event| {
        tracing::debug!(%event, "store");
        match event {
            // The consumer is not to be trusted over a reconnect.
            Event::Connected => {
                restart.again();
                if lost.swap(false, Ordering::Relaxed) {
                    tracing::info!("the connection to NATS is back");
                }
            }
            Event::ServerError(error) if refusals.admits() => {
                tracing::error!(error = error.to_string(), "the NATS server refuses");
            }
            Event::Disconnected if !stop.is_ending() => {
                lost.store(true, Ordering::Relaxed);
                tracing::warn!("the connection to NATS is lost; trying again");
            }
            _ => {}
        }
    }
}
