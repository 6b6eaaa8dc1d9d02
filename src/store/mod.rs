//! The store: one JetStream key-value bucket and one stream of events. Nothing else speaks JetStream.

mod batch;
pub mod codec;
pub mod events;
pub mod follow;
mod make;
pub mod open;

use std::{sync::Arc, time::Duration};

use async_nats::{Client, HeaderMap, RequestErrorKind, jetstream};
use bytes::Bytes;
use futures::Stream;
use serde::Deserialize;

use crate::{
    domain::{
        key::{Key, Revision},
        nodes::MARKER_SECONDS,
        record::Stored,
        write::Write,
    },
    throttle::LogThrottle,
};

pub use async_nats::jetstream::stream::InfoError;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use batch::Batches;
use follow::{Delivery, FollowError};
use open::{Names, OpenError};

/// How long an acknowledgement may take before nobody knows what became of a write.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(2);

/// By the server's source (`server/errors.json`): the key is at another revision. Decided.
const WRONG_LAST_SEQUENCE: u64 = 10_071;
/// The same, but a write that is under way could still turn out either way. Decides nothing.
const WRONG_LAST_SEQUENCE_UNDECIDED: u64 = 10_164;
/// The stream takes nothing in one piece.
const ATOMIC_PUBLISH_DISABLED: u64 = 10_174;
/// Of what was to be written in one piece something is there already.
const ATOMIC_PUBLISH_DUPLICATE: u64 = 10_201;

/// What the store said to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is stored, at that revision.
    At(Revision),
    /// The key was at another revision: this write can never land.
    Lost,
    /// Nobody knows: it may have landed, or may still.
    Unknown,
    /// It was refused, or nobody was there to take it: it did not land.
    Unsent,
    /// A record of it could not be read back by this version: nothing was sent.
    Unreadable,
}

/// Which stream this is, and how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// When it was made, in nanoseconds since 1970.
    pub created: i128,
    /// Its last revision.
    pub last: Revision,
}

/// An open store.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    stream: jetstream::stream::Stream,
    key_prefix: String,
    names: Names,
    batches: Batches,
    event_batches: Batches,
    refusals: Arc<LogThrottle>,
}

#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    seq: u64,
    error: Option<AckError>,
}

#[derive(Deserialize)]
struct AckError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// A compare-and-set as it is sent.
#[derive(Debug, Clone)]
struct Message {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

impl Store {
    /// Opens it: checks the server, makes what is missing, checks what is there.
    pub async fn open(client: Client, names: &Names) -> Result<Self, OpenError> {
        let names = open::open(&client, names).await?;
        let name = format!("KV_{}", names.bucket);
        let stream = jetstream::new(client.clone())
            .get_stream(&name)
            .await
            .map_err(|error| OpenError::Lookup(name, error))?;
        Ok(Self {
            client,
            stream,
            key_prefix: format!("$KV.{}.", names.bucket),
            names,
            batches: Batches::default(),
            event_batches: Batches::default(),
            refusals: LogThrottle::new("writes that were refused"),
        })
    }

    /// Which stream this is now.
    pub async fn identity(&self) -> Result<Identity, InfoError> {
        let info = self.stream.get_info().await?;
        Ok(Identity {
            created: info.created.unix_timestamp_nanos(),
            last: Revision(info.state.last_sequence),
        })
    }

    /// Everything behind `after`, in order, and then what comes.
    pub async fn follow(
        &self,
        after: Revision,
    ) -> Result<impl Stream<Item = Result<Delivery, FollowError>> + use<>, FollowError> {
        follow::follow(&self.stream, self.key_prefix.clone(), after).await
    }

    /// Compare-and-sets in one piece: all of them, or none. A revision is that of the last one.
    pub async fn write(&self, writes: &[Write]) -> Written {
        if let [write] = writes {
            let Some(message) = self.message(write) else {
                return Written::Unreadable;
            };
            let Message {
                subject,
                headers,
                payload,
            } = message;
            return self.publish(subject, headers, payload).await;
        }
        let messages: Option<Vec<_>> = writes.iter().map(|write| self.message(write)).collect();
        match messages {
            None => Written::Unreadable,
            Some(messages) => self.batches.write(self, messages).await,
        }
    }

    fn message(&self, write: &Write) -> Option<Message> {
        let mut headers = HeaderMap::new();
        headers.insert(
            async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
            write.expected.0.to_string(),
        );
        if write.value == Stored::Forgotten {
            headers.insert("KV-Operation", "DEL");
            headers.insert(codec::HEADER_FORGOTTEN, "1");
            headers.insert(
                async_nats::header::NATS_MESSAGE_TTL,
                format!("{MARKER_SECONDS}s"),
            );
        }
        match codec::encode_readable(&write.key, &headers, &write.value) {
            Ok(payload) => Some(Message {
                subject: self.subject(&write.key),
                headers,
                payload: payload.into(),
            }),
            Err(error) => {
                if self.refusals.admits() {
                    tracing::error!(key = %write.key, error = crate::chain(&error), "a record is not written");
                }
                None
            }
        }
    }

    /// Where the server says that a key's message is; 0 when it says that there is none. This is a hint and
    /// nothing more: a server that is cut off from the others says old things. Only a write judges.
    pub async fn locate(&self, key: &Key) -> Option<Revision> {
        let subject = self.subject(key);
        match self.stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => Some(Revision(message.sequence)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                Some(Revision::default())
            }
            Err(error) => {
                tracing::debug!(%key, %error, "cannot look a message up");
                None
            }
        }
    }

    /// Writes the barrier, whatever is there.
    pub async fn write_barrier(&self) -> Written {
        match codec::encode(&Stored::Barrier) {
            Ok(payload) => {
                self.publish(
                    self.subject(&Key::Barrier),
                    HeaderMap::new(),
                    payload.into(),
                )
                .await
            }
            Err(_) => Written::Unsent,
        }
    }

    /// Adds an event to the stream of events; `headers` carry its id, so that the same again is dropped.
    pub async fn publish_event(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Written {
        self.publish(subject, headers, payload).await
    }

    /// Makes the stream of events again, if somebody has removed it.
    pub async fn ensure_events(&self) {
        let context = jetstream::new(self.client.clone());
        if let Err(error) =
            open::ensure_events(&context, &self.names, self.client.max_payload()).await
        {
            tracing::warn!(error = crate::chain(&error), "the stream of events");
        }
    }

    fn subject(&self, key: &Key) -> String {
        format!("{}{key}", self.key_prefix)
    }

    async fn publish(&self, subject: String, headers: HeaderMap, payload: Bytes) -> Written {
        let request = async_nats::Request::new()
            .headers(headers)
            .payload(payload)
            .timeout(Some(ACK_TIMEOUT));
        match self.client.send_request(subject, request).await {
            Ok(message) => match serde_json::from_slice(&message.payload) {
                Ok(Ack { error: None, seq }) if seq > 0 => Written::At(Revision(seq)),
                Ok(Ack {
                    error: Some(error), ..
                }) => self.judge(&error),
                Ok(Ack { .. }) | Err(_) => Written::Unknown,
            },
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Written::Unsent,
            Err(error) if error.kind() == RequestErrorKind::MaxPayloadExceeded => {
                if self.refusals.admits() {
                    tracing::warn!(%error, "a record is larger than a message may be");
                }
                Written::Unsent
            }
            Err(error) => {
                tracing::debug!(%error, "no acknowledgement");
                Written::Unknown
            }
        }
    }

    fn judge(&self, error: &AckError) -> Written {
        match error.err_code {
            WRONG_LAST_SEQUENCE => Written::Lost,
            WRONG_LAST_SEQUENCE_UNDECIDED => Written::Unknown,
            ATOMIC_PUBLISH_DISABLED | ATOMIC_PUBLISH_DUPLICATE => Written::Unsent,
            code => {
                if self.refusals.admits() {
                    tracing::warn!(code, description = %error.description, "the store refused a write");
                }
                Written::Unsent
            }
        }
    }
}
