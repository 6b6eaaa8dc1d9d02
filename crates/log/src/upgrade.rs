//! From a bucket of the first storage format, with a key for each record, to a log: it is set aside, read, and replaced.
//!
//! The bucket and the log have the same name, so the bucket is copied first. Where an upgrade breaks off, at whatever point,
//! no registry starts, and the next attempt goes on:
//!
//! | bucket | copy | log | next |
//! |---|---|---|---|
//! | there | none, or not sealed | | copy it anew |
//! | gone | not sealed | none, or marked | make the log anew from the copy |
//! | gone | not sealed | not marked | seal the copy |
//! | gone | sealed | not marked | nothing: it is done |

use std::time::{Duration, Instant};

use onex_nats::connect;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    api::{Api, Described},
    error::Error,
    format_one::{copy_of, is_marked, is_one, is_sealed, unmark},
    header,
    link::Servers,
    log::Log,
    open::{self, Options},
    starting,
    store::Store,
};

/// How long the copy may stand still.
const COPY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is looked at.
const COPY_POLL: Duration = Duration::from_millis(50);
/// On the marker of a key that a registry removed.
const FORGOTTEN: &str = "Onex-Forgotten";
/// On every marker, one of these.
const MARKERS: [&str; 2] = ["KV-Operation", "Nats-Marker-Reason"];

/// A bucket that is to become a log.
#[derive(Debug)]
pub struct FormatOne {
    api: Api,
    copy: Api,
}

/// The last message of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMessage {
    /// The key.
    pub key: String,
    /// Its position.
    pub sequence: u64,
    /// What it says; absent where it removes the key.
    pub body: Option<Vec<u8>>,
    /// Whether a registry removed the key.
    pub forgotten: bool,
}

/// All that was in the bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bucket {
    /// The last message of each key.
    pub messages: Vec<KeyMessage>,
    /// The last position that the bucket had.
    pub last: u64,
}

/// What there is to do.
#[derive(Debug)]
pub enum Upgrade {
    /// Nothing: there is a log.
    None,
    /// A bucket to make a log of.
    From(FormatOne),
}

#[derive(Deserialize)]
struct Mirror {
    lag: u64,
    active: i64,
}

impl FormatOne {
    /// What there is to do for a bucket of that name.
    pub async fn find(nats: connect::Options, bucket: &str) -> Result<Upgrade, Error> {
        let api = open::connected(&mut Servers::new(nats), bucket).await?;
        let copy = copy_of(&api);
        let sealed = is_sealed(&copy).await?;
        let found = match starting::describe(&api).await {
            Err(missing @ Error::Missing { .. }) if sealed != Some(false) => return Err(missing),
            Err(Error::Missing { .. }) => return Ok(Upgrade::From(Self { api, copy })),
            found => found?,
        };
        let this = Self { api, copy };
        if is_one(&this.api, &found).await? {
            if sealed == Some(true) {
                return Err(Error::CopyExists {
                    stream: this.copy.names.stream,
                    bucket: bucket.to_owned(),
                });
            }
            return Ok(Upgrade::From(this));
        }
        if is_marked(&found.config) {
            return Ok(Upgrade::From(this));
        }
        if sealed == Some(false) {
            this.seal().await?;
        }
        Ok(Upgrade::None)
    }

    /// The stream that keeps what was in the bucket.
    pub fn kept_as(&self) -> &str {
        &self.copy.names.stream
    }

    /// Copies the bucket, and removes it then; removes a log that an earlier attempt has begun.
    pub async fn set_aside(&self) -> Result<(), Error> {
        let found = match starting::describe(&self.api).await {
            Err(Error::Missing { .. }) => return Ok(()),
            found => found?,
        };
        if !is_one(&self.api, &found).await? {
            return self.api.remove().await;
        }
        if is_sealed(&self.copy).await?.is_some() {
            self.copy.remove().await?;
        }
        self.mirror(&found).await?;
        let now = self.api.identify(found.info.created).await?;
        if now.info.last != found.info.last {
            return Err(Error::WrittenMeanwhile {
                bucket: self.api.names.bucket.clone(),
            });
        }
        self.api.remove().await
    }

    async fn mirror(&self, of: &Described) -> Result<(), Error> {
        let stream = &self.copy.names.stream;
        let mut config = json!({
            "name": stream,
            "description": "onex-registry: what the bucket had before it became a log. Not read any more when it is sealed.",
            "storage": "file",
            "retention": "limits",
            "discard": "new",
            "num_replicas": of.config.get("num_replicas").unwrap_or(&json!(1)),
            "mirror": { "name": self.api.names.stream },
        });
        let subject = format!("STREAM.CREATE.{stream}");
        let made = self
            .copy
            .request::<Value>("STREAM.CREATE", subject, &config);
        made.await?;
        let mut messages = 0;
        let mut since = Instant::now();
        loop {
            let subject = format!("STREAM.INFO.{stream}");
            let info: Value = self
                .copy
                .request("STREAM.INFO", subject, &json!({}))
                .await?;
            let mirror = info.get("mirror").cloned().unwrap_or_default();
            let mirror: Option<Mirror> = serde_json::from_value(mirror).ok();
            let has = info.pointer("/state/messages").and_then(Value::as_u64);
            let has = has.unwrap_or_default();
            let follows = mirror.is_some_and(|mirror| mirror.lag == 0 && mirror.active >= 0);
            if follows && has == of.info.messages {
                break;
            }
            if has != messages {
                (messages, since) = (has, Instant::now());
            }
            if since.elapsed() > COPY_TIMEOUT {
                return Err(Error::NotCopied {
                    stream: stream.clone(),
                    copied: has,
                    messages: of.info.messages,
                });
            }
            sleep(COPY_POLL).await;
        }
        // From now on it is a stream of its own, which does not go on with whatever has that name.
        if let Value::Object(config) = &mut config {
            config.remove("mirror");
            config.insert("subjects".to_owned(), json!([stream]));
        }
        self.update(&self.copy, &config).await
    }

    /// The log, made anew. No registry starts on it before [`FormatOne::finish`].
    pub async fn open_log(&self, options: Options) -> Result<(Log, Store), Error> {
        open::open_marked(options).await
    }

    /// All that was in the bucket.
    pub async fn read(&self) -> Result<Bucket, Error> {
        let prefix = format!("$KV.{}.", self.api.names.bucket);
        let mut bucket = Bucket {
            last: self.copy.describe(None).await?.info.last.0,
            ..Bucket::default()
        };
        let mut from = 1;
        while let Some(message) = self.copy.next_from(from).await? {
            from = message.sequence + 1;
            let headers = header::read(&message.headers).unwrap_or_default();
            let marker = MARKERS.iter().any(|name| headers.get(*name).is_some());
            let Some(key) = message.subject.strip_prefix(&prefix) else {
                continue;
            };
            bucket.messages.push(KeyMessage {
                key: key.to_owned(),
                sequence: message.sequence,
                body: (!marker).then_some(message.body),
                forgotten: marker && headers.get(FORGOTTEN).is_some(),
            });
        }
        Ok(bucket)
    }

    /// The log is complete: registries start on it from now on.
    pub async fn finish(&self) -> Result<(), Error> {
        let mut config = self.api.describe(None).await?.config;
        unmark(&mut config);
        self.update(&self.api, &Value::Object(config)).await?;
        self.seal().await
    }

    async fn seal(&self) -> Result<(), Error> {
        let mut config = self.copy.describe(None).await?.config;
        config.insert("sealed".to_owned(), json!(true));
        self.update(&self.copy, &Value::Object(config)).await
    }

    async fn update(&self, api: &Api, config: &Value) -> Result<(), Error> {
        let subject = format!("STREAM.UPDATE.{}", api.names.stream);
        let updated = api.request::<Value>("STREAM.UPDATE", subject, config);
        updated.await.map(|_| ())
    }
}
