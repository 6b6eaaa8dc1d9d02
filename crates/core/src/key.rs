//! Keys of the state: the one place where they are spelled, parsed and ordered.
//!
//! Their order decides which records a chunk of a snapshot covers, so it must not change within a format.

use std::{fmt, str::FromStr};

use onex_types::{
    ids::{BusId, ExecutionId, Host, Invalid, NodeId, RequestId},
    impl_schema,
    key::{PortKey, escape, unescape},
};
use schemars::json_schema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// How many slots remember requests whose port has been granted again: at 30,000 grants a second, nine seconds of them.
pub const REQUEST_SLOTS_MAX: u32 = 262_144;

/// What a record of the state is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Which store this is.
    Store,
    /// The settings that all instances share.
    Settings,
    /// A host's port ranges.
    Pool(Host),
    /// A port: a lease, a part of one, or how the last one ended.
    Port(PortKey),
    /// A request that is remembered after its port has been granted again: a number below [`REQUEST_SLOTS_MAX`].
    Request(u32),
    /// The instance that writes snapshots, view and events.
    Named,
    /// What a node announced.
    Node(NodeId),
    /// Whether a node is live.
    Live(NodeId),
    /// A bus.
    Bus(BusId),
    /// What validators say of a node.
    Trust(NodeId),
    /// A call with that request id.
    Call(RequestId),
    /// An execution without a request id, while it is under way.
    Run(ExecutionId),
    /// How many executions of a node's tools have ended.
    Exec(NodeId),
    /// Whether the log was restored from a backup.
    Restored,
    /// The format that the log was raised to.
    Format,
    /// What a host is called.
    Host(Host),
}

impl_schema!(
    Key,
    json_schema!({
        "type": "string",
        "pattern": r"^(sys\.(store|settings|named|restored|format)|port\.[A-Za-z0-9_=-]+\.(tcp|udp)\.[1-9][0-9]*|(pool|req|node|live|bus|trust|call|run|exec|host)\.[A-Za-z0-9_=-]+)$",
    })
);

const POOL: &str = "pool.";
const REQUEST: &str = "req.";
const NODE: &str = "node.";
const LIVE: &str = "live.";
const BUS: &str = "bus.";
const TRUST: &str = "trust.";
const CALL: &str = "call.";
const RUN: &str = "run.";
const EXEC: &str = "exec.";
const HOST: &str = "host.";

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("sys.store"),
            Self::Settings => f.write_str("sys.settings"),
            Self::Pool(host) => write!(f, "{POOL}{}", escape(host.as_str())),
            Self::Port(key) => key.fmt(f),
            Self::Request(slot) => write!(f, "{REQUEST}{slot}"),
            Self::Named => f.write_str("sys.named"),
            Self::Node(id) => write!(f, "{NODE}{}", escape(id.as_str())),
            Self::Live(id) => write!(f, "{LIVE}{}", escape(id.as_str())),
            Self::Bus(id) => write!(f, "{BUS}{}", escape(id.as_str())),
            Self::Trust(id) => write!(f, "{TRUST}{}", escape(id.as_str())),
            Self::Call(id) => write!(f, "{CALL}{id}"),
            Self::Run(id) => write!(f, "{RUN}{id}"),
            Self::Exec(id) => write!(f, "{EXEC}{}", escape(id.as_str())),
            Self::Restored => f.write_str("sys.restored"),
            Self::Format => f.write_str("sys.format"),
            Self::Host(host) => write!(f, "{HOST}{}", escape(host.as_str())),
        }
    }
}

impl FromStr for Key {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text).ok_or_else(|| Invalid(format!("not a key: {text}")))
    }
}

fn parse(text: &str) -> Option<Key> {
    match text {
        "sys.store" => return Some(Key::Store),
        "sys.settings" => return Some(Key::Settings),
        "sys.named" => return Some(Key::Named),
        "sys.restored" => return Some(Key::Restored),
        "sys.format" => return Some(Key::Format),
        _ => {}
    }
    if let Some(host) = text.strip_prefix(POOL) {
        return unescape(host)?.parse().ok().map(Key::Pool);
    }
    if let Some(host) = text.strip_prefix(HOST) {
        return unescape(host)?.parse().ok().map(Key::Host);
    }
    if let Some(digits) = text.strip_prefix(REQUEST) {
        let slot: u32 = digits.parse().ok()?;
        let spelled = slot < REQUEST_SLOTS_MAX && slot.to_string() == digits;
        return spelled.then_some(Key::Request(slot));
    }
    if let Some(id) = text.strip_prefix(CALL) {
        return uuid(id).map(RequestId).map(Key::Call);
    }
    if let Some(id) = text.strip_prefix(RUN) {
        return uuid(id).map(ExecutionId).map(Key::Run);
    }
    if let Some(id) = text.strip_prefix(EXEC) {
        return unescape(id)?.parse().ok().map(Key::Exec);
    }
    if let Some(key) = parse_node(text) {
        return Some(key);
    }
    text.parse().ok().map(Key::Port)
}

/// Keys of nodes, buses and trust.
fn parse_node(text: &str) -> Option<Key> {
    fn id<T: FromStr>(token: &str) -> Option<T> {
        unescape(token)?.parse().ok()
    }
    if let Some(token) = text.strip_prefix(NODE) {
        return id(token).map(Key::Node);
    }
    if let Some(token) = text.strip_prefix(LIVE) {
        return id(token).map(Key::Live);
    }
    if let Some(token) = text.strip_prefix(BUS) {
        return id(token).map(Key::Bus);
    }
    id(text.strip_prefix(TRUST)?).map(Key::Trust)
}

/// A UUID in the one spelling that a key has.
fn uuid(text: &str) -> Option<Uuid> {
    let id: Uuid = text.parse().ok()?;
    (id.to_string() == text).then_some(id)
}

impl From<PortKey> for Key {
    fn from(key: PortKey) -> Self {
        Self::Port(key)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Key, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_spelling() {
        for text in [
            "sys.store",
            "sys.settings",
            "sys.named",
            "sys.restored",
            "sys.format",
            "pool.build-7",
            "pool.10=2E0=2E0=2E1",
            "port.a.udp.80",
            "req.0",
            "req.262143",
            "node.calc",
            "live.a=2Eb",
            "bus.main",
            "trust.a=2Eb",
            "call.00000000-0000-0000-0000-00000000000a",
            "run.00000000-0000-0000-0000-00000000000a",
            "exec.a=2Eb",
            "host.10=2E0=2E0=2E1",
        ] {
            let key: Key = text.parse().unwrap();
            assert_eq!(key.to_string(), text);
        }
        for text in [
            "sys",
            "pool.10.0.0.1",
            "req.00",
            "req.262144",
            "req.-1",
            "port.a.tcp.0",
            "node.a.b",
            "live.=61",
            "bus.a=2Eb",
            "trust.",
            "call.00000000-0000-0000-0000-00000000000A",
            "run.1",
            "exec.a.b",
            "host.10.0.0.1",
        ] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }
}
