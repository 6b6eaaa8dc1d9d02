//! Following the bucket's stream.

use std::time::Duration;

use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, pull},
};
use bytes::Bytes;
use futures::{Stream, StreamExt};

use crate::domain::key::{Key, Revision};

use super::{
    batch,
    codec::{self, Found},
};

/// Messages asked for at once.
const BATCH_MESSAGES: usize = 1_000;
/// How long one request for messages lasts.
const BATCH_EXPIRES: Duration = Duration::from_secs(30);
/// How often the server says that it is there while nothing happens. Twice that without a word ends it.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long the server keeps a consumer that nobody asks.
pub(super) const INACTIVE_THRESHOLD: Duration = Duration::from_mins(1);

/// One message of the bucket.
#[derive(Debug)]
pub struct Delivery {
    /// Whose; none for a key that no version up to this one writes.
    pub key: Option<Key>,
    /// Its key as it stands, for the log.
    pub subject: String,
    /// Where in the stream.
    pub revision: Revision,
    /// What number the consumer gave it: without a gap.
    pub delivered: u64,
    /// How many more there were behind it.
    pub pending: u64,
    /// Whether it was written in one piece with the next one.
    pub goes_on: bool,
    /// What it is.
    pub found: Found,
}

/// Why following ended.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// No consumer.
    #[error("cannot create a consumer")]
    Consumer(#[source] jetstream::stream::ConsumerError),
    /// It stopped.
    #[error("the consumer stopped")]
    Messages(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It sent something that is no message of a stream.
    #[error("not a message of a stream")]
    Malformed(#[source] async_nats::Error),
}

/// One message of the stream of events.
#[derive(Debug)]
pub struct EventDelivery {
    /// Where in that stream.
    pub position: Revision,
    /// What number the consumer gave it: without a gap.
    pub delivered: u64,
    /// How many more there were behind it.
    pub pending: u64,
    /// Its body.
    pub payload: Bytes,
}

/// Events on some subjects behind `after`, in the order of their stream, and then what comes.
pub(super) async fn follow_events(
    stream: &jetstream::stream::Stream,
    subjects: Vec<String>,
    after: Revision,
) -> Result<impl Stream<Item = Result<EventDelivery, FollowError>> + use<>, FollowError> {
    let config = pull::Config {
        description: Some("onex-registry counts executions".to_owned()),
        filter_subjects: subjects,
        ..behind(after)
    };
    Ok(messages(stream, config).await?.map(|message| {
        let message = message.map_err(|error| FollowError::Messages(error.into()))?;
        let info = message.info().map_err(FollowError::Malformed)?;
        Ok(EventDelivery {
            position: Revision(info.stream_sequence),
            delivered: info.consumer_sequence,
            pending: info.pending,
            payload: message.payload.clone(),
        })
    }))
}

/// A consumer of what is behind `after`.
fn behind(after: Revision) -> pull::Config {
    pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence {
            start_sequence: after.0 + 1,
        },
        ack_policy: AckPolicy::None,
        replay_policy: ReplayPolicy::Instant,
        inactive_threshold: INACTIVE_THRESHOLD,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    }
}

async fn messages(
    stream: &jetstream::stream::Stream,
    config: pull::Config,
) -> Result<pull::Stream, FollowError> {
    let consumer = stream
        .create_consumer(config)
        .await
        .map_err(FollowError::Consumer)?;
    consumer
        .stream()
        .max_messages_per_batch(BATCH_MESSAGES)
        .expires(BATCH_EXPIRES)
        .heartbeat(HEARTBEAT)
        .messages()
        .await
        .map_err(|error| FollowError::Messages(error.into()))
}

/// Everything of the bucket behind `after`, in the order of the stream, and then what comes.
pub(super) async fn follow(
    stream: &jetstream::stream::Stream,
    prefix: String,
    after: Revision,
) -> Result<impl Stream<Item = Result<Delivery, FollowError>> + use<>, FollowError> {
    let config = pull::Config {
        description: Some("onex-registry follower".to_owned()),
        ..behind(after)
    };
    Ok(messages(stream, config).await?.map(move |message| {
        let message = message.map_err(|error| FollowError::Messages(error.into()))?;
        let info = message.info().map_err(FollowError::Malformed)?;
        let subject = message
            .subject
            .strip_prefix(prefix.as_str())
            .unwrap_or(&message.subject)
            .to_owned();
        let key = subject.parse::<Key>().ok();
        let found = match &key {
            Some(key) => codec::decode(key, message.headers.as_ref(), &message.payload),
            None => Found::Foreign("no key of this version's".to_owned()),
        };
        Ok(Delivery {
            key,
            subject,
            revision: Revision(info.stream_sequence),
            delivered: info.consumer_sequence,
            pending: info.pending,
            goes_on: batch::goes_on(message.headers.as_ref()),
            found,
        })
    }))
}
