//! What a refusal of the core is on the wire.

use onex_core::command::Refusal;
use serde_json::json;

use crate::registry::hosts::ambiguous;

use crate::domain::call::CALLS_RETRY_MILLIS;
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
        Refusal::HostAmbiguous { host, hosts } => ambiguous(&host, &hosts),
        Refusal::LimitExceeded { what, limit } => Error::new(ErrorCode::LimitExceeded, message)
            .with("limit", json!(limit))
            .with("bound", what),
        Refusal::PortUnavailable { port, why } => Error::new(ErrorCode::PortUnavailable, message)
            .with("port", port.number())
            .with("state", state(why)),
        Refusal::EpochTooHigh => Error::invalid("/epoch", message),
        Refusal::NodeNotFound(_) => Error::new(ErrorCode::NodeNotFound, message),
        Refusal::Superseded { last, .. } => Error::new(
            ErrorCode::Superseded,
            format!("{message}: a new incarnation takes a higher epoch, or none"),
        )
        .with("epoch", last),
        Refusal::NotNodeHolder(_) | Refusal::NotBusHolder(_) => {
            Error::new(ErrorCode::NotHolder, message)
        }
        Refusal::NodeTaken { epoch, .. } => Error::new(
            ErrorCode::NotHolder,
            format!("{message}: to take it over, register it with a higher epoch"),
        )
        .with("epoch", epoch),
        Refusal::ToolNotFound(..) => Error::new(ErrorCode::ToolNotFound, message),
        Refusal::BusNotFound(_) => Error::new(ErrorCode::BusNotFound, message),
        Refusal::Frozen(_) => Error::new(ErrorCode::Forbidden, message).with("reason", "frozen"),
        Refusal::NotValidator(_) => {
            Error::new(ErrorCode::Forbidden, message).with("reason", "not_validator")
        }
        Refusal::OwnReport(_) => {
            Error::new(ErrorCode::Forbidden, message).with("reason", "own_verdict")
        }
        Refusal::OtherContract { .. } => Error::invalid("/contract_hash", message),
        Refusal::Inbound { index, why } => {
            let pointer = format!("/inbound_ports/{index}/lease_id");
            error(*why).with("pointer", pointer)
        }
        Refusal::OtherPort(_) | Refusal::LeaseOfLastIncarnation(_) => {
            Error::new(ErrorCode::InvalidRequest, message)
        }
        Refusal::NodeTooLarge(limit) => Error::too_large("the registration with its tools", limit),
        Refusal::Exhausted { retry_after_ms } => {
            Error::new(ErrorCode::ResourceExhausted, message).after(retry_after_ms)
        }
        Refusal::CallsFull => Error::new(ErrorCode::Busy, message).after(CALLS_RETRY_MILLIS),
        // Handlers ask for what is known of a call, and never pass this on.
        Refusal::CallNotFound => Error::new(ErrorCode::Internal, message),
        Refusal::StillEnding(_) => Error::new(ErrorCode::Busy, message).after(BUSY_RETRY_MILLIS),
        Refusal::Busy | Refusal::QueueFull => {
            Error::new(ErrorCode::Busy, message).after(BUSY_RETRY_MILLIS)
        }
        // As a rule the log is cut short within seconds.
        Refusal::StoreFull => {
            Error::new(ErrorCode::StoreUnavailable, message).with("outcome", "none")
        }
        Refusal::Quiet { retry_after_ms } => Error::new(ErrorCode::StoreUnavailable, message)
            .with("outcome", "none")
            .after(retry_after_ms),
        Refusal::TooLarge { limit, .. } => {
            Error::new(ErrorCode::TooLarge, message).with("limit", json!(limit))
        }
        Refusal::PortNotHeld(_) => Error::invalid("/port", message),
        Refusal::SettingsChanged => Error::new(ErrorCode::Contended, message),
        // No endpoint asks for these.
        Refusal::SettingsDiffer(_) | Refusal::FormatUnknown(_) => {
            Error::new(ErrorCode::Internal, message)
        }
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
