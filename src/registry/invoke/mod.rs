//! Has tools called: chooses who is asked, checks what goes there and what comes back, and bounds it all.

mod attempts;
mod call;
mod caller;
mod choose;
mod chosen;
mod compiled;
mod dry_run;
mod history;
mod load;
mod load_reports;
mod look;
mod once;
mod outcome;
mod probe;
mod provider;
mod provider_client;
mod queue;
mod refuse;
mod resolve;
mod runs;
mod under_way;
mod verdict;

use std::{sync::Arc, time::Duration};

use async_nats::{Message, SubscribeError};
use bytes::Bytes;
use onex_core::{
    command::{Action, Command, Outcome as Decided},
    state::State,
};
use onex_types::time::MonoMillis;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use uuid::Uuid;

use crate::protocol::{
    error::{Error, ErrorCode, Outcome},
    frame::Parsed,
    invoke::InvokeRequest,
    names::{HEADER_TIMEOUT_MS, Namespace},
};

use super::{
    bus::Bus,
    clock::Clock,
    contracts::Contracts,
    driver,
    message::to_bytes,
    refusal,
    request::{Completion, InFlight, Replies},
    rights::Rights,
    settings::Settings,
    stop::Stop,
};
pub(super) use caller::Caller;
use chosen::Chosen;
use compiled::{CompiledContract, CompiledContracts, Part};
use probe::Probe;
use provider_client::ProviderClient;
use under_way::SharedLoads;

type Handle = driver::Handle<Completion>;

/// What calls are made with.
pub(super) struct Invoke {
    /// The way to the engine, and what readers see.
    handle: Handle,
    clock: Clock,
    bus: Bus,
    contracts: Arc<Contracts>,
    replies: Replies,
    registry_id: Uuid,
    provider_client: Arc<ProviderClient>,
    probe: Arc<Probe>,
    loads: Arc<SharedLoads>,
    compiled: Arc<CompiledContracts>,
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

/// What it is made with.
pub(super) struct Parts {
    pub(super) handle: Handle,
    pub(super) clock: Clock,
    pub(super) bus: Bus,
    pub(super) contracts: Arc<Contracts>,
    pub(super) replies: Replies,
    pub(super) rights: Rights,
    pub(super) registry_id: Uuid,
}

/// Calls that wait until a provider has room, at one instance. None of them has a turn among those under way, so that
/// one slow tool does not keep others from being called.
const INVOKES_QUEUED_MAX: u32 = 4_096;

impl Invoke {
    /// Tells other instances what is under way.
    pub(super) fn start(settings: &Settings, parts: Parts, stop: &Stop) -> Self {
        let Parts {
            handle,
            clock,
            bus,
            contracts,
            replies,
            rights,
            registry_id,
        } = parts;
        let loads = SharedLoads::new(clock, settings.invokes_per_provider_max);
        let loads = Arc::new(loads);
        load_reports::send(&bus, &settings.namespace, registry_id, &loads, stop);
        let late = replies.micro.late();
        Self {
            handle,
            contracts,
            replies,
            clock,
            provider_client: Arc::new(ProviderClient::new(bus.clone(), late)),
            probe: Arc::new(Probe::new(bus.clone())),
            bus,
            registry_id,
            loads,
            compiled: Arc::default(),
            turns: Arc::new(Semaphore::new(settings.invokes_max as usize)),
            invokes_max: settings.invokes_max,
            queued: Arc::new(Semaphore::new(INVOKES_QUEUED_MAX as usize)),
            queue_max: settings.invoke_queue_max,
            namespace: settings.namespace.clone(),
            rights,
        }
    }

    /// Listens for answers of providers, and to what other instances tell.
    pub(super) async fn listen(&self, session: &Stop) -> Result<(), SubscribeError> {
        let client = self.bus.client();
        load_reports::listen(
            &client,
            &self.namespace,
            self.registry_id,
            &self.loads,
            session,
        )
        .await?;
        self.provider_client.listen(&client, session).await
    }

    /// No answer of a provider is waited for any more: their callers are told that nobody knows.
    pub(super) fn give_up(&self) {
        self.provider_client.close();
    }

    /// Waits until no call is under way, and none waits. One that has waited takes its turn before it leaves the queue.
    pub(super) async fn all_ended(&self) {
        let _none_waits = self.queued.acquire_many(INVOKES_QUEUED_MAX).await;
        let _ = self.turns.acquire_many(self.invokes_max).await;
    }

    /// Whether the registry stops, and waits for nothing any more.
    fn has_given_up(&self) -> bool {
        self.provider_client.is_closed()
    }

    /// A place among the calls that wait for room.
    fn queue(&self) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.queued).try_acquire_owned().map_err(|_| {
            let message = "too many calls wait for nodes to have room; nothing was called";
            refuse::busy(message)
        })
    }

    /// A place among those under way, for a call that has waited.
    async fn turn_until(&self, until: Instant) -> Result<OwnedSemaphorePermit, Error> {
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

/// A request to have a tool called, as it was taken.
pub(super) struct Received<'a> {
    pub(super) in_flight: &'a mut InFlight,
    pub(super) message: &'a Message,
}

impl Received<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        Some(self.message.headers.as_ref()?.get(name)?.as_str())
    }
}

impl Invoke {
    /// `tool.invoke`. The caller waits as long as it says in its request, unless its header says less.
    pub(super) async fn invoke_tool(
        &self,
        mut received: Received<'_>,
        caller: &Caller,
        Parsed { request, ignored }: Parsed<InvokeRequest>,
    ) -> Result<Bytes, Error> {
        let own = received
            .header(HEADER_TIMEOUT_MS)
            .map(|_| caller.asking.until);
        let allowed = Duration::from_millis(request.timeout_millis());
        let until = Instant::from_std(received.in_flight.at) + allowed;
        let until = own.map_or(until, |own| own.min(until));
        let caller = caller.until(until, self.clock);
        if request.dry_run {
            let mut reply = self.dry_run(&caller, request).await?;
            reply.ignored = ignored;
            return to_bytes(&reply);
        }
        let turn = self.turn()?;
        // It waits for the provider from here on, and must not keep others from being served.
        received.in_flight.permit = None;
        self.call(&mut received, &caller, request, turn, ignored)
            .await
    }

    /// What readers see.
    fn read<R>(&self, read: impl FnOnce(&State) -> R) -> Result<R, Error> {
        let read = self.handle.reads.with(self.clock.now().mono, read);
        read.ok_or_else(|| Error::unavailable(Outcome::None))
    }

    /// Lets the engine decide a command.
    async fn decide(&self, command: Command, deadline: MonoMillis) -> Result<Decided, Error> {
        self.handle.decide(command, deadline).await
    }

    /// That nobody can be asked is said only behind an entry that was sent after the question.
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
                let question = caller.command(Action::ReadIndex);
                let read = self.decide(question, caller.deadline).await?;
                let revision = refusal::index_read(read)?;
                look().map_err(|error| error.at(revision))
            }
            found => found,
        }
    }

    async fn contract(
        &self,
        chosen: &Chosen,
        caller: &Caller,
    ) -> Result<Arc<CompiledContract>, Error> {
        match &chosen.contract {
            Ok(compiled) => Ok(Arc::clone(compiled)),
            Err(tool) => {
                let learned = self.compiled.get_or_compile(
                    tool,
                    chosen.announced_by,
                    &self.contracts,
                    caller,
                );
                learned.await
            }
        }
    }
}
