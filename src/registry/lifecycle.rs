//! A registry on the log: its start, and its end.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use jiff::Timestamp;
use onex_core::{
    decide::Local,
    engine::Limits,
    execution::RUNS_MAX,
    node_record::NodeLimits,
    record::{InstanceId, Settings as SharedSettings, Unknown},
};
use onex_log::Derived;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use uuid::Uuid;

use crate::{
    connect, domain::ids::Host, machine::Machine, protocol::names::SERVICE, serving::round_trip,
};

use super::{
    background::{
        Candidate, DerivedStreams, Entries, HostNames, Target, applied_channels, events_options,
        last_event,
    },
    callers::Callers,
    clock::Clock,
    contracts::Contracts,
    driver::{self, Applied, Driver, LoadError},
    handlers,
    high_water::Elsewhere,
    hosts::Heard,
    intake::{Completion, Intake, Listening, Replies},
    micro::{Identity, Micro},
    news::request_events,
    own_host::OwnHost,
    peers::{self, Peers},
    queries::Texts,
    rights::Rights,
    settings::{Settings, show_ranges},
    stall::Stall,
    start::{machine, node_bytes_max},
    stop::Stop,
};

/// How long a registry that stops waits for what is in flight.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it waits after that until events are published.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a registry did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No connection.
    #[error("no connection to NATS")]
    Connect(#[from] connect::Error),
    /// No store.
    #[error("the store cannot be used")]
    Store(#[from] onex_log::Error),
    /// The log cannot be read.
    #[error("{0}")]
    Load(String),
    /// The server does not let it subscribe.
    #[error("the NATS server does not allow what a registry needs: {0}")]
    Refused(String),
    /// No subscription.
    #[error("cannot subscribe")]
    Subscribe(#[from] async_nats::SubscribeError),
    /// The store has other settings.
    #[error("{0}")]
    Settings(String),
    /// Another namespace grants the same ports.
    #[error("another registry grants the same ports: {}. Choose other --ports", .0.join("; "))]
    Overlap(Vec<String>),
    /// The engine ended.
    #[error("the engine ended while starting: {0}")]
    Ended(String),
}

impl From<LoadError> for StartError {
    fn from(error: LoadError) -> Self {
        Self::Load(crate::chain(&error))
    }
}

/// A registry that takes requests, on the log.
pub struct LogRegistry {
    intake: Arc<Intake>,
    listening: Listening,
    instance: InstanceId,
    /// The revision up to which this instance has published every event.
    published: watch::Receiver<u64>,
    stop: Stop,
}

impl LogRegistry {
    /// Starts one.
    pub async fn start(settings: Settings, nats: &connect::Options) -> Result<Self, StartError> {
        let registry_id = Uuid::now_v7();
        let clock = Clock::start();
        let stop = Stop::new();
        let refused = Arc::new(OnceLock::new());
        let rights = Rights::new(&settings, nats);
        let doubted = rights.clone();
        let on_event = request_events(Arc::clone(&refused), move || doubted.forget());
        let client = nats
            .connect(&format!("{SERVICE} requests"), on_event)
            .await?;
        stop.watch_connection(&client).await?;
        let (log, store) = onex_log::open(settings.log(nats)).await?;
        let (events, known) = events(&settings, &client).await?;
        rights.start(nats, &stop).await?;
        let machine = machine(&settings);
        let running = check_peers(&client, &settings, &machine).await?;
        let identity = peers::identity(&settings, registry_id, &machine);
        let started = clock.now().wall;
        let micro = micro(&settings, &identity, &client, started);
        let callers = Callers::new(settings.inboxes.clone());
        let replies = Replies::new(client.clone(), Arc::clone(&micro), callers, clock);
        let (decided, to_answer) = mpsc::unbounded_channel();
        let answer = move |outcomes| Replies::hand_out(&decided, outcomes);
        let (applied, [to_publish, to_show, to_note]) = applied_channels();
        let node_bytes_max = node_bytes_max(client.max_payload());
        let options = engine_options(&settings, node_bytes_max, clock, known, applied);
        let instance = options.local.instance;
        let driver = Driver::start(log, store.clone(), options, answer).await?;
        let derived = DerivedStreams {
            settings: &settings,
            client: &client,
            events,
            store,
            registry_id,
        };
        let candidate = Candidate {
            instance,
            driver: driver.handle.clone(),
            clock,
        };
        let published = derived.start(candidate, to_publish, to_show, &stop);
        watch_notes(&stop, &settings, &driver, clock, to_note);
        stop.watch("replies", replies.clone().run(to_answer));
        ready(&driver).await?;
        let revision = driver.handle.reads.revision();
        let own_host = OwnHost {
            heard: Arc::new(Heard::new(running.into_iter(), clock.now().mono)),
            machine,
            registry_id,
        };
        let peers = Peers::start(
            client.clone(),
            settings.clone(),
            own_host.machine.clone(),
            &identity,
            Arc::clone(&own_host.heard),
            clock,
            &stop,
        );
        let nats_server = client.server_info().version;
        let registry = handlers::this_instance(&settings, registry_id, started, nats_server);
        let intake = Arc::new(Intake {
            registry,
            peers,
            texts: Texts::default(),
            client,
            namespace: settings.namespace.clone(),
            clock,
            own_host: Arc::new(own_host),
            registry_id,
            contracts: Contracts::new(&settings, rights),
            ttl_max: settings.ttl_max,
            driver,
            replies,
            stall: Stall::new(),
            in_flight: Arc::new(Semaphore::new(settings.requests_in_flight_max as usize)),
            in_flight_max: settings.requests_in_flight_max,
            unsubscribed: Semaphore::new(0),
        });
        let listening = listen(&intake, &micro, &stop).await?;
        if let Some(refusal) = refused.get() {
            return Err(StartError::Refused(refusal.clone()));
        }
        let ms = clock.now().mono.0;
        tracing::info!(
            registry_id = %registry_id, host = %settings.host, ports = show_ranges(&settings.ranges),
            prefix = settings.namespace.prefix(), revision, ms, "ready",
        );
        Ok(Self {
            intake,
            listening,
            instance,
            published,
            stop,
        })
    }

    /// Waits until the registry cannot serve any more; says why.
    pub async fn failed(&self) -> String {
        tokio::select! {
            ended = self.intake.driver.ended() => {
                ended.map_or_else(|| "the engine died".to_owned(), |ended| crate::chain(&*ended))
            }
            fatal = self.stop.failed() => crate::chain(&fatal),
        }
    }

    /// Stops taking requests, answers those that were taken, within [`DRAIN_TIMEOUT`] if that can be, and ends.
    pub async fn drain(self) {
        let Self {
            intake,
            listening,
            instance,
            mut published,
            stop,
        } = self;
        stop.end();
        let answered = async {
            intake.leave(listening).await;
            intake.all_answered().await;
        };
        if timeout(DRAIN_TIMEOUT, answered).await.is_err() {
            tracing::warn!("some requests were not settled in time");
        }
        let all_out = all_published(&intake, instance, &mut published);
        if timeout(PUBLISH_TIMEOUT, all_out).await.is_err() {
            tracing::info!("some events are left for the next publisher");
        }
        intake.driver.stop();
        intake.driver.ended().await;
        round_trip(&intake.client).await;
        stop.abandon();
    }
}

/// Waits until the events of everything that readers see now are out, if it is this instance that publishes them.
async fn all_published(
    intake: &Intake,
    instance: InstanceId,
    published: &mut watch::Receiver<u64>,
) {
    let reads = &intake.driver.handle.reads;
    let last = reads.revision();
    let named = reads.with(intake.clock.now().mono, |state| state.named().cloned());
    if named
        .flatten()
        .is_some_and(|named| named.instance == instance)
    {
        // A publisher that has ended publishes nothing.
        let _ = published.wait_for(|out| *out >= last).await;
    }
}

/// The stream of events, and what is known from outside of the store of how far it was.
async fn events(
    settings: &Settings,
    client: &async_nats::Client,
) -> Result<(Target, Elsewhere), StartError> {
    let options = events_options(settings);
    let stream = Derived::open(client.clone(), &options).await?;
    let known = Elsewhere {
        event: last_event(&stream).await?,
        notes: settings.notes.clone(),
    };
    Ok((Target { stream, options }, known))
}

/// Notes outside of the store how far it is.
fn watch_notes(
    stop: &Stop,
    settings: &Settings,
    driver: &Driver<Completion>,
    clock: Clock,
    applied: Entries,
) {
    let Some(notes) = settings.notes.clone() else {
        tracing::warn!(
            "there is no folder to note how far the store is: an older one will not be noticed by that"
        );
        return;
    };
    let reads = Arc::clone(&driver.handle.reads);
    stop.watch("notes", notes.run(reads, clock, applied));
}

fn micro(
    settings: &Settings,
    identity: &Identity,
    client: &async_nats::Client,
    started: Timestamp,
) -> Arc<Micro> {
    Arc::new(Micro::new(
        client.clone(),
        identity.clone(),
        settings.namespace.clone(),
        settings.inboxes.clone(),
        started,
        Arc::default(),
    ))
}

/// The hosts on which other registries of the namespace run. One of another namespace must not grant the same ports.
async fn check_peers(
    client: &async_nats::Client,
    settings: &Settings,
    machine: &Machine,
) -> Result<Vec<Host>, StartError> {
    let peers = peers::all(client).await;
    let overlaps = peers::overlaps(&peers, settings, machine);
    if overlaps.is_empty() {
        Ok(peers::hosts(&peers, &settings.namespace).collect())
    } else {
        Err(StartError::Overlap(overlaps))
    }
}

/// Waits until the engine has everything that was there when it started.
async fn ready(driver: &Driver<Completion>) -> Result<(), StartError> {
    if driver.ready().await {
        return Ok(());
    }
    Err(match driver.ended().await.as_deref() {
        Some(driver::Ended::Refused(refusal)) => StartError::Settings(refusal.to_string()),
        Some(ended) => StartError::Ended(crate::chain(ended)),
        None => StartError::Ended("see the log".to_owned()),
    })
}

/// Takes requests, once it is known which machine this is.
async fn listen(
    intake: &Arc<Intake>,
    micro: &Arc<Micro>,
    stop: &Stop,
) -> Result<Listening, StartError> {
    // Who is said to run on this machine answers: another one that starts now would take it for stopped.
    micro.listen().await?;
    round_trip(&intake.client).await;
    let names = HostNames::start(
        Arc::clone(&intake.own_host),
        intake.driver.handle.clone(),
        intake.client.clone(),
        intake.clock,
    );
    stop.watch("names of this machine", Box::pin(names).await.run());
    let listening = intake.listen().await?;
    // Ready is when the server routes requests here.
    round_trip(&intake.client).await;
    stop.watch("watch for stalls", Arc::clone(intake).watch_for_stalls());
    Ok(listening)
}

fn engine_options(
    settings: &Settings,
    node_bytes_max: usize,
    clock: Clock,
    known: Elsewhere,
    applied: Vec<mpsc::UnboundedSender<Applied>>,
) -> driver::Options {
    let (_, instance) = Uuid::new_v4().as_u64_pair();
    driver::Options {
        local: Local {
            instance: InstanceId(instance),
            probes: settings.probe.then(|| settings.host.clone()),
        },
        limits: Limits {
            snapshot_bytes: settings
                .snapshot_bytes
                .unwrap_or(Limits::default().snapshot_bytes),
            ..Limits::default()
        },
        known,
        settings: Some(SharedSettings {
            ttl_max: settings.ttl_max,
            holder_leases_max: settings.holder_leases_max,
            hosts_max: settings.hosts_max,
            ports_default: settings.ranges.clone(),
            reserved_default: settings.reserved.clone(),
            known_hosts_only: settings.known_hosts_only,
            retention_ms: millis(settings.retention),
            nodes: NodeLimits {
                nodes_max: settings.nodes_max,
                buses_max: settings.buses_max,
                node_bytes_max,
            },
            calls_max: settings.calls_max,
            calls_kept_ms: millis(settings.calls_kept),
            runs_max: RUNS_MAX,
            unknown: Unknown::new(),
        }),
        given: settings.given.iter().map(ToString::to_string).collect(),
        clock,
        applied,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
