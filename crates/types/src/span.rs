//! Spans of time as people read them.

use std::time::Duration;

/// A span of time for people: milliseconds below a second (with a tenth below ten), seconds below a minute (likewise), else
/// the two largest units, less what is zero. What is smaller is left out, so that no time is said to be left that is not.
pub fn span(time: Duration) -> String {
    let tenths = |tenths: u128, unit: &str| match tenths % 10 {
        0 => format!("{}{unit}", tenths / 10),
        part => format!("{}.{part}{unit}", tenths / 10),
    };
    let millis = time.as_millis();
    let seconds = millis / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) if millis == 0 && time.as_micros() < 100 => "0s".to_owned(),
        (0, 0, 0) if millis < 10 => tenths(time.as_micros() / 100, "ms"),
        (0, 0, 0) => format!("{millis}ms"),
        (0, 0, 1..10) => tenths(millis / 100, "s"),
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, 0) => format!("{minutes}m"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, 0, _) => format!("{hours}h"),
        (hours, minutes, _) => format!("{hours}h{minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_in_one_way() {
        for (micros, text) in [
            (0, "0s"),
            (99, "0s"),
            (2_540, "2.5ms"),
            (3_000, "3ms"),
            (331_742, "331ms"),
            (250_000, "250ms"),
            (1_000_000, "1s"),
            (1_500_000, "1.5s"),
            (9_990_000, "9.9s"),
            (59_999_000, "59s"),
            (60_000_000, "1m"),
            (61_000_000, "1m1s"),
            (3_661_000_000, "1h1m"),
            (86_400_000_000, "24h"),
        ] {
            assert_eq!(span(Duration::from_micros(micros)), text);
        }
    }
}
