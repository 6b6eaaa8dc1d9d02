//! What the registry makes of a request's name.

use onex_core::record::Request;
use onex_types::ids::RequestId;
use serde::Serialize;

use crate::protocol::{endpoint::Endpoint, frame::digest};

/// A request that its caller named, with a digest of what it asks for.
pub(super) fn named<T: Serialize>(
    endpoint: Endpoint,
    id: Option<RequestId>,
    request: &T,
) -> Option<Request> {
    id.map(|id| Request {
        id,
        digest: digest(endpoint, request),
    })
}
