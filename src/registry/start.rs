//! Starting: connections, store, catching up, settings, and then the first request.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::AbortHandle, time::timeout};
use uuid::Uuid;

use crate::{
    connect,
    domain::{core::Core, index::Index, record::FORMAT},
    machine::Machine,
    protocol::{endpoint::NODE_BYTES_MAX, names::SERVICE},
    serving::round_trip,
    store::{self, Store, open::OpenError},
    throttle::LogThrottle,
};

use super::{
    barrier::Barrier,
    callers::Callers,
    clock::Clock,
    commit::Commit,
    contracts::Contracts,
    executions::Executions,
    fatal::Fatal,
    follower::{Follower, Restart},
    handlers,
    host_records::HostRecords,
    hosts::Heard,
    invoke::Invoke,
    journal::Journal,
    micro::{Identity, Micro},
    mirror::Mirror,
    news::{request_events, store_events},
    peers::{self, Peers},
    publisher::Publisher,
    queries::Texts,
    reaper,
    rights::Rights,
    serve::{Listening, Server},
    settings::{Settings, show_ranges},
    stall::Stall,
    stop::Stop,
    sys::ensure_settings,
};

/// How long nothing of the bucket may arrive while an instance catches up with it at its start.
const CATCH_UP_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a registry that stops waits until its events are out.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a registry that stops waits for what is under way.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long for callers to be told that nobody knows what came of their calls.
const GIVE_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a registry did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No connection.
    #[error("no connection to NATS")]
    Connect(#[from] connect::Error),
    /// No store.
    #[error("the store cannot be used")]
    Store(#[from] OpenError),
    /// The stream does not say what it is.
    #[error("the bucket's stream cannot be looked up")]
    Identity(#[from] crate::store::InfoError),
    /// The bucket does not come.
    #[error("nothing of the bucket arrived for {} s", CATCH_UP_TIMEOUT.as_secs())]
    CatchUp,
    /// Something of a later version is in the bucket.
    #[error(
        "the bucket holds records of format {format}, and this version understands up to {FORMAT}: {key}. \
         Start a newer onex"
    )]
    LaterFormat {
        /// Where.
        key: String,
        /// Which.
        format: u32,
    },
    /// The settings are gone.
    #[error(
        "the bucket has no settings under `sys`: somebody deleted them, or wrote something else. Put them back with: \
         nats kv put {0} sys '{{\"format\":1,\"lineage\":0,\"ttl_max\":86400}}'"
    )]
    NoSettings(String),
    /// The settings cannot be written.
    #[error(
        "the settings cannot be written to the bucket under `sys`: somebody deleted them, or wrote something else \
         there, or the server takes no writes"
    )]
    Settings,
    /// Another namespace grants the same ports.
    #[error("another registry grants the same ports: {}. Choose other --ports", .0.join("; "))]
    Overlap(Vec<String>),
    /// The server does not let it subscribe.
    #[error("the NATS server does not allow what a registry needs: {0}")]
    Refused(String),
    /// No subscription.
    #[error("cannot subscribe")]
    Subscribe(#[from] async_nats::SubscribeError),
    /// Something ended while starting.
    #[error("the store cannot be served from")]
    Fatal(#[from] Fatal),
}

/// A registry that takes requests.
pub struct Registry {
    server: Arc<Server>,
    listening: Listening,
    publisher: AbortHandle,
    stop: Stop,
}

/// Says which server it is, and what of its URL is not used.
fn tell_of_connection(nats: &connect::Options, client: &async_nats::Client, began: Instant) {
    tracing::info!(
        nats = nats.shown(),
        version = client.server_info().version,
        ms = millis(began),
        "connected"
    );
    let ignored = nats.ignored();
    if !ignored.is_empty() {
        tracing::warn!(
            parts = ignored.join(", "),
            "nothing behind host and port in the URL of a NATS server is used: name users, passwords and files by \
             flags, or write nats://USER:PASSWORD@HOST:PORT"
        );
    }
}

impl Registry {
    /// Starts one.
    pub async fn start(settings: Settings, nats: &connect::Options) -> Result<Self, StartError> {
        let began = Instant::now();
        let registry_id = Uuid::now_v7();
        let clock = Clock::start();
        let stop = Stop::new();
        let restart = Arc::new(Restart::default());

        let refused = Arc::new(OnceLock::new());
        let rights = Rights::new(&settings, nats);
        let doubted = rights.clone();
        let on_event = request_events(Arc::clone(&refused), move || doubted.forget());
        let requests = nats
            .connect(&format!("{SERVICE} requests"), on_event)
            .await?;
        let on_event = store_events(Arc::clone(&restart), stop.clone());
        let store_client = nats.connect(&format!("{SERVICE} store"), on_event).await?;
        tell_of_connection(nats, &requests, began);
        stop.watch_connection(&requests).await?;
        stop.watch_connection(&store_client).await?;
        let machine = machine(&settings);
        let peers = peers(&requests, &settings, &machine).await?;
        let running = peers::hosts(&peers, &settings.namespace);
        let (store, opened) = open(store_client, &settings, began).await?;

        let node_bytes_max = node_bytes_max(requests.max_payload());
        let index = Index::new(settings.policy(registry_id, node_bytes_max));
        let mirror = Arc::new(Mirror::new(Core::new(index)));
        let later = Arc::new(OnceLock::new());
        let follower = Follower {
            store: store.clone(),
            mirror: Arc::clone(&mirror),
            clock,
            restart: Arc::clone(&restart),
            opened,
            later: Arc::clone(&later),
            foreign: LogThrottle::new("foreign records"),
        };
        let failing = stop.clone();
        stop.watch("follower", async move {
            failing.fail(follower.run().await);
        });
        let barrier = Barrier::start(
            store.clone(),
            Arc::clone(&mirror),
            Arc::clone(&restart),
            &stop,
        );
        catch_up(&barrier, &mirror, &stop).await?;
        if let Some((key, format)) = later.get().cloned() {
            return Err(StartError::LaterFormat { key, format });
        }
        ensure_settings(&store, &mirror, &barrier, &settings).await?;
        let leases = mirror.with(|core| core.index.lookup.live_leases());
        tracing::info!(leases, ms = millis(began), "caught up with the bucket");

        let commit = Arc::new(Commit {
            store,
            mirror,
            barrier,
            clock,
            stop: stop.clone(),
            restart,
            machine,
            heard: Arc::new(Heard::new(running, clock.now().mono)),
        });
        stop.watch("reaper", reaper::run(Arc::clone(&commit)));
        let publisher = Publisher {
            commit: Arc::clone(&commit),
            namespace: settings.namespace.clone(),
            client: requests.clone(),
        };
        let publisher = stop.watch("publisher", publisher.run());
        rights.start(nats, &stop).await?;
        let contracts = Contracts::new(&settings, rights.clone());
        let calls = Invoke::start(&settings, rights, registry_id, &requests, clock, &stop).await?;
        let server = server(&settings, registry_id, requests, commit, calls, contracts);
        let listening = listen(&server, registry_id, &stop).await?;
        if let Some(refusal) = refused.get() {
            return Err(StartError::Refused(refusal.clone()));
        }
        tracing::info!(
            registry_id = %registry_id, host = %settings.host, ports = show_ranges(&settings.ranges),
            prefix = settings.namespace.prefix(), ms = millis(began), "ready",
        );
        Ok(Self {
            server,
            listening,
            publisher,
            stop,
        })
    }

    /// Waits until it cannot serve any more; says why.
    pub async fn failed(&self) -> Fatal {
        self.stop.failed().await
    }

    /// Ends at once, whatever is under way: another one takes its place.
    pub fn abandon(self) {
        self.stop.abandon();
    }

    /// Stops taking requests, answers those that were taken, within [`DRAIN_TIMEOUT`] if that can be, and ends.
    pub async fn drain(self) {
        self.stop.end();
        let server = &self.server;
        let answered = async {
            server.leave(self.listening).await;
            server.all_answered().await;
        };
        if timeout(DRAIN_TIMEOUT, answered).await.is_err() {
            server.invoke.give_up();
            if timeout(GIVE_UP_TIMEOUT, server.all_answered())
                .await
                .is_err()
            {
                tracing::warn!("some requests were not settled in time");
            }
        }
        if timeout(PUBLISH_TIMEOUT, server.executions.flush())
            .await
            .is_err()
        {
            tracing::warn!("some executions are not told of: their events cannot be published");
        }
        leave_publishing(&server.commit, &self.publisher).await;
    }
}

/// Waits a while until the events are out, and leaves publishing to whoever is next.
async fn leave_publishing(commit: &Commit, publisher: &AbortHandle) {
    let all_out = commit.mirror.until(|core| core.index.outbox.is_empty());
    if timeout(PUBLISH_TIMEOUT, all_out).await.is_err() {
        tracing::info!("some events are left for the next publisher");
    }
    publisher.abort();
    if let Some(write) = commit.mirror.with(|core| core.index.outbox.resign()) {
        let written = commit.store.write(std::slice::from_ref(&write)).await;
        tracing::debug!(?written, "left publishing to others");
    }
}

fn millis(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// How long a registration may be where messages may have `payload_max` bytes: `describe` answers with
/// all of it, and beside it with the node's health and trust, and with as many of its leases and buses as
/// there is room for.
pub(super) fn node_bytes_max(payload_max: usize) -> usize {
    NODE_BYTES_MAX.min(payload_max / 16 * 7)
}

/// Opens the bucket; which stream it is, and how far it has come.
async fn open(
    client: async_nats::Client,
    settings: &Settings,
    began: Instant,
) -> Result<(Store, store::Identity), StartError> {
    let names = settings.names();
    let store = Store::open(client, &names).await?;
    let opened = store.identity().await?;
    tracing::info!(
        bucket = names.bucket,
        revision = opened.last.0,
        ms = millis(began),
        "opened the bucket"
    );
    Ok((store, opened))
}

/// The registries that run. One of another namespace must not grant the same ports.
async fn peers(
    client: &async_nats::Client,
    settings: &Settings,
    machine: &Machine,
) -> Result<Vec<Identity>, StartError> {
    let peers = peers::all(client).await;
    let overlaps = peers::overlaps(&peers, settings, machine);
    if overlaps.is_empty() {
        Ok(peers)
    } else {
        Err(StartError::Overlap(overlaps))
    }
}

/// The machine whose ports are granted by default.
pub(super) fn machine(settings: &Settings) -> Machine {
    let host = settings.host.clone();
    if settings.probe {
        Machine::local(host)
    } else {
        Machine::remote(host)
    }
}

async fn catch_up(barrier: &Barrier, mirror: &Mirror, stop: &Stop) -> Result<(), StartError> {
    let applied = || mirror.with(|core| core.index.applied());
    let passed = async {
        let (mut seen, mut since) = (applied(), Instant::now());
        while !barrier.pass().await {
            let now = applied();
            tracing::info!(revision = now.0, "reading the bucket");
            if now > seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() >= CATCH_UP_TIMEOUT {
                return Err(StartError::CatchUp);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    };
    tokio::select! {
        passed = passed => passed,
        fatal = stop.failed() => Err(fatal.into()),
    }
}

fn server(
    settings: &Settings,
    registry_id: Uuid,
    client: async_nats::Client,
    commit: Arc<Commit>,
    invoke: Invoke,
    contracts: Contracts,
) -> Arc<Server> {
    let started = commit.clock.now().wall;
    let identity = peers::identity(settings, registry_id, &commit.machine);
    let nats_server = client.server_info().version;
    let registry = handlers::this_instance(settings, registry_id, started, nats_server);
    let peers = Peers::start(
        client.clone(),
        settings.clone(),
        commit.machine.clone(),
        &identity,
        Arc::clone(&commit.heard),
        commit.clock,
        &commit.stop,
    );
    let micro = Arc::new(Micro::new(
        client.clone(),
        identity,
        settings.namespace.clone(),
        settings.inboxes.clone(),
        started,
        invoke.late(),
    ));
    Arc::new(Server {
        peers,
        executions: Executions::start(
            Arc::clone(&commit),
            settings.namespace.clone(),
            client.clone(),
        ),
        client,
        micro,
        commit,
        invoke,
        contracts,
        texts: Texts::default(),
        namespace: settings.namespace.clone(),
        registry,
        in_flight: Arc::new(Semaphore::new(settings.requests_in_flight_max as usize)),
        in_flight_max: settings.requests_in_flight_max,
        journal: Journal::new(),
        callers: Callers::new(settings.inboxes.clone()),
        stall: Stall::new(),
        unsubscribed: Semaphore::new(0),
    })
}

/// Takes requests, once it is known which machine this is.
async fn listen(
    server: &Arc<Server>,
    registry_id: Uuid,
    stop: &Stop,
) -> Result<Listening, StartError> {
    // Who is said to run on this machine answers: another one that starts now would take it for stopped.
    server.micro.listen().await?;
    round_trip(&server.client).await;
    let records = Box::pin(HostRecords::start(server, registry_id)).await;
    stop.watch("names of this machine", records.run());
    let listening = server.listen().await?;
    // Ready is when the server routes requests here.
    round_trip(&server.client).await;
    stop.watch("watch for stalls", Arc::clone(server).watch_for_stalls());
    Ok(listening)
}
