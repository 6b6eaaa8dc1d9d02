//! How a change is written: an object whose first member names its kind and holds the key.

use onex_types::ids::Ttl;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

use crate::{
    execution::{Call, Counts, Run},
    host_record::HostRecord,
    key::Key,
    lease::{Cooldown, Lease, LeaseEnd, Member, Remembered},
    node_record::{Bus, Live, Node},
    record::{Format, HostPool, Named, Record, Restored, Store},
    record_parts::{Json, Request},
    settings::Settings,
    trust::Verdicts,
};

use super::{Change, Chunk, EventRecord};

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
    host: Option<HostRecord>,
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
            self.host.take().map(Record::from),
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
                    Record::Host(body) => map.serialize_entry("host", body)?,
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
