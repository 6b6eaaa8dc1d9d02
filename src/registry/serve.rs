//! Takes requests, and sees that each gets an answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinHandle};
use uuid::Uuid;

use crate::protocol::{
    describe::Registry,
    endpoint::Endpoint,
    error::{BUSY_RETRY_MILLIS, Error, ErrorCode, ErrorReply},
    frame::{self},
    names::{HEADER_CORRELATION_ID, HEADER_ERROR, HEADER_ERROR_NUMBER, Namespace, SERVICE},
};

use super::{commit::Commit, micro::Micro, peers::Peers};

/// Bytes that a reply's headers may take.
const HEADERS_BYTES: usize = 4 * 1024;
/// How long a drain waits for what is under way.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What requests are answered with.
pub(super) struct Server {
    pub(super) client: Client,
    pub(super) commit: Arc<Commit>,
    pub(super) micro: Arc<Micro>,
    pub(super) namespace: Namespace,
    pub(super) registry: Registry,
    pub(super) peers: Peers,
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) in_flight_max: u32,
}

/// The subscriptions, each with the task that reads it.
pub(super) struct Listening(Vec<JoinHandle<()>>, tokio::sync::watch::Sender<bool>);

impl Server {
    /// Subscribes to every endpoint, as one of the queue group.
    pub(super) async fn listen(self: &Arc<Self>) -> Result<Listening, async_nats::SubscribeError> {
        let draining = tokio::sync::watch::Sender::new(false);
        let mut tasks = Vec::new();
        for endpoint in Endpoint::ALL {
            let subject = self.namespace.subject(endpoint.name());
            let subscription = self
                .client
                .queue_subscribe(subject, SERVICE.to_owned())
                .await?;
            let this = Arc::clone(self);
            tasks.push(tokio::spawn(this.take(
                endpoint,
                subscription,
                draining.subscribe(),
            )));
        }
        Ok(Listening(tasks, draining))
    }

    /// Stops taking requests, and waits until those that were taken are answered.
    pub(super) async fn drain(&self, listening: Listening) {
        let Listening(tasks, draining) = listening;
        draining.send_replace(true);
        let all = async {
            for task in tasks {
                let _ = task.await;
            }
            let _ = self.in_flight.acquire_many(self.in_flight_max).await;
        };
        if tokio::time::timeout(DRAIN_TIMEOUT, all).await.is_err() {
            tracing::warn!("some requests were not settled in time");
        }
        if let Err(error) = self.client.flush().await {
            tracing::debug!(%error, "cannot flush");
        }
    }

    async fn take(
        self: Arc<Self>,
        endpoint: Endpoint,
        mut messages: Subscriber,
        mut draining: tokio::sync::watch::Receiver<bool>,
    ) {
        let mut drained = false;
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                _ = draining.changed(), if !drained => {
                    drained = true;
                    // What the server has sent already still comes.
                    if messages.drain().await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            match message {
                Some(message) => self.accept(endpoint, message).await,
                None => return,
            }
        }
    }

    async fn accept(self: &Arc<Self>, endpoint: Endpoint, message: Message) {
        let Some(reply) = message.reply.clone() else {
            self.micro.count_without_reply(endpoint);
            return;
        };
        let received = Received {
            at: Instant::now(),
            endpoint,
            message,
        };
        let correlation_id = frame::correlation_id(received.header(HEADER_CORRELATION_ID));
        let id = correlation_id
            .clone()
            .ok()
            .flatten()
            .unwrap_or_else(|| Uuid::now_v7().to_string());
        let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_owned() else {
            let mut busy = Error::new(ErrorCode::Busy, "too many requests are under way");
            busy.retry_after_ms = Some(BUSY_RETRY_MILLIS);
            return self.reply(&received, reply, id, Err(busy)).await;
        };
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let permit = Arc::new(permit);
            let answer = match correlation_id {
                Ok(_) => this.answer(&received, &id, Arc::clone(&permit)).await,
                Err(error) => Err(error),
            };
            this.reply(&received, reply, id, answer).await;
            drop(permit);
        });
    }

    async fn reply(
        &self,
        received: &Received,
        subject: async_nats::Subject,
        correlation_id: String,
        answer: Result<Bytes, Error>,
    ) {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_CORRELATION_ID, correlation_id.as_str());
        let limit = self.reply_bytes_max();
        let answer = answer.and_then(|body| {
            if body.len() > limit {
                Err(Error::too_large("the answer", limit))
            } else {
                Ok(body)
            }
        });
        self.micro.count(
            received.endpoint,
            received.at.elapsed(),
            answer.as_ref().err(),
        );
        let body = match answer {
            Ok(body) => body,
            Err(error) => {
                let error = Error {
                    correlation_id,
                    ..error
                };
                tracing::debug!(
                    endpoint = received.endpoint.name(),
                    code = error.code.as_str(),
                    correlation_id = error.correlation_id,
                    message = error.message,
                    "refused",
                );
                headers.insert(HEADER_ERROR_NUMBER, error.code.number().to_string());
                headers.insert(HEADER_ERROR, error.code.as_str());
                to_bytes(&ErrorReply { error }).unwrap_or_default()
            }
        };
        if let Err(error) = self
            .client
            .publish_with_headers(subject, headers, body)
            .await
        {
            tracing::debug!(%error, "cannot reply");
        }
    }

    pub(super) fn reply_bytes_max(&self) -> usize {
        self.client.max_payload().saturating_sub(HEADERS_BYTES)
    }
}

/// A message as it was taken.
pub(super) struct Received {
    pub(super) at: Instant,
    pub(super) endpoint: Endpoint,
    pub(super) message: Message,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        Some(self.message.headers.as_ref()?.get(name)?.as_str())
    }
}

pub(super) fn to_bytes<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    let bytes = serde_json::to_vec(value);
    bytes
        .map(Bytes::from)
        .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))
}
