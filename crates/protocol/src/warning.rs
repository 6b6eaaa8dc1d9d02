//! What a reply says is worth a look, though it was done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// What it is about.
    pub code: WarningCode,
    /// What was noticed, about what, and what to do; for people.
    pub message: String,
}

/// What a warning is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WarningCode {
    /// The first lease on a host that no instance, no node and no lease had named.
    HostUnknown,
    /// A tool listens where this registry does not call.
    ToolSubject,
    /// Other nodes offer another contract by the same name and version of a tool.
    ToolCollision,
    /// Something was removed from an address that may be a secret.
    UriStripped,
    /// Another program uses a port that a lease has got, and there was no other one.
    PortInUse,
    /// One that a later version knows.
    #[serde(other)]
    #[schemars(skip)]
    Other,
}

impl Warning {
    /// A warning of that code.
    pub fn new(code: WarningCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}
