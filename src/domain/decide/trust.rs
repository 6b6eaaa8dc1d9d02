//! What validators say of nodes.

use crate::domain::{
    command::{Answer, BOUND_VALIDATORS, Decision, Effect, Judgement, Refusal},
    key::{Key, Revision},
    node::NodeType,
    nodes::Seen,
    transition::{Happened, Transition},
    trust::{Judged, Outcome, VALIDATORS_MAX, Verdict, Verdicts},
};

use super::Case;

impl Case<'_> {
    /// Puts a validator's word in the place of its last one.
    pub(super) fn judge(&self, judgement: &Judgement) -> Result<Decision, Refusal> {
        let Judgement {
            node_id,
            validator_id,
            ..
        } = judgement;
        if node_id == validator_id {
            return Err(Refusal::OwnVerdict);
        }
        let validator = self.index.nodes.seen(validator_id).filter(Seen::is_live);
        let is_validator = validator.is_some_and(|seen| {
            seen.node.registration.node_type == NodeType::Validator
                && seen.live.requester_id == judgement.requester_id
        });
        if !is_validator {
            return Err(Refusal::NotValidator);
        }
        let seen = self.index.nodes.seen(node_id).filter(Seen::is_live);
        let seen = seen.ok_or(Refusal::NodeNotFound)?;
        let key = Key::Verdict(node_id.clone());
        self.check_reserved(&key)?;
        let entry = self.index.nodes.verdict(node_id);
        let empty = Verdicts::default();
        let before = entry.and_then(|entry| Some(&entry.body()?.verdicts));
        let before = before.unwrap_or(&empty);
        let latest = before.latest.iter().filter_map(|verdict| {
            let own = verdict.validator_id == *validator_id;
            verdict.request.filter(|_| own)
        });
        if let Some(request) = judgement.request
            && let Some(same) = latest
                .chain(before.earlier.iter().copied())
                .find(|same| same.id == request.id)
        {
            let revision = entry.map_or(Revision::default(), |entry| entry.revision);
            return if same == request {
                Ok(Decision::Answer(Answer::Done(revision)))
            } else {
                Err(Refusal::IdempotencyMismatch)
            };
        }
        self.check_room(entry)?;
        let verdict = Verdict {
            validator_id: validator_id.clone(),
            contract_hash: seen.node.registration.contract_hash.clone(),
            outcome: judgement.outcome,
            failure_mode: judgement
                .failure_mode
                .clone()
                .filter(|_| judgement.outcome == Outcome::Fail),
            at: self.now.wall,
            request: judgement.request,
        };
        let verdicts = before
            .with(verdict, judgement.lifecycle)
            .ok_or(Refusal::LimitExceeded {
                what: BOUND_VALIDATORS,
                limit: VALIDATORS_MAX,
            })?;
        let happened = Transition {
            validator_id: Some(validator_id.clone()),
            passed: Some(judgement.outcome == Outcome::Pass),
            ..self.happened(Happened::TrustChanged, Some(judgement.requester_id))
        };
        let write = self.write(key, entry, Judged { verdicts }, Some(happened));
        Ok(Decision::Commit {
            writes: vec![write],
            answer: Answer::Done(Revision::default()),
            then: Effect::Seen,
        })
    }
}
