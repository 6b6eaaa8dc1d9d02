//! What can come of a call that is not its reply, and of a holder that holds no more: each may be the cause of the other.

use std::{io, sync::Arc, time::Duration};

use async_nats::{RequestError, RequestErrorKind};
use onex_protocol::{
    endpoint::Endpoint,
    error::{self, ErrorCode},
};
use onex_types::ids::Port;
use serde::Deserialize;
use serde_json::Value;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry refused.
    #[error(transparent)]
    Refused(error::Error),
    /// The registry refused, with a code that this version does not know.
    #[error("{code}: {message}")]
    RefusedOtherwise {
        /// The code.
        code: String,
        /// For people.
        message: String,
        /// Whether the same request may succeed later.
        retryable: bool,
        /// When, in milliseconds, where that is known.
        retry_after_ms: Option<u64>,
        /// The whole error, as it came.
        whole: Value,
    },
    /// A NATS server answers, and nobody serves this subject there. Nothing was done.
    #[error("nobody serves {subject}")]
    NoResponders {
        /// The subject.
        subject: String,
    },
    /// No reply came. It may have been done, or may still be.
    #[error("no reply to {} within {}", endpoint.name(), super::span(*after))]
    TimedOut {
        /// To what.
        endpoint: Endpoint,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection to the NATS server is lost. It may have been done, or may still be.
    #[error("the connection to NATS is lost")]
    Connection(#[source] Option<RequestError>),
    /// The request is larger than the NATS server takes. Nothing was done.
    #[error("the request is too large for the NATS server")]
    TooLarge(#[source] RequestError),
    /// What came is not a reply.
    #[error("the reply to {} cannot be read", endpoint.name())]
    Malformed {
        /// To what.
        endpoint: Endpoint,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The request is none for this call; said as the registry would. Nothing was sent.
    #[error(transparent)]
    Unfit(error::Error),
    /// The lease, or the node's life, is over.
    #[error("the lease, or the node's life, is over")]
    Over(
        /// Why it is over.
        #[source]
        Loss,
    ),
    /// A port that was leased cannot be listened on.
    #[error("cannot listen on port {port}")]
    Listen {
        /// The leased port.
        port: Port,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A list goes round in circles.
    #[error("the list of {} does not end: a page names itself as the next one", endpoint.name())]
    Endless {
        /// Of what.
        endpoint: Endpoint,
    },
}

/// Why a lease is not held, or a life of a node is over. Its ports must not be used any more.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Loss {
    /// No renewal was acknowledged in time. By the holder's own clock the time is up, and only a moment later may
    /// the registry give the port to someone else.
    #[error("no renewal was acknowledged in time")]
    Expired(
        /// What came of the last try, where there was one.
        #[source]
        Option<Arc<Error>>,
    ),
    /// The registry says so.
    #[error("the registry says that it is lost")]
    Refused(
        /// Of a lease `LEASE_EXPIRED`, `LEASE_NOT_FOUND` or `NOT_HOLDER`; of a node `NODE_NOT_FOUND`, `SUPERSEDED`
        /// or `NOT_HOLDER`.
        #[source]
        Arc<Error>,
    ),
    /// This program gave it back, or dropped the guard.
    #[error("it was given back")]
    Released,
}

impl Error {
    /// Whether the same request, with the same request id, may succeed later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Refused(error) => error.retryable,
            Self::RefusedOtherwise { retryable, .. } => *retryable,
            Self::NoResponders { .. } | Self::TimedOut { .. } | Self::Connection(_) => true,
            Self::TooLarge(_)
            | Self::Malformed { .. }
            | Self::Unfit(_)
            | Self::Over(_)
            | Self::Listen { .. }
            | Self::Endless { .. } => false,
        }
    }

    /// What is wrong with a request that is not sent: at `pointer`, a JSON Pointer.
    pub(super) fn unfit(pointer: &str, message: impl Into<String>) -> Self {
        Self::Unfit(error::Error::invalid(pointer, message))
    }

    /// The code, where it is a refusal with one that this version knows.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(error) | Self::Unfit(error) => Some(error.code),
            _ => None,
        }
    }

    /// Whether it may have been done all the same, or may still be: the same request, with the same
    /// request id, finds out.
    pub fn may_be_done(&self) -> bool {
        let unknown = |outcome: Option<&Value>| outcome.is_some_and(|outcome| outcome == "unknown");
        match self {
            Self::Refused(error) => unknown(error.details.get("outcome")),
            Self::RefusedOtherwise { whole, .. } => unknown(whole.pointer("/details/outcome")),
            Self::TimedOut { .. } | Self::Connection(_) => true,
            Self::NoResponders { .. }
            | Self::TooLarge(_)
            | Self::Malformed { .. }
            | Self::Unfit(_)
            | Self::Over(_)
            | Self::Listen { .. }
            | Self::Endless { .. } => false,
        }
    }

    /// Whether the registry answered, and said no.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::RefusedOtherwise { .. })
    }

    /// When the registry says that it makes sense to ask again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let millis = match self {
            Self::Refused(error) => error.retry_after_ms,
            Self::RefusedOtherwise { retry_after_ms, .. } => *retry_after_ms,
            _ => None,
        };
        millis.map(Duration::from_millis)
    }

    pub(super) fn of_request(
        error: RequestError,
        endpoint: Endpoint,
        subject: String,
        after: Duration,
    ) -> Self {
        match error.kind() {
            RequestErrorKind::NoResponders => Self::NoResponders { subject },
            RequestErrorKind::TimedOut => Self::TimedOut { endpoint, after },
            RequestErrorKind::MaxPayloadExceeded => Self::TooLarge(error),
            RequestErrorKind::InvalidSubject | RequestErrorKind::Other => {
                Self::Connection(Some(error))
            }
        }
    }

    /// The error that a reply's body carries.
    pub(super) fn of_body(endpoint: Endpoint, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Otherwise {
            code: String,
            message: String,
            retryable: bool,
            retry_after_ms: Option<u64>,
        }
        #[derive(Deserialize)]
        struct Reply<T> {
            error: T,
        }
        let malformed = |source| Self::Malformed { endpoint, source };
        let whole = match serde_json::from_slice::<Reply<Value>>(body) {
            Ok(reply) => reply.error,
            Err(error) => return malformed(error),
        };
        if let Ok(known) = error::Error::deserialize(&whole) {
            return Self::Refused(known);
        }
        match Otherwise::deserialize(&whole) {
            Ok(Otherwise {
                code,
                message,
                retryable,
                retry_after_ms,
            }) => Self::RefusedOtherwise {
                code,
                message,
                retryable,
                retry_after_ms,
                whole,
            },
            Err(error) => malformed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Error {
        Error::of_body(Endpoint::PortLease, body.as_bytes())
    }

    #[test]
    fn codes_of_later_versions_are_errors_too() {
        let Error::Refused(busy) = of(
            r#"{"error":{"code":"BUSY","message":"m","retryable":true,"retry_after_ms":7,"correlation_id":"c","new":1}}"#,
        ) else {
            panic!("not a known refusal");
        };
        assert_eq!(busy.code, ErrorCode::Busy);
        let later = of(
            r#"{"error":{"code":"TOO_WARM","message":"m","retryable":true,"retry_after_ms":null,"correlation_id":"c"}}"#,
        );
        assert!(later.is_refusal() && later.retryable(), "{later:?}");
        for bad in ["", "{}", r#"{"error":"x"}"#, r#"{"error":{"code":"BUSY"}}"#] {
            assert!(matches!(of(bad), Error::Malformed { .. }), "{bad}");
        }
    }
}
