//! What validators say of nodes, and what follows from it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use onex_types::ids::{Label, NodeId};
pub use onex_types::kinds::{Lifecycle, TrustState, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record_parts::{Request, Unknown};

/// Validators whose verdicts on one contract of a node are kept.
pub const VALIDATORS_MAX: usize = 64;
/// Contracts of a node on which verdicts are kept: a node may come back to an earlier one.
pub const CONTRACTS_KEPT_MAX: usize = 4;
/// Reports of one validator on one contract that are remembered, so that a retry counts
/// once.
pub const REPORTS_REMEMBERED: usize = 4;
/// Verdicts from which a node whose verdicts are all good is verified.
pub const VERIFIED_VERDICTS_MIN: usize = 2;

/// What validators say of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdicts {
    /// By contract, the one that was judged last at the end.
    #[schemars(length(max = CONTRACTS_KEPT_MAX))]
    pub contracts: Vec<OnContract>,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What validators say of one contract of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OnContract {
    /// Which contract: a changed one is judged anew.
    pub contract_hash: String,
    /// How far the node has come with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// The last verdict of each validator, the latest at the end.
    #[schemars(length(max = VALIDATORS_MAX))]
    pub latest: Vec<LatestVerdict>,
}

/// One validator's word on one contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatestVerdict {
    /// The validator that gave it.
    pub validator_id: NodeId,
    /// What it says.
    pub outcome: Verdict,
    /// In which way the node failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_mode: Option<Label>,
    /// When, for people.
    pub at: Timestamp,
    /// The last requests that said so, oldest first.
    #[schemars(length(max = REPORTS_REMEMBERED))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
}

/// What follows from the verdicts on one contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Whether it is to be trusted.
    pub state: TrustState,
    /// Validators that say yes.
    pub passes: usize,
    /// Validators that say no.
    pub fails: usize,
    /// Who has judged it, in the order of their ids.
    pub validator_ids: Vec<NodeId>,
    /// In which ways it failed, each once, in their order.
    pub failure_modes: Vec<Label>,
    /// How far it has come.
    pub lifecycle: Option<Lifecycle>,
}

impl Trust {
    /// The part of the validators that say yes; none while there are none.
    pub fn score(&self) -> Option<f64> {
        score(self.passes, self.fails)
    }

    /// Whether somebody says yes and nobody no.
    pub fn is_validated(&self) -> bool {
        self.passes > 0 && self.fails == 0
    }
}

/// The part of the validators that say yes; none while there are none.
#[allow(clippy::cast_precision_loss, reason = "at most VALIDATORS_MAX")]
pub fn score(passes: usize, fails: usize) -> Option<f64> {
    let all = passes + fails;
    (all > 0).then(|| passes as f64 / all as f64)
}

impl Verdicts {
    fn on(&self, contract_hash: &str) -> Option<&OnContract> {
        self.contracts
            .iter()
            .find(|on| on.contract_hash == contract_hash)
    }

    /// What follows for a node of that contract. Each validator counts once, by its last word on it.
    pub fn trust(&self, contract_hash: &str) -> Trust {
        let latest = self.on(contract_hash).map_or(&[][..], |on| &on.latest);
        let passes = latest
            .iter()
            .filter(|verdict| verdict.outcome == Verdict::Pass)
            .count();
        let fails = latest.len() - passes;
        let state = if passes >= VERIFIED_VERDICTS_MIN && fails == 0 {
            TrustState::Verified
        } else if passes > fails {
            TrustState::Trusted
        } else {
            TrustState::Untrusted
        };
        let modes = latest
            .iter()
            .filter_map(|verdict| verdict.failure_mode.clone());
        let ids = latest.iter().map(|verdict| verdict.validator_id.clone());
        Trust {
            state,
            passes,
            fails,
            validator_ids: ids.collect::<BTreeSet<_>>().into_iter().collect(),
            failure_modes: modes.collect::<BTreeSet<_>>().into_iter().collect(),
            lifecycle: self.on(contract_hash).and_then(|on| on.lifecycle),
        }
    }

    /// Whether that contract must not change any more.
    pub fn is_frozen(&self, contract_hash: &str) -> bool {
        let on = self.on(contract_hash);
        on.is_some_and(|on| on.lifecycle == Some(Lifecycle::Frozen))
    }

    /// How many verdicts are kept on other contracts.
    pub fn outdated(&self, contract_hash: &str) -> usize {
        let others = self
            .contracts
            .iter()
            .filter(|on| on.contract_hash != contract_hash);
        others.map(|on| on.latest.len()).sum()
    }

    /// What that validator has asked for before under that request's id, on whichever contract.
    pub fn reported(&self, validator_id: &NodeId, request: Request) -> Option<Request> {
        self.contracts
            .iter()
            .flat_map(|on| &on.latest)
            .filter(|verdict| verdict.validator_id == *validator_id)
            .flat_map(|verdict| &verdict.requests)
            .find(|remembered| remembered.id == request.id)
            .copied()
    }

    /// The same with a verdict on that contract, in place of what its validator said of it before. When
    /// there is no room the oldest one gives way whose validator is not known any more by `is_known`.
    /// None when there is no room at all.
    pub fn with(
        &self,
        contract_hash: &str,
        mut verdict: LatestVerdict,
        lifecycle: Option<Lifecycle>,
        is_known: impl Fn(&NodeId) -> bool,
    ) -> Option<Self> {
        let mut contracts = self.contracts.clone();
        let at = contracts
            .iter()
            .position(|on| on.contract_hash == contract_hash);
        let mut on = at.map_or_else(
            || OnContract {
                contract_hash: contract_hash.to_owned(),
                lifecycle: None,
                latest: Vec::new(),
            },
            |at| contracts.remove(at),
        );
        let own = |other: &LatestVerdict| other.validator_id == verdict.validator_id;
        if let Some(at) = on.latest.iter().position(own) {
            let mut requests = on.latest.remove(at).requests;
            requests.append(&mut verdict.requests);
            let surplus = requests.len().saturating_sub(REPORTS_REMEMBERED);
            verdict.requests = requests.split_off(surplus);
        } else if on.latest.len() >= VALIDATORS_MAX {
            let gone = |other: &LatestVerdict| !is_known(&other.validator_id);
            on.latest.remove(on.latest.iter().position(gone)?);
        }
        on.latest.push(verdict);
        on.lifecycle = lifecycle.or(on.lifecycle);
        contracts.push(on);
        let surplus = contracts.len().saturating_sub(CONTRACTS_KEPT_MAX);
        contracts.drain(..surplus);
        Some(Self {
            contracts,
            unknown: self.unknown.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use onex_types::ids::{Digest, RequestId};
    use uuid::Uuid;

    use super::*;

    /// The same table is run over the wire by `tests/resources/trust.rs`.
    const TABLE: &str = include_str!("../../../tests/tables/trust.txt");

    fn id(text: &str) -> NodeId {
        text.parse().unwrap()
    }

    fn verdict(validator: &str, outcome: Verdict, mode: Option<&str>) -> LatestVerdict {
        LatestVerdict {
            validator_id: id(validator),
            outcome,
            failure_mode: mode.map(|mode| mode.parse().unwrap()),
            at: Timestamp::UNIX_EPOCH,
            requests: Vec::new(),
        }
    }

    fn lifecycle(word: &str) -> Option<Lifecycle> {
        Some(match word {
            "canary" => Lifecycle::Canary,
            "validated" => Lifecycle::Validated,
            "frozen" => Lifecycle::Frozen,
            "-" => return None,
            other => panic!("no lifecycle: {other}"),
        })
    }

    /// Runs the steps of one row; what is said of the last contract.
    fn after(steps: &str) -> Trust {
        let (mut verdicts, mut contract) = (Verdicts::default(), "A");
        for step in steps.split(',').map(str::trim) {
            let words: Vec<&str> = step.split_whitespace().collect();
            match words.as_slice() {
                ["contract", next, "refused"] => {
                    assert!(verdicts.is_frozen(contract), "{steps}: {next}");
                }
                ["contract", next] => {
                    assert!(!verdicts.is_frozen(contract), "{steps}: {next}");
                    contract = next;
                }
                [validator, "pass", stage] => {
                    let verdict = verdict(validator, Verdict::Pass, None);
                    let stage = lifecycle(stage);
                    verdicts = verdicts.with(contract, verdict, stage, |_| true).unwrap();
                }
                [validator, "fail", mode, stage] => {
                    let mode = Some(*mode).filter(|mode| *mode != "-");
                    let verdict = verdict(validator, Verdict::Fail, mode);
                    let stage = lifecycle(stage);
                    verdicts = verdicts.with(contract, verdict, stage, |_| true).unwrap();
                }
                [] => {}
                other => panic!("no step: {other:?}"),
            }
        }
        verdicts.trust(contract)
    }

    #[test]
    fn what_follows_from_reports() {
        let rows = TABLE.lines().filter(|line| line.contains('|'));
        for row in rows {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let [steps, state, score, validated, validators, modes, stage] = cells.as_slice()
            else {
                panic!("no row: {row}");
            };
            let trust = after(steps);
            let list = |items: Vec<&str>| items.join(" ");
            let found = [
                format!("{:?}", trust.state).to_lowercase(),
                trust
                    .score()
                    .map_or("null".to_owned(), |score| score.to_string()),
                trust.is_validated().to_string(),
                list(trust.validator_ids.iter().map(NodeId::as_str).collect()),
                list(trust.failure_modes.iter().map(Label::as_str).collect()),
                trust
                    .lifecycle
                    .map_or("-".to_owned(), |stage| format!("{stage:?}").to_lowercase()),
            ];
            assert_eq!(
                found,
                [*state, *score, *validated, *validators, *modes, *stage],
                "{row}"
            );
        }
    }

    #[test]
    fn verdicts_are_bounded() {
        let pass = |n: usize| verdict(&format!("v{n}"), Verdict::Pass, None);
        let mut verdicts = Verdicts::default();
        for n in 0..VALIDATORS_MAX {
            verdicts = verdicts.with("A", pass(n), None, |_| true).unwrap();
        }
        let more = |is_known: fn(&NodeId) -> bool| {
            verdicts.with("A", pass(VALIDATORS_MAX), None, is_known)
        };
        assert_eq!(more(|_| true), None);
        // Whoever is there already is heard again.
        assert!(verdicts.with("A", pass(3), None, |_| true).is_some());
        let changed = more(|id| !["v5", "v7"].contains(&id.as_str())).unwrap();
        let ids = changed.trust("A").validator_ids;
        assert_eq!(ids.len(), VALIDATORS_MAX);
        assert!(!ids.contains(&id("v5")) && ids.contains(&id("v7")));

        for contract in ["B", "C", "D", "E"] {
            verdicts = verdicts.with(contract, pass(0), None, |_| true).unwrap();
        }
        assert_eq!(verdicts.contracts.len(), CONTRACTS_KEPT_MAX);
        assert_eq!(verdicts.trust("A").passes, 0);
        assert_eq!(verdicts.trust("B").passes, 1);
        assert_eq!(verdicts.outdated("B"), 3);
    }

    #[test]
    fn reports_are_remembered() {
        let request = |n: u128| Request {
            id: RequestId(Uuid::from_u128(n)),
            digest: Digest(Uuid::from_u128(n)),
        };
        let mut verdicts = Verdicts::default();
        for n in 1..=5 {
            let mut pass = verdict("v", Verdict::Pass, None);
            pass.requests.push(request(n));
            verdicts = verdicts.with("A", pass, None, |_| true).unwrap();
        }
        let mut other = verdict("v", Verdict::Pass, None);
        other.requests.push(request(6));
        verdicts = verdicts.with("B", other, None, |_| true).unwrap();
        let reported = |n| verdicts.reported(&id("v"), request(n));
        assert_eq!(reported(1), None);
        for n in 2..=6 {
            assert_eq!(reported(n), Some(request(n)));
        }
        assert_eq!(verdicts.reported(&id("w"), request(6)), None);
    }
}
