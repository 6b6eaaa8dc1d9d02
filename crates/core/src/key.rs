//! Keys of the state: the one place where they are spelled, parsed and ordered.
//!
//! Their order decides which records a chunk of a snapshot covers, so it must not change within a format.

use std::{fmt, str::FromStr};

use onex_types::{
    ids::{Host, Invalid},
    key::{PortKey, escape, unescape},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
    /// Whether the log was restored from a backup.
    Restored,
    /// The format that the log was raised to.
    Format,
}

const POOL: &str = "pool.";
const REQUEST: &str = "req.";

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => f.write_str("sys.store"),
            Self::Settings => f.write_str("sys.settings"),
            Self::Pool(host) => write!(f, "{POOL}{}", escape(host.as_str())),
            Self::Port(key) => key.fmt(f),
            Self::Request(slot) => write!(f, "{REQUEST}{slot}"),
            Self::Named => f.write_str("sys.named"),
            Self::Restored => f.write_str("sys.restored"),
            Self::Format => f.write_str("sys.format"),
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
    if let Some(digits) = text.strip_prefix(REQUEST) {
        let slot: u32 = digits.parse().ok()?;
        let spelled = slot < REQUEST_SLOTS_MAX && slot.to_string() == digits;
        return spelled.then_some(Key::Request(slot));
    }
    text.parse().ok().map(Key::Port)
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
        ] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }
}
