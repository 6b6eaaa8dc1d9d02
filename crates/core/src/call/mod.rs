//! Calls of tools: what is executed, by whom, and what came of it. Plain values, without rules of the log.

mod outcome;

use jiff::Timestamp;
use onex_types::ids::{Digest, ExecutionId, NodeId, RequestId, RequesterId, Token};
pub use onex_types::kinds::{AttemptResult, ExecutionStatus};
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};

pub(crate) use outcome::times_run;
pub use outcome::{
    CALL_MESSAGE_CHARS_MAX, CALL_RESULT_BYTES_MAX, CallOutcome, Completed, Executed, Failure,
};

/// What a caller is told to wait when too many calls are remembered, in milliseconds.
pub const CALLS_RETRY_MILLIS: u64 = 5_000;
/// One execution of one tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Execution {
    /// The execution's id.
    pub execution_id: ExecutionId,
    /// The tool's name.
    pub tool_name: Token,
    /// Its version.
    pub tool_version: Version,
    /// Its contract.
    pub contract_hash: String,
    /// The node that is asked to execute it; of several, the last one.
    pub node_id: NodeId,
    /// The caller's trace, or else its correlation id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_log_id: Option<String>,
}

impl Execution {
    /// The same at the provider that was asked last.
    #[must_use]
    pub fn at(mut self, provider: Option<&Provider>) -> Self {
        if let Some(provider) = provider {
            self.node_id = provider.node_id.clone();
            self.tool_version = provider.tool_version.clone();
            self.contract_hash.clone_from(&provider.contract_hash);
        }
        self
    }
}

/// A node that offers a tool, and the contract that it offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Which node.
    pub node_id: NodeId,
    /// The tool's version.
    pub tool_version: Version,
    /// The tool's contract.
    pub contract_hash: String,
}

/// A call with a request id that is about to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct BeginCall {
    /// The caller's name for it.
    pub request_id: RequestId,
    /// A digest of the call's parameters.
    pub digest: Digest,
    /// The tool's name.
    pub tool_name: Token,
    /// Its version.
    pub tool_version: Version,
    /// Its contract.
    pub contract_hash: String,
    /// The provider that is asked first.
    pub node_id: NodeId,
    /// Whether executing it twice does no harm.
    pub idempotent: bool,
    /// Who calls, where that was said.
    pub requester_id: Option<RequesterId>,
    /// The caller's trace, or else its correlation id.
    pub trace_log_id: Option<String>,
    /// How long it may take, in milliseconds, from when this is written.
    pub timeout_ms: u64,
}

/// A call with a request id that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct EndCall {
    /// The call's request id.
    pub request_id: RequestId,
    /// Which execution of it.
    pub execution_id: ExecutionId,
    /// The provider that was asked last, when that is not the one that was asked first.
    pub by: Option<Provider>,
    /// How many providers were asked.
    pub attempts: u32,
    /// Which, in order, and what came of each.
    pub asked: Vec<Attempt>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What came of it.
    pub outcome: CallOutcome,
}

/// A provider that was asked, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// Which node.
    pub node_id: NodeId,
    /// What came of it.
    pub said: AttemptResult,
    /// More of that, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How an execution ended, as events report it. It has no result in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionEnd {
    /// Its outcome.
    pub how: ExecutionStatus,
    /// The error's code, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Whether the tool was executed.
    pub executed: Executed,
    /// How long it took, in milliseconds; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// How many providers were asked; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Which, in order, and what came of each; empty where that is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Attempt>,
}

/// How it stands with an execution of a call, for who has seen it begin.
#[derive(Debug, Clone, PartialEq)]
pub enum CallStatus {
    /// It has begun and not ended.
    Running,
    /// It has ended.
    Ended(CallOutcome),
}

/// When a call ended, and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallEnded {
    /// When, for people.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: CallOutcome,
}

impl ExecutionEnd {
    /// The end of an execution with that outcome; how long it took and how many were asked is not known.
    pub fn of(outcome: &CallOutcome) -> Self {
        let (how, code) = match outcome {
            CallOutcome::Completed(_) => (ExecutionStatus::Completed, None),
            CallOutcome::Failed(failure) => (ExecutionStatus::Failed, Some(failure.code.clone())),
            CallOutcome::Unknown => (ExecutionStatus::Unknown, None),
        };
        Self {
            how,
            code,
            executed: outcome.executed(),
            duration_ms: None,
            attempts: None,
            asked: Vec::new(),
        }
    }
}
