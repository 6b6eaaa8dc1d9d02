//! Handles events of the connection that takes requests: it is lost, back, or refused something.

use std::sync::{Arc, OnceLock};

use async_nats::Event;

use crate::throttle::{LogInterval, LogThrottle};

use super::{fatal::Fatal, stop::Stop};

/// What the server says of a subscription that it does not allow, or allows no longer.
const SUBSCRIPTION_REFUSED: &str = "permissions violation for subscription";

/// What the server does not allow on one connection.
#[derive(Clone, Default)]
pub(super) struct Refusals(Arc<OnceLock<String>>);

impl Refusals {
    /// The first of them.
    pub(super) fn first(&self) -> Option<String> {
        self.0.get().cloned()
    }
}

/// Handles events of the connection that takes requests. A subscription that the server allows no longer ends the
/// session: it has to be asked for again. `changed` is called when the connection is lost, and when it is back.
pub(super) fn request_events(
    refused: Refusals,
    session: Stop,
    changed: impl Fn() + Send + Sync + 'static,
) -> impl Fn(Event) + Send + Sync + 'static {
    let lost = LogInterval::default();
    let refusals = LogThrottle::new("refusals of the NATS server");
    move |event| match event {
        Event::SlowConsumer(_) if lost.admits() => {
            tracing::error!("requests come faster than they are taken; some are lost");
        }
        Event::ServerError(error) => {
            let error = error.to_string();
            if refusals.admits() {
                tracing::error!(error, "the NATS server refuses");
            }
            if error.to_lowercase().contains(SUBSCRIPTION_REFUSED) {
                session.fail(Fatal::Refused(error.clone()));
            }
            // Only the first is kept.
            let _ = refused.0.set(error);
        }
        event => {
            tracing::debug!(%event, "requests");
            if matches!(event, Event::Connected | Event::Disconnected) {
                changed();
            }
        }
    }
}
