//! Between what is stored as bytes and the domain's records.

use async_nats::HeaderMap;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use crate::domain::{
    key::Key,
    record::{FORMAT, Stored},
};

/// On the marker of a key that a registry removed, to tell it from one by `nats kv del`.
pub(super) const HEADER_FORGOTTEN: &str = "Onex-Forgotten";

/// What a message of the bucket turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A record that is understood, or a marker of a barrier.
    Stored(Stored),
    /// A record of a later version of this program.
    Later(u32),
    /// Nothing that a registry wrote.
    Foreign(String),
}

#[derive(Deserialize)]
struct AnyRecord {
    format: u32,
}

/// The bytes to store.
pub fn encode(stored: &Stored) -> Result<Vec<u8>, serde_json::Error> {
    match stored {
        Stored::Port(record) => serde_json::to_vec(record),
        Stored::Node(record) => serde_json::to_vec(record),
        Stored::Live(record) => serde_json::to_vec(record),
        Stored::Bus(record) => serde_json::to_vec(record),
        Stored::Verdict(record) => serde_json::to_vec(record),
        Stored::Exec(record) => serde_json::to_vec(record),
        Stored::Folded(folded) => serde_json::to_vec(folded),
        Stored::Call(record) => serde_json::to_vec(record),
        Stored::Forgotten => Ok(Vec::new()),
        Stored::Sys(sys) => serde_json::to_vec(sys),
        Stored::Checkpoint(checkpoint) => serde_json::to_vec(checkpoint),
        Stored::Barrier | Stored::Later | Stored::Foreign => {
            serde_json::to_vec(&json!({ "format": FORMAT }))
        }
    }
}

/// What was stored under `key`.
pub fn decode(key: &Key, headers: Option<&HeaderMap>, payload: &[u8]) -> Found {
    const MARKERS: [&str; 2] = ["KV-Operation", "Nats-Marker-Reason"];
    if let Some(marker) =
        headers.and_then(|headers| MARKERS.iter().find_map(|name| headers.get(*name)))
    {
        let removed = headers.is_some_and(|headers| headers.get(HEADER_FORGOTTEN).is_some());
        return match key {
            Key::Node(_)
            | Key::Live(_)
            | Key::Bus(_)
            | Key::Verdict(_)
            | Key::Exec(_)
            | Key::Call(_)
                if removed =>
            {
                Found::Stored(Stored::Forgotten)
            }
            _ => Found::Foreign(format!("a marker: {marker}")),
        };
    }
    match key {
        Key::Port(_) => parse(payload).map(|record| Stored::Port(Box::new(record))),
        Key::Node(_) => parse(payload).map(|record| Stored::Node(Box::new(record))),
        Key::Live(_) => parse(payload).map(|record| Stored::Live(Box::new(record))),
        Key::Bus(_) => parse(payload).map(|record| Stored::Bus(Box::new(record))),
        Key::Verdict(_) => parse(payload).map(|record| Stored::Verdict(Box::new(record))),
        Key::Exec(_) => parse(payload).map(|record| Stored::Exec(Box::new(record))),
        Key::Folded => parse(payload).map(Stored::Folded),
        Key::Call(_) => parse(payload).map(|record| Stored::Call(Box::new(record))),
        Key::Sys => parse(payload).map(Stored::Sys),
        Key::Checkpoint => parse(payload).map(Stored::Checkpoint),
        Key::Barrier => Ok(Stored::Barrier),
    }
    .map_or_else(|found| found, Found::Stored)
}

fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Found> {
    let foreign = |error: serde_json::Error| Found::Foreign(error.to_string());
    let AnyRecord { format } = serde_json::from_slice(payload).map_err(foreign)?;
    if format > FORMAT {
        return Err(Found::Later(format));
    }
    serde_json::from_slice(payload).map_err(foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port() -> Key {
        "port.a.tcp.80".parse().unwrap()
    }

    #[test]
    fn members_that_are_not_known_are_carried_along() {
        let text = r#"{"format":1,"write":"0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21","transitions":2,"outbox":[],
            "rest":{"ended":"expired","ended_at":"2026-11-22T08:00:00Z","rest_ms":0},"colour":{"of":["red"]}}"#;
        let Found::Stored(stored) = decode(&port(), None, text.as_bytes()) else {
            panic!("not understood")
        };
        let again: serde_json::Value = serde_json::from_slice(&encode(&stored).unwrap()).unwrap();
        let before: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(again, before);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        assert_eq!(
            decode(&port(), None, br#"{"format":2,"new":true}"#),
            Found::Later(2)
        );
        assert!(matches!(decode(&port(), None, b"hello"), Found::Foreign(_)));
        assert!(matches!(
            decode(&port(), None, br#"{"format":1}"#),
            Found::Foreign(_)
        ));
        let mut headers = HeaderMap::new();
        headers.insert("KV-Operation", "DEL");
        assert!(matches!(
            decode(&port(), Some(&headers), b""),
            Found::Foreign(_)
        ));
    }
}
