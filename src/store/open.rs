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

use super::{follow::INACTIVE_THRESHOLD, make};

/// Consumers that a stream must allow, at least: each instance has one of the bucket, and for a while another one when it
/// was cut off; one of them has one of the events.
const CONSUMERS_MIN: i32 = 16;
/// Bytes that a message in a stream may have to have, at most; less where the server takes no such messages.
const MESSAGE_BYTES_MIN: usize = 1024 * 1024;

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
        .differences.join("; "), advice(.stream, .flags, .fixed)
    )]
    OtherSettings {
        /// Which.
        stream: String,
        /// What is, and what would be right.
        differences: Vec<String>,
        /// What sets all of them right in `nats stream edit`; empty where it has no flag for one of them.
        flags: Vec<&'static str>,
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
    let payload_max = client.max_payload();
    let checked = SETTINGS_BUCKET;
    let bucket = ensure(&context, &want, names.replicas, payload_max, checked).await?;
    let is = bucket.num_replicas;
    if let Some(want) = names.replicas.filter(|want| *want != is) {
        let stream = bucket.name;
        return Err(OpenError::OtherReplicas { stream, is, want });
    }
    let names = Names {
        replicas: Some(is),
        ..names.clone()
    };
    ensure_events(&context, &names, payload_max).await?;
    Ok(names)
}

/// Makes sure that the stream of events is there and right.
pub(super) async fn ensure_events(
    context: &jetstream::Context,
    names: &Names,
    payload_max: usize,
) -> Result<(), OpenError> {
    let want = |replicas| events(names, replicas);
    let checked = SETTINGS_EVENTS;
    let events = ensure(context, &want, names.replicas, payload_max, checked).await;
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

/// A setting that may be wrong.
struct Setting {
    /// What it is, and what would be right, where it is wrong.
    wrong: fn(&Config, &Config) -> Option<String>,
    /// What sets it right in `nats stream edit`, where that has a flag which loses nothing.
    flag: Option<&'static str>,
}

macro_rules! same {
    ($($field:ident $(= $flag:literal)?),* $(,)?) => {
        &[$(Setting {
            wrong: |is, want| (is.$field != want.$field).then(|| {
                format!(concat!(stringify!($field), " is {:?} and must be {:?}"), is.$field, want.$field)
            }),
            flag: same!(@ $($flag)?),
        }),*]
    };
    (@ $flag:literal) => { Some($flag) };
    (@) => { None };
}

const SETTINGS_BUCKET: &[Setting] = same![
    subjects,
    max_messages_per_subject,
    max_messages = "--max-msgs=-1",
    max_bytes = "--max-bytes=-1",
    max_age = "--max-age=0",
    discard = "--discard=new",
    discard_new_per_subject = "--no-discard-per-subject",
    retention,
    storage,
    no_ack = "--ack",
    sealed,
    allow_direct = "--allow-direct",
    allow_rollup = "--no-allow-rollup",
    deny_delete = "--deny-delete",
    deny_purge = "--deny-purge",
    allow_message_ttl = "--allow-msg-ttl",
    allow_atomic_publish = "--allow-batch",
    subject_delete_marker_ttl,
    mirror,
    sources,
    republish,
    subject_transform,
];
/// How much is kept for how long is the operator's.
const SETTINGS_EVENTS: &[Setting] = same![
    subjects,
    discard = "--discard=old",
    retention,
    storage,
    no_ack = "--ack",
    sealed,
    mirror,
    sources,
    subject_transform
];
/// Room that each stream must have.
const SETTINGS_ROOM: &[Setting] = &[
    Setting {
        wrong: |is, _| {
            let few = (1..CONSUMERS_MIN).contains(&is.max_consumers);
            few.then(|| {
                format!(
                    "max_consumers is {} and must be -1 or at least {CONSUMERS_MIN}",
                    is.max_consumers
                )
            })
        },
        // It takes no -1.
        flag: Some("--max-consumers=0"),
    },
    Setting {
        wrong: |is, want| {
            // A stream that is made has no bound: here it says what is needed.
            let small = (0..want.max_message_size).contains(&is.max_message_size);
            small.then(|| {
                format!(
                    "max_msg_size is {} and must be -1 or at least {}",
                    is.max_message_size, want.max_message_size
                )
            })
        },
        flag: Some("--max-msg-size=-1"),
    },
    Setting {
        wrong: |is, _| {
            let limit = is.consumer_limits.as_ref()?.inactive_threshold;
            let short = !limit.is_zero() && limit < INACTIVE_THRESHOLD;
            short.then(|| {
                format!(
                    "consumer_limits: inactive_threshold is {}s and must be none or at least {}s",
                    limit.as_secs_f64(),
                    INACTIVE_THRESHOLD.as_secs()
                )
            })
        },
        flag: None,
    },
];

/// How the stream is, which is made by `want` if it is not there, and is right.
async fn ensure(
    context: &jetstream::Context,
    want: &impl Fn(usize) -> Config,
    replicas: Option<usize>,
    payload_max: usize,
    checked: &[Setting],
) -> Result<Config, OpenError> {
    let name = want(1).name;
    let stream = match make::find(context, &name).await? {
        Some(stream) => stream,
        None => make::make(context, want, replicas).await?,
    };
    let is = &stream.cached_info().config;
    let want = want(is.num_replicas);
    let needed = Config {
        max_message_size: i32::try_from(payload_max.min(MESSAGE_BYTES_MIN)).unwrap_or(i32::MAX),
        ..Config::default()
    };
    let found = checked.iter().map(|setting| (setting, &want));
    let room = SETTINGS_ROOM.iter().map(|setting| (setting, &needed));
    let wrong =
        |(setting, want): (&Setting, &Config)| Some(((setting.wrong)(is, want)?, setting.flag));
    let (mut differences, flags): (Vec<String>, Vec<_>) =
        found.chain(room).filter_map(wrong).unzip();
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
        flags: flags.into_iter().collect::<Option<_>>().unwrap_or_default(),
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
fn advice(stream: &str, flags: &[&'static str], fixed: &[&'static str]) -> String {
    if fixed.is_empty() {
        let words: Vec<&str> = [&[stream], flags].concat();
        let words = words.join(" ");
        return format!(
            "Put them right with `nats stream edit {words}`, or keep it as it is and choose another --namespace"
        );
    }
    format!(
        "A server does not change {} of a stream that exists: keep it as it is, with all that is in it, and choose \
         another --namespace, which has streams of its own",
        fixed.join(" and ")
    )
}
