//! Many events at once into their stream.

use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use futures::{Stream, future::join_all};

use crate::domain::key::Revision;

use super::{
    Message, Store, Written,
    follow::{self, EventDelivery, FollowError},
};

/// Events that are published in one piece, at most; a server allows 1,000.
pub const EVENTS_AT_ONCE_MAX: usize = 256;

/// One event as it is sent; its headers carry its id, by which the same again is dropped.
#[derive(Debug, Clone)]
pub struct Event {
    /// Where.
    pub subject: String,
    /// With its id.
    pub headers: HeaderMap,
    /// Its body.
    pub payload: Bytes,
}

/// The stream of events as it is found.
pub struct EventStream {
    stream: jetstream::stream::Stream,
    /// When it was made, in milliseconds since 1970: one that was made anew is another one.
    pub created: u64,
    /// Its last position.
    pub last: Revision,
}

impl EventStream {
    /// Events of those kinds behind `after`, in their order, and then what comes.
    pub async fn follow(
        &self,
        subjects: Vec<String>,
        after: Revision,
    ) -> Result<impl Stream<Item = Result<EventDelivery, FollowError>> + use<>, FollowError> {
        follow::follow_events(&self.stream, subjects, after).await
    }
}

impl Store {
    /// Looks the stream of events up; none when that cannot be done now.
    pub async fn event_stream(&self) -> Option<EventStream> {
        let context = jetstream::new(self.client.clone());
        match context.get_stream(&self.names.events_stream).await {
            Ok(stream) => {
                let info = stream.cached_info();
                let created = info.created.unix_timestamp_nanos() / 1_000_000;
                Some(EventStream {
                    created: u64::try_from(created).unwrap_or(0),
                    last: Revision(info.state.last_sequence),
                    stream,
                })
            }
            Err(error) => {
                tracing::debug!(%error, "cannot look the stream of events up");
                None
            }
        }
    }

    /// Adds events to their stream, in their order, at most [`EVENTS_AT_ONCE_MAX`] of them: in one piece, or where
    /// that is refused, because one is there already or the stream takes no pieces, one by one on one round trip.
    /// Whether all are there now.
    pub async fn publish_events(&self, events: &[Event]) -> bool {
        let messages = || events.iter().cloned().map(Message::from);
        if events.len() > 1
            && let Written::At(_) = self.event_batches.write(self, messages().collect()).await
        {
            return true;
        }
        let sent = messages().map(|message| {
            let Message {
                subject,
                headers,
                payload,
            } = message;
            self.publish(subject, headers, payload)
        });
        let acknowledged = join_all(sent).await;
        acknowledged
            .iter()
            .all(|written| matches!(written, Written::At(_)))
    }
}

impl From<Event> for Message {
    fn from(event: Event) -> Self {
        Self {
            subject: event.subject,
            headers: event.headers,
            payload: event.payload,
        }
    }
}
