//! What came of a call, as it is written down and as it is answered.

use onex_core::{
    call::{CALL_RESULT_BYTES_MAX, CallOutcome, Completed, Executed, Execution, Failure},
    execution::Call,
    record::Unknown,
};
use serde_json::Value;

use crate::protocol::{
    error::{Error, ErrorCode},
    invoke::executed_detail,
    json::{self, JsonText},
};

use super::verdict::At;

/// An execution that is answered with its result.
pub(super) struct Ran<'a> {
    pub(super) execution: &'a Execution,
    pub(super) correlation_id: &'a str,
    /// None when it was not this request that had it carried out.
    pub(super) duration_ms: Option<u64>,
    pub(super) attempts: Option<u32>,
    pub(super) revision: u64,
}

/// With a result that is to be kept: of its text the white space is not.
pub(super) fn completed(result: Option<&JsonText>) -> CallOutcome {
    CallOutcome::Completed(Completed {
        result: result.map(|result| json::compact(result.text())),
    })
}

/// An error as it is written down: the code says whether the tool was run, where the details do not.
pub(super) fn failed(error: &Error) -> CallOutcome {
    let executed = match error.details.get("executed") {
        Some(Value::Bool(true)) => Executed::Yes,
        Some(Value::String(_)) => Executed::Unknown,
        _ => Executed::No,
    };
    CallOutcome::Failed(Box::new(Failure {
        code: error.code.as_str().to_owned(),
        message: error.message.clone(),
        retryable: error.retryable,
        executed,
        details: error.details.clone().into_iter().collect::<Unknown>(),
    }))
}

/// What is answered for a call that has ended before.
pub(super) fn again(call: &Call, outcome: &CallOutcome) -> Result<JsonText, Error> {
    let at = At {
        tool_name: &call.run.execution.tool_name,
        node_id: &call.run.execution.node_id,
        execution_id: call.run.execution.execution_id.0,
    };
    match outcome {
        CallOutcome::Completed(Completed {
            result: Some(result),
        }) => JsonText::parse(result.as_bytes()).map_err(|_| at.not_kept(CALL_RESULT_BYTES_MAX)),
        CallOutcome::Completed(Completed { result: None }) => {
            Err(at.not_kept(CALL_RESULT_BYTES_MAX))
        }
        CallOutcome::Failed(failure) => Err(error(failure)),
        CallOutcome::Unknown => Err(at.unknown(call.idempotent)),
    }
}

/// The error as the log has it: an earlier execution of the call may have been executed.
pub(super) fn as_logged(logged: &CallOutcome, error: Error) -> Error {
    let executed = failed(&error).executed();
    if executed != logged.executed() && logged.executed() == Executed::Unknown {
        return error.with("executed", executed_detail(Executed::Unknown));
    }
    error
}

/// The same for an error of a call that may have been executed before.
pub(super) fn after(earlier: &Call, error: Error) -> Error {
    let executed = |outcome: &CallOutcome| outcome.executed() != Executed::No;
    if earlier.executed_before || earlier.outcome().is_some_and(executed) {
        return as_logged(&failed(&error).after_unknown(), error);
    }
    error
}

fn error(failure: &Failure) -> Error {
    let known = ErrorCode::ALL
        .iter()
        .find(|code| code.as_str() == failure.code);
    let mut error = Error::new(
        known.copied().unwrap_or(ErrorCode::Internal),
        failure.message.clone(),
    );
    error.retryable = failure.retryable;
    error.details = failure.details.clone().into_iter().collect();
    error
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_comes_back_as_it_was() {
        let mut said = Error::new(ErrorCode::ToolError, "it broke")
            .with("executed", true)
            .with("provider_code", "E");
        said.retryable = true;
        let CallOutcome::Failed(failure) = failed(&said) else {
            panic!("it failed");
        };
        assert_eq!(failure.executed, Executed::Yes);
        assert_eq!(error(&failure), said);
        let executed = |value: Value| {
            let error = Error::new(ErrorCode::ToolTimeout, "").with("executed", value);
            failed(&error).executed()
        };
        assert_eq!(executed(json!("unknown")), Executed::Unknown);
        assert_eq!(executed(json!(false)), Executed::No);
        let nothing = Error::new(ErrorCode::Busy, "");
        assert_eq!(failed(&nothing).executed(), Executed::No);
    }
}
