//! Has tools called: chooses who is asked, checks what goes there and what comes back, and bounds it all.

mod attempts;
mod call;
mod choose;
mod gossip;
mod history;
mod known;
mod load;
mod once;
mod outcome;
mod post;
mod under_way;
mod verdict;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use async_nats::{Client, SubscribeError};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::{
    domain::{
        ids::{NodeId, Token},
        node::Tool,
        time::Moment,
    },
    protocol::{
        bounds::Open,
        error::{BUSY_RETRY_MILLIS, Error, ErrorCode, Outcome},
        frame::Parsed,
        invoke::{
            Choice, DryRunReply, InvokeRequest, Plan, Planned, Reason, ResolveToolReply,
            ResolveToolRequest, refusal,
        },
        names::HEADER_TIMEOUT_MS,
    },
};

use super::{
    clock::Clock,
    commit::Commit,
    queries,
    requests::Caller,
    serve::{Received, Server, to_bytes},
    settings::Settings,
    stop::Stop,
};
use choose::{Considerations, Considered, Field};
use known::{Known, KnownContracts, Part};
use load::{Loads, Provider};
use post::Post;
use under_way::{SharedLoads, UnderWay};

/// What calls are made with.
pub(super) struct Invoke {
    post: Arc<Post>,
    loads: Arc<SharedLoads>,
    known: Arc<KnownContracts>,
    turns: Arc<Semaphore>,
    invokes_max: u32,
    provider_max: u32,
}

/// Whoever was chosen, copied out of the index.
struct Chosen {
    node_id: NodeId,
    tool_name: Token,
    tool_version: semver::Version,
    contract_hash: String,
    subject: String,
    /// What is left of the node's time.
    expires_in_ms: u64,
    /// The contract as it was compiled before; else as it was announced.
    contract: Result<Arc<Known>, Box<Tool>>,
    /// Whether somebody else could be asked as well.
    has_another: bool,
    revision: u64,
}

impl Invoke {
    /// Listens for answers of providers, and tells other instances what is under way.
    pub(super) async fn start(
        settings: &Settings,
        registry_id: Uuid,
        client: &Client,
        clock: Clock,
        stop: &Stop,
    ) -> Result<Self, SubscribeError> {
        let loads = Arc::new(SharedLoads::new(clock));
        gossip::start(client, &settings.namespace, registry_id, &loads, stop).await?;
        Ok(Self {
            post: Post::open(client.clone(), stop).await?,
            loads,
            known: Arc::default(),
            turns: Arc::new(Semaphore::new(settings.invokes_max as usize)),
            invokes_max: settings.invokes_max,
            provider_max: settings.invokes_per_provider_max,
        })
    }

    /// No answer of a provider is waited for any more: their callers are told that nobody knows.
    pub(super) fn give_up(&self) {
        self.post.close();
    }

    /// Waits until no call is under way.
    pub(super) async fn all_ended(&self) {
        let _ = self.turns.acquire_many(self.invokes_max).await;
    }

    /// Counts answers of providers that nobody waited for any more.
    pub(super) fn late(&self) -> Arc<AtomicU64> {
        self.post.late()
    }

    fn turn(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.turns).try_acquire_owned().map_err(|_| {
            let message = "too many calls of tools are under way; nothing was called";
            Error::new(ErrorCode::Busy, message).after(BUSY_RETRY_MILLIS)
        })
    }

    /// Looks who would be asked.
    fn look<R>(
        &self,
        commit: &Commit,
        name: &Token,
        choice: &Choice,
        without: &BTreeMap<NodeId, Reason>,
        then: impl FnOnce(&Considerations<'_>, u64, &mut Loads) -> R,
    ) -> R {
        let random = Uuid::new_v4().as_u64_pair().1;
        let now = commit.clock.now().mono;
        commit.mirror.with(|core| {
            core.index.advance(now);
            let index = &core.index;
            let mut loads = self.loads.lock();
            let field = Field {
                index,
                loads: &loads,
                now,
                provider_max: self.provider_max,
            };
            let considered = field.consider(name, choice, without, random);
            then(
                &considered,
                index.applied().wire(index.lineage()),
                &mut loads,
            )
        })
    }

    /// Who is asked, if anybody can be: what `then` says is done with the load of whoever it is.
    fn choose<R>(
        &self,
        commit: &Commit,
        name: &Token,
        choice: &Choice,
        without: &BTreeMap<NodeId, Reason>,
        then: impl FnOnce(&Provider, &mut Loads) -> R,
    ) -> Result<(Chosen, R), Error> {
        self.look(
            commit,
            name,
            choice,
            without,
            |considered, revision, loads| {
                let now = commit.clock.now().mono;
                let one = considered
                    .chosen()
                    .ok_or_else(|| considered.refusal(name, choice))?;
                let chosen = self.chosen(one, considered.has_another(), revision, now);
                Ok((chosen, then(&one.provider, loads)))
            },
        )
    }

    /// It counts as under way from then on.
    fn begin(&self, provider: &Provider, loads: &mut Loads) -> UnderWay {
        self.loads.begin(provider, loads)
    }

    fn chosen(
        &self,
        one: &Considered<'_>,
        has_another: bool,
        revision: u64,
        now: Moment,
    ) -> Chosen {
        let known = self.known.get(&one.tool.contract_hash);
        Chosen {
            node_id: one.seen.node_id.clone(),
            tool_name: one.tool.name.clone(),
            tool_version: one.tool.version.clone(),
            contract_hash: one.tool.contract_hash.clone(),
            subject: one.tool.subject.clone(),
            expires_in_ms: one.seen.left(now),
            contract: known.ok_or_else(|| Box::new(one.tool.clone())),
            has_another,
            revision,
        }
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
        let _turn = self.invoke.turn()?;
        // It waits for the provider from here on, and must not keep others from being served.
        caller.place.leave();
        self.call(received, &caller, request, ignored).await
    }

    /// `tool.resolve`
    pub(super) async fn resolve_tool(
        &self,
        received: &Received,
        caller: &Caller,
    ) -> Result<Bytes, Error> {
        let Parsed { request, ignored } = self.parse::<ResolveToolRequest>(received)?;
        self.see(request.min_revision, caller).await?;
        let (name, choice) = (&request.tool_name, request.choice());
        let none = BTreeMap::new();
        let (chosen, tool) = self
            .checked(caller, || {
                let then = |considered: &Considerations<'_>, revision, loads: &mut Loads| {
                    let now = self.commit.clock.now().mono;
                    let one = considered
                        .chosen()
                        .ok_or_else(|| considered.refusal(name, &choice))?;
                    loads.named(&one.provider);
                    let another = considered.has_another();
                    let chosen = self.invoke.chosen(one, another, revision, now);
                    // Of the same look: the node may announce another contract in the next moment.
                    Ok((chosen, one.tool.clone()))
                };
                self.invoke.look(&self.commit, name, &choice, &none, then)
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

    /// Says what a call would do.
    async fn dry_run(&self, caller: &Caller, request: InvokeRequest) -> Result<DryRunReply, Error> {
        let (name, choice, none) = (&request.tool_name, request.choice(), BTreeMap::new());
        let shown = |considered: &Considerations<'_>, revision| {
            (considered.candidates(), considered.count(), revision)
        };
        // Both of one look: another one could choose another.
        let would = self.checked(caller, || {
            let then = |considered: &Considerations<'_>, revision, _: &mut Loads| {
                let now = self.commit.clock.now().mono;
                let one = considered
                    .chosen()
                    .ok_or_else(|| considered.refusal(name, &choice))?;
                let another = considered.has_another();
                let chosen = self.invoke.chosen(one, another, revision, now);
                Ok((chosen, shown(considered, revision)))
            };
            self.invoke.look(&self.commit, name, &choice, &none, then)
        });
        let would = would.await;
        let (candidates, candidate_count, revision) = if let Ok((_, shown)) = &would {
            shown.clone()
        } else {
            let then = |considered: &Considerations<'_>, revision, _: &mut Loads| {
                shown(considered, revision)
            };
            self.invoke.look(&self.commit, name, &choice, &none, then)
        };
        let (plan, violations, code) = match would {
            Ok((chosen, _)) => {
                let contract = self.contract(&chosen, caller).await?;
                let arguments = Value::Object(request.arguments.clone());
                let checked = contract.violations(Part::Input, arguments, &self.contracts, caller);
                let (violations, _) = checked.await?;
                let bad = (!violations.is_empty()).then_some(ErrorCode::InvalidArguments);
                (Some(plan(&chosen, &request, &contract)), violations, bad)
            }
            Err(error) if error.code == ErrorCode::StoreUnavailable => return Err(error),
            Err(error) => (None, Vec::new(), Some(error.code)),
        };
        Ok(DryRunReply {
            status: Open::Known(Planned::DryRun),
            plan,
            candidates,
            candidate_count,
            violations,
            refusal: code.map(refusal),
            revision,
            ignored: Vec::new(),
        })
    }

    /// That nobody can be asked is said behind a barrier only.
    async fn checked<R>(
        &self,
        caller: &Caller,
        look: impl Fn() -> Result<R, Error>,
    ) -> Result<R, Error> {
        match look() {
            Err(error)
                if matches!(
                    error.code,
                    ErrorCode::ToolNotFound
                        | ErrorCode::ProviderNotFound
                        | ErrorCode::ContractChanged
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
            Err(tool) => self.invoke.known.learn(tool, &self.contracts, caller).await,
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

fn plan(chosen: &Chosen, request: &InvokeRequest, contract: &Known) -> Plan {
    Plan {
        tool_name: chosen.tool_name.clone(),
        tool_version: chosen.tool_version.clone(),
        contract_hash: chosen.contract_hash.clone(),
        provider_node_id: chosen.node_id.clone(),
        subject: chosen.subject.clone(),
        node_selection_policy: Open::Known(request.node_selection_policy),
        timeout_ms: request.timeout_millis(),
        idempotent: contract.idempotent,
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
