//! From a bucket of the first storage format to a log.

use jiff::Timestamp;
use onex_core::{
    command::Action,
    format_one::{self, Converted, ConvertedCounts, Message, Value},
};
use onex_log::{Bucket, FormatOne};
use serde::Serialize;

use super::{error::DoctorError, operator::Operator};

/// Records that are given to the engine together.
const RECORDS_AT_ONCE_MAX: usize = 1_000;
/// Records that were left behind and are named, at most.
const LEFT_NAMED_MAX: usize = 64;

/// What came of an upgrade.
#[derive(Debug, Serialize)]
pub struct Upgraded {
    /// Leases that go on.
    pub leases: usize,
    /// Ports that cool down, or that remember their last lease.
    pub ports: usize,
    /// Nodes, those that have ended and are remembered included.
    pub nodes: usize,
    /// Buses, those that have ended and are remembered included.
    pub buses: usize,
    /// Nodes of which validators have said something.
    pub trust: usize,
    /// Calls with a request id.
    pub calls: usize,
    /// Nodes whose executions are counted.
    pub executions: usize,
    /// Hosts whose other names are known.
    pub hosts: usize,
    /// Events that were not published before the upgrade, and are not any more.
    pub events_lost: usize,
    /// Records that were not taken over.
    pub left: usize,
    /// The first of them.
    pub left_records: Vec<LeftRecord>,
    /// The revision from which the registry goes on.
    pub revision: u64,
    /// The stream that keeps what was in the bucket.
    pub kept_as: String,
}

/// A record that was not taken over.
#[derive(Debug, Serialize)]
pub struct LeftRecord {
    /// Its key.
    pub key: String,
    /// Why it was left out.
    pub why: String,
    /// For how long its port is granted to nobody, in milliseconds; absent where it is none of a port.
    pub reserved_ms: Option<u64>,
}

/// Writes the log, from what was set aside. `known` is the highest revision that is known from elsewhere.
pub(super) async fn upgrade(
    bucket: &FormatOne,
    log: onex_log::Options,
    known: u64,
) -> Result<Upgraded, DoctorError> {
    let Bucket { messages, last } = bucket.read().await?;
    let messages: Vec<Message> = messages.into_iter().map(message).collect();
    let converted = format_one::convert(&messages, last, Timestamp::now());
    drop(messages);
    let Converted {
        mut records,
        revision,
        counts,
        left,
    } = converted;
    let (log, store) = bucket.open_log(log).await?;
    let operator = Operator::start(log, store).await?;
    let begin = Action::TakeRecords {
        records: Vec::new(),
        known: known.max(revision),
    };
    let mut revision = operator.decide(vec![begin]).await?;
    while !records.is_empty() {
        let behind = records.split_off(records.len().min(RECORDS_AT_ONCE_MAX));
        let chunk = std::mem::replace(&mut records, behind).into_iter();
        let actions = chunk.map(|record| Action::TakeRecords {
            records: vec![record],
            known: 0,
        });
        revision = operator.decide(actions.collect()).await?;
    }
    operator.end().await;
    bucket.finish().await?;
    let named = left.iter().take(LEFT_NAMED_MAX);
    let left_records = named
        .map(|left| LeftRecord {
            key: left.key.clone(),
            why: left.why.clone(),
            reserved_ms: left.reserved.map(onex_types::ids::Ttl::millis),
        })
        .collect();
    let ConvertedCounts {
        leases,
        ports,
        nodes,
        buses,
        trust,
        calls,
        counts: executions,
        hosts,
        unpublished,
    } = counts;
    Ok(Upgraded {
        leases,
        ports,
        nodes,
        buses,
        trust,
        calls,
        executions,
        hosts,
        events_lost: unpublished,
        left: left.len(),
        left_records,
        revision,
        kept_as: bucket.kept_as().to_owned(),
    })
}

fn message(message: onex_log::KeyMessage) -> Message {
    let value = match message.body {
        Some(body) => Value::Body(body),
        None if message.forgotten => Value::Forgotten,
        None => Value::Removed,
    };
    Message {
        key: message.key,
        sequence: message.sequence,
        value,
    }
}
