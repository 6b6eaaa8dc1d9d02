//! Programs that want ports, with the rules that every client has to keep ("A holder's clock").

use std::collections::BTreeSet;

use crate::domain::{
    command::{Action, Wish},
    ids::{Digest, LeaseId, RequestId, RequesterId, Transport, Ttl},
    key::PortKey,
    record::Request,
};

use super::{
    chance::{Chance, Clock},
    setup::Rules,
    world::{Ask, Event, Who, World, host, trace},
};

/// How often a request is sent again before a holder gives up.
pub(super) const TRIES_MAX: u32 = 6;

/// One request, sent once or more often.
pub(super) struct Sent {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) tries: u32,
    pub(super) action: Action,
}

/// What a holder thinks that it has.
#[derive(Debug, Clone)]
pub(super) struct Belief {
    pub(super) lease_id: LeaseId,
    pub(super) key: PortKey,
    pub(super) token: u64,
    pub(super) until: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Phase {
    Idle,
    Asking(usize),
    Holding(Option<usize>),
    Releasing(usize),
}

pub(super) struct Holder {
    pub(super) requester: RequesterId,
    pub(super) clock: Clock,
    pub(super) asleep: Option<(u64, u64)>,
    pub(super) life: u64,
    pub(super) alarm: u64,
    pub(super) phase: Phase,
    pub(super) requests: Vec<Sent>,
    pub(super) belief: Option<Belief>,
    pub(super) stopped: BTreeSet<LeaseId>,
    /// What it will claim again if its release fails; never, by the rules.
    pub(super) kept: Option<Belief>,
    pub(super) bound: bool,
    pub(super) bind_at: u64,
    pub(super) renew_at: u64,
    pub(super) retry_at: u64,
    pub(super) leave_at: u64,
}

impl Holder {
    pub(super) fn new(chance: &mut Chance, requester: RequesterId) -> Self {
        Self {
            requester,
            clock: Clock::new(chance, false),
            asleep: None,
            life: 0,
            alarm: 0,
            phase: Phase::Idle,
            requests: Vec::new(),
            belief: None,
            stopped: BTreeSet::new(),
            kept: None,
            bound: false,
            bind_at: 0,
            renew_at: 0,
            retry_at: 0,
            leave_at: 0,
        }
    }

    /// What its own clock shows.
    pub(super) fn reading(&self, time: u64, rules: Rules) -> u64 {
        match self.asleep {
            Some((since, _)) if !rules.clock_runs_asleep => self.clock.at(since),
            _ => self.clock.at(time),
        }
    }

    /// What it holds now, by its own reckoning.
    pub(super) fn holds(&self, time: u64, rules: Rules) -> Option<&Belief> {
        let reading = self.reading(time, rules);
        self.belief.as_ref().filter(|belief| reading < belief.until)
    }

    /// Whether its process has that port bound.
    pub(super) fn binds(&self, key: &PortKey) -> bool {
        self.bound
            && self
                .belief
                .as_ref()
                .is_some_and(|belief| belief.key == *key)
    }

    /// Whatever it had or waited for is nothing to it any more.
    pub(super) fn leave(&mut self) {
        self.life += 1;
        self.phase = Phase::Idle;
        self.requests.clear();
        self.stop();
    }

    fn stop(&mut self) {
        self.belief = None;
        self.bound = false;
    }
}

impl World {
    pub(super) fn alarm(&mut self, holder: usize, after: u64) {
        let one = &mut self.holders[holder];
        one.alarm += 1;
        let alarm = one.alarm;
        self.after(after, Event::Holder(holder, 0, alarm));
    }

    /// A holder looks at its clock.
    pub(super) fn holder(&mut self, holder: usize, _: u64, alarm: u64) {
        if self.holders[holder].alarm != alarm {
            return;
        }
        self.wake_up(holder);
        let rules = self.setup.rules;
        let one = &mut self.holders[holder];
        let now = one.reading(self.time, rules);
        if one.belief.is_some() && one.holds(self.time, rules).is_none() {
            trace!(self, "holder {holder} stops: its time is up");
            self.count("ran out");
            self.holders[holder].leave();
        }
        match self.holders[holder].phase {
            Phase::Idle if !self.calm => self.ask_for_port(holder),
            Phase::Idle => {}
            Phase::Asking(request) | Phase::Releasing(request) => {
                self.retry(holder, request, now);
            }
            Phase::Holding(renewal) => self.hold(holder, renewal, now),
        }
        let asleep = self.holders[holder].asleep;
        let after = match (asleep, self.holders[holder].phase) {
            (Some((_, until)), _) => until - self.time,
            (None, Phase::Idle) => self.chance.between((100, 3_000)),
            (None, _) => self.chance.between((10, 300)),
        };
        self.alarm(holder, after);
    }

    fn wake_up(&mut self, holder: usize) {
        let rules = self.setup.rules;
        let time = self.time;
        let one = &mut self.holders[holder];
        if let Some((since, _)) = one.asleep.take() {
            if !rules.clock_runs_asleep {
                one.clock.stood(time - since);
            }
            trace!(self, "holder {holder} wakes");
        }
    }

    fn ask_for_port(&mut self, holder: usize) {
        let own = !self.chance.hit(self.setup.other_host);
        let ttl = self.chance.between(self.setup.ttl);
        let port = u16::try_from(self.chance.below(u64::from(self.setup.ports))).unwrap();
        let exact = self.chance.hit(self.setup.exact);
        let prefers = exact || self.chance.hit(200);
        let named = self.chance.hit(self.setup.named);
        let request = self.request(self.setup.with_request_id);
        let one = &mut self.holders[holder];
        one.leave();
        one.stopped.clear();
        let wish = Wish {
            requester_id: one.requester,
            protocol: "http".parse().unwrap(),
            ttl: Ttl::try_from(u32::try_from(ttl).unwrap()).unwrap(),
            node_id: None,
            epoch: None,
            host: Some(host(own)),
            transport: Transport::Tcp,
            preferred: prefers.then(|| crate::domain::ids::Port::new(20_000 + port).unwrap()),
            exact,
            name: named.then(|| "api".parse().unwrap()),
            labels: Vec::new(),
            requested_at: None,
            request,
        };
        let request = self.say(holder, Action::Lease(wish));
        self.holders[holder].phase = Phase::Asking(request);
    }

    pub(super) fn request(&mut self, per_mille: u64) -> Option<Request> {
        self.chance.hit(per_mille).then(|| Request {
            id: RequestId(self.chance.uuid()),
            digest: Digest(self.chance.uuid()),
        })
    }

    /// Something new is asked.
    fn say(&mut self, holder: usize, action: Action) -> usize {
        let now = self.holders[holder].reading(self.time, self.setup.rules);
        let one = &mut self.holders[holder];
        one.requests.push(Sent {
            first: now,
            last: now,
            tries: 0,
            action,
        });
        let request = one.requests.len() - 1;
        self.say_again(holder, request, now);
        request
    }

    fn say_again(&mut self, holder: usize, request: usize, now: u64) {
        let wait = self.chance.between((600, 5_000));
        let one = &mut self.holders[holder];
        one.retry_at = now + wait;
        let sent = &mut one.requests[request];
        sent.tries += 1;
        sent.last = now;
        let ask = Ask {
            who: Who::Holder(holder),
            life: one.life,
            request,
            action: sent.action.clone(),
        };
        self.post(ask);
    }

    /// A request is on its way, if it is not lost; and perhaps once more.
    pub(super) fn post(&mut self, ask: Ask) {
        if !self.trouble(self.setup.request_lost) {
            let (instance, after) = (self.chance.index(self.instances.len()), self.latency());
            self.after(after, Event::Ask(instance, Box::new(ask.clone())));
        }
        if self.trouble(self.setup.request_twice) {
            self.count("requests twice");
            let instance = self.chance.index(self.instances.len());
            let after = self.chance.between(self.setup.twice_after);
            self.after(after, Event::Ask(instance, Box::new(ask)));
        }
    }

    /// The same once more when no answer has come, or a new one where it has no name.
    fn retry(&mut self, holder: usize, request: usize, now: u64) {
        let one = &self.holders[holder];
        if now < one.retry_at {
            return;
        }
        if one.requests[request].tries >= TRIES_MAX || one.requests.len() > 12 {
            self.count("gave up");
            return self.holders[holder].leave();
        }
        let action = one.requests[request].action.clone();
        let named = match &action {
            Action::Lease(wish) => wish.request.is_some(),
            Action::Renew { request, .. } | Action::Release { request, .. } => request.is_some(),
            _ => false,
        };
        if named {
            return self.say_again(holder, request, now);
        }
        let request = self.say(holder, action);
        let phase = &mut self.holders[holder].phase;
        *phase = match phase {
            Phase::Asking(_) => Phase::Asking(request),
            Phase::Releasing(_) => Phase::Releasing(request),
            Phase::Holding(_) | Phase::Idle => Phase::Holding(Some(request)),
        };
    }

    fn hold(&mut self, holder: usize, renewal: Option<usize>, now: u64) {
        let one = &self.holders[holder];
        let Some(belief) = one.belief.clone() else {
            return self.holders[holder].leave();
        };
        if !one.bound && now >= one.bind_at {
            if self.is_bound(&belief.key) {
                self.count("binds failed");
                return self.release(holder, belief.lease_id);
            }
            self.holders[holder].bound = true;
        }
        if self.calm || now >= self.holders[holder].leave_at {
            if !self.calm && self.chance.hit(self.setup.dies) {
                self.count("died");
                trace!(self, "holder {holder} dies");
                return self.holders[holder].leave();
            }
            if self.chance.hit(self.setup.releases) {
                return self.release(holder, belief.lease_id);
            }
            // Renews no more, and uses the port as long as it may.
            return;
        }
        if self.trouble(self.setup.sleeps / 20) {
            let longest = self.setup.ttl.1 * 2_000;
            let lasts = self.chance.between((500, longest));
            self.count("slept");
            trace!(self, "holder {holder} sleeps for {lasts} ms");
            self.holders[holder].asleep = Some((self.time, self.time + lasts));
            return;
        }
        match renewal {
            Some(request) => {
                if self.holders[holder].requests[request].tries >= TRIES_MAX {
                    self.holders[holder].phase = Phase::Holding(None);
                } else {
                    self.retry(holder, request, now);
                }
            }
            None if now >= self.holders[holder].renew_at => {
                let ttl = self.chance.hit(self.setup.changes_ttl).then(|| {
                    let ttl = self.chance.between(self.setup.ttl);
                    Ttl::try_from(u32::try_from(ttl).unwrap()).unwrap()
                });
                let action = Action::Renew {
                    requester_id: self.holders[holder].requester,
                    lease_id: belief.lease_id,
                    ttl,
                    request: self.request(500),
                };
                let request = self.say(holder, action);
                self.holders[holder].phase = Phase::Holding(Some(request));
            }
            None => {}
        }
    }

    fn release(&mut self, holder: usize, lease_id: LeaseId) {
        let action = Action::Release {
            requester_id: self.holders[holder].requester,
            lease_id,
            request: self.request(300),
        };
        trace!(self, "holder {holder} releases {lease_id}");
        let keeps = !self.setup.rules.stops_at_release;
        let one = &mut self.holders[holder];
        one.kept = one.belief.take().filter(|_| keeps);
        one.stop();
        let request = self.say(holder, action);
        self.holders[holder].phase = Phase::Releasing(request);
    }
}
