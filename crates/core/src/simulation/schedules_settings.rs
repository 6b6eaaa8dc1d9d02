//! Schedules of settings, pools and hosts.

use onex_types::{
    ids::{Host, Port, Transport, Ttl},
    ports::PortRange,
};

use crate::{
    command::{Action, Genesis, Probed, Refusal, SetPool, Unavailable},
    key::Key,
    mechanism::{Mechanism, Mechanisms},
    record::PoolPorts,
    settings::Settings,
};

use super::{
    instance::{self, host},
    stage::{Stage, held, needs, release, renew, requester, wants},
};

/// That range is what a host grants.
pub(super) fn pool(host: &Host, first: u16, last: u16) -> Action {
    let port = |number| Port::new(number).unwrap();
    Action::SetPool(Box::new(SetPool {
        host: host.clone(),
        transport: None,
        ports: PoolPorts {
            ranges: vec![PortRange {
                first: port(first),
                last: port(last),
            }],
            reserved: Vec::new(),
        },
        description: None,
        expected_revision: None,
    }))
}

fn no_pool(host: Host) -> Action {
    Action::DeletePool {
        host,
        expected_revision: None,
    }
}

fn on_host(action: Action, name: &str) -> Action {
    match action {
        Action::Lease(mut grant) => {
            grant.host = name.parse().unwrap();
            Action::Lease(grant)
        }
        other => other,
    }
}

fn settings(stage: &Stage) -> (Settings, u64) {
    let slot = stage.engine(0).state().slot(&Key::Settings).unwrap();
    (
        Settings::clone(slot.record.settings().unwrap()),
        slot.revision,
    )
}

fn asked(stage: &mut Stage, index: usize, action: Action) -> Option<Refusal> {
    let job = stage.ask(index, action);
    stage.settle();
    stage.probed(Probed::Bindable);
    stage.pass(10);
    stage.settle();
    assert!(stage.reply(job).is_some());
    stage.refusal(job).cloned()
}

#[test]
fn changed_settings_hold_for_every_instance_from_the_next_command_on() {
    let (mut stage, _) = held(2, Mechanisms::default(), 8);
    let too_long = Refusal::TtlTooLong {
        given: 20,
        longest: 8,
    };
    assert_eq!(
        asked(&mut stage, 1, wants(2, 20, None, Some(20_001))),
        Some(too_long)
    );
    let (mut new, revision) = settings(&stage);
    new.ttl_max = Ttl::try_from(30).unwrap();
    let set = |settings: &Settings, read| Action::SetSettings {
        settings: Box::new(settings.clone()),
        read,
    };
    assert_eq!(asked(&mut stage, 0, set(&new, Some(revision))), None);
    assert_eq!(asked(&mut stage, 1, wants(2, 20, None, Some(20_001))), None);
    // Whoever has read the old ones does not overwrite the new ones.
    new.hosts_max = 1;
    assert_eq!(
        asked(&mut stage, 1, set(&new, Some(revision))),
        Some(Refusal::SettingsChanged)
    );
    assert_eq!(asked(&mut stage, 1, set(&new, None)), None);
    let before = stage.engine(0).state().revision();
    assert_eq!(asked(&mut stage, 1, set(&new, None)), None);
    assert_eq!(
        stage.engine(0).state().revision(),
        before,
        "nothing was changed"
    );
    assert!(stage.alike());
}

#[test]
fn an_instance_that_is_started_with_other_settings_than_the_store_has_is_told_both() {
    let (mut stage, _) = held(1, Mechanisms::default(), 8);
    let (mut other, _) = settings(&stage);
    other.ttl_max = Ttl::try_from(30).unwrap();
    other.hosts_max = 77;
    let Action::Genesis(genesis) =
        instance::genesis(stage.engine(0).local.instance, instance::settings())
            .command
            .action
    else {
        panic!("the first entry")
    };
    let start = |given: &[&str]| {
        Action::Genesis(Box::new(Genesis {
            settings: other.clone(),
            given: given.iter().map(ToString::to_string).collect(),
            ..Genesis::clone(&genesis)
        }))
    };
    assert_eq!(asked(&mut stage, 0, start(&["holder_leases_max"])), None);
    let refused = asked(&mut stage, 0, start(&["ttl_max", "holder_leases_max"]));
    let text = refused.unwrap().to_string();
    assert!(
        text.starts_with("ttl_max is 8 in the store and was started with 30: "),
        "{text}"
    );
}

#[test]
fn a_pool_that_is_set_and_deleted_changes_what_is_granted_and_not_what_is_held() {
    let (mut stage, lease_id) = held(2, Mechanisms::default(), 8);
    let capacity = |stage: &Stage, index: usize| {
        let state = stage.engine(index).state();
        state
            .pool(&host(), Transport::Tcp)
            .unwrap()
            .counts()
            .capacity
    };
    let set = pool(&host(), 30_000, 30_009);
    assert_eq!(asked(&mut stage, 1, set), None);
    assert_eq!((capacity(&stage, 0), capacity(&stage, 1)), (10, 10));
    assert!(stage.holds(lease_id));
    let inside = asked(&mut stage, 0, wants(2, 8, None, Some(30_003)));
    let outside = asked(&mut stage, 0, wants(2, 8, None, Some(20_001)));
    assert!(inside.is_none() && matches!(outside, Some(Refusal::PortUnavailable { .. })));
    // What is held outside the ranges goes on, and is not granted when they come back.
    assert_eq!(asked(&mut stage, 1, renew(1, lease_id, None)), None);
    assert_eq!(asked(&mut stage, 0, no_pool(host())), None);
    assert_eq!((capacity(&stage, 0), capacity(&stage, 1)), (6, 6));
    let again = asked(&mut stage, 1, wants(2, 8, None, Some(20_000)));
    let is_held = matches!(
        again,
        Some(Refusal::PortUnavailable { port, why: Unavailable::Held, .. }) if port.number() == 20_000
    );
    assert!(is_held, "{again:?}");
    assert!(stage.holds(lease_id));
    let none = Refusal::NoOwnPool(host());
    assert_eq!(asked(&mut stage, 1, no_pool(host())), Some(none));
    assert!(stage.alike());
}

#[test]
fn a_pool_is_set_only_as_it_was_read_and_in_the_port_space_that_is_meant() {
    let mut stage = Stage::new(2, Mechanisms::default());
    let set = |transport, last, expected_revision| match pool(&host(), 30_000, last) {
        Action::SetPool(set) => Action::SetPool(Box::new(SetPool {
            transport,
            expected_revision,
            ..*set
        })),
        other => other,
    };
    let capacities = |stage: &Stage| {
        let state = stage.engine(0).state();
        Transport::ALL.map(|transport| state.pool(&host(), transport).unwrap().counts().capacity)
    };
    let changed = |expected, present| Refusal::PoolChanged {
        host: host(),
        expected,
        present,
    };
    assert_eq!(asked(&mut stage, 0, set(None, 30_001, Some(0))), None);
    let first = stage.engine(0).state().pool_revision(&host()).unwrap();
    // It is there before anybody has asked for a port of it.
    assert_eq!(capacities(&stage), [2, 2]);
    // The same again changes nothing, also where what was expected is no more.
    assert_eq!(asked(&mut stage, 1, set(None, 30_001, Some(0))), None);
    let udp = Some(Transport::Udp);
    assert_eq!(
        asked(&mut stage, 1, set(udp, 30_005, Some(0))),
        Some(changed(0, first))
    );
    assert_eq!(asked(&mut stage, 1, set(udp, 30_005, Some(first))), None);
    assert!(asked(&mut stage, 0, wants(2, 8, None, Some(30_001))).is_none());
    assert_eq!(capacities(&stage), [2, 6]);
    let delete = Action::DeletePool {
        host: host(),
        expected_revision: Some(first),
    };
    let second = stage.engine(0).state().pool_revision(&host()).unwrap();
    assert_eq!(asked(&mut stage, 1, delete), Some(changed(first, second)));
    // In both again.
    assert_eq!(asked(&mut stage, 1, set(None, 30_002, None)), None);
    assert_eq!(capacities(&stage), [3, 3]);
    assert!(stage.alike());
}

#[test]
fn a_host_that_was_idle_for_the_retention_time_makes_room_for_another() {
    needs(Mechanism::ForgetHosts, |mechanisms| {
        let (mut stage, lease_id) = held(2, mechanisms, 8);
        // Two hosts are all that there may be.
        assert_eq!(
            asked(&mut stage, 1, on_host(wants(2, 8, Some(9), None), "second")),
            None
        );
        let third = on_host(wants(3, 8, None, None), "third");
        let limit = Refusal::LimitExceeded {
            what: "hosts",
            limit: 2,
        };
        assert_eq!(asked(&mut stage, 1, third.clone()), Some(limit.clone()));
        let fourth = pool(&"fourth".parse().unwrap(), 1, 2);
        assert_eq!(asked(&mut stage, 1, fourth), Some(limit.clone()));
        stage.ask(0, release(1, lease_id));
        stage.settle();
        // The second host's lease expires a little later.
        stage.pass(10_000);
        stage.settle();
        assert_eq!(asked(&mut stage, 1, third.clone()), Some(limit));
        stage.pass(4_000);
        stage.settle();
        let first_is_gone = !stage.engine(1).state().knows_host(&host());
        let second: Host = "second".parse().unwrap();
        assert!(stage.engine(1).state().knows_host(&second));
        stage.probes.clear();
        first_is_gone && asked(&mut stage, 1, third).is_none() && stage.alike()
    });
}

#[test]
fn a_host_with_a_lease_or_a_pool_of_its_own_is_not_forgotten() {
    let (mut stage, lease_id) = held(1, Mechanisms::default(), 8);
    let second: Host = "second".parse().unwrap();
    assert_eq!(asked(&mut stage, 0, pool(&second, 1, 9)), None);
    for _ in 0..40 {
        stage.ask(0, renew(1, lease_id, None));
        stage.settle();
        stage.pass(4_000);
        stage.settle();
    }
    let state = stage.engine(0).state();
    assert!(state.knows_host(&second) && state.knows_host(&host()));
    assert_eq!((state.hosts(), state.indexes.held(requester(1))), (2, 1));
}

#[test]
fn a_refused_grant_leaves_no_host_behind() {
    let mut stage = Stage::new(1, Mechanisms::default());
    for n in 0..50 {
        let unknown = on_host(wants(1, 8, None, Some(1)), &format!("h{n}"));
        let job = stage.ask(0, unknown);
        stage.settle();
        stage.pass(10);
        stage.settle();
        assert!(matches!(
            stage.refusal(job),
            Some(Refusal::PortUnavailable { .. })
        ));
        stage.probed(Probed::Bindable);
    }
    let state = stage.engine(0).state();
    assert_eq!((state.hosts(), state.pools.len()), (0, 0));
}
