//! Looks at the store of a registry, and lets one that was restored or made anew be gone on from. No registry has to run.

mod check;
mod derived;
mod error;
mod facts;
mod instances;
mod log;
mod machine;
mod nats_server;
mod operator;
mod pools;
mod problem;
mod trial;
mod upgrade;

use std::path::Path;

use jiff::Timestamp;
use onex_core::command::Action;
use onex_log::{Derived, Log, Saved, Store};
use serde::Serialize;
use uuid::Uuid;

use crate::{connect, protocol::names::SERVICE};

use super::{
    background::{events_options, last_event},
    driver::LoadError,
    high_water::{HighWaterSources, Note, store_id},
    peers,
    settings::Settings,
};
use facts::Opened;
use operator::Operator;
use upgrade::upgrade;

pub use check::{Check, check_names};
pub use error::{DoctorError, Unreached};
pub use problem::Status;
pub use upgrade::{LeftRecord, Upgraded};

/// Who looks at a store.
pub struct Doctor {
    settings: Settings,
    nats: connect::Options,
    is_alone: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The NATS server, without secrets.
    pub nats: String,
    /// The bucket.
    pub bucket: String,
    /// Its stream; absent where that is not there, or nobody answers for it.
    #[serde(flatten)]
    pub stream: Option<StreamReport>,
    /// Which store it is; absent in one that was not used yet, and where it cannot be read.
    pub store_id: Option<Uuid>,
    /// The revision of its last command; absent where it cannot be read.
    pub revision: Option<u64>,
    /// The revision of the last event.
    pub event_revision: Option<u64>,
    /// What instances on this machine noted of it.
    pub noted: Option<Note>,
    /// Why no registry starts on it; absent where one does.
    pub refused: Option<String>,
    /// What was checked.
    pub checks: Vec<Check>,
    /// Why it could not be opened or read, where it is not only older than what is known of it.
    #[serde(skip)]
    pub error: Option<DoctorError>,
}

/// The log's stream.
#[derive(Debug, Serialize)]
pub struct StreamReport {
    /// When it was created.
    pub created_at: Timestamp,
    /// Its last position.
    pub sequence: u64,
    /// How many entries it has.
    pub messages: u64,
    /// How many bytes it takes.
    pub bytes: u64,
    /// How many it may take.
    pub bytes_max: u64,
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

impl Doctor {
    /// Of the store that a registry with these settings would use. `is_alone` says that the server was started for this: no
    /// instance can use it.
    pub fn new(settings: Settings, nats: connect::Options, is_alone: bool) -> Self {
        Self {
            settings,
            nats,
            is_alone,
        }
    }

    /// Looks, and changes nothing. What is wrong is in the report; it is an error where a server is not reached.
    pub async fn examine(&self) -> Result<Report, DoctorError> {
        let gathered = facts::gather(&self.settings, &self.nats, self.is_alone);
        let facts = Box::pin(gathered).await?;
        let checks = check::judge(&facts);
        let stream = facts.log.as_ref().ok().map(|log| StreamReport {
            created_at: log.info.created,
            sequence: log.info.last.0,
            messages: log.info.messages,
            bytes: log.info.bytes,
            bytes_max: log.info.bytes_max,
        });
        let (store_id, revision, refused, error) = match facts.opened {
            Ok(Opened {
                loaded: Ok(loaded), ..
            }) => {
                let id = store_id(loaded.state());
                let checked = loaded.check(facts.noted.revision(id));
                let refused = checked.err().map(|why| why.to_string());
                (id, Some(loaded.state().revision()), refused, None)
            }
            // Nothing is known of it but that it is empty.
            Ok(Opened {
                loaded: Err(LoadError::Start(why) | LoadError::Proved(why)),
                ..
            }) => (None, None, Some(why.to_string()), None),
            Ok(Opened {
                loaded: Err(error), ..
            }) => (None, None, None, Some(error.into())),
            Err(error) => (None, None, None, Some(error.into())),
        };
        Ok(Report {
            nats: self.nats.shown(),
            bucket: facts.bucket,
            stream,
            store_id,
            revision,
            event_revision: facts.noted.event(),
            noted: facts.noted.noted.of(store_id).cloned(),
            refused,
            checks,
            error,
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
        let (log, store) = self.open_for_good().await?;
        let operator = Operator::start(log, store).await?;
        let known = sources.read().revision(operator.store_id());
        let known = known.unwrap_or_default().max(operator.revision());
        let accept = Action::AcceptRestore {
            known,
            holders_restarted,
        };
        let revision = operator.decide(vec![accept]).await?;
        let quiet_ms = operator.quiet_ms();
        operator.end().await;
        Ok(Accepted {
            known,
            revision,
            quiet_ms,
        })
    }

    /// Makes a log of a bucket of the first format; none where there is a log.
    pub async fn upgrade(&self) -> Result<Option<Upgraded>, DoctorError> {
        let log = self.settings.log(&self.nats);
        let bucket = match onex_log::FormatOne::find(log.nats.clone(), &log.bucket).await? {
            onex_log::Upgrade::None => return Ok(None),
            onex_log::Upgrade::From(bucket) => bucket,
        };
        let sources = self.high_water_sources().await?;
        if let Some(host) = self.running().await? {
            return Err(DoctorError::Running(host));
        }
        bucket.set_aside().await?;
        let known = sources.read().revision(None).unwrap_or_default();
        upgrade(&bucket, log, known).await.map(Some)
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
