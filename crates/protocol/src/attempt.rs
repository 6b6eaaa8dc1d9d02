//! Attempts of a call: who was asked to run a tool, and what each said.

use onex_types::ids::NodeId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use onex_types::kinds::AttemptResult;

use crate::bounds::Open;

/// A node that was asked to run a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// The node.
    pub node_id: NodeId,
    /// What came of it.
    pub said: Open<AttemptResult>,
    /// More of that, for people; null where there is no more. At most 256 characters.
    #[serde(default)]
    pub message: Option<String>,
}
