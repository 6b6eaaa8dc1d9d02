//! One call, as the handler of a tool sees it.

use std::time::Duration;

use async_nats::HeaderMap;
use onex_machine::new_id;
use onex_protocol::{
    frame,
    names::{HEADER_CORRELATION_ID, HEADER_EXECUTION_ID, HEADER_TIMEOUT_MS, HEADER_TRACEPARENT},
    provide::Fault,
    tool::Tool,
};
use onex_types::ids::Token;
use semver::Version;

use crate::{BootTime, TIMEOUT_MAX};

/// Characters of a trace's name that are handed on, at most. Source: W3C Trace Context, with room for later versions.
const TRACEPARENT_CHARS_MAX: usize = 512;

/// What is known of a call beside its arguments.
#[derive(Debug, Clone)]
pub struct Call {
    tool: Token,
    version: Version,
    execution_id: String,
    correlation_id: String,
    traceparent: Option<String>,
    deadline: BootTime,
}

impl Call {
    /// The call that has these headers and has just come.
    pub(super) fn of(headers: Option<&HeaderMap>, tool: &Tool) -> Result<Self, Fault> {
        let header = |name: &str| Some(headers?.get(name)?.as_str());
        let refused = |error| Fault {
            begun: false,
            ..Fault::from(error)
        };
        let correlation_id = frame::correlation_id(header(HEADER_CORRELATION_ID));
        let execution_id = header(HEADER_EXECUTION_ID).filter(|id| is_id(id));
        let traceparent = header(HEADER_TRACEPARENT)
            .filter(|trace| trace.len() <= TRACEPARENT_CHARS_MAX && is_visible(trace));
        let patience = match header(HEADER_TIMEOUT_MS) {
            None => TIMEOUT_MAX,
            some => Duration::from_millis(frame::timeout_millis(some).map_err(refused)?),
        };
        Ok(Self {
            tool: tool.name.clone(),
            version: tool.version.clone(),
            execution_id: execution_id.map_or_else(fresh, str::to_owned),
            correlation_id: correlation_id.map_err(refused)?.unwrap_or_else(fresh),
            traceparent: traceparent.map(str::to_owned),
            deadline: BootTime::now() + patience,
        })
    }

    /// The tool that is called.
    pub fn tool(&self) -> &Token {
        &self.tool
    }

    /// The version of it that is called.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The registry's name for this execution, which its events have as well; one that was made here where the caller
    /// did not go through a registry. At most 128 visible ASCII characters.
    pub fn execution_id(&self) -> &str {
        &self.execution_id
    }

    /// The caller's name for what it is doing, or one that was made for it: pass it on to whatever is asked on behalf
    /// of this call. At most 128 visible ASCII characters.
    pub fn correlation_id(&self) -> &str {
        &self.correlation_id
    }

    /// The trace that the call belongs to, as the caller sent it: W3C Trace Context.
    pub fn traceparent(&self) -> Option<&str> {
        self.traceparent.as_deref()
    }

    /// When nobody waits for the answer any more. It counts from when the call came; five minutes where the caller did
    /// not say.
    pub fn deadline(&self) -> BootTime {
        self.deadline
    }

    /// What is left until then; zero when it is past.
    pub fn remaining(&self) -> Duration {
        self.deadline.since(BootTime::now())
    }
}

fn fresh() -> String {
    new_id().to_string()
}

/// Whether it may stand in a log line and a header.
fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_id(text: &str) -> bool {
    text.len() <= frame::CORRELATION_ID_CHARS_MAX && is_visible(text)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn of(headers: &[(&str, &str)]) -> Result<Call, Fault> {
        let tool: Tool =
            serde_json::from_value(serde_json::json!({"name": "add", "version": "1.0.0"})).unwrap();
        let map: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                let name = name.parse::<async_nats::HeaderName>().unwrap();
                (name, value.parse::<async_nats::HeaderValue>().unwrap())
            })
            .collect();
        Call::of(Some(&map), &tool)
    }

    #[test]
    fn what_the_caller_said_is_known_and_what_it_did_not_is_made() {
        let call = of(&[
            (HEADER_EXECUTION_ID, "e-1"),
            (HEADER_CORRELATION_ID, "c-1"),
            (HEADER_TRACEPARENT, "00-0af7-b7ad-01"),
            (HEADER_TIMEOUT_MS, "1500"),
        ])
        .unwrap();
        assert_eq!((call.execution_id(), call.correlation_id()), ("e-1", "c-1"));
        assert_eq!(call.traceparent(), Some("00-0af7-b7ad-01"));
        let left = call.remaining();
        assert!(left <= Duration::from_millis(1_500) && left > Duration::from_millis(500));

        let call = of(&[(HEADER_EXECUTION_ID, "no id"), (HEADER_TRACEPARENT, "")]).unwrap();
        assert!(Uuid::parse_str(call.execution_id()).is_ok());
        assert!(Uuid::parse_str(call.correlation_id()).is_ok());
        assert_eq!(call.traceparent(), None);
        assert!(call.remaining() > TIMEOUT_MAX / 2);
    }

    #[test]
    fn a_wrong_header_is_named() {
        for wrong in [(HEADER_TIMEOUT_MS, "0"), (HEADER_CORRELATION_ID, "a b")] {
            let refused = of(&[wrong]).unwrap_err();
            assert_eq!(refused.details["header"], wrong.0);
            assert!(!refused.begun);
        }
    }
}
