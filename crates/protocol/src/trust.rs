//! Requests and replies of the `trust.*` endpoints.

use onex_core::trust::{self, Outcome};
use onex_types::ids::{Label, NodeId, RequestId, RequesterId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bounds::Open,
    error::Error,
    schema::{LabelText, NameText, UuidText},
};

/// How far a node is trusted.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum TrustState {
    /// Nobody has examined what it is now, or at least half of those who have found it bad.
    Untrusted,
    /// More than half of those who have examined it found it good.
    Trusted,
    /// Two or more validators found it good, and none bad.
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

impl From<trust::TrustState> for TrustState {
    fn from(state: trust::TrustState) -> Self {
        match state {
            trust::TrustState::Untrusted => Self::Untrusted,
            trust::TrustState::Trusted => Self::Trusted,
            trust::TrustState::Verified => Self::Verified,
        }
    }
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Pass => Self::Pass,
            Outcome::Fail => Self::Fail,
        }
    }
}

impl From<trust::Lifecycle> for Lifecycle {
    fn from(stage: trust::Lifecycle) -> Self {
        match stage {
            trust::Lifecycle::Canary => Self::Canary,
            trust::Lifecycle::Validated => Self::Validated,
            trust::Lifecycle::Frozen => Self::Frozen,
        }
    }
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Fail => Self::Fail,
        }
    }
}

impl From<Lifecycle> for trust::Lifecycle {
    fn from(stage: Lifecycle) -> Self {
        match stage {
            Lifecycle::Canary => Self::Canary,
            Lifecycle::Validated => Self::Validated,
            Lifecycle::Frozen => Self::Frozen,
        }
    }
}

/// Says what a validator found out about a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReportRequest {
    /// The node that was examined.
    #[schemars(with = "NameText")]
    pub node_id: NodeId,
    /// Who examined it: a node of type `validator` that you have registered and that is alive.
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
    /// How far it is now. Default: as before. With `outcome` `fail` only `canary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// The contract that you examined, from `trust.get`: refused when the node has another one by now.
    /// Default: whichever it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<LabelText>")]
    pub contract_hash: Option<Label>,
    /// Your name for this request: the same again is answered with the present state, never done twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<UuidText>")]
    pub request_id: Option<RequestId>,
    /// Answer only when the registry knows at least this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_revision: Option<u64>,
}

impl ReportRequest {
    /// Refuses what does not go with its outcome.
    pub fn check(&self) -> Result<(), Error> {
        let stage = self.lifecycle;
        match self.outcome {
            Verdict::Pass if self.failure_mode.is_some() => Err(Error::invalid(
                "/failure_mode",
                "only a report with outcome \"fail\" has a failure_mode",
            )),
            Verdict::Fail if stage.is_some_and(|stage| stage != Lifecycle::Canary) => {
                Err(Error::invalid(
                    "/lifecycle",
                    "a report with outcome \"fail\" can only say \"canary\"",
                ))
            }
            Verdict::Pass | Verdict::Fail => Ok(()),
        }
    }
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
    /// Reports that do not count now: they are on other contracts that the node had.
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
    /// Whether a validator has examined what it is now and found it good, and none found it bad.
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
    /// do not count, until it is as it was.
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
