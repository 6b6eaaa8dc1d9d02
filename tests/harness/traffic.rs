//! Writes down what callers send and get, and what is in the streams when a server's time is over, for
//! `tests/project/traffic.rs` to judge; only where `ONEX_TRAFFIC` names a folder. Nothing here listens while a test runs: one
//! more subscriber would be an answer to a test that asks whether there is any.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, consumer::DeliverPolicy};
use futures::{StreamExt as _, TryStreamExt as _};
use onex_registry::protocol::endpoint::{Endpoint, REQUEST_BYTES_MAX};
use onex_types::entry::{ENTRY_HEADER, EntryHeader, EntryId};
use serde_json::{Map, Value, json};

use super::Reply;

/// Messages of one shape that are kept of one test binary.
const ALIKE_MAX: u32 = 128;
/// Bytes of one test binary's file, about.
const FILE_BYTES_MAX: usize = 128 << 20;
/// Messages that are read of one stream, the last ones.
const STREAM_MESSAGES_MAX: u64 = 2_000;
/// How long reading a server's streams may take: it may be dead, or stand still.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// Items of a list that its shape is made of.
const SHAPE_ITEMS_MAX: usize = 32;
/// Characters of a word, at most.
const WORD_CHARS_MAX: usize = 24;

/// What a registry appends behind the last message has it, or comes in a batch; what tests write to a stream with their own
/// hands has neither.
const APPENDED: [&str; 2] = ["Nats-Expected-Last-Sequence", "Nats-Batch-Id"];
/// The marker of a removed key has it.
const OPERATION: &str = "KV-Operation";

struct Recorder {
    file: File,
    bytes: usize,
    seen: HashMap<u64, u32>,
}

fn recorder() -> Option<&'static Mutex<Recorder>> {
    static RECORDER: OnceLock<Option<Mutex<Recorder>>> = OnceLock::new();
    let open = || {
        let folder = PathBuf::from(std::env::var_os("ONEX_TRAFFIC")?);
        let program = std::env::current_exe().unwrap();
        let name = program.file_stem().unwrap().to_str().unwrap();
        let binary = name.rsplit_once('-').map_or(name, |(binary, _)| binary);
        std::fs::create_dir_all(&folder).unwrap();
        let file = format!("{binary}-{}.jsonl", std::process::id());
        Some(Mutex::new(Recorder {
            file: File::create(folder.join(file)).unwrap(),
            bytes: 0,
            seen: HashMap::new(),
        }))
    };
    RECORDER.get_or_init(open).as_ref()
}

/// Writes it down, unless there are enough that look like it.
fn write(recorder: &Mutex<Recorder>, shape: u64, line: impl FnOnce() -> Value) {
    let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
    let alike = recorder.seen.entry(shape).or_default();
    *alike += 1;
    if *alike > ALIKE_MAX || recorder.bytes > FILE_BYTES_MAX {
        return;
    }
    let line = format!("{}\n", line());
    recorder.bytes += line.len();
    recorder.file.write_all(line.as_bytes()).unwrap();
}

/// What a message looks like: names and types, and of the values those that are words, as states and codes are.
fn shape(value: &Value, into: &mut DefaultHasher) {
    std::mem::discriminant(value).hash(into);
    match value {
        // How many there are and in which order does not matter.
        Value::Array(items) => {
            let shapes = items.iter().take(SHAPE_ITEMS_MAX).map(|item| {
                let mut hasher = DefaultHasher::new();
                shape(item, &mut hasher);
                hasher.finish()
            });
            shapes.collect::<BTreeSet<u64>>().hash(into);
        }
        Value::Object(members) => {
            for (name, value) in members {
                name.hash(into);
                shape(value, into);
            }
        }
        Value::String(text) if is_word(text) => text.hash(into),
        _ => {}
    }
}

fn is_word(text: &str) -> bool {
    text.len() <= WORD_CHARS_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
}

fn plain(headers: &HeaderMap) -> Value {
    let pairs = headers.iter().filter_map(|(name, values)| {
        let first = values.first()?;
        Some((name.to_string(), json!(first.as_str())))
    });
    Value::Object(pairs.collect::<Map<String, Value>>())
}

/// A request that a caller is about to send.
pub(super) struct Sent(Option<(&'static Mutex<Recorder>, HeaderMap, bytes::Bytes)>);

impl Sent {
    pub(super) fn new(headers: &HeaderMap, body: &bytes::Bytes) -> Self {
        Self(recorder().map(|recorder| (recorder, headers.clone(), body.clone())))
    }

    /// And what came of it.
    pub(super) fn answered(self, endpoint: &str, reply: &Reply) {
        let Some((recorder, headers, body)) = self.0 else {
            return;
        };
        let known = Endpoint::ALL.iter().find(|one| one.name() == endpoint);
        let bytes_max = known.map_or(REQUEST_BYTES_MAX, |endpoint| endpoint.request_bytes_max());
        // An empty body is an empty request. One that is no JSON or too long can only be refused.
        let request = match body.trim_ascii() {
            b"" => json!({}),
            _ if body.len() > bytes_max => Value::Null,
            body => super::json::read(body).unwrap_or_default(),
        };
        let mut hasher = DefaultHasher::new();
        endpoint.hash(&mut hasher);
        shape(&plain(&headers), &mut hasher);
        shape(&request, &mut hasher);
        shape(&reply.body, &mut hasher);
        let error = &reply.body["error"];
        error["code"].as_str().hash(&mut hasher);
        error["details"]["pointer"].as_str().hash(&mut hasher);
        write(recorder, hasher.finish(), || {
            json!({
                "exchange": endpoint, "headers": plain(&headers), "request": request,
                "reply_headers": plain(&reply.headers), "reply": reply.body,
            })
        });
    }
}

/// Reads what the streams of a server hold, if it still runs.
pub(super) fn read_streams(url: &str) {
    let Some(recorder) = recorder() else { return };
    if thread::panicking() {
        return;
    }
    let url = url.to_owned();
    // The test's runtime, if it has one, is not to be waited in.
    let reader = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        // What cannot be read is not judged: tests stop, break and guard servers.
        let read = async { tokio::time::timeout(READ_TIMEOUT, read(recorder, &url)).await };
        let _ = runtime.block_on(read);
        runtime.shutdown_background();
    });
    reader.join().unwrap();
}

async fn read(recorder: &Mutex<Recorder>, url: &str) -> Result<(), async_nats::Error> {
    let client = async_nats::connect(url).await?;
    let context = jetstream::new(client);
    let names: Vec<String> = context.stream_names().try_collect().await?;
    for name in names {
        let Some(kind) = Kind::of(&name) else {
            continue;
        };
        let stream = context.get_stream(name).await?;
        let state = &stream.cached_info().state;
        if state.messages == 0 {
            continue;
        }
        let last = state.last_sequence;
        let start_sequence = last.saturating_sub(STREAM_MESSAGES_MAX).max(1);
        let config = jetstream::consumer::pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
            ..Default::default()
        };
        let mut messages = stream.create_consumer(config).await?.messages().await?;
        let mut chain = Chain::default();
        while let Some(message) = messages.next().await {
            let message = message?;
            match kind {
                Kind::Events => note_event(recorder, &message),
                Kind::View => note_shown(recorder, &message),
                Kind::Log if chain.continues_with(&message) => note_entry(recorder, &message),
                Kind::Log => {}
            }
            let info = message.info()?;
            if info.pending == 0 || info.stream_sequence >= last {
                break;
            }
        }
    }
    Ok(())
}

/// What a stream holds.
#[derive(Clone, Copy)]
enum Kind {
    Events,
    View,
    Log,
}

impl Kind {
    fn of(stream: &str) -> Option<Self> {
        let kinds = [
            ("ONEX_REGISTRY_EVENTS", Self::Events),
            ("KV_onex-registry-view", Self::View),
            ("KV_onex-registry", Self::Log),
        ];
        let found = kinds.iter().find(|(name, _)| stream.starts_with(name));
        found.map(|(_, kind)| *kind)
    }
}

/// The entries that were read so far. The first that is found counts, and then each that names the one before it: anything
/// else is void.
#[derive(Default)]
struct Chain(Option<EntryId>);

impl Chain {
    /// Whether that is the next entry, and one of a format that tests know.
    fn continues_with(&mut self, message: &jetstream::Message) -> bool {
        let header = message
            .headers
            .as_ref()
            .and_then(|all| all.get(ENTRY_HEADER));
        let header = header.and_then(|text| text.as_str().parse::<EntryHeader>().ok());
        let Some(header) = header else { return false };
        if self.0.is_some_and(|last| last != header.predecessor) {
            return false;
        }
        self.0 = Some(header.id);
        onex_core::entry::is_understood(header.format)
    }
}

fn parts(message: &jetstream::Message) -> (HeaderMap, Value) {
    let headers = message.headers.clone().unwrap_or_default();
    let body = serde_json::from_slice(&message.payload).unwrap_or_default();
    (headers, body)
}

fn is_appended(headers: &HeaderMap) -> bool {
    APPENDED.iter().any(|header| headers.get(*header).is_some())
}

fn note_event(recorder: &Mutex<Recorder>, message: &jetstream::Message) {
    let (headers, body) = parts(message);
    if !is_appended(&headers) {
        return;
    }
    let subject = message.subject.as_str();
    let mut hasher = DefaultHasher::new();
    ("event", body["event"].as_str()).hash(&mut hasher);
    shape(&body, &mut hasher);
    write(
        recorder,
        hasher.finish(),
        || json!({"event": subject, "headers": plain(&headers), "body": body}),
    );
}

fn note_shown(recorder: &Mutex<Recorder>, message: &jetstream::Message) {
    let (headers, body) = parts(message);
    if !is_appended(&headers) {
        return;
    }
    // $KV, the bucket, the key.
    let key = message.subject.splitn(3, '.').nth(2).unwrap_or_default();
    let marker = headers.get(OPERATION).is_some();
    let mut hasher = DefaultHasher::new();
    ("view", key.split('.').next(), marker).hash(&mut hasher);
    shape(&body, &mut hasher);
    write(recorder, hasher.finish(), || {
        if marker {
            let bytes = message.payload.len();
            json!({"marker": key, "headers": plain(&headers), "bytes": bytes})
        } else {
            json!({"view": key, "body": body})
        }
    });
}

fn note_entry(recorder: &Mutex<Recorder>, message: &jetstream::Message) {
    let (headers, body) = parts(message);
    for piece in pieces(body) {
        let mut hasher = DefaultHasher::new();
        "entry".hash(&mut hasher);
        shape(&piece, &mut hasher);
        write(
            recorder,
            hasher.finish(),
            || json!({"entry": message.subject.as_str(), "headers": plain(&headers), "body": piece}),
        );
    }
}

/// An entry as several that say one thing each: one command, or one record of a snapshot. Of those, many look alike.
fn pieces(mut entry: Value) -> Vec<Value> {
    let commands = taken(&mut entry, "/cmds");
    let with = |command: Value| {
        let mut piece = entry.clone();
        piece["cmds"] = json!([command]);
        piece
    };
    let each = commands.into_iter().flat_map(|mut command| {
        let records = taken(&mut command, "/do/0/chunk/records");
        if records.is_empty() {
            return vec![command];
        }
        let one = |record: Value| {
            let mut command = command.clone();
            command["do"][0]["chunk"]["records"] = json!([record]);
            command
        };
        records.into_iter().map(one).collect()
    });
    let pieces: Vec<Value> = each.map(with).collect();
    if pieces.is_empty() {
        return vec![entry];
    }
    pieces
}

/// The items of a list, which is empty then.
fn taken(value: &mut Value, pointer: &str) -> Vec<Value> {
    let list = value.pointer_mut(pointer).and_then(Value::as_array_mut);
    list.map(std::mem::take).unwrap_or_default()
}
