//! The schema of an entry of the log: see [`stored`](super).

#![expect(
    dead_code,
    reason = "these types are never values: their schemas are all there is to them"
)]
#![expect(
    clippy::struct_field_names,
    reason = "they are called what the entry's members are"
)]

use onex_core::entry::EventKind;
use onex_types::entry::ENTRY_HEADER;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::{
    super::{
        event::LeaseEndText,
        message_schema::{Message, remark},
        names::Namespace,
        schema::{self, AnyJson, KeyText, PortNumber, Time, TtlSeconds, UuidText},
    },
    call_record::{ExecutionEnd, Run},
    examples,
    node_record::{NodeEvent, TrustEvent},
    record::{Lease, Record},
    request::Request,
};

/// One entry.
#[derive(JsonSchema)]
struct Entry {
    /// The revision of its first command; the others follow one by one.
    rev: u64,
    /// When it was decided, for people.
    at: Time,
    /// What its commands changed, in the order in which they were decided. A command that changed nothing is not here.
    cmds: Vec<CommandRecord>,
}

/// What one command changed.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum CommandRecord {
    /// A lease or a node lasts its TTL again: its bare key.
    Renewal(KeyText),
    /// Anything else.
    Other(Changes),
}

/// The changes of one command.
#[derive(JsonSchema)]
struct Changes {
    /// What was asked for: the name of an endpoint, or of something that the registry does by itself.
    c: String,
    /// The correlation id of the request.
    x: Option<String>,
    /// Who asked.
    by: Option<UuidText>,
    /// What it did.
    #[schemars(rename = "do", length(min = 1))]
    changes: Vec<Change>,
}

/// One change of one key. Its first member names its kind.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Change {
    Put(Put),
    Renew(Renew),
    Confirm(Confirm),
    End(End),
    Add(Add),
    Delete(Delete),
    Skip(Skip),
    Chunk(ChunkChange),
}

/// The key has this record now.
#[derive(JsonSchema)]
struct Put {
    #[schemars(flatten)]
    record: Record,
    /// The key.
    put: KeyText,
    /// Whether it is a grant whose port is still being tried, and that its granter may roll back; absent for no.
    tentative: Option<bool>,
    /// What to publish.
    ev: Option<EventRecord>,
}

/// A lease or a node lasts its TTL again, and more changes than that.
#[derive(JsonSchema)]
struct Renew {
    /// The key.
    renew: KeyText,
    /// Its TTL from now on, in seconds.
    ttl: Option<TtlSeconds>,
    /// The request that asked for it.
    req: Option<Request>,
    /// Of a node: what it says of its health, where that has changed.
    health: Option<AnyJson>,
}

/// A grant is tentative no longer: it is never rolled back.
#[derive(JsonSchema)]
struct Confirm {
    /// The key.
    confirm: KeyText,
}

/// A lease ends: the key has a `cooldown` now.
#[derive(JsonSchema)]
struct End {
    /// The key.
    end: KeyText,
    /// How it ends.
    how: LeaseEndText,
    /// How long nobody gets the port, in milliseconds, where that does not follow from how it ended: one minute for
    /// `in_use`, no time for the others.
    cooldown_ms: Option<u64>,
    /// The request that asked for it.
    req: Option<Request>,
    /// What to publish.
    ev: Option<EventRecord>,
}

/// More executions of a node's tools have ended: they add to its `counts`.
#[derive(JsonSchema)]
struct Add {
    /// The key.
    add: KeyText,
    /// How many.
    runs: u64,
    /// How many of them were answered with a result; absent for none.
    ok: Option<u64>,
}

/// The key has no record any more.
#[derive(JsonSchema)]
struct Delete {
    /// The key.
    del: KeyText,
    /// What to publish.
    ev: Option<EventRecord>,
}

/// No command has the revisions up to that one.
#[derive(JsonSchema)]
struct Skip {
    /// The revision.
    skip: u64,
}

/// A part of a snapshot. It changes nothing.
#[derive(JsonSchema)]
struct ChunkChange {
    /// Every record of a range of keys.
    chunk: Chunk,
}

/// A part of a snapshot: every record of a range of keys.
#[derive(JsonSchema)]
struct Chunk {
    /// The snapshot's id.
    snapshot: UuidText,
    /// Counts its chunks from 0.
    n: u32,
    /// Whether it is the last one.
    last: bool,
    /// The lowest key of the range; absent in the first chunk.
    from: Option<KeyText>,
    /// The lowest key above the range; absent in the last chunk.
    to: Option<KeyText>,
    /// Every record of the range as of this entry.
    records: Vec<Kept>,
}

/// A record of a snapshot.
#[derive(JsonSchema)]
struct Kept {
    /// Its key.
    key: KeyText,
    /// The revision of the command that last changed it.
    rev: u64,
    /// When that was, for people.
    at: Time,
    /// Whether it is a tentative grant; absent for no.
    tentative: Option<bool>,
    /// The number of its last event; absent where it had none.
    event_count: Option<u64>,
    /// The record.
    record: Record,
}

/// What to publish of a change. What the change itself says is not here.
#[derive(JsonSchema)]
struct EventRecord {
    /// The event's kind. Of `tools.changed` only events of the tools are published.
    kind: KindText,
    /// Counts what was published of its key from 1.
    n: u64,
    /// The lease, where the change does not put it.
    lease: Option<Lease>,
    /// The port that the lease gave up for another one.
    old_port: Option<PortNumber>,
    /// The events that are missing here.
    gap: Option<Gap>,
    /// The node, and tools of it.
    node: Option<NodeEvent>,
    /// What a validator reported.
    trust: Option<TrustEvent>,
    /// The execution, where the change does not put it.
    run: Option<Run>,
    /// How an execution ended, where one did.
    end: Option<ExecutionEnd>,
}

/// Events that were removed before they were published: those of these revisions.
#[derive(JsonSchema)]
struct Gap {
    /// The first revision.
    from: u64,
    /// The last revision.
    to: u64,
}

/// Kinds of events.
struct KindText;

impl JsonSchema for KindText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EventKind".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let kinds = EventKind::PUBLISHED
            .iter()
            .chain(&[EventKind::ToolsChanged]);
        let kinds: Vec<&str> = kinds.map(|kind| kind.as_str()).collect();
        schemars::json_schema!({"type": "string", "enum": kinds})
    }
}

/// The schema of an entry.
pub(super) fn message() -> Message {
    let bucket = Namespace::default().bucket();
    let mut schema = schema::of_stored_with_parts::<Entry>();
    let description = format!(
        "What all commands changed that were decided together. The key `log` of the bucket {bucket} is the log, and its \
        history is what the registry's state is made of; `nats kv get {bucket} log` shows the newest entry. Entries that \
        are older than two snapshots are removed. Members of records that this version does not know may be there, from \
        a later one."
    );
    remark(&mut schema, &description);
    if let Some(schema) = schema.as_object_mut() {
        let subject = format!("$KV.{bucket}.log");
        schema.insert("x-nats-subject".to_owned(), json!(subject));
        schema.insert("x-nats-headers".to_owned(), headers());
    }
    Message::new("entry", "Entry of the log", schema, examples::entries())
}

fn headers() -> Value {
    json!({
        "type": "object",
        "required": [ENTRY_HEADER],
        "properties": {
            ENTRY_HEADER: {
                "type": "string",
                "pattern": "^[0-9a-f]{32} [0-9a-f]{32} [0-9]+ [0-9]+ [0-9a-f]{32}$",
                "description": "<id> <predecessor> <format> <snapshot sequence> <snapshot id>: the entry's id, the id of \
                    the valid entry before it, the format of its body, and the newest complete snapshot, by the sequence \
                    and the id of the entry with its first chunk; 0 and zeros where there is none. A message without \
                    this header, or whose predecessor is not the last valid entry, is no entry: it is passed over.",
            },
        },
    })
}
