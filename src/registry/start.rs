//! Starting: connections, the store, the engine, and then the first request.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::Client;
use onex_core::{
    engine::Limits,
    execution::RUNS_MAX,
    node_record::NodeLimits,
    record::{InstanceId, Settings as SharedSettings, Unknown},
    state::State,
};
use onex_log::Derived;
use onex_machine::{Machine, new_id};
use onex_nats::serving::MESSAGE_BYTES_MIN;
use onex_types::{
    ids::{Host, Ttl},
    ports::PortRange,
};
use tokio::sync::{Semaphore, mpsc, watch};
use uuid::Uuid;

use crate::{
    connect as nats_connect,
    protocol::{describe::Registry as Describing, endpoint::NODE_BYTES_MAX, names::SERVICE},
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
    driver::{self, Applied, Driver},
    grants::{self, Own},
    high_water::HighWaterSources,
    hosts::Heard,
    intake::{Admission, Intake},
    invoke::{self, Invoke},
    lifecycle::Registry,
    micro::Micro,
    own_host::OwnHost,
    own_ranges::{follow, granted_on, warn_of_ephemeral_ports},
    pause::PauseDetector,
    peers::{self, Peer, Peers},
    probing::{ProbeAnswers, Probing},
    queries::Texts,
    request::{Completion, Replies},
    rights::Rights,
    session::{Opener, connect},
    settings::{Settings, show_ranges},
    start_error::StartError,
    stop::Stop,
};

/// What a start has made so far.
struct Start<'a> {
    settings: &'a Settings,
    registry_id: Uuid,
    clock: Clock,
    stop: Stop,
    bus: Bus,
    machine: Machine,
    /// What it is to others.
    own: Own,
    rights: Rights,
    probing: Probing,
    /// The hosts on which others try ports.
    probers: watch::Sender<BTreeSet<Host>>,
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
        let bytes = connection.client.max_payload();
        if bytes <= MESSAGE_BYTES_MIN {
            return Err(StartError::MessagesTooShort(bytes));
        }
        let bus = Bus::new(connection.client.clone());
        let start = Start::new(&settings, bus.clone(), rights.clone(), clock, stop.clone());
        let log = settings.log(nats);
        if !onex_log::exists(&log).await? {
            // A start that is refused makes nothing.
            peers::check(&peers::all(&connection.client).await, &start.own)?;
        }
        let (mut log, store) = onex_log::open(log).await?;
        let name = format!("{SERVICE} events");
        let publishing = nats
            .connect(&name, |event| tracing::debug!(%event, "events"))
            .await?;
        let (events, high_water) = events(&settings, &publishing, &store).await?;
        rights.start(nats, &stop).await?;
        // To have a store may have taken a while: who runs by now?
        let peers = peers::all(&connection.client).await;
        let loaded = driver::load_once_led(&mut log, &store, &high_water, clock).await?;
        // Before there are settings in the log: a start that is refused leaves none behind.
        if loaded.state().settings().is_some() {
            start
                .own
                .grants(&granted_on(loaded.state(), &settings.host));
        }
        let running = peers::check(&peers, &start.own)?;
        start.probers.send_replace(start.own.probers(&peers));

        let (decided, to_answer) = mpsc::unbounded_channel();
        let answer = move |outcomes| Replies::hand_out(&decided, outcomes);
        let (applied, [to_publish, to_show, to_note]) = applied_channels();
        let options = start.engine_options(high_water, applied);
        let instance = options.instance;
        let driver = Driver::start(log, store.clone(), loaded, options, answer);
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
        ready(&driver).await?;
        let (ranges, ttl_max) = start.agree(&driver).await?;
        // Who was named was killed: nobody has to wait until that is certain.
        if running.is_empty() {
            candidate.replace_gone().await;
        }

        let revision = driver.handle.reads.revision();
        let ports = show_ranges(&ranges);
        let (micro, replies) = start.answering();
        stop.watch("replies", replies.clone().run(to_answer));
        let peer = Peer {
            identity: start.own.announced(),
            inboxes: settings.inboxes.clone(),
            reads: Some(Arc::clone(&driver.handle.reads)),
            clock,
        };
        let opener = Opener {
            nats: nats.clone(),
            rights,
            micro: Arc::clone(&micro),
            peer,
            probes: settings.probe.then(|| ProbeAnswers {
                namespace: settings.namespace.clone(),
                host: settings.host.clone(),
                inboxes: settings.inboxes.clone(),
            }),
            bus,
        };
        let intake = Arc::new(start.intake(driver, &micro, replies, running, ttl_max));
        let names = say_names(&intake, &stop);
        let session = opener.open(connection, &intake, names).await?;
        let pauses = Arc::clone(&intake).watch_for_pauses();
        stop.watch("watch for pauses", pauses);
        let ms = millis(began.elapsed());
        tracing::info!(
            registry_id = %intake.registry_id, host = %settings.host, ports,
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
    fn new(settings: &'a Settings, bus: Bus, rights: Rights, clock: Clock, stop: Stop) -> Self {
        let (probers, others) = watch::channel(BTreeSet::new());
        let tried = settings.probe.then(|| settings.host.clone());
        let namespace = settings.namespace.clone();
        let (registry_id, machine) = (new_id(), machine(settings));
        let own = Own::new(&settings.namespace, machine.clone(), registry_id);
        own.grants(&settings.ranges);
        Self {
            probing: Probing::new(tried, others, bus.clone(), namespace, clock),
            probers,
            settings,
            registry_id,
            clock,
            stop,
            bus,
            machine,
            own,
            rights,
        }
    }

    /// What all instances share is as the log says, whatever this one was started with: its first start said it.
    async fn agree(
        &self,
        driver: &Driver<Completion>,
    ) -> Result<(Vec<PortRange>, Ttl), StartError> {
        let host = &self.settings.host;
        let now = self.clock.now().mono;
        let agreed = driver.handle.reads.with(now, |state: &State| {
            let ttl_max = state.settings().map(|settings| settings.ttl_max);
            (granted_on(state, host), ttl_max)
        });
        let Some((ranges, Some(ttl_max))) = agreed else {
            return Err(StartError::Ended("the log has no settings".to_owned()));
        };
        // Another instance was quicker to write the first entry.
        if self.own.grants(&ranges) {
            let peers = peers::all(&self.bus.client()).await;
            peers::check(&peers, &self.own)?;
        }
        warn_of_ephemeral_ports(&ranges);
        let reads = Arc::clone(&driver.handle.reads);
        let follow = follow(self.own.clone(), reads, self.clock);
        self.stop.watch("ranges of this host", follow);
        Ok((ranges, ttl_max))
    }

    /// What answers are sent with, and counted.
    fn answering(&self) -> (Arc<Micro>, Replies) {
        let settings = self.settings;
        let micro = Arc::new(Micro::new(
            self.bus.clone(),
            self.own.announced(),
            settings.namespace.clone(),
            settings.inboxes.clone(),
            self.clock.now().wall,
        ));
        let callers = Callers::new(settings.inboxes.clone());
        let replies = Replies::new(self.bus.clone(), Arc::clone(&micro), callers, self.clock);
        (micro, replies)
    }

    /// What requests are taken with.
    fn intake(
        self,
        driver: Driver<Completion>,
        micro: &Micro,
        replies: Replies,
        running: Vec<Host>,
        ttl_max: Ttl,
    ) -> Intake {
        let (settings, clock, registry_id) = (self.settings, self.clock, self.registry_id);
        let own_host = OwnHost {
            heard: Arc::new(Heard::new(running.into_iter(), clock.now().mono)),
            machine: self.machine,
            registry_id,
        };
        let heard = Arc::clone(&own_host.heard);
        let peers = Peers::start(
            self.bus.clone(),
            self.own,
            heard,
            self.probers,
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
            replies: replies.clone(),
            rights: self.rights,
            registry_id,
        };
        Intake {
            registry: Describing {
                registry_id,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                protocol: grants::protocol(),
                namespace: settings.namespace.name().map(str::to_owned),
                host: settings.host.clone(),
                started_at: micro.started(),
                ttl_max,
                probes: settings.probe,
                nats_server,
                lineage: 0,
            },
            peers,
            probing: self.probing,
            texts: Texts::default(),
            bus: self.bus,
            namespace: settings.namespace.clone(),
            clock,
            own_host: Arc::new(own_host),
            registry_id,
            contracts,
            invoke: Invoke::start(settings, parts, &self.stop),
            ttl_max,
            driver,
            replies,
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
            instance: InstanceId(instance),
            probing: Some(self.probing.clone()),
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

/// Waits until the engine has everything that was there when it started.
async fn ready(driver: &Driver<Completion>) -> Result<(), StartError> {
    if driver.ready().await {
        return Ok(());
    }
    Err(match driver.ended().await.as_deref() {
        Some(driver::Ended::Differs(differences)) => StartError::Settings(differences.clone()),
        Some(ended) => StartError::Ended(onex_types::chain(ended)),
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
