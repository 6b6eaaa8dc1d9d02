//! Arguments from their text, for those that the domain has no text form of.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    client::TIMEOUT_MAX,
    domain::ids::{Invalid, LeaseId, Port, RequestId, RequesterId, TTL_SECONDS_MAX, Ttl},
    protocol::{
        bounds::{ATTEMPT_TIMEOUT_MILLIS_MIN, Text},
        catalog::{SCHEMA_NAME_CHARS_MAX, SchemaKind},
        frame,
        invoke::{CONTRACT_HASH_CHARS_MAX, Policy},
        node::NodeType,
        node_view::{Liveness, Section},
        port::{Limit, TransportWish},
    },
};

use super::output::word;

/// How often something may be asked again at most: each time costs the registry as much as the first.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// How often something is asked again at least.
const INTERVAL_MAX: Duration = Duration::from_hours(1);

fn uuid(text: &str) -> Result<Uuid, Invalid> {
    text.parse()
        .map_err(|_| Invalid("must be a UUID, as 0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21".to_owned()))
}

pub(super) fn requester_id(text: &str) -> Result<RequesterId, Invalid> {
    uuid(text).map(RequesterId)
}

pub(super) fn lease_id(text: &str) -> Result<LeaseId, Invalid> {
    uuid(text).map(LeaseId)
}

pub(super) fn request_id(text: &str) -> Result<RequestId, Invalid> {
    uuid(text).map(RequestId)
}

pub(super) fn port(text: &str) -> Result<Port, Invalid> {
    let port = text.parse().ok().and_then(Port::new);
    port.ok_or_else(|| Invalid("must be 1 to 65535".to_owned()))
}

/// A TTL: seconds, or a span such as `90s` or `2h`.
pub(super) fn ttl(text: &str) -> Result<Ttl, Invalid> {
    let seconds = text.parse().ok().or_else(|| {
        let span: SignedDuration = text.parse().ok()?;
        let whole = span.subsec_nanos() == 0;
        u32::try_from(span.as_secs()).ok().filter(|_| whole)
    });
    let ttl = seconds.and_then(|seconds| Ttl::try_from(seconds).ok());
    ttl.ok_or_else(|| {
        Invalid(format!(
            "must be 1 to {TTL_SECONDS_MAX} seconds, as 90 or 90s or 2h"
        ))
    })
}

/// A timeout, such as `4s` or `500ms`.
pub(super) fn timeout(text: &str) -> Result<Duration, Invalid> {
    at_least(1, text)
}

/// A timeout of one attempt.
pub(super) fn attempt_timeout(text: &str) -> Result<Duration, Invalid> {
    at_least(ATTEMPT_TIMEOUT_MILLIS_MIN, text)
}

fn at_least(millis_min: u64, text: &str) -> Result<Duration, Invalid> {
    let span = text.parse::<SignedDuration>().ok();
    span.and_then(|span| Duration::try_from(span).ok())
        .filter(|span| (Duration::from_millis(millis_min)..=TIMEOUT_MAX).contains(span))
        .ok_or_else(|| {
            Invalid(format!(
                "must be {millis_min}ms to {}s, as 4s or 500ms",
                TIMEOUT_MAX.as_secs()
            ))
        })
}

/// How often something is asked again: seconds, or a span such as `500ms`.
pub(super) fn interval(text: &str) -> Result<Duration, Invalid> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let span = || Duration::try_from(text.parse::<SignedDuration>().ok()?).ok();
    seconds
        .or_else(span)
        .filter(|span| (INTERVAL_MIN..=INTERVAL_MAX).contains(span))
        .ok_or_else(|| {
            Invalid(format!(
                "must be {}ms to {}s, as 2 or 500ms",
                INTERVAL_MIN.as_millis(),
                INTERVAL_MAX.as_secs()
            ))
        })
}

/// A value of a closed list, as it stands on the wire.
fn one_of<T: Serialize + Copy>(all: &[T], text: &str) -> Result<T, Invalid> {
    let found = all.iter().find(|value| word(*value) == text).copied();
    found.ok_or_else(|| {
        let words: Vec<_> = all
            .iter()
            .map(|value| format!("{:?}", word(value)))
            .collect();
        Invalid(format!("must be one of {}", words.join(", ")))
    })
}

/// What a node is.
pub(super) fn node_type(text: &str) -> Result<NodeType, Invalid> {
    let all = [
        NodeType::Tool,
        NodeType::Validator,
        NodeType::Test,
        NodeType::Adapter,
        NodeType::Agent,
    ];
    one_of(&all, text)
}

/// Whether a node is alive.
pub(super) fn liveness(text: &str) -> Result<Liveness, Invalid> {
    one_of(
        &[Liveness::Online, Liveness::Expired, Liveness::Ended],
        text,
    )
}

/// A section of a description.
pub(super) fn section(text: &str) -> Result<Section, Invalid> {
    one_of(&Section::ALL, text)
}

/// What a schema describes.
pub(super) fn schema_kind(text: &str) -> Result<SchemaKind, Invalid> {
    one_of(
        &[SchemaKind::Message, SchemaKind::Tool, SchemaKind::Node],
        text,
    )
}

/// The name of a schema.
pub(super) fn schema_name(text: &str) -> Result<Text<SCHEMA_NAME_CHARS_MAX>, Invalid> {
    text.to_owned().try_into()
}

/// Which of several nodes is asked.
pub(super) fn policy(text: &str) -> Result<Policy, Invalid> {
    let all = [
        Policy::First,
        Policy::RoundRobin,
        Policy::LeastLoaded,
        Policy::Random,
    ];
    one_of(&all, text)
}

/// A contract's hash.
pub(super) fn contract_hash(text: &str) -> Result<Text<CONTRACT_HASH_CHARS_MAX>, Invalid> {
    text.to_owned().try_into()
}

/// The caller's name for what it is doing.
pub(super) fn correlation_id(text: &str) -> Result<String, Invalid> {
    if frame::is_correlation_id(text) {
        return Ok(text.to_owned());
    }
    Err(Invalid(format!("must be {}", frame::correlation_id_rule())))
}

/// A trace context.
pub(super) fn traceparent(text: &str) -> Result<String, Invalid> {
    let good = frame::traceparent(Some(text)).map(str::to_owned);
    good.ok_or_else(|| Invalid(frame::traceparent_rule().to_owned()))
}

/// How many items a page may have.
pub(super) fn limit(text: &str) -> Result<Limit, Invalid> {
    let number: u16 = text.parse().unwrap_or_default();
    Limit::try_from(number)
}

/// A transport as a request may wish for it.
pub(super) fn transport(text: &str) -> Result<TransportWish, Invalid> {
    match text {
        "tcp" => Ok(TransportWish::Tcp),
        "udp" => Ok(TransportWish::Udp),
        "both" => Ok(TransportWish::Both),
        _ => Err(Invalid("must be \"tcp\" or \"udp\"".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units_and_bounds() {
        assert_eq!(ttl("90").map(Ttl::seconds), Ok(90));
        assert_eq!(ttl("2h").map(Ttl::seconds), Ok(7200));
        for bad in ["0", "-1", "1.5s", "86401", "25h", "soon", ""] {
            assert!(ttl(bad).is_err(), "{bad:?}");
        }
        assert_eq!(timeout("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["0s", "4", "-4s", "301s", ""] {
            assert!(timeout(bad).is_err(), "{bad:?}");
        }
        assert_eq!(interval("2"), Ok(Duration::from_secs(2)));
        assert_eq!(interval("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["0", "99ms", "-1s", "2h", "often", ""] {
            assert!(interval(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_closed_list_is_told() {
        assert_eq!(node_type("agent"), Ok(NodeType::Agent));
        assert_eq!(section("tools"), Ok(Section::Tools));
        let Err(Invalid(told)) = liveness("dead") else {
            panic!("a word that is none of them");
        };
        assert_eq!(told, r#"must be one of "online", "expired", "ended""#);
    }
}
