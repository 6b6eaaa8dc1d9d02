//! Requests and replies of the `trust.*` endpoints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::ids::{Label, NodeId, RequestId, RequesterId};

use super::{
    bounds::Open,
    schema::{LabelText, NameText, UuidText},
};

/// How far a node is trusted.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum TrustState {
    /// No validator has vouched for what it is now.
    Untrusted,
    /// A validator has.
    Trusted,
    /// Several have, independently.
    Verified,
}

/// What a validator found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The node does what it announces.
    Pass,
    /// It does not.
    Fail,
}

/// How far a node is on its way into use, by its validators.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    /// On trial.
    Canary,
    /// Examined.
    Validated,
    /// Examined, and not to change any more.
    Frozen,
}

/// Says what a validator found out about a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReportRequest {
    /// The node that was examined.
    #[schemars(with = "NameText")]
    pub node_id: NodeId,
    /// Who examined it: your identity, or a node of type `validator` that you have registered.
    #[schemars(with = "NameText")]
    pub validator_id: NodeId,
    /// Who registered the validator.
    #[schemars(with = "UuidText")]
    pub requester_id: RequesterId,
    /// What came of it.
    pub outcome: Verdict,
    /// In which way it failed, in a few words that stay the same for the same failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<LabelText>")]
    pub failure_mode: Option<Label>,
    /// How far it is now. Default: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// Your name for this request: the same again is answered with the present state, never done twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<UuidText>")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// Asks how far a node is trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrustGetRequest {
    /// Which.
    #[schemars(with = "NameText")]
    pub node_id: NodeId,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

/// What a trust status was computed from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Computed {
    /// How, in one sentence.
    pub rule: String,
    /// Reports of what the node is now that count.
    pub reports: u64,
    /// Those that passed.
    pub passed: u64,
    /// Those that failed.
    pub failed: u64,
    /// Validators that they are from.
    pub validators: u64,
    /// Reports that do not count any more: the node's contract has changed since.
    pub outdated: u64,
}

/// How far a node is trusted, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trust {
    /// How far.
    pub trust_state: Open<TrustState>,
    /// 0 to 1; null while nobody has examined it.
    #[schemars(range(min = 0, max = 1))]
    pub trust_score: Option<f64>,
    /// Whether a validator has examined what it is now and found it good.
    pub validated: bool,
    /// Who examined what it is now.
    #[schemars(with = "Vec<NameText>")]
    pub validator_ids: Vec<NodeId>,
    /// In which ways it failed.
    #[schemars(with = "Vec<LabelText>")]
    pub failure_modes: Vec<Label>,
    /// How far it is on its way into use; null while no validator has said.
    pub registry_lifecycle: Option<Open<Lifecycle>>,
    /// What this was computed from.
    pub computed: Computed,
    /// What it is now, condensed: its version, type, schema and tools. When this changes, older reports
    /// do not count any more.
    pub contract_hash: String,
}

/// How far one node is trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrustReply {
    /// Which.
    #[schemars(with = "NameText")]
    pub node_id: NodeId,
    /// How far, and why.
    #[serde(flatten)]
    pub trust: Trust,
    /// What this answer is true for.
    pub revision: u64,
    /// Fields of the request that a later protocol minor knows, and this registry does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}
