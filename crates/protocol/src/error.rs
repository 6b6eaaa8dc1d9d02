//! Errors on the wire: a stable code each, and one place that says what it means.

use std::fmt;

use onex_types::ids::{NodeId, RequestId, Token};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal, $number:literal, $retryable:literal;)*) => {
        /// What went wrong, by a name that does not change. Clients treat one that they do not know by
        /// its `retryable`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ErrorCode {
            $($(#[doc = $doc])* #[serde(rename = $text)] $variant,)*
        }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As it stands on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Its number, in the style of HTTP.
            pub fn number(self) -> u16 {
                match self { $(Self::$variant => $number,)* }
            }

            /// Whether the same request may succeed later.
            pub fn retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)* }
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),*).trim_ascii(),)* }
            }
        }
    };
}

codes! {
    /// The request is not one: `details.pointer` says where. For an empty body `details.help` teaches.
    InvalidRequest = "INVALID_REQUEST", 400, false;
    /// The arguments are not as the tool's contract says: `details.violations` has each fault with its place.
    /// Nothing was called.
    InvalidArguments = "INVALID_ARGUMENTS", 400, false;
    /// Who asks may not do this: `details.reason` says why.
    Forbidden = "FORBIDDEN", 403, false;
    /// It belongs to another requester.
    NotHolder = "NOT_HOLDER", 403, false;
    /// There is no such lease, and none is remembered. The port must not be used.
    LeaseNotFound = "LEASE_NOT_FOUND", 404, false;
    /// There is no such node, or it has ended. Register it again.
    NodeNotFound = "NODE_NOT_FOUND", 404, false;
    /// Nobody offers such a tool.
    ToolNotFound = "TOOL_NOT_FOUND", 404, false;
    /// Nobody who offers the tool can be asked now: `details.candidates` says why.
    ProviderNotFound = "PROVIDER_NOT_FOUND", 404, true;
    /// There is no such bus.
    BusNotFound = "BUS_NOT_FOUND", 404, false;
    /// There is no such schema.
    SchemaNotFound = "SCHEMA_NOT_FOUND", 404, false;
    /// The host has no pool.
    PoolNotFound = "POOL_NOT_FOUND", 404, false;
    /// The one port that will do cannot be had: `details.state` says why.
    PortUnavailable = "PORT_UNAVAILABLE", 409, false;
    /// What it would change is not as was expected, or must not be changed as it is: the message says what it is.
    Conflict = "CONFLICT", 409, false;
    /// The lease has ended. The port must not be used.
    LeaseExpired = "LEASE_EXPIRED", 409, false;
    /// That epoch of the node is over: `details.epoch` is the last one.
    Superseded = "SUPERSEDED", 409, false;
    /// The tool is offered, but no longer under the contract that was asked for: `details.offered`.
    ContractChanged = "CONTRACT_CHANGED", 409, false;
    /// The request id came with other parameters before.
    IdempotencyMismatch = "IDEMPOTENCY_MISMATCH", 409, false;
    /// The store is not the one that the revision came from.
    StoreChanged = "STORE_CHANGED", 409, false;
    /// The request, or its answer, is larger than `details.limit` bytes. `details.executed`: the tool was called.
    TooLarge = "TOO_LARGE", 413, false;
    /// A bound is reached: `details.limit`.
    LimitExceeded = "LIMIT_EXCEEDED", 429, false;
    /// The tool answered with an error of its own: `details.provider_code`. Retryable if it says so.
    ToolError = "TOOL_ERROR", 502, false;
    /// The tool's result is not as its contract says: `details.violations`.
    InvalidResult = "INVALID_RESULT", 502, false;
    /// The tool did not answer in time. Retryable if it is idempotent; what it answers late is dropped.
    ToolTimeout = "TOOL_TIMEOUT", 504, false;
    /// No port of the pool is free; `retry_after_ms` from the soonest expiry.
    ResourceExhausted = "RESOURCE_EXHAUSTED", 503, true;
    /// This instance has not caught up with `min_revision` in time; nothing was done.
    Stale = "STALE", 503, true;
    /// Too much is under way; nothing was done.
    Busy = "BUSY", 503, true;
    /// The store did not answer. `details.outcome`: `none`, nothing was done; `unknown`, it may have
    /// been: ask again with the same request id.
    StoreUnavailable = "STORE_UNAVAILABLE", 503, true;
    /// A fault of the registry's own; its log has more, under the correlation id.
    Internal = "INTERNAL", 500, false;
}

impl ErrorCode {
    /// Whether it is for the tool to say if a call may succeed later.
    pub fn depends_on_tool(self) -> bool {
        matches!(self, Self::ToolError | Self::ToolTimeout)
    }
}

/// An error, as the body of a reply has it under `error`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub struct Error {
    /// The stable name.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// When, in milliseconds, where that is known.
    pub retry_after_ms: Option<u64>,
    /// The request's, or one that the registry made.
    pub correlation_id: String,
    /// What this answer is true for, where it was decided in the log: of several answers the one with the highest revision
    /// is the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// What programs need: see the code.
    #[serde(default)]
    pub details: Map<String, Value>,
}

/// The code, the field if it is about one, and the message.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code.as_str())?;
        let pointer = self.details.get("pointer").and_then(Value::as_str);
        if let Some(pointer) = pointer.filter(|pointer| !pointer.is_empty()) {
            write!(f, "{pointer}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// The body of a reply that is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorReply {
    /// The error.
    pub error: Error,
}

/// Whether the request may have been carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not.
    None,
    /// It may have been, or may still be.
    Unknown,
}

impl Error {
    /// An error without details. The correlation id is filled in where the reply is made.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retryable: code.retryable(),
            retry_after_ms: None,
            correlation_id: String::new(),
            revision: None,
            details: Map::new(),
        }
    }

    /// With a member of `details`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// The field at `pointer` is wrong.
    pub fn invalid(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message).with("pointer", pointer.into())
    }

    /// The store did not answer in time.
    pub fn unavailable(outcome: Outcome) -> Self {
        let (outcome, message) = match outcome {
            Outcome::None => ("none", "the store did not answer in time; nothing was done"),
            Outcome::Unknown => (
                "unknown",
                "the store did not answer in time; it may have been done: ask again with the same request_id",
            ),
        };
        Self::new(ErrorCode::StoreUnavailable, message).with("outcome", outcome)
    }

    /// The request id came with other parameters before.
    pub fn mismatch(request_id: RequestId) -> Self {
        let message = format!("request_id {request_id} was used before with other parameters");
        Self::new(ErrorCode::IdempotencyMismatch, message)
            .with("request_id", request_id.0.to_string())
    }

    /// There is no tool of that name.
    pub fn no_tool(name: &Token, message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ToolNotFound, message).with("tool_name", name.as_str())
    }

    /// Who asks may not do this; it is about that node.
    pub fn forbidden(reason: &str, node_id: &NodeId, message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
            .with("reason", reason)
            .with("node_id", node_id.as_str())
    }

    /// Larger than `limit` bytes.
    pub fn too_large(what: &str, limit: usize) -> Self {
        Self::new(
            ErrorCode::TooLarge,
            format!("{what} is larger than {limit} bytes"),
        )
        .with("limit", json!(limit))
    }

    /// As of that revision, unless it says one.
    #[must_use]
    pub fn at(mut self, revision: u64) -> Self {
        self.revision.get_or_insert(revision);
        self
    }

    /// With the time after which it may succeed, in milliseconds.
    #[must_use]
    pub fn after(mut self, millis: u64) -> Self {
        self.retry_after_ms = Some(millis);
        self
    }
}

/// What a client is told to wait when a bound on what is under way is reached, in milliseconds.
pub const BUSY_RETRY_MILLIS: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_spelled_once() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert!((400..600).contains(&code.number()));
        }
    }
}
