//! What is stored of executions: those under way, calls with a request id, and how many there were of each node's tools.

use jiff::Timestamp;
use onex_types::ids::{Digest, RequesterId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    call::{CallEnded, CallOutcome, Execution},
    record_parts::{Unknown, is_zero},
};

/// Executions without a request id that may be under way at the same time, all instances together, where nobody says
/// otherwise: some 30 MiB.
pub const RUNS_MAX: usize = 65_536;
/// The highest count: integers up to 2^53 are exact wherever JSON is read. A count stays there.
pub const COUNT_MAX: u64 = 1 << 53;
/// For how long beyond its time the end of an execution without a request id may be on its way into the log, in
/// milliseconds. Nobody waits for it, so that completeness wins.
pub const RUN_LATE_MILLIS: u64 = 10_000;

/// An execution that has begun. Under a key of its own only while it is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// What is executed, and by whom.
    pub execution: Execution,
    /// How long it may take, in milliseconds.
    pub timeout_ms: u64,
    /// Who calls, where that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester_id: Option<RequesterId>,
    /// The correlation id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// When it began, for people.
    pub began_at: Timestamp,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A call with a request id: its last execution. It stays for a while after its end, so that the same request is
/// answered and not executed again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Call {
    /// A digest of the call's parameters.
    pub digest: Digest,
    /// Whether executing it twice does no harm.
    pub idempotent: bool,
    /// Its last execution.
    pub run: Run,
    /// Whether an execution before that one may have been executed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executed_before: bool,
    /// How it ended; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<CallEnded>,
    /// How long it is remembered after its end, in milliseconds from when an instance applies that.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub kept_ms: u64,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// How many executions of a node's tools have ended. Those that certainly were not executed do not count.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Executions that have ended, those with an unknown outcome included.
    #[schemars(range(max = COUNT_MAX))]
    pub runs: u64,
    /// Those that were answered with a result.
    pub ok: u64,
    /// When the last of them ended, for people.
    pub last_at: Timestamp,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Call {
    /// What came of it; none while it is under way.
    pub fn outcome(&self) -> Option<&CallOutcome> {
        self.ended.as_ref().map(|ended| &ended.outcome)
    }

    /// When time changes something, in milliseconds from when an instance applied its record: its own time is up, or
    /// it is forgotten.
    pub(crate) fn timer_millis(&self) -> u64 {
        match self.ended {
            None => self.run.timeout_ms,
            Some(_) => self.kept_ms,
        }
    }
}

impl Counts {
    /// With so many more. A sum that is too high stays at [`COUNT_MAX`].
    pub(crate) fn add(&self, runs: u64, ok: u64, at: Timestamp) -> Self {
        let sum = |one: u64, other: u64| one.saturating_add(other).min(COUNT_MAX);
        Self {
            runs: sum(self.runs, runs),
            ok: sum(self.ok, ok),
            last_at: at,
            unknown: self.unknown.clone(),
        }
    }

    /// The share of executions that were answered with a result, 0 to 1; none where there were none.
    pub fn success_rate(&self) -> Option<f64> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate is not exact to the last digit"
        )]
        (self.runs > 0).then(|| self.ok as f64 / self.runs as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stay_at_their_maximum() {
        let counts = Counts::default().add(COUNT_MAX - 1, 1, Timestamp::UNIX_EPOCH);
        let more = counts.add(1, 1, Timestamp::UNIX_EPOCH);
        assert_eq!((more.runs, more.ok), (COUNT_MAX, 2));
        let most = more.add(u64::MAX, u64::MAX, Timestamp::UNIX_EPOCH);
        assert_eq!((most.runs, most.ok), (COUNT_MAX, COUNT_MAX));
        assert_eq!(most.success_rate(), Some(1.0));
        assert_eq!(Counts::default().success_rate(), None);
    }
}
