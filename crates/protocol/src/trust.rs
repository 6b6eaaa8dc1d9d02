//! Requests and replies of the `trust.*` endpoints.

use onex_types::ids::{Label, NodeId, RequestId, RequesterId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use onex_types::kinds::{Lifecycle, TrustState, Verdict};

use crate::{bounds::Open, error::Error};

/// Says what a validator found out about a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReportRequest {
    /// The node that was examined.
    pub node_id: NodeId,
    /// Who examined it: a node of type `validator` that you have registered and that is alive.
    pub validator_id: NodeId,
    /// Who registered the validator.
    pub requester_id: RequesterId,
    /// What came of it.
    pub outcome: Verdict,
    /// In which way it failed, in a few words that stay the same for the same failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_mode: Option<Label>,
    /// How far it is now. Default: as before. With `outcome` `fail` only `canary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// The contract that you examined, from `trust.get`: refused when the node has another one by now.
    /// Default: whichever it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract_hash: Option<Label>,
    /// Your name for this request: the same again is answered with the present state, never done twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    /// The node's id.
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
    pub validator_ids: Vec<NodeId>,
    /// In which ways it failed.
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
    /// The node's id.
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
