//! How a command ends that did not do what it was told: for people, for programs, and as an exit code.

use std::{process::ExitCode, time::Duration};

use onex_types::bound_names as bounds;
use onex_types::ids::RequestId;
use serde_json::{Value, json};

use crate::{
    client,
    protocol::error::{self, ErrorCode},
};

use super::typed;

/// Nobody waits that long for an answer, in milliseconds: a store that says so was restored.
const QUIET_MILLIS_MIN: u64 = 60_000;
/// What to do where an answer took too long.
const WAIT_LONGER: &str = "wait longer with --timeout";

/// Exit codes. They do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done.
    Done = 0,
    /// Refused, or failed.
    Failed = 1,
    /// The command line is wrong, or what it names is not there.
    Usage = 2,
    /// Some of it is done.
    Partly = 3,
    /// No NATS server, no registry, or no answer in time. The number is `EX_UNAVAILABLE` of sysexits.h.
    Unreachable = 69,
    /// Refused now; the same command may work later. The number is `EX_TEMPFAIL` of sysexits.h.
    Later = 75,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command was not done.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    /// The member `error` of what programs get: the registry's own where it sent one.
    error: Value,
    /// What happened.
    message: Box<str>,
    /// More of it for people, in lines of their own; programs have the details.
    shown: Vec<String>,
    /// What to do.
    hint: Option<Box<str>>,
    /// Whether what was asked for may have been done all the same.
    may_be_done: bool,
    /// The name under which it can be asked for again without being done twice.
    request_id: Option<RequestId>,
}

impl Failure {
    /// A failure that the registry knows nothing of.
    pub(super) fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let retryable = matches!(exit, Exit::Unreachable | Exit::Later);
        let error = json!({
            "code": code, "message": message, "retryable": retryable, "retry_after_ms": null, "details": {},
        });
        Self {
            exit,
            error,
            message: message.into(),
            shown: Vec::new(),
            hint: None,
            may_be_done: false,
            request_id: None,
        }
    }

    /// The command line is wrong.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "USAGE", message)
    }

    /// Asking again does not help.
    #[must_use]
    pub(super) fn for_good(mut self) -> Self {
        if let Some(error) = self.error.as_object_mut() {
            error.insert("retryable".to_owned(), false.into());
        }
        self
    }

    /// With what to do.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into().into());
        self
    }

    /// What a member of `details` becomes; nothing where it is left out.
    #[must_use]
    pub(super) fn with_changed(
        mut self,
        name: &str,
        change: impl FnOnce(Value) -> Option<Value>,
    ) -> Self {
        if let Some(Value::Object(details)) = self.error.get_mut("details")
            && let Some(value) = details.remove(name).and_then(change)
        {
            details.insert(name.to_owned(), value);
        }
        self
    }

    /// With nothing to do.
    #[must_use]
    pub(super) fn without_hint(self) -> Self {
        Self { hint: None, ..self }
    }

    /// With a member of `details`.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Some(Value::Object(details)) = self.error.get_mut("details") {
            details.insert(name.to_owned(), value.into());
        }
        self
    }

    /// For people without the end of the message, which is said elsewhere.
    #[must_use]
    pub(super) fn without_end(mut self, end: &str) -> Self {
        if let Some(message) = self.message.strip_suffix(end) {
            self.message = message.into();
        }
        self
    }

    /// With more of what happened, for people.
    #[must_use]
    pub(super) fn showing(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.shown.extend(lines);
        self
    }

    /// A member of the registry's `details`.
    pub(super) fn detail(&self, name: &str) -> Option<&Value> {
        self.error.get("details")?.get(name)
    }

    /// All of them.
    pub(super) fn detail_values(&self) -> Value {
        self.error.get("details").cloned().unwrap_or_default()
    }

    /// A member of the error that is not among its details, as `retryable`.
    pub(super) fn member(&self, name: &str) -> Option<&Value> {
        self.error.get(name)
    }

    /// Where the outcome is unknown: the flags to give so that it is not done twice. `request_id` is one of
    /// them.
    #[must_use]
    pub(super) fn repeat_with(self, request_id: RequestId, flags: &str) -> Self {
        if !self.may_be_done {
            return self;
        }
        let hint = format!(
            "it may have been done all the same: ask again with {flags}, and it is not done twice; wait longer with \
             --timeout"
        );
        Self {
            request_id: Some(request_id),
            ..self.hint(hint)
        }
    }

    /// With what it was about.
    #[must_use]
    pub(super) fn about(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message).into();
        if let Some(error) = self.error.as_object_mut() {
            error.insert("message".to_owned(), self.message.as_ref().into());
        }
        self
    }

    /// Whether a port that was refused may become free by waiting.
    pub(super) fn may_pass(&self) -> bool {
        let state = self.detail("state").and_then(Value::as_str);
        self.is(ErrorCode::ResourceExhausted)
            || self.is(ErrorCode::PortUnavailable) && !matches!(state, Some("reserved" | "outside"))
    }

    /// Where waiting longer with --timeout does not help: with the flag that does, if there is one.
    #[must_use]
    pub(super) fn waiting_by(mut self, flag: Option<&str>) -> Self {
        let Some(hint) = self.hint.take() else {
            return self;
        };
        let hint = match flag {
            Some(flag) => hint.replace(WAIT_LONGER, &format!("wait longer with {flag}")),
            None => ["; ", ", or "]
                .iter()
                .fold(hint.into_string(), |hint, before| {
                    hint.replace(&format!("{before}{WAIT_LONGER}"), "")
                }),
        };
        self.hint(hint)
    }

    /// For a question: it has done nothing, whatever became of it.
    #[must_use]
    pub(super) fn of_a_question(self) -> Self {
        if self.is(ErrorCode::StoreUnavailable) {
            let hint = "ask again, or ask how things were before with --max-age 1h";
            return Self {
                may_be_done: false,
                ..self.hint(hint)
            };
        }
        if !self.may_be_done {
            return self;
        }
        Self {
            may_be_done: false,
            ..self.hint("ask again, or wait longer with --timeout")
        }
    }

    /// Whether it is the registry's refusal with that code.
    pub(super) fn is(&self, code: ErrorCode) -> bool {
        self.error.get("code").and_then(Value::as_str) == Some(code.as_str())
    }

    /// With the name that was probably meant.
    #[must_use]
    pub(super) fn did_you_mean(self, name: &str) -> Self {
        let hint = match &self.hint {
            Some(hint) => format!("did you mean {name}? {hint}"),
            None => format!("did you mean {name}?"),
        };
        self.hint(hint)
    }

    /// When the registry says that asking again may help.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let millis = self.error.get("retry_after_ms")?.as_u64()?;
        Some(Duration::from_millis(millis))
    }

    /// What happened.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// What to do.
    pub(super) fn shown_hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// What happened, alone.
    pub(super) fn into_message(self) -> String {
        self.message.into()
    }

    /// For people: what happened, and below it what to do. Commands that it shows get `flags`.
    pub(super) fn text(&self, flags: &str) -> String {
        let hint = self.hint_with(flags);
        let below = self.shown.iter().map(String::as_str);
        let below = below.chain(hint.as_deref());
        below.fold(format!("onex: {}", self.message), |text, line| {
            format!("{text}\n      {line}")
        })
    }

    fn hint_with(&self, flags: &str) -> Option<String> {
        let hint = self.hint.as_deref()?;
        Some(typed::with_flags(hint, flags))
    }

    /// For programs: as the registry's errors, with `hint` and `request_id` where there are.
    pub(super) fn json(&self, flags: &str) -> Value {
        json!({ "error": self.error(flags) })
    }

    /// The member `error` of that.
    pub(super) fn error(&self, flags: &str) -> Value {
        let mut error = self.error.clone();
        let more = [
            ("hint", self.hint_with(flags)),
            ("request_id", self.request_id.map(|id| id.0.to_string())),
        ];
        for (name, text) in more {
            if let (Some(object), Some(text)) = (error.as_object_mut(), text) {
                object.insert(name.to_owned(), text.into());
            }
        }
        error
    }

    fn refused(refusal: &error::Error) -> Self {
        let pointer = refusal.details.get("pointer").and_then(Value::as_str);
        let field = pointer.map(|pointer| pointer.trim_start_matches('/'));
        let message = match field.filter(|field| !field.is_empty()) {
            Some(field) if !refusal.message.contains(field) => {
                format!("{field} {}", refusal.message)
            }
            _ => refusal.message.clone(),
        };
        let failure = Self {
            exit: if refusal.retryable {
                Exit::Later
            } else {
                Exit::Failed
            },
            error: serde_json::to_value(refusal).unwrap_or_default(),
            ..Self::new(Exit::Failed, "", message)
        };
        match hint(refusal) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        let message = error.to_string();
        let may_be_done = error.may_be_done();
        let failure = match error {
            client::Error::Refused(refusal) => Self::refused(&refusal),
            client::Error::RefusedOtherwise {
                retryable, whole, ..
            } => Self {
                exit: if retryable { Exit::Later } else { Exit::Failed },
                error: whole,
                ..Self::new(Exit::Failed, "", message)
            },
            client::Error::NoResponders { .. } => {
                Self::new(Exit::Unreachable, "NO_REGISTRY", message)
            }
            client::Error::TimedOut { .. } => Self::new(Exit::Unreachable, "TIMED_OUT", message)
                .hint("it may have been done all the same; wait longer with --timeout"),
            client::Error::Connection(_) => {
                Self::new(Exit::Unreachable, "CONNECTION_LOST", message)
                    .hint("it may have been done all the same; see `onex port list`")
            }
            client::Error::TooLarge(_) => Self::new(Exit::Failed, "TOO_LARGE", message),
            client::Error::Unfit(error) => Self::usage(Self::refused(&error).message),
            client::Error::Over(_) => Self::new(Exit::Failed, "OVER", onex_types::chain(&error)),
            client::Error::Listen { .. } => {
                Self::new(Exit::Failed, "LISTEN", onex_types::chain(&error))
            }
            client::Error::Malformed { .. } | client::Error::Endless { .. } => {
                Self::new(Exit::Failed, "MALFORMED_REPLY", onex_types::chain(&error))
                    .hint("does something else than a registry of this protocol answer there?")
            }
        };
        Self {
            may_be_done,
            ..failure
        }
    }
}

/// What someone at a terminal can do about a refusal.
fn hint(refusal: &error::Error) -> Option<String> {
    let text = match refusal.code {
        ErrorCode::NotHolder => {
            "it was leased under another requester id: say which with --requester"
        }
        ErrorCode::LeaseNotFound | ErrorCode::LeaseExpired => {
            "take a new one with `onex port lease`"
        }
        ErrorCode::NodeNotFound => "`onex node list` shows the nodes that there are",
        ErrorCode::ToolNotFound => "`onex tool list` shows the tools that there are",
        ErrorCode::BusNotFound => "`onex bus list` shows the buses that there are",
        ErrorCode::SchemaNotFound => return Some(no_schema(refusal)),
        ErrorCode::PoolNotFound => "`onex pool list` shows the hosts that there are",
        ErrorCode::Conflict => "`onex pool list -o wide` shows the revision that there is",
        ErrorCode::PortUnavailable => {
            "with --preferred-port, and without --exact, you get another one"
        }
        ErrorCode::IdempotencyMismatch => "choose another --request-id",
        ErrorCode::LimitExceeded => return limit(refusal).map(str::to_owned),
        ErrorCode::ResourceExhausted => return Some(exhausted(refusal)),
        // The message says whether anything was done.
        ErrorCode::StoreUnavailable if refusal.retry_after_ms > Some(QUIET_MILLIS_MIN) => {
            "once every holder has been started again, `onex doctor --accept-restore --holders-restarted` ends that \
             at once: stop every registry for it"
        }
        ErrorCode::StoreUnavailable => "ask again, or wait longer with --timeout",
        ErrorCode::Stale | ErrorCode::Busy => {
            "nothing was done; ask again, or wait longer with --timeout"
        }
        ErrorCode::InvalidArguments | ErrorCode::ContractChanged => {
            "`onex tool describe NAME` shows what the tool takes"
        }
        ErrorCode::ProviderNotFound => {
            "`onex tool invoke --dry-run` says why each node is left out"
        }
        ErrorCode::ToolTimeout if refusal.retryable => "ask again, or wait longer with --timeout",
        ErrorCode::ToolTimeout => {
            "find out whether it was before you call it again; wait longer with --timeout"
        }
        ErrorCode::Internal => return Some(internal(&refusal.correlation_id)),
        ErrorCode::InvalidRequest
        | ErrorCode::Forbidden
        | ErrorCode::Superseded
        | ErrorCode::StoreChanged
        | ErrorCode::ToolError
        | ErrorCode::InvalidResult
        | ErrorCode::TooLarge => return None,
    };
    Some(text.to_owned())
}

fn no_schema(refusal: &error::Error) -> String {
    let list = "`onex schema list` shows the schemas that there are";
    match refusal.details.get("nearest").and_then(Value::as_str) {
        Some(nearest) => format!("did you mean {nearest}? {list}"),
        None => list.to_owned(),
    }
}

fn exhausted(refusal: &error::Error) -> String {
    // Where it is known which port that is the message says it.
    let unsaid = !refusal.details.contains_key("next");
    let when = refusal.retry_after_ms.filter(|_| unsaid);
    let when = when.map_or_else(String::new, |millis| {
        let soonest = super::output::span(millis);
        format!("; the soonest may be free in {soonest}")
    });
    format!("`onex pool list` shows what is held{when}")
}

/// By the bound that is reached; nothing for one that a later version knows.
fn limit(refusal: &error::Error) -> Option<&'static str> {
    match refusal.details.get("bound")?.as_str()? {
        bounds::HOSTS => Some(
            "`onex pool list` shows the hosts that there are; `onex serve --hosts-max` allows more",
        ),
        bounds::LEASES => {
            Some("`onex port list --mine` shows what you hold; `onex port release` gives it back")
        }
        bounds::NODES => Some(
            "`onex node list` shows the nodes that there are, ended ones too; `onex serve --nodes-max` allows more, \
             --retention forgets sooner",
        ),
        bounds::BUSES => Some(
            "`onex bus list` shows the buses that there are, ended ones too; `onex serve --buses-max` allows more, \
             --retention forgets sooner",
        ),
        _ => None,
    }
}

fn internal(correlation_id: &str) -> String {
    format!("the registry's log has more under correlation_id={correlation_id}")
}

#[cfg(test)]
mod tests {
    use onex_core::command::Refusal;

    use super::*;
    use crate::protocol::{endpoint::Endpoint, error::Outcome};

    #[test]
    fn a_refusal_names_its_field_once() {
        let failure = |pointer: &str, message: &str| {
            Failure::refused(&error::Error::invalid(pointer, message)).text("")
        };
        assert_eq!(failure("/ttl", "must be 1"), "onex: ttl must be 1");
        assert_eq!(failure("/ttl", "ttl is odd"), "onex: ttl is odd");
        assert_eq!(failure("", "no object"), "onex: no object");
    }

    #[test]
    fn programs_get_the_registrys_error_with_the_hint() {
        let refusal = error::Error::new(ErrorCode::PortUnavailable, "taken").with("state", "held");
        let failure = Failure::from(client::Error::Refused(refusal));
        assert_eq!(failure.exit, Exit::Failed);
        let error = &failure.json("")["error"];
        assert_eq!(error["code"], "PORT_UNAVAILABLE");
        assert_eq!(error["details"]["state"], "held");
        assert!(error["hint"].as_str().unwrap().contains("--exact"));
    }

    #[test]
    fn a_bound_says_how_to_make_room_under_it() {
        let hint = |what, limit| {
            let message = Refusal::LimitExceeded { what, limit }.to_string();
            let refusal = error::Error::new(ErrorCode::LimitExceeded, message).with("bound", what);
            Failure::from(client::Error::Refused(refusal)).text("")
        };
        let hosts = hint(bounds::HOSTS, 1);
        assert!(hosts.contains("--hosts-max"), "{hosts}");
        assert!(hosts.contains("no more hosts are allowed: the limit is 1"));
        assert!(hint(bounds::LEASES, 1000).contains("release"));
        for (bound, flag) in [
            (bounds::NODES, "--nodes-max"),
            (bounds::BUSES, "--buses-max"),
        ] {
            let text = hint(bound, 9);
            assert!(
                text.contains(flag) && text.contains("the limit is 9, and ended ones count"),
                "{text}"
            );
        }
        assert!(!hint("moons", 2).contains('`'));
    }

    #[test]
    fn an_unknown_outcome_says_how_to_ask_again() {
        let id: uuid::Uuid = "0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f".parse().unwrap();
        let repeated = |error: client::Error| {
            let flags = format!("--request-id {id}");
            Failure::from(error).repeat_with(RequestId(id), &flags)
        };
        let unavailable = |outcome| client::Error::Refused(error::Error::unavailable(outcome));
        let timed_out = client::Error::TimedOut {
            endpoint: Endpoint::PortLease,
            after: std::time::Duration::from_secs(4),
        };
        for error in [unavailable(Outcome::Unknown), timed_out] {
            let failure = repeated(error);
            assert_eq!(failure.json("")["error"]["request_id"], id.to_string());
            let text = failure.text("");
            assert!(text.contains(&format!("--request-id {id}")), "{text}");
        }
        let failure = repeated(unavailable(Outcome::None));
        assert!(failure.json("")["error"].get("request_id").is_none());
    }

    #[test]
    fn a_later_versions_error_keeps_its_code() {
        let failure = Failure::from(client::Error::RefusedOtherwise {
            code: "TOO_WARM".into(),
            message: "m".into(),
            retryable: true,
            retry_after_ms: None,
            whole: json!({"code": "TOO_WARM"}),
        });
        assert_eq!(failure.exit, Exit::Later);
        assert_eq!(failure.json("")["error"]["code"], "TOO_WARM");
    }
}
