//! Raw writes: what those of a registry are compared with.

use async_nats::{HeaderMap, Message, Subject, header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE};
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bus::{Bus, Setting};
use super::harness::{Log, until};
use super::load::{Shot, Work};

/// The registry's stream, and what is like it.
const LOG: &str = "KV_onex-registry";
const LIKE: &str = "KV_bench";
/// What the subjects of writes begin with.
const PREFIX: &str = "$KV.bench.";
/// Keys that one caller writes in turn.
const KEYS: usize = 32;

/// A bucket like the registry's, for values as large as the entry of a lease.
pub(crate) struct Bucket {
    /// Bytes of a value.
    pub(crate) size: usize,
}

impl Bucket {
    pub(crate) async fn create(bus: &Bus) -> Self {
        let (caller, context) = (&bus.caller, bus.context());
        let log = Log::of(caller).await;
        let before = log.last().await;
        let lease = caller.lease(Uuid::new_v4(), Value::Null).await;
        let like = context.get_stream(LOG).await.unwrap();
        let mut config = like.cached_info().config.clone();
        LIKE.clone_into(&mut config.name);
        config.subjects = vec![format!("{PREFIX}>")];
        config.max_messages_per_subject = 1;
        // The log sets aside more than a disk may have twice.
        config.max_bytes = 256 << 20;
        context.create_stream(config).await.unwrap();
        let id = lease["lease_id"].as_str().unwrap();
        let commands = log.commands(before).await;
        let granted = commands
            .iter()
            .find(|command| command.body.to_string().contains(id))
            .unwrap();
        let entry = like.get_raw_message(granted.position).await.unwrap();
        let holder = &lease["requester_id"];
        let given_back = json!({"requester_id": holder, "lease_id": id});
        caller.get("port.release", given_back).await;
        if bus.setting == Setting::Cluster {
            for stream in [LOG, LIKE] {
                lead_here(bus, stream).await;
            }
        }
        Self {
            size: entry.payload.len(),
        }
    }
}

/// Has the server that the callers are connected to lead this stream, so that no way is longer than another.
async fn lead_here(bus: &Bus, name: &str) {
    let context = bus.context();
    let here = bus.caller.client.server_info().server_name;
    until("this server to lead", async || {
        let stream = context.get_stream(name).await.ok()?;
        let leader = stream.cached_info().cluster.as_ref()?.leader.as_ref();
        if leader == Some(&here) {
            return Some(());
        }
        let wanted = json!({"placement": {"preferred": here}});
        let subject = format!("STREAM.LEADER.STEPDOWN.{name}");
        let _: Result<Value, _> = context.request(subject, &wanted).await;
        None
    })
    .await;
}

/// Compare-and-sets of one caller's own keys.
pub(crate) struct Writing {
    keys: Vec<(Subject, u64)>,
    at: usize,
    body: Bytes,
}

impl Writing {
    pub(crate) fn new(bucket: &Bucket) -> Self {
        let id = Uuid::new_v4().simple();
        let key = |n: usize| (format!("{PREFIX}{id}.{n}").into(), 0);
        Self {
            keys: (0..KEYS).map(key).collect(),
            at: 0,
            body: vec![b'x'; bucket.size].into(),
        }
    }
}
impl Work for Writing {
    fn next(&mut self) -> Option<Shot> {
        self.at = (self.at + 1) % KEYS;
        let (subject, revision) = &self.keys[self.at];
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());
        Some(Shot {
            subject: subject.clone(),
            headers: Some(headers),
            body: self.body.clone(),
        })
    }

    fn answered(&mut self, message: &Message) {
        let ack: Value = serde_json::from_slice(&message.payload).unwrap();
        let revision = ack["seq"].as_u64().filter(|_| ack.get("error").is_none());
        self.keys[self.at].1 = revision.unwrap_or_else(|| panic!("not written: {ack}"));
    }
}
