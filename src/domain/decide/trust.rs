//! What validators say of nodes.

use crate::domain::{
    command::{Answer, BOUND_VALIDATORS, Decision, Effect, Judgement, Refusal},
    key::{Key, Revision},
    node::NodeType,
    nodes::Seen,
    standing::Entry,
    transition::{Happened, JudgedTold, Transition},
    trust::{Judged, Outcome, VALIDATORS_MAX, Verdict, Verdicts},
    write::Write,
};

use super::Case;

impl Case<'_> {
    /// Puts a validator's word in the place of its last one on the node's contract.
    pub(super) fn judge(&self, judgement: &Judgement) -> Result<Decision, Refusal> {
        let node_id = &judgement.node_id;
        if node_id == &judgement.validator_id {
            return Err(Refusal::OwnVerdict(node_id.clone()));
        }
        let key = Key::Verdict(node_id.clone());
        self.check_reserved(&key)?;
        let entry = self.index.nodes.verdict(node_id);
        let empty = Verdicts::default();
        let before = entry.and_then(|entry| Some(&entry.body()?.verdicts));
        let before = before.unwrap_or(&empty);
        // What was done stays done, whoever lives by now.
        if self.judged_before(judgement, before, entry)? {
            let revision = entry.map_or(Revision::default(), |entry| entry.revision);
            return Ok(Decision::Answer(Answer::Done(revision)));
        }
        self.check_validator(judgement)?;
        let seen = self.index.nodes.seen(node_id).filter(Seen::is_live);
        let seen = seen.ok_or_else(|| Refusal::NodeNotFound(node_id.clone()))?;
        let contract = &seen.node.registration.contract_hash;
        let examined = judgement.contract_hash.as_ref();
        if examined.is_some_and(|examined| examined != contract) {
            return Err(Refusal::OtherContract(node_id.clone(), contract.clone()));
        }
        self.check_room(entry)?;
        let verdicts = self.verdicts(judgement, before, contract)?;
        let freezes = verdicts.is_frozen(contract) && !before.is_frozen(contract);
        let happened = self.trust_changed(judgement, before, &verdicts, contract);
        let verdict = self.write(key, entry, Judged { verdicts }, happened);
        let mut writes = vec![verdict];
        if freezes {
            writes.extend(self.again(&seen)?);
        }
        Ok(Decision::Commit {
            writes,
            answer: Answer::Done(Revision::default()),
            then: Effect::Seen,
        })
    }

    /// Whether this request, or this command, has led to a verdict already.
    fn judged_before(
        &self,
        judgement: &Judgement,
        before: &Verdicts,
        entry: Option<&Entry<Judged>>,
    ) -> Result<bool, Refusal> {
        let record = entry.and_then(|entry| entry.record.as_deref());
        let own = record.is_some_and(|record| record.write == self.command.id);
        let reported = |request| before.reported(&judgement.validator_id, request);
        match judgement.request.and_then(reported) {
            Some(same) if Some(same) != judgement.request => {
                Err(Refusal::IdempotencyMismatch(same.id))
            }
            same => Ok(same.is_some() || own),
        }
    }

    fn check_validator(&self, judgement: &Judgement) -> Result<(), Refusal> {
        let validator = self.index.nodes.seen(&judgement.validator_id);
        let is_validator = validator.filter(Seen::is_live).is_some_and(|seen| {
            seen.node.registration.node_type == NodeType::Validator
                && seen.live.requester_id == judgement.requester_id
        });
        if is_validator {
            Ok(())
        } else {
            Err(Refusal::NotValidator(judgement.validator_id.clone()))
        }
    }

    fn verdicts(
        &self,
        judgement: &Judgement,
        before: &Verdicts,
        contract: &str,
    ) -> Result<Verdicts, Refusal> {
        let failed = judgement.outcome == Outcome::Fail;
        let verdict = Verdict {
            validator_id: judgement.validator_id.clone(),
            outcome: judgement.outcome,
            failure_mode: judgement.failure_mode.clone().filter(|_| failed),
            at: self.now.wall,
            requests: judgement.request.into_iter().collect(),
        };
        let is_known = |id: &_| self.index.nodes.live(id).is_some();
        let verdicts = before.with(contract, verdict, judgement.lifecycle, is_known);
        verdicts.ok_or(Refusal::LimitExceeded {
            what: BOUND_VALIDATORS,
            limit: VALIDATORS_MAX,
        })
    }

    /// What is told of a report: nothing when nothing follows from it that was not so before.
    fn trust_changed(
        &self,
        judgement: &Judgement,
        before: &Verdicts,
        after: &Verdicts,
        contract: &str,
    ) -> Option<Transition> {
        let trust = after.trust(contract);
        if trust == before.trust(contract) {
            return None;
        }
        let happened = self.happened(Happened::TrustChanged, Some(judgement.requester_id));
        Some(Transition {
            judged: Some(Box::new(JudgedTold {
                validator_id: judgement.validator_id.clone(),
                outcome: judgement.outcome,
                failure_mode: judgement.failure_mode.clone(),
                contract_hash: contract.to_owned(),
                state: trust.state,
                passes: trust.passes,
                fails: trust.fails,
                lifecycle: trust.lifecycle,
            })),
            ..happened
        })
    }

    /// The node's announcement as it is, written again behind the verdict that freezes it. Whoever is
    /// changing it without having seen that verdict loses its CAS, and has seen it when it decides anew.
    fn again(&self, seen: &Seen<'_>) -> Result<Vec<Write>, Refusal> {
        let said = self.index.nodes.said(seen.node_id);
        // What is written again must be what is there.
        let latest = said.filter(|said| said.revision == seen.said_at);
        let node = latest.and_then(Entry::body).cloned();
        self.write_node(seen, node.ok_or(Refusal::Contended)?, None)
    }
}
