//! Starting: connections, the store, the engine, and then the first request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::Client;
use jiff::Timestamp;
use onex_core::{
    decide::Local,
    engine::Limits,
    execution::RUNS_MAX,
    node_record::NodeLimits,
    record::{InstanceId, Settings as SharedSettings, Unknown},
};
use onex_log::Derived;
use onex_types::ids::Host;
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use crate::{
    connect as nats_connect,
    machine::Machine,
    protocol::{endpoint::NODE_BYTES_MAX, names::SERVICE},
};

use super::{
    background::{
        Candidate, DerivedStreams, Entries, HostNames, Target, applied_channels, events_options,
        last_event,
    },
    bus::Bus,
    callers::Callers,
    clock::Clock,
    contracts::Contracts,
    driver::{self, Applied, Driver, LoadError},
    handlers,
    high_water::HighWaterSources,
    hosts::Heard,
    intake::{Admission, Intake},
    invoke::{self, Invoke},
    lifecycle::Registry,
    micro::{Identity, Micro},
    own_host::OwnHost,
    pause::PauseDetector,
    peers::{self, Peers},
    queries::Texts,
    request::{Completion, Replies},
    rights::Rights,
    session::{Opener, connect},
    settings::{Settings, show_ranges},
    stop::Stop,
};

/// Why a registry did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No connection.
    #[error("no connection to NATS")]
    Connect(#[from] nats_connect::Error),
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

/// What a start has made so far.
struct Start<'a> {
    settings: &'a Settings,
    registry_id: Uuid,
    clock: Clock,
    stop: Stop,
    bus: Bus,
    machine: Machine,
    /// The hosts on which other instances run.
    running: Vec<Host>,
    identity: Identity,
    started: Timestamp,
    micro: Arc<Micro>,
    replies: Replies,
    rights: Rights,
}

impl Registry {
    /// Starts one.
    pub async fn start(
        settings: Settings,
        nats: &nats_connect::Options,
    ) -> Result<Self, StartError> {
        let began = Instant::now();
        let (clock, stop) = (Clock::start(), Stop::new());
        let rights = Rights::new(&settings, nats);
        let connection = connect(nats, &rights).await?;
        tell_of_connection(nats, &connection.client, began);
        let (log, store) = onex_log::open(settings.log(nats)).await?;
        let name = format!("{SERVICE} events");
        let publishing = nats
            .connect(&name, |event| tracing::debug!(%event, "events"))
            .await?;
        let (events, high_water) = events(&settings, &publishing, &store).await?;
        rights.start(nats, &stop).await?;
        let bus = Bus::new(connection.client.clone());
        let start = Start::new(&settings, bus.clone(), rights.clone(), clock, stop).await?;

        let (decided, to_answer) = mpsc::unbounded_channel();
        let answer = move |outcomes| Replies::hand_out(&decided, outcomes);
        let (applied, [to_publish, to_show, to_note]) = applied_channels();
        let options = start.engine_options(high_water, applied);
        let instance = options.local.instance;
        let driver = Driver::start(log, store.clone(), options, answer).await?;
        let derived = DerivedStreams {
            settings: &settings,
            client: &publishing,
            events,
            store,
            registry_id: start.registry_id,
        };
        let candidate = Candidate {
            instance,
            driver: driver.handle.clone(),
            clock,
        };
        let published = derived.start(candidate.clone(), to_publish, to_show, &start.stop);
        watch_notes(&start.stop, &settings, &driver, clock, to_note);
        let replies = start.replies.clone();
        start.stop.watch("replies", replies.run(to_answer));
        ready(&driver).await?;
        // Who was named was killed: nobody has to wait until that is certain.
        if start.running.is_empty() {
            candidate.replace_gone().await;
        }

        let revision = driver.handle.reads.revision();
        let (micro, stop) = (Arc::clone(&start.micro), start.stop.clone());
        let intake = Arc::new(start.intake(driver));
        let opener = Opener {
            nats: nats.clone(),
            rights,
            micro,
            bus,
        };
        let names = say_names(&intake, &stop);
        let session = opener.open(connection, &intake, names).await?;
        let pauses = Arc::clone(&intake).watch_for_pauses();
        stop.watch("watch for pauses", pauses);
        let ms = millis(began.elapsed());
        tracing::info!(
            registry_id = %intake.registry_id, host = %settings.host, ports = show_ranges(&settings.ranges),
            prefix = settings.namespace.prefix(), revision, ms, "ready",
        );
        Ok(Self {
            intake,
            session,
            opener,
            instance,
            published,
            stop,
        })
    }
}

impl<'a> Start<'a> {
    async fn new(
        settings: &'a Settings,
        bus: Bus,
        rights: Rights,
        clock: Clock,
        stop: Stop,
    ) -> Result<Self, StartError> {
        let registry_id = Uuid::now_v7();
        let machine = machine(settings);
        let running = check_peers(&bus.client(), settings, &machine).await?;
        let identity = peers::identity(settings, registry_id, &machine);
        let started = clock.now().wall;
        let micro = Arc::new(Micro::new(
            bus.clone(),
            identity.clone(),
            settings.namespace.clone(),
            settings.inboxes.clone(),
            started,
        ));
        let callers = Callers::new(settings.inboxes.clone());
        let replies = Replies::new(bus.clone(), Arc::clone(&micro), callers, clock);
        Ok(Self {
            settings,
            registry_id,
            clock,
            stop,
            bus,
            machine,
            running,
            identity,
            started,
            micro,
            replies,
            rights,
        })
    }

    /// What requests are taken with.
    fn intake(self, driver: Driver<Completion>) -> Intake {
        let (settings, clock, registry_id) = (self.settings, self.clock, self.registry_id);
        let own_host = OwnHost {
            heard: Arc::new(Heard::new(self.running.into_iter(), clock.now().mono)),
            machine: self.machine,
            registry_id,
        };
        let peers = Peers::start(
            self.bus.clone(),
            settings.clone(),
            own_host.machine.clone(),
            &self.identity,
            Arc::clone(&own_host.heard),
            clock,
            &self.stop,
        );
        let nats_server = self.bus.client().server_info().version;
        let contracts = Arc::new(Contracts::new(settings, self.rights.clone()));
        let parts = invoke::Parts {
            handle: driver.handle.clone(),
            clock,
            bus: self.bus.clone(),
            contracts: Arc::clone(&contracts),
            replies: self.replies.clone(),
            rights: self.rights,
            registry_id,
        };
        Intake {
            registry: handlers::this_instance(settings, registry_id, self.started, nats_server),
            peers,
            texts: Texts::default(),
            bus: self.bus,
            namespace: settings.namespace.clone(),
            clock,
            own_host: Arc::new(own_host),
            registry_id,
            contracts,
            invoke: Invoke::start(settings, parts, &self.stop),
            ttl_max: settings.ttl_max,
            driver,
            replies: self.replies,
            pause_detector: PauseDetector::new(),
            admission: Admission::new(settings.requests_in_flight_max),
            unsubscribed: Semaphore::new(0),
        }
    }

    fn engine_options(
        &self,
        high_water: HighWaterSources,
        applied: Vec<mpsc::UnboundedSender<Applied>>,
    ) -> driver::Options {
        let settings = self.settings;
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
            high_water,
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
                    node_bytes_max: node_bytes_max(self.bus.max_payload()),
                },
                calls_max: settings.calls_max,
                calls_kept_ms: millis(settings.calls_kept),
                runs_max: RUNS_MAX,
                unknown: Unknown::new(),
            }),
            given: settings.given.iter().map(ToString::to_string).collect(),
            clock: self.clock,
            applied,
        }
    }
}

/// The stream of events, and what is known from outside of the store of how far it was.
async fn events(
    settings: &Settings,
    client: &Client,
    store: &onex_log::Store,
) -> Result<(Target, HighWaterSources), StartError> {
    let options = events_options(settings, settings.derived_replicas(store.replicas()));
    let stream = Derived::open(client.clone(), &options).await?;
    let high_water = HighWaterSources {
        event: last_event(&stream).await?,
        notes: settings.notes.clone(),
    };
    Ok((Target { stream, options }, high_water))
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

/// The hosts on which other registries of the namespace run. One of another namespace must not grant the same ports.
async fn check_peers(
    client: &Client,
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

/// Says what this machine is called, now and whenever that changes: before requests are taken it is known which machine this
/// is.
async fn say_names(intake: &Arc<Intake>, stop: &Stop) {
    let names = HostNames::start(
        Arc::clone(&intake.own_host),
        intake.driver.handle.clone(),
        intake.bus.clone(),
        intake.clock,
    );
    stop.watch("names of this machine", Box::pin(names).await.run());
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How long a registration may be where messages may have `payload_max` bytes: `describe` answers with
/// all of it, and beside it with the node's health and trust, and with as many of its leases and buses as
/// there is room for.
fn node_bytes_max(payload_max: usize) -> usize {
    NODE_BYTES_MAX.min(payload_max / 16 * 7)
}

/// The machine whose ports are granted by default.
fn machine(settings: &Settings) -> Machine {
    let host = settings.host.clone();
    if settings.probe {
        Machine::local(host)
    } else {
        Machine::remote(host)
    }
}

/// Says which server it is, and what of its URL is not used.
fn tell_of_connection(nats: &nats_connect::Options, client: &Client, began: Instant) {
    tracing::info!(
        nats = nats.shown(),
        version = client.server_info().version,
        ms = millis(began.elapsed()),
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
