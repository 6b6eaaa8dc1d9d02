//! The schemas of what is stored of calls and executions: see `records`.

#![expect(
    dead_code,
    reason = "these types are never values: their schemas are all there is to them"
)]
#![expect(
    clippy::struct_field_names,
    clippy::enum_variant_names,
    reason = "they are called what the records' members are"
)]

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::{
    asked::Asked,
    event::ExecutedText,
    records::{Common, Happened, REQUESTER, WRITE, message},
    schema::{self, NameText, Time, TokenText, UuidText, VersionText},
    schemas::Message,
};

/// A call that its caller named by a request id.
#[derive(JsonSchema)]
struct CallRecord {
    #[schemars(flatten)]
    common: Common<CallTransition>,
    call: Call,
}

/// A call of a tool: its last execution.
#[derive(JsonSchema)]
struct Call {
    /// What was asked for, condensed.
    digest: UuidText,
    /// What is carried out, and by whom.
    execution: Execution,
    /// How long it may run, in milliseconds.
    timeout_ms: u64,
    /// Whether it does no harm to run it twice.
    idempotent: bool,
    /// Who calls, where that was said.
    requester_id: Option<UuidText>,
    /// Of the request that it came with.
    correlation_id: Option<String>,
    /// When it began, for people.
    began_at: Time,
    /// How it ended; absent while it runs.
    ended: Option<CallEnded>,
}

/// One run of a tool.
#[derive(JsonSchema)]
struct Execution {
    /// Which.
    execution_id: UuidText,
    /// The tool's name.
    tool_name: TokenText,
    /// Its version.
    tool_version: VersionText,
    /// Its contract.
    contract_hash: String,
    /// The node that is asked; of several, the last.
    node_id: NameText,
    /// The caller's trace, or else its correlation id.
    trace_log_id: Option<String>,
}

/// The end of a call.
#[derive(JsonSchema)]
struct CallEnded {
    /// When, for people.
    at: Time,
    /// What came of it.
    outcome: Outcome,
}

/// What came of a call.
#[derive(JsonSchema)]
struct Outcome {
    /// How it ended.
    how: How,
    /// What the tool answered, as JSON text; absent when that was too large to be kept, and where it did not.
    result_json: Option<String>,
    /// Of a failure: the error's code.
    code: Option<String>,
    /// Of a failure: for people.
    message: Option<String>,
    /// Of a failure: whether the same may succeed later.
    retryable: Option<bool>,
    /// Of a failure: whether the tool was run.
    executed: Option<ExecutedText>,
    /// Of a failure: the error's details.
    #[schemars(default)]
    details: Map<String, Value>,
}

/// How the run of a tool ended.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum How {
    /// The tool has answered.
    Completed,
    /// It has not, or not well.
    Failed,
    /// Its time was up, and whoever ran it has not said what came of it.
    Unknown,
}

/// Something that happened to a call.
#[derive(JsonSchema)]
struct CallTransition {
    #[schemars(flatten)]
    happened: Happened,
    /// What.
    event: CallHappened,
    /// What it happened to.
    execution: ExecutionTold,
}

/// What happens to a call.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum CallHappened {
    /// The tool is about to be run.
    CallBegan,
    /// It has answered.
    CallCompleted,
    /// It has not answered, or not well, or nobody knows.
    CallFailed,
}

/// The run of a tool that an event is about.
#[derive(JsonSchema)]
struct ExecutionTold {
    #[schemars(flatten)]
    execution: Execution,
    /// How long it may run, in milliseconds.
    timeout_ms: u64,
    /// How it ended; absent where it begins.
    ended: Option<EndTold>,
}

/// How the run of a tool ended.
#[derive(JsonSchema)]
struct EndTold {
    /// How.
    how: How,
    /// The error's code, where one was said.
    code: Option<String>,
    /// Whether the tool was run.
    executed: ExecutedText,
    /// How long it took, in milliseconds; absent where that is not known.
    duration_ms: Option<u64>,
    /// How many providers were asked; absent where that is not known.
    attempts: Option<u32>,
    /// Which, in order, and what each said; absent where that is not known.
    asked: Option<Vec<Asked>>,
}

/// How often a node's tools were run.
#[derive(JsonSchema)]
struct ExecRecord {
    #[schemars(flatten)]
    common: Common<Never>,
    counts: Counts,
}

/// Nothing happens to counts that is told: the outbox is empty.
#[derive(JsonSchema)]
struct Never {}

/// What became of the runs of a node's tools.
#[derive(JsonSchema)]
struct Counts {
    /// Runs that have ended, or of which nobody knows; none that certainly did not happen.
    execution_count: u64,
    /// Those that were answered well.
    success_count: u64,
    /// When the last of them ended, for people.
    last_execution: Time,
    /// Which stream of events: when it was made, in milliseconds since 1970.
    stream: u64,
    /// Every end up to that position of it is counted.
    through: u64,
}

/// Up to where the stream of events is counted.
#[derive(JsonSchema)]
struct Folded {
    /// The format of the record: 1. A later one is not understood.
    format: u32,
    /// Which stream of events: when it was made, in milliseconds since 1970.
    stream: u64,
    /// Every run that began up to that position of it has ended, and is counted.
    through: u64,
}

/// The schema of each record.
pub(super) fn messages() -> impl Iterator<Item = Message> {
    [
        message(
            "call",
            "Record of a call with a request id",
            schema::of::<CallRecord>(),
            call(),
        ),
        message(
            "exec",
            "Record of how often a node's tools were run",
            schema::of::<ExecRecord>(),
            json!({
                "format": 1, "write": WRITE, "transitions": 0, "outbox": [],
                "counts": {
                    "execution_count": 38, "success_count": 37, "last_execution": "2026-11-22T10:04:07.6Z",
                    "stream": 1_795_341_847_600_u64, "through": 4_711,
                },
            }),
        ),
        message(
            "sys.executions",
            "Record of how far executions are counted",
            schema::of::<Folded>(),
            json!({"format": 1, "stream": 1_795_341_847_600_u64, "through": 4_711}),
        ),
    ]
    .into_iter()
}

fn call() -> Value {
    let at = "2026-11-22T10:04:07.6Z";
    let execution = json!({
        "execution_id": WRITE, "tool_name": "summarise", "tool_version": "1.2.0", "node_id": "text.summariser",
        "contract_hash": "c2:6f1ed002ab5595859014ebf0951522d9b3c1a6f3b0d5f7e8c1d2a3b4c5d6e7f8",
        "trace_log_id": "deploy-81",
    });
    let mut told = execution.clone();
    if let Some(told) = told.as_object_mut() {
        let ended =
            json!({"how": "completed", "executed": "yes", "duration_ms": 38, "attempts": 1});
        told.insert("timeout_ms".to_owned(), json!(4_000));
        told.insert("ended".to_owned(), ended);
    }
    json!({
        "format": 1,
        "write": WRITE,
        "transitions": 2,
        "outbox": [{
            "n": 2, "event": "call_completed", "at": at, "requester_id": REQUESTER, "correlation_id": "deploy-81",
            "execution": told,
        }],
        "call": {
            "digest": "0198f3a1-2e44-5a02-b7f1-9d0e1f203142", "execution": execution, "timeout_ms": 4_000,
            "idempotent": false, "requester_id": REQUESTER, "correlation_id": "deploy-81", "began_at": at,
            "ended": {"at": at, "outcome": {"how": "completed", "result_json": "{\"summary\":\"Much ado.\"}"}},
        },
    })
}
