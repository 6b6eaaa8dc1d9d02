//! Schedules of nodes that would break a registry without one of its mechanisms, as in
//! [`schedules`](super::schedules).

use std::collections::BTreeSet;

use crate::{
    domain::{
        ids::{NodeId, Token},
        key::Key,
        mechanism::{Mechanism, Mechanisms},
    },
    protocol::names::Namespace,
};

use super::{
    check::Rule,
    schedules::{check, needs, needs_rule},
    setup::Setup,
};

/// Instances that lag behind the stream.
fn lag() -> Setup {
    Setup {
        delivery_slow: 300,
        latency: (1, 20),
        ..Setup::nodes()
    }
}

/// Processes of one node, one after another and beside each other.
fn one_node() -> Setup {
    Setup {
        names: 1,
        away: (100, 3_000),
        ..Setup::nodes()
    }
}

/// The runs that show what a mechanism of nodes is for, and the rules that break without it.
pub(super) fn schedule(mechanism: Mechanism) -> (Setup, &'static [Rule]) {
    match mechanism {
        Mechanism::AtomicBatch => (
            Setup {
                crash: 6_000,
                ..one_node()
            },
            &[Rule::NothingLost, Rule::TrueAnswers, Rule::Described],
        ),
        Mechanism::BondAtExactPoint => (
            Setup {
                crash: 8_000,
                errands: 400,
                dies: 0,
                releases: 300,
                ..lag()
            },
            &[Rule::NothingLost, Rule::OneHolder],
        ),
        Mechanism::SupersededRests => (
            Setup {
                holders: 4,
                ports: 2,
                errands: 400,
                ..one_node()
            },
            &[Rule::OneHolder],
        ),
        Mechanism::EndedEpoch => (
            Setup {
                request_twice: 400,
                with_request_id: 0,
                with_epoch: 1000,
                releases: 1000,
                ..one_node()
            },
            &[Rule::TokensGrow],
        ),
        Mechanism::OneLife => (one_node(), &[Rule::Described]),
        Mechanism::ForgetAtExactPoint => (
            Setup {
                retention: 1_000,
                delivery_slow: 500,
                ..lag()
            },
            &[
                Rule::NothingLost,
                Rule::TrueAnswers,
                Rule::Described,
                Rule::EventsComplete,
            ],
        ),
        Mechanism::EarlierLives => (
            Setup {
                request_twice: 400,
                with_request_id: 1000,
                with_epoch: 0,
                ..one_node()
            },
            &[Rule::NoSecondDeed],
        ),
        Mechanism::WholePieces => (
            Setup {
                piece_uncounted: 500,
                ..lag()
            },
            &[Rule::Described],
        ),
        other => unreachable!("{other:?} is none of nodes"),
    }
}

#[test]
fn s05_a_retry_stretches_a_life() {
    let setup = Setup {
        reply_lost: 400,
        with_request_id: 1000,
        with_epoch: 1000,
        releases: 0,
        dies: 0,
        holders: 0,
        ..one_node()
    };
    let broken = [Rule::OneHolder, Rule::NothingLost];
    needs_rule(&setup, |rules| rules.counts_from_first = false, &broken);
}

#[test]
fn s06_a_replay_begins_another_life() {
    needs(Mechanism::EarlierLives);
}

#[test]
fn s08_a_node_sleeps() {
    let setup = Setup {
        sleeps: 400,
        releases: 0,
        holders: 0,
        ..Setup::nodes()
    };
    let broken = [Rule::OneHolder, Rule::NothingLost];
    needs_rule(&setup, |rules| rules.clock_runs_asleep = false, &broken);
}

#[test]
fn s09_half_a_set() {
    needs(Mechanism::AtomicBatch);
}

#[test]
fn s12_a_port_for_a_node_that_has_just_ended() {
    let setup = Setup {
        errands: 400,
        ..lag()
    };
    let without = Setup {
        mechanisms: Mechanisms::without(Mechanism::Echo),
        ..setup.clone()
    };
    check(&setup, &without, &[Rule::TrueAnswers]);
}

#[test]
fn s15_dots() {
    let tool = |text: &str| text.parse::<Token>();
    assert!(tool("b.tool.c").is_err() && tool("c").is_ok());
    let nodes = ["a", "a.b", "a.tool.b", "a-b", "a_b", "a.b.c", "b", "c"];
    let mut keys = BTreeSet::new();
    let mut subjects = BTreeSet::new();
    for node in nodes.map(|node| node.parse::<NodeId>().unwrap()) {
        for key in [
            Key::Node(node.clone()),
            Key::Live(node.clone()),
            Key::Verdict(node.clone()),
        ] {
            let text = key.to_string();
            assert_eq!(text.split('.').count(), 2, "{text}");
            assert!(keys.insert(text), "{key} is the key of two");
        }
        for name in ["a", "b", "c", "tool"] {
            let subject = Namespace::default().tool_subject(&tool(name).unwrap(), &node);
            assert_eq!(subject.split('.').count(), 6, "{subject}");
            assert!(
                subjects.insert(subject),
                "{node} and {name} share a subject"
            );
        }
    }
}

#[test]
fn s17_a_ghost() {
    needs(Mechanism::EndedEpoch);
}

#[test]
fn s20_a_member_before_its_anchor() {
    needs(Mechanism::BondAtExactPoint);
}

#[test]
fn s20_an_announcement_before_its_life() {
    needs(Mechanism::OneLife);
}

#[test]
fn s20_half_a_piece() {
    needs(Mechanism::WholePieces);
}

#[test]
fn s20_forgotten_before_it_is_seen() {
    needs(Mechanism::ForgetAtExactPoint);
}

#[test]
fn s22_superseded() {
    needs(Mechanism::SupersededRests);
}

#[test]
fn s22_a_process_that_does_not_know_that_it_is_superseded() {
    let setup = Setup {
        ports: 2,
        ttl: (10, 14),
        owners: 4,
        with_epoch: 0,
        away: (100, 500),
        lingers: (500, 3_000),
        errands: 800,
        releases: 1000,
        ..one_node()
    };
    let broken = [Rule::OneHolder, Rule::NothingLost];
    needs_rule(&setup, |rules| rules.names_its_life = false, &broken);
}

#[test]
fn s23_a_nodes_heartbeat_that_shortens() {
    let setup = Setup {
        changes_ttl: 1000,
        reply_lost: 300,
        releases: 0,
        dies: 0,
        ..Setup::nodes()
    };
    let without = Setup {
        mechanisms: Mechanisms::without(Mechanism::OnlyLengthens),
        holders: 0,
        ..setup.clone()
    };
    check(&setup, &without, &[Rule::NothingLost]);
}

#[test]
fn s24_two_tell_of_nodes() {
    let setup = Setup {
        instances: 3,
        pause: 4_000,
        ttl: (12, 14),
        write_late: 100,
        ack_lost: 50,
        errands: 300,
        ..lag()
    };
    let without = Setup {
        checkpoint_compares: false,
        holders: 0,
        ..setup.clone()
    };
    check(&setup, &without, &[Rule::EventsComplete]);
}

#[test]
fn s24_who_tells_of_nodes_dies() {
    let setup = Setup {
        crash: 6_000,
        retention: 5_000,
        errands: 300,
        ..Setup::nodes()
    };
    let without = Setup {
        mechanisms: Mechanisms::without(Mechanism::CheckpointAfterEvents),
        holders: 0,
        ..setup.clone()
    };
    check(&setup, &without, &[Rule::EventsComplete]);
}
