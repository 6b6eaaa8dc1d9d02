//! What validators say of nodes, and what follows from it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ids::{Label, NodeId},
    record::{Request, Unknown},
};

/// Validators whose verdicts on one node are kept.
pub const VALIDATORS_MAX: usize = 64;
/// Verdicts from which a node whose verdicts are all good is verified.
pub const VERIFIED_VERDICTS_MIN: usize = 2;

/// Requests of verdicts that are no more that are remembered, so that the same again does not bring an old
/// verdict back.
pub const EARLIER_REPORTS_MAX: usize = 32;

/// What one `verdict.<node>` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The verdicts.
    pub verdicts: Verdicts,
}

/// What validators say of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdicts {
    /// The last of each validator, in the order of their ids; at most [`VALIDATORS_MAX`].
    pub latest: Vec<Verdict>,
    /// How far the node has come with the contract that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The requests of verdicts that others took the place of, oldest first; at most
    /// [`EARLIER_REPORTS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Request>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// How far a node has come with one contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// How far.
    pub lifecycle: Lifecycle,
    /// With which contract.
    pub contract_hash: String,
}

/// One validator's word on one contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whose.
    pub validator_id: NodeId,
    /// On which contract of the node: a changed one is judged anew.
    pub contract_hash: String,
    /// What it says.
    pub outcome: Outcome,
    /// In which way the node failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_mode: Option<Label>,
    /// When, for people.
    pub at: Timestamp,
    /// The request that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
}

/// A verdict's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The node does what its contract says.
    Pass,
    /// It does not.
    Fail,
}

/// How far a node has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifecycle {
    /// On trial.
    Canary,
    /// Fit for use.
    Validated,
    /// Fit for use, and its contract does not change any more.
    Frozen,
}

/// Whether a node is to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TrustState {
    /// Nobody has judged it, or at least half of those who have say no.
    Untrusted,
    /// More than half say yes.
    Trusted,
    /// [`VERIFIED_VERDICTS_MIN`] or more say yes, and nobody no.
    Verified,
}

/// What follows from the verdicts on one contract.
#[derive(Debug, Clone, PartialEq)]
pub struct Trust {
    /// Whether it is to be trusted.
    pub state: TrustState,
    /// Validators that say yes.
    pub passes: usize,
    /// Validators that say no.
    pub fails: usize,
    /// Who has judged it.
    pub validator_ids: Vec<NodeId>,
    /// In which ways it failed, each once.
    pub failure_modes: Vec<Label>,
    /// How far it has come.
    pub lifecycle: Option<Lifecycle>,
}

impl Trust {
    /// The part of the validators that say yes; none while there are none.
    #[allow(clippy::cast_precision_loss, reason = "at most VALIDATORS_MAX")]
    pub fn score(&self) -> Option<f64> {
        let all = self.passes + self.fails;
        (all > 0).then(|| self.passes as f64 / all as f64)
    }

    /// Whether somebody says yes and nobody no.
    pub fn is_validated(&self) -> bool {
        self.passes > 0 && self.fails == 0
    }
}

impl Verdicts {
    /// What follows for a node of that contract. Each validator counts once, by its last word on it.
    pub fn trust(&self, contract_hash: &str) -> Trust {
        let on_it = || {
            self.latest
                .iter()
                .filter(|verdict| verdict.contract_hash == contract_hash)
        };
        let fails = on_it()
            .filter(|verdict| verdict.outcome == Outcome::Fail)
            .count();
        let passes = on_it().count() - fails;
        let state = if passes >= VERIFIED_VERDICTS_MIN && fails == 0 {
            TrustState::Verified
        } else if passes > fails {
            TrustState::Trusted
        } else {
            TrustState::Untrusted
        };
        let mut failure_modes: Vec<Label> = on_it()
            .filter_map(|verdict| verdict.failure_mode.clone())
            .collect();
        failure_modes.sort();
        failure_modes.dedup();
        Trust {
            state,
            passes,
            fails,
            validator_ids: on_it()
                .map(|verdict| verdict.validator_id.clone())
                .collect(),
            failure_modes,
            lifecycle: self.lifecycle(contract_hash),
        }
    }

    /// How far a node of that contract has come.
    pub fn lifecycle(&self, contract_hash: &str) -> Option<Lifecycle> {
        let stage = self.stage.as_ref();
        stage
            .filter(|stage| stage.contract_hash == contract_hash)
            .map(|stage| stage.lifecycle)
    }

    /// The contract that must not change any more.
    pub fn frozen(&self) -> Option<&str> {
        let stage = self.stage.as_ref();
        stage
            .filter(|stage| stage.lifecycle == Lifecycle::Frozen)
            .map(|stage| stage.contract_hash.as_str())
    }

    /// The same with one verdict more, in place of the validator's last one. None when there is no room.
    pub fn with(&self, verdict: Verdict, lifecycle: Option<Lifecycle>) -> Option<Self> {
        let mut latest: Vec<Verdict> = self
            .latest
            .iter()
            .filter(|other| {
                other.validator_id != verdict.validator_id
                    && other.contract_hash == verdict.contract_hash
            })
            .cloned()
            .collect();
        if latest.len() >= VALIDATORS_MAX {
            return None;
        }
        let replaced = self.latest.iter().filter(|other| !latest.contains(other));
        let mut earlier = self.earlier.clone();
        earlier.extend(replaced.filter_map(|other| other.request));
        earlier.drain(..earlier.len().saturating_sub(EARLIER_REPORTS_MAX));
        let stage = lifecycle
            .or(self.lifecycle(&verdict.contract_hash))
            .map(|lifecycle| Stage {
                lifecycle,
                contract_hash: verdict.contract_hash.clone(),
            });
        latest.push(verdict);
        latest.sort_by(|one, other| one.validator_id.cmp(&other.validator_id));
        Some(Self {
            latest,
            stage,
            earlier,
            unknown: self.unknown.clone(),
        })
    }
}
