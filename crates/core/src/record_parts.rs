//! What several kinds of records have in common.

use std::collections::BTreeMap;

use onex_types::ids::{Digest, Incarnation, NodeId, RequestId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Free-form JSON: carried as it came.
pub type Json = serde_json::Value;

/// Members that this version does not know. They are kept when a record is written again.
pub type Unknown = BTreeMap<String, Json>;

/// A write that its caller named, to make retries idempotent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// Its id, chosen by the caller.
    pub id: RequestId,
    /// A digest of its parameters: tells a retry from another request under the same id.
    pub digest: Digest,
}

/// The life of a node that something belongs to and ends with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct OwnerRef {
    /// Which node.
    pub node_id: NodeId,
    /// Which life of it.
    pub incarnation: Incarnation,
}

/// Whether a member need not be written.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(crate) fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Whether a member need not be written.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(crate) fn is_false(yes: &bool) -> bool {
    !*yes
}
