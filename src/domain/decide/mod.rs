//! Decisions: a command and the index in, what to write or why not out. Nothing here does anything.

mod end;
mod grant;
mod renew;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    command::{Action, Command, Decision, Held, Refusal},
    ids::{Host, LeaseId, RequesterId},
    index::Index,
    key::{PortKey, Revision},
    record::{Body, Ended, FORMAT, Happened, Lease, Record, Request, Stored, Transition},
    standing::Entry,
    time::Now,
    write::Write,
};

/// Keys that a command of this instance is writing. Each stays from the decision until the follower
/// has passed the write, so that no second command judges what is about to change.
#[derive(Debug, Default)]
pub struct Reserved(BTreeMap<PortKey, Pending>);

/// One write under way.
#[derive(Debug)]
struct Pending {
    /// Where it is in the stream, once that is known.
    at: Option<Revision>,
    /// Who gets the port, when it is a grant.
    grant_to: Option<RequesterId>,
}

impl Reserved {
    /// Whether a write to that key is under way.
    pub fn contains(&self, key: &PortKey) -> bool {
        self.0.contains_key(key)
    }

    /// How many grants to that requester are under way: they count as held.
    pub fn grants_to(&self, requester: RequesterId) -> usize {
        let granted = |pending: &&Pending| pending.grant_to == Some(requester);
        self.0.values().filter(granted).count()
    }

    /// Hosts of grants under way.
    pub fn hosts(&self) -> BTreeSet<&Host> {
        let grants = self
            .0
            .iter()
            .filter(|(_, pending)| pending.grant_to.is_some());
        grants.map(|(key, _)| &key.host).collect()
    }

    /// A write to that key is under way: a grant to `grant_to`, if to anyone.
    pub fn insert(&mut self, key: PortKey, grant_to: Option<RequesterId>) {
        self.0.insert(key, Pending { at: None, grant_to });
    }

    /// The write was acknowledged at `revision`; the follower is at `seen`.
    pub fn written(&mut self, key: &PortKey, revision: Revision, seen: Revision) {
        if seen >= revision {
            self.0.remove(key);
        } else if let Some(pending) = self.0.get_mut(key) {
            pending.at = Some(revision);
        }
    }

    /// No write is under way any more.
    pub fn remove(&mut self, key: &PortKey) {
        self.0.remove(key);
    }

    /// The follower is at `revision` for that key.
    pub fn passed(&mut self, key: &PortKey, revision: Revision) {
        let pending = self.0.get(key).and_then(|pending| pending.at);
        if pending.is_some_and(|at| revision >= at) {
            self.0.remove(key);
        }
    }
}

/// Decides `command` by what the index says.
pub fn decide(
    index: &Index,
    reserved: &Reserved,
    command: &Command,
    now: Now,
) -> Result<Decision, Refusal> {
    let case = Case {
        index,
        reserved,
        command,
        now,
    };
    match &command.action {
        Action::Lease(wish) => case.grant(wish),
        Action::Renew {
            requester_id,
            lease_id,
            ttl,
            request,
        } => case.renew(*requester_id, *lease_id, *ttl, *request),
        Action::Release {
            requester_id,
            lease_id,
            request,
        } => case.release(*requester_id, *lease_id, *request),
        Action::Expire(key) => case.expire(key),
        Action::Withdraw(key, lease_id, ended) => case.withdraw(key, *lease_id, *ended),
    }
}

/// One command with all that it is judged by.
struct Case<'a> {
    index: &'a Index,
    reserved: &'a Reserved,
    command: &'a Command,
    now: Now,
}

/// A live lease with its place.
struct Live<'a> {
    key: &'a PortKey,
    entry: &'a Entry,
    lease: &'a Lease,
}

impl Live<'_> {
    fn held(&self) -> Held {
        Held {
            key: self.key.clone(),
            lease: self.lease.clone(),
            revision: self.entry.revision,
            since: self.entry.observed,
            probed: None,
        }
    }
}

impl<'a> Case<'a> {
    /// The lease of that id, which must be `requester_id`'s.
    fn live(&self, requester_id: RequesterId, lease_id: LeaseId) -> Result<Live<'a>, Refusal> {
        let (key, entry) = self
            .index
            .find_lease(lease_id)
            .ok_or(Refusal::LeaseNotFound)?;
        let holder = match entry.record.as_deref().map(|record| &record.body) {
            Some(Body::Lease(lease)) => lease.requester_id,
            Some(Body::Rest(rest)) => {
                rest.last
                    .as_ref()
                    .ok_or(Refusal::LeaseNotFound)?
                    .requester_id
            }
            None => return Err(Refusal::LeaseNotFound),
        };
        if holder != requester_id {
            return Err(Refusal::NotHolder);
        }
        let lease = entry.lease().ok_or(Refusal::LeaseExpired)?;
        Ok(Live { key, entry, lease })
    }

    /// Refuses what came before under the same request id with other parameters.
    fn check_digest(
        &self,
        requester_id: RequesterId,
        request: Option<Request>,
    ) -> Result<(), Refusal> {
        let Some(request) = request else {
            return Ok(());
        };
        match self.index.find_digest(requester_id, request.id) {
            Some(digest) if digest != request.digest => Err(Refusal::IdempotencyMismatch),
            _ => Ok(()),
        }
    }

    /// Waits its turn where another command of this instance is writing the key.
    fn check_reserved(&self, key: &PortKey) -> Result<(), Refusal> {
        if self.reserved.contains(key) {
            Err(Refusal::Contended)
        } else {
            Ok(())
        }
    }

    /// The write that puts `body` under `key`, with what happened when something did.
    fn write(&self, key: &PortKey, body: Body, happened: Option<Transition>) -> Write {
        let entry = self.index.entry(key);
        let before = entry.and_then(|entry| entry.record.as_deref());
        let revision = entry.map_or(Revision::default(), |entry| entry.revision);
        let vanished = entry.is_some_and(|entry| entry.vanished);
        let expected = if vanished {
            Revision::default()
        } else {
            revision
        };
        let made = entry.map_or(0, |entry| entry.transitions);
        let mut outbox = before
            .map(|record| record.outbox_after(revision, self.index.outbox.out_to()))
            .unwrap_or_default();
        if !self
            .index
            .mechanisms
            .on(super::mechanism::Mechanism::CarryTransitions)
        {
            outbox.clear();
        }
        let transitions = made.saturating_add(u64::from(happened.is_some()));
        outbox.extend(happened.map(|happened| Transition {
            n: transitions,
            ..happened
        }));
        Write {
            key: super::key::Key::Port(key.clone()),
            expected,
            value: Stored::Port(Box::new(Record {
                format: FORMAT,
                write: self.command.id,
                transitions,
                outbox,
                body,
                unknown: before
                    .map(|record| record.unknown.clone())
                    .unwrap_or_default(),
            })),
        }
    }

    fn transition(
        &self,
        event: Happened,
        of: Option<&Lease>,
        outcome: Option<Ended>,
    ) -> Transition {
        Transition {
            n: 0,
            event,
            at: self.now.wall,
            revision: None,
            lease_id: of.map(|lease| lease.lease_id),
            requester_id: of.map(|lease| lease.requester_id),
            name: of.and_then(|lease| lease.name.clone()),
            correlation_id: self.command.correlation_id.clone(),
            outcome,
        }
    }
}
