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
    key::Key,
    record::{
        Cooldown, Format, HostPool, Lease, LeaseEnd, Member, Named, Record, Remembered, Request,
        Restored, Settings, Store,
    },
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
    /// A lease lasts its TTL again. Written as the bare key, because nine commands in ten are this one.
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
    /// A lease lasts its TTL again, and more changes than that.
    Renew {
        /// Which.
        key: Key,
        /// Its TTL from now on.
        ttl: Option<Ttl>,
        /// The request that asked for it.
        request: Option<Request>,
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
        /// The request that asked for it.
        request: Option<Request>,
        /// What to publish.
        event: Option<EventRecord>,
    },
    /// The key has no record any more.
    Delete {
        /// Which.
        key: Key,
    },
    /// No command has the revisions up to that one: the next has a higher one.
    Skip {
        /// The revision.
        to: u64,
    },
    /// A part of a snapshot: every record of a range of keys. Changes nothing.
    Chunk(Box<Chunk>),
}

/// Something that happened, as it is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// The event's kind, which its subject names.
    pub kind: EventKind,
    /// The lease, where the change does not put it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Arc<Lease>>,
    /// The events that are missing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
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
    /// The record.
    pub record: Record,
}

/// A change as it is written: the member that names its kind holds the key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    put: Option<Key>,
    renew: Option<Key>,
    confirm: Option<Key>,
    end: Option<Key>,
    del: Option<Key>,
    skip: Option<u64>,
    chunk: Option<Box<Chunk>>,
    #[serde(default)]
    tentative: bool,
    ev: Option<EventRecord>,
    ttl: Option<Ttl>,
    how: Option<LeaseEnd>,
    req: Option<Request>,
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
                ..
            } => Change::Renew {
                key,
                ttl,
                request: req,
            },
            Self {
                confirm: Some(key), ..
            } => Change::Confirm { key },
            Self {
                end: Some(key),
                how,
                req,
                ev,
                ..
            } => Change::End {
                key,
                how: how?,
                request: req,
                event: ev,
            },
            Self { del: Some(key), .. } => Change::Delete { key },
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
                }
                if *tentative {
                    map.serialize_entry("tentative", tentative)?;
                }
                member(&mut map, "ev", event.as_ref())?;
            }
            Self::Renew { key, ttl, request } => {
                map.serialize_entry("renew", key)?;
                member(&mut map, "ttl", ttl.as_ref())?;
                member(&mut map, "req", request.as_ref())?;
            }
            Self::Confirm { key } => map.serialize_entry("confirm", key)?,
            Self::End {
                key,
                how,
                request,
                event,
            } => {
                map.serialize_entry("end", key)?;
                map.serialize_entry("how", how)?;
                member(&mut map, "req", request.as_ref())?;
                member(&mut map, "ev", event.as_ref())?;
            }
            Self::Delete { key } => map.serialize_entry("del", key)?,
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
