//! Takes requests, and sees that each gets an answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::Semaphore, task::JoinHandle};
use uuid::Uuid;

use crate::{
    domain::key::Revision,
    protocol::{
        describe::{DescribeRequest, HelpRequest, Registry},
        endpoint::{self, Endpoint},
        error::{BUSY_RETRY_MILLIS, Error, ErrorCode, ErrorReply},
        frame::{self, Parsed},
        names::{
            HEADER_CORRELATION_ID, HEADER_ERROR, HEADER_ERROR_NUMBER, HEADER_PROTOCOL,
            HEADER_TIMEOUT_MS, Namespace, SERVICE,
        },
        pool::PoolListRequest,
        port::{
            HeartbeatRequest, LeaseRequest, Limit, ListRequest, ReleaseRequest, ResolveRequest,
        },
    },
};

use super::{
    commit::Commit,
    micro::Micro,
    peers::Peers,
    queries,
    requests::{Caller, Heartbeat},
};

/// The part of the caller's patience that is left for the answer to reach it.
const REPLY_PART: u64 = 10;
/// How long an answer waits for `min_revision`, at most.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
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

    fn reply_bytes_max(&self) -> usize {
        self.client.max_payload().saturating_sub(HEADERS_BYTES)
    }

    async fn answer(
        self: &Arc<Self>,
        received: &Received,
        correlation_id: &str,
        permit: Arc<tokio::sync::OwnedSemaphorePermit>,
    ) -> Result<Bytes, Error> {
        let patience = frame::timeout_millis(received.header(HEADER_TIMEOUT_MS))?;
        let patience = Duration::from_millis(patience - patience / REPLY_PART);
        let left = patience.saturating_sub(received.at.elapsed());
        let now = self.commit.clock.now().mono;
        let caller = Caller {
            correlation_id: correlation_id.to_owned(),
            deadline: now.plus(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            until: tokio::time::Instant::now() + left,
            permit,
        };
        match received.endpoint {
            Endpoint::PortLease => {
                let Parsed { request, ignored } = self.parse::<LeaseRequest>(received)?;
                self.catch_up(request.min_revision, &caller).await?;
                let mut reply = self.commit.lease(&caller, request).await?;
                reply.ignored = ignored;
                to_bytes(&reply)
            }
            Endpoint::PortHeartbeat => {
                let Parsed { request, ignored } = self.parse::<HeartbeatRequest>(received)?;
                self.catch_up(request.min_revision, &caller).await?;
                match self.commit.heartbeat(&caller, request).await? {
                    Heartbeat::One(mut lease) => {
                        lease.ignored = ignored;
                        to_bytes(&lease)
                    }
                    Heartbeat::Several(mut reply) => {
                        reply.ignored = ignored;
                        to_bytes(&reply)
                    }
                }
            }
            Endpoint::PortRelease => {
                let Parsed { request, ignored } = self.parse::<ReleaseRequest>(received)?;
                self.catch_up(request.min_revision, &caller).await?;
                let mut reply = self.commit.release(&caller, request).await?;
                reply.ignored = ignored;
                to_bytes(&reply)
            }
            Endpoint::PortList => {
                let Parsed { request, ignored } = self.parse::<ListRequest>(received)?;
                self.catch_up(request.min_revision, &caller).await?;
                self.page(request.limit, |index, limit, now| {
                    let page = queries::list(index, &request, limit, now)?;
                    to_bytes(&crate::protocol::port::Page {
                        ignored: ignored.clone(),
                        ..page
                    })
                })
            }
            Endpoint::PortResolve => {
                let Parsed { request, ignored } = self.parse::<ResolveRequest>(received)?;
                self.catch_up(request.min_revision, &caller).await?;
                self.page(request.limit, |index, limit, now| {
                    let page = queries::resolve(index, &request, limit, now)?;
                    to_bytes(&crate::protocol::port::Page {
                        ignored: ignored.clone(),
                        ..page
                    })
                })
            }
            Endpoint::PoolList => {
                let Parsed { request, ignored } = self.parse::<PoolListRequest>(received)?;
                self.catch_up(request.min_revision, &caller).await?;
                self.page(request.limit, |index, limit, _| {
                    let page = queries::pools(index, &request, limit)?;
                    to_bytes(&crate::protocol::port::Page {
                        ignored: ignored.clone(),
                        ..page
                    })
                })
            }
            Endpoint::Describe => {
                let Parsed { request, ignored } = self.parse::<DescribeRequest>(received)?;
                self.catch_up(request.min_revision, &caller).await?;
                self.page(request.limit, |index, limit, _| {
                    let instances = self.peers.known();
                    let reply = queries::describe(
                        index,
                        &request,
                        limit,
                        self.registry.clone(),
                        instances,
                    )?;
                    to_bytes(&crate::protocol::describe::DescribeReply {
                        ignored: ignored.clone(),
                        ..reply
                    })
                })
            }
            Endpoint::Help => {
                let Parsed { ignored, .. } = self.parse::<HelpRequest>(received)?;
                to_bytes(&crate::protocol::describe::HelpReply {
                    ignored,
                    ..endpoint::help(&self.namespace)
                })
            }
        }
    }

    fn parse<T: DeserializeOwned>(&self, received: &Received) -> Result<Parsed<T>, Error> {
        let minor = frame::protocol_minor(received.header(HEADER_PROTOCOL))?;
        frame::parse(
            received.endpoint,
            &self.namespace,
            minor,
            &received.message.payload,
        )
    }

    /// Makes a page, and a shorter one where that does not fit into a message.
    fn page(
        &self,
        limit: Option<Limit>,
        make: impl Fn(
            &crate::domain::index::Index,
            usize,
            crate::domain::time::Moment,
        ) -> Result<Bytes, Error>,
    ) -> Result<Bytes, Error> {
        let now = self.commit.clock.now().mono;
        let mut limit = limit.unwrap_or_default().get();
        loop {
            let body = self.commit.mirror.with(|core| {
                core.index.advance(now);
                make(&core.index, limit, now)
            })?;
            if body.len() <= self.reply_bytes_max() || limit == 1 {
                return Ok(body);
            }
            limit /= 2;
        }
    }

    /// Waits until the index knows a revision that the caller has seen.
    async fn catch_up(&self, min_revision: Option<u64>, caller: &Caller) -> Result<(), Error> {
        let Some(number) = min_revision else {
            return Ok(());
        };
        let (lineage, wanted) = Revision::from_wire(number);
        let (own, knows) = self
            .commit
            .mirror
            .with(|core| (core.index.lineage(), queries::knows(&core.index, wanted)));
        if lineage < own {
            let message = "min_revision is from before the store was restored";
            return Err(
                Error::new(ErrorCode::StoreChanged, message).with("pointer", "/min_revision")
            );
        }
        if knows && lineage == own {
            return Ok(());
        }
        let until = caller.until.min(tokio::time::Instant::now() + CATCH_UP_MAX);
        // A barrier brings an exact point even when nobody writes.
        let caught_up = async { self.commit.barrier.pass().await && self.knows(wanted) };
        if lineage == own && matches!(tokio::time::timeout_at(until, caught_up).await, Ok(true)) {
            return Ok(());
        }
        let mut stale = Error::new(
            ErrorCode::Stale,
            "this instance has not seen min_revision yet",
        );
        stale.retry_after_ms = Some(BUSY_RETRY_MILLIS);
        let applied = self
            .commit
            .mirror
            .with(|core| core.index.applied().wire(own));
        Err(stale.with("revision", applied))
    }

    fn knows(&self, wanted: Revision) -> bool {
        self.commit
            .mirror
            .with(|core| queries::knows(&core.index, wanted))
    }
}

struct Received {
    at: Instant,
    endpoint: Endpoint,
    message: Message,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        Some(self.message.headers.as_ref()?.get(name)?.as_str())
    }
}

fn to_bytes<T: Serialize>(value: &T) -> Result<Bytes, Error> {
    let bytes = serde_json::to_vec(value);
    bytes
        .map(Bytes::from)
        .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))
}
