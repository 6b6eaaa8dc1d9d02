//! Appending to a derived stream: many messages in one batch, each behind the one before it.
//!
//! Never one on its way behind another that may be refused, unless the server refuses both then: it could land behind what
//! somebody else wrote, and what was refused would be missing before it. Servers have two kinds of batches (ADR-50). A
//! *fast* one is stored message by message, and ends with the first that is missing or refused. An *atomic* one is stored
//! whole or not at all, and is set aside in files of its own before that. Measured on a server with one copy, in processor
//! time of a message of 500 bytes: one by one 30 to 40 µs; in a fast batch of 160, 13 µs; in an atomic one of as many,
//! 40 µs, and of 1,000, 18 µs. But a server that syncs every write (`sync_interval: always`) syncs a fast batch message by
//! message, an atomic one once; nothing says whether a server does so but how long both take.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{Message, header};
use futures::StreamExt;
use onex_types::entry::Sequence;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use crate::derived::{Derived, DerivedMessage};

/// Messages of one batch, at most; a server allows 1,000 in an atomic one.
const BATCH_MAX: usize = 1_000;
/// Messages of a fast batch, at least: fewer are sent one by one.
const FAST_MIN: usize = 8;
/// Messages of the first fast batch, at most; of the next, twice as many as long as they are fast.
const FAST_FIRST_MAX: usize = 32;
/// Messages of an atomic batch, at least.
const ATOMIC_MIN: usize = 32;
/// What a fast batch may take whatever is in it, on a busy machine.
const FAST_MAX: Duration = Duration::from_millis(100);
/// And what each of its messages may take besides: where it takes longer each is synced.
const FAST_MESSAGE_MAX: Duration = Duration::from_micros(250);
/// For how long batches are atomic then, until it is tried again.
const ATOMIC_FOR: Duration = Duration::from_secs(60);

/// How long an acknowledgement may take.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);

/// Which kind of batch costs less, by how long the last ones took.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batches(Arc<Mutex<Fast>>);

/// What is known of fast batches.
#[derive(Debug, Clone, Copy)]
enum Fast {
    /// They are fast; how many messages the next one has, at most.
    Fast(usize),
    /// They are not; until when nobody tries.
    Slow(Instant),
}

impl Default for Fast {
    fn default() -> Self {
        Self::Fast(FAST_FIRST_MAX)
    }
}

/// How messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    OneByOne,
    Fast,
    Atomic,
}

impl Batches {
    /// How the next of so many messages are sent, and how many of them.
    fn next(&self, count: usize, now: Instant) -> (Kind, usize) {
        match self.known() {
            _ if count < FAST_MIN => (Kind::OneByOne, count),
            Fast::Fast(most) => (Kind::Fast, count.min(most)),
            Fast::Slow(until) if now < until && count >= ATOMIC_MIN => {
                (Kind::Atomic, count.min(BATCH_MAX))
            }
            Fast::Slow(_) => (Kind::Fast, count.min(FAST_FIRST_MAX)),
        }
    }

    /// Whether batches are atomic now.
    fn is_slow(&self, now: Instant) -> bool {
        matches!(self.known(), Fast::Slow(until) if now < until)
    }

    /// A fast batch of so many has taken so long.
    fn note(&self, count: usize, took: Duration, now: Instant) {
        let may = FAST_MAX + FAST_MESSAGE_MAX * u32::try_from(count).unwrap_or(u32::MAX);
        let known = match self.known() {
            _ if took > may => Fast::Slow(now + ATOMIC_FOR),
            Fast::Fast(most) if count >= most => Fast::Fast((most * 2).min(BATCH_MAX)),
            Fast::Slow(until) if now >= until => Fast::default(),
            Fast::Fast(_) | Fast::Slow(_) => return,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    fn known(&self) -> Fast {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn fast_batches_grow_while_they_are_fast() {
        let (batches, now) = (Batches::default(), Instant::now());
        assert_eq!(batches.next(7, now), (Kind::OneByOne, 7));
        let mut sizes = Vec::new();
        for _ in 0..7 {
            let (kind, count) = batches.next(2_000, now);
            assert_eq!(kind, Kind::Fast);
            batches.note(count, millis(90), now);
            sizes.push(count);
        }
        assert_eq!(sizes, [32, 64, 128, 256, 512, 1_000, 1_000]);
        let small = Batches::default();
        for _ in 0..9 {
            small.note(31, millis(90), now);
        }
        assert_eq!(small.next(2_000, now), (Kind::Fast, FAST_FIRST_MAX));
    }

    #[test]
    fn batches_are_atomic_for_a_while_where_each_message_of_a_fast_one_is_synced() {
        let (batches, start) = (Batches::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        batches.note(128, millis(133), start);
        assert_eq!(batches.next(2_000, start), (Kind::Atomic, BATCH_MAX));
        assert_eq!(batches.next(31, start), (Kind::Fast, 31));
        batches.note(31, millis(1), start);
        assert_eq!(batches.next(2_000, after(59)), (Kind::Atomic, BATCH_MAX));
        assert!(batches.is_slow(after(59)) && !batches.is_slow(after(61)));
        assert_eq!(batches.next(2_000, after(61)), (Kind::Fast, FAST_FIRST_MAX));
        batches.note(32, millis(1), after(61));
        assert_eq!(batches.next(2_000, after(61)), (Kind::Fast, FAST_FIRST_MAX));
        batches.note(32, millis(1), after(61));
        assert_eq!(batches.next(2_000, after(61)), (Kind::Fast, 64));
    }
}
