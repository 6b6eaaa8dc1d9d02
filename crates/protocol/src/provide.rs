//! What a provider answers to the call of a tool in the place of a result.

use semver::Version;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    error::{BUSY_RETRY_MILLIS, Error, ErrorCode},
    frame,
    json::{Document, JsonText},
    names::{HEADER_ERROR, HEADER_ERROR_NUMBER, HEADER_EXECUTED},
    violation::Violation,
    whole::{Whole, whole},
};

/// The number beside an error of the tool's own, in the style of HTTP: it was asked well, and cannot do it.
const OWN_NUMBER: u16 = 422;
/// The same where it may be done later.
const OWN_NUMBER_RETRYABLE: u16 = 503;

/// An error, as a provider says it: by headers of NATS micro services, with the whole of it as JSON for who reads that.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// In the style of HTTP.
    pub number: u16,
    /// The stable name: one of the tool's error codes, or one that every provider may say.
    pub code: String,
    /// For people.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// When, in milliseconds, where that is known.
    pub retry_after_ms: Option<u64>,
    /// What programs need.
    pub details: Map<String, Value>,
    /// Whether the tool was begun. If not, the call may go to another provider.
    pub begun: bool,
}

impl Fault {
    /// An error that has a number in the registry's list.
    fn of(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::from(Error::new(code, message))
    }

    /// The tool's own: `code` is one of its error codes.
    pub fn own(code: impl Into<String>, message: impl Into<String>, retryable: bool) -> Self {
        Self {
            number: if retryable {
                OWN_NUMBER_RETRYABLE
            } else {
                OWN_NUMBER
            },
            code: code.into(),
            message: message.into(),
            retryable,
            retry_after_ms: None,
            details: Map::new(),
            begun: true,
        }
    }

    /// The arguments are not as the contract says. The tool was not begun.
    pub fn invalid_arguments(violations: &[Violation]) -> Self {
        let message = said_of("the arguments are", violations);
        Self {
            begun: false,
            ..Self::of(ErrorCode::InvalidArguments, message)
        }
        .with("violations", json!(violations))
    }

    /// The result is not as the contract says: a fault of the tool's own.
    pub fn invalid_result(violations: &[Violation]) -> Self {
        let message = said_of("the result is", violations);
        Self::of(ErrorCode::InvalidResult, message).with("violations", json!(violations))
    }

    /// The caller relies on another contract than this process knows. The tool was not begun.
    pub fn contract_changed(asked: &str, version: &Version, offered: &str) -> Self {
        let message = "the tool is served here under another contract";
        Self::elsewhere(ErrorCode::ContractChanged, message)
            .with("contract_hash", asked)
            .with(
                "offered",
                json!([{"tool_version": version, "contract_hash": offered}]),
            )
    }

    /// What is called is not served by this process. The tool was not begun.
    pub fn tool_not_found(message: impl Into<String>) -> Self {
        Self::elsewhere(ErrorCode::ToolNotFound, message)
    }

    /// Another may do it. A registry asks for what is announced: then this is an old process of the node, which does not
    /// know yet that its place is taken.
    fn elsewhere(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            number: ErrorCode::Busy.number(),
            begun: false,
            ..Self::of(code, message)
        }
    }

    /// As many calls as may be are under way, or the node is stopping. The tool was not begun.
    pub fn busy(message: impl Into<String>) -> Self {
        Self {
            retry_after_ms: Some(BUSY_RETRY_MILLIS),
            begun: false,
            ..Self::of(ErrorCode::Busy, message)
        }
    }

    /// The result is larger than a message may be.
    pub fn too_large(limit: usize) -> Self {
        Self::from(Error::too_large("the result", limit))
    }

    /// A fault of the tool's own that has no name.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::of(ErrorCode::Internal, message)
    }

    /// With a member of `details`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// The headers that tell of it.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            (HEADER_ERROR_NUMBER, self.number.to_string()),
            (HEADER_ERROR, self.code.clone()),
        ];
        if !self.begun {
            headers.push((HEADER_EXECUTED, false.to_string()));
        }
        headers
    }

    /// The body that tells of it.
    pub fn body(&self, correlation_id: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            code: &'a str,
            message: &'a str,
            retryable: bool,
            retry_after_ms: Option<u64>,
            correlation_id: &'a str,
            details: &'a Map<String, Value>,
        }
        let body = Body {
            code: &self.code,
            message: &self.message,
            retryable: self.retryable,
            retry_after_ms: self.retry_after_ms,
            correlation_id,
            details: &self.details,
        };
        json!({"error": body}).to_string().into_bytes()
    }
}

/// As the registry would say it of a request of its own.
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self {
            number: error.code.number(),
            code: error.code.as_str().to_owned(),
            message: error.message,
            retryable: error.retryable,
            retry_after_ms: error.retry_after_ms,
            details: error.details,
            begun: true,
        }
    }
}

/// The first violation in words: whoever sees only the message shall know what to do.
fn said_of(what: &str, violations: &[Violation]) -> String {
    let Some(Violation { pointer, message }) = violations.first() else {
        return format!("{what} not as the tool's contract says");
    };
    let place = if pointer.is_empty() {
        String::new()
    } else {
        format!("{pointer}: ")
    };
    format!("{what} not as the tool's contract says: {place}{message}")
}

/// The arguments of a call, from its body: an object. An empty body is an empty object.
pub fn arguments(body: &[u8]) -> Result<(JsonText, Document), Violation> {
    let body = body.trim_ascii();
    let body = if body.is_empty() { b"{}" } else { body };
    let wrong = |message: String| Violation {
        pointer: String::new(),
        message,
    };
    let arguments = JsonText::parse(body).map_err(|error| wrong(frame::said_plainly(&error)))?;
    if !arguments.is_object() {
        return Err(wrong("must be an object".to_owned()));
    }
    let document = arguments.document()?;
    Ok((arguments, document))
}

/// The same as a type: what the contract does not say of it may be wrong still. Numbers are read from the text, and
/// whole ones may be written as fractions: to JSON Schema `1.0` is an integer.
pub fn read_as<T: DeserializeOwned>(arguments: &JsonText) -> Result<T, Violation> {
    let mut json = serde_json::Deserializer::from_str(arguments.text());
    let wrong = match serde_path_to_error::deserialize(Whole(&mut json)) {
        Ok(read) => return Ok(read),
        Err(error) => violation(&error),
    };
    // Within what serde holds back to look at it twice, as for a union, a fraction is a fraction.
    let Some(mut value) = arguments.document()?.into_value() else {
        return Err(wrong);
    };
    make_whole(&mut value);
    serde_path_to_error::deserialize(value).map_err(|error| violation(&error))
}

fn violation(error: &serde_path_to_error::Error<serde_json::Error>) -> Violation {
    Violation {
        pointer: frame::pointer_to(error.path().iter()),
        message: frame::said_plainly(error.inner()),
    }
}

/// Writes whole numbers as such.
fn make_whole(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            // What is too large for that stays as it is.
            if let Some(whole) = number.as_f64().and_then(whole) {
                *number = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(make_whole),
        Value::Object(members) => members.values_mut().for_each(make_whole),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[track_caller]
    fn check(body: &str, want: Result<Value, &str>) {
        let found = arguments(body.as_bytes());
        let found = found
            .map(|(_, document)| document.value)
            .map_err(|violation| violation.message);
        match want {
            Ok(value) => assert_eq!(found, Ok(value), "{body}"),
            Err(part) => {
                let message = found.unwrap_err();
                assert!(message.contains(part), "{body}: {message}");
            }
        }
    }

    #[test]
    fn arguments_are_an_object() {
        check("", Ok(json!({})));
        check(" \n", Ok(json!({})));
        check(r#"{"a": 1}"#, Ok(json!({"a": 1})));
        check("[]", Err("must be an object"));
        check("null", Err("must be an object"));
        check("{", Err("not JSON"));
        check("{} {}", Err("not JSON"));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        check(&deep, Err("64 levels"));
        check(r#"{"a": 1, "a": 2}"#, Err("twice"));
    }

    #[test]
    fn what_a_type_does_not_take_is_said_with_its_place() {
        #[derive(Debug, Deserialize)]
        struct Point {
            #[expect(dead_code, reason = "only read")]
            at: Vec<u8>,
        }
        let read = |value: Value| read_as::<Point>(&value.into());
        let violation = read(json!({"at": [1, 300]})).unwrap_err();
        assert_eq!(violation.pointer, "/at/1");
        assert!(violation.message.contains("300"), "{violation:?}");
        assert!(read(json!({"at": [1]})).is_ok());
        assert!(read(json!({"at": [1.0, 2e1]})).is_ok());
        assert!(read(json!({"at": [1.5]})).is_err());
        let floats: Vec<f64> = read_as(&json!([1.0, 1e300, -2.0, 0.5]).into()).unwrap();
        assert_eq!(floats, [1.0, 1e300, -2.0, 0.5]);
        let large = JsonText::parse(b"[123456789012345678901234567890]").unwrap();
        let large: Vec<u128> = read_as(&large).unwrap();
        assert_eq!(large, [123_456_789_012_345_678_901_234_567_890]);
        let too_large = JsonText::parse(br"[1e400]").unwrap();
        assert!(read_as::<Vec<f64>>(&too_large).is_err());
    }

    #[test]
    fn what_was_not_begun_says_so() {
        let violations = [Violation {
            pointer: "/a".to_owned(),
            message: "1 is not of type \"string\"".to_owned(),
        }];
        let executed = |error: &Fault| {
            let headers = error.headers();
            let found = headers
                .into_iter()
                .find(|(name, _)| *name == HEADER_EXECUTED);
            found.map(|(_, value)| value)
        };
        let refused = Fault::invalid_arguments(&violations);
        assert!(refused.message.ends_with("/a: 1 is not of type \"string\""));
        for error in [
            refused,
            Fault::busy("b"),
            Fault::tool_not_found("t"),
            Fault::contract_changed("a", &Version::new(1, 0, 0), "b"),
        ] {
            assert_eq!(executed(&error).as_deref(), Some("false"), "{error:?}");
        }
        for error in [
            Fault::invalid_result(&violations),
            Fault::internal("i"),
            Fault::too_large(1),
            Fault::own("OVERFLOW", "o", true),
        ] {
            assert_eq!(executed(&error), None, "{error:?}");
        }
        let body: Value =
            serde_json::from_slice(&Fault::own("OVERFLOW", "o", true).body("c")).unwrap();
        assert_eq!(body["error"]["code"], "OVERFLOW");
        assert_eq!(body["error"]["retryable"], true);
        assert_eq!(body["error"]["correlation_id"], "c");
    }
}
