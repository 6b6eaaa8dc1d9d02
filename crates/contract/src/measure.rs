//! How much there is in a value, as costs count it.

use serde_json::Value;

/// Bytes of text that count as one value.
const TEXT_BYTES: usize = 64;

/// Values in a value, itself and its text included, as far as there are at most `cap`: looking takes no longer.
pub(super) fn size(value: &Value, cap: u64) -> u64 {
    let mut all = 1;
    match value {
        Value::String(text) => all += parts(text.len()),
        Value::Array(items) => {
            for item in items {
                if all > cap {
                    break;
                }
                all += size(item, cap - all);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                if all > cap {
                    break;
                }
                all += 1 + parts(name.len()) + size(member, cap - all);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    all
}

/// As how many values text of that many bytes counts.
pub(super) fn parts(bytes: usize) -> u64 {
    length(bytes / TEXT_BYTES)
}

pub(super) fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
