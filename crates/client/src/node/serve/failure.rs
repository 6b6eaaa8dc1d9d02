//! What a tool answers when it cannot do what it is asked.

use std::{error::Error as StdError, fmt};

use onex_protocol::{provide::Fault, tool::Tool};
use onex_types::ids::Label;
use serde_json::Value;

use super::Call;

/// Why a call of a tool has no result.
///
/// With a code, one of the tool's [`error_codes`](Tool::error_codes), it is an answer that the contract foresees: the
/// caller gets code, message and details. Any other error turns into one without a code by `?`: the caller is told
/// `INTERNAL` and no more, and what it says is logged under the execution id. [`OrFail::or_fail`] gives an error a code.
///
/// ```
/// use onex_client::{Failure, OrFail as _};
///
/// fn ratio(a: &str, b: f64) -> Result<f64, Failure> {
///     let a: f64 = a.parse().or_fail("NOT_A_NUMBER")?;
///     if b == 0.0 {
///         return Err(Failure::new("DIVISION_BY_ZERO", "b must not be 0").with("b", b));
///     }
///     let _settings = std::fs::read_to_string("/dev/null")?;
///     Ok(a / b)
/// }
/// assert!(ratio("one", 1.0).is_err() && ratio("1", 0.0).is_err() && ratio("1", 1.0).is_ok());
/// ```
#[derive(Debug)]
pub struct Failure(Kind);

#[derive(Debug)]
enum Kind {
    Own(Fault),
    Unexpected(Box<dyn StdError + Send + Sync>),
}

impl Failure {
    /// The tool's own error: a code of its contract, at most 128 characters, and what happened, for people. The same
    /// call would fail again.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self(Kind::Own(Fault::own(code, message, false)))
    }

    /// The same call may succeed later.
    #[must_use]
    pub fn retryable(self) -> Self {
        self.change(|error| Fault {
            details: error.details,
            ..Fault::own(error.code, error.message, true)
        })
    }

    /// With a member of `details`, for programs. One without a code has none.
    #[must_use]
    pub fn with(self, name: &str, value: impl Into<Value>) -> Self {
        self.change(|error| error.with(name, value))
    }

    fn change(self, change: impl FnOnce(Fault) -> Fault) -> Self {
        match self.0 {
            Kind::Own(error) => Self(Kind::Own(change(error))),
            unexpected @ Kind::Unexpected(_) => Self(unexpected),
        }
    }

    /// What the caller is told. What is not for the caller is logged.
    pub(super) fn into_fault(self, tool: &Tool, call: &Call) -> Fault {
        let (name, execution_id) = (tool.name.as_str(), call.execution_id());
        let error = match self.0 {
            Kind::Own(error) => error,
            Kind::Unexpected(error) => {
                let why = onex_types::chain(error.as_ref());
                tracing::error!(tool = name, execution_id, %why, "a tool has failed");
                return Fault::internal("the tool has failed; its node's log says why");
            }
        };
        if error.code.parse::<Label>().is_err() {
            tracing::error!(tool = name, execution_id, code = ?error.code, "what a tool answers is no error code");
            return Fault::internal("the tool has failed; its node's log says why");
        }
        if !tool
            .error_codes
            .iter()
            .any(|code| code.as_str() == error.code)
        {
            tracing::warn!(tool = name, execution_id, code = %error.code, "the tool's contract does not name this error code");
        }
        error
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(Kind::Unexpected(error.into()))
    }
}

/// For people: as the caller would see it, and the whole chain where the caller would not.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Own(error) => write!(f, "{}: {}", error.code, error.message),
            Kind::Unexpected(error) => f.write_str(&onex_types::chain(error.as_ref())),
        }
    }
}

/// Gives an error a code.
pub trait OrFail<T> {
    /// The value; or that code, one of the tool's, with what the error says, which the caller gets to see.
    fn or_fail(self, code: &str) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> OrFail<T> for Result<T, E> {
    fn or_fail(self, code: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(code, onex_types::chain(error.into().as_ref())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(failure: Failure) -> Fault {
        let tool: Tool = serde_json::from_value(serde_json::json!({
            "name": "add", "version": "1.0.0", "error_codes": ["OVERFLOW"],
        }))
        .unwrap();
        let call = Call::of(None, &tool).unwrap();
        failure.into_fault(&tool, &call)
    }

    #[test]
    fn an_error_with_a_code_is_told_and_one_without_is_not() {
        let own = fault(
            Failure::new("OVERFLOW", "too much")
                .with("limit", 7)
                .retryable(),
        );
        assert_eq!((own.code.as_str(), own.retryable), ("OVERFLOW", true));
        assert_eq!(own.details["limit"], 7);
        let named = fault("x".parse::<u8>().or_fail("OVERFLOW").unwrap_err());
        assert!(named.message.contains("invalid digit"), "{named:?}");
        let undeclared = fault(Failure::new("OTHER", "m"));
        assert_eq!(undeclared.code, "OTHER");
        for unnamed in [
            Failure::from(std::io::Error::other("the password is 1234")),
            Failure::from(anyhow::anyhow!("the password is 1234")),
            Failure::from("the password is 1234"),
            // Would forge a header.
            Failure::new("A\r\nB: c", "the password is 1234"),
            Failure::new("", "the password is 1234"),
        ] {
            let fault = fault(unnamed);
            assert_eq!(fault.code, "INTERNAL");
            assert!(!fault.message.contains("1234"), "{fault:?}");
        }
    }
}
