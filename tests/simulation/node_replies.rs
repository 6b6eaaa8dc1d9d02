//! What processes of nodes make of replies.

use std::collections::BTreeMap;

use crate::domain::{
    command::{Action, Answer, Held, Known, Refusal},
    ids::LeaseId,
};

use super::{
    check::{Fate, Rule},
    owner::Alive,
    world::{Ask, Event, Outcome, Who, World, trace},
};

impl World {
    /// A reply reaches a process.
    pub(super) fn owner_replied(&mut self, owner: usize, ask: Ask, outcome: Outcome) {
        let one = &mut self.owners[owner];
        if one.life != ask.life {
            return;
        }
        if let Some((_, until)) = one.asleep {
            let after = until - self.time + 1;
            return self.after(after, Event::Reply(Box::new((ask, outcome))));
        }
        let later = matches!(
            outcome,
            Outcome::Refused(Refusal::Unreachable | Refusal::Busy | Refusal::Contended)
                | Outcome::TimedOut { .. }
        );
        if later {
            let sooner = one.clock.at(self.time) + 200;
            let errand = &mut one.errands[ask.request];
            errand.retry_at = errand.retry_at.min(sooner);
            return;
        }
        let joins = one.joining == Some(ask.request);
        for waits in [&mut one.joining, &mut one.beating, &mut one.busy] {
            if *waits == Some(ask.request) {
                *waits = None;
            }
        }
        match (&ask.action, outcome) {
            (Action::Announce(_) | Action::Beat { .. }, Outcome::Done(Answer::Node(known))) => {
                self.lives_by(owner, &ask, &known);
            }
            (Action::Lease(_), Outcome::Done(Answer::Lease(held))) => self.hang(owner, &held),
            (Action::Lease(wish), Outcome::Refused(refusal)) => {
                let epoch = wish.epoch;
                self.refused(owner, epoch, None, &refusal);
            }
            (
                Action::Beat { of, .. }
                | Action::AddTool { of, .. }
                | Action::RemoveTool { of, .. },
                Outcome::Refused(refusal),
            ) => self.refused(owner, Some(of.epoch), None, &refusal),
            (Action::Release { lease_id, .. }, Outcome::Refused(refusal)) => {
                self.refused(owner, None, Some(*lease_id), &refusal);
            }
            (Action::Announce(_), Outcome::Refused(refusal)) => {
                if let Refusal::Superseded { last, .. } | Refusal::NodeTaken { epoch: last, .. } =
                    refusal
                {
                    let id = self.owners[owner].node_id.clone();
                    let highest = self.epochs.entry(id).or_default();
                    *highest = last.max(*highest);
                }
                if joins {
                    self.over(owner);
                }
            }
            _ => {}
        }
    }

    /// It lives, until its TTL after it first asked.
    fn lives_by(&mut self, owner: usize, ask: &Ask, known: &Known) {
        let linger = self.chance.between(self.setup.lingers);
        let rules = self.setup.rules;
        let one = &mut self.owners[owner];
        let now = one.reading(self.time, rules);
        let sent = &one.errands[ask.request];
        let from = if rules.counts_from_first {
            sent.first
        } else {
            sent.last
        };
        let until = from + known.live.ttl.millis();
        let epoch = known.live.epoch;
        let highest = self.epochs.entry(one.node_id.clone()).or_default();
        *highest = epoch.max(*highest);
        if one.left.contains(&epoch) {
            return;
        }
        one.last_epoch = one.last_epoch.max(Some(epoch));
        match &mut one.alive {
            Some(alive) if alive.epoch > epoch => return,
            Some(alive) if alive.incarnation == known.live.incarnation => {
                alive.until = until.max(alive.until);
            }
            alive => {
                *alive = Some(Alive {
                    epoch,
                    incarnation: known.live.incarnation,
                    until,
                    ports: BTreeMap::new(),
                });
                one.joining = None;
                one.leave_at = now + linger;
            }
        }
        one.beat_at = now + until.saturating_sub(now) / 3;
        trace!(self, "owner {owner} lives: {:?}", self.owners[owner].alive);
        self.count("lives believed");
        self.alone(Who::Owner(owner));
    }

    /// It has a port for as long as it lives.
    fn hang(&mut self, owner: usize, held: &Held) {
        let bound = self.is_bound(&held.key);
        let one = &mut self.owners[owner];
        let lease_id = held.lease.lease_id;
        let Some(alive) = one.alive.as_mut() else {
            return;
        };
        if one.stopped.contains(&lease_id) || alive.ports.contains_key(&lease_id) {
            return;
        }
        if bound {
            one.stopped.insert(lease_id);
            let action = Action::Release {
                requester_id: one.requester,
                lease_id,
                request: None,
            };
            self.count("binds failed");
            let errand = self.begin_errand(owner, action);
            self.owners[owner].busy = Some(errand);
            return;
        }
        alive.ports.insert(lease_id, held.key.clone());
        trace!(self, "owner {owner} has {}", held.key);
        self.count("ports of nodes");
        self.alone(Who::Owner(owner));
    }

    /// It is told that it does not live, or that it has lost a port.
    fn refused(
        &mut self,
        owner: usize,
        epoch: Option<u64>,
        lease_id: Option<LeaseId>,
        refusal: &Refusal,
    ) {
        let (time, rules) = (self.time, self.setup.rules);
        match refusal {
            Refusal::Superseded { .. } | Refusal::NodeNotFound(_) | Refusal::NotNodesHolder(_) => {
                let one = &self.owners[owner];
                let of = one.alive.as_ref().map(|alive| alive.epoch);
                if lease_id.is_some()
                    || of.is_none()
                    || epoch.is_some_and(|epoch| of != Some(epoch))
                {
                    return;
                }
                if let Some(alive) = one.lives(time, rules) {
                    let fate = self.check.fates.get(&alive.incarnation).copied();
                    if !matches!(fate, Some(Fate::Superseded | Fate::Overwritten)) {
                        let text =
                            format!("owner {owner} is told {refusal:?}, is {fate:?}: {alive:?}");
                        self.fail(Rule::NothingLost, text);
                    }
                }
                self.count("lives given up");
                self.over(owner);
            }
            _ => {}
        }
    }
}
