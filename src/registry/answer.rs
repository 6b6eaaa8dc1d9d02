//! What each endpoint answers.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    domain::{index::Index, key::Revision, time::Moment},
    protocol::{
        contract::ToolRules,
        describe::{HelpReply, HelpRequest},
        endpoint::{Endpoint, REQUEST_BYTES_MAX},
        error::{BUSY_RETRY_MILLIS, Error, ErrorCode, Outcome},
        frame::{self, Parsed},
        names::{HEADER_PROTOCOL, HEADER_TIMEOUT_MS},
        port::Limit,
        teach,
        trust::TrustGetRequest,
    },
};

use super::{
    contracts::Check,
    queries::{self, FirstCore},
    requests::Caller,
    serve::{Place, Received, Server, to_bytes},
    shape::{Answered, Asked},
};

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
        place: Arc<Place>,
    ) -> Result<Bytes, Error> {
        let patience = frame::timeout_millis(received.header(HEADER_TIMEOUT_MS))?;
        let patience = frame::answer_millis(patience);
        let left = Duration::from_millis(patience).saturating_sub(received.at.elapsed());
        let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let caller = Caller {
            number: received.caller,
            correlation_id: correlation_id.to_owned(),
            deadline: self.commit.clock.now().mono.plus(millis),
            until: tokio::time::Instant::now() + left,
            place,
        };
        if received.endpoint.writes() {
            self.change(received, &caller).await
        } else {
            self.tell(received, &caller).await
        }
    }

    /// What an endpoint answers that changes something. Each in a box: the others would make room, and copy it, for the
    /// largest.
    async fn change(&self, received: &Received, caller: &Caller) -> Result<Bytes, Error> {
        let (commit, contracts) = (&self.commit, &self.contracts);
        match received.endpoint {
            Endpoint::PortLease => {
                let run = async |request| self.lease(caller, request).await;
                Box::pin(self.run(received, caller, run)).await
            }
            Endpoint::PortHeartbeat => {
                let run = async |request| commit.heartbeat(caller, request).await;
                Box::pin(self.run(received, caller, run)).await
            }
            Endpoint::PortRelease => {
                let run = async |request| commit.release(caller, request).await;
                Box::pin(self.run(received, caller, run)).await
            }
            Endpoint::NodeRegister => {
                let run = async |request| commit.register(caller, request, contracts).await;
                Box::pin(self.run(received, caller, run)).await
            }
            Endpoint::NodeHeartbeat => {
                let run = async |request| commit.node_heartbeat(caller, request).await;
                Box::pin(self.run(received, caller, run)).await
            }
            Endpoint::NodeDeregister => {
                let run = async |request| commit.deregister(caller, request).await;
                Box::pin(self.run(received, caller, run)).await
            }
            Endpoint::ToolRegister => {
                let run = async |request| commit.register_tool(caller, request, contracts).await;
                Box::pin(self.run(received, caller, run)).await
            }
            Endpoint::ToolDeregister => {
                let run = async |request| commit.deregister_tool(caller, request).await;
                Box::pin(self.run(received, caller, run)).await
            }
            Endpoint::ToolInvoke => Box::pin(self.invoke_tool(received, caller)).await,
            Endpoint::BusRegister => {
                let run = async |request| commit.register_bus(caller, request).await;
                Box::pin(self.run(received, caller, run)).await
            }
            Endpoint::BusDeregister => {
                let run = async |request| commit.deregister_bus(caller, request).await;
                Box::pin(self.run(received, caller, run)).await
            }
            Endpoint::TrustReport => {
                let run = async |request| commit.report(caller, request).await;
                Box::pin(self.run(received, caller, run)).await
            }
            Endpoint::PortList
            | Endpoint::PortResolve
            | Endpoint::PoolList
            | Endpoint::NodeList
            | Endpoint::ToolList
            | Endpoint::ToolDescribe
            | Endpoint::ToolResolve
            | Endpoint::BusList
            | Endpoint::SchemaList
            | Endpoint::SchemaGet
            | Endpoint::TrustGet
            | Endpoint::Describe
            | Endpoint::Help => Err(misrouted()),
        }
    }

    /// What an endpoint answers that changes nothing. Each in a box, as above.
    async fn tell(&self, received: &Received, caller: &Caller) -> Result<Bytes, Error> {
        match received.endpoint {
            Endpoint::PortList => Box::pin(self.list(received, caller, queries::list)).await,
            Endpoint::PortResolve => Box::pin(self.resolve(received, caller)).await,
            Endpoint::PoolList => {
                let make =
                    |index: &Index, request: &_, limit, _| queries::pools(index, request, limit);
                Box::pin(self.list(received, caller, make)).await
            }
            Endpoint::NodeList => {
                let make = |index: &Index, request: &_, limit, now| {
                    queries::nodes(FirstCore { index, now }, request, limit)
                };
                Box::pin(self.list(received, caller, make)).await
            }
            Endpoint::ToolList => {
                let make = |index: &Index, request: &_, limit, now| {
                    queries::tools(FirstCore { index, now }, request, limit)
                };
                Box::pin(self.list(received, caller, make)).await
            }
            Endpoint::ToolDescribe => Box::pin(self.describe_tool(received, caller)).await,
            Endpoint::ToolResolve => Box::pin(self.resolve_tool(received, caller)).await,
            Endpoint::BusList => {
                let make =
                    |index: &Index, request: &_, limit, _| queries::buses(index, request, limit);
                Box::pin(self.list(received, caller, make)).await
            }
            Endpoint::SchemaList => {
                let make = |index: &Index, request: &_, limit, now| {
                    queries::schemas(FirstCore { index, now }, request, limit)
                };
                Box::pin(self.list(received, caller, make)).await
            }
            Endpoint::SchemaGet => {
                let make = |index: &Index, request: &_, now| {
                    queries::schema(FirstCore { index, now }, request)
                };
                Box::pin(self.one(received, caller, make)).await
            }
            Endpoint::TrustGet => {
                let make = |index: &Index, request: &TrustGetRequest, now| {
                    queries::trust(FirstCore { index, now }, &request.node_id)
                };
                Box::pin(self.one(received, caller, make)).await
            }
            Endpoint::Describe => Box::pin(self.describe(received, caller)).await,
            Endpoint::Help => self.help(received),
            Endpoint::PortLease
            | Endpoint::PortHeartbeat
            | Endpoint::PortRelease
            | Endpoint::NodeRegister
            | Endpoint::NodeHeartbeat
            | Endpoint::NodeDeregister
            | Endpoint::ToolRegister
            | Endpoint::ToolDeregister
            | Endpoint::ToolInvoke
            | Endpoint::BusRegister
            | Endpoint::BusDeregister
            | Endpoint::TrustReport => Err(misrouted()),
        }
    }

    /// A command: parsed, carried out, and answered.
    async fn run<Q: DeserializeOwned + Asked + Send + 'static, R: Serialize + Answered>(
        &self,
        received: &Received,
        caller: &Caller,
        run: impl AsyncFnOnce(Q) -> Result<R, Error>,
    ) -> Result<Bytes, Error> {
        let Parsed { request, ignored } = self.parse_any::<Q>(received, caller).await?;
        self.catch_up(request.min_revision(), caller).await?;
        let mut reply = run(request).await?;
        reply.ignore(ignored);
        to_bytes(&reply)
    }

    /// A list: as much of it as fits.
    async fn list<Q: DeserializeOwned + Asked, R: Serialize + Answered>(
        &self,
        received: &Received,
        caller: &Caller,
        make: impl Fn(&Index, &Q, usize, Moment) -> Result<R, Error>,
    ) -> Result<Bytes, Error> {
        let Parsed { request, ignored } = self.parse::<Q>(received)?;
        let request = self.resolved(request)?;
        self.see(request.min_revision(), caller).await?;
        self.page(request.limit(), |index, limit, now| {
            let mut page = make(index, &request, limit, now)?;
            page.ignore(ignored.clone());
            Ok(page)
        })
    }

    /// One thing. That it is not there is said behind a barrier only.
    async fn one<Q: DeserializeOwned + Asked, R: Serialize + Answered>(
        &self,
        received: &Received,
        caller: &Caller,
        make: impl Fn(&Index, &Q, Moment) -> Result<R, Error>,
    ) -> Result<Bytes, Error> {
        let Parsed { request, ignored } = self.parse::<Q>(received)?;
        self.see(request.min_revision(), caller).await?;
        let mut reply = self
            .found(caller, |index, now| make(index, &request, now))
            .await?;
        reply.ignore(ignored);
        to_bytes(&reply)
    }

    pub(super) async fn found<R>(
        &self,
        caller: &Caller,
        make: impl Fn(&Index, Moment) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let look = || {
            let now = self.commit.clock.now().mono;
            self.commit.mirror.with(|core| {
                core.index.advance(now);
                make(&core.index, now)
            })
        };
        match look() {
            Err(error) if error.code.number() == 404 => {
                let passed = self.commit.barrier.pass();
                if !matches!(
                    tokio::time::timeout_at(caller.until, passed).await,
                    Ok(true)
                ) {
                    return Err(Error::unavailable(Outcome::None));
                }
                look()
            }
            found => found,
        }
    }

    async fn resolve(&self, received: &Received, caller: &Caller) -> Result<Bytes, Error> {
        // Every field has a default, and still it is no request: an empty body is taught here.
        let empty = received.message.payload.trim_ascii().is_empty();
        self.list(received, caller, queries::resolve)
            .await
            .map_err(
                |error| match serde_json::to_value(received.endpoint.help(&self.namespace)) {
                    Ok(help) if empty => error.with("help", help),
                    _ => error,
                },
            )
    }

    fn help(&self, received: &Received) -> Result<Bytes, Error> {
        let Parsed { ignored, .. } = self.parse::<HelpRequest>(received)?;
        to_bytes(&HelpReply {
            ignored,
            ..teach::help(&self.namespace)
        })
    }

    /// Parses a long request away from the threads that serve.
    pub(super) async fn parse_any<Q: DeserializeOwned + Send + 'static>(
        &self,
        received: &Received,
        caller: &Caller,
    ) -> Result<Parsed<Q>, Error> {
        let (endpoint, body) = (received.endpoint, received.message.payload.clone());
        if !(REQUEST_BYTES_MAX..=endpoint.request_bytes_max()).contains(&body.len()) {
            return self.parse(received);
        }
        let minor = frame::protocol_minor(received.header(HEADER_PROTOCOL))?;
        let what = Check::request(endpoint, body.len());
        let parse =
            move |rules: ToolRules<'_>| frame::parse(endpoint, rules.namespace, minor, &body);
        self.contracts.check(what, caller.asking(), parse).await
    }

    pub(super) fn parse<T: DeserializeOwned>(
        &self,
        received: &Received,
    ) -> Result<Parsed<T>, Error> {
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
    pub(super) fn page<T: Serialize>(
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
    pub(super) async fn see(
        &self,
        min_revision: Option<u64>,
        caller: &Caller,
    ) -> Result<(), Error> {
        self.catch_up(min_revision, caller).await?;
        let until = caller
            .until
            .min(tokio::time::Instant::now() + OWN_WRITES_MAX);
        // An index that is behind is read all the same: the answer says what it is true for.
        let _ = tokio::time::timeout_at(until, self.commit.mirror.own_writes()).await;
        Ok(())
    }

    /// Waits until the index knows a revision that the caller has seen.
    pub(super) async fn catch_up(
        &self,
        min_revision: Option<u64>,
        caller: &Caller,
    ) -> Result<(), Error> {
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

fn misrouted() -> Error {
    Error::new(
        ErrorCode::Internal,
        "an endpoint is answered in the wrong place",
    )
}
