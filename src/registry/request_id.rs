//! The id of a request with a digest of what it asks for: retries are recognised by both.

use onex_core::record::Request;
use onex_types::ids::RequestId;
use serde::Serialize;

use crate::protocol::{endpoint::Endpoint, frame::digest};

/// A request that has an id, with a digest of what it asks for.
pub(super) fn identified<T: Serialize>(
    endpoint: Endpoint,
    id: Option<RequestId>,
    request: &T,
) -> Option<Request> {
    id.map(|id| Request {
        id,
        digest: digest(endpoint, request),
    })
}
