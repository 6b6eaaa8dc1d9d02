//! What is logged of requests: each refusal, and each that took long.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    protocol::{
        endpoint::Endpoint,
        error::{Error, ErrorCode},
    },
    throttle::{LogInterval, LogThrottle},
};

/// A request that takes longer is logged.
const SLOW_MIN: Duration = Duration::from_secs(1);
/// Of a pointer so many characters are logged: it may name a field of the caller's own.
const POINTER_CHARS_MAX: usize = 256;

/// A request that is answered.
pub(super) struct Answered<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) correlation_id: &'a str,
    /// Whoever asked, as a number.
    pub(super) caller: u64,
    pub(super) took: Duration,
    /// What others had of that, where a tool was called.
    pub(super) shares: Option<Shares>,
    pub(super) error: Option<&'a Error>,
}

/// What a call of a tool waited for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shares {
    /// Until the nodes that were asked answered, or had been waited for in vain.
    pub(super) provider: Duration,
    /// Until a node had room.
    pub(super) queued: Duration,
}

/// The log of requests.
pub(super) struct Journal {
    refused: Arc<LogThrottle>,
    slow: Arc<LogThrottle>,
    faults: Arc<LogThrottle>,
    causes: Arc<LogThrottle>,
    /// Keeps one complaint about the store from becoming thousands.
    complaints: LogInterval,
}

impl Journal {
    pub(super) fn new() -> Self {
        let refused = LogThrottle::new("refused requests");
        Self {
            slow: refused.sharing("slow requests"),
            refused,
            faults: LogThrottle::new("faults"),
            causes: LogThrottle::new("causes of faults"),
            complaints: LogInterval::default(),
        }
    }

    /// Logs one request that was answered, if there is something to say of it.
    pub(super) fn answered(&self, answered: &Answered<'_>) {
        if let Some(error) = answered.error {
            return self.refused(answered, error);
        }
        if answered.took >= SLOW_MIN && self.slow.admits_of(Some(answered.caller)) {
            let shares = answered.shares;
            tracing::info!(
                endpoint = answered.endpoint.name(),
                correlation_id = answered.correlation_id,
                ms = millis(answered.took),
                provider_ms = shares.map(|shares| millis(shares.provider)),
                queued_ms = shares.map(|shares| millis(shares.queued)),
                own_ms = shares.map(|shares| millis(shares.own(answered.took))),
                "slow"
            );
        }
    }

    /// Whether it may be logged what a fault comes from, which is logged itself when it is answered.
    pub(super) fn admits_cause(&self) -> bool {
        self.causes.admits()
    }

    /// A caller's mistakes are its own; what the registry cannot do is for whoever runs it.
    fn refused(&self, answered: &Answered<'_>, error: &Error) {
        let (code, why) = (error.code.as_str(), error.message.as_str());
        let endpoint = answered.endpoint.name();
        let correlation_id = answered.correlation_id;
        let ms = millis(answered.took);
        match error.code {
            ErrorCode::Internal => {
                if self.faults.admits_of(Some(answered.caller)) {
                    tracing::error!(endpoint, code, correlation_id, ms, why, "a fault");
                }
            }
            // One that says when to ask again is well.
            ErrorCode::StoreUnavailable
                if error.retry_after_ms.is_none() && self.complaints.admits() =>
            {
                tracing::warn!(
                    endpoint,
                    code,
                    correlation_id,
                    ms,
                    "the store does not answer: see what its NATS server has logged; one whose disk was full has to be restarted"
                );
            }
            _ => {
                if self.refused.admits_of(Some(answered.caller)) {
                    let detail = |name| error.details.get(name).and_then(Value::as_str);
                    let pointer = detail("pointer").map(shortened);
                    let header = detail("header");
                    let provider_ms = answered.shares.map(|shares| millis(shares.provider));
                    tracing::info!(
                        endpoint,
                        code,
                        correlation_id,
                        ms,
                        provider_ms,
                        pointer,
                        header,
                        why,
                        "refused"
                    );
                }
            }
        }
    }
}

impl Shares {
    /// What is left for the registry itself.
    fn own(self, took: Duration) -> Duration {
        took.saturating_sub(self.provider)
            .saturating_sub(self.queued)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn shortened(pointer: &str) -> &str {
    let end = pointer.char_indices().nth(POINTER_CHARS_MAX);
    end.map_or(pointer, |(end, _)| pointer.get(..end).unwrap_or(pointer))
}
