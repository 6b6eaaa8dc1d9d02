//! Schedules of leases with several ports.

use onex_types::{
    ids::{LeaseId, Port, Transport, Ttl},
    key::PortKey,
};

use crate::{
    command::{Action, Answer, Held, Probed, Rebind, Refusal, Unavailable},
    engine::{Input, JobId},
    key::Key,
    lease::LeaseEnd,
    mechanism::{Mechanism, Mechanisms},
    node_command::OwnerRequest,
    pool::{Pool, PortState},
    record::Record,
    settings::Settings,
};

use super::{
    instance::{host, load, settings},
    node_stage::{bus, deregister, listens_on, node_id, register, registers},
    stage::{Stage, held, named, needs, release, renew, requester, wants},
    truth::records,
};

pub(super) fn set(
    n: u128,
    count: u16,
    contiguous: bool,
    both: bool,
    preferred: Option<u16>,
) -> Action {
    let Action::Lease(mut grant) = wants(n, 8, Some(n), None) else {
        panic!("a grant")
    };
    grant.count = count;
    grant.contiguous = contiguous;
    grant.both = both;
    grant.preferred = preferred.and_then(Port::new);
    grant.exact = preferred.is_some();
    Action::Lease(grant)
}

pub(super) fn rebind(n: u128, lease_id: LeaseId, port: u16, request: Option<u128>) -> Action {
    Action::Rebind(Box::new(Rebind {
        reason: None,
        requester_id: requester(n),
        lease_id,
        port: Port::new(port).unwrap(),
        request: request.map(named),
    }))
}

pub(super) fn answered(stage: &mut Stage, index: usize, action: Action) -> Result<Held, Refusal> {
    let job = stage.ask(index, action);
    stage.settle();
    stage.probed(Probed::Bindable);
    stage.pass(10);
    stage.settle();
    match stage.reply(job).unwrap().result.clone()? {
        Answer::Lease(held) => Ok(held),
        other => panic!("{other:?}"),
    }
}

pub(super) fn ports(held: &Held) -> Vec<u16> {
    held.lease.ports.iter().map(|port| port.number()).collect()
}

fn key(transport: Transport, port: u16) -> PortKey {
    PortKey {
        host: host(),
        transport,
        port: Port::new(port).unwrap(),
    }
}

fn state_of(stage: &Stage, port: u16) -> PortState {
    let now = stage.now(1).mono;
    stage
        .engine(1)
        .state()
        .port_state(&key(Transport::Tcp, port), now)
}

/// Free, held and quarantined ports of the host, in both port spaces.
fn counts(stage: &Stage) -> [[usize; 3]; 2] {
    Transport::ALL.map(|transport| {
        let pool = stage.engine(0).state().pool(&host(), transport);
        let Some(counts) = pool.map(Pool::counts) else {
            return [6, 0, 0];
        };
        [counts.free, counts.held, counts.quarantined]
    })
}

fn two() -> Stage {
    Stage::new(2, Mechanisms::default())
}

#[test]
fn a_set_is_granted_renewed_and_ended_as_one() {
    let mut stage = two();
    let held = answered(&mut stage, 0, set(1, 3, true, true, Some(20_002))).unwrap();
    assert_eq!(ports(&held), [20_002, 20_003, 20_004]);
    assert_eq!(held.lease.transports, [Transport::Tcp, Transport::Udp]);
    assert_eq!(counts(&stage), [[3, 3, 0], [3, 3, 0]]);
    let lease_id = held.lease.lease_id;
    for _ in 0..3 {
        stage.pass(7_000);
        let heartbeat = answered(&mut stage, 1, renew(1, lease_id, None)).unwrap();
        assert_eq!(ports(&heartbeat).len(), 3);
    }
    // The same request, at another instance: the same set.
    let again = answered(&mut stage, 1, set(1, 3, true, true, Some(20_002))).unwrap();
    assert_eq!(again.lease.lease_id, lease_id);
    stage.pass(9_000);
    stage.settle();
    assert_eq!(counts(&stage), [[6, 0, 0], [6, 0, 0]]);
    assert!(stage.alike());
    let job = stage.ask(1, release(1, lease_id));
    stage.settle();
    stage.pass(10);
    stage.settle();
    let ended = &stage.reply(job).unwrap().result;
    assert!(matches!(
        ended,
        Ok(Answer::Ended {
            how: LeaseEnd::Expired,
            ..
        })
    ));
}

#[test]
fn a_set_is_granted_as_a_whole_or_not_at_all() {
    let (mut stage, _) = held(2, Mechanisms::default(), 8);
    let one = answered(&mut stage, 0, wants(2, 8, None, Some(20_003))).unwrap();
    // 20001, 20002, 20004 and 20005 are free.
    let exhausted = |refusal| matches!(refusal, Err(Refusal::Exhausted { .. }));
    assert!(exhausted(answered(
        &mut stage,
        1,
        set(3, 5, false, false, None)
    )));
    assert!(exhausted(answered(
        &mut stage,
        1,
        set(3, 3, true, false, None)
    )));
    let exact = answered(&mut stage, 1, set(3, 2, true, false, Some(20_002)));
    let taken = Port::new(20_003).unwrap();
    assert!(matches!(
        exact,
        Err(Refusal::PortUnavailable {
            port,
            why: Unavailable::Held,
            ..
        }) if port == taken
    ));
    assert_eq!(counts(&stage)[0], [4, 2, 0]);
    let pair = answered(&mut stage, 1, set(3, 2, true, false, None)).unwrap();
    assert!(ports(&pair) == [20_001, 20_002] || ports(&pair) == [20_004, 20_005]);
    let rest = answered(&mut stage, 1, set(4, 2, false, false, None)).unwrap();
    assert_eq!(counts(&stage)[0], [0, 6, 0]);
    let many = answered(&mut stage, 1, set(7, 65, false, false, None));
    assert!(matches!(many, Err(Refusal::LimitExceeded { .. })));
    // A port of which the other port space is held is not to be had in both.
    stage.ask(0, release(4, rest.lease.lease_id));
    stage.settle();
    let udp = answered(&mut stage, 1, set(5, 2, false, true, None)).unwrap();
    assert_eq!(ports(&udp).len(), 2);
    assert!(exhausted(answered(
        &mut stage,
        1,
        set(6, 1, false, true, None)
    )));
    drop(one);
    assert!(stage.alike());
}

#[test]
fn of_a_set_only_the_port_in_use_is_quarantined_and_another_set_granted_in_one_command() {
    let mut stage = two();
    let job = stage.ask(0, set(1, 4, false, false, None));
    stage.settle();
    let before = stage.store.last();
    let (index, lease_id) = stage.probes.remove(0);
    let anchor = stage
        .engine(0)
        .state()
        .indexes
        .lease(lease_id)
        .unwrap()
        .clone();
    let lease = stage.engine(0).state().lease(&anchor).unwrap().1.clone();
    let second = key(Transport::Tcp, lease.ports[1].number());
    let in_use = vec![second.clone()];
    let probed = Probed::InUse;
    stage.input(
        index,
        [Input::Probed {
            lease_id,
            probed,
            in_use,
        }],
    );
    stage.arrive_acked().unwrap();
    assert_eq!(stage.store.last(), before.next());
    stage.probed(Probed::Bindable);
    stage.settle();
    let (_, _) = stage.lease(job).unwrap();
    // Four of the other five, though three of these were part of the first grant.
    assert_eq!(counts(&stage)[0], [1, 4, 1]);
    assert_eq!(
        state_of(&stage, second.port.number()),
        PortState::Quarantined
    );
    assert!(stage.alike());
    stage.pass(70_000);
    stage.settle();
    assert_eq!(counts(&stage)[0], [6, 0, 0]);
}

#[test]
fn a_rebind_keeps_the_lease_and_quarantines_the_port_that_it_gives_up() {
    for given_up in [20_002, 20_003, 20_004] {
        let mut stage = two();
        let first = answered(&mut stage, 0, set(1, 3, true, true, Some(20_002))).unwrap();
        let lease_id = first.lease.lease_id;
        let after = answered(&mut stage, 1, rebind(1, lease_id, given_up, Some(5))).unwrap();
        assert_eq!(after.lease.lease_id, lease_id);
        assert!(after.lease.fence > first.lease.fence);
        assert_eq!(ports(&after).len(), 3);
        assert!(!ports(&after).contains(&given_up));
        assert_eq!(state_of(&stage, given_up), PortState::Quarantined);
        assert_eq!(counts(&stage), [[2, 3, 1], [2, 3, 1]]);
        // Every port says where the lease is.
        let state = stage.engine(0).state();
        for key in after.lease.port_keys(&host()) {
            match &state.slot(&Key::Port(key.clone())).unwrap().record {
                Record::Lease(_) => assert_eq!(key, after.key),
                Record::Member(member) => assert_eq!(member.of.0, after.key),
                other => panic!("{other:?}"),
            }
        }
        assert!(stage.alike());
        // The same request again changes nothing, and the grant's request still finds the lease.
        let again = answered(&mut stage, 0, rebind(1, lease_id, given_up, Some(5))).unwrap();
        assert_eq!(ports(&again), ports(&after));
        let grant = answered(&mut stage, 0, set(1, 3, true, true, Some(20_002))).unwrap();
        assert_eq!(ports(&grant), ports(&after));
        let none = answered(&mut stage, 0, rebind(1, lease_id, given_up, None));
        assert_eq!(
            none,
            Err(Refusal::PortNotHeld(Port::new(given_up).unwrap()))
        );
        let other = answered(&mut stage, 0, rebind(2, lease_id, given_up, None));
        assert!(matches!(
            other,
            Err(Refusal::NotHolder { lease_id: of, port, .. }) if of == lease_id && port == after.key.port
        ));
        // Renewed and released by the same id; the port that was given up stays quarantined.
        answered(&mut stage, 1, renew(1, lease_id, None)).unwrap();
        stage.ask(0, release(1, lease_id));
        stage.settle();
        assert_eq!(counts(&stage), [[5, 0, 1], [5, 0, 1]]);
        assert!(stage.alike());
    }
}

#[test]
fn a_rebind_with_no_other_port_free_changes_nothing() {
    let mut stage = two();
    let all = answered(&mut stage, 0, set(1, 6, true, false, None)).unwrap();
    stage.confirm();
    let revision = stage.engine(0).state().revision();
    let none = answered(&mut stage, 0, rebind(1, all.lease.lease_id, 20_001, None));
    assert!(matches!(none, Err(Refusal::Exhausted { .. })));
    assert_eq!(stage.engine(0).state().revision(), revision);
    assert_eq!(counts(&stage)[0], [0, 6, 0]);
}

#[test]
fn a_rebind_that_is_lost_is_undone_whole() {
    let mut stage = two();
    let set = answered(&mut stage, 0, set(1, 2, true, false, Some(20_000))).unwrap();
    let before = records(stage.engine(0).state());
    let job: JobId = stage.ask(0, rebind(1, set.lease.lease_id, 20_000, None));
    assert_ne!(records(stage.engine(0).state()), before);
    stage.ask(1, renew(1, set.lease.lease_id, None));
    stage.sent.swap(0, 1);
    stage.settle();
    stage.pass(30);
    stage.settle();
    assert!(stage.lease(job).is_some());
    assert!(stage.alike());
    let now = stage.now(0);
    let loaded = load(&stage.store, None, Mechanisms::default(), now).unwrap();
    assert_eq!(records(loaded.state()), records(stage.engine(1).state()));
}

/// A set that belongs to the present life of node "a".
fn of_node(request: u128) -> Action {
    let Action::Lease(mut grant) = set(1, 2, true, true, None) else {
        panic!("a grant")
    };
    grant.request = Some(named(request));
    grant.owner = Some(OwnerRequest {
        node_id: node_id("a"),
        epoch: None,
        on_its_host: true,
    });
    Action::Lease(grant)
}

#[test]
fn a_set_of_a_node_ends_with_it_and_all_its_ports_cool_down_where_another_incarnation_follows() {
    let mut stage = two();
    stage.epoch(0, register("a", 1, None));
    let held = answered(&mut stage, 0, of_node(7)).unwrap();
    let owner = held.lease.owner.clone().unwrap();
    assert_eq!(owner.node_id, node_id("a"));
    assert_eq!(counts(&stage), [[4, 2, 0], [4, 2, 0]]);
    let state = stage.engine(1).state();
    assert_eq!(state.indexes.held(requester(1)), 1);
    // The registration of the next life ends it whole, in one command.
    let before = stage.store.last();
    stage.epoch(1, register("a", 1, Some(2)));
    assert_eq!(stage.store.last(), before.next());
    let key_state = |stage: &Stage, key: &PortKey| {
        let now = stage.now(1).mono;
        stage.engine(1).state().port_state(key, now)
    };
    for key in held.lease.port_keys(&host()) {
        assert_eq!(key_state(&stage, &key), PortState::Resting, "{key}");
    }
    stage.pass(8_000);
    stage.settle();
    stage.epoch(0, register("a", 1, None));
    stage.pass(1_000);
    stage.settle();
    assert_eq!(counts(&stage), [[6, 0, 0], [6, 0, 0]]);
    // A node that is deregistered has stopped using its ports before.
    let held = answered(&mut stage, 1, of_node(8)).unwrap();
    let epoch = stage.engine(0).state().live(&node_id("a")).unwrap().1.epoch;
    stage.done(0, deregister("a", 1, epoch)).result.unwrap();
    stage.pass(2_000);
    stage.settle();
    for key in held.lease.port_keys(&host()) {
        assert_eq!(key_state(&stage, &key), PortState::Free, "{key}");
    }
    assert_eq!(counts(&stage), [[6, 0, 0], [6, 0, 0]]);
    assert!(stage.alike());
}

#[test]
fn another_set_for_a_node_belongs_to_it_too() {
    let mut stage = two();
    stage.epoch(0, register("a", 1, None));
    let job = stage.ask(0, of_node(7));
    stage.settle();
    stage.probed(Probed::InUse);
    stage.settle();
    stage.probed(Probed::Bindable);
    stage.settle();
    let (lease_id, _) = stage.lease(job).unwrap();
    let state = stage.engine(1).state();
    let key = state.indexes.lease(lease_id).unwrap();
    let (_, lease) = state.lease(key).unwrap();
    assert_eq!(lease.ports.len(), 2);
    assert_eq!(lease.owner.as_ref().unwrap().node_id, node_id("a"));
    assert!(stage.alike());
}

/// A lease that lasts longer than a port is quarantined gives up its port, and its holder is not told: it may use the port
/// until its time is up. Whether it is free before that.
fn is_free_while_counted_on(mechanisms: Mechanisms) -> bool {
    let mut stage = Stage::new(2, mechanisms);
    let settings = Box::new(Settings {
        ttl_max: Ttl::MAX,
        ..settings()
    });
    let longer = Action::SetSettings {
        settings,
        read: None,
    };
    stage.done(0, longer).result.unwrap();
    let grant = answered(&mut stage, 0, wants(1, 120, Some(1), Some(20_002))).unwrap();
    answered(&mut stage, 1, rebind(1, grant.lease.lease_id, 20_002, None)).unwrap();
    stage.pass(100_000);
    stage.settle();
    let early = state_of(&stage, 20_002);
    stage.pass(25_000);
    stage.settle();
    assert_eq!(state_of(&stage, 20_002), PortState::Free);
    early == PortState::Free
}

#[test]
fn s22_a_port_that_a_rebind_gives_up_is_nobodys_while_its_holder_may_count_on_it() {
    needs(Mechanism::ReboundCooldown, |mechanisms| {
        !is_free_while_counted_on(mechanisms)
    });
}

#[test]
fn nodes_and_buses_move_with_a_lease_in_the_same_command() {
    let mut stage = two();
    let grant = answered(&mut stage, 0, set(1, 2, true, false, Some(20_002))).unwrap();
    let lease_id = grant.lease.lease_id;
    let listening = registers("a", 1, None, Vec::new(), None);
    stage.epoch(0, listens_on(listening, lease_id, 20_002));
    stage.epoch(1, register("b", 1, None));
    let Action::RegisterBus(mut request) = bus("x", 1, None, Some(lease_id), None) else {
        panic!("a bus")
    };
    let uri = |port: u16| serde_json::json!(format!("redis://h:{port}/0"));
    request.more.insert("endpoint_uri".to_owned(), uri(20_002));
    stage.done(0, Action::RegisterBus(request)).result.unwrap();
    let other = slot_revision(&stage, "b");
    let after = answered(&mut stage, 1, rebind(1, lease_id, 20_002, None)).unwrap();
    let new = ports(&after)[0];
    assert_ne!(new, 20_002);
    for index in [0, 1] {
        let state = stage.engine(index).state();
        let inbound = &state
            .live_node(&node_id("a"))
            .unwrap()
            .node
            .registration
            .inbound_ports;
        assert_eq!(inbound[0].port, new);
        let (slot, bus) = state.bus(&"x".parse().unwrap()).unwrap();
        assert_eq!(bus.more["endpoint_uri"], uri(new));
        assert_eq!(slot.revision, after.lease.fence);
    }
    assert_eq!(slot_revision(&stage, "a"), after.lease.fence);
    // What said nothing of that port is not written again, nor by a rebind of the other one.
    assert_eq!(slot_revision(&stage, "b"), other);
    answered(&mut stage, 0, rebind(1, lease_id, 20_003, None)).unwrap();
    assert_eq!(slot_revision(&stage, "a"), after.lease.fence);
    assert!(stage.alike());
}

/// The revision at which what that node announces changed last.
fn slot_revision(stage: &Stage, node: &str) -> u64 {
    let key = Key::Node(node_id(node));
    stage.engine(0).state().slot(&key).unwrap().revision
}
