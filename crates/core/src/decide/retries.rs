//! What makes retries idempotent: requests that are remembered.

use onex_types::ids::RequesterId;

use crate::{command::Refusal, record_parts::Request, txn::Txn};

/// Refuses what came before under the same request id with other parameters.
pub(super) fn check_digest(
    txn: &Txn<'_>,
    requester_id: RequesterId,
    request: Option<Request>,
) -> Result<(), Refusal> {
    let Some(request) = request else {
        return Ok(());
    };
    match txn.state.indexes.request(requester_id, request.id) {
        Some((known, _)) if known.digest != request.digest => {
            Err(Refusal::IdempotencyMismatch(request.id))
        }
        _ => Ok(()),
    }
}

/// Whether that request is one of these; refused if it came with other parameters.
pub(super) fn is_remembered<'a>(
    mut remembered: impl Iterator<Item = &'a Request>,
    request: Request,
) -> Result<bool, Refusal> {
    match remembered.find(|known| known.id == request.id) {
        Some(known) if *known != request => Err(Refusal::IdempotencyMismatch(request.id)),
        known => Ok(known.is_some()),
    }
}

/// Adds a request to those that are remembered; the oldest gives way.
pub(super) fn remember(requests: &mut Vec<Request>, request: Option<Request>, max: usize) {
    requests.extend(request);
    let surplus = requests.len().saturating_sub(max);
    requests.drain(..surplus);
}
