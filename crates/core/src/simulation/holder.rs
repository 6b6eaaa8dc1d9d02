//! Holders: they ask, retry, renew, release, sleep and die, and reckon for themselves how long a port is theirs.

use std::collections::BTreeSet;

use onex_types::{
    ids::{CommandId, Digest, LeaseId, RequestId, RequesterId, Transport, Ttl},
    key::PortKey,
    time::MonoMillis,
};
use uuid::Uuid;

use crate::{
    command::{Action, Answer, Command, GrantRequest, Outcome, Rebind, Refusal},
    record_parts::Request,
};

use super::{
    chance::Chance,
    instance::{TTL_MAX, clock, host},
};

/// How long a holder waits for an answer before it asks again, in milliseconds.
pub(super) const PATIENCE_MILLIS: u64 = 1_500;

/// What a holder is waiting for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ask {
    /// Counts its questions.
    pub(super) n: u64,
    pub(super) command: Command,
    /// When it sent it for the first time, by its own clock.
    pub(super) first_sent: MonoMillis,
    pub(super) tries: u32,
}

/// What it holds, by its own reckoning.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hold {
    pub(super) lease_id: LeaseId,
    pub(super) keys: Vec<PortKey>,
    pub(super) ttl: Ttl,
    /// By its own clock.
    pub(super) until: MonoMillis,
    pub(super) revision: u64,
}

/// A holder.
pub(super) struct Holder {
    pub(super) requester_id: RequesterId,
    pub(super) drift: i64,
    pub(super) ask: Option<Ask>,
    pub(super) hold: Option<Hold>,
    pub(super) asleep_until: u64,
    /// Ports that it asked to exchange: it does not use them any more, whatever it is told.
    given_up: BTreeSet<(LeaseId, PortKey)>,
    asked: u64,
}

impl Holder {
    pub(super) fn new(index: usize, drift: i64) -> Self {
        Self {
            requester_id: RequesterId(Uuid::from_u128(1_000 + index as u128)),
            drift,
            ask: None,
            hold: None,
            asleep_until: 0,
            given_up: BTreeSet::new(),
            asked: 0,
        }
    }

    pub(super) fn clock(&self, t: u64) -> MonoMillis {
        clock(t, self.drift)
    }

    /// Whether it uses a port, by its own reckoning.
    pub(super) fn holds(&self, t: u64) -> Option<&Hold> {
        self.hold.as_ref().filter(|hold| self.clock(t) < hold.until)
    }

    /// What it does now. Returns what it sends.
    pub(super) fn wake(&mut self, t: u64, chance: &mut Chance, id: CommandId) -> Option<Command> {
        let now = self.clock(t);
        if self.hold.as_ref().is_some_and(|hold| now >= hold.until) {
            self.hold = None;
            self.ask = None;
        }
        if let Some(ask) = &mut self.ask {
            ask.tries += 1;
            let grants = matches!(ask.command.action, Action::Lease(_));
            if ask.tries > 4 || (!grants && chance.hit(100)) {
                self.ask = None;
                return None;
            }
            // The same again, as another command of another instance perhaps.
            return Some(Command {
                id,
                ..ask.command.clone()
            });
        }
        let action = match &self.hold {
            None => self.lease(chance, id),
            Some(hold) => {
                let hold = hold.clone();
                let request = chance.hit(300).then(|| request(id));
                match chance.below(10) {
                    0 => {
                        // It stops using the port before it says so.
                        self.hold = None;
                        Action::Release {
                            requester_id: self.requester_id,
                            lease_id: hold.lease_id,
                            request,
                        }
                    }
                    1 => {
                        self.hold = None;
                        return None;
                    }
                    2 => Action::Find(hold.lease_id),
                    3 => self.rebind(chance, &hold, request)?,
                    _ => Action::Renew {
                        requester_id: self.requester_id,
                        lease_id: hold.lease_id,
                        ttl: chance.hit(200).then(|| ttl(chance)),
                        request,
                    },
                }
            }
        };
        self.asked += 1;
        let command = Command {
            id,
            correlation_id: None,
            action,
        };
        self.ask = Some(Ask {
            n: self.asked,
            command: command.clone(),
            first_sent: now,
            tries: 0,
        });
        Some(command)
    }

    /// It stops using one of its ports before it says so.
    fn rebind(
        &mut self,
        chance: &mut Chance,
        hold: &Hold,
        request: Option<Request>,
    ) -> Option<Action> {
        if hold.keys.is_empty() {
            return None;
        }
        let port = hold.keys[chance.index(hold.keys.len())].port;
        let (given_up, kept): (Vec<_>, Vec<_>) =
            hold.keys.iter().cloned().partition(|key| key.port == port);
        let given_up = given_up.into_iter().map(|key| (hold.lease_id, key));
        self.given_up.extend(given_up);
        self.hold.as_mut()?.keys = kept;
        Some(Action::Rebind(Box::new(Rebind {
            reason: None,
            requester_id: self.requester_id,
            lease_id: hold.lease_id,
            port,
            request,
        })))
    }

    fn lease(&self, chance: &mut Chance, id: CommandId) -> Action {
        let name = chance.hit(300).then(|| "n".parse().unwrap());
        let count = if chance.hit(150) { 2 } else { 1 };
        Action::Lease(Box::new(GrantRequest {
            requester_id: self.requester_id,
            protocol: "p".parse().unwrap(),
            ttl: ttl(chance),
            owner: None,
            host: host(),
            transport: Transport::Tcp,
            both: chance.hit(100),
            count,
            contiguous: chance.hit(500),
            preferred: None,
            exact: false,
            name,
            labels: Vec::new(),
            holder: None,
            requested_at: None,
            request: Some(request(id)),
        }))
    }

    /// An answer to its `n`th question.
    pub(super) fn replied(&mut self, n: u64, outcome: &Outcome, t: u64) {
        let Some(ask) = self.ask.as_ref().filter(|ask| ask.n == n) else {
            return;
        };
        let retry = matches!(
            outcome.result,
            Err(Refusal::Unknown | Refusal::Unavailable | Refusal::Busy)
        );
        if retry {
            return;
        }
        let ask = ask.clone();
        self.ask = None;
        match (&ask.command.action, &outcome.result) {
            (
                Action::Lease(_) | Action::Renew { .. } | Action::Rebind(_),
                Ok(Answer::Lease(held)),
            ) => {
                let until = ask.first_sent.plus(held.lease.ttl.millis());
                let revision = self.hold.as_ref().map_or(0, |hold| hold.revision);
                if outcome.revision < revision || until <= self.clock(t) {
                    return;
                }
                let longer = self
                    .hold
                    .as_ref()
                    .map_or(until, |hold| hold.until.max(until));
                self.hold = Some(Hold {
                    lease_id: held.lease.lease_id,
                    keys: held
                        .lease
                        .port_keys(&held.key.host)
                        .filter(|key| {
                            let one = (held.lease.lease_id, key.clone());
                            !self.given_up.contains(&one)
                        })
                        .collect(),
                    ttl: held.lease.ttl,
                    until: longer,
                    revision: outcome.revision,
                });
            }
            (Action::Rebind(_), Err(Refusal::Exhausted { .. } | Refusal::PortNotHeld(_))) => {}
            (
                Action::Renew { .. } | Action::Rebind(_) | Action::Find(_),
                Err(_) | Ok(Answer::Ended { .. }),
            ) => {
                self.hold = None;
            }
            _ => {}
        }
    }
}

fn ttl(chance: &mut Chance) -> Ttl {
    let seconds = chance.between(2, u64::from(TTL_MAX));
    Ttl::try_from(u32::try_from(seconds).unwrap()).unwrap()
}

fn request(id: CommandId) -> Request {
    Request {
        id: RequestId(id.0),
        digest: Digest(id.0),
    }
}
