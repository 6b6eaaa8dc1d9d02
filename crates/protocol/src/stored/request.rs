//! The schema of the request that a record remembers: see [`stored`](super).

#![expect(
    dead_code,
    reason = "these types are never values: their schemas are all there is to them"
)]

use schemars::JsonSchema;

use super::super::schema::UuidText;

/// A write that its caller named: the same request again is answered with what it did.
#[derive(JsonSchema)]
pub(super) struct Request {
    /// The request id.
    id: UuidText,
    /// A digest of its parameters: tells a retry from another request under the same id.
    digest: UuidText,
}
