//! Attempts of a call: who was asked to run a tool, and what each said.

use onex_core::call;
use onex_types::ids::NodeId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{bounds::Open, schema::NameText};

/// A node that was asked to run a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// The node.
    #[schemars(with = "NameText")]
    pub node_id: NodeId,
    /// What came of it.
    pub said: Open<AttemptResult>,
    /// More of that, for people; null where there is no more. At most 256 characters.
    #[serde(default)]
    pub message: Option<String>,
}

/// What a node said when it was asked to run a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptResult {
    /// It gave a result.
    Answered,
    /// It gave an error.
    Failed,
    /// It gave a result that is not as its contract says.
    InvalidResult,
    /// It cannot take more calls now.
    Declined,
    /// Nothing: nobody listens on its subject.
    NoResponders,
    /// Nothing: nobody listens on its subject any more, and somebody did when it was asked.
    Gone,
    /// Nothing in the time that it had.
    Silent,
    /// The request could not be sent to it.
    NotSent,
}

impl From<call::Attempt> for Attempt {
    fn from(attempt: call::Attempt) -> Self {
        Self {
            node_id: attempt.node_id,
            said: Open::Known(attempt.said.into()),
            message: attempt.message,
        }
    }
}

impl From<call::AttemptResult> for AttemptResult {
    fn from(result: call::AttemptResult) -> Self {
        match result {
            call::AttemptResult::Answered => Self::Answered,
            call::AttemptResult::Failed => Self::Failed,
            call::AttemptResult::InvalidResult => Self::InvalidResult,
            call::AttemptResult::Declined => Self::Declined,
            call::AttemptResult::NoResponders => Self::NoResponders,
            call::AttemptResult::Gone => Self::Gone,
            call::AttemptResult::Silent => Self::Silent,
            call::AttemptResult::NotSent => Self::NotSent,
        }
    }
}
