//! What is logged of requests: each refusal, and each that took long.

use std::{sync::Arc, time::Duration};

use crate::{
    protocol::{
        endpoint::Endpoint,
        error::{Error, ErrorCode},
    },
    throttle::LogThrottle,
};

use super::seldom::Seldom;

/// A request that takes longer is logged. `tool.invoke` takes as long as the tool does, and its events say how long.
const SLOW_MIN: Duration = Duration::from_secs(1);

/// The log of requests.
pub(super) struct Journal {
    refused: Arc<LogThrottle>,
    slow: Arc<LogThrottle>,
    faults: Arc<LogThrottle>,
    /// Keeps one complaint about the store from becoming thousands.
    complaints: Seldom,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self {
            refused: LogThrottle::new("refused requests"),
            slow: LogThrottle::new("slow requests"),
            faults: LogThrottle::new("faults"),
            complaints: Seldom::default(),
        }
    }

    /// Logs one request that was answered, if there is something to say of it.
    pub(super) fn answered(
        &self,
        endpoint: Endpoint,
        correlation_id: &str,
        took: Duration,
        error: Option<&Error>,
    ) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let name = endpoint.name();
        if let Some(error) = error {
            return self.refused(name, correlation_id, ms, error);
        }
        let is_slow = took >= SLOW_MIN && endpoint != Endpoint::ToolInvoke;
        if is_slow && self.slow.admits() {
            tracing::info!(endpoint = name, correlation_id, ms, "slow");
        }
    }

    /// A caller's mistakes are its own; what the registry cannot do is for whoever runs it.
    fn refused(&self, endpoint: &str, correlation_id: &str, ms: u64, error: &Error) {
        let (code, why) = (error.code.as_str(), error.message.as_str());
        match error.code {
            ErrorCode::Internal => {
                if self.faults.admits() {
                    tracing::error!(endpoint, code, correlation_id, ms, why, "a fault");
                }
            }
            ErrorCode::StoreUnavailable if self.complaints.may() => {
                tracing::warn!(
                    endpoint,
                    code,
                    correlation_id,
                    ms,
                    "the store does not answer"
                );
            }
            _ => {
                if self.refused.admits() {
                    tracing::info!(endpoint, code, correlation_id, ms, why, "refused");
                }
            }
        }
    }
}
