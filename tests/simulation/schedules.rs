//! Schedules that would break a registry without one of its mechanisms: each is a kind of run that
//! stays green as it is, and turns red with the mechanism switched off.

use std::collections::BTreeMap;

use crate::domain::mechanism::{Mechanism, Mechanisms};

use super::{
    check::Rule,
    setup::{Rules, Setup},
    world::World,
};

/// Runs that must stay green.
const GREEN_SEEDS: u64 = 40;
/// Runs of which one must turn red.
const RED_SEEDS: u64 = 400;

/// `broken` without something, fine with it.
#[track_caller]
pub(super) fn check(setup: &Setup, without: &Setup, broken: &[Rule]) {
    for seed in 0..GREEN_SEEDS {
        if let Err(violation) = World::run(setup.clone(), seed, false) {
            panic!("seed {seed}: {violation:?}");
        }
    }
    let mut others = BTreeMap::new();
    for seed in 0..RED_SEEDS {
        match World::run(without.clone(), seed, false) {
            Err(violation) if broken.contains(&violation.rule) => {
                eprintln!("red as expected, seed {seed}: {violation:?}");
                return;
            }
            Err(violation) => *others.entry(format!("{:?}", violation.rule)).or_insert(0) += 1,
            Ok(_) => {}
        }
    }
    panic!("nothing broke {broken:?} in {RED_SEEDS} runs; other rules: {others:?}");
}

#[track_caller]
pub(super) fn needs(mechanism: Mechanism) {
    let (setup, broken) = schedule(mechanism);
    let without = Setup {
        mechanisms: Mechanisms::without(mechanism),
        ..setup.clone()
    };
    check(&setup, &without, broken);
}

#[track_caller]
pub(super) fn needs_rule(setup: &Setup, off: impl FnOnce(&mut Rules), broken: &[Rule]) {
    let mut without = setup.clone();
    off(&mut without.rules);
    check(setup, &without, broken);
}

/// Instances that lag behind the stream.
fn lag() -> Setup {
    Setup {
        delivery_slow: 300,
        latency: (1, 20),
        ..Setup::calm()
    }
}

/// The runs that show what a mechanism is for, and the rules that break without it.
fn schedule(mechanism: Mechanism) -> (Setup, &'static [Rule]) {
    match mechanism {
        Mechanism::CompareAndSet => (
            Setup {
                pause: 8_000,
                ..lag()
            },
            &[Rule::OneHolder, Rule::NothingLost],
        ),
        Mechanism::EndingIsAWrite => (
            Setup {
                cut: 8_000,
                releases: 0,
                dies: 0,
                ..lag()
            },
            &[Rule::TrueAnswers, Rule::NothingLost],
        ),
        Mechanism::OwnClock => (
            Setup {
                crash: 6_000,
                walls_apart: true,
                ..Setup::calm()
            },
            &[Rule::NothingLost, Rule::OneHolder],
        ),
        Mechanism::SettleByWrite => (
            Setup {
                write_late: 250,
                late: (1_500, 5_000),
                ports: 4,
                holders: 7,
                ttl: (2, 5),
                exact: 0,
                ..Setup::calm()
            },
            &[Rule::NoSecondDeed, Rule::NothingLost],
        ),
        Mechanism::Barrier => (
            Setup {
                cut: 8_000,
                ..lag()
            },
            &[Rule::TrueAnswers, Rule::NothingLost],
        ),
        Mechanism::ExactPoints => (
            Setup {
                pause: 8_000,
                ..lag()
            },
            &[Rule::TrueAnswers, Rule::NothingLost],
        ),
        Mechanism::Replay => (
            Setup {
                request_twice: 300,
                ports: 4,
                with_request_id: 1000,
                ..Setup::calm()
            },
            &[Rule::NoSecondDeed],
        ),
        Mechanism::Echo => (
            Setup {
                request_twice: 500,
                reply_lost: 300,
                ports: 4,
                exact: 0,
                with_request_id: 1000,
                ..lag()
            },
            &[Rule::NoSecondDeed],
        ),
        Mechanism::Adopt => (
            Setup {
                probe: true,
                stranger: 3_000,
                latency: (1, 150),
                request_twice: 900,
                twice_after: (1, 200),
                with_request_id: 1000,
                ..Setup::calm()
            },
            &[Rule::NothingLost],
        ),
        Mechanism::CarryTransitions => (
            Setup {
                pause: 6_000,
                crash: 10_000,
                ..lag()
            },
            &[Rule::EventsComplete],
        ),
        Mechanism::CheckpointAfterEvents => (
            Setup {
                crash: 6_000,
                ..Setup::calm()
            },
            &[Rule::EventsComplete],
        ),
        Mechanism::OnlyLengthens => (
            Setup {
                changes_ttl: 1000,
                reply_lost: 300,
                releases: 0,
                dies: 0,
                ..Setup::calm()
            },
            &[Rule::NothingLost, Rule::OneHolder],
        ),
        Mechanism::ProbeAfterGrant => (
            Setup {
                probe: true,
                pause: 8_000,
                ..lag()
            },
            &[Rule::ProbesApart],
        ),
        Mechanism::ForeignIsHeld => (
            Setup {
                foreign: 6_000,
                ..Setup::calm()
            },
            &[Rule::OneHolder],
        ),
        Mechanism::FollowerGap => (
            Setup {
                delivery_dropped: 60,
                ..Setup::calm()
            },
            &[Rule::TrueAnswers, Rule::NothingLost],
        ),
        Mechanism::Slack => (
            Setup {
                ports: 1,
                ttl: (60, 60),
                ttl_max: 60,
                trouble: 600_000,
                latency: (1, 2),
                releases: 0,
                dies: 0,
                ..Setup::calm()
            },
            &[Rule::OneHolder, Rule::NothingLost],
        ),
        Mechanism::AtomicBatch
        | Mechanism::BondAtExactPoint
        | Mechanism::SupersededRests
        | Mechanism::EndedEpoch
        | Mechanism::OneLife
        | Mechanism::ForgetAtExactPoint
        | Mechanism::EarlierLives
        | Mechanism::WholePieces => super::schedules_nodes::schedule(mechanism),
        Mechanism::CallFirst | Mechanism::OutcomeStays => {
            super::schedules_calls::schedule(mechanism)
        }
    }
}

#[test]
fn s01_a_renewal_the_other_did_not_see() {
    needs(Mechanism::CompareAndSet);
}

#[test]
fn s02_lag_makes_an_end_unstable() {
    needs(Mechanism::EndingIsAWrite);
}

#[test]
fn s03_a_slow_clock_stamps_a_lease() {
    needs(Mechanism::OwnClock);
}

#[test]
fn s04_a_write_lands_after_its_sender_gave_up() {
    needs(Mechanism::SettleByWrite);
}

#[test]
fn s04_a_release_lands_after_its_sender_gave_up() {
    let setup = Setup {
        write_late: 300,
        cut: 10_000,
        releases: 1000,
        dies: 0,
        ..Setup::calm()
    };
    let broken = [Rule::OneHolder, Rule::NothingLost];
    needs_rule(&setup, |rules| rules.stops_at_release = false, &broken);
}

#[test]
fn s05_a_retry_stretches_time() {
    let setup = Setup {
        reply_lost: 400,
        with_request_id: 1000,
        releases: 0,
        dies: 0,
        ..Setup::calm()
    };
    let broken = [Rule::OneHolder, Rule::NothingLost];
    needs_rule(&setup, |rules| rules.counts_from_first = false, &broken);
}

#[test]
fn s06_a_replay_revives() {
    needs(Mechanism::Replay);
}

#[test]
fn s08_a_holder_sleeps() {
    let setup = Setup {
        sleeps: 400,
        ..Setup::calm()
    };
    let broken = [Rule::OneHolder, Rule::NothingLost];
    needs_rule(&setup, |rules| rules.clock_runs_asleep = false, &broken);
}

#[test]
fn s11_events_between_two_instances() {
    needs(Mechanism::CarryTransitions);
}

#[test]
fn s12_two_grants_for_one_request() {
    needs(Mechanism::Echo);
}

#[test]
fn s13_an_instance_on_a_server_that_is_cut_off() {
    needs(Mechanism::Barrier);
}

#[test]
fn s16_a_probe_against_a_holder() {
    needs(Mechanism::ProbeAfterGrant);
}

#[test]
fn s16_a_probe_against_its_own_holder() {
    needs(Mechanism::Adopt);
}

#[test]
fn s18_a_pause_across_a_ttl() {
    let setup = Setup {
        pause: 5_000,
        down: 20_000,
        cut: 20_000,
        sleeps: 200,
        write_late: 50,
        probe: true,
        ttl: (1, 3),
        ..lag()
    };
    let without = Setup {
        mechanisms: Mechanisms::without(Mechanism::CompareAndSet),
        ..setup.clone()
    };
    check(&setup, &without, &[Rule::OneHolder, Rule::NothingLost]);
}

#[test]
fn s18_clocks_run_apart() {
    needs(Mechanism::Slack);
}

#[test]
fn s19_a_follower_misses_a_message() {
    needs(Mechanism::FollowerGap);
}

#[test]
fn s21_skipped_values() {
    needs(Mechanism::ExactPoints);
}

#[test]
fn s22_an_end_that_its_holder_did_not_ask_for() {
    // A second grant for one request is found out while its caller may have heard of it elsewhere.
    let setup = Setup {
        instances: 3,
        ports: 4,
        exact: 0,
        request_twice: 600,
        reply_lost: 300,
        with_request_id: 1000,
        ..lag()
    };
    let without = Setup {
        mechanisms: Mechanisms::without(Mechanism::Adopt),
        ..setup.clone()
    };
    check(&setup, &without, &[Rule::NoSecondDeed, Rule::NothingLost]);
}

#[test]
fn s24_two_publish() {
    let setup = Setup {
        instances: 3,
        pause: 4_000,
        ttl: (12, 14),
        write_late: 100,
        ack_lost: 50,
        ..lag()
    };
    let without = Setup {
        checkpoint_compares: false,
        ..setup.clone()
    };
    check(&setup, &without, &[Rule::EventsComplete]);
}

#[test]
fn s23_a_heartbeat_that_shortens() {
    needs(Mechanism::OnlyLengthens);
}

#[test]
fn s24_a_publisher_dies() {
    needs(Mechanism::CheckpointAfterEvents);
}

#[test]
fn s24_a_slow_events_stream() {
    let setup = Setup {
        instances: 3,
        holders: 6,
        ports: 4,
        latency: (1, 1_200),
        ..Setup::calm()
    };
    let without = Setup {
        breaks_off: false,
        ..setup.clone()
    };
    check(&setup, &without, &[Rule::NothingStuck]);
}

#[test]
fn s25_a_foreign_hand() {
    needs(Mechanism::ForeignIsHeld);
}
