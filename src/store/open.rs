//! The bucket and the stream of events: made with every flag named, and checked before use.

use std::time::Duration;

use async_nats::{
    Client,
    jetstream::{
        self, ErrorCode,
        context::{CreateStreamErrorKind, GetStreamErrorKind},
        stream::{Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType},
    },
};

use crate::server_version::{INSTALL, SERVER_VERSION_MIN, Version};

/// Names, replicas and sizes of what is opened.
#[derive(Debug, Clone)]
pub struct Names {
    /// The key-value bucket.
    pub bucket: String,
    /// The stream of events.
    pub events_stream: String,
    /// The subjects of events.
    pub events_subjects: String,
    /// Copies of each, 1, 3 or 5.
    pub replicas: usize,
    /// How many bytes of events are kept, the oldest going first, where their stream is made.
    pub events_bytes_max: i64,
    /// How long an event is kept, where their stream is made.
    pub events_age_max: Duration,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The server is too old.
    #[error(
        "the NATS server at {server} is version {version}; at least {SERVER_VERSION_MIN} is needed: \
         install one, for instance with `{INSTALL}`"
    )]
    ServerTooOld {
        /// Which server.
        server: String,
        /// What it says.
        version: String,
    },
    /// It has no JetStream.
    #[error(
        "the NATS server has no JetStream for this account. Start it with --jetstream, or enable it for the account"
    )]
    NoJetStream(#[source] jetstream::context::AccountError),
    /// A stream exists with other settings.
    #[error("stream {stream} exists with other settings: {}. Remove it if nothing uses it, or choose another --namespace", .differences.join("; "))]
    OtherSettings {
        /// Which.
        stream: String,
        /// What is, and what would be right.
        differences: Vec<String>,
    },
    /// The server sets room aside for a stream of a bounded size, and has less.
    #[error(
        "the NATS server has no room for stream {stream} of {bytes} bytes. Choose a smaller --events-bytes-max"
    )]
    NoRoom {
        /// Which.
        stream: String,
        /// How large it may become.
        bytes: i64,
        /// What the server says.
        #[source]
        source: jetstream::context::CreateStreamError,
    },
    /// A stream cannot be made.
    #[error("cannot create stream {0}")]
    Create(String, #[source] jetstream::context::CreateStreamError),
    /// A stream cannot be looked up.
    #[error("cannot look up stream {0}")]
    Lookup(String, #[source] jetstream::context::GetStreamError),
}

/// Checks the server and makes sure that the bucket and the stream of events are there and right.
pub(super) async fn open(
    client: &Client,
    context: &jetstream::Context,
    names: &Names,
) -> Result<(), OpenError> {
    check_server(client)?;
    context
        .query_account()
        .await
        .map_err(OpenError::NoJetStream)?;
    ensure(context, bucket(names), DIFFERENCES_BUCKET).await?;
    ensure_events(context, names).await
}

/// Makes sure that the stream of events is there and right.
pub(super) async fn ensure_events(
    context: &jetstream::Context,
    names: &Names,
) -> Result<(), OpenError> {
    ensure(context, events(names), DIFFERENCES_EVENTS).await
}

fn check_server(client: &Client) -> Result<(), OpenError> {
    let info = client.server_info();
    if info
        .version
        .parse::<Version>()
        .is_ok_and(|version| version >= SERVER_VERSION_MIN)
    {
        return Ok(());
    }
    let server = format!("{}:{}", info.host, info.port);
    Err(OpenError::ServerTooOld {
        server,
        version: info.version,
    })
}

fn bucket(names: &Names) -> Config {
    Config {
        name: format!("KV_{}", names.bucket),
        description: Some("onex-registry: leases. Not an interface for writing.".to_owned()),
        subjects: vec![format!("$KV.{}.>", names.bucket)],
        max_messages_per_subject: 1,
        max_messages: -1,
        max_bytes: -1,
        max_message_size: -1,
        discard: DiscardPolicy::New,
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: names.replicas,
        allow_direct: true,
        allow_rollup: false,
        deny_delete: true,
        deny_purge: true,
        allow_message_ttl: true,
        allow_atomic_publish: true,
        // Turns deny_purge off and roll-ups on, silently.
        subject_delete_marker_ttl: None,
        ..Config::default()
    }
}

fn events(names: &Names) -> Config {
    Config {
        name: names.events_stream.clone(),
        description: Some("onex-registry: what happened, as CloudEvents.".to_owned()),
        subjects: vec![names.events_subjects.clone()],
        max_messages: -1,
        max_bytes: names.events_bytes_max,
        max_age: names.events_age_max,
        discard: DiscardPolicy::Old,
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: names.replicas,
        allow_direct: true,
        allow_atomic_publish: true,
        ..Config::default()
    }
}

type Difference = fn(&Config, &Config) -> Option<String>;

macro_rules! same {
    ($($field:ident),* $(,)?) => {
        &[$(|is, want| (is.$field != want.$field).then(|| {
            format!(concat!(stringify!($field), " is {:?} and must be {:?}"), is.$field, want.$field)
        })),*]
    };
}

const DIFFERENCES_BUCKET: &[Difference] = same![
    subjects,
    max_messages_per_subject,
    max_messages,
    max_bytes,
    max_age,
    discard,
    retention,
    storage,
    num_replicas,
    no_ack,
    sealed,
    allow_direct,
    allow_rollup,
    deny_delete,
    deny_purge,
    allow_message_ttl,
    allow_atomic_publish,
    subject_delete_marker_ttl,
    mirror,
    sources,
    republish,
    subject_transform,
];
/// How much is kept for how long is the operator's.
const DIFFERENCES_EVENTS: &[Difference] = same![
    subjects,
    discard,
    retention,
    storage,
    no_ack,
    sealed,
    mirror,
    sources,
    subject_transform
];

async fn ensure(
    context: &jetstream::Context,
    want: Config,
    checked: &[Difference],
) -> Result<(), OpenError> {
    let is = match context.get_stream(&want.name).await {
        Ok(stream) => stream.cached_info().config.clone(),
        Err(error) if is_missing(&error) => {
            tracing::info!(stream = %want.name, replicas = want.num_replicas, "creating stream");
            let created = context.create_stream(want.clone()).await;
            created
                .map_err(|error| not_created(&want, error))?
                .cached_info()
                .config
                .clone()
        }
        Err(error) => return Err(OpenError::Lookup(want.name, error)),
    };
    let mut differences: Vec<String> = checked
        .iter()
        .filter_map(|difference| difference(&is, &want))
        .collect();
    if is.persist_mode == Some(PersistenceMode::Async) {
        differences.push(
            "persist_mode is async and must be the default: what is acknowledged must be stored"
                .to_owned(),
        );
    }
    if differences.is_empty() {
        return Ok(());
    }
    Err(OpenError::OtherSettings {
        stream: want.name,
        differences,
    })
}

fn not_created(want: &Config, error: jetstream::context::CreateStreamError) -> OpenError {
    let stream = want.name.clone();
    let no_room = matches!(
        error.kind(),
        CreateStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STORAGE_RESOURCES_EXCEEDED
    );
    // The bucket has no bound, and no room is set aside for it.
    if no_room && want.max_bytes > 0 {
        return OpenError::NoRoom {
            stream,
            bytes: want.max_bytes,
            source: error,
        };
    }
    OpenError::Create(stream, error)
}

fn is_missing(error: &jetstream::context::GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}
