//! Grants.

use std::collections::BTreeSet;

use crate::domain::{
    agenda::Change,
    command::{
        Answer, BOUND_HOSTS, BOUND_LEASES, Decision, Effect, Held, Refusal, Unavailable, Wish,
    },
    ids::{Host, LeaseId, Port, Transport},
    key::{Key, PortKey, Revision},
    mechanism::Mechanism,
    node::Life,
    nodes::Seen,
    pool::Class,
    record::{Body, Ended, Lease, Record, Request, Unknown},
    standing::{Entry, Standing},
    transition::Happened,
};

use super::{Case, LiveLease};

/// What a client is told to wait when no timer says when a port comes free, in milliseconds.
const RETRY_AFTER_MILLIS: u64 = 1_000;

impl Case<'_> {
    /// Grants a port, or finds the lease that this request got already.
    pub(super) fn grant(&self, wish: &Wish) -> Result<Decision, Refusal> {
        if wish.ttl > self.index.policy.ttl_max {
            return Err(Refusal::TtlTooLong(self.index.policy.ttl_max.seconds()));
        }
        self.check_digest(wish.requester_id, wish.request)?;
        if let Some(decision) = self.granted_before(wish)? {
            return Ok(decision);
        }
        let node = wish.node_id.as_ref();
        let node = node
            .map(|node_id| self.living(node_id, wish.requester_id, wish.epoch))
            .transpose()?;
        let host = self.host(wish, node);
        self.check_bounds(wish, host)?;
        let key = self.choose(wish, host)?;
        Ok(self.grant_key(wish, &key, node))
    }

    /// Where the port will be: where the wish says, else where its node runs, else here.
    fn host<'a>(&'a self, wish: &'a Wish, node: Option<Seen<'a>>) -> &'a Host {
        let of_node = node.and_then(|node| node.node.registration.host.as_ref());
        let host = wish.host.as_ref().or(of_node);
        host.unwrap_or(&self.index.policy.host)
    }

    /// This command's lease id.
    fn lease_id(&self) -> LeaseId {
        LeaseId(self.command.id.0)
    }

    /// What this request has led to already. Of two grants for one request the one that was first in
    /// the stream wins; the other is ended here when it is this command's own.
    fn granted_before(&self, wish: &Wish) -> Result<Option<Decision>, Refusal> {
        let mine = self.index.find_lease(self.lease_id());
        let first = match wish.request {
            Some(request) => self
                .index
                .find_request(wish.requester_id, request.id)
                .filter_map(|(key, entry)| {
                    let record = entry.record.as_deref()?;
                    remembers_grant(record, request).then_some((
                        record.granted(entry.revision)?,
                        key,
                        entry,
                    ))
                })
                .min_by_key(|(granted, _, _)| *granted)
                .map(|(_, key, entry)| (key, entry)),
            None => mine,
        };
        let echo = self.index.mechanisms.on(Mechanism::Echo);
        let first = if echo { first } else { mine.or(first) };
        if let (Some((first, _)), Some((key, entry))) = (first, mine)
            && first != key
            && entry.lease().is_some_and(|lease| self.may_take_back(lease))
        {
            return self.take_back(key, Ended::Duplicate).map(Some);
        }
        match first {
            None => Ok(None),
            Some((key, entry)) => match entry.lease() {
                Some(lease) if self.index.lease_over(key).is_some() => {
                    if lease.lease_id != self.lease_id() || !self.may_take_back(lease) {
                        return Err(Refusal::LeaseExpired(lease.lease_id, key.port));
                    }
                    self.take_back(key, Ended::NodeGone).map(Some)
                }
                None if entry
                    .rest()
                    .is_some_and(|rest| rest.ended == Ended::NodeGone) =>
                {
                    let expired = self.expired(key, entry);
                    Err(wish.node_id.clone().map_or(expired, Refusal::NodeNotFound))
                }
                Some(lease) => self.granted(&LiveLease { key, entry, lease }).map(Some),
                None => Err(self.expired(key, entry)),
            },
        }
    }

    fn expired(&self, key: &PortKey, entry: &Entry) -> Refusal {
        let last = entry.rest().and_then(|rest| rest.last.as_ref());
        let lease_id = last.map_or(self.lease_id(), |last| last.lease_id);
        Refusal::LeaseExpired(lease_id, key.port)
    }

    /// Ends a grant that nobody was told of; the command is decided again then.
    fn take_back(&self, key: &PortKey, ended: Ended) -> Result<Decision, Refusal> {
        self.check_reserved(&Key::Port(key.clone()))?;
        Ok(match self.end(key, ended, None) {
            Decision::Commit { writes, answer, .. } => Decision::Commit {
                writes,
                answer,
                then: Effect::Again,
            },
            other @ (Decision::Answer(_) | Decision::Wait(_)) => other,
        })
    }

    /// The lease that this request has led to. While it is not answered, only an exact point shows
    /// that it is the first one, and its own command may still take it back.
    fn granted(&self, live: &LiveLease<'_>) -> Result<Decision, Refusal> {
        let granted = live.lease.granted.map_or(live.entry.revision, Revision);
        let settled = !live.lease.unanswered || !self.index.mechanisms.on(Mechanism::Adopt);
        let mine = live.lease.lease_id == self.lease_id();
        if !settled && self.index.exact() < granted {
            return Ok(Decision::Wait(granted));
        }
        if settled || mine {
            return Ok(Decision::Answer(Answer::Lease(self.held(live))));
        }
        self.check_reserved(&Key::Port(live.key.clone()))?;
        let lease = Lease {
            granted: Some(granted.0),
            unanswered: false,
            ..live.lease.clone()
        };
        Ok(Decision::Commit {
            writes: vec![self.write_port(live.key, Body::Lease(lease.clone()), None)],
            answer: Answer::Lease(Held {
                lease,
                ..self.held(live)
            }),
            then: Effect::Reply,
        })
    }

    /// Whether nobody was told of that grant but, at most, by its own command.
    pub(super) fn may_take_back(&self, lease: &Lease) -> bool {
        lease.unanswered || !self.index.mechanisms.on(Mechanism::Adopt)
    }

    fn check_bounds(&self, wish: &Wish, host: &Host) -> Result<(), Refusal> {
        let policy = &self.index.policy;
        if !self.index.knows_host(host) {
            // An instance runs there, or did.
            let served = self.index.hosts.get(host).is_some();
            if policy.known_hosts_only && !served {
                return Err(Refusal::PoolNotFound(host.to_string()));
            }
            let coming = self.reserved.hosts();
            let new = coming
                .into_iter()
                .filter(|other| *other != host && !self.index.knows_host(other));
            if self.index.host_count() + new.count() >= policy.hosts_max {
                return Err(Refusal::LimitExceeded {
                    what: BOUND_HOSTS,
                    limit: policy.hosts_max,
                });
            }
        }
        let limit = policy.holder_leases_max;
        let held = self.index.lookup.held_by(wish.requester_id, None);
        if held.take(limit).count() + self.reserved.grants_to(wish.requester_id) >= limit {
            return Err(Refusal::LimitExceeded {
                what: BOUND_LEASES,
                limit,
            });
        }
        Ok(())
    }

    /// The port to grant: the one asked for, else the one that this requester's lease of that name
    /// had last on this host and transport, else one that is free.
    fn choose(&self, wish: &Wish, host: &Host) -> Result<PortKey, Refusal> {
        let key = |port: Port| PortKey {
            host: host.clone(),
            transport: wish.transport,
            port,
        };
        let names = self.index.with_former(host);
        if let Some(preferred) = wish.preferred.map(key) {
            match self.available(&preferred, &names) {
                Ok(()) => return Ok(preferred),
                Err(refusal) if wish.exact => return Err(refusal),
                Err(_) => {}
            }
        }
        let sticky = wish
            .name
            .as_ref()
            .and_then(|name| {
                let lookup = &self.index.lookup;
                lookup.last_named(wish.requester_id, name, host, wish.transport)
            })
            .map(key);
        if let Some(sticky) = sticky
            && self.available(&sticky, &names).is_ok()
        {
            return Ok(sticky);
        }
        let mut waits = None;
        for candidate in self
            .index
            .pool(host, wish.transport)
            .candidates(self.seed(wish))
        {
            let candidate = key(candidate);
            match self.available(&candidate, &names) {
                Ok(()) => return Ok(candidate),
                Err(refusal @ (Refusal::Busy | Refusal::Contended)) => waits = Some(refusal),
                Err(_) => {}
            }
        }
        Err(waits.unwrap_or_else(|| self.exhausted(host, wish.transport)))
    }

    /// Two instances that were given the same request start at the same port, and one of them loses.
    fn seed(&self, wish: &Wish) -> u64 {
        let id = wish
            .request
            .map_or(self.command.id.0, |request| request.id.0);
        let high_and_low = |id: uuid::Uuid| {
            let (high, low) = id.as_u64_pair();
            high ^ low
        };
        mix(mix(high_and_low(id)) ^ high_and_low(wish.requester_id.0))
    }

    /// Whether that port can be granted now, and if not, why. `names` are all that mean its host: what is live under
    /// another one uses the same port.
    fn available(&self, key: &PortKey, names: &BTreeSet<Host>) -> Result<(), Refusal> {
        let policy = &self.index.policy;
        if !self
            .index
            .pool(&key.host, key.transport)
            .is_usable(key.port)
        {
            let reserved = policy.reserved.iter().any(|range| range.contains(key.port));
            let why = if reserved {
                Unavailable::Reserved
            } else {
                Unavailable::Outside
            };
            return Err(Refusal::PortUnavailable(key.port, why));
        }
        for name in names {
            let host = name.clone();
            self.unoccupied(&PortKey {
                host,
                ..key.clone()
            })?;
        }
        self.check_reserved(&Key::Port(key.clone()))?;
        self.check_room(self.index.entry(key))
    }

    /// Whether nobody has that port, and it does not rest.
    fn unoccupied(&self, key: &PortKey) -> Result<(), Refusal> {
        match self.index.standing(key, self.now.mono) {
            Standing::Free => {}
            Standing::Due if !self.index.mechanisms.on(Mechanism::EndingIsAWrite) => {}
            // Its lease has ended with its node, and the reaper is about to write that.
            Standing::Due if self.index.lease_over(key).is_some() => {
                return Err(Refusal::Contended);
            }
            Standing::Held(_) | Standing::Due => {
                return Err(Refusal::PortUnavailable(key.port, Unavailable::Held));
            }
            Standing::Resting(_) => {
                let (class, _) = self
                    .index
                    .entry(key)
                    .map_or((Class::Resting, Change::Due), |entry| {
                        entry.class(self.now.mono, self.index.terms(), self.index.bond(entry))
                    });
                let quarantined = class == Class::Quarantined;
                let why = if quarantined {
                    Unavailable::Quarantined
                } else {
                    Unavailable::Resting
                };
                return Err(Refusal::PortUnavailable(key.port, why));
            }
        }
        Ok(())
    }

    fn exhausted(&self, host: &Host, transport: Transport) -> Refusal {
        let is_over = |key: &PortKey| {
            key.host == *host && key.transport == transport && self.index.lease_over(key).is_some()
        };
        // What a node held that has gone is free as soon as the reaper has written that.
        if self.index.due().filter_map(Key::port).any(is_over) {
            return Refusal::Contended;
        }
        let next = self
            .index
            .next_free(host, transport)
            .map(|at| at.since(self.now.mono));
        Refusal::Exhausted {
            host: host.clone(),
            transport,
            retry_after_ms: next.unwrap_or(RETRY_AFTER_MILLIS).max(1),
        }
    }

    fn grant_key(&self, wish: &Wish, key: &PortKey, node: Option<Seen<'_>>) -> Decision {
        let judged_again = wish.request.is_some() || node.is_some();
        let echo = judged_again && self.index.mechanisms.on(Mechanism::Echo);
        let probe = self.index.policy.probe && key.host == self.index.policy.host;
        let lease = Lease {
            lease_id: self.lease_id(),
            requester_id: wish.requester_id,
            protocol: wish.protocol.clone(),
            ttl: node.map_or(wish.ttl, |node| node.live.ttl),
            node: node.map(|node| Life {
                node_id: node.node_id.clone(),
                incarnation: node.live.incarnation,
            }),
            ports: vec![key.port],
            name: wish.name.clone(),
            labels: wish.labels.clone(),
            requested_at: wish.requested_at,
            granted_at: self.now.wall,
            renewed_at: self.now.wall,
            granted: None,
            request: wish.request,
            renewal: None,
            unanswered: echo || probe,
            unknown: Unknown::new(),
        };
        let happened = self.transition(Happened::Leased, Some(&lease), None);
        Decision::Commit {
            writes: vec![self.write_port(key, Body::Lease(lease.clone()), Some(happened))],
            answer: Answer::Lease(Held {
                key: key.clone(),
                lease,
                revision: Revision::default(),
                since: node.map_or(self.now.mono, |node| node.since),
                probed: None,
            }),
            then: Effect::Grant { echo, probe },
        }
    }
}

fn remembers_grant(record: &Record, request: Request) -> bool {
    let remembered = match &record.body {
        Body::Lease(lease) => lease.request,
        Body::Rest(rest) => rest.last.as_ref().and_then(|last| last.request),
    };
    remembered == Some(request)
}

/// Spreads neighbouring numbers over all of them (the finaliser of splitmix64).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
