//! Calls that their callers named: written down before anything is sent to a provider, so that the same
//! request is carried out once, and has one outcome, whichever instance is asked.

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    ids::{Digest, ExecutionId, NodeId, RequestId, RequesterId, Token},
    record::{Json, Unknown},
};

/// The largest result that is kept, as JSON without white space, in bytes; and the largest details of an error.
pub const CALL_RESULT_BYTES_MAX: usize = 16 * 1024;
/// What a caller is told to wait when too many calls are remembered, in milliseconds.
pub const CALLS_RETRY_MILLIS: u64 = 5_000;

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

/// One tool that is run once, or is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Which.
    pub execution_id: ExecutionId,
    /// The tool's name.
    pub tool_name: Token,
    /// Its version.
    pub tool_version: Version,
    /// Its contract.
    pub contract_hash: String,
    /// Who offers it.
    pub node_id: NodeId,
    /// The caller's trace, or else its correlation id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_log_id: Option<String>,
}

/// The end of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallEnded {
    /// When, for people.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Outcome {
    /// The tool has answered.
    Completed(Completed),
    /// It has not, or not well.
    Failed(Box<Failure>),
    /// Nobody was there to see: it may have been run, or may still be.
    Unknown,
}

/// A tool's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "CompletedRead")]
pub struct Completed {
    /// The result as JSON text, each number as the tool wrote it; absent when it was too large to be kept.
    #[serde(rename = "result_json", skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// The same, as earlier versions wrote it as well.
#[derive(Deserialize)]
struct CompletedRead {
    #[serde(default)]
    result_json: Option<String>,
    #[serde(default, deserialize_with = "present")]
    result: Option<Json>,
}

impl From<CompletedRead> for Completed {
    fn from(read: CompletedRead) -> Self {
        let earlier = read.result.map(|result| result.to_string());
        Self {
            result: read.result_json.or(earlier),
        }
    }
}

/// Why there is no result, in words of the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The error's code.
    pub code: String,
    /// For people.
    pub message: String,
    /// Whether the same may succeed later.
    pub retryable: bool,
    /// Whether the tool was run.
    pub executed: Executed,
    /// The error's details.
    #[serde(default)]
    pub details: Unknown,
}

/// Whether a tool was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executed {
    /// It was not, and will not be.
    No,
    /// It was.
    Yes,
    /// Nobody knows.
    Unknown,
}

/// A call that is about to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Begin {
    /// The caller's name for it.
    pub request_id: RequestId,
    /// What is asked for, condensed.
    pub digest: Digest,
    /// The tool's name.
    pub tool_name: Token,
    /// Its version.
    pub tool_version: Version,
    /// Its contract.
    pub contract_hash: String,
    /// The provider that is tried first.
    pub node_id: NodeId,
    /// Whether it does no harm to run it twice.
    pub idempotent: bool,
    /// Who calls, where that was said.
    pub requester_id: Option<RequesterId>,
    /// The caller's trace, or else its correlation id.
    pub trace_log_id: Option<String>,
    /// How long it may run, in milliseconds, from when this is written.
    pub timeout_ms: u64,
}

/// A call that has come to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// Which.
    pub request_id: RequestId,
    /// Which execution of it.
    pub execution_id: ExecutionId,
    /// Who was tried last, when that is not who was tried first.
    pub by: Option<By>,
    /// How many providers were tried.
    pub attempts: u32,
    /// Which, in order, and what each said.
    pub asked: Vec<Asked>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// A provider that was asked, and what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Which node.
    pub node_id: NodeId,
    /// What came of it.
    pub said: Said,
    /// More of that, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What a provider said when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// It gave a result.
    Answered,
    /// It gave an error.
    Failed,
    /// It gave a result that is not as its contract says.
    InvalidResult,
    /// It cannot take more calls now.
    Declined,
    /// Nothing: nobody listens there.
    NoResponders,
    /// Nothing: nobody listens there any more.
    Gone,
    /// Nothing in its time.
    Silent,
    /// The request could not be sent.
    NotSent,
}

/// A provider, and what it offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Which node.
    pub node_id: NodeId,
    /// The tool's version.
    pub tool_version: Version,
    /// The tool's contract.
    pub contract_hash: String,
}

impl Outcome {
    /// Whether the tool was run.
    pub fn executed(&self) -> Executed {
        match self {
            Self::Completed(_) => Executed::Yes,
            Self::Failed(failure) => failure.executed,
            Self::Unknown => Executed::Unknown,
        }
    }

    /// Whether the same call may be made again after that: nothing was done and it may succeed later, or nobody
    /// knows and doing it twice does no harm.
    pub fn may_run_again(&self, idempotent: bool) -> bool {
        match (self, self.executed()) {
            (Self::Failed(failure), Executed::No) => failure.retryable,
            (_, Executed::Unknown) => idempotent,
            (_, Executed::No | Executed::Yes) => false,
        }
    }
}

impl Call {
    /// What came of it; none while it runs.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.ended.as_ref().map(|ended| &ended.outcome)
    }
}

/// What is there is there, though it be null.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(executed: Executed, retryable: bool) -> Outcome {
        Outcome::Failed(Box::new(Failure {
            code: "ANY".to_owned(),
            message: String::new(),
            retryable,
            executed,
            details: Unknown::new(),
        }))
    }

    #[test]
    fn a_result_is_read_as_any_version_wrote_it() {
        for (text, result) in [
            (
                r#"{"how":"completed","result":{"a":1}}"#,
                Some(r#"{"a":1}"#),
            ),
            (r#"{"how":"completed","result":null}"#, Some("null")),
            (
                r#"{"how":"completed","result_json":"{\"a\":1.10}"}"#,
                Some(r#"{"a":1.10}"#),
            ),
            (r#"{"how":"completed"}"#, None),
        ] {
            let outcome: Outcome = serde_json::from_str(text).unwrap();
            let result = result.map(str::to_owned);
            assert_eq!(outcome, Outcome::Completed(Completed { result }), "{text}");
            let again = serde_json::to_string(&outcome).unwrap();
            assert_eq!(serde_json::from_str::<Outcome>(&again).unwrap(), outcome);
        }
    }

    #[test]
    fn what_was_run_is_not_run_again() {
        let completed = Outcome::Completed(Completed {
            result: Some("null".to_owned()),
        });
        for (outcome, idempotent, again) in [
            (completed, true, false),
            (Outcome::Unknown, false, false),
            (Outcome::Unknown, true, true),
            (failed(Executed::Yes, true), true, false),
            (failed(Executed::Unknown, true), false, false),
            (failed(Executed::Unknown, false), true, true),
            (failed(Executed::No, true), false, true),
            (failed(Executed::No, false), true, false),
        ] {
            assert_eq!(outcome.may_run_again(idempotent), again, "{outcome:?}");
        }
    }
}
