//! `trust.report`.

use onex_core::{
    command::{Action, Answer},
    node_command::TrustReport,
};

use crate::{
    protocol::{
        endpoint::Endpoint,
        error::{Error, ErrorCode},
        frame::Parsed,
        trust::{ReportRequest, TrustReply},
    },
    registry::{
        message::to_bytes, queries::trust_of, refusal::decided, request::Plan,
        request_id::identified,
    },
};

/// `trust.report`.
pub(super) fn report(parsed: Parsed<ReportRequest>) -> Result<Plan, Error> {
    let Parsed { request, ignored } = parsed;
    request.check()?;
    let named = identified(Endpoint::TrustReport, request.request_id, &request);
    let node_id = request.node_id.clone();
    let report = TrustReport {
        node_id: request.node_id,
        validator_id: request.validator_id,
        requester_id: request.requester_id,
        outcome: request.outcome,
        failure_mode: request.failure_mode,
        lifecycle: request.lifecycle,
        contract_hash: request.contract_hash.map(String::from),
        request: named,
    };
    Ok(Plan {
        action: Action::Report(Box::new(report)),
        min_revision: request.min_revision,
        reply: Box::new(move |outcome, _| {
            let (Answer::Trust(trust), revision) = decided(outcome)? else {
                return Err(Error::new(ErrorCode::Internal, "nothing was reported"));
            };
            to_bytes(&TrustReply {
                node_id,
                trust: trust_of(Some(&trust.verdicts), &trust.contract_hash),
                revision,
                ignored,
            })
        }),
    })
}
