//! The stream's settings: created with, and compared with, one table.

use serde_json::{Map, Value, json};

use crate::{
    api::Names,
    error::{Difference, Error},
};

/// Messages that the one subject keeps: no bound, in words that the clients of key-value buckets accept (they refuse -1).
const MESSAGES_PER_SUBJECT_MAX: i64 = 1 << 40;

/// Settings that the server does not let anybody change once the stream exists.
const FIXED: &[&str] = &[
    "allow_msg_counter",
    "allow_msg_schedules",
    "deny_purge",
    "mirror",
    "persist_mode",
    "retention",
    "sealed",
    "storage",
];

/// What sets a setting right in `nats stream edit` and loses nothing; `{}` stands for what it must be. Its
/// `--no-republish` changes nothing.
const FLAGS: &[(&str, &str)] = &[
    ("subjects", "--subjects='{}'"),
    ("max_msgs_per_subject", "--max-msgs-per-subject={}"),
    ("discard", "--discard={}"),
    ("allow_atomic", "--no-allow-batch"),
    ("allow_batched", "--no-allow-fast"),
    ("subject_transform", "--no-transform"),
    ("max_msgs", "--max-msgs=-1"),
    ("max_msg_size", "--max-msg-size=-1"),
    ("max_age", "--max-age=0"),
    ("discard_new_per_subject", "--no-discard-per-subject"),
    ("allow_rollup_hdrs", "--no-allow-rollup"),
    ("deny_delete", "--deny-delete"),
    ("no_ack", "--ack"),
    // It takes no -1.
    ("max_consumers", "--max-consumers=0"),
];

/// Bytes that a message of a derived stream may have to have, at most.
const MESSAGE_BYTES_MIN: u64 = 1024 * 1024;

/// What every log must have, each with its reason where the name does not say it.
fn required(names: &Names) -> Vec<(&'static str, Value)> {
    vec![
        ("subjects", json!([names.subject])),
        // Nothing goes by itself: only a trim removes entries, from the front.
        ("max_msgs_per_subject", json!(MESSAGES_PER_SUBJECT_MAX)),
        ("max_msgs", json!(-1)),
        ("max_msg_size", json!(-1)),
        ("max_age", json!(0)),
        ("discard", json!("new")),
        ("discard_new_per_subject", json!(false)),
        ("retention", json!("limits")),
        ("allow_msg_ttl", json!(false)),
        ("subject_delete_marker_ttl", json!(0)),
        ("allow_rollup_hdrs", json!(false)),
        ("deny_delete", json!(true)),
        ("deny_purge", json!(false)),
        // What is acknowledged is stored.
        ("storage", json!("file")),
        ("persist_mode", json!("default")),
        ("no_ack", json!(false)),
        ("sealed", json!(false)),
        // Only appends write to it, and what they write is what stands there.
        ("mirror", Value::Null),
        ("sources", Value::Null),
        ("subject_transform", Value::Null),
        ("allow_atomic", json!(false)),
        ("allow_batched", json!(false)),
        ("allow_msg_counter", json!(false)),
        ("allow_msg_schedules", json!(false)),
        // It is not copied to where others read.
        ("republish", Value::Null),
        // Each session has a consumer of its own.
        ("max_consumers", json!(-1)),
        ("consumer_limits", Value::Null),
    ]
}

/// What every derived stream must have. How much is kept for how long is the operator's.
fn required_of_derived(subject: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("subjects", json!([subject])),
        ("discard", json!("old")),
        ("retention", json!("limits")),
        ("storage", json!("file")),
        ("no_ack", json!(false)),
        ("sealed", json!(false)),
        ("mirror", Value::Null),
        ("sources", Value::Null),
        ("subject_transform", Value::Null),
    ]
}

/// The configuration that the stream is created with.
pub(crate) fn wanted(names: &Names, replicas: usize, bytes_max: u64) -> Value {
    let required = required(names);
    let mut config: Map<String, Value> = required
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    config.insert("name".to_owned(), json!(names.stream));
    config.insert("num_replicas".to_owned(), json!(replicas));
    config.insert("max_bytes".to_owned(), json!(bytes_max));
    // For those who look: `nats kv get`. Nothing here reads that way.
    config.insert("allow_direct".to_owned(), json!(true));
    config.insert(
        "description".to_owned(),
        json!("onex-registry: the log of all changes. Not an interface for writing."),
    );
    Value::Object(config)
}

/// Refuses settings under which entries could be lost, reordered or written by others than appends. How large it may
/// become, and how many copies there are, is the operator's, who may change it; that there is a bound is not.
pub(crate) fn check(names: &Names, config: &Map<String, Value>) -> Result<(), Error> {
    let mut differences = differences(required(names), config);
    let is = config.get("max_bytes").unwrap_or(&Value::Null);
    if is.as_u64().is_none_or(|bytes| bytes == 0) {
        let must = "a number of bytes, as --store-bytes-max".to_owned();
        differences.push(difference("max_bytes", is, must));
    }
    none_of(&names.stream, differences)
}

/// The same of a derived stream: refuses settings under which what is appended is not kept.
pub(crate) fn check_derived(
    stream: &str,
    subject: &str,
    config: &Map<String, Value>,
) -> Result<(), Error> {
    let mut differences = differences(required_of_derived(subject), config);
    let size = config.get("max_msg_size").unwrap_or(&Value::Null);
    if size.as_u64().is_some_and(|size| size < MESSAGE_BYTES_MIN) {
        let must = format!("-1 or at least {MESSAGE_BYTES_MIN}");
        differences.push(difference("max_msg_size", size, must));
    }
    none_of(stream, differences)
}

fn differences(
    required: Vec<(&'static str, Value)>,
    config: &Map<String, Value>,
) -> Vec<Difference> {
    let is = |setting: &str| config.get(setting).unwrap_or(&Value::Null);
    required
        .into_iter()
        .filter(|(setting, must)| !same(is(setting), must))
        .map(|(setting, must)| difference(setting, is(setting), must.to_string()))
        .collect()
}

fn none_of(stream: &str, differences: Vec<Difference>) -> Result<(), Error> {
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::Settings {
        stream: stream.to_owned(),
        differences,
    })
}

fn difference(setting: &'static str, is: &Value, must: String) -> Difference {
    let flag = FLAGS.iter().find(|(name, _)| *name == setting);
    let value = must.trim_matches(['[', ']', '"']);
    Difference {
        setting,
        is: is.to_string(),
        editable: !FIXED.contains(&setting),
        flag: flag.map(|(_, flag)| flag.replace("{}", value)),
        must,
    }
}

/// The server leaves out what has its default.
fn same(is: &Value, must: &Value) -> bool {
    is == must || (is_default(is) && is_default(must))
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty() || text == "default",
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that was removed with a time to live came back alive when the server was killed.
    #[test]
    fn s41_nothing_of_the_log_goes_by_itself_or_one_by_one() {
        let names = Names::of("x");
        let must: Map<String, Value> = required(&names)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        for (setting, value) in [
            ("max_age", json!(0)),
            ("max_msgs", json!(-1)),
            ("discard", json!("new")),
            ("allow_msg_ttl", json!(false)),
            ("subject_delete_marker_ttl", json!(0)),
            ("allow_rollup_hdrs", json!(false)),
            ("deny_delete", json!(true)),
            ("retention", json!("limits")),
            ("subjects", json!(["$KV.x.log"])),
        ] {
            assert_eq!(must.get(setting), Some(&value), "{setting}");
        }
    }
}
