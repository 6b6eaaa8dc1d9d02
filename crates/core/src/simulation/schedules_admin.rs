//! Schedules of what administrators take away: whoever had it does not know, and counts on it for its time.

use onex_types::{
    ids::{LeaseId, Port, Transport},
    key::PortKey,
};

use crate::{
    command::{
        Action, Answer, Evict, Probed, Refusal, RemoveHost, Revoke, RevokedLease, Unavailable,
        Unquarantine,
    },
    engine::Input,
    entry::{Change, EventKind},
    key::Key,
    lease::LeaseEnd,
    mechanism::{Mechanism, Mechanisms},
    node::NodeEnd,
    pool::PortState,
};

use super::{
    administrator::reason,
    instance::host,
    node_stage::{bus, deregister, heartbeat, node_id, register, wants_for},
    schedules_sets::rebind,
    stage::{Stage, held, needs, release, renew, requester, wants},
};

fn port(number: u16) -> PortKey {
    PortKey {
        host: host(),
        transport: Transport::Tcp,
        port: Port::new(number).unwrap(),
    }
}

fn revoke(lease: RevokedLease) -> Action {
    Action::Revoke(Box::new(Revoke {
        lease,
        reason: reason(),
    }))
}

fn revoke_port(number: u16) -> Action {
    revoke(RevokedLease::Of(port(number)))
}

fn unquarantine(number: u16) -> Action {
    Action::Unquarantine(Box::new(Unquarantine {
        port: port(number),
        reason: reason(),
    }))
}

fn evict(node: &str, epoch: Option<u64>) -> Action {
    Action::Evict(Box::new(Evict {
        node_id: node_id(node),
        epoch,
        reason: reason(),
    }))
}

fn is_revoked(stage: &mut Stage, index: usize, lease_id: LeaseId) -> bool {
    let found = stage.done(index, Action::Find(lease_id)).result;
    matches!(
        found,
        Ok(Answer::Ended {
            how: LeaseEnd::Revoked,
            ..
        })
    )
}

/// Whether somebody else gets that port now.
fn gets(stage: &mut Stage, index: usize, number: u16) -> bool {
    let job = stage.ask(index, wants(9, 8, None, Some(number)));
    stage.settle();
    stage.probed(Probed::Bindable);
    stage.confirm();
    stage.lease(job).is_some()
}

/// The events of that kind, each with whether it says why.
fn told(stage: &Stage, kind: EventKind) -> Vec<bool> {
    let changes = stage.changes(0);
    let events = changes.iter().filter_map(Change::event);
    let of_it = events.filter(|event| event.kind == kind);
    of_it.map(|event| event.reason == Some(reason())).collect()
}

#[test]
fn s22_a_port_that_is_revoked_cools_down_for_as_long_as_its_holder_counts_on_it() {
    needs(Mechanism::RevokedCooldown, |mechanisms| {
        // The holder renews at the last moment before it is taken away, and counts 8 s from then on.
        let (mut stage, lease_id) = held(2, mechanisms, 8);
        stage.pass(7_000);
        stage.done(0, renew(1, lease_id, None)).result.unwrap();
        let taken = stage.done(1, revoke_port(20_000)).result;
        assert!(matches!(
            taken,
            Ok(Answer::Ended {
                how: LeaseEnd::Revoked,
                ..
            })
        ));
        assert!(!stage.holds(lease_id));
        stage.pass(4_000);
        let early = gets(&mut stage, 0, 20_000) || gets(&mut stage, 1, 20_000);
        stage.pass(5_000);
        !early && gets(&mut stage, 1, 20_000) && stage.alike()
    });
}

#[test]
fn who_had_it_is_told_why_and_to_take_it_away_again_changes_nothing() {
    let (mut stage, lease_id) = held(2, Mechanisms::default(), 8);
    stage
        .done(0, bus("x", 1, None, Some(lease_id), None))
        .result
        .unwrap();
    stage
        .done(1, revoke(RevokedLease::Id(lease_id)))
        .result
        .unwrap();
    let revision = stage.engine(1).state().revision();
    let why = Refusal::LeaseRevoked {
        lease_id,
        port: Port::new(20_000).unwrap(),
        reason: reason(),
    };
    assert_eq!(
        stage.done(0, renew(1, lease_id, None)).result,
        Err(why.clone())
    );
    // A retry of its grant is told the same.
    let again = wants(1, 8, Some(1), Some(20_000));
    assert_eq!(stage.done(0, again).result, Err(why));
    for again in [revoke(RevokedLease::Id(lease_id)), revoke_port(20_000)] {
        let again = stage.done(0, again).result;
        assert!(
            matches!(
                again,
                Ok(Answer::Ended {
                    how: LeaseEnd::Revoked,
                    ..
                })
            ),
            "{again:?}"
        );
    }
    assert!(is_revoked(&mut stage, 0, lease_id));
    assert!(stage.done(0, release(1, lease_id)).result.is_ok());
    assert_eq!(told(&stage, EventKind::PortRevoked), [true]);
    // What hangs on it ends with it.
    stage.pass(10);
    stage.settle();
    let (_, bus) = stage.engine(1).state().bus(&"x".parse().unwrap()).unwrap();
    assert_eq!(bus.ended.unwrap().how, LeaseEnd::Revoked);
    assert!(stage.engine(1).state().revision() >= revision);
    stage.pass(9_000);
    let nobody = Err(Refusal::NobodyHolds(port(20_000)));
    assert_eq!(stage.done(0, revoke_port(20_000)).result, nobody);
    assert!(stage.alike());
}

#[test]
fn all_ports_of_a_lease_that_is_revoked_by_one_of_them_cool_down() {
    let mut stage = Stage::new(2, Mechanisms::default());
    let Action::Lease(mut grant) = wants(1, 8, None, Some(20_002)) else {
        unreachable!()
    };
    (grant.count, grant.contiguous, grant.both) = (2, true, true);
    let job = stage.ask(0, Action::Lease(grant));
    stage.settle();
    stage.probed(Probed::Bindable);
    stage.confirm();
    let (lease_id, _) = stage.lease(job).unwrap();
    let taken = stage.done(1, revoke_port(20_003)).result;
    let Ok(Answer::Ended { lease_id: of, .. }) = taken else {
        panic!("{taken:?}")
    };
    assert_eq!(of, lease_id);
    // Again by another of its ports, while it is remembered.
    stage.done(1, revoke_port(20_003)).result.unwrap();
    let state = stage.engine(0).state();
    for transport in Transport::ALL {
        let counts = state.pool(&host(), transport).unwrap().counts();
        assert_eq!((counts.held, counts.resting), (0, 2), "{transport}");
    }
    assert!(stage.alike());
}

/// Its node says only that it lives, and would never be told.
#[test]
fn a_lease_of_a_node_is_not_revoked_without_the_node() {
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.epoch(0, register("a", 1, None));
    let (lease_id, key) = stage.granted(0, wants_for("a", 1, Some(1), None));
    let refused = Refusal::LeaseOfNode {
        lease_id,
        port: key.port,
        node_id: node_id("a"),
    };
    for revoke in [
        revoke(RevokedLease::Id(lease_id)),
        revoke(RevokedLease::Of(key.clone())),
    ] {
        assert_eq!(stage.done(1, revoke).result, Err(refused.clone()));
    }
    stage.done(0, heartbeat("a", 1, 1, None)).result.unwrap();
    stage.done(0, deregister("a", 1, 1)).result.unwrap();
    let ended = stage.done(1, revoke(RevokedLease::Id(lease_id))).result;
    assert!(
        matches!(
            ended,
            Ok(Answer::Ended {
                how: LeaseEnd::Released,
                ..
            })
        ),
        "{ended:?}"
    );
}

#[test]
fn s22_what_belonged_to_a_node_that_is_evicted_cools_down_for_as_long_as_its_process_counts_on_it()
{
    needs(Mechanism::RevokedCooldown, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        stage.epoch(0, register("a", 1, None));
        let (lease_id, key) = stage.granted(0, wants_for("a", 1, Some(1), Some(20_003)));
        stage
            .done(0, bus("x", 1, Some("a"), None, None))
            .result
            .unwrap();
        stage.pass(7_000);
        stage.done(0, heartbeat("a", 1, 1, None)).result.unwrap();
        // Its process was started anew by somebody at once: what the old one counts on is not for the new one either.
        stage.input(1, [Input::Disconnected]);
        let evicted = stage.ask(1, evict("a", Some(1)));
        let again = stage.ask(1, register("a", 1, None));
        stage.follow(1);
        stage.settle();
        assert!(stage.reply(evicted).unwrap().result.is_ok());
        assert!(stage.reply(again).unwrap().result.is_ok());
        assert!(is_revoked(&mut stage, 0, lease_id));
        stage.pass(4_000);
        stage.done(0, heartbeat("a", 1, 2, None)).result.unwrap();
        let early = gets(&mut stage, 0, key.port.number());
        stage.pass(5_000);
        !early && gets(&mut stage, 1, key.port.number()) && stage.alike()
    });
}

#[test]
fn a_process_that_was_evicted_is_told_why_and_that_it_is_over() {
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.epoch(0, register("a", 1, None));
    let over = Err(Refusal::Evicted {
        node_id: node_id("a"),
        last: 1,
        reason: reason(),
    });
    for index in [1, 0] {
        let evicted = stage.done(index, evict("a", None)).result;
        let Ok(Answer::Node(node)) = evicted else {
            panic!("{evicted:?}")
        };
        assert_eq!(node.live.ended.as_ref().unwrap().how, NodeEnd::Evicted);
    }
    assert_eq!(told(&stage, EventKind::NodeEvicted), [true]);
    assert_eq!(stage.done(0, heartbeat("a", 1, 1, None)).result, over);
    assert_eq!(stage.done(1, deregister("a", 1, 1)).result, over);
    let refused = stage.done(0, register("a", 1, Some(1))).result;
    assert!(
        matches!(refused, Err(Refusal::Superseded { last: 1, .. })),
        "{refused:?}"
    );
    let other = stage.done(0, evict("a", Some(2))).result;
    assert!(
        matches!(other, Err(Refusal::EpochNotFound { last: 1, .. })),
        "{other:?}"
    );
    // Another life may begin, and is not ended by a late copy.
    stage.epoch(0, register("a", 1, None));
    let late = stage.done(1, evict("a", Some(1))).result;
    assert!(
        matches!(late, Err(Refusal::Superseded { last: 2, .. })),
        "{late:?}"
    );
    stage.done(1, heartbeat("a", 1, 2, None)).result.unwrap();
    stage.done(1, deregister("a", 1, 2)).result.unwrap();
    let none = Err(Refusal::NodeNotFound(node_id("a")));
    assert_eq!(stage.done(1, evict("a", None)).result, none);
}

#[test]
fn the_holder_of_a_lease_of_an_evicted_node_is_told_why_before_the_lease_has_ended_and_after() {
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.epoch(0, register("a", 1, None));
    let (lease_id, key) = stage.granted(0, wants_for("a", 1, Some(1), None));
    stage.input(1, [Input::Disconnected]);
    let evicted = stage.ask(1, evict("a", None));
    let renewed = stage.ask(1, renew(1, lease_id, None));
    stage.follow(1);
    stage.settle();
    assert!(stage.reply(evicted).unwrap().result.is_ok());
    let over = Refusal::LeaseRevoked {
        lease_id,
        port: key.port,
        reason: reason(),
    };
    assert_eq!(stage.refusal(renewed), Some(&over));
    assert_eq!(stage.done(0, renew(1, lease_id, None)).result, Err(over));
    assert_eq!(told(&stage, EventKind::PortRevoked), [true]);
}

#[test]
fn a_quarantine_is_lifted_and_a_port_that_somebody_may_count_on_is_not_touched() {
    let (mut stage, lease_id) = held(2, Mechanisms::default(), 8);
    let held = stage.done(0, unquarantine(20_000)).result;
    let Err(Refusal::NotQuarantined {
        why: Unavailable::Held,
        left_ms: None,
        by: Some(by),
        ..
    }) = held
    else {
        panic!("{held:?}")
    };
    assert_eq!(by.requester_id, requester(1));
    stage
        .done(0, revoke(RevokedLease::Id(lease_id)))
        .result
        .unwrap();
    let resting = stage.done(1, unquarantine(20_000)).result;
    let Err(Refusal::NotQuarantined {
        why: Unavailable::Resting,
        left_ms: Some(left),
        ..
    }) = resting
    else {
        panic!("{resting:?}")
    };
    assert!((8_000..=8_508).contains(&left), "{left}");
    // Another program has this one.
    let job = stage.ask(0, wants(2, 8, Some(2), Some(20_001)));
    stage.settle();
    stage.probed(Probed::InUse);
    stage.settle();
    assert!(stage.refusal(job).is_some());
    let state = |stage: &Stage| {
        let now = stage.now(1).mono;
        stage.engine(1).state().port_state(&port(20_001), now)
    };
    assert_eq!(state(&stage), PortState::Quarantined);
    for _ in 0..2 {
        assert_eq!(stage.done(0, unquarantine(20_001)).result, Ok(Answer::Done));
        assert_eq!(state(&stage), PortState::Free);
    }
    assert_eq!(told(&stage, EventKind::PortUnquarantined), [true]);
    assert!(gets(&mut stage, 1, 20_001));
    let own = stage
        .engine(0)
        .state()
        .slot(&Key::Port(port(20_001)))
        .unwrap();
    assert_eq!(own.record.lease().unwrap().requester_id, requester(9));
    assert!(stage.alike());
}

#[test]
fn a_port_that_was_given_up_stays_quarantined_while_its_holder_may_count_on_it() {
    needs(Mechanism::ReboundCooldown, |mechanisms| {
        let (mut stage, lease_id) = held(2, mechanisms, 8);
        stage.ask(0, rebind(1, lease_id, 20_000, None));
        stage.settle();
        stage.probed(Probed::Bindable);
        stage.confirm();
        let early = stage.done(1, unquarantine(20_000)).result;
        let refused = matches!(
            early,
            Err(Refusal::GivenUp {
                left_ms: 1..=8_508,
                ..
            })
        );
        // Nor is it forgotten with its host.
        stage.ask(0, release(1, lease_id));
        stage.settle();
        let forget = Action::RemoveHost(Box::new(RemoveHost {
            host: host(),
            reason: reason(),
        }));
        let forgotten = stage.done(1, forget).result;
        let refused = refused && matches!(forgotten, Err(Refusal::HostInUse { .. }));
        let early = gets(&mut stage, 0, 20_000);
        stage.pass(9_000);
        let late = stage.done(1, unquarantine(20_000)).result;
        refused && !early && late == Ok(Answer::Done) && gets(&mut stage, 0, 20_000)
    });
}

#[test]
fn a_host_is_not_forgotten_while_somebody_may_count_on_a_port_of_it() {
    let (mut stage, lease_id) = held(2, Mechanisms::default(), 8);
    let forget = || {
        Action::RemoveHost(Box::new(RemoveHost {
            host: host(),
            reason: reason(),
        }))
    };
    let in_use = |stage: &mut Stage, what: &str| {
        let refused = stage.done(1, forget()).result;
        let Err(Refusal::HostInUse { what: found, .. }) = &refused else {
            panic!("{refused:?}")
        };
        assert_eq!(found, what);
    };
    stage.epoch(0, register("a", 1, None));
    in_use(
        &mut stage,
        "leases hold ports 20000/tcp; nodes live there: a",
    );
    stage.done(0, deregister("a", 1, 1)).result.unwrap();
    stage
        .done(0, revoke(RevokedLease::Id(lease_id)))
        .result
        .unwrap();
    in_use(
        &mut stage,
        "their last holders may count on ports 20000/tcp",
    );
    stage.pass(8_600);
    stage.settle();
    for _ in 0..2 {
        assert_eq!(stage.done(1, forget()).result, Ok(Answer::Done));
        assert!(!stage.engine(0).state().knows_host(&host()));
    }
    assert_eq!(told(&stage, EventKind::HostForgotten), [true]);
    assert!(stage.alike());
}
