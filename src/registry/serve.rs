//! Takes requests, and sees that each gets an answer.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use async_nats::{Client, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
};
use uuid::Uuid;

use crate::{
    protocol::{
        describe::Registry,
        endpoint::Endpoint,
        error::{BUSY_RETRY_MILLIS, Error, ErrorCode, ErrorReply},
        frame,
        names::{HEADER_CORRELATION_ID, HEADER_ERROR, HEADER_ERROR_NUMBER, Namespace, SERVICE},
    },
    serving::{round_trip, unsubscribe},
};

use super::{
    callers::Callers,
    commit::Commit,
    contracts::Contracts,
    executions::Executions,
    invoke::Invoke,
    journal::{Answered, Journal, Shares},
    micro::Micro,
    peers::Peers,
    queries::Texts,
    stall::Stall,
};

/// Bytes that a reply's headers may take.
const HEADERS_BYTES: usize = 4 * 1024;

/// What requests are answered with.
pub(super) struct Server {
    pub(super) client: Client,
    pub(super) commit: Arc<Commit>,
    pub(super) micro: Arc<Micro>,
    pub(super) namespace: Namespace,
    pub(super) contracts: Contracts,
    /// What describing nodes anew would make again.
    pub(super) texts: Texts,
    pub(super) executions: Executions,
    pub(super) registry: Registry,
    pub(super) peers: Peers,
    pub(super) invoke: Invoke,
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) in_flight_max: u32,
    pub(super) journal: Journal,
    pub(super) callers: Callers,
    /// When requests may be older than they look.
    pub(super) stall: Stall,
    /// One for each subscription that has told the server that it ends.
    pub(super) unsubscribed: Semaphore,
}

/// How far a registry has come with stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// The server routes no more requests here; what it has routed still comes.
    Unsubscribed,
    /// All that it had routed is here.
    Complete,
}

/// The subscriptions, each with the task that reads it.
pub(super) struct Listening {
    tasks: Vec<JoinHandle<()>>,
    phase: watch::Sender<Phase>,
}

impl Server {
    /// Subscribes to every endpoint, as one of the queue group.
    pub(super) async fn listen(self: &Arc<Self>) -> Result<Listening, async_nats::SubscribeError> {
        let phase = watch::Sender::new(Phase::Serving);
        let mut tasks = Vec::new();
        for endpoint in Endpoint::ALL {
            let subject = self.namespace.subject(endpoint.name());
            let subscription = self
                .client
                .queue_subscribe(subject, SERVICE.to_owned())
                .await?;
            let take = Arc::clone(self).take(endpoint, subscription, phase.subscribe());
            tasks.push(tokio::spawn(take));
        }
        Ok(Listening { tasks, phase })
    }

    /// Stops taking requests.
    pub(super) async fn leave(&self, listening: Listening) {
        let Listening { tasks, phase } = listening;
        phase.send_replace(Phase::Unsubscribed);
        let told = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        let _ = self.unsubscribed.acquire_many(told).await;
        round_trip(&self.client).await;
        phase.send_replace(Phase::Complete);
        for task in tasks {
            let _ = task.await;
        }
    }

    /// Waits until those that were taken are answered.
    pub(super) async fn all_answered(&self) {
        let _ = self.in_flight.acquire_many(self.in_flight_max).await;
        self.invoke.all_ended().await;
        round_trip(&self.client).await;
    }

    async fn take(
        self: Arc<Self>,
        endpoint: Endpoint,
        mut messages: Subscriber,
        mut phase: watch::Receiver<Phase>,
    ) {
        let mut sweep = self.stall.sweep();
        loop {
            let message = tokio::select! {
                biased;
                Ok(()) = phase.changed() => {
                    let phase = *phase.borrow_and_update();
                    let done = if phase == Phase::Unsubscribed {
                        let done = unsubscribe(&mut messages).await;
                        self.unsubscribed.add_permits(1);
                        done
                    } else {
                        messages.unsubscribe().await
                    };
                    if done.is_err() {
                        return;
                    }
                    continue;
                }
                message = messages.next() => message,
                // Behind it: all that had come is taken.
                Ok(()) = sweep.changed() => {
                    sweep.borrow_and_update().add_permits(1);
                    continue;
                }
            };
            match message {
                Some(message) => self.accept(endpoint, message).await,
                None => return,
            }
        }
    }

    /// After a stall: what had waited is taken when the server has answered to what is said after it.
    pub(super) async fn watch_for_stalls(self: Arc<Self>) {
        loop {
            self.stall.noticed().await;
            tracing::warn!("this process stood still; requests that waited count from before");
            round_trip(&self.client).await;
            self.stall.over().await;
        }
    }

    async fn accept(self: &Arc<Self>, endpoint: Endpoint, message: Message) {
        let reply = message
            .reply
            .clone()
            .filter(|reply| self.callers.may_answer(reply));
        let Some(reply) = reply else {
            self.micro.count_without_reply(endpoint);
            return;
        };
        let received = Received {
            at: self.stall.arrived(),
            endpoint,
            caller: self.callers.number(&reply),
            message,
            named: OnceLock::new(),
            shares: OnceLock::new(),
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
            let place = Arc::new(Place(Mutex::new(Some(permit))));
            let answer = match correlation_id {
                Ok(_) => {
                    let answer = this.answer(&received, &id, Arc::clone(&place));
                    // A fault of ours must not leave the caller without an answer.
                    let answer = AssertUnwindSafe(answer).catch_unwind().await;
                    answer.unwrap_or_else(|_| Err(fault()))
                }
                Err(error) => Err(error),
            };
            let id = received.named.get().cloned().unwrap_or(id);
            this.reply(&received, reply, id, answer).await;
            drop(place);
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
        let (endpoint, took) = (received.endpoint, received.at.elapsed());
        let error = answer.as_ref().err();
        self.micro.count(endpoint, took, error);
        self.journal.answered(&Answered {
            endpoint,
            correlation_id: &correlation_id,
            caller: received.caller,
            took,
            shares: received.shares.get().copied(),
            error,
        });
        let body = match answer {
            Ok(body) => body,
            Err(error) => {
                let error = Error {
                    correlation_id,
                    ..error
                };
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

fn fault() -> Error {
    Error::new(
        ErrorCode::Internal,
        "the registry has a fault; its log has more",
    )
}

/// A place among the requests under way.
pub(super) struct Place(Mutex<Option<OwnedSemaphorePermit>>);

impl Place {
    /// None at all.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(Mutex::new(None))
    }

    /// Gives it back before its request is answered: that one waits for somebody else.
    pub(super) fn leave(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A message as it was taken.
pub(super) struct Received {
    pub(super) at: Instant,
    pub(super) endpoint: Endpoint,
    /// Who asks: see [`Callers::number`].
    pub(super) caller: u64,
    pub(super) message: Message,
    /// The correlation id, where the body says another one than the header.
    pub(super) named: OnceLock<String>,
    /// What a call of a tool waited for.
    pub(super) shares: OnceLock<Shares>,
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
