//! What holders make of replies.

use crate::domain::command::{Action, Answer, Held, Refusal};

use super::{
    holder::{Belief, Phase},
    world::{Ask, Event, Outcome, Who, World, trace},
};

impl World {
    /// A reply reaches a holder.
    pub(super) fn replied(&mut self, holder: usize, ask: Ask, outcome: Outcome) {
        let one = &mut self.holders[holder];
        if one.life != ask.life {
            return;
        }
        if let Some((_, until)) = one.asleep {
            let after = until - self.time + 1;
            return self.after(after, Event::Reply(Box::new((ask, outcome))));
        }
        let current = match one.phase {
            Phase::Asking(request) | Phase::Releasing(request) => Some(request),
            Phase::Holding(request) => request,
            Phase::Idle => None,
        } == Some(ask.request);
        match outcome {
            Outcome::Done(Answer::Lease(held)) => self.believe(holder, &ask, &held, current),
            Outcome::Refused(Refusal::LeaseExpired(..) | Refusal::LeaseNotFound(_)) => {
                self.told_gone(holder, &ask);
            }
            Outcome::Done(Answer::Ended { .. }) => {
                if matches!(one.phase, Phase::Releasing(_)) {
                    one.leave();
                }
            }
            Outcome::Refused(Refusal::Unreachable | Refusal::Busy | Refusal::Contended)
            | Outcome::TimedOut { .. } => {
                if let Some(kept) = one.kept.take() {
                    // "It was not released, so it is still mine."
                    one.belief = Some(kept);
                    one.phase = Phase::Holding(None);
                    one.leave_at = u64::MAX;
                    self.alone(Who::Holder(holder));
                } else if current {
                    one.retry_at = one.retry_at.min(one.clock.at(self.time) + 200);
                }
            }
            Outcome::Done(
                Answer::Nothing | Answer::Node(_) | Answer::Done(_) | Answer::Execution { .. },
            )
            | Outcome::Refused(_) => {
                if current && matches!(one.phase, Phase::Asking(_)) {
                    one.leave();
                }
            }
        }
    }

    fn believe(&mut self, holder: usize, ask: &Ask, held: &Held, current: bool) {
        let rules = self.setup.rules;
        let linger = self.chance.between((0, 40_000));
        let binds_after = self.chance.between((0, 2_500));
        let one = &mut self.holders[holder];
        if matches!(one.phase, Phase::Releasing(_)) || one.stopped.contains(&held.lease.lease_id) {
            return;
        }
        let now = one.reading(self.time, rules);
        let sent = &one.requests[ask.request];
        let from = if rules.counts_from_first {
            sent.first
        } else {
            sent.last
        };
        // It has bound the port that it was granted; a renewal does not move it.
        let bound = one
            .belief
            .as_ref()
            .filter(|old| old.lease_id == held.lease.lease_id);
        let belief = Belief {
            lease_id: held.lease.lease_id,
            key: bound.map_or(&held.key, |old| &old.key).clone(),
            token: held.revision.0,
            until: from + held.lease.ttl.millis(),
        };
        let newer = one
            .belief
            .as_ref()
            .is_none_or(|old| (old.token, old.until) <= (belief.token, belief.until));
        if !newer {
            return;
        }
        let left = belief.until.saturating_sub(now);
        one.renew_at = now + left / 3;
        if one
            .belief
            .as_ref()
            .is_none_or(|old| old.lease_id != belief.lease_id)
        {
            one.bound = false;
            one.bind_at = now + binds_after;
            one.leave_at = now + linger;
        }
        if current || matches!(one.phase, Phase::Asking(_)) {
            one.phase = Phase::Holding(None);
        }
        trace!(self, "holder {} believes {belief:?}", holder);
        one.belief = Some(belief);
        self.alone(Who::Holder(holder));
    }

    fn told_gone(&mut self, holder: usize, ask: &Ask) {
        let one = &self.holders[holder];
        let of = match &ask.action {
            Action::Renew { lease_id, .. } | Action::Release { lease_id, .. } => Some(*lease_id),
            Action::Lease(wish) if wish.request.is_some() => {
                one.belief.as_ref().map(|belief| belief.lease_id)
            }
            _ => None,
        };
        self.gone(holder, of);
        let one = &mut self.holders[holder];
        one.stopped.extend(of);
        if one
            .belief
            .as_ref()
            .is_some_and(|belief| Some(belief.lease_id) == of)
            || matches!(one.phase, Phase::Releasing(_) | Phase::Asking(_))
        {
            one.leave();
        }
    }
}
