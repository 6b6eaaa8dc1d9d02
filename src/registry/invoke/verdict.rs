//! What a provider's answer means.

use std::fmt;

use async_nats::{HeaderMap, Message};
use onex_types::ids::{NodeId, Token};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::protocol::{
    error::{Error, ErrorCode},
    invoke::{Executed, PROVIDER_BODY_BYTES_MAX, executed_detail},
    json::{Document, JsonText},
    names::{HEADER_ERROR, HEADER_ERROR_NUMBER, HEADER_EXECUTED},
    provider_error::ProviderError,
    violation::Violation,
};

use super::super::contracts::PARSE_INLINE_BYTES_MAX;

/// Longest name of a provider's error that is taken from a header, in characters.
const CODE_CHARS_MAX: usize = 64;
/// Longest message of a provider that is passed on, in characters.
const MESSAGE_CHARS_MAX: usize = 1_024;
/// Of a result that is wrong so much is shown, in bytes.
const ANSWER_SHOWN_BYTES_MAX: usize = 4 * 1024;
/// The number with which a provider says that it cannot take a call now.
const UNAVAILABLE: &str = "503";

/// Of which execution an error is, and at whom.
pub(super) struct At<'a> {
    pub(super) tool_name: &'a Token,
    pub(super) node_id: &'a NodeId,
    pub(super) execution_id: Uuid,
}

/// An answer, before the result is checked by its schema.
pub(super) enum Verdict {
    Result(JsonText, Document),
    /// The provider did not begin, and somebody else may; what it says, for people.
    Declined(String),
    Failed(Error),
}

impl At<'_> {
    fn on(&self, error: Error, executed: Executed) -> Error {
        error
            .with("executed", executed_detail(executed))
            .with("execution_id", self.execution_id.to_string())
            .with("provider_node_id", self.node_id.as_str())
            .with("tool_name", self.tool_name.as_str())
    }

    pub(super) fn judge(&self, message: &Message) -> Verdict {
        let none = HeaderMap::new();
        let headers = message.headers.as_ref().unwrap_or(&none);
        if let Some(number) = headers.get(HEADER_ERROR_NUMBER) {
            let begun = headers
                .get(HEADER_EXECUTED)
                .is_none_or(|executed| executed.as_str() != "false");
            if !begun && number.as_str() == UNAVAILABLE {
                let text = headers.get(HEADER_ERROR).map_or("", |text| text.as_str());
                return Verdict::Declined(text.to_owned());
            }
            let error = self.tool_error(message, headers, number.as_str(), begun);
            return Verdict::Failed(error);
        }
        // A micro endpoint that has nothing to say answers with an empty body.
        if message.payload.trim_ascii().is_empty() {
            return Verdict::Result(JsonText::default(), Value::Null.into());
        }
        let read = JsonText::parse(&message.payload).map_err(|error| Violation {
            pointer: String::new(),
            message: format!("is not JSON: {error}"),
        });
        match read.and_then(|result| Ok((result.document()?, result))) {
            Ok((document, result)) => Verdict::Result(result, document),
            Err(violation) => Verdict::Failed(self.invalid(&[violation], &message.payload)),
        }
    }

    fn tool_error(
        &self,
        message: &Message,
        headers: &HeaderMap,
        number: &str,
        begun: bool,
    ) -> Error {
        let (body, said) = ProviderError::read(&message.payload);
        let text = headers.get(HEADER_ERROR).map_or("", |text| text.as_str());
        let code = said
            .code
            .or_else(|| is_code(text).then(|| text.to_owned()))
            .unwrap_or_else(|| number.to_owned());
        let code: String = code.chars().take(CODE_CHARS_MAX).collect();
        let text = said.message.unwrap_or_else(|| text.to_owned());
        let text: String = text.chars().take(MESSAGE_CHARS_MAX).collect();
        let executed = if begun { Executed::Yes } else { Executed::No };
        let line = ProviderError::line(&code, &text);
        let shown = format!("{self} answered with an error of its own, {line}");
        let mut error = self.on(Error::new(ErrorCode::ToolError, shown), executed);
        error.retryable = said.retryable.unwrap_or(false);
        let error = error
            .with("provider_code", code)
            .with("provider_message", text);
        let payload = &message.payload;
        if payload.is_empty() || payload.len() > PROVIDER_BODY_BYTES_MAX {
            return error;
        }
        error.with("provider_body", body)
    }

    /// The result is not as the contract says; it is shown as far as that is useful.
    pub(super) fn invalid(&self, violations: &[Violation], answer: &[u8]) -> Error {
        let answer = if answer.len() > PARSE_INLINE_BYTES_MAX {
            beginning(&String::from_utf8_lossy(answer))
        } else {
            shown(ProviderError::read(answer).0)
        };
        let first = violations
            .first()
            .map(|first| format!(": {first}"))
            .unwrap_or_default();
        let message = format!("the result of {self} is not as its contract says{first}");
        self.on(Error::new(ErrorCode::InvalidResult, message), Executed::Yes)
            .with("violations", json!(violations))
            .with("provider_body", answer)
    }

    /// All who listened there have lost their connections, and no answer came.
    pub(super) fn gone(&self, idempotent: bool) -> Error {
        let more = if idempotent {
            "calling the tool again does no harm"
        } else {
            "it may have been executed"
        };
        let message = format!(
            "{self} was called and is gone: its connection was closed before it answered; {more}"
        );
        let mut error = self.on(
            Error::new(ErrorCode::ToolTimeout, message),
            Executed::Unknown,
        );
        error.retryable = idempotent;
        error
    }

    /// The result came, and could not be looked at any more.
    pub(super) fn unchecked(&self) -> Error {
        let message = format!(
            "{self} answered, but there was no time left, or too much to do, to check its result"
        );
        self.on(Error::new(ErrorCode::ToolTimeout, message), Executed::Yes)
    }

    /// The caller's time was up before anything was sent.
    pub(super) fn too_late(&self) -> Error {
        let message = format!("the time for the call of {self} was over before it was sent");
        let mut error = self.on(Error::new(ErrorCode::ToolTimeout, message), Executed::No);
        error.retryable = true;
        error
    }

    /// No answer came.
    pub(super) fn timed_out(&self, idempotent: bool) -> Error {
        let more = if idempotent {
            "calling it again does no harm"
        } else {
            "it may have been executed, or may still be"
        };
        let message = format!("{self} did not answer in time; {more}");
        let mut error = self.on(
            Error::new(ErrorCode::ToolTimeout, message),
            Executed::Unknown,
        );
        error.retryable = idempotent;
        error
    }

    /// Nobody saw an answer, and nobody waits for one any more.
    pub(super) fn unknown(&self, idempotent: bool) -> Error {
        let message = format!(
            "nobody knows what came of the call of {self}: whoever carried it out is gone, or was too slow"
        );
        let mut error = self.on(
            Error::new(ErrorCode::ToolTimeout, message),
            Executed::Unknown,
        );
        error.retryable = idempotent;
        error
    }

    /// The result was passed on once, and not kept.
    pub(super) fn not_kept(&self, limit: usize) -> Error {
        let what = format!("the result of {self}, which was answered once and not kept:");
        let error = Error::too_large(&what, limit);
        self.on(error, Executed::Yes)
    }

    /// The answer cannot be passed on.
    pub(super) fn too_large(&self, limit: usize) -> Error {
        let error = Error::too_large(&format!("the result of {self}"), limit);
        self.on(error, Executed::Yes)
    }

    /// The request cannot be sent.
    pub(super) fn unsendable(&self, limit: usize) -> Error {
        let error = Error::too_large(&format!("the request to {self}"), limit);
        self.on(error, Executed::No)
    }
}

/// For people.
impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tool {} of node {}", self.tool_name, self.node_id)
    }
}

/// An answer that is wrong, for people: of a long one the beginning, as text.
fn shown(answer: Value) -> Value {
    let text = match &answer {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.len() <= ANSWER_SHOWN_BYTES_MAX {
        return answer;
    }
    beginning(&text)
}

fn beginning(text: &str) -> Value {
    let end = text.floor_char_boundary(ANSWER_SHOWN_BYTES_MAX);
    format!("{}…", text.get(..end).unwrap_or_default()).into()
}

/// Whether that text is the name of an error, as `NO_DISK`, and not something for people.
fn is_code(text: &str) -> bool {
    let good = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.len() <= CODE_CHARS_MAX
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: &[(&str, &str)], body: &str) -> Message {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        Message {
            subject: "x".into(),
            reply: None,
            payload: body.to_owned().into(),
            headers: Some(map),
            status: None,
            description: None,
            length: 0,
        }
    }

    #[track_caller]
    fn check(headers: &[(&str, &str)], body: &str, wanted: &str) {
        let node_id = "calc".parse().unwrap();
        let tool_name = "add".parse().unwrap();
        let at = At {
            tool_name: &tool_name,
            node_id: &node_id,
            execution_id: Uuid::nil(),
        };
        let shown = |error: &Error| {
            let code = &error.details.get("provider_code").cloned();
            let code = code.as_ref().and_then(Value::as_str).unwrap_or("-");
            let executed = &error.details["executed"];
            format!(
                "failed {} {code} {executed} {}",
                error.code.as_str(),
                error.retryable
            )
        };
        let found = match at.judge(&message(headers, body)) {
            Verdict::Result(result, _) => format!("result {}", result.text()),
            Verdict::Declined(said) => format!("declined {said}"),
            Verdict::Failed(error) => shown(&error),
        };
        assert_eq!(found, wanted);
    }

    #[test]
    fn of_a_long_answer_the_beginning_is_shown() {
        assert_eq!(shown(json!({"a": [1]})), json!({"a": [1]}));
        assert_eq!(shown(json!("no JSON")), json!("no JSON"));
        let long = shown(json!(["ü".repeat(ANSWER_SHOWN_BYTES_MAX)]));
        let long = long.as_str().unwrap();
        assert!(long.starts_with("[\"üü") && long.ends_with("ü…"));
        assert!(long.len() <= ANSWER_SHOWN_BYTES_MAX + '…'.len_utf8());
    }

    #[test]
    fn answers_are_told_apart() {
        const NUMBER: &str = HEADER_ERROR_NUMBER;
        const TEXT: &str = HEADER_ERROR;
        check(&[], "{\"a\":1}", "result {\"a\":1}");
        check(&[], " ", "result null");
        check(&[], "{", "failed INVALID_RESULT - true false");
        check(
            &[(NUMBER, "500"), (TEXT, "it broke")],
            "",
            "failed TOOL_ERROR 500 true false",
        );
        check(
            &[(NUMBER, "500"), (TEXT, "NO_DISK")],
            "",
            "failed TOOL_ERROR NO_DISK true false",
        );
        check(
            &[(NUMBER, "500"), (TEXT, "broken")],
            "",
            "failed TOOL_ERROR 500 true false",
        );
        check(
            &[(NUMBER, "500"), (TEXT, "NO_DISK")],
            r#"{"error":{"code":"DISK_FULL","message":"x","retryable":true,"more":1}}"#,
            "failed TOOL_ERROR DISK_FULL true true",
        );
        check(
            &[(NUMBER, "409")],
            r#"{"error":"busy"}"#,
            "failed TOOL_ERROR 409 true false",
        );
        check(
            &[(NUMBER, "503"), (TEXT, "BUSY"), (HEADER_EXECUTED, "false")],
            "",
            "declined BUSY",
        );
        check(
            &[(NUMBER, "503"), (TEXT, "BUSY")],
            "",
            "failed TOOL_ERROR BUSY true false",
        );
        check(
            &[(NUMBER, "400"), (HEADER_EXECUTED, "false")],
            "",
            "failed TOOL_ERROR 400 false false",
        );
    }
}
