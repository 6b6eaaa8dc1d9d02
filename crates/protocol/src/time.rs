//! Times as they stand on the wire: RFC 3339, UTC, always milliseconds, so that they sort as texts.

use jiff::Timestamp;
use serde::Serializer;

/// The text.
pub fn show(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// For `serialize_with`.
pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

/// For `serialize_with`, where there may be none.
pub fn optional<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serialize(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_always_there() {
        let time: Timestamp = "2026-11-22T10:04:07.6Z".parse().unwrap();
        assert_eq!(show(time), "2026-11-22T10:04:07.600Z");
        assert_eq!(
            show("2026-11-22T10:00:00Z".parse().unwrap()),
            "2026-11-22T10:00:00.000Z"
        );
    }
}
