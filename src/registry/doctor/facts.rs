//! What a look at a registry finds. It is gathered once and changes nothing; the checks judge it.

use std::{collections::BTreeSet, time::Duration};

use async_nats::Client;
use jiff::Timestamp;
use onex_core::{engine::Loaded, state::State};
use onex_log::{Account, BucketNames, Derived, DerivedOptions, Inspector, Server, Stream};
use onex_machine::{Machine, used_ports};
use onex_types::ids::{Host, Port, Transport};
use tokio::time::sleep;

use crate::{
    connect,
    protocol::names::{Namespace, SERVICE},
    registry::{
        background::{events_options, last_event, unshown, view_options},
        clock::Clock,
        driver::{self, LoadError},
        grants,
        high_water::{HighWater, HighWaterSources},
        own_host,
        peers::{self, Answer},
        probing::{Ephemeral, ephemeral_range},
        rights::{User, user_of},
        settings::Settings,
    },
};

use super::{
    error::DoctorError,
    problem::{Judged, Problem},
    trial::{self, Replies},
};

/// How long what follows the log may take to reach what it said when it was read.
const CATCH_UP_MAX: Duration = Duration::from_secs(3);
/// How often that is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Why nothing is known of streams where the server does not let us ask.
pub(super) const NOT_LET: &str = "the NATS server does not let this user ask: see server.rights";

/// A check: its name, and what judges.
pub(super) type Named = (&'static str, fn(&Facts) -> Judged);

/// What was found.
pub(super) struct Facts {
    pub(super) namespace: Namespace,
    /// The log's bucket.
    pub(super) bucket: String,
    /// The server that requests come over.
    pub(super) bus: Server,
    /// As whom it knows us; none where it does not tell.
    pub(super) bus_user: Option<User>,
    /// The server that keeps the log.
    pub(super) store: Server,
    /// As whom it knows us.
    pub(super) store_user: Option<User>,
    /// What that says that does not let us ask for JetStream.
    pub(super) refusal: Option<String>,
    /// What JetStream lets us have there.
    pub(super) account: Result<Account, onex_log::Error>,
    /// The log's stream.
    pub(super) log: Result<Stream, onex_log::Error>,
    /// This machine's clock when that was told.
    pub(super) told_at: Timestamp,
    /// Why the log cannot be opened; where it can be, what it says.
    pub(super) opened: Result<Opened, onex_log::Error>,
    /// What is known from outside of the store of how far it was.
    pub(super) noted: HighWater,
    /// The stream of events.
    pub(super) events: Result<Stream, onex_log::Error>,
    /// The stream of the view.
    pub(super) view: Result<Stream, onex_log::Error>,
    /// What that is called.
    pub(super) view_stream: String,
    /// What did not follow the log in time.
    pub(super) lag: Lag,
    /// The instances that answer, of all namespaces.
    pub(super) answers: Vec<Answer>,
    /// What came of requests; none where we may not send any.
    pub(super) replies: Option<Replies>,
    /// This machine's clock when they were asked.
    pub(super) asked_at: Timestamp,
    /// Whether the server was started for this: then no instance can answer.
    pub(super) is_alone: bool,
    /// The name of this machine.
    pub(super) own_host: Host,
    /// Which kernel and network namespace this is.
    pub(super) port_space: Option<String>,
    /// From where the kernel takes ports for outgoing connections.
    pub(super) ephemeral: Option<Ephemeral>,
    /// Ports of this machine that are in use; none where the kernel does not say.
    pub(super) in_use: Option<BTreeSet<(Transport, Port)>>,
}

/// What a log says.
pub(super) struct Opened {
    pub(super) loaded: Result<Loaded, LoadError>,
    /// When its newest complete snapshot was begun.
    pub(super) snapshot_at: Option<Timestamp>,
}

impl Opened {
    fn loaded(&self) -> Option<&Loaded> {
        self.loaded.as_ref().ok()
    }
}

/// What did not follow the log in time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lag {
    /// Events that are not published.
    pub(super) events: usize,
    /// Records that the view does not show.
    pub(super) records: usize,
}

/// Looks at everything.
pub(super) async fn gather(
    settings: &Settings,
    nats: &connect::Options,
    is_alone: bool,
) -> Result<Facts, DoctorError> {
    let client = nats.connect(&format!("{SERVICE} doctor"), |_| {}).await?;
    let log = settings.log(nats);
    let bucket = log.bucket;
    let inspector = Inspector::connect(log.nats.clone(), &bucket).await?;
    let derived = DerivedStreams::of(settings, &client);
    // How far the log was is asked for before it is read: others write to it meanwhile.
    let (event, account, (described, told_at), bus_user, store_user) = tokio::join!(
        last_event(&derived.events.0),
        inspector.account(),
        async { (inspector.log().await, Timestamp::now()) },
        user_of(&client),
        user_of(inspector.client()),
    );
    let sources = HighWaterSources {
        event: event.unwrap_or_default(),
        notes: settings.notes.clone(),
    };
    let noted = sources.read();
    let (bus, store) = (Server::of(&client), inspector.server());
    let unanswered = account.as_ref().err().or(described.as_ref().err());
    let silence = unanswered.and_then(onex_log::Error::silence);
    let refusal = match silence {
        Some(_) => inspector.refusal(&log.nats).await,
        None => None,
    };
    let opened = match store.check().err().or(silence) {
        // What does not answer would be waited for, in vain.
        Some(error) => Err(error),
        None => open(log.nats, &bucket).await,
    };
    let loaded = opened.as_ref().ok().and_then(Opened::loaded);
    let answers = peers::answers(&client).await.unwrap_or_default();
    let (lag, answers) = match loaded {
        Some(loaded) => {
            let mut ours = answers.iter();
            // Nobody sees to what nobody runs for.
            let looks = if ours.any(|it| is_of(it, &settings.namespace)) {
                looks()
            } else {
                1
            };
            tokio::join!(
                derived.lag(loaded, looks),
                answers_at(&client, answers, settings, loaded)
            )
        }
        None => (Lag::default(), answers),
    };
    let asked_at = Timestamp::now();
    let replies = trial::replies(&client, bus_user.as_ref(), &settings.namespace).await;
    let (events, view) = tokio::join!(
        derived.events.0.inspect(&derived.events.1),
        derived.view.0.inspect(&derived.view.1),
    );
    Ok(Facts {
        namespace: settings.namespace.clone(),
        bucket,
        bus,
        bus_user,
        store,
        store_user,
        refusal,
        account,
        log: described,
        told_at,
        opened,
        noted,
        events,
        view,
        view_stream: derived.view.1.name,
        lag,
        answers,
        replies,
        asked_at,
        is_alone,
        own_host: settings.host.clone(),
        port_space: Machine::local(settings.host.clone()).port_space(),
        ephemeral: ephemeral_range(),
        in_use: in_use(),
    })
}

/// The ports of this machine that are in use; none where the kernel does not say.
fn in_use() -> Option<BTreeSet<(Transport, Port)>> {
    let mut found = BTreeSet::new();
    for transport in Transport::ALL {
        let ports = used_ports(transport)?.into_iter();
        found.extend(ports.map(|port| (transport, port)));
    }
    Some(found)
}

/// Reads the log.
async fn open(nats: connect::Options, bucket: &str) -> Result<Opened, onex_log::Error> {
    let (mut log, store) = onex_log::open_existing(nats, bucket).await?;
    let nothing = HighWaterSources::default();
    let loaded = driver::load(&mut log, &store, None, &nothing, Clock::start()).await;
    let newest = loaded.as_ref().ok().and_then(|it| it.snapshots().newest());
    let snapshot = match newest {
        Some(newest) => store.get(newest.sequence).await.ok().flatten(),
        None => None,
    };
    Ok(Opened {
        loaded,
        snapshot_at: snapshot.map(|found| found.time),
    })
}

/// What instances answer. Those that are behind the log are asked again for a while.
async fn answers_at(
    client: &Client,
    mut answers: Vec<Answer>,
    settings: &Settings,
    loaded: &Loaded,
) -> Vec<Answer> {
    let revision = loaded.state().revision();
    let is_behind = |answer: &Answer| {
        is_of(answer, &settings.namespace) && answer.revision.is_some_and(|at| at < revision)
    };
    for _ in 0..looks() {
        if !answers.iter().any(is_behind) {
            break;
        }
        // To ask takes as long as answers are waited for.
        answers = peers::answers(client).await.unwrap_or_default();
    }
    answers
}

/// Whether an instance of the registry with that namespace answers so.
fn is_of(answer: &Answer, namespace: &Namespace) -> bool {
    grants::host_in(&answer.identity, namespace).is_some()
}

fn looks() -> u128 {
    CATCH_UP_MAX.as_millis() / LOOK_INTERVAL.as_millis()
}

/// The streams that are made from the log.
struct DerivedStreams {
    events: (Derived, DerivedOptions),
    view: (Derived, DerivedOptions),
    names: BucketNames,
}

impl DerivedStreams {
    fn of(settings: &Settings, client: &Client) -> Self {
        let named = |options: DerivedOptions| (Derived::named(client.clone(), &options), options);
        let (names, view) = view_options(settings, None);
        Self {
            events: named(events_options(settings, None)),
            view: named(view),
            names,
        }
    }

    /// What does not follow that log, when it was looked at so many times.
    async fn lag(&self, loaded: &Loaded, looks: u128) -> Lag {
        let mut lag = Lag::default();
        for look in 0..looks {
            if look > 0 {
                sleep(LOOK_INTERVAL).await;
            }
            let event = last_event(&self.events.0).await.ok().flatten();
            let subjects = self.view.0.subjects().await;
            let is_there = subjects.is_ok();
            let subjects = subjects.unwrap_or_default();
            lag = Lag {
                events: loaded.unpublished().count_behind(event.unwrap_or_default()),
                records: unshown(loaded.state(), &self.names, &subjects),
            };
            // An instance that has just started makes the view in a moment.
            if is_there && lag == Lag::default() {
                break;
            }
        }
        lag
    }
}

impl Facts {
    /// The log's stream; a check that needs it is not made without.
    pub(super) fn log(&self) -> Result<&Stream, Problem> {
        let without = |error: &onex_log::Error| {
            Problem::not_checked(match error {
                _ if self.refusal.is_some() => NOT_LET,
                onex_log::Error::Missing { .. } => "the log's stream is not there",
                _ => "nobody answers for the log's stream",
            })
        };
        self.log.as_ref().map_err(without)
    }

    /// What the log says; a check that needs it is not made without.
    pub(super) fn loaded(&self) -> Result<&Loaded, Problem> {
        let loaded = self.opened.as_ref().ok().and_then(Opened::loaded);
        loaded.ok_or_else(|| Problem::not_checked("the log cannot be read"))
    }

    /// The state that the log says; a check that needs it is not made without.
    pub(super) fn state(&self) -> Result<&State, Problem> {
        self.loaded().map(Loaded::state)
    }

    /// The instances of this registry that answer; a check that needs one is not made without.
    pub(super) fn instances(&self) -> Result<Vec<&Answer>, Problem> {
        if self.is_alone {
            let why = "the server was started for this, so that no instance runs";
            return Err(Problem::not_checked(why));
        }
        let ours = self.answers.iter();
        let ours = ours.filter(|it| is_of(it, &self.namespace));
        let ours: Vec<&Answer> = ours.collect();
        if ours.is_empty() {
            return Err(Problem::not_checked("no instance answers"));
        }
        Ok(ours)
    }

    /// The hosts under which ports of this machine are granted; a check that needs one is not made without.
    pub(super) fn own_hosts(&self) -> Result<BTreeSet<Host>, Problem> {
        let state = self.state()?;
        let is_here = |space: Option<&String>| space.is_some() && space == self.port_space.as_ref();
        let recorded = own_host::records(state)
            .filter(|(_, _, record)| is_here(record.port_space.as_ref()))
            .map(|(host, ..)| host.clone());
        let mut hosts: BTreeSet<Host> = recorded.collect();
        hosts.extend(Some(self.own_host.clone()).filter(|host| state.knows_host(host)));
        if hosts.is_empty() {
            let why = "no port of this machine was ever granted, and no instance serves it";
            return Err(Problem::not_checked(why));
        }
        Ok(hosts)
    }
}
