//! What writes: leases, their heartbeats and releases, and raw writes to a bucket.

use async_nats::{HeaderMap, Message, Subject, header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE};
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bus::{PORTS_COUNT, Writes};
use super::harness::{Caller, lease_request};
use super::load::{Shot, Work};

/// The part of the pool that is leased in a round, at most.
const POOL_PART: usize = 2;
/// Leases of one caller in one round, at most.
const LEASES_MAX: usize = 900;
/// Keys that one caller writes in turn.
const KEYS: usize = 32;

/// Leases one port after the other.
pub(crate) struct Leasing {
    subject: Subject,
    requester: Uuid,
    /// Whether each request has a `request_id`.
    named: bool,
    held: Vec<Bytes>,
    held_max: usize,
}

impl Leasing {
    pub(crate) fn new(caller: &Caller, callers: usize, named: bool) -> Self {
        Self {
            subject: caller.subject("port.lease").into(),
            requester: Uuid::new_v4(),
            named,
            held: Vec::new(),
            held_max: LEASES_MAX.min(PORTS_COUNT / POOL_PART / callers),
        }
    }

    /// What the leases are renewed and given back with.
    pub(crate) fn claims(&self) -> Vec<Bytes> {
        let claim = |reply: &Bytes| {
            let lease: Value = serde_json::from_slice(reply).unwrap();
            assert_eq!(lease["status"], "active");
            let claim = json!({"requester_id": self.requester, "lease_id": lease["lease_id"]});
            Bytes::from(claim.to_string())
        };
        self.held.iter().map(claim).collect()
    }
}

impl Work for Leasing {
    fn next(&mut self) -> Option<Shot> {
        let more = if self.named {
            json!({"request_id": Uuid::new_v4()})
        } else {
            Value::Null
        };
        (self.held.len() < self.held_max).then(|| Shot {
            subject: self.subject.clone(),
            headers: None,
            body: lease_request(self.requester, more).to_string().into(),
        })
    }

    fn answered(&mut self, message: &Message) {
        self.held.push(message.payload.clone());
    }
}

/// Goes through what one caller holds: once, or again and again.
pub(crate) struct Holding {
    subject: Subject,
    claims: Vec<Bytes>,
    at: usize,
    again: bool,
}

impl Holding {
    pub(crate) fn renewing(caller: &Caller, claims: Vec<Bytes>) -> Self {
        Self {
            subject: caller.subject("port.heartbeat").into(),
            claims,
            at: 0,
            again: true,
        }
    }

    pub(crate) fn releasing(caller: &Caller, claims: Vec<Bytes>) -> Self {
        Self {
            subject: caller.subject("port.release").into(),
            claims,
            at: 0,
            again: false,
        }
    }
}

impl Work for Holding {
    fn next(&mut self) -> Option<Shot> {
        if self.again && self.at == self.claims.len() {
            self.at = 0;
        }
        let body = self.claims.get(self.at)?.clone();
        self.at += 1;
        Some(Shot {
            subject: self.subject.clone(),
            headers: None,
            body,
        })
    }
}

/// Compare-and-sets of one caller's own keys.
pub(crate) struct Writing {
    keys: Vec<(Subject, u64)>,
    at: usize,
    body: Bytes,
}

impl Writing {
    pub(crate) fn new(writes: &Writes) -> Self {
        let id = Uuid::new_v4().simple();
        let prefix = &writes.prefix;
        let key = |n: usize| (format!("{prefix}{id}.{n}").into(), 0);
        Self {
            keys: (0..KEYS).map(key).collect(),
            at: 0,
            body: vec![b'x'; writes.size].into(),
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
