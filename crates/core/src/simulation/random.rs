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
    world.add_callers(usize::try_from(chance.below(4)).unwrap());
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
    if chance.hit(250) {
        // So small that it is full now and then.
        world.store.bytes_max = chance.between(60_000, 150_000);
        for instance in &mut world.instances {
            instance.limits.chunk_bytes = 4_000;
        }
    }
    let places = usize::try_from(chance.between(0, 5)).unwrap();
    world.run_processes(places);
    world.run(RUN_MILLIS);
    if world.store.is_full(500) {
        let text = "the store is full and nothing makes room".to_owned();
        world.violations.push(text);
    }
    if chance.hit(200) {
        world.settle_calls();
    }
    world
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs every seed of a range, or the one that `SEED` names.
fn runs_keep_every_promise(seeds: std::ops::Range<u64>) {
    if let Some(seed) = number("SEED") {
        let world = run(seed, Mechanisms::default(), true);
        assert!(
            world.violations.is_empty(),
            "seed {seed}: {:?}",
            world.violations
        );
        return;
    }
    let count = seeds.end - seeds.start;
    let (mut grants, mut registrations, mut answers, mut ended) = (0, 0, 0, 0);
    for seed in seeds {
        let world = run(seed, Mechanisms::default(), false);
        assert!(
            world.violations.is_empty(),
            "seed {seed}: {:?}\nSEED={seed} cargo test -p onex-core random -- --nocapture shows it",
            world.violations
        );
        grants += world.grants;
        registrations += world.registrations;
        answers += world.calls.truth.answers;
        ended += world.truth.executions.ended();
    }
    // Runs in which nothing is granted would show nothing.
    assert!(
        registrations as u64 > 20 * count,
        "{registrations} answers about nodes in {count} runs"
    );
    assert!(
        grants as u64 > 20 * count,
        "{grants} grants in {count} runs"
    );
    assert!(
        answers as u64 > 10 * count && ended as u64 > 10 * count,
        "{answers} outcomes told, {ended} executions in {count} runs"
    );
}

fn seeds() -> u64 {
    number("SEEDS").unwrap_or(2_000)
}

// Two halves, for two cores.
#[test]
fn random_runs_keep_every_promise() {
    runs_keep_every_promise(0..seeds() / 2);
}

#[test]
fn more_random_runs_keep_every_promise() {
    runs_keep_every_promise(seeds() / 2..seeds());
}

#[test]
#[ignore = "shows which mechanisms random runs miss, and after how many"]
fn random_runs_miss_each_mechanism() {
    for mechanism in Mechanism::ALL {
        let off = Mechanisms::default().without(*mechanism);
        let found = (0..number("SEEDS").unwrap_or(60)).find_map(|seed| {
            let violations = run(seed, off, false).violations;
            violations
                .first()
                .map(|first| format!("seed {seed}: {first}"))
        });
        eprintln!("{mechanism:?}: {found:?}");
    }
}
