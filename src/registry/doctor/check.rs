//! All checks, and what comes of them.

use serde::Serialize;

use super::{
    derived,
    facts::{Facts, Named},
    instances, log, machine, nats_server, pools,
    problem::Status,
};

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which. The name does not change.
    pub name: &'static str,
    /// How it ended.
    pub status: Status,
    /// What is and what should be; of one that was not made, why not. Absent where all is well.
    pub finding: Option<String>,
    /// What to do about it; absent where nothing has to be done, or nobody knows what.
    pub remedy: Option<String>,
}

/// All checks, in the order in which they are shown.
fn all() -> impl Iterator<Item = Named> {
    let families = [
        nats_server::CHECKS,
        log::CHECKS,
        derived::CHECKS,
        instances::CHECKS,
        pools::CHECKS,
        machine::CHECKS,
    ];
    families.into_iter().flatten().copied()
}

/// The names of all checks, in the order in which they are shown.
pub fn check_names() -> impl Iterator<Item = &'static str> {
    all().map(|(name, _)| name)
}

/// Makes all checks.
pub(super) fn judge(facts: &Facts) -> Vec<Check> {
    let checks = all().map(|(name, judge)| match judge(facts) {
        Ok(()) => Check {
            name,
            status: Status::Ok,
            finding: None,
            remedy: None,
        },
        Err(problem) => Check {
            name,
            status: problem.status,
            finding: Some(problem.finding),
            remedy: problem.remedy,
        },
    });
    checks.collect()
}
