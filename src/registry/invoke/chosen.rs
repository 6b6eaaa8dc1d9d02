//! Who is asked to run a tool.

use std::sync::Arc;

use onex_core::node::Tool;
use onex_types::ids::{NodeId, RequesterId, Token};

use super::compiled::CompiledContract;

/// Whoever was chosen, copied out of the index.
pub(super) struct Chosen {
    pub(super) node_id: NodeId,
    /// Who announced the node.
    pub(super) announced_by: RequesterId,
    pub(super) tool_name: Token,
    pub(super) tool_version: semver::Version,
    pub(super) contract_hash: String,
    pub(super) subject: String,
    /// What is left of the node's time.
    pub(super) expires_in_ms: u64,
    /// The contract as it was compiled before; else as it was announced.
    pub(super) contract: Result<Arc<CompiledContract>, Box<Tool>>,
    /// How long one attempt may take, in milliseconds, where the contract says so.
    pub(super) attempt_timeout_ms: Option<u64>,
    /// Whether somebody else could be asked as well.
    pub(super) has_another: bool,
    pub(super) revision: u64,
}
