//! A stream that is derived from the log and can be made again from it: one writer at a time appends to it, each message
//! at the position behind the last one.

use std::time::Duration;

use async_nats::{Client, HeaderMap, jetstream::stream};
use bytes::Bytes;
use onex_types::entry::Sequence;
use serde_json::{Map, Value};

use crate::{
    api::{Api, Names},
    batch::Batches,
    error::Error,
    settings,
    starting::{self, Room, Size},
};

/// Messages of others behind the last one of ours, at most, that are looked through for it.
const FOREIGN_MAX: u64 = 1_000;

/// What says how large the one derived stream may become that has a bound, that of events.
const EVENTS_FLAG: &str = "--events-bytes-max";
/// What says how long its messages are kept.
const EVENTS_AGE_FLAG: &str = "--events-age-max";
/// And with how many bytes it is created at least, where nobody chose them.
const BYTES_MIN: u64 = 16 << 20;

/// A message to be appended.
#[derive(Debug, Clone)]
pub struct DerivedMessage {
    /// The subject that it is stored under.
    pub subject: String,
    /// With what says which it is.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// Which stream, and how it is created where it is not there.
#[derive(Debug, Clone)]
pub struct DerivedOptions {
    /// Its name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// The subjects that it keeps.
    pub subject: String,
    /// Copies of it; none for as many as there are servers, at most 3.
    pub replicas: Option<usize>,
    /// How many bytes it keeps, the oldest going first; none for no bound.
    pub size: Option<Size>,
    /// How long a message is kept; zero for ever.
    pub age_max: Duration,
    /// Whether somebody chose that.
    pub age_chosen: bool,
    /// Whether it is a bucket: of each subject it keeps the last message only, and single messages may have a lifetime.
    pub is_bucket: bool,
}

impl DerivedOptions {
    fn config(&self, replicas: usize, bytes: Option<u64>) -> stream::Config {
        stream::Config {
            name: self.name.clone(),
            description: Some(self.description.clone()),
            subjects: vec![self.subject.clone()],
            max_messages: -1,
            max_messages_per_subject: if self.is_bucket { 1 } else { -1 },
            max_bytes: bytes.map_or(-1, |bytes| bytes.try_into().unwrap_or(i64::MAX)),
            max_age: self.age_max,
            discard: stream::DiscardPolicy::Old,
            storage: stream::StorageType::File,
            num_replicas: replicas,
            allow_direct: true,
            allow_atomic_publish: true,
            allow_batch_publish: true,
            allow_message_ttl: self.is_bucket,
            ..stream::Config::default()
        }
    }

    /// Says which settings were chosen that a stream does not take which is there: its settings are the operator's.
    fn tell_of_kept(&self, config: &Map<String, Value>) {
        let is = |setting: &str| config.get(setting).and_then(Value::as_u64);
        let told = |flag, asked: u64, is: Option<u64>| {
            tracing::warn!(
                stream = self.name,
                flag,
                asked,
                is,
                "this flag does nothing: the stream exists and keeps its setting, which `nats stream edit` changes"
            );
        };
        let size = self.size.filter(|size| size.chosen);
        if let Some(Size { bytes, .. }) = size.filter(|size| Some(size.bytes) != is("max_bytes")) {
            told(EVENTS_FLAG, bytes, is("max_bytes"));
        }
        let age = is("max_age").map(Duration::from_nanos);
        if self.age_chosen && age != Some(self.age_max) {
            told(
                EVENTS_AGE_FLAG,
                self.age_max.as_secs(),
                age.map(|age| age.as_secs()),
            );
        }
    }

    /// The settings of a stream that is there, with those that appending needs; none where it has them.
    fn corrected(&self, config: &Map<String, Value>) -> Option<Value> {
        let needed = [
            ("allow_atomic", true),
            ("allow_batched", true),
            ("allow_msg_ttl", self.is_bucket),
        ];
        let missing = |(setting, needed): &(&str, bool)| {
            *needed && config.get(*setting) != Some(&Value::Bool(true))
        };
        let mut corrected = config.clone();
        for (setting, _) in needed.into_iter().filter(missing) {
            corrected.insert(setting.to_owned(), Value::Bool(true));
        }
        (corrected != *config).then_some(Value::Object(corrected))
    }
}

/// The last message of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tail {
    /// Its position; 0 in a stream that never had a message.
    pub last: Sequence,
    /// What a header of it says, where it is there and has that.
    pub value: Option<String>,
}

/// A stream that is derived from the log.
#[derive(Debug, Clone)]
pub struct Derived {
    pub(crate) api: Api,
    pub(crate) batches: Batches,
}

impl Derived {
    /// The stream of that name, whether it is there or not.
    pub fn named(client: Client, options: &DerivedOptions) -> Self {
        Self::of(client, &options.name)
    }

    /// The same, for reading.
    pub fn of(client: Client, name: &str) -> Self {
        let names = Names {
            bucket: String::new(),
            stream: name.to_owned(),
            subject: String::new(),
        };
        Self {
            api: Api::new(client, names),
            batches: Batches::default(),
        }
    }

    /// The stream of that name, created if it is not there.
    pub async fn open(client: Client, options: &DerivedOptions) -> Result<Self, Error> {
        let this = Self::named(client, options);
        this.ensure(options).await?;
        Ok(this)
    }

    /// Creates it if it is not there, and lets one that is there take what is appended. The rest of its settings is the
    /// operator's.
    pub async fn ensure(&self, options: &DerivedOptions) -> Result<(), Error> {
        match starting::describe(&self.api).await {
            Err(Error::Missing { .. }) => {}
            described => {
                let is = described?.config;
                settings::check_derived(&options.name, &options.subject, &is)?;
                options.tell_of_kept(&is);
                let Some(config) = options.corrected(&is) else {
                    return Ok(());
                };
                let subject = format!("STREAM.UPDATE.{}", options.name);
                let updated = self.api.request::<Value>("STREAM.UPDATE", subject, &config);
                return updated.await.map(|_| ());
            }
        }
        let config = |copies, bytes| serde_json::to_value(options.config(copies, bytes));
        let wanted = |copies, bytes| config(copies, bytes).unwrap_or_default();
        let Some(size) = options.size else {
            let wanted = |copies| wanted(copies, None);
            let created = starting::create(&self.api, wanted, options.replicas).await?;
            if let Some(replicas) = created {
                tracing::info!(stream = options.name, replicas, "created stream");
            }
            return Ok(());
        };
        let room = Room {
            size,
            bytes_min: BYTES_MIN,
            flag: EVENTS_FLAG,
        };
        let wanted = |copies, bytes| wanted(copies, Some(bytes));
        let created = starting::create_in(&self.api, wanted, options.replicas, room);
        created.await.map(|_| ())
    }

    /// The last position.
    pub async fn last(&self) -> Result<Sequence, Error> {
        Ok(self.api.describe(None).await?.info.last)
    }

    /// The last position, and what the header of that name says in the last message where it says something `known`: among
    /// the last [`FOREIGN_MAX`], since others may write there too.
    pub async fn tail(&self, name: &str, known: impl Fn(&str) -> bool) -> Result<Tail, Error> {
        // A start asks, and a cluster may just be choosing who leads.
        let api = self.api.clone().insisting();
        let last = starting::describe(&api).await?.info.last;
        for back in 0..FOREIGN_MAX.min(last.0) {
            let value = starting::ready(|| api.header_of(Sequence(last.0 - back), name)).await?;
            if value.as_deref().is_some_and(&known) {
                return Ok(Tail { last, value });
            }
        }
        Ok(Tail { last, value: None })
    }

    /// The subjects that have a message.
    pub async fn subjects(&self) -> Result<Vec<String>, Error> {
        self.api.subjects().await
    }

    /// The last position, and the subjects of all messages behind `from`; none where there are more than [`FOREIGN_MAX`], or
    /// where `from` is not there any more.
    pub async fn behind(&self, from: Sequence) -> Result<(Sequence, Option<Vec<String>>), Error> {
        let last = self.last().await?;
        let count = last.0.checked_sub(from.0);
        let Some(count) = count.filter(|count| *count <= FOREIGN_MAX) else {
            return Ok((last, None));
        };
        let mut subjects = Vec::new();
        for n in 1..=count {
            // What is not there any more was followed by another message of its subject.
            subjects.extend(self.api.subject_of(Sequence(from.0 + n)).await?);
        }
        Ok((last, Some(subjects)))
    }
}
