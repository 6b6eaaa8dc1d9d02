//! Many events at once into their stream.

use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use futures::Stream;

use crate::domain::key::Revision;

use super::{
    Message, Store, Written,
    follow::{self, EventDelivery, FollowError},
};

/// Events that are published in one piece, at most; a server allows 1,000.
pub const EVENTS_AT_ONCE_MAX: usize = 256;

/// Events that are published in one piece, at least. A piece costs a server 5 to 7 ms for the files that it makes and
/// removes, however little is in it: as much as some twenty events that are synced one by one.
const PIECE_MIN: usize = 32;

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

    /// Adds events to their stream, in their order, at most [`EVENTS_AT_ONCE_MAX`] of them: many in one piece; few, or
    /// where that is refused, because one is there already or the stream takes no pieces, each when the one before it is
    /// there. Whether all are there now.
    pub async fn publish_events(&self, events: &[Event]) -> bool {
        if events.len() >= PIECE_MIN {
            let messages = events.iter().cloned().map(Message::from).collect();
            if let Written::At(_) = self.event_batches.write(self, messages).await {
                return true;
            }
        }
        for event in events {
            let Event {
                subject,
                headers,
                payload,
            } = event.clone();
            let written = self.publish_event(subject, headers, payload).await;
            if !matches!(written, Written::At(_)) {
                return false;
            }
        }
        true
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
