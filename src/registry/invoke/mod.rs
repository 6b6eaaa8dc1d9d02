//! Has tools called: chooses who is asked, checks what goes there and what comes back, and bounds it all.

mod attempts;
mod call;
mod choose;
mod dry_run;
mod gossip;
mod history;
mod known;
mod load;
mod look;
mod once;
mod outcome;
mod post;
mod probe;
mod queue;
mod refuse;
mod under_way;
mod verdict;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use async_nats::{Client, SubscribeError};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::{
    domain::{
        ids::{NodeId, RequesterId, Token},
        node::Tool,
        time::Moment,
    },
    protocol::{
        error::{Error, ErrorCode, Outcome},
        frame::Parsed,
        invoke::{InvokeRequest, ResolveToolReply, ResolveToolRequest},
        names::{HEADER_TIMEOUT_MS, Namespace},
    },
};

use super::{
    clock::Clock,
    queries,
    requests::Caller,
    rights::Rights,
    serve::{Received, Server, to_bytes},
    settings::Settings,
    stop::Stop,
};
use choose::Considerations;
use known::{Known, KnownContracts, Part};
use load::Loads;
use look::Query;
use post::Post;
use probe::Probe;
use under_way::SharedLoads;

/// What calls are made with.
pub(super) struct Invoke {
    post: Arc<Post>,
    probe: Arc<Probe>,
    loads: Arc<SharedLoads>,
    known: Arc<KnownContracts>,
    /// One for each call under way.
    turns: Arc<Semaphore>,
    invokes_max: u32,
    /// One for each call that waits until a provider has room.
    queued: Arc<Semaphore>,
    queue_max: usize,
    namespace: Namespace,
    /// What may be called.
    rights: Rights,
}

/// Calls that wait until a provider has room, at one instance. None of them has a turn among those under way, so that
/// one slow tool does not keep others from being called.
const INVOKES_QUEUED_MAX: u32 = 4_096;

/// Whoever was chosen, copied out of the index.
struct Chosen {
    node_id: NodeId,
    /// Who announced the node.
    announced_by: RequesterId,
    tool_name: Token,
    tool_version: semver::Version,
    contract_hash: String,
    subject: String,
    /// What is left of the node's time.
    expires_in_ms: u64,
    /// The contract as it was compiled before; else as it was announced.
    contract: Result<Arc<Known>, Box<Tool>>,
    /// How long one attempt may take, in milliseconds, where the contract says so.
    attempt_timeout_ms: Option<u64>,
    /// Whether somebody else could be asked as well.
    has_another: bool,
    revision: u64,
}

impl Invoke {
    /// Listens for answers of providers, and tells other instances what is under way.
    pub(super) async fn start(
        settings: &Settings,
        rights: Rights,
        registry_id: Uuid,
        client: &Client,
        clock: Clock,
        stop: &Stop,
    ) -> Result<Self, SubscribeError> {
        let loads = SharedLoads::new(clock, settings.invokes_per_provider_max);
        let loads = Arc::new(loads);
        gossip::start(client, &settings.namespace, registry_id, &loads, stop).await?;
        Ok(Self {
            post: Post::open(client.clone(), stop).await?,
            probe: Arc::new(Probe::new(client.clone())),
            loads,
            known: Arc::default(),
            turns: Arc::new(Semaphore::new(settings.invokes_max as usize)),
            invokes_max: settings.invokes_max,
            queued: Arc::new(Semaphore::new(INVOKES_QUEUED_MAX as usize)),
            queue_max: settings.invoke_queue_max,
            namespace: settings.namespace.clone(),
            rights,
        })
    }

    /// No answer of a provider is waited for any more: their callers are told that nobody knows.
    pub(super) fn give_up(&self) {
        self.post.close();
    }

    /// Waits until no call is under way, and none waits. One that has waited takes its turn before it leaves the queue.
    pub(super) async fn all_ended(&self) {
        let _none_waits = self.queued.acquire_many(INVOKES_QUEUED_MAX).await;
        let _ = self.turns.acquire_many(self.invokes_max).await;
    }

    /// Whether the registry stops, and waits for nothing any more.
    fn has_given_up(&self) -> bool {
        self.post.is_closed()
    }

    /// Counts answers of providers that nobody waited for any more.
    pub(super) fn late(&self) -> Arc<AtomicU64> {
        self.post.late()
    }

    /// A place among the calls that wait for room.
    fn queue(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.queued).try_acquire_owned().map_err(|_| {
            let message = "too many calls wait for nodes to have room; nothing was called";
            refuse::busy(message)
        })
    }

    /// A place among those under way, for a call that has waited.
    async fn turn_until(&self, until: tokio::time::Instant) -> Result<OwnedSemaphorePermit, Error> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        match tokio::time::timeout_at(until, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => self.turn(),
        }
    }

    fn turn(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.turns).try_acquire_owned().map_err(|_| {
            let message = "too many calls of tools are under way; nothing was called";
            refuse::busy(message)
        })
    }
}

impl Server {
    /// `tool.invoke`
    pub(super) async fn invoke_tool(
        &self,
        received: &Received,
        caller: &Caller,
    ) -> Result<Bytes, Error> {
        let Parsed { request, ignored } = self.parse_any::<InvokeRequest>(received, caller).await?;
        if let Some(named) = &request.correlation_id {
            let _ = received.named.set(named.clone());
        }
        let own = received.header(HEADER_TIMEOUT_MS).map(|_| caller.until);
        let caller = Caller {
            correlation_id: received
                .named
                .get()
                .unwrap_or(&caller.correlation_id)
                .clone(),
            ..caller.clone()
        };
        let allowed = Duration::from_millis(request.timeout_millis());
        let until = tokio::time::Instant::from_std(received.at) + allowed;
        let until = own.map_or(until, |own| own.min(until));
        let caller = patient(caller, until);
        self.catch_up(request.min_revision, &caller).await?;
        if request.dry_run {
            let mut reply = self.dry_run(&caller, request).await?;
            reply.ignored = ignored;
            return to_bytes(&reply);
        }
        let turn = self.invoke.turn()?;
        // It waits for the provider from here on, and must not keep others from being served.
        caller.place.leave();
        self.call(received, &caller, request, turn, ignored).await
    }

    /// `tool.resolve`
    pub(super) async fn resolve_tool(
        &self,
        received: &Received,
        caller: &Caller,
    ) -> Result<Bytes, Error> {
        let Parsed { request, ignored } = self.parse::<ResolveToolRequest>(received)?;
        self.see(request.min_revision, caller).await?;
        let (choice, none) = (request.choice(), BTreeMap::new());
        let query = Query {
            name: &request.tool_name,
            choice: &choice,
            without: &none,
            calls: false,
        };
        let (chosen, tool) = self
            .checked(caller, || {
                let then = |considered: &Considerations<'_>, revision, loads: &mut Loads| {
                    let now = self.commit.clock.now().mono;
                    let one = considered
                        .chosen()
                        .ok_or_else(|| considered.refusal(query.name, query.choice))?;
                    loads.named(&one.provider);
                    let another = considered.has_another();
                    let chosen = self.invoke.chosen(one, another, revision, now);
                    // Of the same look: the node may announce another contract in the next moment.
                    Ok((chosen, one.tool.clone()))
                };
                self.invoke.look(&self.commit, query, then)
            })
            .await?;
        let tool = queries::announced(&tool).ok_or_else(known::unreadable)?;
        to_bytes(&ResolveToolReply {
            tool_name: chosen.tool_name,
            tool_version: chosen.tool_version,
            provider_node_id: chosen.node_id,
            subject: chosen.subject,
            contract_hash: chosen.contract_hash,
            contract: tool,
            expires_in_ms: chosen.expires_in_ms,
            revision: chosen.revision,
            ignored,
        })
    }

    /// That nobody can be asked is said behind a barrier only.
    async fn checked<R>(
        &self,
        caller: &Caller,
        mut look: impl FnMut() -> Result<R, Error>,
    ) -> Result<R, Error> {
        match look() {
            Err(error)
                if matches!(
                    error.code,
                    ErrorCode::ToolNotFound
                        | ErrorCode::ProviderNotFound
                        | ErrorCode::ContractChanged
                        | ErrorCode::Forbidden
                ) =>
            {
                let passed = tokio::time::timeout_at(caller.until, self.commit.barrier.pass());
                if !matches!(passed.await, Ok(true)) {
                    return Err(Error::unavailable(Outcome::None));
                }
                look()
            }
            found => found,
        }
    }

    async fn contract(&self, chosen: &Chosen, caller: &Caller) -> Result<Arc<Known>, Error> {
        match &chosen.contract {
            Ok(known) => Ok(Arc::clone(known)),
            Err(tool) => {
                let learned =
                    self.invoke
                        .known
                        .learn(tool, chosen.announced_by, &self.contracts, caller);
                learned.await
            }
        }
    }
}

/// The caller with the time that the tool may take: no write is begun behind it.
fn patient(caller: Caller, until: tokio::time::Instant) -> Caller {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let longer = millis(until.saturating_duration_since(caller.until));
    let deadline = match caller.until.checked_duration_since(until) {
        // A part of a millisecond counts as a whole one.
        Some(shorter) if !shorter.is_zero() => {
            Moment(caller.deadline.0.saturating_sub(millis(shorter) + 1))
        }
        _ => caller.deadline.plus(longer),
    };
    Caller {
        deadline,
        until,
        ..caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::serve::Place;

    #[tokio::test]
    async fn no_write_is_begun_when_the_caller_waits_no_longer() {
        let now = tokio::time::Instant::now();
        let caller = Caller {
            number: 0,
            correlation_id: String::new(),
            deadline: Moment(3_600_000),
            until: now + Duration::from_hours(1),
            place: Arc::new(Place::none()),
        };
        for (millis, deadline) in [
            (60_000, 59_999),
            (3_600_000, 3_600_000),
            (7_200_000, 7_200_000),
        ] {
            let until = now + Duration::from_millis(millis);
            let patient = patient(caller.clone(), until);
            assert_eq!((patient.until, patient.deadline), (until, Moment(deadline)));
        }
    }
}
