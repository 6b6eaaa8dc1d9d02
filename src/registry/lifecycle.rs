//! A registry on the log: its start, and its end.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use onex_core::{
    decide::Local,
    engine::Limits,
    execution::RUNS_MAX,
    node_record::NodeLimits,
    record::{InstanceId, Settings as SharedSettings, Unknown},
};
use onex_log::Derived;
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use uuid::Uuid;

use crate::{
    connect,
    protocol::names::{PROTOCOL_MINOR, SERVICE},
    serving::round_trip,
};

use super::{
    background::{
        Candidate, EventEncoder, Publisher, Target, View, events_options, last_event, view_options,
    },
    clock::Clock,
    driver::{self, Applied, Driver, LoadError},
    high_water::Elsewhere,
    intake::{Completion, Intake, Listening, Replies},
    micro::{Identity, Micro, service_id},
    news::request_events,
    peers,
    settings::{STORE_BYTES_MAX, Settings, show_ranges},
    stall::Stall,
    start::machine,
    stop::Stop,
};

/// How long a registry that stops waits for what is in flight.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

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
    stop: Stop,
}

impl LogRegistry {
    /// Starts one.
    pub async fn start(settings: Settings, nats: &connect::Options) -> Result<Self, StartError> {
        let registry_id = Uuid::now_v7();
        let clock = Clock::start();
        let stop = Stop::new();
        let refused = Arc::new(OnceLock::new());
        let on_event = request_events(Arc::clone(&refused));
        let client = nats
            .connect(&format!("{SERVICE} requests"), on_event)
            .await?;
        stop.watch_connection(&client).await?;
        let (log, store) = onex_log::open(onex_log::Options {
            nats: nats.clone(),
            bucket: settings.namespace.bucket(),
            replicas: settings.replicas.unwrap_or(1),
            bytes_max: settings.store_bytes_max.unwrap_or(STORE_BYTES_MAX),
            bytes_chosen: settings.store_bytes_max.is_some(),
        })
        .await?;
        let events_options = events_options(&settings);
        let events = Derived::open(client.clone(), &events_options).await?;
        let known = Elsewhere {
            event: last_event(&events).await?,
            notes: settings.notes.clone(),
        };
        let micro = micro(&settings, registry_id, client.clone(), clock);
        let replies = Replies::new(client.clone(), Arc::clone(&micro), clock);
        let (decided, to_answer) = mpsc::unbounded_channel();
        let answer = move |outcomes| Replies::hand_out(&decided, outcomes);
        let (applied, [to_publish, to_show, to_note]) = applied_channels();
        let options = engine_options(&settings, clock, known, applied);
        let instance = options.local.instance;
        let driver = Driver::start(log, store.clone(), options, answer).await?;
        let candidate = Candidate {
            instance,
            driver: driver.handle.clone(),
            clock,
        };
        let publisher = Publisher {
            candidate: candidate.clone(),
            target: Target {
                stream: events,
                options: events_options,
            },
            store,
            encoder: EventEncoder {
                namespace: settings.namespace.clone(),
                registry_id,
            },
        };
        stop.watch("publisher", publisher.run(to_publish));
        stop.watch("view", view(&settings, &client, candidate).run(to_show));
        watch_notes(&stop, &settings, &driver, clock, to_note);
        stop.watch("replies", replies.clone().run(to_answer));
        if !driver.ready().await {
            return Err(not_ready(&driver).await);
        }
        let revision = driver.handle.reads.revision();
        let intake = Arc::new(Intake {
            client,
            namespace: settings.namespace.clone(),
            inboxes: settings.inboxes.clone(),
            clock,
            machine: machine(&settings),
            ttl_max: settings.ttl_max,
            driver,
            replies,
            stall: Stall::new(),
            in_flight: Arc::new(Semaphore::new(settings.requests_in_flight_max as usize)),
            in_flight_max: settings.requests_in_flight_max,
            unsubscribed: Semaphore::new(0),
        });
        let listening = intake.listen().await?;
        micro.listen().await?;
        // Ready is when the server routes requests here.
        round_trip(&intake.client).await;
        if let Some(refusal) = refused.get() {
            return Err(StartError::Refused(refusal.clone()));
        }
        stop.watch("watch for stalls", Arc::clone(&intake).watch_for_stalls());
        let ms = clock.now().mono.0;
        tracing::info!(
            registry_id = %registry_id, host = %settings.host, ports = show_ranges(&settings.ranges),
            prefix = settings.namespace.prefix(), revision, ms, "ready",
        );
        Ok(Self {
            intake,
            listening,
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
        self.stop.end();
        let answered = async {
            self.intake.leave(self.listening).await;
            self.intake.all_answered().await;
        };
        if timeout(DRAIN_TIMEOUT, answered).await.is_err() {
            tracing::warn!("some requests were not settled in time");
        }
        self.intake.driver.stop();
        self.intake.driver.ended().await;
        round_trip(&self.intake.client).await;
        self.stop.abandon();
    }
}

async fn not_ready(driver: &Driver<Completion>) -> StartError {
    match driver.ended().await.as_deref() {
        Some(driver::Ended::Refused(refusal)) => StartError::Settings(refusal.to_string()),
        Some(ended) => StartError::Ended(crate::chain(ended)),
        None => StartError::Ended("see the log".to_owned()),
    }
}

/// What shows the state to people. Nothing waits until its bucket is there.
fn view(settings: &Settings, client: &async_nats::Client, candidate: Candidate) -> View {
    let (names, options) = view_options(settings);
    View {
        candidate,
        target: Target {
            stream: Derived::named(client.clone(), &options),
            options,
        },
        names,
    }
}

type Entries = mpsc::UnboundedReceiver<Applied>;

/// Ways on which entries are told.
fn applied_channels<const N: usize>() -> (Vec<mpsc::UnboundedSender<Applied>>, [Entries; N]) {
    let mut senders = Vec::new();
    let receivers = std::array::from_fn(|_| {
        let (sender, receiver) = mpsc::unbounded_channel();
        senders.push(sender);
        receiver
    });
    (senders, receivers)
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
    registry_id: Uuid,
    client: async_nats::Client,
    clock: Clock,
) -> Arc<Micro> {
    let metadata = [
        (
            peers::META_NAMESPACE,
            settings.namespace.name().unwrap_or_default().to_owned(),
        ),
        (peers::META_HOST, settings.host.to_string()),
        (peers::META_RANGES, show_ranges(&settings.ranges)),
        (peers::META_PROTOCOL, format!("1.{PROTOCOL_MINOR}")),
        (peers::META_REGISTRY_ID, registry_id.to_string()),
    ];
    let identity = Identity {
        name: SERVICE.to_owned(),
        id: service_id(registry_id),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        metadata: metadata
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
    };
    Arc::new(Micro::new(
        client,
        identity,
        settings.namespace.clone(),
        settings.inboxes.clone(),
        clock.now().wall,
        Arc::default(),
    ))
}

fn engine_options(
    settings: &Settings,
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
                ..NodeLimits::default()
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
