//! Schedules of leases that broke designs, step by step: each holds as the engine is, and breaks without the mechanism
//! that it names.

use onex_types::{
    ids::{Port, Transport},
    key::PortKey,
};

use crate::{
    command::{Answer, Probed, Refusal},
    engine::{CONFIRM_MILLIS, Input, PROBE_MILLIS},
    lease::LeaseEnd,
    mechanism::{Mechanism, Mechanisms},
};

use super::{
    instance::{clock, host},
    schedules_sets::{answered, set},
    stage::{Stage, held, needs, release, renew, requester, wants},
};

#[test]
fn s01_a_lagging_instance_does_not_grant_a_port_of_a_set_that_was_renewed() {
    let mut stage = Stage::new(2, Mechanisms::default());
    let held = answered(&mut stage, 0, set(1, 3, true, false, Some(20_002))).unwrap();
    // Instance 1 has not seen the renewal when it finds the set due, and is asked for another port of it than the first.
    stage.t += 6_000;
    stage.ask(0, renew(1, held.lease.lease_id, None));
    stage.arrive_acked().unwrap();
    stage.t += 4_000;
    stage.input(1, [Input::Tick]);
    let other = stage.ask(1, wants(2, 8, None, Some(20_003)));
    assert_eq!(stage.arrive_acked(), None, "its end must lose");
    stage.settle();
    assert!(matches!(
        stage.refusal(other),
        Some(Refusal::PortUnavailable { .. })
    ));
    assert!(stage.holds(held.lease.lease_id) && stage.alike());
}

#[test]
fn s02_a_lagging_instance_does_not_end_what_was_renewed() {
    let (mut stage, lease_id) = held(2, Mechanisms::default(), 4);
    // Instance 1 has not seen the renewal when it finds the lease due.
    stage.t += 3_000;
    stage.ask(0, renew(1, lease_id, None));
    stage.arrive_acked().unwrap();
    stage.t += 3_000;
    stage.input(1, [Input::Tick]);
    assert_eq!(stage.arrive_acked(), None, "its end must lose");
    stage.settle();
    assert_eq!(stage.engine(1).state().indexes.held(requester(1)), 1);
    assert!(stage.alike());
}

#[test]
fn s03_a_ttl_counts_from_when_an_instance_applies_it() {
    needs(Mechanism::OwnClock, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        // The granter's wall clock is ten minutes slow.
        stage.instances[0].skew = -600_000;
        let job = stage.ask(0, wants(1, 8, None, Some(20_000)));
        stage.settle();
        stage.probed(Probed::Bindable);
        stage.settle();
        assert!(stage.lease(job).is_some());
        stage.pass(2_000);
        stage.settle();
        stage.engine(1).state().indexes.held(requester(1)) == 1
    });
}

#[test]
fn s04_a_registry_counts_longer_than_a_holder_whose_clock_is_slow() {
    needs(Mechanism::Slack, |mechanisms| {
        let (mut stage, _) = held(1, mechanisms, 8);
        // A clock that is slow by four in ten thousand.
        let granted = clock(stage.t, -400);
        while clock(stage.t, -400).since(granted) < 8_000 {
            stage.pass(1);
            stage.settle();
            let holds = clock(stage.t, -400).since(granted) < 8_000;
            if holds && stage.engine(0).state().indexes.held(requester(1)) == 0 {
                return false;
            }
        }
        true
    });
}

#[test]
fn s05_a_retry_gets_the_lease_that_its_request_got() {
    needs(Mechanism::Idempotency, |mechanisms| {
        let (mut stage, lease_id) = held(2, mechanisms, 8);
        stage.confirm();
        let again = stage.ask(1, wants(1, 8, Some(1), Some(20_000)));
        stage.settle();
        stage.lease(again) == Some((lease_id, 20_000))
    });
}

#[test]
fn s06_a_late_copy_of_a_request_does_not_revive_its_lease() {
    needs(Mechanism::Idempotency, |mechanisms| {
        let (mut stage, lease_id) = held(2, mechanisms, 8);
        stage.ask(0, release(1, lease_id));
        stage.settle();
        // The port is granted to others since, so the request is remembered in a slot.
        let other = stage.ask(1, wants(2, 8, Some(2), Some(20_000)));
        stage.settle();
        stage.probed(Probed::Bindable);
        stage.settle();
        assert!(stage.lease(other).is_some());
        let late = stage.ask(1, wants(1, 8, Some(1), None));
        stage.settle();
        let port = onex_types::ids::Port::new(20_000).unwrap();
        stage.refusal(late) == Some(&Refusal::LeaseExpired(lease_id, port))
    });
}

#[test]
fn s23_a_heartbeat_does_not_shorten() {
    needs(Mechanism::OnlyLengthens, |mechanisms| {
        let (mut stage, lease_id) = held(1, mechanisms, 8);
        // Its reply is lost: the holder goes on counting eight seconds.
        stage.ask(0, renew(1, lease_id, Some(2)));
        stage.settle();
        stage.pass(6_000);
        stage.settle();
        stage.engine(0).state().indexes.held(requester(1)) == 1
    });
}

#[test]
fn s32_a_grant_that_somebody_was_told_of_is_not_rolled_back() {
    needs(Mechanism::TentativeGrants, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        stage.ask(0, wants(1, 8, Some(1), Some(20_000)));
        stage.settle();
        // Its port is being tried. The retry reaches another instance, which vouches for the grant.
        let retry = stage.ask(1, wants(1, 8, Some(1), Some(20_000)));
        stage.settle();
        stage.pass(300);
        // The try finds the port in use: by the holder, if the retry was answered at once.
        stage.probed(Probed::InUse);
        stage.settle();
        stage.pass(1_300);
        stage.settle();
        stage
            .lease(retry)
            .is_some_and(|(lease_id, _)| stage.holds(lease_id))
    });
}

#[test]
fn s32_the_answer_to_a_retry_waits_until_nobody_tries_the_port() {
    needs(Mechanism::ConfirmWaits, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        stage.ask(0, wants(1, 8, Some(1), Some(20_000)));
        stage.settle();
        let granted = stage.t;
        let retry = stage.ask(1, wants(1, 8, Some(1), Some(20_000)));
        stage.settle();
        while stage.lease(retry).is_none() && stage.t < granted + 3_000 {
            stage.pass(50);
            stage.settle();
        }
        stage.lease(retry).is_some() && stage.t - granted > PROBE_MILLIS
    });
}

#[test]
fn s33_a_retry_after_its_granter_died_is_not_told_that_the_port_was_tried() {
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.ask(0, wants(1, 8, Some(1), Some(20_000)));
    stage.settle();
    stage.instances[0].engine = None;
    let retry = stage.ask(1, wants(1, 8, Some(1), Some(20_000)));
    stage.settle();
    stage.pass(1_300);
    stage.settle();
    let outcome = stage.reply(retry).unwrap();
    assert!(matches!(&outcome.result, Ok(Answer::Lease(held)) if !held.verified));
    assert!(stage.probes.iter().all(|(index, _)| *index == 0));
}

#[test]
fn s47_a_retry_at_another_instance_does_not_try_the_port_that_its_holder_has_bound() {
    let mut stage = Stage::new(2, Mechanisms::default());
    let first = stage.ask(0, wants(1, 8, Some(1), Some(20_000)));
    stage.settle();
    stage.probed(Probed::Bindable);
    let granted = stage.lease(first);
    assert!(granted.is_some());
    // The granter dies before the log says that the port was found free; its caller binds the port.
    stage.instances[0].engine = None;
    let retry = stage.ask(1, wants(1, 8, Some(1), Some(20_000)));
    stage.settle();
    stage.pass(1_300);
    stage.settle();
    assert_eq!(stage.lease(retry), granted);
    assert_eq!(stage.probes, []);
}

/// Nobody waits for that, so it costs no entry where others follow.
#[test]
fn that_a_port_was_found_free_is_written_with_the_next_command_or_soon() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let tentative = |stage: &Stage, job| {
        let (_, port) = stage.lease(job).unwrap();
        let key = PortKey {
            port: Port::new(port).unwrap(),
            ..PortKey::first_on(&host())
        };
        stage.engine(0).state().lease(&key).unwrap().0.tentative
    };
    let one = stage.ask(0, wants(1, 8, Some(1), None));
    stage.arrive_acked().unwrap();
    let before = stage.store.last();
    stage.probed(Probed::Bindable);
    assert!(stage.sent.is_empty() && tentative(&stage, one));
    // The next command takes it along, before itself.
    let again = stage.ask(0, wants(1, 8, Some(1), None));
    stage.arrive_acked().unwrap();
    assert_eq!(stage.store.last(), before.next());
    assert!(!tentative(&stage, one));
    assert_eq!(stage.lease(again), stage.lease(one));
    let two = stage.ask(0, wants(2, 8, Some(2), None));
    stage.arrive_acked().unwrap();
    stage.probed(Probed::Bindable);
    stage.pass(CONFIRM_MILLIS - 1);
    assert!(stage.sent.is_empty() && tentative(&stage, two));
    stage.pass(1);
    stage.arrive_acked().unwrap();
    assert!(!tentative(&stage, two));
    assert_eq!(stage.store.last(), before.next().next().next());
}

#[test]
fn a_port_in_use_is_quarantined_and_another_granted_in_one_command() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let job = stage.ask(0, wants(1, 8, Some(1), None));
    stage.settle();
    let before = stage.store.last();
    stage.probed(Probed::InUse);
    stage.arrive_acked().unwrap();
    assert_eq!(stage.store.last(), before.next());
    assert!(stage.reply(job).is_none());
    stage.probed(Probed::Bindable);
    stage.settle();
    assert!(stage.lease(job).is_some());
    let pool = stage
        .engine(0)
        .state()
        .pool(&host(), Transport::Tcp)
        .unwrap()
        .counts();
    assert_eq!((pool.held, pool.quarantined), (1, 1));
    assert!(stage.alike());
}

#[test]
fn an_exact_port_in_use_is_refused_and_the_grant_taken_back() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let job = stage.ask(0, wants(1, 8, Some(1), Some(20_002)));
    stage.settle();
    stage.probed(Probed::InUse);
    stage.settle();
    assert!(matches!(
        stage.refusal(job),
        Some(Refusal::PortUnavailable { .. })
    ));
    assert_eq!(stage.engine(0).state().indexes.held(requester(1)), 0);
    // The caller never got that lease: the same request may ask again.
    let again = stage.ask(0, wants(1, 8, Some(1), Some(20_003)));
    stage.settle();
    assert!(!matches!(
        stage.refusal(again),
        Some(Refusal::LeaseExpired(..))
    ));
}

#[test]
fn s42_queued_heartbeats_are_taken_before_leases_that_are_due() {
    needs(Mechanism::RequestsBeforeTimers, |mechanisms| {
        let (mut stage, lease_id) = held(1, mechanisms, 4);
        // The server is away for longer than the TTL; the heartbeat waits.
        stage.input(0, [Input::Disconnected]);
        stage.t += 20_000;
        let heartbeat = stage.ask(0, renew(1, lease_id, None));
        stage.follow(0);
        stage.settle();
        stage.pass(10);
        stage.settle();
        stage.lease(heartbeat).is_some() && stage.engine(0).state().indexes.held(requester(1)) == 1
    });
}

#[test]
fn s48_fencing_tokens_of_a_port_grow() {
    let mut stage = Stage::new(2, Mechanisms::default());
    let mut last = 0;
    for round in 0..6_u32 {
        let index = usize::try_from(round % 2).unwrap();
        let job = stage.ask(index, wants(1, 8, None, Some(20_000)));
        stage.settle();
        stage.probed(Probed::Bindable);
        stage.settle();
        let Ok(Answer::Lease(first)) = stage.reply(job).unwrap().result.clone() else {
            panic!("not granted")
        };
        assert!(first.lease.fence > last);
        last = first.lease.fence;
        let heartbeat = stage.ask(1 - index, renew(1, first.lease.lease_id, None));
        stage.settle();
        let renewed = stage.reply(heartbeat).unwrap();
        assert!(renewed.revision > last);
        assert!(matches!(&renewed.result, Ok(Answer::Lease(held)) if held.lease.fence == last));
        stage.ask(index, release(1, first.lease.lease_id));
        stage.settle();
    }
}

#[test]
fn a_release_is_answered_again_as_long_as_it_is_remembered() {
    let (mut stage, lease_id) = held(2, Mechanisms::default(), 8);
    for index in [0, 1, 0] {
        let job = stage.ask(index, release(1, lease_id));
        stage.settle();
        stage.pass(10);
        stage.settle();
        let outcome = stage.reply(job).unwrap().result.clone();
        assert!(matches!(
            outcome,
            Ok(Answer::Ended {
                how: LeaseEnd::Released,
                ..
            })
        ));
    }
}
