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
async fn ready<T, F: Future<Output = Result<T, Error>>>(ask: impl Fn() -> F) -> Result<T, Error> {
    let since = Instant::now();
    loop {
        match ask().await {
            Err(error) if is_passing(&error) && since.elapsed() < READY_TIMEOUT => {
                tracing::info!(%error, "waiting for JetStream");
                sleep(ASK_INTERVAL).await;
            }
            settled => return settled,
        }
    }
}

/// Whether a cluster says so that has no leader yet, or says nothing of a stream that is just being created.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Silent { .. } => true,
        Error::Refused { code, .. } => [
            code::CLUSTER_INCOMPLETE,
            code::CLUSTER_NOT_AVAILABLE,
            code::CLUSTER_NOT_LEADER,
        ]
        .contains(code),
        _ => false,
    }
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
    ready(|| api.account()).await
}

/// The stream as it is.
pub(crate) async fn describe(api: &Api) -> Result<Described, Error> {
    ready(|| api.describe(None)).await
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
