//! What came of a call, and what of it is kept.

pub use onex_types::kinds::Executed;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::record_parts::Unknown;

/// The largest result that is kept, as JSON without white space, in bytes; and the largest details of an error.
pub const CALL_RESULT_BYTES_MAX: usize = 16 * 1024;
/// The longest message of an error that is kept, in characters.
pub const CALL_MESSAGE_CHARS_MAX: usize = 1_024;
/// The member of an error's details that says whether the tool was executed. An outcome that is corrected must not
/// leave the old claim there.
const DETAIL_EXECUTED: &str = "executed";

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum CallOutcome {
    /// The tool has answered.
    Completed(Completed),
    /// There is no result, and it is known why.
    Failed(Box<Failure>),
    /// The instance that executed the call did not report an outcome: the tool may have been executed, or may still be.
    Unknown,
}

/// A tool's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "CompletedRead")]
#[schemars(!from, inline)]
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
    result: Option<Value>,
}

impl From<CompletedRead> for Completed {
    fn from(read: CompletedRead) -> Self {
        let earlier = read.result.map(|result| result.to_string());
        Self {
            result: read.result_json.or(earlier),
        }
    }
}

/// A member that is there, even if it is null.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// Why there is no result, in words of the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Failure {
    /// The error's code.
    pub code: String,
    /// For people.
    pub message: String,
    /// Whether the same may succeed later.
    pub retryable: bool,
    /// Whether the tool was executed.
    pub executed: Executed,
    /// The error's details.
    #[serde(default)]
    pub details: Unknown,
}

impl CallOutcome {
    /// Whether the tool was executed.
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

    /// The same as it is kept: a result that is too large is left out, a long message is cut, and of an error's details
    /// the largest are left out until the rest is small enough.
    #[must_use]
    pub fn bounded(self) -> Self {
        match self {
            Self::Completed(Completed { result }) => Self::Completed(Completed {
                result: result.filter(|result| result.len() <= CALL_RESULT_BYTES_MAX),
            }),
            Self::Failed(failure) => Self::Failed(Box::new(failure.bounded())),
            Self::Unknown => Self::Unknown,
        }
    }

    /// The same where an earlier execution of the call may have been executed: "not executed" would be true of this
    /// execution only, and whoever called once would take it for the call.
    #[must_use]
    pub fn after_unknown(self) -> Self {
        match self {
            Self::Failed(mut failure) if failure.executed == Executed::No => {
                failure.executed = Executed::Unknown;
                if let Some(claim) = failure.details.get_mut(DETAIL_EXECUTED) {
                    *claim = Value::from("unknown");
                }
                Self::Failed(failure)
            }
            other => other,
        }
    }
}

impl Failure {
    fn bounded(mut self) -> Self {
        if let Some((end, _)) = self.message.char_indices().nth(CALL_MESSAGE_CHARS_MAX) {
            self.message.truncate(end);
        }
        let mut left: usize = self.details.values().map(json_bytes).sum();
        while left > CALL_RESULT_BYTES_MAX {
            let largest = self
                .details
                .iter()
                .max_by_key(|(_, value)| json_bytes(value));
            let Some(name) = largest.map(|(name, _)| name.clone()) else {
                break;
            };
            left -= self.details.remove(&name).as_ref().map_or(0, json_bytes);
        }
        self
    }
}

fn json_bytes(value: &Value) -> usize {
    value.to_string().len()
}

/// How often such an execution counts.
pub(crate) fn times_run(executed: Executed) -> u64 {
    match executed {
        Executed::No => 0,
        Executed::Yes | Executed::Unknown => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failed(executed: Executed, retryable: bool) -> CallOutcome {
        CallOutcome::Failed(Box::new(Failure {
            code: "ANY".to_owned(),
            message: String::new(),
            retryable,
            executed,
            details: Unknown::new(),
        }))
    }

    fn completed(result: Option<&str>) -> CallOutcome {
        let result = result.map(str::to_owned);
        CallOutcome::Completed(Completed { result })
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
            let outcome: CallOutcome = serde_json::from_str(text).unwrap();
            assert_eq!(outcome, completed(result), "{text}");
            let again = serde_json::to_string(&outcome).unwrap();
            assert_eq!(
                serde_json::from_str::<CallOutcome>(&again).unwrap(),
                outcome
            );
        }
    }

    #[test]
    fn what_was_executed_may_not_run_again() {
        for (outcome, idempotent, again) in [
            (completed(Some("null")), true, false),
            (CallOutcome::Unknown, false, false),
            (CallOutcome::Unknown, true, true),
            (failed(Executed::Yes, true), true, false),
            (failed(Executed::Unknown, true), false, false),
            (failed(Executed::Unknown, false), true, true),
            (failed(Executed::No, true), false, true),
            (failed(Executed::No, false), true, false),
        ] {
            assert_eq!(outcome.may_run_again(idempotent), again, "{outcome:?}");
        }
    }

    #[test]
    fn what_is_kept_of_an_outcome_is_bounded() {
        let small = completed(Some("{\"a\":1}"));
        assert_eq!(small.clone().bounded(), small);
        let largest = completed(Some(&"1".repeat(CALL_RESULT_BYTES_MAX)));
        assert_eq!(largest.clone().bounded(), largest);
        let larger = "1".repeat(CALL_RESULT_BYTES_MAX + 1);
        assert_eq!(completed(Some(&larger)).bounded(), completed(None));
        let failure = Failure {
            code: "TOOL_ERROR".to_owned(),
            message: "ü".repeat(2_000),
            retryable: false,
            executed: Executed::Yes,
            details: Unknown::from([
                ("body".to_owned(), larger.into()),
                ("node".into(), "a".into()),
            ]),
        };
        let CallOutcome::Failed(failure) = CallOutcome::Failed(Box::new(failure)).bounded() else {
            panic!("it failed");
        };
        assert_eq!(failure.message, "ü".repeat(CALL_MESSAGE_CHARS_MAX));
        assert_eq!(
            failure.details,
            Unknown::from([("node".into(), "a".into())])
        );
    }

    #[test]
    fn after_an_unknown_execution_not_executed_is_not_claimed() {
        let with = |executed: Executed, claim: Value| {
            CallOutcome::Failed(Box::new(Failure {
                code: "TOOL_TIMEOUT".to_owned(),
                message: String::new(),
                retryable: true,
                executed,
                details: Unknown::from([("executed".to_owned(), claim)]),
            }))
        };
        let corrected = with(Executed::No, json!(false)).after_unknown();
        assert_eq!(corrected, with(Executed::Unknown, json!("unknown")));
        for stays in [with(Executed::Yes, json!(true)), completed(None)] {
            assert_eq!(stays.clone().after_unknown(), stays);
        }
    }
}
