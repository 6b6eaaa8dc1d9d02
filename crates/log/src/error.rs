//! What can go wrong between us and the store.

use std::fmt;

use jiff::Timestamp;
use onex_nats::{
    connect,
    server_version::{INSTALL, SERVER_VERSION_MIN},
    serving::MESSAGE_BYTES_MIN,
};
use onex_types::entry::Sequence;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server could be reached.
    #[error("the store cannot be reached")]
    Connect(#[from] connect::Error),
    /// The server is too old.
    #[error(
        "the NATS server at {server} is version {version}; at least {SERVER_VERSION_MIN} is needed: \
         install one, for instance with `{INSTALL}`"
    )]
    ServerTooOld {
        /// Its address.
        server: String,
        /// Its version, as it says.
        version: String,
    },
    /// The server takes short messages only.
    #[error(
        "the NATS server at {server} takes messages of {bytes} bytes; a registry needs more than {MESSAGE_BYTES_MIN}: raise \
         its max_payload"
    )]
    MessagesTooShort {
        /// Its address.
        server: String,
        /// How long a message may be.
        bytes: usize,
    },
    /// The account has no JetStream.
    #[error(
        "the NATS server has no JetStream for this account. Start it with --jetstream, or enable it for the account"
    )]
    NoJetStream,
    /// Nobody answers for JetStream.
    #[error(
        "JetStream does not answer. A cluster without a leader is silent, and so is a server that lets this user not publish \
         on $JS.API.>"
    )]
    JetStreamSilent,
    /// The server has no room even for the smallest log.
    #[error(
        "the NATS server has no room for stream {stream} of {bytes} bytes: {description}. Give JetStream more storage, \
         or choose a smaller {flag}"
    )]
    NoRoom {
        /// The stream that was to be created.
        stream: String,
        /// The smallest size that was tried.
        bytes: u64,
        /// The server's words.
        description: String,
        /// What says how large it may become.
        flag: &'static str,
    },
    /// The bucket was written by the first storage format.
    #[error(
        "bucket {bucket} was written by an earlier version, with a key for each record: stop every instance, and make a log of \
         it with `onex doctor --upgrade`"
    )]
    FormatOne {
        /// The bucket.
        bucket: String,
    },
    /// An upgrade has broken off.
    #[error(
        "an upgrade of bucket {bucket} has broken off: go on with `onex doctor --upgrade`, with every instance stopped"
    )]
    Upgrading {
        /// The bucket.
        bucket: String,
    },
    /// A bucket was written to while it was copied.
    #[error("bucket {bucket} was written to meanwhile: stop every instance, and try again")]
    WrittenMeanwhile {
        /// The bucket.
        bucket: String,
    },
    /// What an earlier upgrade has kept is in the way.
    #[error(
        "stream {stream} keeps what bucket {bucket} had when it was upgraded before: remove it with `nats stream rm {stream}`, \
         and try again"
    )]
    CopyExists {
        /// The stream.
        stream: String,
        /// The bucket.
        bucket: String,
    },
    /// A copy does not get on.
    #[error(
        "stream {stream} does not get on: it has {copied} of {messages} messages. Nothing is changed; try again"
    )]
    NotCopied {
        /// The copy.
        stream: String,
        /// How many it has.
        copied: u64,
        /// How many it is to have.
        messages: u64,
    },
    /// There are not as many servers as copies of a stream were asked for.
    #[error(
        "the NATS server cannot keep {want} copies of stream {stream}: {description}. Choose a smaller --replicas or \
         ONEX_REPLICAS, or leave both out for as many as there are servers"
    )]
    TooFewServers {
        /// The stream.
        stream: String,
        /// How many copies were asked for.
        want: usize,
        /// What the server says.
        description: String,
    },
    /// The stream has another number of copies than was asked for.
    #[error(
        "stream {stream} has num_replicas {is}, and {want} asked for: start with --replicas {is} or ONEX_REPLICAS={is}, \
         or with neither. `nats stream edit {stream} --replicas {want}` changes how many it has and keeps what is in it"
    )]
    OtherReplicas {
        /// The stream.
        stream: String,
        /// How many it has.
        is: usize,
        /// How many were asked for.
        want: usize,
    },
    /// The stream has settings under which entries could be lost or reordered.
    #[error(
        "stream {stream} has settings with which what the registry writes is not kept as it must be: {}. {}",
        Difference::list(differences),
        Difference::remedy(stream, differences)
    )]
    Settings {
        /// The stream.
        stream: String,
        /// Each wrong setting.
        differences: Vec<Difference>,
    },
    /// The stream is not there.
    #[error(
        "stream {stream} does not exist. Restore it from a backup, or start the registry again: it makes a new one, unless \
         something is known of the old one"
    )]
    Missing {
        /// The stream.
        stream: String,
    },
    /// The stream is another one than the one that was opened.
    #[error(
        "stream {stream} was created at {is}, the one that was opened at {was}: it has been removed and created again. Start the \
         registry again: it compares what is there with what is known of it"
    )]
    Recreated {
        /// The stream.
        stream: String,
        /// When the one that was opened was created.
        was: Timestamp,
        /// When this one was created.
        is: Timestamp,
    },
    /// What was to be trimmed is not there: a server that lags, or a store that went back.
    #[error("the store's last message is {last}: nothing is trimmed before {wanted}")]
    Behind {
        /// Before which messages were to be removed.
        wanted: Sequence,
        /// The stream's last one.
        last: Sequence,
    },
    /// No answer in time.
    #[error("the store did not answer {request} in time")]
    Silent {
        /// What was asked: the JetStream API's name of it.
        request: &'static str,
    },
    /// Nobody takes the request: the stream has no leader, or JetStream is not up.
    #[error("nobody answers {request}: the stream has no leader, or JetStream is not running")]
    NoResponders {
        /// What was asked.
        request: &'static str,
    },
    /// The connection ended before the answer came.
    #[error("the connection ended before {request} was answered")]
    Ended {
        /// What was asked.
        request: &'static str,
    },
    /// The server said no.
    #[error("the store refused {request}: {description} (error {code})")]
    Refused {
        /// What was asked.
        request: &'static str,
        /// The server's number for the error, `err_code`.
        code: u64,
        /// The server's words.
        description: String,
    },
    /// The answer is none that this version understands.
    #[error("the store's answer to {request} is not understood")]
    Malformed {
        /// What was asked.
        request: &'static str,
        /// Where it went wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// A setting that must be otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name, as `nats stream info --json` shows it.
    pub setting: &'static str,
    /// Its value, as JSON; `null` where it is not set.
    pub is: String,
    /// The value that it must have, or what is required of it.
    pub must: String,
    /// Whether the server lets one change it.
    pub editable: bool,
    /// What sets it right in `nats stream edit`, where that has a flag for it.
    pub flag: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is {} and must be {}",
            self.setting, self.is, self.must
        )
    }
}

impl Difference {
    /// All of them in one line.
    pub fn list(differences: &[Self]) -> String {
        let texts: Vec<String> = differences.iter().map(ToString::to_string).collect();
        texts.join("; ")
    }

    /// What can be done without losing what is in the stream.
    pub fn remedy(stream: &str, differences: &[Self]) -> String {
        let fixed: Vec<&str> = differences
            .iter()
            .filter(|difference| !difference.editable)
            .map(|difference| difference.setting)
            .collect();
        if !fixed.is_empty() {
            return format!(
                "A server does not change {} of a stream that exists: keep it as it is, with all that is in it, and choose \
                 another --namespace, which has streams of its own",
                fixed.join(" and ")
            );
        }
        // Where one of them has no flag the command opens an editor.
        let flags = differences
            .iter()
            .map(|difference| difference.flag.as_deref());
        let flags: Option<Vec<&str>> = flags.collect();
        let words = [vec![stream], flags.unwrap_or_else(|| vec!["--interactive"])].concat();
        format!(
            "Put them right with `nats stream edit {}`, or keep it as it is and choose another --namespace",
            words.join(" ")
        )
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// It could not be started.
    #[error("no session with the store")]
    NotStarted(#[source] Error),
    /// The connection ended.
    #[error("the connection to the store ended")]
    Connection,
    /// The consumer said nothing for a second.
    #[error("the store's consumer has been silent for a second")]
    Silent,
    /// Nothing was settled, and another server knows a leader of the log: this one may be cut off.
    #[error("the store settles nothing here, and another server knows its leader")]
    Unsettled,
    /// The consumer's own numbers have a gap: something it sent did not arrive.
    #[error("the store's consumer skipped a message")]
    Gap,
    /// The server ended the consumer.
    #[error("the store ended the consumer: {0}")]
    Consumer(String),
    /// What the caller has applied is not there (yet): a server that lags, or a store that went back.
    #[error("the store's last message is before {wanted}, which was applied")]
    Behind {
        /// Where the caller wanted to start.
        wanted: Sequence,
    },
    /// What was to come next has been trimmed away.
    #[error("the store's next message is {first}, where {wanted} was to come")]
    Trimmed {
        /// What was to come.
        wanted: Sequence,
        /// The first that is there.
        first: Sequence,
    },
}
