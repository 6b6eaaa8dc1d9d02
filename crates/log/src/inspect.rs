//! Looks at a server and at streams as they are: nothing is waited for, refused or changed.

use std::sync::{Arc, OnceLock};

use async_nats::{Client, Event};
use jiff::Timestamp;
use onex_nats::{
    connect,
    server_version::{SERVER_VERSION_MIN, Version},
    serving::MESSAGE_BYTES_MIN,
};
use serde_json::Value;

use crate::{
    account::Account,
    api::{Api, Described, Info, Names, Peer},
    derived::{Derived, DerivedOptions},
    error::{Difference, Error},
    format_one,
    link::Servers,
    settings,
};

/// A connection to the server that keeps a log, to look around.
#[derive(Debug)]
pub struct Inspector {
    api: Api,
}

/// A server, as it greets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its address.
    pub address: String,
    /// Its version, as it says.
    pub version: String,
    /// How many bytes a message may have.
    pub payload_max: usize,
}

/// A stream, as its leader describes it.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Its state.
    pub info: Info,
    /// How many copies it is to have.
    pub replicas: usize,
    /// The copies besides that of the leader.
    pub peers: Vec<Peer>,
    /// Whether the server is one of a cluster.
    pub is_clustered: bool,
    /// Settings that must be otherwise.
    pub differences: Vec<Difference>,
    /// When its last message was stored; absent where there is none.
    pub last_at: Option<Timestamp>,
    /// The server's clock when it said this.
    pub told_at: Option<Timestamp>,
}

impl Server {
    /// What the server of that connection said when it greeted.
    pub fn of(client: &Client) -> Self {
        let info = client.server_info();
        Self {
            address: format!("{}:{}", info.host, info.port),
            version: info.version,
            payload_max: client.max_payload(),
        }
    }

    /// Refuses one that is too old, or that takes short messages only.
    pub fn check(&self) -> Result<(), Error> {
        self.check_version()?;
        self.check_payload()
    }

    /// Refuses one that is too old.
    pub fn check_version(&self) -> Result<(), Error> {
        let new_enough = |version: Version| version >= SERVER_VERSION_MIN;
        if self.version.parse().is_ok_and(new_enough) {
            return Ok(());
        }
        Err(Error::ServerTooOld {
            server: self.address.clone(),
            version: self.version.clone(),
        })
    }

    /// Refuses one that takes short messages only.
    pub fn check_payload(&self) -> Result<(), Error> {
        if self.payload_max > MESSAGE_BYTES_MIN {
            return Ok(());
        }
        Err(Error::MessagesTooShort {
            server: self.address.clone(),
            bytes: self.payload_max,
        })
    }
}

impl Inspector {
    /// Connects to the first server that takes us.
    pub async fn connect(nats: connect::Options, bucket: &str) -> Result<Self, Error> {
        let client = Servers::new(nats).connect_any().await?;
        let api = Api::new(client, Names::of(bucket));
        Ok(Self { api })
    }

    /// What the server said when it greeted.
    pub fn server(&self) -> Server {
        Server::of(&self.api.client)
    }

    /// The connection.
    pub fn client(&self) -> &Client {
        &self.api.client
    }

    /// What the server says that does not let this user ask for JetStream; none where it lets it, or does not say so.
    pub async fn refusal(&self, nats: &connect::Options) -> Option<String> {
        let said = Arc::new(OnceLock::new());
        let keep = Arc::clone(&said);
        let on_event = move |event| {
            if let Event::ServerError(error) = event {
                let _ = keep.set(error.to_string());
            }
        };
        let client = nats.connect("onex-registry refusal", on_event).await.ok()?;
        let _ = Api::new(client, self.api.names.clone()).account().await;
        said.get().cloned()
    }

    /// What JetStream lets our account have.
    pub async fn account(&self) -> Result<Account, Error> {
        self.api.account().await
    }

    /// The log's stream. A bucket of the first format, and a log that an upgrade has not completed, are errors.
    pub async fn log(&self) -> Result<Stream, Error> {
        let described = match self.api.describe(None).await {
            Err(missing @ Error::Missing { .. }) => {
                format_one::refuse_copy(&self.api).await?;
                return Err(missing);
            }
            described => described?,
        };
        format_one::refuse(&self.api, &described).await?;
        let checked = settings::check(&self.api.names, &described.config);
        Ok(stream(&self.api, described, checked))
    }
}

impl Derived {
    /// The stream as it is.
    pub async fn inspect(&self, options: &DerivedOptions) -> Result<Stream, Error> {
        let described = self.api.describe(None).await?;
        let checked = settings::check_derived(&options.name, &options.subject, &described.config);
        Ok(stream(&self.api, described, checked))
    }
}

fn stream(api: &Api, described: Described, checked: Result<(), Error>) -> Stream {
    let differences = match checked {
        Err(Error::Settings { differences, .. }) => differences,
        _ => Vec::new(),
    };
    let replicas = described.config.get("num_replicas").and_then(Value::as_u64);
    Stream {
        name: api.names.stream.clone(),
        replicas: replicas.and_then(|it| it.try_into().ok()).unwrap_or(1),
        info: described.info,
        peers: described.peers,
        is_clustered: described.is_clustered,
        differences,
        last_at: described.last_at,
        told_at: described.told_at,
    }
}

/// Subjects on which whoever keeps a log in that bucket publishes.
pub fn published(bucket: &str) -> Vec<String> {
    let Names {
        stream, subject, ..
    } = Names::of(bucket);
    let mut subjects = published_of(&stream);
    subjects.extend([
        format!("$JS.API.STREAM.MSG.GET.{stream}"),
        format!("$JS.API.STREAM.PURGE.{stream}"),
        format!("$JS.API.CONSUMER.CREATE.{stream}.x"),
        format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.x"),
        subject,
    ]);
    subjects
}

/// Subjects of the API on which whoever writes to a stream publishes.
pub fn published_of(stream: &str) -> Vec<String> {
    let requests = ["INFO", "CREATE", "UPDATE"];
    let requests = requests.map(|request| format!("$JS.API.STREAM.{request}.{stream}"));
    [vec!["$JS.API.INFO".to_owned()], requests.into()].concat()
}
