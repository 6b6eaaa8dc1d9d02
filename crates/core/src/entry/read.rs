//! How a change is read: the members of all kinds are known, and which are there says which kind it is.

use onex_types::ids::Ttl;
use serde::{Deserialize, Deserializer, de};

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
            Self { chunk, .. } => Change::Chunk { chunk: chunk? },
        })
    }
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let change = Written::deserialize(deserializer)?.change();
        change.ok_or_else(|| de::Error::custom("a change names its kind, and what belongs to it"))
    }
}
