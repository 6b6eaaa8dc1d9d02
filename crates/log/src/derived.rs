//! A stream that is derived from the log and can be made again from it: one writer at a time appends to it, each message
//! at the position behind the last one.

use std::time::Duration;

use async_nats::{Client, HeaderMap, header, jetstream::stream};
use bytes::Bytes;
use onex_types::entry::Sequence;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    api::{Api, Names, code},
    error::Error,
};

/// Messages of one atomic batch, at most; a server allows 1,000.
const DERIVED_BATCH_MAX: usize = 512;
/// And at least. A batch costs a server 5 to 7 ms for the files that it makes and removes, however little is in it: as much
/// as some twenty messages that are written one by one.
const BATCH_MIN: usize = 32;

/// Messages of others behind the last one of ours, at most, that are looked through for it.
const FOREIGN_MAX: u64 = 1_000;

/// How long an acknowledgement may take.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);

/// A message to be appended.
#[derive(Debug, Clone)]
pub struct DerivedMessage {
    /// Where.
    pub subject: String,
    /// With what says which it is.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// The last message of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tail {
    /// Its position; 0 in a stream that never had a message.
    pub last: Sequence,
    /// What a header of it says, where it is there and has that.
    pub value: Option<String>,
}

/// A stream that is derived from the log.
#[derive(Debug, Clone)]
pub struct Derived {
    api: Api,
}

#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    seq: u64,
    error: Option<Value>,
}

impl Derived {
    /// The stream that `config` names, created as it says if it is not there.
    pub async fn open(client: Client, config: stream::Config) -> Result<Self, Error> {
        let names = Names {
            bucket: String::new(),
            stream: config.name.clone(),
            subject: String::new(),
        };
        let this = Self {
            api: Api::new(client, names),
        };
        this.ensure(config).await?;
        Ok(this)
    }

    /// Creates it as `config` says if it is not there.
    pub async fn ensure(&self, config: stream::Config) -> Result<(), Error> {
        match self.api.describe(None).await {
            Err(Error::Missing { .. }) => {}
            described => return described.map(|_| ()),
        }
        let subject = format!("STREAM.CREATE.{}", config.name);
        let body = serde_json::to_value(&config).unwrap_or_default();
        match self
            .api
            .request::<Value>("STREAM.CREATE", subject, &body)
            .await
        {
            // Another instance was faster.
            Err(Error::Refused { code, .. }) if code == code::STREAM_NAME_IN_USE => Ok(()),
            created => created.map(|_| ()),
        }
    }

    /// The last position, and what the header of that name says in the last message that has it: among the last
    /// [`FOREIGN_MAX`], since others may write there too.
    pub async fn tail(&self, name: &str) -> Result<Tail, Error> {
        let last = self.api.describe(None).await?.info.last;
        for back in 0..FOREIGN_MAX.min(last.0) {
            let value = self.api.header_of(Sequence(last.0 - back), name).await?;
            if value.is_some() {
                return Ok(Tail { last, value });
            }
        }
        Ok(Tail { last, value: None })
    }

    /// Appends messages behind `expected`, in their order. How many of them, from the first on, are certainly there. Of the
    /// others nothing is known: look at the tail again.
    ///
    /// Never one on its way behind another that may be refused: it could land behind what somebody else wrote, and what
    /// was refused would be missing before it. Many go in atomic batches, all or none; few each when the one before it is
    /// there.
    pub async fn append(&self, mut expected: Sequence, messages: &[DerivedMessage]) -> usize {
        let mut stored = 0;
        for piece in messages.chunks(DERIVED_BATCH_MAX) {
            let count = if piece.len() >= BATCH_MIN {
                self.append_batch(expected, piece).await
            } else {
                self.append_each(expected, piece).await
            };
            stored += count;
            expected.0 += count as u64;
            if count < piece.len() {
                break;
            }
        }
        stored
    }

    async fn append_each(&self, expected: Sequence, messages: &[DerivedMessage]) -> usize {
        for (n, before) in (0..messages.len()).zip(expected.0..) {
            let Some(message) = messages.get(n).cloned() else {
                return n;
            };
            let message = self.behind(Sequence(before), message);
            if self.ask(message).await != Some(before + 1) {
                return n;
            }
        }
        messages.len()
    }

    /// By the server's atomic batches (ADR-50): only the first message says behind what, and only the last is answered.
    async fn append_batch(&self, expected: Sequence, messages: &[DerivedMessage]) -> usize {
        let id = Uuid::new_v4().simple().to_string();
        let (mut n, count) = (0, messages.len());
        for message in messages.iter().cloned() {
            n += 1;
            let mut message = if n == 1 {
                self.behind(expected, message)
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
            if client
                .publish_with_headers(subject, headers, body)
                .await
                .is_err()
            {
                return 0;
            }
        }
        0
    }

    fn behind(&self, expected: Sequence, mut message: DerivedMessage) -> DerivedMessage {
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
