//! Runs that only their seeds decide.

use crate::mechanism::{Mechanism, Mechanisms};

use super::{chance::Chance, faults::Faults, world::World};

/// How long a run lasts, in milliseconds.
const RUN_MILLIS: u64 = 90_000;

pub(super) fn run(seed: u64, mechanisms: Mechanisms, verbose: bool) -> World {
    let mut chance = Chance::new(seed ^ 0xabcd);
    let instances = usize::try_from(chance.between(1, 3)).unwrap();
    let holders = usize::try_from(chance.between(2, 9)).unwrap();
    let mut world = World::new(seed, instances, holders, mechanisms);
    world.verbose = verbose;
    world.faults = Faults::MANY;
    if chance.hit(300) {
        world.faults = Faults {
            kill: 0,
            pause: 0,
            outage: 0,
            ..Faults::MANY
        };
    }
    if chance.hit(500) {
        world.squat(20_001);
        world.squat(20_003);
    }
    world.run(RUN_MILLIS);
    world
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_runs_keep_every_promise() {
    if let Some(seed) = number("SEED") {
        let world = run(seed, Mechanisms::default(), true);
        assert!(
            world.violations.is_empty(),
            "seed {seed}: {:?}",
            world.violations
        );
        return;
    }
    let seeds = number("SEEDS").unwrap_or(2_000);
    let mut grants = 0;
    for seed in 0..seeds {
        let world = run(seed, Mechanisms::default(), false);
        assert!(
            world.violations.is_empty(),
            "seed {seed}: {:?}\nSEED={seed} cargo test -p onex-core random -- --nocapture shows it",
            world.violations
        );
        grants += world.grants;
    }
    // Runs in which nothing is granted would show nothing.
    assert!(
        grants as u64 > 20 * seeds,
        "{grants} grants in {seeds} runs"
    );
}

#[test]
#[ignore = "shows which mechanisms random runs miss, and after how many"]
fn random_runs_miss_each_mechanism() {
    for mechanism in Mechanism::ALL {
        let off = Mechanisms::default().without(mechanism);
        let found = (0..number("SEEDS").unwrap_or(60)).find_map(|seed| {
            let violations = run(seed, off, false).violations;
            violations
                .first()
                .map(|first| format!("seed {seed}: {first}"))
        });
        eprintln!("{mechanism:?}: {found:?}");
    }
}
