//! Calls that their callers named: written down before anything is sent to a provider, so that the same
//! request is carried out once, and has one outcome, whichever instance is asked.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ids::{Digest, RequesterId},
    record::Unknown,
};

pub use onex_core::call::{
    Attempt as Asked, AttemptResult as Said, BeginCall as Begin, CALL_RESULT_BYTES_MAX,
    CALLS_RETRY_MILLIS, CallEnded, CallOutcome as Outcome, Completed, EndCall as End, Executed,
    Execution, Failure, Provider as By,
};

/// What one `call.<request_id>` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Called {
    /// The call.
    pub call: Call,
}

/// A call of a tool: its last execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// What was asked for, condensed.
    pub digest: Digest,
    /// What is carried out, and by whom; by the last one that was tried, once it has ended.
    pub execution: Execution,
    /// How long it may run, in milliseconds.
    pub timeout_ms: u64,
    /// Whether it does no harm to run it twice.
    pub idempotent: bool,
    /// Who calls, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester_id: Option<RequesterId>,
    /// The request that it came with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// When it began, for people.
    pub began_at: Timestamp,
    /// How it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<CallEnded>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Call {
    /// What came of it; none while it runs.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.ended.as_ref().map(|ended| &ended.outcome)
    }
}
