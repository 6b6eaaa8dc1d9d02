//! Streams that are looked up and made, also on a cluster that is just starting.

use std::{
    error::Error as _,
    fmt::Display,
    time::{Duration, Instant},
};

use async_nats::jetstream::{
    self, ErrorCode,
    context::{
        AccountError, AccountErrorKind, CreateStreamError, CreateStreamErrorKind, GetStreamError,
        GetStreamErrorKind, RequestError, RequestErrorKind,
    },
    stream::{Config, Stream},
};

use super::open::OpenError;

/// Copies of a new stream, at most, where nobody says how many: one server of three may be lost.
pub(super) const REPLICAS_DEFAULT_MAX: usize = 3;
/// How long a cluster may take to have a leader and to answer.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a cluster may take until it has as many servers as copies are wanted.
const SERVERS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long until it is asked again.
const ASK_INTERVAL: Duration = Duration::from_millis(250);

/// What comes of asking, once a cluster that is just starting can answer.
async fn ready<T, E: Display, F: Future<Output = Result<T, E>>>(
    ask: impl Fn() -> F,
    is_passing: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let since = Instant::now();
    loop {
        match ask().await {
            Err(error) if is_passing(&error) && since.elapsed() < READY_TIMEOUT => {
                tracing::info!(%error, "waiting for JetStream");
                tokio::time::sleep(ASK_INTERVAL).await;
            }
            settled => return settled,
        }
    }
}

/// Whether a cluster says so that has no leader yet.
fn is_starting(error: &jetstream::Error) -> bool {
    [
        ErrorCode::CLUSTER_INCOMPLETE,
        ErrorCode::CLUSTER_NOT_AVAILABLE,
        ErrorCode::CLUSTER_NOT_LEADER,
    ]
    .contains(&error.error_code())
}

/// Waits until JetStream is there.
pub(super) async fn await_jetstream(context: &jetstream::Context) -> Result<(), AccountError> {
    let is_passing = |error: &AccountError| match error.kind() {
        AccountErrorKind::TimedOut => true,
        AccountErrorKind::JetStream(error) => is_starting(&error),
        _ => false,
    };
    let account = ready(|| context.query_account(), is_passing).await;
    account.map(|_| ())
}

/// The stream of that name; none if there is none.
pub(super) async fn find(
    context: &jetstream::Context,
    name: &str,
) -> Result<Option<Stream>, OpenError> {
    let is_passing = |error: &GetStreamError| match error.kind() {
        GetStreamErrorKind::JetStream(error) => is_starting(&error),
        // Of a stream that is just being made a cluster says nothing.
        GetStreamErrorKind::Request => timed_out(error),
        _ => false,
    };
    match ready(|| context.get_stream(name), is_passing).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(OpenError::Lookup(name.to_owned(), error)),
    }
}

fn timed_out(error: &GetStreamError) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    cause.is_some_and(|cause: &RequestError| cause.kind() == RequestErrorKind::TimedOut)
}

fn is_missing(error: &GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Makes a stream with that many copies; if nobody says how many, with as many as there are servers, at most
/// [`REPLICAS_DEFAULT_MAX`]. Another instance may make it at the same moment: then the stream is that one.
pub(super) async fn make(
    context: &jetstream::Context,
    want: &impl Fn(usize) -> Config,
    replicas: Option<usize>,
) -> Result<Stream, OpenError> {
    let mut copies = replicas.unwrap_or(REPLICAS_DEFAULT_MAX);
    let since = Instant::now();
    loop {
        let config = want(copies);
        let name = config.name.clone();
        let error = match context.create_stream(config.clone()).await {
            Ok(stream) => {
                tracing::info!(stream = name, replicas = copies, "created stream");
                return Ok(stream);
            }
            Err(error) => error,
        };
        if let Some(stream) = find(context, &name).await? {
            return Ok(stream);
        }
        let code = code(&error);
        let waits = since.elapsed() < SERVERS_TIMEOUT;
        match (replicas, code) {
            (None, Some(ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED)) if copies > 1 => copies = 1,
            (_, Some(ErrorCode::CLUSTER_NO_PEERS)) if waits && copies > 1 => {
                tracing::info!(stream = name, replicas = copies, %error, "waiting for more servers");
                tokio::time::sleep(ASK_INTERVAL).await;
            }
            (None, Some(ErrorCode::CLUSTER_NO_PEERS)) if copies > 1 => copies -= 1,
            _ if is_passing(&error) && since.elapsed() < READY_TIMEOUT => {
                tracing::info!(stream = name, %error, "waiting for JetStream");
                tokio::time::sleep(ASK_INTERVAL).await;
            }
            _ => return Err(not_made(config, code, error)),
        }
    }
}

fn code(error: &CreateStreamError) -> Option<ErrorCode> {
    match error.kind() {
        CreateStreamErrorKind::JetStream(error) => Some(error.error_code()),
        _ => None,
    }
}

fn is_passing(error: &CreateStreamError) -> bool {
    match error.kind() {
        CreateStreamErrorKind::TimedOut => true,
        CreateStreamErrorKind::JetStream(error) => is_starting(&error),
        _ => false,
    }
}

fn not_made(want: Config, code: Option<ErrorCode>, source: CreateStreamError) -> OpenError {
    let stream = want.name;
    match code {
        // Room is set aside for a stream of a bounded size; of the bucket, which has no bound, there are as many copies
        // by then.
        Some(ErrorCode::STORAGE_RESOURCES_EXCEEDED | ErrorCode::CLUSTER_NO_PEERS)
            if want.max_bytes > 0 =>
        {
            OpenError::NoRoom {
                stream,
                bytes: want.max_bytes,
                source,
            }
        }
        Some(ErrorCode::CLUSTER_NO_PEERS | ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED) => {
            OpenError::TooFewServers {
                stream,
                want: want.num_replicas,
                source,
            }
        }
        _ => OpenError::Create(stream, source),
    }
}
