//! Leases, their heartbeats and releases.

use std::time::{Duration, Instant};

use async_nats::{Message, Subject};
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::bus::{Bus, PORTS_COUNT};
use super::harness::{Caller, PATIENCE, lease_request};
use super::load::{Sample, Shot, Work, drive};

/// The part of the pool that is leased in a round, at most.
const POOL_PART: usize = 2;
/// Leases of one caller in one round, at most.
const LEASES_MAX: usize = 900;
/// Callers that fill a pool.
const FILLING: usize = 64;

/// Leases one port after the other.
#[derive(Clone)]
pub(crate) struct Leasing {
    subject: Subject,
    requester: Uuid,
    /// What is asked for.
    more: Value,
    /// Whether each request has a `request_id`.
    named: bool,
    /// When the leases are due, to the second.
    due: Option<Instant>,
    held: Vec<Bytes>,
    held_max: usize,
}

impl Leasing {
    /// As many as go into a round.
    pub(crate) fn new(caller: &Caller, callers: usize) -> Self {
        Self {
            subject: caller.subject("port.lease").into(),
            requester: Uuid::new_v4(),
            more: json!({}),
            named: false,
            due: None,
            held: Vec::new(),
            held_max: LEASES_MAX.min(PORTS_COUNT / POOL_PART / callers),
        }
    }

    /// Sets of so many ports each.
    pub(crate) fn sets(caller: &Caller, callers: usize, ports: usize) -> Self {
        let one = Self::new(caller, callers);
        Self {
            more: json!({"count": ports}),
            held_max: one.held_max / ports,
            ..one
        }
    }

    pub(crate) fn many(caller: &Caller, callers: usize) -> Vec<Self> {
        (0..callers).map(|_| Self::new(caller, callers)).collect()
    }

    /// So many, on a host that nobody tries ports of; none is due soon.
    pub(crate) fn on(caller: &Caller, host: &str, held_max: usize) -> Self {
        Self {
            more: json!({"host": host, "ttl": 86_400}),
            held_max,
            ..Self::new(caller, 1)
        }
    }

    pub(crate) fn named(self) -> Self {
        Self {
            named: true,
            ..self
        }
    }

    pub(crate) fn due(self, at: Instant) -> Self {
        Self {
            due: Some(at),
            ..self
        }
    }

    /// What the leases are renewed and given back with.
    fn claims(&self) -> Vec<Bytes> {
        let claims = self.held.iter().map(|reply| claim(self.requester, reply));
        claims.collect()
    }
}

fn claim(requester: Uuid, reply: &Bytes) -> Bytes {
    let lease: Value = serde_json::from_slice(reply).unwrap();
    assert_eq!(lease["status"], "active");
    let claim = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
    claim.to_string().into()
}

impl Work for Leasing {
    fn next(&mut self) -> Option<Shot> {
        if self.held.len() == self.held_max {
            return None;
        }
        let mut more = self.more.clone();
        if self.named {
            more["request_id"] = json!(Uuid::new_v4());
        }
        if let Some(due) = self.due {
            let left = due.checked_duration_since(Instant::now());
            more["ttl"] = json!(left.expect("granted before it is due").as_secs() + 1);
        }
        let body = lease_request(self.requester, more).to_string();
        Some(Shot::new(self.subject.clone(), body))
    }

    fn answered(&mut self, message: &Message) {
        self.held.push(message.payload.clone());
    }
}

/// Leases a port and gives it back, again and again.
pub(crate) struct Turning {
    leasing: Leasing,
    release: Subject,
    /// What is given back next.
    claim: Option<Bytes>,
    gives_back: bool,
}

impl Turning {
    pub(crate) fn new(caller: &Caller) -> Self {
        Self {
            leasing: Leasing::new(caller, 1),
            release: caller.subject("port.release").into(),
            claim: None,
            gives_back: false,
        }
    }
}

impl Work for Turning {
    fn next(&mut self) -> Option<Shot> {
        let claim = self.claim.take();
        self.gives_back = claim.is_some();
        match claim {
            Some(claim) => Some(Shot::new(self.release.clone(), claim)),
            None => self.leasing.next(),
        }
    }

    fn answered(&mut self, message: &Message) {
        if !self.gives_back {
            self.claim = Some(claim(self.leasing.requester, &message.payload));
        }
    }
}

/// Goes through what one caller holds: once, or again and again.
struct Holding {
    subject: Subject,
    claims: Vec<Bytes>,
    at: usize,
    again: bool,
}

impl Work for Holding {
    fn next(&mut self) -> Option<Shot> {
        if self.again && self.at == self.claims.len() {
            self.at = 0;
        }
        let body = self.claims.get(self.at)?.clone();
        self.at += 1;
        Some(Shot::new(self.subject.clone(), body))
    }
}

/// What callers hold, each its own.
pub(crate) struct Held {
    caller: Caller,
    claims: Vec<Vec<Bytes>>,
}

impl Held {
    /// Leases until the window is over.
    pub(crate) async fn lease(
        bus: &Bus,
        caller: &Caller,
        leasing: Vec<Leasing>,
        window: Duration,
    ) -> (Sample, Self) {
        let (sample, leasing) = drive(bus.clients(leasing.len()), leasing, window).await;
        let held = Self {
            caller: caller.clone(),
            claims: leasing.iter().map(Leasing::claims).collect(),
        };
        (sample, held)
    }

    /// Leases so many in all, however long that takes. Each caller does as `like`.
    pub(crate) async fn fill(bus: &Bus, caller: &Caller, like: &Leasing, leases: usize) -> Self {
        let callers = FILLING.min(leases);
        let leasing = (0..callers).map(|n| Leasing {
            requester: Uuid::new_v4(),
            held_max: (leases + n) / callers,
            ..like.clone()
        });
        let (_, held) = Self::lease(bus, caller, leasing.collect(), PATIENCE).await;
        assert_eq!(held.claims.iter().map(Vec::len).sum::<usize>(), leases);
        held
    }

    /// Renews them in turn until the window is over.
    pub(crate) async fn renew(&self, bus: &Bus, window: Duration) -> Sample {
        self.go_through(bus, "port.heartbeat", true, window).await
    }

    /// Gives them back to the last, however long that takes.
    pub(crate) async fn release(self, bus: &Bus) -> Sample {
        self.go_through(bus, "port.release", false, PATIENCE).await
    }

    async fn go_through(&self, bus: &Bus, endpoint: &str, again: bool, window: Duration) -> Sample {
        let holding = self.claims.iter().map(|claims| Holding {
            subject: self.caller.subject(endpoint).into(),
            claims: claims.clone(),
            at: 0,
            again,
        });
        let clients = bus.clients(self.claims.len());
        drive(clients, holding.collect(), window).await.0
    }
}
