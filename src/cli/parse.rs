//! Arguments from their text, for those that have no text form of their own.

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs as _},
    ops::RangeInclusive,
    time::Duration,
};

use jiff::{Span, SpanRelativeTo};
use onex_types::{
    ids::{Invalid, LeaseId, Port, RequestId, RequesterId, TTL_SECONDS_MAX, Ttl},
    ports::{PortRange, PortSet},
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    client::{self, AGE_MAX, AGE_MIN, TIMEOUT_MAX},
    protocol::{
        bounds::{ATTEMPT_TIMEOUT_MILLIS_MIN, Text},
        catalog::{SCHEMA_NAME_CHARS_MAX, SchemaKind},
        frame,
        invoke::{CONTRACT_HASH_CHARS_MAX, Policy},
        node::NodeType,
        node_view::{Liveness, Section},
        port::{Limit, RequestedTransport},
    },
    registry::settings::{
        CALLS_KEPT_SECONDS_MAX, EVENTS_AGE_SECONDS_MAX, parse_ranges, show_ranges,
    },
};

use super::output::{span, word};

/// How often something may be asked again at most: each time costs the registry as much as the first.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// How often something is asked again at least.
const INTERVAL_MAX: Duration = Duration::from_hours(1);

/// How long something is waited for at least.
const WAIT_MIN: Duration = Duration::from_millis(1);
/// How long something is waited for at most.
const WAIT_MAX: Duration = Duration::from_hours(1);

fn uuid(text: &str) -> Result<Uuid, Invalid> {
    text.parse()
        .map_err(|_| Invalid("must be a UUID, as 0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21".to_owned()))
}

/// A whole number within `bounds`.
pub(super) fn number<T: TryFrom<u64> + Clone + Send + Sync + 'static>(
    bounds: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, Invalid> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.trim().parse().ok();
        let number = number.filter(|number| bounds.contains(number));
        number
            .and_then(|number| number.try_into().ok())
            .ok_or_else(|| {
                Invalid(match *bounds.end() {
                    u64::MAX => format!("must be a whole number of at least {}", bounds.start()),
                    most => format!("must be a whole number from {} to {most}", bounds.start()),
                })
            })
    }
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

/// A span of time, as it is written everywhere: seconds, or numbers with units, as `500ms`, `90s`, `1h 30m` or `7d`.
fn duration(text: &str, bounds: RangeInclusive<Duration>) -> Result<Duration, Invalid> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let with_units = || {
        let span = text.parse::<Span>().ok()?;
        let span = span.to_duration(SpanRelativeTo::days_are_24_hours());
        Duration::try_from(span.ok()?).ok()
    };
    let duration = seconds.or_else(with_units);
    duration
        .filter(|duration| bounds.contains(duration))
        .ok_or_else(|| {
            Invalid(format!(
                "must be {} to {}: seconds, or with a unit, as 90, 90s, 10m or 2h",
                client::span(*bounds.start()),
                client::span(*bounds.end())
            ))
        })
}

/// A span of whole seconds, in seconds.
fn seconds(text: &str, bounds: RangeInclusive<u64>) -> Result<u64, Invalid> {
    let longest = Duration::from_secs(*bounds.end());
    let duration = duration(text, Duration::from_secs(*bounds.start())..=longest)?;
    match duration.subsec_nanos() {
        0 => Ok(duration.as_secs()),
        _ => Err(Invalid("must be whole seconds".to_owned())),
    }
}

/// A TTL.
pub(super) fn ttl(text: &str) -> Result<Ttl, Invalid> {
    let seconds = seconds(text, 1..=TTL_SECONDS_MAX.into())?;
    Ttl::try_from(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// Whole seconds, as a duration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seconds(pub(super) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&span(self.0.saturating_mul(1000)))
    }
}

/// How long something is kept: at most as long as events are.
pub(super) fn kept_long(text: &str) -> Result<Seconds, Invalid> {
    seconds(text, 1..=EVENTS_AGE_SECONDS_MAX).map(Seconds)
}

/// How long something is kept: a day at most.
pub(super) fn kept_a_day(text: &str) -> Result<Seconds, Invalid> {
    seconds(text, 1..=CALLS_KEPT_SECONDS_MAX).map(Seconds)
}

/// A timeout.
pub(super) fn timeout(text: &str) -> Result<Duration, Invalid> {
    duration(text, Duration::from_millis(1)..=TIMEOUT_MAX)
}

/// How old an answer may be.
pub(super) fn max_age(text: &str) -> Result<Duration, Invalid> {
    duration(text, AGE_MIN..=AGE_MAX)
}

/// A timeout of one attempt.
pub(super) fn attempt_timeout(text: &str) -> Result<Duration, Invalid> {
    duration(
        text,
        Duration::from_millis(ATTEMPT_TIMEOUT_MILLIS_MIN)..=TIMEOUT_MAX,
    )
}

/// How long something is waited for.
pub(super) fn wait(text: &str) -> Result<Duration, Invalid> {
    duration(text, WAIT_MIN..=WAIT_MAX)
}

/// How often something is asked again.
pub(super) fn interval(text: &str) -> Result<Duration, Invalid> {
    duration(text, INTERVAL_MIN..=INTERVAL_MAX)
}

/// An address to listen on. Of a name's addresses that of IPv4 counts first, for that is where clients look by default.
pub(super) fn listen(text: &str) -> Result<SocketAddr, Invalid> {
    let invalid = |why: String| {
        Invalid(format!(
            "must be ADDR:PORT, as 127.0.0.1:4222 or localhost:4222: {why}"
        ))
    };
    let has_port = text
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !has_port {
        return Err(invalid(format!("{text:?} has no port")));
    }
    let addresses = text.to_socket_addrs();
    let addresses = addresses.map_err(|error| invalid(error.to_string()))?;
    let first = addresses.min_by_key(SocketAddr::is_ipv6);
    first.ok_or_else(|| invalid("the name has no address".to_owned()))
}

/// Ranges of ports.
#[derive(Debug, Clone)]
pub(super) struct Ranges(pub(super) Vec<PortRange>);

impl Ranges {
    /// Whether each of these ports is one of `others`.
    pub(super) fn are_within(&self, others: &Self) -> bool {
        let mut set = PortSet::empty();
        let ports = |ranges: &[PortRange]| -> Vec<Port> {
            let numbers = ranges
                .iter()
                .flat_map(|range| range.first.number()..=range.last.number());
            numbers.filter_map(Port::new).collect()
        };
        for port in ports(&others.0) {
            set.set(port, true);
        }
        ports(&self.0).into_iter().all(|port| set.contains(port))
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_ranges(&self.0))
    }
}

/// Ranges of ports, with at least one in them.
pub(super) fn some_ranges(text: &str) -> Result<Ranges, Invalid> {
    match ranges(text)? {
        Ranges(ranges) if ranges.is_empty() => {
            Err(Invalid("must name at least one port".to_owned()))
        }
        ranges => Ok(ranges),
    }
}

/// Ranges of ports, or none.
pub(super) fn ranges(text: &str) -> Result<Ranges, Invalid> {
    let ranges = parse_ranges(text)?;
    // They are in order.
    for pair in ranges.windows(2) {
        let [one, next] = pair else { continue };
        if one == next {
            return Err(Invalid(format!(
                "must have each port once: {one} is there twice"
            )));
        }
        if next.first <= one.last {
            let both = PortRange {
                first: one.first,
                last: one.last.max(next.last),
            };
            return Err(Invalid(format!(
                "must have each port once: for {one} and {next} write {both}"
            )));
        }
    }
    Ok(Ranges(ranges))
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

/// The transport that a request asks for.
pub(super) fn transport(text: &str) -> Result<RequestedTransport, Invalid> {
    match text {
        "tcp" => Ok(RequestedTransport::Tcp),
        "udp" => Ok(RequestedTransport::Udp),
        "both" => Ok(RequestedTransport::Both),
        _ => Err(Invalid("must be \"tcp\", \"udp\" or \"both\"".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units_and_bounds() {
        assert_eq!(ttl("90").map(Ttl::seconds), Ok(90));
        assert_eq!(ttl("2h").map(Ttl::seconds), Ok(7200));
        assert_eq!(ttl("1h 30m").map(Ttl::seconds), Ok(5400));
        for bad in ["0", "-1", "1.5s", "86401", "25h", "soon", ""] {
            assert!(ttl(bad).is_err(), "{bad:?}");
        }
        assert_eq!(timeout("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(timeout("4"), Ok(Duration::from_secs(4)));
        assert_eq!(max_age("7d"), Ok(AGE_MAX));
        for bad in ["9s", "0", "-1h", "169h", ""] {
            assert!(max_age(bad).is_err(), "{bad:?}");
        }
        for bad in ["0s", "0", "-4s", "301s", ""] {
            assert!(timeout(bad).is_err(), "{bad:?}");
        }
        assert_eq!(wait("5m"), Ok(Duration::from_mins(5)));
        for bad in ["0s", "2h", "soon", ""] {
            assert!(wait(bad).is_err(), "{bad:?}");
        }
        assert_eq!(interval("2"), Ok(Duration::from_secs(2)));
        assert_eq!(interval("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["0", "99ms", "-1s", "2h", "often", ""] {
            assert!(interval(bad).is_err(), "{bad:?}");
        }
        assert_eq!(kept_long("7d"), Ok(Seconds(7 * 24 * 60 * 60)));
        assert_eq!(kept_a_day("600"), kept_a_day("10m"));
        let Err(Invalid(told)) = kept_a_day("25h") else {
            panic!("more than a day");
        };
        assert!(told.starts_with("must be 1s to 24h"), "{told}");
        assert!(kept_long("1500ms").is_err());
    }

    #[test]
    fn names_are_addresses_to_listen_on_and_ipv4_comes_first() {
        for text in ["localhost:4222", "127.0.0.1:4222"] {
            assert_eq!(listen(text), Ok("127.0.0.1:4222".parse().unwrap()));
        }
        assert_eq!(listen("[::1]:4222"), Ok("[::1]:4222".parse().unwrap()));
        for bad in ["", "4222", "localhost", "localhost:", "localhost:70000"] {
            let Err(Invalid(told)) = listen(bad) else {
                panic!("{bad:?} is an address");
            };
            assert!(told.contains("ADDR:PORT"), "{told}");
        }
    }

    #[test]
    fn ranges_are_told_with_what_was_given_and_what_would_be_right() {
        for (text, told) in [
            ("9-5", "for 9-5 write 5-9"),
            (
                "20000-70000",
                "from 1 to 65535, and ranges of them, as 20000-29999,31000: 70000, in 20000-70000, is no port",
            ),
            ("0", ": 0 is no port"),
            ("99999999999", ": 99999999999 is no port"),
            ("5-", ": \"5-\" lacks one of its two ends"),
            ("-5", ": \"-5\" lacks one of its two ends"),
            ("x", ": \"x\" is no number"),
            (
                "5-9,1,7-12",
                "must have each port once: for 5-9 and 7-12 write 5-12",
            ),
            ("5-9,7", "must have each port once: for 5-9 and 7 write 5-9"),
            (
                "7,5-9,7",
                "must have each port once: for 5-9 and 7 write 5-9",
            ),
            ("7,7", "must have each port once: 7 is there twice"),
            ("5-9, 5-9", "must have each port once: 5-9 is there twice"),
        ] {
            let said = ranges(text).unwrap_err().to_string();
            assert!(said.ends_with(told), "{text}: {said}");
        }
        assert_eq!(ranges("5-9,10-12,1").unwrap().to_string(), "1,5-9,10-12");
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
