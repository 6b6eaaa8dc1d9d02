//! Runs in which anything goes wrong.

use std::collections::BTreeMap;

use super::{chance::Chance, setup::Setup, world::World};

/// Runs of `cargo test`; `ONEX_SIM_SEEDS` asks for another number.
const SEEDS: u64 = 1_500;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn run(seed: u64, loud: bool) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut chance = Chance::new(seed ^ 0x5e7_0b5e7);
    let setup = Setup::random(&mut chance);
    if loud {
        eprintln!("{setup:#?}");
    }
    World::run(setup, seed, loud).map_err(|violation| {
        format!(
            "seed {seed}, after {} ms: {:?}: {}\n\
             replay: ONEX_SIM_SEED={seed} cargo test --lib simulation::random -- --nocapture",
            violation.time, violation.rule, violation.text
        )
    })
}

/// The seeds of one of two threads; what happened in them, and those that failed.
fn share(first: u64, seeds: u64) -> (BTreeMap<&'static str, u64>, Vec<String>) {
    let mut sum = BTreeMap::new();
    let mut failed = Vec::new();
    for seed in (first..seeds).step_by(2) {
        match run(seed, false) {
            Ok(counts) => {
                for (what, count) in counts {
                    *sum.entry(what).or_default() += count;
                }
            }
            Err(text) => failed.push(text),
        }
    }
    (sum, failed)
}

#[test]
fn random() {
    if let Some(seed) = number("ONEX_SIM_SEED") {
        let counts = run(seed, true).unwrap_or_else(|text| panic!("{text}"));
        eprintln!("{counts:#?}");
        return;
    }
    let seeds = number("ONEX_SIM_SEEDS").unwrap_or(SEEDS);
    let other = std::thread::spawn(move || share(1, seeds));
    let (mut sum, mut failed) = share(0, seeds);
    let (more, failed_too) = other.join().unwrap();
    for (what, count) in more {
        *sum.entry(what).or_default() += count;
    }
    failed.extend(failed_too);
    eprintln!("{sum:#?}");
    assert!(
        failed.is_empty(),
        "{} of {seeds} runs failed, among them:\n{}",
        failed.len(),
        failed
            .iter()
            .take(12)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
    for what in [
        "grants",
        "renewals",
        "releases",
        "expiries",
        "conflicts",
        "unknown outcomes",
        "duplicates ended",
        "probes in use",
        "probes bindable",
        "barriers passed",
        "barriers failed",
        "gaps noticed",
        "pieces uncounted",
        "halves compared",
        "acks lost",
        "writes late",
        "writes unsent",
        "requests twice",
        "replies lost",
        "pauses",
        "crashes",
        "cuts",
        "outages",
        "foreign",
        "overwritten ended",
        "quarantines",
        "slept",
        "died",
        "ran out",
        "beliefs",
        "checkpoints",
        "rounds broken off",
        "events",
        "refused: exhausted",
        "refused: unavailable",
        "refused: not found",
        "refused: expired",
        "timed out, nothing done",
        "comparisons",
        "lives believed",
        "lives superseded",
        "lives given up",
        "nodes registered",
        "nodes rejoined",
        "nodes expired",
        "nodes left",
        "nodes died",
        "nodes slept",
        "nodes ran out",
        "ports of nodes",
        "grants to nodes gone",
        "revocations",
        "tools changed",
        "buses registered",
        "buses removed",
        "verdicts",
        "calls begun",
        "calls completed",
        "calls failed",
        "calls executed",
        "calls answered",
        "calls found running",
        "calls taken back",
        "calls lost on the way",
        "calls given up",
        "answers nobody waits for",
        "keys forgotten",
        "refused: superseded",
        "refused: no node",
        "refused: taken",
    ] {
        assert!(sum.contains_key(what), "no {what} in {seeds} runs");
    }
}
