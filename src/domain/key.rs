//! Keys of the bucket: the one place where they are spelled and parsed.

use std::{fmt, str::FromStr};

pub use onex_types::key::{PortKey, escape, unescape};

use super::ids::{BusId, Host, Invalid, NodeId, RequestId};

/// A position in the bucket's stream: 0 means that nothing was ever written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// Bits of a revision on the wire that hold the position in the stream; those above hold the lineage.
const LINEAGE_SHIFT: u32 = 44;

impl Revision {
    /// As programs outside see it: it grows even when the store went backwards, because `lineage` does.
    pub fn wire(self, lineage: u64) -> u64 {
        (lineage << LINEAGE_SHIFT) | self.0
    }

    /// The lineage and the revision that a number from outside names.
    pub fn from_wire(number: u64) -> (u64, Self) {
        (
            number >> LINEAGE_SHIFT,
            Self(number & ((1 << LINEAGE_SHIFT) - 1)),
        )
    }
}

/// What a key of the bucket names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A port: a lease, or how the last one ended.
    Port(PortKey),
    /// What a node announced.
    Node(NodeId),
    /// Whether a node lives.
    Live(NodeId),
    /// A bus.
    Bus(BusId),
    /// What validators say of a node.
    Verdict(NodeId),
    /// A call that its caller named.
    Call(RequestId),
    /// How often a node's tools were run.
    Exec(NodeId),
    /// What the instances on a host said of it.
    Host(Host),
    /// The registry's own settings.
    Sys,
    /// Written to learn how far the bucket has come.
    Barrier,
    /// Who publishes events, and how far.
    Checkpoint,
    /// Up to where events of executions are counted.
    Folded,
}

const NODE: &str = "node.";
const LIVE: &str = "live.";
const BUS: &str = "bus.";
const VERDICT: &str = "verdict.";
const CALL: &str = "call.";
const EXEC: &str = "exec.";
const HOST: &str = "host.";

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(key) => key.fmt(f),
            Self::Node(id) => write!(f, "{NODE}{}", escape(id.as_str())),
            Self::Live(id) => write!(f, "{LIVE}{}", escape(id.as_str())),
            Self::Bus(id) => write!(f, "{BUS}{}", escape(id.as_str())),
            Self::Verdict(id) => write!(f, "{VERDICT}{}", escape(id.as_str())),
            Self::Call(id) => write!(f, "{CALL}{id}"),
            Self::Exec(id) => write!(f, "{EXEC}{}", escape(id.as_str())),
            Self::Host(host) => write!(f, "{HOST}{}", escape(host.as_str())),
            Self::Sys => f.write_str("sys"),
            Self::Barrier => f.write_str("sys.barrier"),
            Self::Checkpoint => f.write_str("sys.checkpoint"),
            Self::Folded => f.write_str("sys.executions"),
        }
    }
}

impl FromStr for Key {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "sys" => Ok(Self::Sys),
            "sys.barrier" => Ok(Self::Barrier),
            "sys.checkpoint" => Ok(Self::Checkpoint),
            "sys.executions" => Ok(Self::Folded),
            _ if text.starts_with("port.") => text.parse().map(Self::Port),
            _ => parse_named(text).ok_or_else(|| Invalid(format!("not a key: {text}"))),
        }
    }
}

fn parse_named(text: &str) -> Option<Key> {
    fn id<T: FromStr>(token: &str) -> Option<T> {
        unescape(token)?.parse().ok()
    }
    if let Some(token) = text.strip_prefix(NODE) {
        id(token).map(Key::Node)
    } else if let Some(token) = text.strip_prefix(LIVE) {
        id(token).map(Key::Live)
    } else if let Some(token) = text.strip_prefix(BUS) {
        id(token).map(Key::Bus)
    } else if let Some(token) = text.strip_prefix(EXEC) {
        id(token).map(Key::Exec)
    } else if let Some(token) = text.strip_prefix(HOST) {
        id(token).map(Key::Host)
    } else if let Some(token) = text.strip_prefix(CALL) {
        let id: uuid::Uuid = token.parse().ok()?;
        // A UUID has several spellings, and each would be another key.
        (id.to_string() == token).then_some(Key::Call(RequestId(id)))
    } else {
        id(text.strip_prefix(VERDICT)?).map(Key::Verdict)
    }
}

impl From<PortKey> for Key {
    fn from(key: PortKey) -> Self {
        Self::Port(key)
    }
}

impl Key {
    /// The lowest there can be.
    pub(super) fn first() -> Self {
        Self::Port(PortKey::first())
    }

    /// The port that it names, if it does.
    pub fn port(&self) -> Option<&PortKey> {
        match self {
            Self::Port(key) => Some(key),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_in_a_node_does_not_make_two_tokens() {
        let key = Key::Node("a.b".parse().unwrap());
        assert_eq!(key.to_string(), "node.a=2Eb");
        for key in [
            key,
            Key::Live("a.b".parse().unwrap()),
            Key::Bus("a-b".parse().unwrap()),
            Key::Verdict("a.b".parse().unwrap()),
            Key::Exec("a.b".parse().unwrap()),
            Key::Host("a.b".parse().unwrap()),
            Key::Call(RequestId(uuid::Uuid::max())),
            Key::Folded,
        ] {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        for text in [
            "node.a.b",
            "node.",
            "live.a=2eb",
            "bus.a=2Eb",
            "verdicts.a",
            "call.a",
            "call.FFFFFFFF-ffff-ffff-ffff-ffffffffffff",
        ] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_spelling_a_port() {
        for text in [
            "port.a.tcp.080",
            "port.a.tcp.+80",
            "port.a.tcp.0",
            "port.a.TCP.80",
            "port.=61.tcp.80",
            "port.a.tcp",
        ] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_later_lineage_is_a_higher_revision() {
        assert!(Revision(1).wire(1) > Revision(1 << 40).wire(0));
        assert_eq!(Revision::from_wire(Revision(77).wire(3)), (3, Revision(77)));
    }
}
