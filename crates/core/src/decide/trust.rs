//! What validators say of nodes.

use crate::{
    command::{Answer, Command, Refusal, bounds},
    entry::{Change, EventKind, EventRecord},
    key::Key,
    mechanism::Mechanism,
    node::NodeType,
    node_command::{TrustAnswer, TrustReport},
    node_event::TrustEvent,
    trust::{LatestVerdict, VALIDATORS_MAX, Verdict, Verdicts},
    txn::Txn,
};

use super::decided::Decided;

/// Puts a validator's verdict in the place of its last one on the node's contract.
pub(super) fn report(
    txn: &mut Txn<'_>,
    command: &Command,
    report: &TrustReport,
) -> Result<Decided, Refusal> {
    let node_id = &report.node_id;
    if *node_id == report.validator_id {
        return Err(Refusal::OwnReport(node_id.clone()));
    }
    let before = txn.state.verdicts(node_id).cloned().unwrap_or_default();
    // What was done stays done, whoever is live by now.
    if reported_before(txn, report, &before)? {
        return answer(txn, report);
    }
    check_validator(txn, report)?;
    let view = txn.state.live_node(node_id);
    let view = view.ok_or_else(|| Refusal::NodeNotFound(node_id.clone()))?;
    let contract = view.node.registration.contract_hash.clone();
    let examined = report.contract_hash.as_ref();
    if examined.is_some_and(|examined| *examined != contract) {
        return Err(Refusal::OtherContract {
            node_id: node_id.clone(),
            contract_hash: contract,
        });
    }
    let verdicts = with(txn, report, &before, &contract)?;
    let event = changed(report, &before, &verdicts, &contract);
    let change = Change::Put {
        key: Key::Trust(node_id.clone()),
        record: verdicts.into(),
        tentative: false,
        event,
    };
    txn.change(
        "trust.report",
        command,
        Some(report.requester_id),
        vec![change],
    );
    answer(txn, report)
}

/// What is said of the node by now.
fn answer(txn: &Txn<'_>, report: &TrustReport) -> Result<Decided, Refusal> {
    let node_id = &report.node_id;
    let view = txn.state.node(node_id);
    let view = view.ok_or_else(|| Refusal::NodeNotFound(node_id.clone()))?;
    let verdicts = txn.state.verdicts(node_id);
    Ok(Decided::answer(Answer::Trust(Box::new(TrustAnswer {
        verdicts: verdicts.map_or_else(Verdicts::default, |verdicts| Verdicts::clone(verdicts)),
        contract_hash: view.node.registration.contract_hash.clone(),
    }))))
}

/// Whether this request has led to a verdict already.
fn reported_before(
    txn: &Txn<'_>,
    report: &TrustReport,
    before: &Verdicts,
) -> Result<bool, Refusal> {
    if !txn.state.mechanisms.on(Mechanism::Idempotency) {
        return Ok(false);
    }
    let known = report
        .request
        .and_then(|request| before.reported(&report.validator_id, request));
    match known {
        Some(known) if Some(known) != report.request => Err(Refusal::IdempotencyMismatch(known.id)),
        known => Ok(known.is_some()),
    }
}

fn check_validator(txn: &Txn<'_>, report: &TrustReport) -> Result<(), Refusal> {
    let view = txn.state.live_node(&report.validator_id);
    let is_validator = view.is_some_and(|view| {
        view.node.registration.node_type == NodeType::Validator
            && view.live.requester_id == report.requester_id
    });
    if is_validator {
        Ok(())
    } else {
        Err(Refusal::NotValidator(report.validator_id.clone()))
    }
}

fn with(
    txn: &Txn<'_>,
    report: &TrustReport,
    before: &Verdicts,
    contract: &str,
) -> Result<Verdicts, Refusal> {
    let failed = report.outcome == Verdict::Fail;
    let verdict = LatestVerdict {
        validator_id: report.validator_id.clone(),
        outcome: report.outcome,
        failure_mode: report.failure_mode.clone().filter(|_| failed),
        at: txn.now.wall,
        requests: report.request.into_iter().collect(),
    };
    let is_known = |id: &_| txn.state.live(id).is_some();
    let verdicts = before.with(contract, verdict, report.lifecycle, is_known);
    verdicts.ok_or(Refusal::LimitExceeded {
        what: bounds::VALIDATORS,
        limit: VALIDATORS_MAX,
    })
}

/// What is told of a report: nothing when nothing follows from it that was not so before.
fn changed(
    report: &TrustReport,
    before: &Verdicts,
    after: &Verdicts,
    contract: &str,
) -> Option<EventRecord> {
    let trust = after.trust(contract);
    if trust == before.trust(contract) {
        return None;
    }
    Some(EventRecord {
        trust: Some(Box::new(TrustEvent {
            validator_id: report.validator_id.clone(),
            requester_id: report.requester_id,
            outcome: report.outcome,
            failure_mode: report.failure_mode.clone(),
            contract_hash: contract.to_owned(),
            state: trust.state,
            passes: trust.passes,
            fails: trust.fails,
            lifecycle: trust.lifecycle,
        })),
        ..EventRecord::new(EventKind::TrustChanged)
    })
}
