//! What to do when the connection that takes requests is lost, or back, or refused something.

use std::sync::{Arc, OnceLock};

use async_nats::Event;

use crate::throttle::LogThrottle;

use super::seldom::Seldom;

/// What to do with news of the connection that takes requests; `refused` keeps what the server does not
/// allow, and `changed` is told when the connection is lost, and when it is back.
pub(super) fn request_events(
    refused: Arc<OnceLock<String>>,
    changed: impl Fn() + Send + Sync + 'static,
) -> impl Fn(Event) + Send + Sync + 'static {
    let lost = Seldom::default();
    let refusals = LogThrottle::new("refusals of the NATS server");
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
