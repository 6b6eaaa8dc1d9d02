//! What each endpoint answers.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    domain::{index::Index, key::Revision, time::Moment},
    protocol::{
        describe::{DescribeReply, DescribeRequest, HelpReply, HelpRequest},
        endpoint::{self, Endpoint},
        error::{BUSY_RETRY_MILLIS, Error, ErrorCode},
        frame::{self, Parsed},
        names::{HEADER_PROTOCOL, HEADER_TIMEOUT_MS},
        pool::PoolListRequest,
        port::{
            HeartbeatRequest, LeaseRequest, Limit, ListRequest, Page, ReleaseRequest,
            ResolveRequest,
        },
    },
};

use super::{
    queries,
    requests::{Caller, Heartbeat},
    serve::{Received, Server, to_bytes},
};

/// The part of the caller's patience that is left for the answer to reach it.
const REPLY_PART: u64 = 10;
/// Bytes of a page, at most: what waits to be sent to slow readers is bounded by this times the requests
/// under way and the messages that the connection holds.
const PAGE_BYTES_MAX: usize = 256 * 1024;
/// How long an answer waits for `min_revision`, at most.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
/// How long a read waits for what this instance has written, at most.
const OWN_WRITES_MAX: Duration = Duration::from_millis(500);

impl Server {
    pub(super) async fn answer(
        self: &Arc<Self>,
        received: &Received,
        correlation_id: &str,
        permit: Arc<OwnedSemaphorePermit>,
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
            Endpoint::PortList => self.list(received, &caller).await,
            Endpoint::PortResolve => self.resolve(received, &caller).await,
            Endpoint::PoolList => self.pools(received, &caller).await,
            Endpoint::Describe => self.describe(received, &caller).await,
            Endpoint::Help => self.help(received),
        }
    }

    async fn list(&self, received: &Received, caller: &Caller) -> Result<Bytes, Error> {
        let Parsed { request, ignored } = self.parse::<ListRequest>(received)?;
        self.see(request.min_revision, caller).await?;
        self.page(request.limit, |index, limit, now| {
            let page = queries::list(index, &request, limit, now)?;
            Ok(Page {
                ignored: ignored.clone(),
                ..page
            })
        })
    }

    async fn resolve(&self, received: &Received, caller: &Caller) -> Result<Bytes, Error> {
        let Parsed { request, ignored } = self.parse::<ResolveRequest>(received)?;
        self.see(request.min_revision, caller).await?;
        let page = self.page(request.limit, |index, limit, now| {
            let page = queries::resolve(index, &request, limit, now)?;
            Ok(Page {
                ignored: ignored.clone(),
                ..page
            })
        });
        // Every field has a default, and still it is no request: an empty body is taught here.
        let empty = received.message.payload.trim_ascii().is_empty();
        page.map_err(
            |error| match serde_json::to_value(received.endpoint.help(&self.namespace)) {
                Ok(help) if empty => error.with("help", help),
                _ => error,
            },
        )
    }

    async fn pools(&self, received: &Received, caller: &Caller) -> Result<Bytes, Error> {
        let Parsed { request, ignored } = self.parse::<PoolListRequest>(received)?;
        self.see(request.min_revision, caller).await?;
        self.page(request.limit, |index, limit, _| {
            let page = queries::pools(index, &request, limit)?;
            Ok(Page {
                ignored: ignored.clone(),
                ..page
            })
        })
    }

    async fn describe(&self, received: &Received, caller: &Caller) -> Result<Bytes, Error> {
        let Parsed { request, ignored } = self.parse::<DescribeRequest>(received)?;
        self.see(request.min_revision, caller).await?;
        self.page(request.limit, |index, limit, _| {
            let instances = self.peers.known();
            let reply =
                queries::describe(index, &request, limit, self.registry.clone(), instances)?;
            Ok(DescribeReply {
                ignored: ignored.clone(),
                ..reply
            })
        })
    }

    fn help(&self, received: &Received) -> Result<Bytes, Error> {
        let Parsed { ignored, .. } = self.parse::<HelpRequest>(received)?;
        to_bytes(&HelpReply {
            ignored,
            ..endpoint::help(&self.namespace)
        })
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

    /// Makes a page, and a shorter one where that would be too long. What it says is copied out of the
    /// index first, so that others wait for the copy only.
    fn page<T: Serialize>(
        &self,
        limit: Option<Limit>,
        make: impl Fn(&Index, usize, Moment) -> Result<T, Error>,
    ) -> Result<Bytes, Error> {
        let now = self.commit.clock.now().mono;
        let bytes_max = self.reply_bytes_max().min(PAGE_BYTES_MAX);
        let mut limit = limit.unwrap_or_default().get();
        loop {
            let page = self.commit.mirror.with(|core| {
                core.index.advance(now);
                make(&core.index, limit, now)
            })?;
            let body = to_bytes(&page)?;
            if body.len() <= bytes_max || limit == 1 {
                return Ok(body);
            }
            // As many as fit if they are all alike, less a tenth because they are not.
            limit = (limit * bytes_max / body.len() * 9 / 10).max(1);
        }
    }

    /// Before the index is read: it shows what the caller has seen, and what this instance has done.
    async fn see(&self, min_revision: Option<u64>, caller: &Caller) -> Result<(), Error> {
        self.catch_up(min_revision, caller).await?;
        let until = caller
            .until
            .min(tokio::time::Instant::now() + OWN_WRITES_MAX);
        // An index that is behind is read all the same: the answer says what it is true for.
        let _ = tokio::time::timeout_at(until, self.commit.mirror.own_writes()).await;
        Ok(())
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
