//! Many events at once into their stream.

use async_nats::HeaderMap;
use bytes::Bytes;
use futures::future::join_all;

use super::{Message, Store, Written};

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

impl Store {
    /// Adds events to their stream, in their order, at most [`EVENTS_AT_ONCE_MAX`] of them: in one piece, or where
    /// that is refused, because one is there already or the stream takes no pieces, one by one on one round trip.
    /// Whether all are there now.
    pub async fn publish_events(&self, events: Vec<Event>) -> bool {
        let messages: Vec<Message> = events.into_iter().map(Message::from).collect();
        if let [first @ .., last] = messages.as_slice()
            && !first.is_empty()
            && let Written::At(_) = self.event_batches.write(self, first, last).await
        {
            return true;
        }
        let sent = messages.into_iter().map(|message| {
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
