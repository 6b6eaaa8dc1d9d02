//! Checks of what is left of the ports that are granted.

use onex_core::pool::Counts;

use super::{
    facts::{Facts, Named},
    problem::{Judged, Problem},
};

pub(super) const CHECKS: &[Named] = &[
    ("pools.free", free),
    ("pools.quarantined", quarantined),
    ("pools.hosts", hosts),
];

/// Of so many ports one has to be free, at least.
const FREE_PART: usize = 10;
/// Of so many ports one may be quarantined.
const QUARANTINED_PART: usize = 10;
/// From so many hundredths of the hosts that may be known on, they are nearly all.
const HOSTS_PERCENT: usize = 90;

/// The pools for which that holds, with how many of which ports.
fn pools(facts: &Facts, wanted: impl Fn(Counts) -> Option<usize>) -> Result<Vec<String>, Problem> {
    let found = facts
        .state()?
        .pools()
        .filter_map(|((host, transport), pool)| {
            let counts = pool.counts();
            let count = wanted(counts)?;
            Some(format!(
                "{count} of {} {transport} ports of host {host}",
                counts.capacity
            ))
        });
    Ok(found.collect())
}

fn free(facts: &Facts) -> Judged {
    let remedy = "grant more with --ports; `onex port list` says who holds them, and what nobody needs goes with \
                  `onex port release`";
    let none = pools(facts, |counts| {
        (counts.capacity > 0 && counts.free == 0).then_some(0)
    })?;
    if !none.is_empty() {
        let finding = format!("free are {}", none.join("; "));
        return Err(Problem::fail(finding, remedy));
    }
    let few = |counts: Counts| counts.free < counts.capacity / FREE_PART;
    let few = pools(facts, |counts| few(counts).then_some(counts.free))?;
    if few.is_empty() {
        return Ok(());
    }
    Err(Problem::warn(
        format!("free are only {}", few.join("; ")),
        remedy,
    ))
}

fn quarantined(facts: &Facts) -> Judged {
    let many = |counts: Counts| counts.quarantined * QUARANTINED_PART > counts.capacity;
    let many = pools(facts, |counts| many(counts).then_some(counts.quarantined))?;
    if many.is_empty() {
        return Ok(());
    }
    Err(Problem::warn(
        format!(
            "quarantined, because programs without a lease had them, are {}",
            many.join("; ")
        ),
        "let those programs lease their ports, or leave their ports out with --reserved",
    ))
}

fn hosts(facts: &Facts) -> Judged {
    let state = facts.state()?;
    let settings = state.settings();
    let settings = settings.ok_or_else(|| Problem::not_checked("the log has no settings yet"))?;
    let (known, max) = (state.hosts_with_ports(), settings.hosts_max);
    if known * 100 < max * HOSTS_PERCENT {
        return Ok(());
    }
    let finding = format!("ports of {known} hosts are kept, and of {max} they may be");
    let remedy = "start the registry with a larger --hosts-max; hosts that are misspelt are in `onex pool list`";
    Err(if known < max {
        Problem::warn(finding, remedy)
    } else {
        Problem::fail(
            format!("{finding}: none of another host is granted"),
            remedy,
        )
    })
}
