//! The log as files, and from files: what `nats stream backup` writes and `nats stream restore` reads, so that either can
//! take what the other one has made.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use async_nats::{Client, Message, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use onex_nats::connect;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::{
    fs::{self, File},
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    api::{Api, Names, code},
    error::Error,
};

/// The stream's settings and state, as the server says them.
const SETTINGS_FILE: &str = "backup.json";
/// Its messages, packed by the server.
const MESSAGES_FILE: &str = "stream.tar.s2";
/// Bytes of one message between the server and us: NATS allows 1 MiB unless told otherwise.
const CHUNK_BYTES: usize = 128 << 10;
/// How long the server may take for the next part.
const PART_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a log could not be saved or put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store says no, or nothing.
    #[error(transparent)]
    Store(#[from] Error),
    /// A file or folder cannot be used.
    #[error("{what} {path}")]
    File {
        /// What could not be done with it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder has something in it already.
    #[error("{0} is not empty: a backup is written to a folder of its own")]
    NotEmpty(PathBuf),
    /// The folder holds something else.
    #[error("{path} is no backup of stream {stream}: {why}")]
    NotABackup {
        /// What was read.
        path: PathBuf,
        /// The stream that was to be put back.
        stream: String,
        /// What is wrong.
        why: String,
    },
    /// There is a log already.
    #[error(
        "stream {0} exists: a restore puts it back where it is gone. Use another server, or save this one with `onex backup` and \
         put it aside before you restore an older one"
    )]
    Exists(String),
    /// The server broke off.
    #[error("the server broke off: {0}")]
    Broken(String),
}

/// What was saved or put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Saved {
    /// How many entries the log has.
    pub messages: u64,
    /// Its last position.
    pub sequence: u64,
    /// How many bytes the files take.
    pub bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    config: Map<String, Value>,
    state: Map<String, Value>,
}

impl Snapshot {
    fn saved(&self, bytes: u64) -> Saved {
        let number = |name| self.state.get(name).and_then(Value::as_u64);
        Saved {
            messages: number("messages").unwrap_or_default(),
            sequence: number("last_seq").unwrap_or_default(),
            bytes,
        }
    }
}

#[derive(Deserialize)]
struct Accepted {
    deliver_subject: String,
}

/// Saves the log of a bucket into a folder, which is made, or empty. Registries may go on: what they write meanwhile is not
/// in it.
pub async fn backup(
    nats: &connect::Options,
    bucket: &str,
    folder: &Path,
) -> Result<Saved, BackupError> {
    make_folder(folder).await?;
    let api = api(nats, bucket).await?;
    let inbox = api.client.new_inbox();
    let parts = api.client.subscribe(inbox.clone()).await;
    let mut parts = parts.map_err(|error| BackupError::Broken(error.to_string()))?;
    let subject = format!("STREAM.SNAPSHOT.{}", api.names.stream);
    let body = json!({ "deliver_subject": inbox, "no_consumers": true, "chunk_size": CHUNK_BYTES });
    let begun = api.request::<Snapshot>("STREAM.SNAPSHOT", subject, &body);
    let snapshot = begun.await.map_err(|error| missing(error, &api.names))?;
    let path = folder.join(MESSAGES_FILE);
    let written = |source| BackupError::File {
        what: "cannot write",
        path: path.clone(),
        source,
    };
    let mut file = File::create(&path).await.map_err(written)?;
    let mut bytes = 0;
    while let Some(part) = next(&mut parts).await? {
        file.write_all(&part.payload).await.map_err(written)?;
        bytes += part.payload.len() as u64;
        if let Some(reply) = part.reply {
            let taken = api.client.publish(reply, Bytes::new()).await;
            taken.map_err(|error| BackupError::Broken(error.to_string()))?;
        }
    }
    file.sync_all().await.map_err(written)?;
    // Last: a folder without it is no backup.
    let path = folder.join(SETTINGS_FILE);
    let text = serde_json::to_vec_pretty(&snapshot).unwrap_or_default();
    bytes += text.len() as u64;
    let done = fs::write(&path, text).await;
    done.map_err(|source| BackupError::File {
        what: "cannot write",
        path,
        source,
    })?;
    Ok(snapshot.saved(bytes))
}

/// The next part of what the server sends; none behind the last one.
async fn next(parts: &mut async_nats::Subscriber) -> Result<Option<Message>, BackupError> {
    let part = timeout(PART_TIMEOUT, parts.next()).await;
    let part = part.ok().flatten();
    let part = part.ok_or_else(|| BackupError::Broken("nothing more came".to_owned()))?;
    if !part.payload.is_empty() {
        return Ok(Some(part));
    }
    match part.status {
        None | Some(StatusCode::OK) => Ok(None),
        Some(status) if status.as_u16() == 204 => Ok(None),
        Some(status) => {
            let why = part.description.as_deref().unwrap_or("no reason given");
            Err(BackupError::Broken(format!("{status} {why}")))
        }
    }
}

/// Puts the log of a bucket back from a folder, with so many copies of it, or as many as it had. Whoever starts a registry on it
/// then must know that it is older than what was granted since.
pub async fn restore(
    nats: &connect::Options,
    bucket: &str,
    folder: &Path,
    replicas: Option<usize>,
) -> Result<Saved, BackupError> {
    let api = api(nats, bucket).await?;
    let mut snapshot = read_settings(folder, &api.names).await?;
    if let Some(replicas) = replicas {
        snapshot
            .config
            .insert("num_replicas".to_owned(), json!(replicas));
    }
    match api.describe(None).await {
        Err(Error::Missing { .. }) => {}
        Ok(_) => return Err(BackupError::Exists(api.names.stream)),
        Err(error) => return Err(error.into()),
    }
    let path = folder.join(MESSAGES_FILE);
    let unread = |source| BackupError::File {
        what: "cannot read",
        path: path.clone(),
        source,
    };
    let mut file = File::open(&path).await.map_err(unread)?;
    let subject = format!("STREAM.RESTORE.{}", api.names.stream);
    let body = serde_json::to_value(&snapshot).unwrap_or_default();
    let accepted: Accepted = api.request("STREAM.RESTORE", subject, &body).await?;
    let mut part = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut part).await.map_err(unread)?;
        bytes += read as u64;
        let payload = Bytes::copy_from_slice(part.get(..read).unwrap_or_default());
        send(&api.client, &accepted.deliver_subject, payload).await?;
        if read == 0 {
            return Ok(snapshot.saved(bytes));
        }
    }
}

/// Sends a part, and waits until the server has taken it; it has put everything back when it takes the last one, which is empty.
async fn send(client: &Client, subject: &str, part: Bytes) -> Result<(), BackupError> {
    let sent = client.request(subject.to_owned(), part);
    let answer = timeout(PART_TIMEOUT, sent).await;
    let answer = answer.map_err(|_| BackupError::Broken("it does not answer".to_owned()))?;
    let answer = answer.map_err(|error| BackupError::Broken(error.to_string()))?;
    let said: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
    match said.pointer("/error/description").and_then(Value::as_str) {
        Some(why) => Err(BackupError::Broken(why.to_owned())),
        None => Ok(()),
    }
}

async fn read_settings(folder: &Path, names: &Names) -> Result<Snapshot, BackupError> {
    let path = folder.join(SETTINGS_FILE);
    let text = fs::read(&path).await.map_err(|source| BackupError::File {
        what: "cannot read",
        path: path.clone(),
        source,
    })?;
    let no_backup = |why: String| BackupError::NotABackup {
        path: path.clone(),
        stream: names.stream.clone(),
        why,
    };
    let snapshot: Snapshot =
        serde_json::from_slice(&text).map_err(|error| no_backup(error.to_string()))?;
    match snapshot.config.get("name").and_then(Value::as_str) {
        Some(name) if name == names.stream => Ok(snapshot),
        Some(name) => Err(no_backup(format!("it is one of stream {name}"))),
        None => Err(no_backup("it names no stream".to_owned())),
    }
}

async fn make_folder(folder: &Path) -> Result<(), BackupError> {
    let made = |source| BackupError::File {
        what: "cannot make",
        path: folder.to_owned(),
        source,
    };
    fs::create_dir_all(folder).await.map_err(made)?;
    let mut found = fs::read_dir(folder).await.map_err(made)?;
    match found.next_entry().await.map_err(made)? {
        None => Ok(()),
        Some(_) => Err(BackupError::NotEmpty(folder.to_owned())),
    }
}

async fn api(nats: &connect::Options, bucket: &str) -> Result<Api, Error> {
    let client = nats.connect("onex backup", |_| {}).await?;
    Ok(Api::new(client, Names::of(bucket)))
}

fn missing(error: Error, names: &Names) -> Error {
    match error {
        Error::Refused {
            code: code::STREAM_NOT_FOUND,
            ..
        } => Error::Missing {
            stream: names.stream.clone(),
        },
        error => error,
    }
}
