//! Decisions: a command and the index in, what to write or why not out. Nothing here does anything.

mod bus;
mod call;
mod count;
mod end;
mod grant;
mod life;
mod node;
mod renew;
mod review;
mod settle;
mod tool;
mod trust;

use super::{
    command::{Action, Command, Decision, Held, Refusal},
    ids::{LeaseId, RequesterId},
    index::Index,
    key::{Key, PortKey},
    mechanism::Mechanism,
    record::{Body, Ended, FORMAT, Kept, Lease, Record, Request, Stored},
    reserved::Reserved,
    standing::Entry,
    time::Now,
    transition::{Happened, Transition},
    write::Write,
};

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
        Action::Announce(announce) => case.announce(announce),
        Action::Beat { of, ttl, health } => case.beat(of, *ttl, health.as_ref()),
        Action::Leave(of) => case.leave(of),
        Action::AddTool { of, tool, request } => case.add_tool(of, tool, *request),
        Action::RemoveTool {
            of,
            name,
            version,
            request,
        } => case.remove_tool(of, name, version.as_ref(), *request),
        Action::Review(review) => case.review(review),
        Action::AnnounceBus(wish) => case.announce_bus(wish),
        Action::RemoveBus {
            requester_id,
            bus_id,
            request,
        } => case.remove_bus(*requester_id, bus_id, *request),
        Action::Judge(judgement) => case.judge(judgement),
        Action::BeginCall(begin) => case.begin_call(begin),
        Action::EndCall(end) => case.end_call(end),
        Action::Count(tally) => case.count(tally),
        Action::Settle(key) => case.settle(key),
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
struct LiveLease<'a> {
    key: &'a PortKey,
    entry: &'a Entry,
    lease: &'a Lease,
}

impl<'a> Case<'a> {
    /// As its holder is told of it. One that is bound to a node lasts as long as that does.
    fn held(&self, of: &LiveLease<'_>) -> Held {
        self.index.held(of.key, of.entry, of.lease.clone())
    }

    /// The lease of that id, which must be `requester_id`'s.
    fn live(&self, requester_id: RequesterId, lease_id: LeaseId) -> Result<LiveLease<'a>, Refusal> {
        let (key, entry) = self
            .index
            .find_lease(lease_id)
            .ok_or(Refusal::LeaseNotFound(lease_id))?;
        let holder = match entry.record.as_deref().map(|record| &record.body) {
            Some(Body::Lease(lease)) => lease.requester_id,
            Some(Body::Rest(rest)) => {
                rest.last
                    .as_ref()
                    .ok_or(Refusal::LeaseNotFound(lease_id))?
                    .requester_id
            }
            None => return Err(Refusal::LeaseNotFound(lease_id)),
        };
        if holder != requester_id {
            return Err(Refusal::NotHolder(lease_id, key.port));
        }
        let expired = Refusal::LeaseExpired(lease_id, key.port);
        let Some(lease) = entry.lease() else {
            return Err(expired);
        };
        if self.index.lease_over(key).is_some() {
            return Err(expired);
        }
        Ok(LiveLease { key, entry, lease })
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
            Some(digest) if digest != request.digest => {
                Err(Refusal::IdempotencyMismatch(request.id))
            }
            _ => Ok(()),
        }
    }

    /// Waits its turn where another command of this instance is writing the key.
    fn check_reserved(&self, key: &Key) -> Result<(), Refusal> {
        if self.reserved.contains(key) {
            Err(Refusal::Contended)
        } else {
            Ok(())
        }
    }

    /// The write that puts `body` under a port's key, with what happened when something did.
    fn write_port(&self, port: &PortKey, body: Body, happened: Option<Transition>) -> Write {
        self.write(
            Key::Port(port.clone()),
            self.index.entry(port),
            body,
            happened,
        )
    }

    /// The write that puts `body` under `key`, with what happened when something did.
    fn write<B: Kept>(
        &self,
        key: Key,
        entry: Option<&Entry<B>>,
        body: B,
        happened: Option<Transition>,
    ) -> Write {
        let before = entry.and_then(|entry| Some((entry, entry.record.as_deref()?)));
        let made = entry.map_or(0, |entry| entry.transitions);
        let out_to = self.index.outbox.out_to();
        let carries = self.index.mechanisms.on(Mechanism::CarryTransitions);
        let mut outbox = before
            .filter(|_| carries)
            .map(|(entry, record)| record.outbox_after(entry.revision, out_to))
            .unwrap_or_default();
        let transitions = made.saturating_add(u64::from(happened.is_some()));
        outbox.extend(happened.map(|happened| Transition {
            n: transitions,
            ..happened
        }));
        Write {
            key,
            expected: entry.map(Entry::expected).unwrap_or_default(),
            value: B::stored(Box::new(Record {
                format: FORMAT,
                write: self.command.id,
                transitions,
                outbox,
                body,
                unknown: before
                    .map(|(_, record)| record.unknown.clone())
                    .unwrap_or_default(),
            })),
        }
    }

    /// The write by which a key is removed.
    fn forget<B>(key: Key, entry: &Entry<B>) -> Write {
        Write {
            key,
            expected: entry.expected(),
            value: Stored::Forgotten,
        }
    }

    /// Whether a record has room for another transition.
    fn check_room<B>(&self, entry: Option<&Entry<B>>) -> Result<(), Refusal> {
        let room = entry.and_then(|entry| {
            let record = entry.record.as_deref()?;
            Some(record.has_room(entry.revision, self.index.outbox.out_to()))
        });
        if room == Some(false) {
            return Err(Refusal::Busy);
        }
        Ok(())
    }

    /// What happened, without more.
    fn happened(&self, event: Happened, requester_id: Option<RequesterId>) -> Transition {
        let correlation_id = self.command.correlation_id.clone();
        Transition {
            requester_id,
            ..Transition::new(event, self.now.wall, correlation_id)
        }
    }

    fn transition(
        &self,
        event: Happened,
        of: Option<&Lease>,
        outcome: Option<Ended>,
    ) -> Transition {
        Transition {
            lease_id: of.map(|lease| lease.lease_id),
            name: of.and_then(|lease| lease.name.clone()),
            outcome,
            ..self.happened(event, of.map(|lease| lease.requester_id))
        }
    }
}
