//! Appending to a derived stream: many messages in one batch, each behind the one before it.
//!
//! Never one on its way behind another that may be refused, unless the server refuses both then: it could land behind what
//! somebody else wrote, and what was refused would be missing before it.

use std::time::{Duration, Instant};

use async_nats::{Message, header};
use futures::StreamExt;
use onex_types::entry::Sequence;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    batch::{BATCH_MAX, Kind},
    derived::{Derived, DerivedMessage},
};

/// How long an acknowledgement may take.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);

/// What a server says of a message, or of a batch.
#[derive(Deserialize)]
struct Ack {
    /// Absent where it only tells of a fast batch that goes on.
    #[serde(default)]
    stream: String,
    #[serde(default)]
    seq: u64,
    /// How many messages of a batch are stored.
    #[serde(default)]
    count: u64,
    error: Option<Value>,
}

impl Derived {
    /// Whether few large batches cost much less than many small ones.
    pub fn wants_large_batches(&self) -> bool {
        self.batches.is_slow(Instant::now())
    }

    /// Appends messages behind `expected`, in their order. How many of them, from the first on, are certainly there. Of the
    /// others nothing is known: look at the tail again.
    pub async fn append(&self, mut expected: Sequence, messages: Vec<DerivedMessage>) -> usize {
        let (mut left, mut messages) = (messages.len(), messages.into_iter());
        let mut stored = 0;
        while left > 0 {
            let (kind, count) = self.batches.next(left, Instant::now());
            let piece = messages.by_ref().take(count);
            let there = match kind {
                Kind::OneByOne => self.append_each(expected, piece).await,
                Kind::Fast => self.append_fast(expected, piece.collect()).await,
                Kind::Atomic => self.append_atomic(expected, piece.collect()).await,
            };
            stored += there;
            expected.0 += there as u64;
            left -= count;
            if there < count {
                break;
            }
        }
        stored
    }

    async fn append_each(
        &self,
        expected: Sequence,
        messages: impl Iterator<Item = DerivedMessage>,
    ) -> usize {
        let mut stored = 0;
        for (before, message) in (expected.0..).zip(messages) {
            let message = self.placed(Sequence(before), message);
            if self.ask(message).await != Some(before + 1) {
                break;
            }
            stored += 1;
        }
        stored
    }

    /// By a fast batch: each message says behind what, and the server drops all that come behind one that it did not get or
    /// does not take. Its place in the batch stands in the subject for answers.
    async fn append_fast(&self, expected: Sequence, messages: Vec<DerivedMessage>) -> usize {
        const START: u8 = 0;
        const ADD: u8 = 1;
        const COMMIT: u8 = 2;
        let client = &self.api.client;
        let (inbox, id) = (client.new_inbox(), Uuid::new_v4().simple());
        let Ok(mut answers) = client.subscribe(format!("{inbox}.>")).await else {
            return 0;
        };
        let (count, since) = (messages.len(), Instant::now());
        for (n, (before, message)) in (1..).zip((expected.0..).zip(messages)) {
            let operation = match n {
                _ if n == count => COMMIT,
                1 => START,
                _ => ADD,
            };
            let answer = format!("{inbox}.{id}.{BATCH_MAX}.fail.{n}.{operation}.$FI");
            let DerivedMessage {
                subject,
                mut headers,
                body,
            } = message;
            headers.insert(header::NATS_EXPECTED_LAST_SEQUENCE, before.to_string());
            let sent = client.publish_with_reply_and_headers(subject, answer, headers, body);
            if sent.await.is_err() {
                return 0;
            }
        }
        let ended = async {
            while let Some(answer) = answers.next().await {
                if let Some(stored) = self.stored(expected, &answer) {
                    return stored;
                }
            }
            0
        };
        let stored = timeout(ACK_TIMEOUT, ended).await.unwrap_or(0);
        self.batches.note(count, since.elapsed(), Instant::now());
        stored
    }

    /// How many messages of a fast batch are there, if the answer says that it has ended.
    fn stored(&self, expected: Sequence, answer: &Message) -> Option<usize> {
        let Ok(ack) = serde_json::from_slice::<Ack>(&answer.payload) else {
            return Some(0);
        };
        if ack.stream.is_empty() {
            return None;
        }
        let ours = ack.error.is_none() && ack.stream == self.api.names.stream;
        let placed = ack.seq == expected.0 + ack.count;
        let count = if ours && placed { ack.count } else { 0 };
        Some(usize::try_from(count).unwrap_or(0))
    }

    /// By an atomic batch: only the first message says behind what, and only the last is answered.
    async fn append_atomic(&self, expected: Sequence, messages: Vec<DerivedMessage>) -> usize {
        let id = Uuid::new_v4().simple().to_string();
        let count = messages.len();
        for (n, message) in (1..).zip(messages) {
            let mut message = if n == 1 {
                self.placed(expected, message)
            } else {
                message
            };
            message.headers.insert("Nats-Batch-Id", id.as_str());
            message.headers.insert("Nats-Batch-Sequence", n.to_string());
            if n == count {
                message.headers.insert("Nats-Batch-Commit", "1");
                let last = expected.0 + count as u64;
                return if self.ask(message).await == Some(last) {
                    count
                } else {
                    0
                };
            }
            let DerivedMessage {
                subject,
                headers,
                body,
            } = message;
            let client = &self.api.client;
            let sent = client.publish_with_headers(subject, headers, body);
            if sent.await.is_err() {
                return 0;
            }
        }
        0
    }

    fn placed(&self, expected: Sequence, mut message: DerivedMessage) -> DerivedMessage {
        let (stream, last) = (self.api.names.stream.as_str(), expected.0.to_string());
        let headers = &mut message.headers;
        headers.insert(header::NATS_EXPECTED_LAST_SEQUENCE, last);
        headers.insert(header::NATS_EXPECTED_STREAM, stream);
        message
    }

    /// Sends a message; the position at which it, or the batch that it ends, was stored.
    async fn ask(&self, message: DerivedMessage) -> Option<u64> {
        let DerivedMessage {
            subject,
            headers,
            body,
        } = message;
        let client = &self.api.client;
        let answer = client.request_with_headers(subject, headers, body);
        let answer = timeout(ACK_TIMEOUT, answer).await.ok()?.ok()?;
        let ack: Ack = serde_json::from_slice(&answer.payload).ok()?;
        let ours = ack.error.is_none() && ack.stream == self.api.names.stream;
        ours.then_some(ack.seq)
    }
}
