//! From the messages of a bucket to the records of a log.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use onex_types::{
    ids::{Incarnation, LeaseId, NodeId, RequesterId, Ttl},
    key::PortKey,
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{
    execution::{Call, Counts, Run},
    host_record::HostRecord,
    key::Key,
    lease::{Cooldown, Last, Lease, LeaseEnd},
    node_record::{Bus, BusEnded, Live, Node, NodeEnded, PAST_INCARNATIONS_MAX, PastIncarnation},
    record::Record,
    record_parts::{OwnerRef, Unknown},
    settings::RETENTION_MILLIS_DEFAULT,
};

use super::{Converted, Left, Message, Value, revision, written};

/// The format that is read here.
const FORMAT: u32 = 1;
/// How long a call that has ended is remembered from now on, in milliseconds.
const CALLS_KEPT_MILLIS: u64 = 600_000;
/// What that format called the reports on a node.
const VERDICT: &str = "verdict.";
/// Where it kept its settings, and how far events were published.
const SYS: &str = "sys";
const CHECKPOINT: &str = "sys.checkpoint";

/// What the whole bucket says; `last` is the last position of its stream.
pub fn convert(messages: &[Message], last: u64, now: Timestamp) -> Converted {
    let mut reader = Reader::new(messages, last, now);
    let all: BTreeMap<&str, &Message> = messages
        .iter()
        .map(|message| (message.key.as_str(), message))
        .collect();
    // A node's two records make one whole, and what belongs to its life is read knowing of that.
    for (key, message) in &all {
        if let Some(Key::Live(node_id)) = parsed(key) {
            reader.node(
                &node_id,
                message,
                all.get(node_key(&node_id).as_str()).copied(),
            );
        }
    }
    for message in all.values() {
        reader.take(message);
    }
    reader.finish()
}

/// What a key names today.
fn parsed(key: &str) -> Option<Key> {
    match key.strip_prefix(VERDICT) {
        Some(node) => format!("trust.{node}").parse().ok(),
        None => key.parse().ok(),
    }
}

fn node_key(node_id: &NodeId) -> String {
    Key::Node(node_id.clone()).to_string()
}

struct Reader {
    lineage: u64,
    ttl_max: Ttl,
    published: u64,
    now: Timestamp,
    lives: BTreeMap<NodeId, Life>,
    /// What does not depend on anything.
    records: Vec<(Key, Record)>,
    /// What belongs to a life, or reserves a port.
    behind: Vec<(Key, Record)>,
    out: Converted,
}

/// A node that was read.
struct Life {
    live: Live,
    node: Node,
    superseded_ttl: Option<Ttl>,
    past: BTreeSet<Incarnation>,
}

/// Why a record is left where it is.
type Unread = String;

impl Reader {
    fn new(messages: &[Message], last: u64, now: Timestamp) -> Self {
        let find = |key: &str| messages.iter().find(|message| message.key == key);
        let sys: Option<written::Sys> = find(SYS).and_then(|message| json(message).ok());
        let checkpoint: Option<written::Checkpoint> =
            find(CHECKPOINT).and_then(|message| json(message).ok());
        let lineage = sys.as_ref().map_or(0, |sys| sys.lineage);
        Self {
            lineage,
            ttl_max: sys.map_or(Ttl::MAX, |sys| sys.ttl_max),
            published: checkpoint.map_or(0, |checkpoint| checkpoint.out_to),
            now,
            lives: BTreeMap::new(),
            records: Vec::new(),
            behind: Vec::new(),
            out: Converted {
                revision: revision(lineage, last),
                ..Converted::default()
            },
        }
    }

    /// A record's body, with how many of its changes nobody was told of counted.
    fn record<B: DeserializeOwned>(&mut self, message: &Message) -> Result<B, Unread> {
        let written::Format { format } = json(message)?;
        if format != FORMAT {
            return Err(format!("it has format {format}"));
        }
        let record: written::Record<B> = json(message)?;
        let waiting = record
            .outbox
            .iter()
            .filter(|transition| transition.revision.unwrap_or(message.sequence) > self.published);
        self.out.counts.unpublished += waiting.count();
        Ok(record.body)
    }

    fn leave(&mut self, message: &Message, why: impl Into<String>) {
        self.out.left.push(Left {
            key: message.key.clone(),
            why: why.into(),
            reserved: None,
        });
    }

    /// A node, from the record of its life and what it announced.
    fn node(&mut self, node_id: &NodeId, live: &Message, node: Option<&Message>) {
        if live.value == Value::Forgotten {
            return;
        }
        let Some(node_message) = node else {
            return self.leave(live, "what the node announced is not there");
        };
        let read = self.record::<written::Lived>(live);
        let announced = self.record::<written::Announced>(node_message);
        let (live, node) = match (read, announced) {
            (Ok(live), Ok(node)) => (live.live, node.node),
            (Err(why), _) => return self.leave(live, why),
            (_, Err(why)) => return self.leave(node_message, why),
        };
        let life = Life {
            superseded_ttl: live.superseded_ttl,
            past: BTreeSet::new(),
            node: Node {
                incarnation: live.incarnation,
                registration: node.registration,
                began: live.request,
                requests: node.requests,
                earlier: node.earlier,
                unknown: Unknown::new(),
            },
            live: Live {
                incarnation: live.incarnation,
                epoch: live.epoch,
                requester_id: live.requester_id,
                ttl: live.ttl,
                registered_at: live.registered_at,
                ended: live.ended.map(|ended| NodeEnded {
                    how: ended.how,
                    at: ended.at,
                    kept_ms: RETENTION_MILLIS_DEFAULT,
                    reason: None,
                }),
                past: Vec::new(),
                health: live.health,
                unknown: Unknown::new(),
            },
        };
        self.lives.insert(node_id.clone(), life);
    }

    fn take(&mut self, message: &Message) {
        if message.value == Value::Forgotten
            || message.key == SYS
            || message.key.starts_with("sys.")
        {
            return;
        }
        let Some(key) = parsed(&message.key) else {
            return self.leave(message, "no registry writes such a key");
        };
        let taken = match &key {
            Key::Port(port) => {
                if let Err(why) = self.port(port, message) {
                    self.reserve(port, message, why);
                }
                Ok(())
            }
            // Together with its life.
            Key::Live(_) => Ok(()),
            Key::Node(id) if self.lives.contains_key(id) => Ok(()),
            Key::Node(_) => Err("its life is not there".to_owned()),
            Key::Bus(_) => self.bus(&key, message),
            Key::Trust(_) => self.trust(&key, message),
            Key::Call(_) => self.call(&key, message),
            Key::Exec(_) => self.counts(&key, message),
            Key::Host(_) => self.host(&key, message),
            _ => Err("no registry of that format writes such a key".to_owned()),
        };
        if let Err(why) = taken {
            self.leave(message, why);
        }
    }

    fn port(&mut self, port: &PortKey, message: &Message) -> Result<(), Unread> {
        let fence = revision(self.lineage, message.sequence);
        let key = Key::Port(port.clone());
        let record = match self.record(message)? {
            written::PortBody::Lease(lease) => {
                if lease.ports != [port.port] {
                    return Err("it has other ports than its key".to_owned());
                }
                if let Some(owner) = &lease.node {
                    self.owned(owner)?;
                }
                self.out.counts.leases += 1;
                Record::from(Lease {
                    lease_id: lease.lease_id,
                    requester_id: lease.requester_id,
                    protocol: lease.protocol,
                    ttl: lease.ttl,
                    owner: lease.node,
                    ports: lease.ports,
                    transports: vec![port.transport],
                    name: lease.name,
                    labels: lease.labels,
                    holder: None,
                    requested_at: lease.requested_at,
                    granted_at: lease.granted_at,
                    fence,
                    request: lease.request,
                    renewal: lease.renewal,
                    rebind: None,
                    unknown: Unknown::new(),
                })
            }
            written::PortBody::Rest(rest) => {
                let Some(last) = rest.last else {
                    return Err("its record was destroyed before".to_owned());
                };
                self.out.counts.ports += 1;
                Record::from(Cooldown {
                    how: rest.ended.how(),
                    ended_at: rest.ended_at,
                    cooldown_ms: rest.rest_ms,
                    holder_ms: 0,
                    reason: None,
                    last: Last {
                        lease_id: last.lease_id,
                        requester_id: last.requester_id,
                        name: last.name,
                        holder: None,
                        fence,
                        request: last.request,
                        release: last.release,
                        part: false,
                    },
                })
            }
        };
        self.behind.push((key, record));
        Ok(())
    }

    /// Nobody knows who holds it: it stays reserved for as long as a holder may count on it.
    fn reserve(&mut self, port: &PortKey, message: &Message, why: Unread) {
        let record = Cooldown {
            how: LeaseEnd::Expired,
            ended_at: self.now,
            cooldown_ms: self.ttl_max.millis() + onex_types::time::slack(self.ttl_max.millis()),
            holder_ms: 0,
            reason: None,
            last: Last {
                lease_id: LeaseId(Uuid::nil()),
                requester_id: RequesterId(Uuid::nil()),
                name: None,
                holder: None,
                fence: revision(self.lineage, message.sequence),
                request: None,
                release: None,
                part: false,
            },
        };
        self.behind.push((Key::Port(port.clone()), record.into()));
        self.out.left.push(Left {
            key: message.key.clone(),
            why,
            reserved: Some(self.ttl_max),
        });
    }

    /// Something belongs to that life: an earlier one, too, whose end must be known then.
    fn owned(&mut self, owner: &OwnerRef) -> Result<(), Unread> {
        let life = self.lives.get_mut(&owner.node_id);
        let life = life.ok_or("it belongs to a node that is not there")?;
        if life.live.incarnation != owner.incarnation {
            life.past.insert(owner.incarnation);
        }
        Ok(())
    }

    fn bus(&mut self, key: &Key, message: &Message) -> Result<(), Unread> {
        let bus = self.record::<written::BusBody>(message)?.bus;
        if let Some(owner) = &bus.node {
            self.owned(owner)?;
        }
        let mut requests = bus.earlier;
        requests.extend(bus.request);
        let record = Bus {
            requester_id: bus.requester_id,
            protocol: bus.protocol,
            owner: bus.node,
            lease_id: bus.lease_id,
            registered_at: bus.registered_at,
            ended: bus.ended.map(|ended| BusEnded {
                how: ended.how.how(),
                at: ended.at,
                kept_ms: RETENTION_MILLIS_DEFAULT,
            }),
            requests,
            more: bus.more,
        };
        self.out.counts.buses += 1;
        self.behind.push((key.clone(), record.into()));
        Ok(())
    }

    fn trust(&mut self, key: &Key, message: &Message) -> Result<(), Unread> {
        let judged: written::Judged = self.record(message)?;
        self.out.counts.trust += 1;
        self.records.push((key.clone(), judged.verdicts.into()));
        Ok(())
    }

    fn call(&mut self, key: &Key, message: &Message) -> Result<(), Unread> {
        let call = self.record::<written::Called>(message)?.call;
        let has_ended = call.ended.is_some();
        let record = Call {
            digest: call.digest,
            idempotent: call.idempotent,
            run: Run {
                execution: call.execution,
                timeout_ms: call.timeout_ms,
                requester_id: call.requester_id,
                correlation_id: call.correlation_id,
                began_at: call.began_at,
                unknown: Unknown::new(),
            },
            // That was not written down: it may have been.
            executed_before: !has_ended,
            ended: call.ended,
            kept_ms: if has_ended { CALLS_KEPT_MILLIS } else { 0 },
            unknown: Unknown::new(),
        };
        self.out.counts.calls += 1;
        self.records.push((key.clone(), record.into()));
        Ok(())
    }

    fn counts(&mut self, key: &Key, message: &Message) -> Result<(), Unread> {
        let counts = self.record::<written::Counted>(message)?.counts;
        let record = Counts {
            runs: counts.execution_count,
            ok: counts.success_count,
            last_at: counts.last_execution,
            unknown: Unknown::new(),
        };
        self.out.counts.counts += 1;
        self.records.push((key.clone(), record.into()));
        Ok(())
    }

    fn host(&mut self, key: &Key, message: &Message) -> Result<(), Unread> {
        let Value::Body(_) = &message.value else {
            // It may be removed by hand.
            return Ok(());
        };
        let mut record: HostRecord = json(message)?;
        record.unknown.clear();
        self.out.counts.hosts += 1;
        self.records.push((key.clone(), record.into()));
        Ok(())
    }

    fn finish(mut self) -> Converted {
        self.out.counts.nodes = self.lives.len();
        for (node_id, life) in self.lives {
            let mut live = life.live;
            let ttl = life.superseded_ttl.unwrap_or(self.ttl_max);
            let past = life.past.into_iter().take(PAST_INCARNATIONS_MAX);
            live.past = past
                .map(|incarnation| PastIncarnation {
                    incarnation,
                    how: LeaseEnd::Superseded,
                    at: live.registered_at,
                    ttl,
                })
                .collect();
            let node = (Key::Node(node_id.clone()), life.node.into());
            let live = (Key::Live(node_id), live.into());
            self.records.extend([node, live]);
        }
        self.records.append(&mut self.behind);
        self.out.records = self.records;
        self.out
    }
}

/// What a message says.
fn json<T: DeserializeOwned>(message: &Message) -> Result<T, Unread> {
    match &message.value {
        Value::Body(body) => serde_json::from_slice(body).map_err(|error| error.to_string()),
        Value::Forgotten | Value::Removed => Err("somebody removed it".to_owned()),
    }
}
