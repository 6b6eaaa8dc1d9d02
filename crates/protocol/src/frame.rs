//! From the bytes of a message to a checked request, or to an error that says which field is wrong.

use std::collections::BTreeMap;

use onex_types::ids::Digest;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    endpoint::Endpoint,
    error::{Error, ErrorCode},
    json::violation_in,
    names::{HEADER_CORRELATION_ID, HEADER_MAX_AGE_MS, Namespace, PROTOCOL_MINOR},
    pointer,
    tool::Tool,
    unknown::Unknown,
    whole::{OUT_OF_RANGE, Whole},
};

pub use crate::bounds::{AGE_MILLIS_MAX, AGE_MILLIS_MIN, TIMEOUT_MILLIS_MAX};

/// How long a caller waits that does not say, in milliseconds.
pub const TIMEOUT_MILLIS_DEFAULT: u64 = 4_000;
/// Characters of a correlation id, at most; they must be visible ASCII.
pub const CORRELATION_ID_CHARS_MAX: usize = 128;

/// A request with the fields that are ignored because its protocol minor is a later one.
#[derive(Debug, PartialEq)]
pub struct Parsed<T> {
    /// The request.
    pub request: T,
    /// JSON Pointers.
    pub ignored: Vec<String>,
}

/// Parses the body of a request to `endpoint`, from a caller that speaks protocol 1.`minor`.
pub fn parse<T: DeserializeOwned>(
    endpoint: Endpoint,
    namespace: &Namespace,
    minor: u32,
    body: &[u8],
) -> Result<Parsed<T>, Error> {
    let limit = endpoint.request_bytes_max();
    if body.len() > limit {
        return Err(Error::too_large("the request", limit));
    }
    let empty = body.trim_ascii().is_empty();
    let body = if empty { b"{}" } else { body };
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::invalid("", "the body must be one JSON object"));
    }
    match parse_object(|| endpoint.request_schema(), minor, body) {
        Err(error) if empty => {
            let help = serde_json::to_value(endpoint.help(namespace)).unwrap_or(Value::Null);
            Err(error.with("help", help))
        }
        result => result,
    }
}

/// Parses a contract of a tool that comes from no request; errors point into it.
pub fn parse_contract(text: &[u8]) -> Result<Tool, Error> {
    let schema = || schemars::schema_for!(Tool).to_value();
    Ok(parse_object(schema, PROTOCOL_MINOR, text)?.request)
}

/// `schema` is the request's, asked for only where a field has to be refused.
fn parse_object<T: DeserializeOwned>(
    schema: impl FnOnce() -> Value,
    minor: u32,
    body: &[u8],
) -> Result<Parsed<T>, Error> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let mut json = serde_json::Deserializer::from_slice(body);
    let request: Result<T, _> = serde_ignored::deserialize(
        serde_path_to_error::Deserializer::new(Whole(&mut json), &mut track),
        |path| unknown.push(Unknown::at(&path)),
    );
    let typo = || match unknown.first() {
        Some(field) if !is_later(minor) => Err(field.refusal(&schema())),
        _ => Ok(()),
    };
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            let pointer = pointer_to(track.path().iter());
            let text = error.to_string();
            if let Some(field) = named_by(&text, "missing field `") {
                // A required field that is misspelt is missing as well.
                typo()?;
                let message = format!("{field} is required");
                return Err(Error::invalid(format!("{pointer}/{field}"), message));
            }
            if let Some(field) = named_by(&text, "duplicate field `") {
                let message = format!("{field} is there twice");
                return Err(Error::invalid(format!("{pointer}/{field}"), message));
            }
            let said = said_plainly(&error);
            let (below, message) = violation_in(&said);
            let pointer = pointer + below;
            let message = naming_field(&pointer, message);
            return Err(Error::invalid(pointer, message));
        }
    };
    json.end()
        .map_err(|error| Error::invalid("", said_plainly(&error)))?;
    typo()?;
    let ignored = unknown.iter().map(Unknown::pointer).collect();
    Ok(Parsed { request, ignored })
}

/// The message with the field that is wrong, where it does not name it.
fn naming_field(pointer: &str, message: &str) -> String {
    let field = pointer.trim_start_matches('/');
    if field.is_empty() || message.contains(field) {
        return message.to_owned();
    }
    format!("{field} {message}")
}

/// Whether a caller that speaks that minor may name fields that this build does not know.
fn is_later(minor: u32) -> bool {
    minor > PROTOCOL_MINOR
}

/// The field that a message of serde's names behind `words`.
fn named_by<'a>(message: &'a str, words: &str) -> Option<&'a str> {
    message.strip_prefix(words)?.split('`').next()
}

pub(super) fn said_plainly(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    let text = match whole.rsplit_once(" at line ") {
        Some((text, _)) => text,
        None => &whole,
    };
    if error.is_data() {
        return what_must_be(text).unwrap_or_else(|| text.to_owned());
    }
    // It is JSON all the same.
    if text == "number out of range" {
        return OUT_OF_RANGE.to_owned();
    }
    format!("the body is not JSON: {whole}")
}

/// What serde says of a value that will not do, in words of JSON and not of Rust.
fn what_must_be(text: &str) -> Option<String> {
    let (found, expected) = text.split_once(", expected ")?;
    let found = ["unknown variant ", "invalid value: ", "invalid type: "]
        .iter()
        .find_map(|kind| found.strip_prefix(kind))?;
    let expected = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "a nonzero u16" => "a number from 1 to 65535",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        expected if expected.starts_with("struct ") => "an object",
        expected => expected,
    };
    Some(format!("must be {expected}, not {found}"))
}

pub(super) fn pointer_to<'a>(
    segments: impl Iterator<Item = &'a serde_path_to_error::Segment>,
) -> String {
    use serde_path_to_error::Segment;
    segments.fold(String::new(), |pointer, segment| match segment {
        Segment::Seq { index } => format!("{pointer}/{index}"),
        Segment::Map { key } => pointer::member(&pointer, key),
        Segment::Enum { .. } | Segment::Unknown => pointer,
    })
}

/// The caller's protocol minor, from its header.
pub fn protocol_minor(header: Option<&str>) -> Result<u32, Error> {
    let Some(text) = header else { return Ok(0) };
    let minor = text.strip_prefix("1.").and_then(|minor| minor.parse().ok());
    minor.ok_or_else(|| {
        Error::new(
            ErrorCode::InvalidRequest,
            "header Onex-Protocol must be 1.<minor>",
        )
        .with("header", "Onex-Protocol")
    })
}

/// The part of the caller's patience that is left for the answer to reach it.
const REPLY_PART: u64 = 10;
/// What is left of it at most, in milliseconds.
const REPLY_MILLIS_MAX: u64 = 1_000;

/// How long an answer may take of somebody who waits so long, so that it reaches them in time; both in milliseconds.
pub fn answer_millis(patience: u64) -> u64 {
    patience - (patience / REPLY_PART).min(REPLY_MILLIS_MAX)
}

/// How long the caller waits, from its header, in milliseconds.
pub fn timeout_millis(header: Option<&str>) -> Result<u64, Error> {
    let Some(text) = header else {
        return Ok(TIMEOUT_MILLIS_DEFAULT);
    };
    let millis = text
        .parse()
        .ok()
        .filter(|millis| (1..=TIMEOUT_MILLIS_MAX).contains(millis));
    millis.ok_or_else(|| {
        let message = format!("header Onex-Timeout-Ms must be 1 to {TIMEOUT_MILLIS_MAX}");
        Error::new(ErrorCode::InvalidRequest, message).with("header", "Onex-Timeout-Ms")
    })
}

/// How old what the caller is told may be, from its header, in milliseconds; none when it does not say.
pub fn max_age_millis(header: Option<&str>) -> Result<Option<u64>, Error> {
    let Some(text) = header else { return Ok(None) };
    let range = AGE_MILLIS_MIN..=AGE_MILLIS_MAX;
    let millis = text.parse().ok().filter(|millis| range.contains(millis));
    millis.map(Some).ok_or_else(|| {
        let message =
            format!("header {HEADER_MAX_AGE_MS} must be {AGE_MILLIS_MIN} to {AGE_MILLIS_MAX}");
        Error::new(ErrorCode::InvalidRequest, message).with("header", HEADER_MAX_AGE_MS)
    })
}

/// The caller's correlation id, from its header; none when it sent none.
pub fn correlation_id(header: Option<&str>) -> Result<Option<String>, Error> {
    let Some(text) = header else { return Ok(None) };
    if is_correlation_id(text) {
        return Ok(Some(text.to_owned()));
    }
    let message = format!(
        "header {HEADER_CORRELATION_ID} must be {}",
        correlation_id_rule()
    );
    Err(Error::new(ErrorCode::InvalidRequest, message).with("header", HEADER_CORRELATION_ID))
}

/// Whether it may be a correlation id.
pub fn is_correlation_id(text: &str) -> bool {
    (1..=CORRELATION_ID_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What a correlation id must be.
pub fn correlation_id_rule() -> String {
    format!("1 to {CORRELATION_ID_CHARS_MAX} visible ASCII characters without spaces")
}

/// A trace context as W3C has it, if that is what it is: it is passed on as it came.
pub fn traceparent(header: Option<&str>) -> Option<&str> {
    let text = header?;
    let lower_hex = |part: &str, length: usize| {
        part.len() == length
            && part
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let mut parts = text.split('-');
    let mut next = |length| parts.next().is_some_and(|part| lower_hex(part, length));
    let good = next(2) && next(32) && next(16) && next(2) && parts.next().is_none();
    (good && !text.starts_with("ff")).then_some(text)
}

/// What a trace context must be.
pub fn traceparent_rule() -> &'static str {
    "must be a trace context as W3C has it, as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
}

/// What a request asks for, condensed: all of it but what a retry may change.
pub fn digest<T: Serialize>(endpoint: Endpoint, request: &T) -> Digest {
    const LEFT_OUT: [&str; 7] = [
        "request_id",
        "requested_at",
        "holder",
        "min_revision",
        "correlation_id",
        "timeout_ms",
        "attempt_timeout_ms",
    ];
    let value = serde_json::to_value(request).unwrap_or(Value::Null);
    let sorted: BTreeMap<&String, &Value> = value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()))
        .collect();
    let text = json!([endpoint.name(), sorted]).to_string();
    Digest(Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::LeaseRequest;

    const ID: &str = "0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21";

    fn lease(minor: u32, body: &str) -> Result<Parsed<LeaseRequest>, Error> {
        parse(
            Endpoint::PortLease,
            &Namespace::default(),
            minor,
            body.as_bytes(),
        )
    }

    #[track_caller]
    fn check(body: &str, pointer: &str, message: &str) {
        let error = lease(0, body).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidRequest);
        assert_eq!(error.details["pointer"], pointer, "{error}");
        assert!(error.message.contains(message), "{error}");
    }

    #[test]
    fn errors_say_which_field_and_what_would_be_right() {
        check("[]", "", "one JSON object");
        check("\"x\"", "", "one JSON object");
        check("{", "", "not JSON");
        check("{} {}", "/requester_id", "required");
        let typo = format!(r#"{{"requester_id":"{ID}","protocl":"http"}}"#);
        check(&typo, "/protocl", "did you mean \"protocol\"?");
        check(
            &format!(r#"{{"requester_id":"{ID}"}}"#),
            "/protocol",
            "required",
        );
        check(
            &format!(r#"{{"requester_id":"{ID}","protocol":"http"}} x"#),
            "",
            "not JSON",
        );
        check(
            &format!(r#"{{"requester_id":"{ID}","protocol":"h t"}}"#),
            "/protocol",
            "letters, digits",
        );
        check(
            &format!(r#"{{"requester_id":"{ID}","protocol":"http","ttl":0}}"#),
            "/ttl",
            "1 to 86400",
        );
        check(
            &format!(r#"{{"requester_id":"{ID}","protocol":"http","ttl":1.5}}"#),
            "/ttl",
            "",
        );
        for (ttl, said) in [
            ("9007199254740993.0", "between -2^53 and 2^53"),
            ("1e300", "between -2^53 and 2^53"),
            ("123456789012345678901234567890", "between -2^53 and 2^53"),
            ("1e400", "within the range of a double"),
            ("4294967296", "1 to 86400"),
            ("86401.0", "1 to 86400"),
        ] {
            let body = format!(r#"{{"requester_id":"{ID}","protocol":"http","ttl":{ttl}}}"#);
            check(&body, "/ttl", said);
        }
        check(
            &format!(r#"{{"requester_id":"{ID}","protocol":"http","labels":["a",""]}}"#),
            "/labels/1",
            "1 to 128",
        );
        check(
            r#"{"requester_id":"x","protocol":"http"}"#,
            "/requester_id",
            "UUID",
        );
        check(
            &format!(r#"{{"requester_id":"{ID}","protocol":"http","preferred_port":0}}"#),
            "/preferred_port",
            "must be a number from 1 to 65535, not integer `0`",
        );
        check(
            &format!(r#"{{"requester_id":"{ID}","protocol":"http","transport":"tpc"}}"#),
            "/transport",
            "must be one of `tcp`, `udp`, `both`, not `tpc`",
        );
        check(
            &format!(r#"{{"requester_id":"{ID}","protocol":"http","exact":"yes"}}"#),
            "/exact",
            "must be true or false, not string \"yes\"",
        );
        check(
            &format!(r#"{{"requester_id":"{ID}","protocol":"http","labels":"a"}}"#),
            "/labels",
            "must be a list, not string \"a\"",
        );
        check(
            &format!(r#"{{"requester_id":"{ID}","protocol":"http","prefered_port":1}}"#),
            "/prefered_port",
            "\"preferred_port\"",
        );
        check(
            &format!(r#"{{"requester_id":"{ID}","protocol":"http","a/b":1}}"#),
            "/a~1b",
            "unknown field",
        );
        check(
            &format!(r#"{{"requester_id":"{ID}","requester_id":"{ID}","protocol":"http"}}"#),
            "/requester_id",
            "twice",
        );
        check(
            &format!("{}1{}", "{\"a\":".repeat(500), "}".repeat(500)),
            "/a",
            "unknown field",
        );
    }

    #[test]
    fn a_null_is_nothing_said() {
        let bare = format!(r#"{{"requester_id":"{ID}","protocol":"http"}}"#);
        let mut nulls: Value = serde_json::from_str(&bare).unwrap();
        let members = nulls.as_object_mut().unwrap();
        let schema = Endpoint::PortLease.request_schema();
        for field in schema["properties"].as_object().unwrap().keys() {
            members.entry(field).or_insert(Value::Null);
        }
        let parsed = |body: &str| lease(0, body).map(|parsed| parsed.request);
        assert_eq!(parsed(&nulls.to_string()), parsed(&bare));
    }

    #[test]
    fn an_empty_body_teaches() {
        let error = lease(0, " ").unwrap_err();
        assert_eq!(error.details["help"]["endpoint"], "port.lease");
        assert!(error.details["help"]["request_schema"].is_object());
    }

    #[test]
    fn a_later_minor_may_say_more() {
        let body = format!(r#"{{"requester_id":"{ID}","protocol":"http","colour":"red"}}"#);
        assert_eq!(
            lease(PROTOCOL_MINOR + 1, &body).unwrap().ignored,
            ["/colour"]
        );
        assert!(lease(PROTOCOL_MINOR, &body).is_err());
        assert!(protocol_minor(Some("2.0")).is_err());
        assert_eq!(protocol_minor(Some("1.7")), Ok(7));
    }

    #[derive(Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
    struct Outer {
        #[serde(default)]
        tools: Vec<crate::tool::Tool>,
        #[serde(default)]
        schema: Option<crate::node::NodeSchema>,
        #[serde(default)]
        #[schemars(with = "crate::schema::AnyJson")]
        health: Option<Value>,
        #[serde(default)]
        named: BTreeMap<String, Inner>,
        #[serde(default)]
        tree: Option<Box<Tree>>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
    struct Inner {
        #[serde(default)]
        colour: String,
    }

    #[derive(Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
    struct Tree {
        #[serde(default)]
        branches: Vec<Tree>,
        #[serde(default)]
        leaves: u8,
    }

    #[track_caller]
    fn check_nested(body: &str, pointer: &str, nearest: Option<&str>) {
        let schema = || schemars::schema_for!(Outer).to_value();
        let error = parse_object::<Outer>(schema, 0, body.as_bytes()).unwrap_err();
        assert_eq!(error.details["pointer"], pointer, "{error}");
        let found = error.details.get("nearest").and_then(Value::as_str);
        assert_eq!(found, nearest, "{error}");
        let later = parse_object::<Outer>(schema, PROTOCOL_MINOR + 1, body.as_bytes());
        if let Ok(parsed) = later {
            assert_eq!(parsed.ignored, [pointer]);
        }
    }

    #[test]
    fn a_typo_is_found_wherever_it_stands() {
        let tool = r#"{"name":"a","version":"1.0.0"}"#;
        let typo = r#"{"name":"a","version":"1.0.0","inptu_schema":{}}"#;
        check_nested(
            &format!(r#"{{"tools":[{tool},{tool},{tool},{typo}]}}"#),
            "/tools/3/inptu_schema",
            Some("input_schema"),
        );
        check_nested(
            r#"{"tools":[{"name":"a","vesrion":"1.0.0"}]}"#,
            "/tools/0/vesrion",
            Some("version"),
        );
        check_nested(r#"{"tools":[{"name":"a"}]}"#, "/tools/0/version", None);
        check_nested(
            r#"{"schema":{"inputs":[{"name":"a","type":"b","requird":true}]}}"#,
            "/schema/inputs/0/requird",
            Some("required"),
        );
        check_nested(
            r#"{"schema":{"accept_context":true}}"#,
            "/schema/accept_context",
            Some("accepts_context"),
        );
        check_nested(
            r#"{"named":{"a.b/c":{"color":""}}}"#,
            "/named/a.b~1c/color",
            Some("colour"),
        );
        check_nested(
            r#"{"tree":{"branches":[{"branches":[{"leafs":1}]}]}}"#,
            "/tree/branches/0/branches/0/leafs",
            Some("leaves"),
        );
        // Known at the top only.
        check_nested(r#"{"tree":{"tools":[]}}"#, "/tree/tools", None);
        check_nested(r#"{"too.ls":1}"#, "/too.ls", Some("tools"));
        check_nested(r#"{"a~b":1}"#, "/a~0b", None);
        check_nested(
            r#"{"tools":[{"name":"a","version":"1"}]}"#,
            "/tools/0/version",
            None,
        );
    }

    #[test]
    fn what_is_free_is_not_judged() {
        let schema = || schemars::schema_for!(Outer).to_value();
        let body = r#"{"health":{"inptu":[{"x":1}]},"tools":[{"name":"a","version":"1.0.0",
            "input_schema":{"x-own":{"y":1}}}]}"#;
        let parsed = parse_object::<Outer>(schema, 0, body.as_bytes()).unwrap();
        assert!(parsed.ignored.is_empty());
    }

    #[test]
    fn a_digest_leaves_out_what_a_retry_may_change() {
        let one = lease(
            0,
            &format!(r#"{{"requester_id":"{ID}","protocol":"http","request_id":"{ID}"}}"#),
        )
        .unwrap();
        let two = lease(0, &format!(r#"{{"protocol":"http","requester_id":"{ID}","requested_at":"2026-01-01T00:00:00Z"}}"#)).unwrap();
        let three = lease(
            0,
            &format!(r#"{{"requester_id":"{ID}","protocol":"http","ttl":5}}"#),
        )
        .unwrap();
        let digest = |parsed: &Parsed<LeaseRequest>| digest(Endpoint::PortLease, &parsed.request);
        assert_eq!(digest(&one), digest(&two));
        assert_ne!(digest(&one), digest(&three));
    }
}
