//! Looks at the store of a registry, and lets one that was restored or made anew be gone on from. No registry has to run.

use std::{path::Path, time::Duration};

use jiff::Timestamp;
use onex_core::{
    command::{Action, Command, Outcome},
    decide::Local,
    engine::Limits,
    record::InstanceId,
    state::State,
};
use onex_log::{BackupError, Derived, Log, Saved, Store};
use onex_types::{ids::CommandId, time::Moment};
use serde::Serialize;
use tokio::{sync::oneshot, time::timeout};
use uuid::Uuid;

use crate::{connect, protocol::names::SERVICE};

use super::{
    background::{events_options, last_event},
    clock::Clock,
    driver::{self, Driver, LoadError, Submitted},
    high_water::{HighWaterSources, Note, store_id},
    peers,
    settings::Settings,
};

/// How long the store may take to take an entry.
const DECIDE_TIMEOUT: Duration = Duration::from_secs(30);

/// Who looks at a store.
pub struct Doctor {
    settings: Settings,
    nats: connect::Options,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The bucket.
    pub bucket: String,
    /// When its stream was created.
    pub created_at: Timestamp,
    /// Which store it is; absent in one that was not used yet.
    pub store_id: Option<Uuid>,
    /// The revision of its last command; absent where it cannot be read.
    pub revision: Option<u64>,
    /// Its last position.
    pub sequence: u64,
    /// How many entries it has.
    pub messages: u64,
    /// How many bytes it takes.
    pub bytes: u64,
    /// How many it may take.
    pub bytes_max: u64,
    /// The revision of the last event.
    pub event_revision: Option<u64>,
    /// What instances on this machine noted of it.
    pub noted: Option<Note>,
    /// Why no registry starts on it; absent where one does.
    pub refused: Option<String>,
}

/// What came of accepting a store.
#[derive(Debug, Serialize)]
pub struct Accepted {
    /// The highest revision that was known.
    pub known: u64,
    /// The revision from which it goes on.
    pub revision: u64,
    /// For how long nothing is granted, in milliseconds.
    pub quiet_ms: u64,
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// No connection.
    #[error("no connection to NATS")]
    Connect(#[from] connect::Error),
    /// No store.
    #[error("the store cannot be used")]
    Store(#[from] onex_log::Error),
    /// It could not be saved or put back.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// It cannot be gone on from what is there.
    #[error("{0}")]
    Load(String),
    /// An instance runs: what is decided for it must not be undone under it.
    #[error(
        "an instance of this registry runs, on host {0}: stop every instance before a store is accepted as restored"
    )]
    Running(String),
    /// The store took no entry.
    #[error("the store did not take the entry that accepts it: {0}")]
    Undecided(String),
}

impl From<LoadError> for DoctorError {
    fn from(error: LoadError) -> Self {
        Self::Load(onex_types::chain(&error))
    }
}

impl Doctor {
    /// Of the store that a registry with these settings would use.
    pub fn new(settings: Settings, nats: connect::Options) -> Self {
        Self { settings, nats }
    }

    /// Looks, and changes nothing.
    pub async fn examine(&self) -> Result<Report, DoctorError> {
        let sources = self.high_water_sources().await?;
        let high_water = sources.read();
        let bucket = self.settings.namespace.bucket();
        let (mut log, store) =
            onex_log::open_existing(self.settings.log(&self.nats).nats, &bucket).await?;
        let info = store.check().await?;
        let nothing = HighWaterSources::default();
        let loaded = driver::load(&mut log, &store, None, &nothing, Clock::start()).await;
        let (store_id, revision, refused) = match loaded {
            Ok(loaded) => {
                let id = store_id(loaded.state());
                let revision = loaded.state().revision();
                let checked = loaded.checked(high_water.revision(id));
                (id, Some(revision), checked.err().map(|why| why.to_string()))
            }
            // Nothing is known of it but that it is empty.
            Err(LoadError::Start(why) | LoadError::Proved(why)) => {
                (None, None, Some(why.to_string()))
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Report {
            bucket,
            created_at: info.created,
            store_id,
            revision,
            sequence: info.last.0,
            messages: info.messages,
            bytes: info.bytes,
            bytes_max: info.bytes_max,
            event_revision: sources.event,
            noted: high_water.noted.of(store_id).cloned(),
            refused,
        })
    }

    /// Saves the log into a folder. Registries may go on meanwhile.
    pub async fn backup(&self, folder: &Path) -> Result<Saved, DoctorError> {
        let log = self.settings.log(&self.nats);
        Ok(onex_log::backup(&log.nats, &log.bucket, folder).await?)
    }

    /// Puts the log back from a folder, where there is none any more.
    pub async fn restore(&self, folder: &Path) -> Result<Saved, DoctorError> {
        let log = self.settings.log(&self.nats);
        Ok(onex_log::restore(&log.nats, &log.bucket, folder, log.replicas).await?)
    }

    /// Lets a registry go on from what is there.
    pub async fn accept_restore(&self, holders_restarted: bool) -> Result<Accepted, DoctorError> {
        let sources = self.high_water_sources().await?;
        if let Some(host) = self.running().await? {
            return Err(DoctorError::Running(host));
        }
        let (mut log, store) = self.open_for_good().await?;
        let nothing = HighWaterSources::default();
        let clock = Clock::start();
        let loaded = driver::load(&mut log, &store, None, &nothing, clock).await?;
        let options = driver::Options {
            local: Local {
                instance: InstanceId(Uuid::new_v4().as_u64_pair().1),
                probes: None,
            },
            limits: Limits::default(),
            // It is not known with which ones the registry will be started.
            settings: None,
            given: Vec::new(),
            high_water: nothing,
            clock,
            applied: Vec::new(),
        };
        let answer = |outcomes: Vec<(oneshot::Sender<Outcome>, Outcome)>| {
            for (waiter, outcome) in outcomes {
                let _ = waiter.send(outcome);
            }
        };
        let driver = Driver::start(log, store, loaded, options, answer);
        let reads = &driver.handle.reads;
        let store_id = reads.with(clock.now().mono, store_id).flatten();
        let known = sources.read().revision(store_id).unwrap_or_default();
        let known = known.max(reads.revision());
        let (waiter, outcome) = oneshot::channel();
        let command = Command {
            id: CommandId(Uuid::now_v7()),
            correlation_id: None,
            action: Action::AcceptRestore {
                known,
                holders_restarted,
            },
        };
        let submitted = Submitted {
            waiter: Some(waiter),
            command,
            deadline: Moment::NEVER,
        };
        let _ = driver.handle.submit(vec![submitted]).await;
        let decided = timeout(DECIDE_TIMEOUT, outcome).await;
        let now = clock.now().mono;
        let quiet_ms = reads.with(now, State::quiet_until).flatten();
        driver.stop();
        let ended = driver.ended().await;
        let undecided = |why: &str| {
            let ended = ended.as_ref().map(|ended| onex_types::chain(&**ended));
            DoctorError::Undecided(ended.unwrap_or_else(|| why.to_owned()))
        };
        let outcome = decided.map_err(|_| undecided("no answer in time"))?;
        let outcome = outcome.map_err(|_| undecided("no answer"))?;
        if let Err(refusal) = outcome.result {
            return Err(DoctorError::Undecided(refusal.to_string()));
        }
        Ok(Accepted {
            known,
            revision: outcome.revision,
            quiet_ms: quiet_ms.map_or(0, |until| until.since(now)),
        })
    }

    /// The host of an instance of the registry that runs.
    async fn running(&self) -> Result<Option<String>, DoctorError> {
        let client = self
            .nats
            .connect(&format!("{SERVICE} doctor"), |_| {})
            .await?;
        Ok(peers::running(&client, &self.settings.namespace).await)
    }

    /// The store, made where it is not there. One that had messages and has none any more is begun anew.
    async fn open_for_good(&self) -> Result<(Log, Store), onex_log::Error> {
        let options = self.settings.log(&self.nats);
        let (log, store) =
            match onex_log::open_existing(options.nats.clone(), &options.bucket).await {
                Err(onex_log::Error::Missing { .. }) => return onex_log::open(options).await,
                opened => opened?,
            };
        let info = store.check().await?;
        if info.messages > 0 || info.last.0 == 0 {
            return Ok((log, store));
        }
        store.remove_empty().await?;
        onex_log::open(options).await
    }

    async fn high_water_sources(&self) -> Result<HighWaterSources, DoctorError> {
        let name = format!("{SERVICE} doctor");
        let client = self.nats.connect(&name, |_| {}).await?;
        let events = Derived::named(client, &events_options(&self.settings, None));
        let event = match last_event(&events).await {
            Err(onex_log::Error::Missing { .. }) => None,
            event => event?,
        };
        Ok(HighWaterSources {
            event,
            notes: self.settings.notes.clone(),
        })
    }
}
