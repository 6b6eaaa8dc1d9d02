//! The judge of answers: each was true at some moment between the request and now.

use crate::domain::{
    command::{Action, Answer, Held, Refusal, Unavailable, Wish},
    ids::LeaseId,
    key::{PortKey, Revision},
    record::{Body, Request, Stored},
};

use super::{
    check::{Rule, What},
    deeds::Job,
    world::{Outcome, World, host},
};

impl World {
    /// An instance answers.
    pub(super) fn judge(&mut self, instance: usize, job: &Job, outcome: &Outcome) {
        let Some(ask) = &job.ask else {
            return;
        };
        match outcome {
            Outcome::Done(Answer::Lease(held)) => {
                self.judge_token(held);
                self.judge_bond(instance, held);
                if let Action::Lease(wish) = &ask.action {
                    self.judge_deed(wish, held);
                }
                return;
            }
            Outcome::Done(Answer::Execution {
                execution_id,
                outcome: Some(outcome),
                ..
            }) => return self.judge_call(ask, *execution_id, outcome),
            Outcome::Done(_) | Outcome::TimedOut { unknown: true } => return,
            Outcome::TimedOut { unknown: false } => self.count("timed out, nothing done"),
            Outcome::Refused(refusal) => {
                self.count(refusal_name(refusal));
                let wish = match &ask.action {
                    Action::Lease(wish) => Some(wish),
                    _ => None,
                };
                if let Some(text) = self.is_false(job, &ask.action, wish, refusal) {
                    let text = format!("#{instance} to {}: {refusal:?}: {text}", ask.who);
                    self.fail(Rule::TrueAnswers, text);
                }
                if matches!(
                    refusal,
                    Refusal::LeaseExpired(..)
                        | Refusal::LeaseNotFound(_)
                        | Refusal::NotHolder(..)
                        | Refusal::NotNodesHolder(_)
                        | Refusal::NotBusHolder(_)
                        | Refusal::Superseded { .. }
                ) || wish.is_none()
                    && matches!(
                        refusal,
                        Refusal::NodeNotFound(_)
                            | Refusal::ToolNotFound(..)
                            | Refusal::BusNotFound(_)
                            | Refusal::NotValidator(_)
                    )
                {
                    return;
                }
            }
        }
        self.judge_undone(job, outcome);
    }

    /// The caller is told that nothing was done.
    fn judge_undone(&mut self, job: &Job, outcome: &Outcome) {
        let lease = matches!(
            job.ask.as_ref().map(|ask| &ask.action),
            Some(Action::Lease(_))
        );
        for id in &job.ids {
            let live = || {
                let mut now = self.check.past.values().filter_map(|past| past.last());
                now.any(|past| past.what == What::Lease(LeaseId(id.0)))
            };
            let done = if lease {
                live()
            } else {
                self.check.wrote.contains(id)
            };
            if done {
                let text = format!("{outcome:?}, but {} has written", id.0);
                self.fail(Rule::TrueAnswers, text);
            }
            self.check.undone.insert(*id);
        }
    }

    fn judge_token(&mut self, held: &Held) {
        let id = held.lease.lease_id;
        let token = held.revision.0;
        let known = self.check.past.get(&held.key).is_some_and(|past| {
            past.iter()
                .any(|past| past.revision == held.revision && past.what == What::Lease(id))
        });
        let tokens = self.check.tokens.entry(held.key.clone()).or_default();
        let apart = tokens
            .iter()
            .all(|(other, (low, high))| *other == id || token < *low || token > *high);
        let (low, high) = tokens.entry(id).or_insert((token, token));
        *low = token.min(*low);
        *high = token.max(*high);
        if !known || !apart {
            let text = format!("{}: token {token} of {id}; others: {tokens:?}", held.key);
            self.fail(Rule::TokensGrow, text);
        }
    }

    fn judge_deed(&mut self, wish: &Wish, held: &Held) {
        let Some(request) = wish.request else {
            return;
        };
        let id = held.lease.lease_id;
        let granted = held.lease.granted.unwrap_or(held.revision.0);
        let answered = self
            .check
            .answered
            .entry((wish.requester_id, request.id))
            .or_default();
        answered.insert(id);
        let answered = answered.clone();
        let mut live = 0;
        let mut text = None;
        for past in self.check.past.values().filter_map(|past| past.last()) {
            match past.what {
                What::Lease(other) if answered.contains(&other) => live += 1,
                What::Rest(Some(other), _) if other != id && past.revision.0 < granted => {
                    let remembered = self.remembers(past.revision, request);
                    if remembered || answered.contains(&other) {
                        text = Some(format!("{id} was granted after {other} had ended"));
                    }
                }
                _ => {}
            }
        }
        if live > 1 {
            text = Some(format!("of {answered:?}, {live} are live"));
        }
        if let Some(text) = text {
            self.fail(Rule::NoSecondDeed, text);
        }
    }

    /// Whether the rest that was written there names that request.
    fn remembers(&self, revision: Revision, request: Request) -> bool {
        let Some((_, Stored::Port(record))) = self.store.log.get(&revision.0) else {
            return false;
        };
        match &record.body {
            Body::Rest(rest) => rest.last.as_ref().and_then(|last| last.request) == Some(request),
            Body::Lease(_) => false,
        }
    }

    /// Why a refusal was false all the time from the request to now; none when it was true once.
    fn is_false(
        &self,
        job: &Job,
        action: &Action,
        wish: Option<&Wish>,
        refusal: &Refusal,
    ) -> Option<String> {
        let lease_id = match action {
            Action::Renew { lease_id, .. } | Action::Release { lease_id, .. } => Some(*lease_id),
            Action::AnnounceBus(wish) => wish.lease_id,
            _ => None,
        };
        match refusal {
            Refusal::LeaseNotFound(_) if lease_id.is_none() => Some("of none".to_owned()),
            Refusal::LeaseNotFound(_) => self.check.past.values().find_map(|past| {
                let last = past.last()?;
                let first = past.iter().find(|past| past.what.lease_id() == lease_id)?;
                let there = last.what.lease_id() == lease_id && first.revision <= job.behind;
                there.then(|| format!("it is there since @{}", first.revision.0))
            }),
            Refusal::LeaseExpired(..) => {
                let live = lease_id.is_some_and(|lease_id| self.is_live(lease_id));
                live.then(|| "it is live".to_owned())
            }
            Refusal::PortUnavailable(_, why) => {
                let wish = wish?;
                let key = PortKey {
                    host: wish.host.clone()?,
                    transport: wish.transport,
                    port: wish.preferred?,
                };
                let right = |what: What| match why {
                    Unavailable::Held => matches!(what, What::Lease(_) | What::Foreign),
                    Unavailable::Resting | Unavailable::Quarantined => {
                        matches!(what, What::Rest(_, true))
                    }
                    _ => true,
                };
                let mut since = self.check.since(&key, job.behind);
                let in_use = *why == Unavailable::InUse;
                (!in_use && !since.any(|past| right(past.what)))
                    .then(|| format!("{key} was not at any moment"))
            }
            Refusal::Exhausted { .. } => {
                let ports: Vec<PortKey> = self
                    .ports()
                    .into_iter()
                    .filter(|key| {
                        key.host
                            == wish
                                .and_then(|wish| wish.host.clone())
                                .unwrap_or_else(|| host(true))
                    })
                    .collect();
                let full = |at: Revision| {
                    let taken = |key: &PortKey| self.check.at(key, at).is_some_and(What::is_taken);
                    ports.iter().all(taken)
                };
                let changes = ports
                    .iter()
                    .flat_map(|key| self.check.since(key, job.behind))
                    .map(|past| past.revision);
                let once = full(job.behind) || changes.filter(|at| *at > job.behind).any(full);
                (!once).then(|| "a port was free at every moment".to_owned())
            }
            other => self.node_is_false(job.behind, action, other),
        }
    }
}

fn refusal_name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::LeaseExpired(..) => "refused: expired",
        Refusal::LeaseNotFound(_) => "refused: not found",
        Refusal::PortUnavailable(..) => "refused: unavailable",
        Refusal::Exhausted { .. } => "refused: exhausted",
        Refusal::Busy => "refused: busy",
        Refusal::Contended => "refused: contended",
        Refusal::Unreachable => "refused: unreachable",
        Refusal::NodeNotFound(_) => "refused: no node",
        Refusal::Superseded { .. } => "refused: superseded",
        Refusal::NodeTaken { .. } => "refused: taken",
        Refusal::ToolNotFound(..) => "refused: no tool",
        Refusal::BusNotFound(_) => "refused: no bus",
        Refusal::NotValidator(_) => "refused: no validator",
        _ => "refused: other",
    }
}
