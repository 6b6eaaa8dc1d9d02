//! Schedules of what belongs to nodes and leases: ports and buses.

use onex_types::{
    entry::Sequence,
    ids::{LeaseId, Port, Transport, Ttl},
    ports::PortRange,
};

use crate::{
    command::{Action, Answer, Refusal},
    engine::{ENTRY_COMMANDS_MAX, Input},
    entry::EventKind,
    key::Key,
    lease::LeaseEnd,
    mechanism::{Mechanism, Mechanisms},
    state::State,
};

use super::{
    instance::host,
    node_stage::{
        bus, deregister, heartbeat, listens_on, node_id, register, registers, remove_bus, wants_for,
    },
    schedules_settings::pool,
    stage::{Stage, needs, release, renew, requester, wants},
};

fn bus_ended(stage: &Stage, index: usize, id: &str) -> Option<LeaseEnd> {
    let state = stage.engine(index).state();
    let (_, bus) = state.bus(&id.parse().unwrap()).unwrap();
    state.bus_over(bus)
}

#[test]
fn s12_a_port_for_a_node_that_has_just_ended_is_refused() {
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.epoch(0, register("a", 1, None));
    // Instance 1 has not seen the end when it grants the port.
    stage.ask(0, deregister("a", 1, 1));
    stage.arrive_acked().unwrap();
    let job = stage.ask(1, wants_for("a", 1, Some(1), None));
    assert_eq!(stage.arrive_acked(), None, "its grant must lose");
    let outcome = stage.settled(job);
    assert!(matches!(outcome.result, Err(Refusal::NodeNotFound(_))));
    assert_eq!(stage.engine(1).state().indexes.held(requester(1)), 0);
}

#[test]
fn what_belongs_to_a_node_reads_as_ended_as_soon_as_that_has_ended() {
    needs(Mechanism::EndsWithOwner, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        stage.epoch(0, register("a", 1, None));
        let (lease_id, key) = stage.granted(0, wants_for("a", 1, Some(1), None));
        stage
            .done(0, bus("x", 1, Some("a"), None, None))
            .result
            .unwrap();
        // The node's end is in the log; the entries that end what belonged to it are not.
        stage.ask(0, deregister("a", 1, 1));
        stage.arrive_acked().unwrap();
        stage.sent.clear();
        stage.instances[0].engine = None;
        stage.deliver(1);
        let state = stage.engine(1).state();
        let there = state.lease(&key).is_some() && state.bus(&"x".parse().unwrap()).is_some();
        assert!(there, "no entry has ended them");
        let ended = state.live_lease(&key).is_none() && state.leases_held(requester(1)) == 0;
        let bus = bus_ended(&stage, 1, "x") == Some(LeaseEnd::Released);
        let find = stage.ask(1, Action::Find(lease_id));
        let heartbeat = stage.ask(1, renew(1, lease_id, None));
        let again = stage.ask(1, wants_for("a", 1, Some(1), None));
        stage.settle();
        let find = stage.reply(find).unwrap().result.clone();
        let find = matches!(
            find,
            Ok(Answer::Ended {
                how: LeaseEnd::Released,
                ..
            })
        );
        let heartbeat = matches!(stage.refusal(heartbeat), Some(Refusal::LeaseExpired(..)));
        let again = matches!(stage.refusal(again), Some(Refusal::LeaseExpired(..)));
        ended && bus && find && heartbeat && again
    });
}

#[test]
fn a_lease_of_a_node_lasts_as_long_as_that() {
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.epoch(0, register("a", 1, None));
    let (lease_id, key) = stage.granted(0, wants_for("a", 1, None, None));
    for _ in 0..4 {
        stage.pass(6_000);
        stage.done(1, heartbeat("a", 1, 1, None)).result.unwrap();
    }
    // Its own heartbeat writes nothing, and says what is left of the node's time.
    stage.pass(2_000);
    stage.settle();
    let before = stage.engine(1).state().revision();
    let held = stage.done(1, renew(1, lease_id, None));
    assert_eq!(held.revision, before);
    let Ok(Answer::Lease(held)) = held.result else {
        panic!("{held:?}")
    };
    let ttl = Ttl::try_from(8).unwrap();
    assert_eq!((held.ttl, held.lease.ttl), (ttl, ttl));
    let left = held.ttl.millis() - stage.now(1).mono.since(held.since);
    assert!((5_000..=6_500).contains(&left), "{left}");
    // It ends with the node, and how the node ended.
    stage.pass(9_000);
    stage.settle();
    let state = stage.engine(0).state();
    let cooldown = state.slot(&key.into()).unwrap().record.cooldown().unwrap();
    assert_eq!((cooldown.how, cooldown.cooldown_ms), (LeaseEnd::Expired, 0));
    assert!(stage.alike());
}

#[test]
fn s22_ports_of_a_superseded_incarnation_cool_down_for_its_ttl() {
    needs(Mechanism::SupersededCooldown, |mechanisms| {
        let mut stage = Stage::new(1, mechanisms);
        stage.epoch(0, register("a", 1, None));
        let (_, key) = stage.granted(0, wants_for("a", 1, None, Some(20_000)));
        // Another process registers the node; the first one knows nothing of it, and counts eight seconds on.
        assert_eq!(stage.epoch(0, register("a", 1, None)), 2);
        stage.pass(10);
        stage.settle();
        let port = key.port.number();
        let refused = stage.done(0, wants(2, 8, None, Some(port))).result.is_err();
        stage.pass(8_000);
        stage.settle();
        let early = stage.done(0, wants(2, 8, None, Some(port))).result.is_err();
        stage.pass(600);
        stage.settle();
        let after = stage.done(0, wants(2, 8, None, Some(port))).result.is_ok();
        assert!(stage.kinds().contains(&EventKind::PortRevoked));
        refused && early && after
    });
}

#[test]
fn leases_of_several_past_incarnations_end_as_each_of_these_ended() {
    let mut stage = Stage::new(2, Mechanisms::default());
    let mut leases: Vec<(LeaseId, LeaseEnd)> = Vec::new();
    // Nothing ends what belongs to lives meanwhile: instance 0 is gone before it does, each time.
    for (epoch, how) in [(1, LeaseEnd::Superseded), (2, LeaseEnd::Released)] {
        stage.epoch(0, register("a", 1, None));
        let (lease_id, _) = stage.granted(0, wants_for("a", 1, None, None));
        leases.push((lease_id, how));
        if how == LeaseEnd::Released {
            // The deregistration and the next registration are in one entry.
            stage.input(0, [Input::Disconnected]);
            stage.ask(0, deregister("a", 1, epoch));
            let third = stage.ask(0, register("a", 1, None));
            stage.follow(0);
            stage.settle();
            assert!(stage.reply(third).unwrap().result.is_ok());
        }
    }
    for (lease_id, how) in leases {
        let found = stage.done(1, Action::Find(lease_id)).result;
        let Ok(Answer::Ended { how: ended, .. }) = found else {
            panic!("{found:?}")
        };
        assert_eq!(ended, how);
    }
    let live = stage.engine(1).state().live(&node_id("a")).unwrap().1;
    assert_eq!(live.epoch, 3);
    assert!(live.past.is_empty(), "{live:?}");
}

#[test]
fn a_node_that_starts_again_finds_its_port_free() {
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.epoch(0, register("a", 1, None));
    let (_, key) = stage.granted(0, wants_for("a", 1, None, Some(20_003)));
    // All of it is decided before any entry has ended what belonged to the node.
    stage.input(0, [Input::Disconnected]);
    stage.ask(0, deregister("a", 1, 1));
    stage.ask(0, register("a", 1, None));
    let job = stage.ask(0, wants_for("a", 1, None, Some(20_003)));
    stage.follow(0);
    let held = stage.settled(job).result;
    assert!(matches!(held, Ok(Answer::Lease(held)) if held.key == key));
    assert!(stage.alike());
}

#[test]
fn what_belongs_to_a_superseded_incarnation_with_many_leases_ends_behind_the_next_registration() {
    const LEASES: u16 = 100;
    let mut settings = Stage::new(1, Mechanisms::default()).instances[0]
        .settings
        .clone();
    let port = |number| Port::new(number).unwrap();
    settings.holder_leases_max = 1_000;
    settings.ports_default = vec![PortRange {
        first: port(20_000),
        last: port(20_000 + LEASES),
    }];
    let mut stage = Stage::with_settings(&settings);
    stage.epoch(0, register("a", 1, None));
    let jobs: Vec<_> = (0..LEASES)
        .map(|_| stage.ask(0, wants_for("a", 1, None, None)))
        .collect();
    stage.settle();
    let leases: Vec<LeaseId> = jobs.iter().map(|job| stage.lease_of(*job)).collect();
    stage.ask(0, register("a", 1, None));
    stage.arrive().unwrap();
    // The registration has landed, and nothing behind it.
    let state = loaded(&stage);
    let (_, live) = state.live(&node_id("a")).unwrap();
    let past: Vec<LeaseEnd> = live.past.iter().map(|past| past.how).collect();
    assert_eq!(past, [LeaseEnd::Superseded]);
    let left = state.left_over().count();
    assert!((1..usize::from(LEASES)).contains(&left), "{left}");
    assert_eq!(state.leases_held(requester(1)), 0);
    stage.settle();
    stage.pass(10);
    stage.settle();
    for lease_id in leases {
        let found = stage.done(0, Action::Find(lease_id)).result;
        let superseded = matches!(
            found,
            Ok(Answer::Ended {
                how: LeaseEnd::Superseded,
                ..
            })
        );
        assert!(superseded, "{found:?}");
    }
    let state = stage.engine(0).state();
    assert_eq!(state.left_over().count(), 0);
    let counts = state.pool(&host(), Transport::Tcp).unwrap().counts();
    assert_eq!(counts.resting, usize::from(LEASES));
    assert!(stage.alike());
}

/// The state of an instance that starts now.
fn loaded(stage: &Stage) -> State {
    let mut state = State::default();
    for sequence in 1..=stage.store.last().0 {
        let message = stage.store.get(Sequence(sequence)).unwrap();
        let entry = message.entry.as_ref().unwrap();
        state.apply_entry(entry, stage.now(0)).unwrap();
    }
    state
}

#[test]
fn the_end_of_a_node_is_one_change_and_its_leases_end_in_pieces() {
    const LEASES: u16 = 1_300;
    let mut stage = Stage::new(1, Mechanisms::default());
    let port = |number| Port::new(number).unwrap();
    let mut settings = stage.instances[0].settings.clone();
    settings.holder_leases_max = 10_000;
    settings.ports_default = vec![PortRange {
        first: port(20_000),
        last: port(20_000 + LEASES),
    }];
    stage = Stage::with_settings(&settings);
    stage.epoch(0, register("a", 1, None));
    stage.input(0, [Input::Disconnected]);
    for _ in 0..LEASES {
        stage.ask(0, wants_for("a", 1, None, None));
    }
    stage.follow(0);
    stage.settle();
    let engine = stage.engine(0);
    assert_eq!(
        engine.state().indexes.held(requester(1)),
        usize::from(LEASES)
    );
    let before = stage.store.last();
    stage.ask(0, deregister("a", 1, 1));
    stage.settle();
    stage.pass(5);
    stage.settle();
    let entries = (before.0 + 1..=stage.store.last().0).map(Sequence);
    let commands: Vec<usize> = entries
        .filter_map(|at| Some(stage.store.get(at)?.entry.as_ref()?.cmds.len()))
        .collect();
    assert!(commands.iter().all(|count| *count <= ENTRY_COMMANDS_MAX));
    assert!(commands.len() >= 3, "{commands:?}");
    assert_eq!(stage.engine(0).state().indexes.held(requester(1)), 0);
    assert!(stage.engine(0).state().left_over().next().is_none());
    assert!(stage.alike());
}

#[test]
fn an_inbound_port_is_leased_to_who_registers_the_node() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let (lease_id, key) = stage.granted(0, wants(1, 8, None, Some(20_001)));
    let number = key.port.number();
    let request = |n| registers("a", n, None, Vec::new(), None);
    let why = |refusal| match refusal {
        Refusal::Inbound { index: 0, why } => *why,
        other => panic!("{other:?}"),
    };
    let other = stage.refused(0, listens_on(request(2), lease_id, number));
    assert!(matches!(
        why(other),
        Refusal::NotHolder { lease_id: of, port, .. } if of == lease_id && port == key.port
    ));
    let other = stage.refused(0, listens_on(request(1), lease_id, number + 1));
    assert_eq!(why(other), Refusal::OtherPort(lease_id, key.port));
    assert_eq!(stage.epoch(0, listens_on(request(1), lease_id, number)), 1);
    // A lease that ends with the life before the one that begins is none to listen on.
    let (lease_id, key) = stage.granted(0, wants_for("a", 1, None, None));
    let number = key.port.number();
    let of_last = stage.refused(0, listens_on(request(1), lease_id, number));
    assert_eq!(why(of_last), Refusal::LeaseOfLastIncarnation(1));
    let same = registers("a", 1, Some(1), Vec::new(), None);
    assert_eq!(stage.epoch(0, listens_on(same, lease_id, number)), 1);
    stage.done(0, release(1, lease_id)).result.unwrap();
    let same = registers("a", 1, Some(1), Vec::new(), None);
    let ended = stage.refused(0, listens_on(same, lease_id, number));
    assert_eq!(why(ended), Refusal::LeaseExpired(lease_id, key.port));
}

#[test]
fn a_bus_ends_with_its_lease_and_is_announced_again_with_both_events() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let (lease_id, _) = stage.granted(0, wants(1, 8, None, None));
    let announce = |lease| bus("x", 1, None, lease, None);
    stage.done(0, announce(Some(lease_id))).result.unwrap();
    assert_eq!(bus_ended(&stage, 0, "x"), None);
    // The lease ends and the bus is announced again in one entry: its end is told first.
    stage.input(0, [Input::Disconnected]);
    stage.ask(0, release(1, lease_id));
    stage.ask(0, announce(None));
    stage.follow(0);
    stage.settle();
    assert_eq!(bus_ended(&stage, 0, "x"), None);
    let kinds = [
        EventKind::BusRegistered,
        EventKind::PortReleased,
        EventKind::BusRemoved,
        EventKind::BusRegistered,
    ];
    let all = stage.kinds();
    let buses: Vec<EventKind> = all
        .into_iter()
        .filter(|kind| *kind != EventKind::PortLeased)
        .collect();
    assert_eq!(buses, kinds);
    assert_eq!(stage.numbers(&Key::Bus("x".parse().unwrap())), [1, 2, 3]);
    // And one that nobody announces again ends by itself.
    let (lease_id, _) = stage.granted(0, wants(1, 8, None, None));
    stage.done(0, announce(Some(lease_id))).result.unwrap();
    stage.done(0, release(1, lease_id)).result.unwrap();
    stage.pass(10);
    stage.settle();
    let state = stage.engine(0).state();
    let (_, ended) = state.bus(&"x".parse().unwrap()).unwrap();
    assert_eq!(ended.ended.unwrap().how, LeaseEnd::Released);
    assert!(stage.alike());
}

#[test]
fn buses_belong_to_who_announced_them() {
    let mut stage = Stage::new(1, Mechanisms::default());
    stage
        .done(0, bus("x", 1, None, None, Some(1)))
        .result
        .unwrap();
    let other = stage.refused(0, bus("x", 2, None, None, None));
    assert!(matches!(other, Refusal::NotBusHolder(_)));
    let other = stage.refused(0, remove_bus("x", 2, None));
    assert!(matches!(other, Refusal::NotBusHolder(_)));
    for _ in 0..2 {
        stage.done(0, remove_bus("x", 1, Some(2))).result.unwrap();
    }
    // A late copy of the announcement does nothing.
    stage
        .done(0, bus("x", 1, None, None, Some(1)))
        .result
        .unwrap();
    assert_eq!(bus_ended(&stage, 0, "x"), Some(LeaseEnd::Released));
    let other = stage.refused(0, remove_bus("x", 2, None));
    assert!(matches!(other, Refusal::BusNotFound(_)));
    let node = stage.refused(0, bus("y", 1, Some("a"), None, None));
    assert!(matches!(node, Refusal::NodeNotFound(_)));
    for id in ["b1", "b2", "b3"] {
        stage.done(0, bus(id, 1, None, None, None)).result.unwrap();
    }
    let full = stage.refused(0, bus("b4", 1, None, None, None));
    assert!(matches!(full, Refusal::LimitExceeded { limit: 4, .. }));
    stage.pass(12_600);
    stage.settle();
    assert!(stage.engine(0).state().bus(&"x".parse().unwrap()).is_none());
    stage
        .done(0, bus("b4", 1, None, None, None))
        .result
        .unwrap();
}

#[test]
fn a_port_for_a_node_is_granted_where_the_node_runs() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let there: onex_types::ids::Host = "there".parse().unwrap();
    stage.done(0, pool(&there, 30_000, 30_001)).result.unwrap();
    let mut request = registers("a", 1, None, Vec::new(), None);
    request.registration.host = Some(there.clone());
    stage.epoch(0, Action::Register(Box::new(request)));
    let (_, key) = stage.granted(0, wants_for("a", 1, None, None));
    assert_eq!(key.host, there);
    let Action::Lease(mut here) = wants_for("a", 1, None, None) else {
        unreachable!()
    };
    here.owner.as_mut().unwrap().on_its_host = false;
    let (_, key) = stage.granted(0, Action::Lease(here));
    assert_eq!(key.host, host());
}

#[test]
fn what_is_past_its_time_reads_as_ended_before_an_entry_says_so() {
    let mut stage = Stage::new(1, Mechanisms::default());
    stage.epoch(0, register("a", 1, None));
    let (_, key) = stage.granted(0, wants_for("a", 1, None, None));
    let (lease_id, other) = stage.granted(0, wants(1, 4, None, None));
    stage
        .done(0, bus("x", 1, Some("a"), None, None))
        .result
        .unwrap();
    stage
        .done(0, bus("y", 1, None, Some(lease_id), None))
        .result
        .unwrap();
    let keys: [Key; 5] = [
        Key::Live(node_id("a")),
        key.into(),
        Key::Bus("x".parse().unwrap()),
        other.into(),
        Key::Bus("y".parse().unwrap()),
    ];
    // Its store is away: nothing can be ended.
    stage.input(0, [Input::Disconnected]);
    for (millis, live) in [(4_000, 5), (600, 3), (3_000, 3), (1_000, 0)] {
        stage.t += millis;
        let (state, now) = (stage.engine(0).state(), stage.now(0).mono);
        let reads: Vec<bool> = keys.iter().map(|key| state.reads_live(key, now)).collect();
        let expected: Vec<bool> = (0..5).map(|index| index < live).collect();
        assert_eq!(reads, expected);
    }
}
