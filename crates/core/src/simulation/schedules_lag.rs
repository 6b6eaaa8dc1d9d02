//! Schedules of instances that lag, are cut off, or stand still.

use crate::{
    command::{Action, Answer, Refusal},
    engine::Input,
    mechanism::{Mechanism, Mechanisms},
};

use super::{
    node_stage::{heartbeat, register, wants_for},
    stage::{Stage, held, needs, renew, requester, wants},
};

#[test]
fn s13_an_instance_that_is_cut_off_does_not_say_that_there_is_no_such_lease() {
    needs(Mechanism::OutcomeHeldByEntry, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        stage.ask(0, wants(1, 8, Some(1), Some(20_000)));
        stage.arrive_acked().unwrap();
        // Entries that change nothing are a few milliseconds apart.
        stage.t += 10;
        let key = stage
            .engine(0)
            .state()
            .indexes
            .held_by(requester(1), &onex_types::key::PortKey::first())
            .next()
            .cloned()
            .unwrap();
        let lease_id = stage.engine(0).state().lease(&key).unwrap().1.lease_id;
        // Instance 1 has not seen the grant, and what it sends does not arrive.
        let find = stage.ask(1, Action::Find(lease_id));
        let silent = stage.reply(find).is_none();
        stage.t += 5_000;
        stage.input(1, [Input::Tick]);
        let refusal = stage.refusal(find).cloned();
        silent && matches!(refusal, Some(Refusal::Unknown | Refusal::Unavailable))
    });
}

#[test]
fn s16_a_lagging_instance_tries_no_port_before_its_grant_is_in_the_log() {
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.ask(0, wants(1, 8, Some(1), Some(20_000)));
    stage.arrive_acked().unwrap();
    // Instance 1 has not seen that grant, and grants the same port.
    let job = stage.ask(1, wants(2, 8, Some(2), Some(20_000)));
    assert!(stage.probes.iter().all(|(index, _)| *index == 0));
    assert_eq!(stage.arrive_acked(), None);
    stage.settle();
    assert!(stage.probes.iter().all(|(index, _)| *index == 0));
    assert!(matches!(
        stage.refusal(job),
        Some(Refusal::PortUnavailable { .. })
    ));
}

#[test]
fn s18_an_instance_that_stood_still_ends_nothing_that_was_renewed_meanwhile() {
    let (mut stage, lease_id) = held(2, Mechanisms::default(), 8);
    stage.epoch(0, register("a", 3, None));
    stage.granted(0, wants_for("a", 3, None, None));
    // The named instance stands still; the other one renews both, again and again.
    for _ in 0..3 {
        stage.t += 6_000;
        let jobs = [
            stage.ask(1, renew(1, lease_id, None)),
            stage.ask(1, heartbeat("a", 3, 1, None)),
        ];
        stage.settle_only(1);
        for job in jobs {
            assert!(stage.reply(job).unwrap().result.is_ok());
        }
    }
    stage.input(0, [Input::Tick]);
    stage.settle();
    stage.pass(50);
    stage.settle();
    for index in 0..2 {
        let state = stage.engine(index).state();
        assert_eq!(state.leases_held(requester(1)), 1);
        assert_eq!(state.leases_held(requester(3)), 1);
        assert!(stage.is_live(index, "a"));
    }
    assert!(stage.alike());
}

#[test]
fn s18_a_holder_that_was_away_for_longer_than_its_ttl_is_told_that_its_lease_has_ended() {
    let (mut stage, lease_id) = held(2, Mechanisms::default(), 8);
    stage.pass(9_000);
    stage.settle();
    let late = stage.done(1, renew(1, lease_id, None));
    assert!(matches!(late.result, Err(Refusal::LeaseExpired(id, _)) if id == lease_id));
    // Its port is somebody else's by then, with a higher fencing token.
    let next = stage.done(1, wants(2, 8, None, Some(20_000)));
    assert!(matches!(next.result, Ok(Answer::Lease(held)) if held.lease.lease_id != lease_id));
}

#[test]
fn s19_an_instance_that_a_message_was_not_delivered_to_follows_anew() {
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.ask(0, wants(1, 8, None, Some(20_000)));
    stage.arrive_acked().unwrap();
    let missed = stage.store.last();
    stage.ask(0, wants(2, 8, None, Some(20_001)));
    stage.arrive_acked().unwrap();
    // The first of the two is dropped on its way to instance 1.
    let before = stage.engine(1).head();
    let delivered = stage.store.delivered(missed.next()).unwrap();
    stage.input(1, [Input::Delivered(delivered)]);
    assert_eq!(stage.engine(1).head(), before);
    assert!(stage.notes.contains(&"I1 follows anew".to_owned()));
    let silent = stage.sent.len();
    stage.ask(1, wants(3, 8, None, Some(20_000)));
    assert_eq!(
        stage.sent.len(),
        silent,
        "it decides nothing before it has everything"
    );
    stage.follow(1);
    stage.settle();
    assert!(stage.alike());
}

#[test]
fn s24_what_an_instance_says_that_is_not_named_any_more_does_not_count() {
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.done(0, wants(1, 8, None, None)).result.unwrap();
    let first = stage.engine(0).local.instance;
    let (revision, sequence) = (stage.engine(0).state().revision(), stage.store.last());
    // The named instance stands still for so long that the other one takes over.
    stage.instances[0].next = None;
    for _ in 0..3 {
        stage.t += 6_000;
        stage.input(1, [Input::Tick]);
        stage.settle_only(1);
    }
    let second = stage.engine(1).local.instance;
    let named = stage.engine(1).state().named().unwrap();
    assert_eq!((named.instance, named.published), (second, 0));
    // It wakes, and says what it had published.
    stage.ask(
        0,
        Action::Published {
            instance: first,
            revision,
            sequence: sequence.0,
        },
    );
    stage.follow(0);
    stage.settle();
    let named = stage.engine(1).state().named().unwrap();
    assert_eq!((named.instance, named.published), (second, 0));
    assert!(stage.alike());
}
