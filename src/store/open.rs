//! The bucket and the stream of events: made with every flag named, and checked before use.

use std::time::Duration;

use async_nats::{
    Client,
    jetstream::{
        self,
        stream::{Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType},
    },
};

use crate::server_version::{INSTALL, SERVER_VERSION_MIN, Version};

use super::make;

/// Names, replicas and sizes of what is opened.
#[derive(Debug, Clone)]
pub struct Names {
    /// The key-value bucket.
    pub bucket: String,
    /// The stream of events.
    pub events_stream: String,
    /// The subjects of events.
    pub events_subjects: String,
    /// Copies of each; none for those that the bucket has, or for a new one as many as there are servers,
    /// at most 3.
    pub replicas: Option<usize>,
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
    /// The bucket has another number of copies than it was asked for.
    #[error(
        "stream {stream} has num_replicas {is}, and {want} asked for: start with --replicas {is} or ONEX_REPLICAS={is}, \
         or with neither. `nats stream edit {stream} --replicas {want}` changes how many it has and keeps what is in it"
    )]
    OtherReplicas {
        /// Which.
        stream: String,
        /// How many it has.
        is: usize,
        /// How many were asked for.
        want: usize,
    },
    /// A stream exists with other settings.
    #[error(
        "stream {stream} exists with other settings: {}. {}",
        .differences.join("; "), advice(.stream, .fixed)
    )]
    OtherSettings {
        /// Which.
        stream: String,
        /// What is, and what would be right.
        differences: Vec<String>,
        /// Those of them that a server does not change once a stream is there.
        fixed: Vec<&'static str>,
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
    /// The cluster is too small.
    #[error(
        "the NATS server cannot keep {want} copies of stream {stream}. Choose a smaller --replicas or \
         ONEX_REPLICAS, or leave both out for as many as there are servers"
    )]
    TooFewServers {
        /// Which.
        stream: String,
        /// How many copies were asked for.
        want: usize,
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

/// Checks the server and makes sure that the bucket and the stream of events are there and right. The names
/// with the number of copies that the bucket has.
pub(super) async fn open(client: &Client, names: &Names) -> Result<Names, OpenError> {
    check_server(client)?;
    let mut context = jetstream::new(client.clone());
    context.set_timeout(make::ANSWER_TIMEOUT);
    make::await_jetstream(&context)
        .await
        .map_err(OpenError::NoJetStream)?;
    let want = |replicas| bucket(names, replicas);
    let bucket = ensure(&context, &want, names.replicas, DIFFERENCES_BUCKET).await?;
    let is = bucket.num_replicas;
    if let Some(want) = names.replicas.filter(|want| *want != is) {
        let stream = bucket.name;
        return Err(OpenError::OtherReplicas { stream, is, want });
    }
    let names = Names {
        replicas: Some(is),
        ..names.clone()
    };
    ensure_events(&context, &names).await?;
    Ok(names)
}

/// Makes sure that the stream of events is there and right.
pub(super) async fn ensure_events(
    context: &jetstream::Context,
    names: &Names,
) -> Result<(), OpenError> {
    let want = |replicas| events(names, replicas);
    let events = ensure(context, &want, names.replicas, DIFFERENCES_EVENTS).await;
    events.map(|_| ())
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

fn bucket(names: &Names, replicas: usize) -> Config {
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
        num_replicas: replicas,
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

fn events(names: &Names, replicas: usize) -> Config {
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
        num_replicas: replicas,
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

/// How the stream is, which is made by `want` if it is not there, and is right.
async fn ensure(
    context: &jetstream::Context,
    want: &impl Fn(usize) -> Config,
    replicas: Option<usize>,
    checked: &[Difference],
) -> Result<Config, OpenError> {
    let name = want(1).name;
    let stream = match make::find(context, &name).await? {
        Some(stream) => stream,
        None => make::make(context, want, replicas).await?,
    };
    let is = &stream.cached_info().config;
    let want = want(is.num_replicas);
    let mut differences: Vec<String> = checked
        .iter()
        .filter_map(|difference| difference(is, &want))
        .collect();
    let fixed = fixed(is, &want);
    if is.persist_mode == Some(PersistenceMode::Async) {
        differences.push(
            "persist_mode is async and must be the default: what is acknowledged must be stored"
                .to_owned(),
        );
    }
    if differences.is_empty() {
        return Ok(is.clone());
    }
    Err(OpenError::OtherSettings {
        stream: want.name,
        differences,
        fixed,
    })
}

/// Which of the settings that are wrong no server changes once a stream is there.
fn fixed(is: &Config, want: &Config) -> Vec<&'static str> {
    let of_work = |config: &Config| config.retention == RetentionPolicy::WorkQueue;
    let wrong = [
        ("storage", is.storage != want.storage),
        ("retention", of_work(is) != of_work(want)),
        ("sealed", is.sealed && !want.sealed),
        (
            "persist_mode",
            is.persist_mode == Some(PersistenceMode::Async),
        ),
    ];
    wrong
        .into_iter()
        .filter_map(|(name, wrong)| wrong.then_some(name))
        .collect()
}

/// What can be done about a stream with wrong settings, without losing what is in it.
fn advice(stream: &str, fixed: &[&'static str]) -> String {
    if fixed.is_empty() {
        return format!(
            "Put them right with `nats stream edit {stream}`, or keep it as it is and choose another --namespace"
        );
    }
    format!(
        "A server does not change {} of a stream that exists: keep it as it is, with all that is in it, and choose \
         another --namespace, which has streams of its own",
        fixed.join(" and ")
    )
}
