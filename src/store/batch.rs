//! Several compare-and-sets in one piece, by the server's atomic batches (ADR-50).

use std::{sync::Arc, time::Duration};

use async_nats::HeaderMap;
use tokio::{sync::Semaphore, time::timeout};
use uuid::Uuid;

use super::{Message, Store, Written};

/// Batches of one instance under way at the same time. A server allows 50 on one stream, and one that is
/// abandoned takes up room for ten seconds: several instances share them.
const BATCHES_IN_FLIGHT_MAX: usize = 8;

/// How long a batch waits for its turn. Then it was not sent: whoever wants it decides whether it still does.
const TURN_WAIT_MAX: Duration = Duration::from_millis(500);

const HEADER_BATCH_ID: &str = "Nats-Batch-Id";
const HEADER_BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
const HEADER_BATCH_COMMIT: &str = "Nats-Batch-Commit";

/// Keeps batches within their bound.
#[derive(Debug, Clone)]
pub(super) struct Batches(Arc<Semaphore>);

impl Default for Batches {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BATCHES_IN_FLIGHT_MAX)))
    }
}

impl Batches {
    /// Sends them in their order; the last one commits them all. Only the commit is answered: what is wrong with any of
    /// them is said there.
    pub(super) async fn write(&self, store: &Store, mut messages: Vec<Message>) -> Written {
        let Ok(Ok(_permit)) = timeout(TURN_WAIT_MAX, self.0.acquire()).await else {
            return Written::Unsent;
        };
        let Some(last) = messages.pop() else {
            return Written::Unsent;
        };
        let id = Uuid::now_v7().simple().to_string();
        let before = messages.len();
        for (n, message) in (1..).zip(messages) {
            let Message {
                subject,
                headers,
                payload,
            } = numbered(message, &id, n);
            let sent = store.client.publish_with_headers(subject, headers, payload);
            if sent.await.is_err() {
                return Written::Unsent;
            }
        }
        let Message {
            subject,
            mut headers,
            payload,
        } = numbered(last, &id, before + 1);
        headers.insert(HEADER_BATCH_COMMIT, "1");
        store.publish(subject, headers, payload).await
    }
}

/// Whether a message of the stream was written in a batch that it does not end.
pub(super) fn goes_on(headers: Option<&HeaderMap>) -> bool {
    let has = |name| headers.is_some_and(|headers| headers.get(name).is_some());
    has(HEADER_BATCH_ID) && !has(HEADER_BATCH_COMMIT)
}

fn numbered(mut message: Message, id: &str, n: usize) -> Message {
    message.headers.insert(HEADER_BATCH_ID, id);
    message.headers.insert(HEADER_BATCH_SEQUENCE, n.to_string());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_goes_on_until_its_commit() {
        let message = Message {
            subject: String::new(),
            headers: HeaderMap::new(),
            payload: bytes::Bytes::new(),
        };
        assert!(!goes_on(None));
        assert!(!goes_on(Some(&message.headers)));
        let mut headers = numbered(message, "x", 1).headers;
        assert!(goes_on(Some(&headers)));
        headers.insert(HEADER_BATCH_COMMIT, "1");
        assert!(!goes_on(Some(&headers)));
    }
}
