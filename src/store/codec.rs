//! Between what is stored as bytes and the domain's records.

use async_nats::HeaderMap;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use crate::domain::{
    counts::Folded,
    hosts::HostRecord,
    key::Key,
    record::{Checkpoint, FORMAT, Record, Stored, Sys},
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
        Stored::Host(record) => serde_json::to_vec(record),
        Stored::Sys(sys) => serde_json::to_vec(sys),
        Stored::Checkpoint(checkpoint) => serde_json::to_vec(checkpoint),
        Stored::Barrier | Stored::Later | Stored::Foreign => {
            serde_json::to_vec(&json!({ "format": FORMAT }))
        }
    }
}

/// Why a record must not be written.
#[derive(Debug, thiserror::Error)]
pub enum Unwritable {
    /// It cannot be written as JSON.
    #[error("it cannot be encoded")]
    Encode(#[from] serde_json::Error),
    /// What would be stored would not be understood when it is read.
    #[error("it could not be read back: {0}")]
    Unreadable(String),
}

/// The bytes to store under `key`, if this version reads a record from them again: one that it could not read would
/// count as foreign and destroy what it is about.
pub fn encode_readable(
    key: &Key,
    headers: &HeaderMap,
    stored: &Stored,
) -> Result<Vec<u8>, Unwritable> {
    let payload = encode(stored)?;
    match decode(key, Some(headers), &payload) {
        Found::Stored(_) => Ok(payload),
        Found::Later(format) => Err(Unwritable::Unreadable(format!("its format is {format}"))),
        Found::Foreign(why) => Err(Unwritable::Unreadable(why)),
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
            // Nothing depends on it but what a name means: it may be removed by hand.
            Key::Host(_) => Found::Stored(Stored::Forgotten),
            _ => Found::Foreign(format!("a marker: {marker}")),
        };
    }
    match key {
        Key::Port(_) => record(payload).map(Stored::Port),
        Key::Node(_) => record(payload).map(Stored::Node),
        Key::Live(_) => record(payload).map(Stored::Live),
        Key::Bus(_) => record(payload).map(Stored::Bus),
        Key::Verdict(_) => record(payload).map(Stored::Verdict),
        Key::Exec(_) => record(payload).map(Stored::Exec),
        Key::Call(_) => record(payload).map(Stored::Call),
        Key::Folded => parse(payload, |folded: &Folded| folded.format).map(Stored::Folded),
        Key::Host(_) => parse(payload, |record: &HostRecord| record.format).map(Stored::Host),
        Key::Sys => parse(payload, |sys: &Sys| sys.format).map(Stored::Sys),
        Key::Checkpoint => {
            parse(payload, |checkpoint: &Checkpoint| checkpoint.format).map(Stored::Checkpoint)
        }
        Key::Barrier => Ok(Stored::Barrier),
    }
    .map_or_else(|found| found, Found::Stored)
}

fn record<B: DeserializeOwned>(payload: &[u8]) -> Result<Box<Record<B>>, Found> {
    parse(payload, |record: &Record<B>| record.format).map(Box::new)
}

/// Read once; a second time, for its format alone, where it is nothing of this version's.
fn parse<T: DeserializeOwned>(payload: &[u8], format_of: impl Fn(&T) -> u32) -> Result<T, Found> {
    let foreign = |error: serde_json::Error| Found::Foreign(error.to_string());
    let value = serde_json::from_slice(payload);
    let format = if let Ok(value) = &value {
        format_of(value)
    } else {
        let AnyRecord { format } = serde_json::from_slice(payload).map_err(foreign)?;
        format
    };
    if format > FORMAT {
        return Err(Found::Later(format));
    }
    value.map_err(foreign)
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
    fn a_record_that_could_not_be_read_back_is_not_encoded() {
        let record = |levels: usize| {
            let text = format!(
                r#"{{"format":1,"write":"0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21","transitions":2,"outbox":[],
                "rest":{{"ended":"expired","ended_at":"2026-11-22T08:00:00Z","rest_ms":0}},"colour":{}1{}}}"#,
                "[".repeat(levels),
                "]".repeat(levels),
            );
            decode(&port(), None, text.as_bytes())
        };
        let Found::Stored(Stored::Port(mut stored)) = record(100) else {
            panic!("not understood")
        };
        let none = HeaderMap::new();
        let encoded = |stored: &Stored| encode_readable(&port(), &none, stored);
        assert!(encoded(&Stored::Port(stored.clone())).is_ok());
        let deep = (0..100).fold(serde_json::Value::Null, |inner, _| json!([inner]));
        stored.unknown.insert("deep".to_owned(), json!({"a": deep}));
        assert!(encoded(&Stored::Port(stored.clone())).is_ok());
        let deeper = (0..127).fold(serde_json::Value::Null, |inner, _| json!([inner]));
        stored.unknown.insert("deep".to_owned(), deeper);
        let refused = encoded(&Stored::Port(stored.clone())).unwrap_err();
        assert!(matches!(refused, Unwritable::Unreadable(_)), "{refused:?}");
        stored.unknown.clear();
        stored.format = FORMAT + 1;
        assert!(encoded(&Stored::Port(stored)).is_err());
    }

    #[test]
    fn what_is_not_understood_is_said() {
        assert_eq!(
            decode(&port(), None, br#"{"format":2,"new":true}"#),
            Found::Later(2)
        );
        // It may well look like one of today's.
        let lookalike = br#"{"format":2,"write":"0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21","transitions":0,"outbox":[],
            "rest":{"ended":"expired","ended_at":"2026-11-22T08:00:00Z","rest_ms":0}}"#;
        assert_eq!(decode(&port(), None, lookalike), Found::Later(2));
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
