//! What a refusal of the core is on the wire.

use onex_core::command::Refusal;
use serde_json::json;

use crate::protocol::error::{BUSY_RETRY_MILLIS, Error, ErrorCode, Outcome};

/// The error that says it.
pub(super) fn error(refusal: Refusal) -> Error {
    let message = refusal.to_string();
    match refusal {
        Refusal::TtlTooLong(_) => Error::invalid("/ttl", message),
        Refusal::IdempotencyMismatch => Error::new(ErrorCode::IdempotencyMismatch, message),
        Refusal::LeaseExpired => Error::new(
            ErrorCode::LeaseExpired,
            format!("{message}: stop using its port"),
        ),
        Refusal::LeaseNotFound => Error::new(
            ErrorCode::LeaseNotFound,
            format!("{message}: its port must not be used"),
        ),
        Refusal::NotHolder => Error::new(ErrorCode::NotHolder, message),
        Refusal::PoolNotFound(host) => {
            Error::new(ErrorCode::PoolNotFound, message).with("host", host.as_str())
        }
        Refusal::LimitExceeded { what, limit } => Error::new(ErrorCode::LimitExceeded, message)
            .with("limit", json!(limit))
            .with("bound", what),
        Refusal::PortUnavailable { why, .. } => {
            Error::new(ErrorCode::PortUnavailable, message).with("state", state(why))
        }
        Refusal::Exhausted { retry_after_ms } => {
            Error::new(ErrorCode::ResourceExhausted, message).after(retry_after_ms)
        }
        Refusal::Busy => Error::new(ErrorCode::Busy, message).after(BUSY_RETRY_MILLIS),
        Refusal::Unavailable => Error::unavailable(Outcome::None),
        Refusal::Unknown => Error::unavailable(Outcome::Unknown),
    }
}

fn state(why: onex_core::command::Unavailable) -> &'static str {
    use onex_core::command::Unavailable::{Held, InUse, Outside, Quarantined, Reserved, Resting};
    match why {
        Held => "held",
        Resting => "resting",
        Quarantined => "quarantined",
        InUse => "in_use",
        Reserved => "reserved",
        Outside => "outside",
    }
}
