//! What a refusal of the core is on the wire.

use onex_core::{
    call::CALLS_RETRY_MILLIS,
    command::{self, Answer, FullPool, HeldBy, NextFree, Refusal, Unavailable},
    pool,
};
use onex_types::ids::Port;
use serde_json::json;

use crate::registry::hosts::ambiguous;

use crate::protocol::{
    bounds::Open,
    error::{BUSY_RETRY_MILLIS, Error, ErrorCode, Outcome},
    explain::{NextPort, PortState},
};

/// What was decided and as of which revision; a refusal says that, too.
pub(in crate::registry) fn decided(outcome: command::Outcome) -> Result<(Answer, u64), Error> {
    let command::Outcome { revision, result } = outcome;
    let answer = result.map_err(|refusal| error_at(revision, refusal))?;
    Ok((answer, revision))
}

/// The revision behind which something was asked: everything that was in the log before is in what readers see. Of an entry
/// that changes nothing it does not matter whether nobody knows of it.
pub(in crate::registry) fn index_read(outcome: command::Outcome) -> Result<u64, Error> {
    match outcome.result {
        Ok(_) => Ok(outcome.revision),
        Err(Refusal::Unknown) => Err(error(Refusal::Unavailable)),
        Err(refusal) => Err(error(refusal)),
    }
}

/// The error that says it, as of that revision.
pub(in crate::registry) fn error_at(revision: u64, refusal: Refusal) -> Error {
    match refusal {
        // Nothing was decided.
        Refusal::Busy
        | Refusal::QueueFull
        | Refusal::StoreFull
        | Refusal::Unavailable
        | Refusal::Unknown => error(refusal),
        decided => error(decided).at(revision),
    }
}

/// The error that says it.
#[expect(clippy::too_many_lines, reason = "one table")]
pub(in crate::registry) fn error(refusal: Refusal) -> Error {
    let message = refusal.to_string();
    match refusal {
        Refusal::TtlTooLong { .. } => Error::invalid("/ttl", message),
        Refusal::IdempotencyMismatch(request_id) => Error::mismatch(request_id),
        Refusal::LeaseExpired(lease_id, port) => Error::new(
            ErrorCode::LeaseExpired,
            format!("{message}: stop using its port"),
        )
        .with("lease_id", lease_id.0.to_string())
        .with("port", port.number()),
        Refusal::LeaseRevoked {
            lease_id,
            port,
            reason,
        } => Error::new(
            ErrorCode::LeaseExpired,
            format!("{message}: stop using its port"),
        )
        .with("lease_id", lease_id.0.to_string())
        .with("port", port.number())
        .with("admin_reason", reason.as_str()),
        Refusal::NobodyHolds(key) => Error::new(ErrorCode::LeaseNotFound, message)
            .with("port", key.port.number())
            .with("host", key.host.as_str()),
        Refusal::LeaseOfNode {
            lease_id,
            port,
            node_id,
        } => Error::new(ErrorCode::Conflict, message)
            .with("lease_id", lease_id.0.to_string())
            .with("port", port.number())
            .with("node_id", node_id.as_str()),
        Refusal::NotQuarantined {
            port,
            why,
            left_ms,
            by,
        } => unavailable(message, port, port_state(why), by.as_deref(), left_ms),
        Refusal::HostInUse { host, .. } => {
            Error::new(ErrorCode::Conflict, message).with("host", host.as_str())
        }
        Refusal::GivenUp { port, left_ms } => {
            unavailable(message, port, PortState::Quarantined, None, Some(left_ms))
        }
        Refusal::LeaseNotFound(lease_id) => Error::new(
            ErrorCode::LeaseNotFound,
            format!("{message}: its port must not be used"),
        )
        .with("lease_id", lease_id.0.to_string()),
        Refusal::NotHolder { lease_id, port, by } => held_by(
            Error::new(ErrorCode::NotHolder, message)
                .with("lease_id", lease_id.0.to_string())
                .with("port", port.number()),
            &by,
        ),
        Refusal::PoolNotFound(host) | Refusal::NoOwnPool(host) => {
            Error::new(ErrorCode::PoolNotFound, message).with("host", host.as_str())
        }
        Refusal::PoolChanged { host, present, .. } => Error::new(ErrorCode::Conflict, message)
            .with("host", host.as_str())
            .with("present_revision", present),
        Refusal::HostAmbiguous { host, hosts } => ambiguous(&host, &hosts),
        Refusal::LimitExceeded { what, limit } => Error::new(ErrorCode::LimitExceeded, message)
            .with("limit", json!(limit))
            .with("bound", what),
        Refusal::PortUnavailable {
            port,
            why,
            by,
            expires_in_ms,
        } => unavailable(message, port, port_state(why), by.as_deref(), expires_in_ms),
        Refusal::EpochTooHigh => Error::invalid("/epoch", message),
        Refusal::NodeNotFound(node_id) | Refusal::EpochNotFound { node_id, .. } => {
            Error::new(ErrorCode::NodeNotFound, message).with("node_id", node_id.as_str())
        }
        Refusal::Superseded { node_id, last } => Error::new(
            ErrorCode::Superseded,
            format!("{message}: a new life takes a higher epoch, or none"),
        )
        .with("node_id", node_id.as_str())
        .with("epoch", last),
        Refusal::Evicted {
            node_id,
            last,
            reason,
        } => Error::new(
            ErrorCode::Superseded,
            format!("{message}. Stop: a new life takes a higher epoch, or none"),
        )
        .with("node_id", node_id.as_str())
        .with("epoch", last)
        .with("admin_reason", reason.as_str()),
        Refusal::NotNodeHolder(node_id) => {
            Error::new(ErrorCode::NotHolder, message).with("node_id", node_id.as_str())
        }
        Refusal::NotBusHolder(bus_id) => {
            Error::new(ErrorCode::NotHolder, message).with("bus_id", bus_id.as_str())
        }
        Refusal::NodeTaken { node_id, epoch } => Error::new(
            ErrorCode::NotHolder,
            format!("{message}: to take it over, register it with a higher epoch"),
        )
        .with("node_id", node_id.as_str())
        .with("epoch", epoch),
        Refusal::ToolNotFound(node_id, tool) => {
            Error::no_tool(&tool, message).with("node_id", node_id.as_str())
        }
        Refusal::BusNotFound(bus_id) => {
            Error::new(ErrorCode::BusNotFound, message).with("bus_id", bus_id.as_str())
        }
        Refusal::Frozen(node_id) => Error::forbidden("frozen", &node_id, message),
        Refusal::NotValidator(node_id) => Error::forbidden("not_validator", &node_id, message),
        Refusal::OwnReport(node_id) => Error::forbidden("own_verdict", &node_id, message),
        Refusal::OtherContract { .. } => Error::invalid("/contract_hash", message),
        Refusal::Inbound { index, why } => {
            let pointer = format!("/inbound_ports/{index}/lease_id");
            error(*why).with("pointer", pointer)
        }
        Refusal::OtherPort(..) | Refusal::LeaseOfLastIncarnation(_) => {
            Error::new(ErrorCode::InvalidRequest, message)
        }
        Refusal::NodeTooLarge(node_id, limit) => {
            let what = format!("the registration of node {node_id} with its tools");
            Error::too_large(&what, limit).with("node_id", node_id.as_str())
        }
        Refusal::Exhausted {
            host,
            retry_after_ms,
            pool,
            ..
        } => full_pool(Error::new(ErrorCode::ResourceExhausted, message), &pool)
            .with("host", host.as_str())
            .after(retry_after_ms),
        Refusal::CallsFull => Error::new(ErrorCode::Busy, message).after(CALLS_RETRY_MILLIS),
        Refusal::StillEnding(_) | Refusal::Busy | Refusal::QueueFull => {
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
        // No endpoint passes these on.
        Refusal::Unreadable
        | Refusal::CallNotFound
        | Refusal::SettingsChanged
        | Refusal::SettingsDiffer(_)
        | Refusal::FormatUnknown(_) => Error::new(ErrorCode::Internal, message),
        Refusal::Unavailable => Error::unavailable(Outcome::None),
        Refusal::Unknown => Error::unavailable(Outcome::Unknown),
    }
}

/// That a port cannot be had: what it is, who holds it or else how long that lasts, in milliseconds.
fn unavailable(
    message: String,
    port: Port,
    state: PortState,
    by: Option<&HeldBy>,
    left_ms: Option<u64>,
) -> Error {
    let error = Error::new(ErrorCode::PortUnavailable, message)
        .with("port", port.number())
        .with("state", json!(state));
    match (by, left_ms) {
        (Some(by), _) => held_by(error, by),
        (None, Some(left)) => error.with("expires_in_ms", left),
        (None, None) => error,
    }
}

/// With who has the lease.
fn held_by(error: Error, by: &HeldBy) -> Error {
    let members = [
        ("requester_id", Some(json!(by.requester_id))),
        ("name", by.name.as_ref().map(|name| json!(name))),
        ("node_id", by.node_id.as_ref().map(|node_id| json!(node_id))),
        ("holder", by.holder.as_ref().map(|holder| json!(holder))),
        ("expires_in_ms", by.expires_in_ms.map(|left| json!(left))),
    ];
    members
        .into_iter()
        .fold(error, |error, (name, value)| match value {
            Some(value) => error.with(name, value),
            None => error,
        })
}

/// With what the pool is like.
fn full_pool(error: Error, FullPool { counts, next }: &FullPool) -> Error {
    let error = error
        .with("capacity", counts.capacity)
        .with("held", counts.held)
        .with("resting", counts.resting)
        .with("quarantined", counts.quarantined);
    match next {
        Some(next) => error.with("next", json!(next_free(next))),
        None => error,
    }
}

fn next_free(next: &NextFree) -> NextPort {
    NextPort {
        port: next.port,
        state: Open::Known(match next.state {
            pool::PortState::Free => PortState::Free,
            pool::PortState::Held => PortState::Held,
            pool::PortState::Resting => PortState::Resting,
            pool::PortState::Quarantined => PortState::Quarantined,
        }),
        expires_in_ms: next.expires_in_ms,
    }
}

/// What a port is that cannot be had.
pub(in crate::registry) fn port_state(why: Unavailable) -> PortState {
    match why {
        Unavailable::Held => PortState::Held,
        Unavailable::Resting => PortState::Resting,
        Unavailable::Quarantined | Unavailable::GivenUp => PortState::Quarantined,
        Unavailable::InUse => PortState::InUse,
        Unavailable::Reserved => PortState::Reserved,
        Unavailable::Outside => PortState::Outside,
    }
}
