//! Streams that are looked up and created, also on a cluster of servers that is just starting.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use crate::{
    api::{Api, Described, code},
    error::Error,
};

/// Copies of a new stream, at most, where nobody says how many: one server of three may be lost.
const REPLICAS_DEFAULT_MAX: usize = 3;
/// How long a cluster may take to have a leader and to answer.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a cluster may take until it has as many servers as copies are wanted.
const SERVERS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long until it is asked again.
const ASK_INTERVAL: Duration = Duration::from_millis(250);

/// What comes of asking, once a cluster that is just starting can answer.
pub(crate) async fn ready<T, F: Future<Output = Result<T, Error>>>(
    ask: impl Fn() -> F,
) -> Result<T, Error> {
    while_passing(is_passing, ask).await
}

/// What comes of asking until the error is none that passes.
async fn while_passing<T, F: Future<Output = Result<T, Error>>>(
    passes: impl Fn(&Error) -> bool,
    ask: impl Fn() -> F,
) -> Result<T, Error> {
    let since = Instant::now();
    loop {
        match ask().await {
            Err(error) if passes(&error) && since.elapsed() < READY_TIMEOUT => {
                tracing::info!(%error, "waiting for JetStream");
                sleep(ASK_INTERVAL).await;
            }
            settled => return settled,
        }
    }
}

impl Error {
    /// The same, where nobody answers, or answers for a cluster without a leader: that may be otherwise soon.
    pub fn silence(&self) -> Option<Self> {
        match self {
            Self::Silent { request } => Some(Self::Silent { request }),
            Self::Refused {
                request,
                code,
                description,
            } if [
                code::CLUSTER_INCOMPLETE,
                code::CLUSTER_NOT_AVAILABLE,
                code::CLUSTER_NOT_LEADER,
            ]
            .contains(code) =>
            {
                Some(Self::Refused {
                    request,
                    code: *code,
                    description: description.clone(),
                })
            }
            _ => None,
        }
    }
}

/// Whether a cluster says so that has no leader yet, or says nothing of a stream that is just being created.
fn is_passing(error: &Error) -> bool {
    error.silence().is_some()
}

/// Whether there are fewer servers than copies.
fn is_too_few(error: &Error) -> bool {
    match error {
        Error::Refused {
            code, description, ..
        } => match *code {
            code::STREAM_REPLICAS_NOT_SUPPORTED => true,
            code::CLUSTER_NO_PEERS => !description.contains(NO_STORAGE),
            _ => false,
        },
        _ => false,
    }
}

/// What servers of a cluster say by the same number.
const NO_STORAGE: &str = "insufficient storage";

/// Whether less could be had. Servers of a cluster name many reasons for not placing a stream by one number.
pub(crate) fn is_room(code: u64, description: &str) -> bool {
    match code {
        code::STORAGE_RESOURCES_EXCEEDED
        | code::ACCOUNT_RESOURCES_EXCEEDED
        | code::INSUFFICIENT_RESOURCES => true,
        code::CLUSTER_NO_PEERS => description.contains(NO_STORAGE),
        _ => false,
    }
}

/// Waits until JetStream is there.
pub(crate) async fn await_jetstream(api: &Api) -> Result<(), Error> {
    let account = ready(|| api.account()).await;
    account.map(|_| ()).map_err(|error| match error {
        Error::Silent { .. } => Error::JetStreamSilent,
        error => error,
    })
}

/// The stream as it is.
pub(crate) async fn describe(api: &Api) -> Result<Described, Error> {
    ready(|| api.describe(None)).await
}

/// How large a stream may become, in bytes. The server sets the room aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// So many bytes.
    pub bytes: u64,
    /// Whether somebody chose that. If not, a stream that is created gets less where the server has less room: the number is
    /// halved until it fits.
    pub chosen: bool,
}

impl Size {
    /// What was chosen, or else that.
    pub fn or(chosen: Option<u64>, default: u64) -> Self {
        Self {
            bytes: chosen.unwrap_or(default),
            chosen: chosen.is_some(),
        }
    }
}

/// The room that a stream is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) size: Size,
    /// What it is not made without.
    pub(crate) bytes_min: u64,
    /// What chooses its size.
    pub(crate) flag: &'static str,
}

/// Creates a stream as large as there is room for; how large, or none where another instance was faster.
pub(crate) async fn create_in(
    api: &Api,
    wanted: impl Fn(usize, u64) -> Value,
    replicas: Option<usize>,
    room: Room,
) -> Result<Option<u64>, Error> {
    let stream = api.names.stream.as_str();
    let (asked, mut bytes) = (room.size.bytes, room.size.bytes);
    loop {
        match create(api, |copies| wanted(copies, bytes), replicas).await {
            Err(Error::Refused {
                code, description, ..
            }) if is_room(code, &description) => {
                if room.size.chosen || bytes / 2 < room.bytes_min {
                    return Err(Error::NoRoom {
                        stream: stream.to_owned(),
                        bytes,
                        description,
                        flag: room.flag,
                    });
                }
                bytes /= 2;
            }
            created => {
                let Some(replicas) = created? else {
                    return Ok(None);
                };
                tracing::info!(stream, replicas, bytes_max = bytes, "created stream");
                if bytes < asked {
                    let flag = room.flag;
                    tracing::warn!(
                        stream,
                        bytes_max = bytes,
                        asked,
                        flag,
                        "the server has less room than was asked for"
                    );
                }
                return Ok(Some(bytes));
            }
        }
    }
}

/// Creates a stream with that many copies; if nobody says how many, with as many as there are servers, at most
/// [`REPLICAS_DEFAULT_MAX`]. None where another instance was faster: then the stream is that one.
pub(crate) async fn create(
    api: &Api,
    wanted: impl Fn(usize) -> Value,
    replicas: Option<usize>,
) -> Result<Option<usize>, Error> {
    let stream = api.names.stream.as_str();
    let mut copies = replicas.unwrap_or(REPLICAS_DEFAULT_MAX);
    let since = Instant::now();
    loop {
        let subject = format!("STREAM.CREATE.{stream}");
        let config = wanted(copies);
        let created = api.request::<Value>("STREAM.CREATE", subject, &config);
        let Err(error) = created.await else {
            // The server that says so may not know of it yet, while a cluster agrees on it.
            let passes =
                |error: &Error| matches!(error, Error::Missing { .. }) || is_passing(error);
            while_passing(passes, || api.describe(None)).await?;
            return Ok(Some(copies));
        };
        match describe(api).await {
            Err(Error::Missing { .. }) => {}
            there => return there.map(|_| None),
        }
        let alone = matches!(
            error,
            Error::Refused {
                code: code::STREAM_REPLICAS_NOT_SUPPORTED,
                ..
            }
        );
        match replicas {
            None if alone && copies > 1 => copies = 1,
            _ if is_too_few(&error)
                && !alone
                && copies > 1
                && since.elapsed() < SERVERS_TIMEOUT =>
            {
                tracing::info!(stream, replicas = copies, %error, "waiting for more servers");
                sleep(ASK_INTERVAL).await;
            }
            None if is_too_few(&error) && copies > 1 => copies -= 1,
            _ if is_passing(&error) && since.elapsed() < READY_TIMEOUT => {
                tracing::info!(stream, %error, "waiting for JetStream");
                sleep(ASK_INTERVAL).await;
            }
            _ if is_too_few(&error) => {
                return Err(Error::TooFewServers {
                    stream: stream.to_owned(),
                    want: copies,
                    description: error.to_string(),
                });
            }
            _ => return Err(error),
        }
    }
}
