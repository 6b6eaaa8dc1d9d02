//! What an entry of the log says: the changes of all commands that were decided together.
//!
//! ```json
//! {"rev":48211,"at":"2026-11-29T18:00:00.000Z","cmds":[
//!   "port.build-7.tcp.20018",
//!   {"c":"port.lease","x":"deploy-81","do":[{"put":"port.build-7.tcp.20017","lease":{…},"ev":{"kind":"port.leased"}}]}]}
//! ```

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use onex_types::ids::{RequesterId, Ttl};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, value::MapAccessDeserializer},
    ser::SerializeMap,
};
use uuid::Uuid;

use crate::{
    call::ExecutionEnd,
    execution::{Call, Counts, Run},
    key::Key,
    node_event::{NodeEvent, TrustEvent},
    node_record::{Bus, Live, Node},
    record::{
        Cooldown, Format, HostPool, Json, Lease, LeaseEnd, Member, Named, Record, Remembered,
        Request, Restored, Settings, Store,
    },
    trust::Verdicts,
};

/// The format of entries that this version writes and understands, once the log was raised to it. Format 1 was a bucket
/// with a key for each record.
pub const FORMAT: u32 = 2;
/// The format of a log that was never raised.
pub const FORMAT_FIRST: u32 = 2;

/// Whether this version understands entries of that format.
pub fn is_understood(format: u32) -> bool {
    (FORMAT_FIRST..=FORMAT).contains(&format)
}

/// An entry's body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The revision of its first command; the others follow one by one.
    pub rev: u64,
    /// When it was decided, for people.
    pub at: Timestamp,
    /// What its commands changed, in the order in which they were decided. A command that changed nothing is not here.
    pub cmds: Vec<CommandRecord>,
}

impl Entry {
    /// Its commands, each with its revision.
    pub fn commands(&self) -> impl Iterator<Item = (u64, &CommandRecord)> {
        self.cmds.iter().scan(self.rev, |next, command| {
            let revision = *next;
            *next = command.reaches(revision).saturating_add(1);
            Some((revision, command))
        })
    }

    /// The revision that the state has reached with it.
    pub fn last_revision(&self) -> u64 {
        let last = self.commands().last();
        last.map_or(self.rev.saturating_sub(1), |(revision, command)| {
            command.reaches(revision)
        })
    }
}

/// What one command changed.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandRecord {
    /// A lease or a node lasts its TTL again. Written as the bare key, because nine commands in ten are this one.
    Renewal(Key),
    /// Anything else.
    Other(Box<Changes>),
}

impl CommandRecord {
    /// Its changes, but for a renewal, which is one by itself.
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::Renewal(_) => &[],
            Self::Other(changes) => &changes.changes,
        }
    }
}

impl CommandRecord {
    /// The revision that the state has with it, if it is the command of that revision.
    pub fn reaches(&self, revision: u64) -> u64 {
        let skips = self.changes().iter().filter_map(|change| match change {
            Change::Skip { to } => Some(*to),
            _ => None,
        });
        skips.fold(revision, u64::max)
    }
}

/// The changes of one command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// What was asked for: the name of an endpoint, or of something that the registry does by itself.
    #[serde(rename = "c")]
    pub command: String,
    /// The correlation id of the request.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Who asked.
    #[serde(rename = "by", default, skip_serializing_if = "Option::is_none")]
    pub requester_id: Option<RequesterId>,
    /// What it did; never empty.
    #[serde(rename = "do")]
    pub changes: Vec<Change>,
}

impl Serialize for CommandRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Renewal(key) => key.serialize(serializer),
            Self::Other(changes) => changes.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for CommandRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyOrChanges;
        impl<'de> de::Visitor<'de> for KeyOrChanges {
            type Value = CommandRecord;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key or an object")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<CommandRecord, E> {
                text.parse().map(CommandRecord::Renewal).map_err(E::custom)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<CommandRecord, A::Error> {
                let changes = Changes::deserialize(MapAccessDeserializer::new(map))?;
                Ok(CommandRecord::Other(Box::new(changes)))
            }
        }
        deserializer.deserialize_any(KeyOrChanges)
    }
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The key has this record now.
    Put {
        /// Which.
        key: Key,
        /// What.
        record: Record,
        /// It is a grant whose port is still being tried, and that its granter may roll back.
        tentative: bool,
        /// What to publish.
        event: Option<EventRecord>,
    },
    /// A lease or a node lasts its TTL again, and more changes than that.
    Renew {
        /// Which.
        key: Key,
        /// Its TTL from now on.
        ttl: Option<Ttl>,
        /// The request that asked for it.
        request: Option<Request>,
        /// Of a node: what it says of its health, where that has changed.
        health: Option<Json>,
    },
    /// A grant is tentative no longer: it is never rolled back.
    Confirm {
        /// Which.
        key: Key,
    },
    /// A lease ends. What becomes of its other ports is said of each.
    End {
        /// Which.
        key: Key,
        /// How.
        how: LeaseEnd,
        /// How long nobody gets the port, in milliseconds, where that does not follow from how it ended.
        cooldown_ms: Option<u64>,
        /// The request that asked for it.
        request: Option<Request>,
        /// What to publish.
        event: Option<EventRecord>,
    },
    /// More executions of a node's tools have ended: they add to its counts.
    Add {
        /// Which counts.
        key: Key,
        /// How many.
        runs: u64,
        /// How many of them were answered with a result.
        ok: u64,
    },
    /// The key has no record any more.
    Delete {
        /// Which.
        key: Key,
        /// What to publish.
        event: Option<EventRecord>,
    },
    /// No command has the revisions up to that one: the next has a higher one.
    Skip {
        /// The revision.
        to: u64,
    },
    /// A part of a snapshot: every record of a range of keys. Changes nothing.
    Chunk(Box<Chunk>),
}

impl Change {
    /// Numbers what is told of it: `next` says which number is next for its key.
    pub(crate) fn number(&mut self, mut next: impl FnMut(&Key) -> u64) {
        if let Self::Put { key, event, .. }
        | Self::End { key, event, .. }
        | Self::Delete { key, event } = self
            && let Some(event) = event
        {
            event.n = next(key);
        }
    }

    /// What to publish of it.
    pub fn event(&self) -> Option<&EventRecord> {
        match self {
            Self::Put { event, .. } | Self::End { event, .. } | Self::Delete { event, .. } => {
                event.as_ref()
            }
            Self::Renew { .. }
            | Self::Confirm { .. }
            | Self::Add { .. }
            | Self::Skip { .. }
            | Self::Chunk(_) => None,
        }
    }
}

/// Something that happened, as it is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// The event's kind, which its subject names.
    pub kind: EventKind,
    /// Counts what was told of its key from 1, without a gap as long as there is a record under that key.
    #[serde(default)]
    pub n: u64,
    /// The lease, where the change does not put it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Arc<Lease>>,
    /// The events that are missing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// The node, and tools of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Box<NodeEvent>>,
    /// What a validator said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Box<TrustEvent>>,
    /// The execution, where the change does not put it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Arc<Run>>,
    /// How an execution ended, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Arc<ExecutionEnd>>,
}

/// Events that were removed before they were published: those of these revisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first revision.
    pub from: u64,
    /// The last revision.
    pub to: u64,
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// A port was granted.
    #[serde(rename = "port.leased")]
    PortLeased,
    /// A holder released its lease.
    #[serde(rename = "port.released")]
    PortReleased,
    /// A lease's time was up.
    #[serde(rename = "port.expired")]
    PortExpired,
    /// A lease got another port for one of its own.
    #[serde(rename = "port.rebound")]
    PortRebound,
    /// Another program was using a port.
    #[serde(rename = "port.quarantined")]
    PortQuarantined,
    /// Events were removed before they were published. Watchers take a new snapshot.
    #[serde(rename = "gap")]
    Gap,
    /// A port was taken from its holder.
    #[serde(rename = "port.revoked")]
    PortRevoked,
    /// A node was registered.
    #[serde(rename = "node.registered")]
    NodeRegistered,
    /// A node was registered again after its time had been up.
    #[serde(rename = "node.rejoined")]
    NodeRejoined,
    /// A node's time was up.
    #[serde(rename = "node.expired")]
    NodeExpired,
    /// A node was deregistered.
    #[serde(rename = "node.deregistered")]
    NodeDeregistered,
    /// A running node's tools changed; only events of the tools are published.
    #[serde(rename = "tools.changed")]
    ToolsChanged,
    /// A node offers a tool, or another contract of it.
    #[serde(rename = "tool.registered")]
    ToolRegistered,
    /// A node offers a tool no longer.
    #[serde(rename = "tool.removed")]
    ToolRemoved,
    /// Another node offers the tool in that version under another contract.
    #[serde(rename = "tool.collision")]
    ToolCollision,
    /// A bus was announced.
    #[serde(rename = "bus.registered")]
    BusRegistered,
    /// A bus has ended.
    #[serde(rename = "bus.removed")]
    BusRemoved,
    /// Something follows from a validator's report that was not so before.
    #[serde(rename = "trust.changed")]
    TrustChanged,
    /// An execution has begun.
    #[serde(rename = "tool.invoked")]
    ToolInvoked,
    /// An execution was answered with a result.
    #[serde(rename = "tool.completed")]
    ToolCompleted,
    /// An execution ended without a result.
    #[serde(rename = "tool.failed")]
    ToolFailed,
}

/// A part of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// Which snapshot.
    pub snapshot: Uuid,
    /// Counts its chunks from 0.
    pub n: u32,
    /// Whether it is the last one.
    pub last: bool,
    /// The lowest key of its range; absent in the first chunk, which has no lower end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Key>,
    /// The lowest key above its range; absent in the last chunk, which has no upper end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Key>,
    /// Every record of the range as of this entry.
    pub records: Vec<Kept>,
}

/// A record of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Its key.
    pub key: Key,
    /// The revision of the command that last changed it.
    pub rev: u64,
    /// When that was.
    pub at: Timestamp,
    /// Whether it is a tentative grant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tentative: bool,
    /// The number of its last event.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub told: u64,
    /// The record.
    pub record: Record,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A change as it is written: the member that names its kind holds the key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    put: Option<Key>,
    renew: Option<Key>,
    confirm: Option<Key>,
    end: Option<Key>,
    add: Option<Key>,
    del: Option<Key>,
    skip: Option<u64>,
    chunk: Option<Box<Chunk>>,
    #[serde(default)]
    tentative: bool,
    ev: Option<EventRecord>,
    ttl: Option<Ttl>,
    how: Option<LeaseEnd>,
    cooldown_ms: Option<u64>,
    health: Option<Json>,
    req: Option<Request>,
    runs: Option<u64>,
    ok: Option<u64>,
    store: Option<Store>,
    settings: Option<Settings>,
    pool: Option<HostPool>,
    lease: Option<Lease>,
    member: Option<Member>,
    cooldown: Option<Cooldown>,
    request: Option<Remembered>,
    named: Option<Named>,
    restored: Option<Restored>,
    format: Option<Format>,
    node: Option<Node>,
    live: Option<Live>,
    bus: Option<Bus>,
    trust: Option<Verdicts>,
    call: Option<Call>,
    run: Option<Run>,
    counts: Option<Counts>,
}

impl Written {
    fn record(&mut self) -> Option<Record> {
        let records = [
            self.store.take().map(Record::from),
            self.settings.take().map(Record::from),
            self.pool.take().map(Record::from),
            self.lease.take().map(Record::from),
            self.member.take().map(Record::from),
            self.cooldown.take().map(Record::from),
            self.request.take().map(Record::from),
            self.named.take().map(Record::from),
            self.restored.take().map(Record::from),
            self.format.take().map(Record::from),
            self.node.take().map(Record::from),
            self.live.take().map(Record::from),
            self.bus.take().map(Record::from),
            self.trust.take().map(Record::from),
            self.call.take().map(Record::from),
            self.run.take().map(Record::from),
            self.counts.take().map(Record::from),
        ];
        records.into_iter().flatten().next()
    }

    fn change(mut self) -> Option<Change> {
        let record = self.record();
        Some(match self {
            Self {
                put: Some(key),
                tentative,
                ev,
                ..
            } => Change::Put {
                key,
                record: record?,
                tentative,
                event: ev,
            },
            Self {
                renew: Some(key),
                ttl,
                req,
                health,
                ..
            } => Change::Renew {
                key,
                ttl,
                request: req,
                health,
            },
            Self {
                confirm: Some(key), ..
            } => Change::Confirm { key },
            Self {
                end: Some(key),
                how,
                cooldown_ms,
                req,
                ev,
                ..
            } => Change::End {
                key,
                how: how?,
                cooldown_ms,
                request: req,
                event: ev,
            },
            Self {
                add: Some(key),
                runs,
                ok,
                ..
            } => Change::Add {
                key,
                runs: runs?,
                ok: ok.unwrap_or(0),
            },
            Self {
                del: Some(key), ev, ..
            } => Change::Delete { key, event: ev },
            Self { skip: Some(to), .. } => Change::Skip { to },
            Self { chunk, .. } => Change::Chunk(chunk?),
        })
    }
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let change = Written::deserialize(deserializer)?.change();
        change.ok_or_else(|| de::Error::custom("a change names its kind, and what belongs to it"))
    }
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Put {
                key,
                record,
                tentative,
                event,
            } => {
                map.serialize_entry("put", key)?;
                match record {
                    Record::Store(body) => map.serialize_entry("store", body)?,
                    Record::Settings(body) => map.serialize_entry("settings", body)?,
                    Record::Pool(body) => map.serialize_entry("pool", body)?,
                    Record::Lease(body) => map.serialize_entry("lease", body)?,
                    Record::Member(body) => map.serialize_entry("member", body)?,
                    Record::Cooldown(body) => map.serialize_entry("cooldown", body)?,
                    Record::Request(body) => map.serialize_entry("request", body)?,
                    Record::Named(body) => map.serialize_entry("named", body)?,
                    Record::Restored(body) => map.serialize_entry("restored", body)?,
                    Record::Format(body) => map.serialize_entry("format", body)?,
                    Record::Node(body) => map.serialize_entry("node", body)?,
                    Record::Live(body) => map.serialize_entry("live", body)?,
                    Record::Bus(body) => map.serialize_entry("bus", body)?,
                    Record::Trust(body) => map.serialize_entry("trust", body)?,
                    Record::Call(body) => map.serialize_entry("call", body)?,
                    Record::Run(body) => map.serialize_entry("run", body)?,
                    Record::Counts(body) => map.serialize_entry("counts", body)?,
                }
                if *tentative {
                    map.serialize_entry("tentative", tentative)?;
                }
                member(&mut map, "ev", event.as_ref())?;
            }
            Self::Renew {
                key,
                ttl,
                request,
                health,
            } => {
                map.serialize_entry("renew", key)?;
                member(&mut map, "ttl", ttl.as_ref())?;
                member(&mut map, "req", request.as_ref())?;
                member(&mut map, "health", health.as_ref())?;
            }
            Self::Confirm { key } => map.serialize_entry("confirm", key)?,
            Self::End {
                key,
                how,
                cooldown_ms,
                request,
                event,
            } => {
                map.serialize_entry("end", key)?;
                map.serialize_entry("how", how)?;
                member(&mut map, "cooldown_ms", cooldown_ms.as_ref())?;
                member(&mut map, "req", request.as_ref())?;
                member(&mut map, "ev", event.as_ref())?;
            }
            Self::Add { key, runs, ok } => {
                map.serialize_entry("add", key)?;
                map.serialize_entry("runs", runs)?;
                member(&mut map, "ok", Some(ok).filter(|ok| **ok > 0))?;
            }
            Self::Delete { key, event } => {
                map.serialize_entry("del", key)?;
                member(&mut map, "ev", event.as_ref())?;
            }
            Self::Skip { to } => map.serialize_entry("skip", to)?,
            Self::Chunk(chunk) => map.serialize_entry("chunk", chunk)?,
        }
        map.end()
    }
}

fn member<M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    value: Option<&impl Serialize>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(name, value),
        None => Ok(()),
    }
}
