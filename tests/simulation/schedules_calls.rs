//! Schedules of calls with a request id: see `schedules`.

use crate::domain::mechanism::Mechanism;

use super::{check::Rule, schedules::needs, setup::Setup};

/// Callers alone, which ask any instance, and again.
fn calls() -> Setup {
    Setup {
        holders: 0,
        callers: 3,
        reply_lost: 100,
        ..Setup::calm()
    }
}

pub(super) fn schedule(mechanism: Mechanism) -> (Setup, &'static [Rule]) {
    match mechanism {
        Mechanism::CallFirst => (
            Setup {
                request_twice: 300,
                ..calls()
            },
            &[Rule::NoSecondDeed],
        ),
        Mechanism::OutcomeStays => (
            Setup {
                pause: 6_000,
                ..calls()
            },
            &[Rule::OneOutcome, Rule::EventsComplete],
        ),
        other => unreachable!("{other:?} is none of calls"),
    }
}

#[test]
fn c01_a_call_that_is_sent_before_it_is_written() {
    needs(Mechanism::CallFirst);
}

#[test]
fn c02_an_outcome_that_comes_too_late() {
    needs(Mechanism::OutcomeStays);
}
