//! The schemas of records of calls and executions: see [`stored`](super).

#![expect(
    dead_code,
    reason = "these types are never values: their schemas are all there is to them"
)]
#![expect(
    clippy::struct_field_names,
    reason = "they are called what the records' members are"
)]

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::super::{
    attempt::AttemptResult,
    event::{ExecutedText, ExecutionOutcome},
    schema::{NameText, SafeNumber, Time, TokenText, UuidText, VersionText},
};

/// An execution that has begun.
#[derive(JsonSchema)]
pub(super) struct Run {
    /// What is executed, and by whom.
    execution: Execution,
    /// How long it may take, in milliseconds.
    timeout_ms: u64,
    /// Who calls, where that was said.
    requester_id: Option<UuidText>,
    /// The correlation id of the request.
    correlation_id: Option<String>,
    /// When it began, for people.
    began_at: Time,
}

/// One execution of one tool.
#[derive(JsonSchema)]
struct Execution {
    /// Its id.
    execution_id: UuidText,
    /// The tool's name.
    tool_name: TokenText,
    /// Its version.
    tool_version: VersionText,
    /// The hash of its contract.
    contract_hash: String,
    /// The node that is asked to execute it; of several, the last one.
    node_id: NameText,
    /// The caller's trace, or else its correlation id.
    trace_log_id: Option<String>,
}

/// A call with a request id: its last execution.
#[derive(JsonSchema)]
pub(super) struct Call {
    /// A digest of the call's parameters.
    digest: UuidText,
    /// Whether executing it twice does no harm.
    idempotent: bool,
    /// Its last execution.
    run: Run,
    /// Whether an execution before that one may have been executed; absent for no.
    executed_before: Option<bool>,
    /// How it ended; absent while it is under way.
    ended: Option<CallEnded>,
    /// How long it is remembered after its end, in milliseconds from when an instance applies that; absent while it is
    /// under way.
    kept_ms: Option<u64>,
}

/// When a call ended, and with what.
#[derive(JsonSchema)]
struct CallEnded {
    /// When, for people.
    at: Time,
    /// What came of it.
    outcome: CallOutcome,
}

/// What came of a call.
#[derive(JsonSchema)]
#[schemars(tag = "how", rename_all = "snake_case")]
enum CallOutcome {
    /// The tool has answered.
    Completed {
        /// The result as JSON text, each number as the tool wrote it; absent when it was too large to be kept.
        result_json: Option<String>,
    },
    /// There is no result, and it is known why.
    Failed {
        /// The error's code.
        code: String,
        /// The error's message, for people.
        message: String,
        /// Whether the same may succeed later.
        retryable: bool,
        /// Whether the tool was executed.
        executed: ExecutedText,
        /// The error's details.
        details: Map<String, Value>,
    },
    /// Nobody reported how it ended: the tool may have been executed.
    Unknown,
}

/// How an execution ended, as events report it.
#[derive(JsonSchema)]
pub(super) struct ExecutionEnd {
    /// How.
    how: ExecutionOutcome,
    /// The error's code, where there is one.
    code: Option<String>,
    /// Whether the tool was executed.
    executed: ExecutedText,
    /// How long it took, in milliseconds; absent where that is not known.
    duration_ms: Option<u64>,
    /// How many providers were asked; absent where that is not known.
    attempts: Option<u32>,
    /// Which, in order, and what came of each; absent where that is not known.
    asked: Option<Vec<Attempt>>,
}

/// A provider that was asked, and what came of it.
#[derive(JsonSchema)]
struct Attempt {
    /// The node.
    node_id: NameText,
    /// What came of it.
    said: AttemptResult,
    /// More of that, for people.
    message: Option<String>,
}

/// How many executions of a node's tools have ended. Those that certainly were not executed do not count.
#[derive(JsonSchema)]
pub(super) struct Counts {
    /// Executions that have ended, those with an unknown outcome included.
    runs: SafeNumber,
    /// Those that were answered with a result.
    ok: SafeNumber,
    /// When the last of them ended, for people.
    last_at: Time,
}
