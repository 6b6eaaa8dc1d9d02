//! Schedules of nodes, step by step: each holds as the engine is, and breaks without the mechanism that it names.

use onex_types::ids::NodeId;

use crate::{
    command::{Action, Answer, Refusal},
    engine::Input,
    entry::{Change, CommandRecord, EventKind},
    key::Key,
    mechanism::{Mechanism, Mechanisms},
    node::NodeEnd,
    node_command::Heartbeat,
    record_parts::Json,
};

use super::{
    node_stage::{
        add_tool, claim, deregister, heartbeat, register, register_again, remove_tool, tool,
    },
    stage::{Stage, needs},
    stage_calls::request,
};

#[test]
fn s02_a_lagging_instance_does_not_end_a_node_that_was_renewed() {
    let mut stage = Stage::new(2, Mechanisms::default());
    assert_eq!(stage.epoch(0, register("a", 1, None)), 1);
    stage.t += 6_000;
    stage.ask(0, heartbeat("a", 1, 1, None));
    stage.arrive_acked().unwrap();
    // Instance 1 has not seen the heartbeat when it finds the node due.
    stage.t += 4_000;
    stage.input(1, [Input::Tick]);
    stage.settle();
    assert!(stage.is_live(1, "a"));
    assert!(stage.alike());
}

#[test]
fn s05_a_retry_of_a_registration_is_the_same_incarnation() {
    needs(Mechanism::Idempotency, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        stage.epoch(0, register_again("a", 1, None, Vec::new(), Some(7)));
        stage.epoch(1, register_again("a", 1, None, Vec::new(), Some(7))) == 1
    });
}

#[test]
fn s06_a_late_copy_of_a_registration_does_not_begin_another_incarnation() {
    needs(Mechanism::EarlierIncarnations, |mechanisms| {
        let mut stage = Stage::new(1, mechanisms);
        stage.epoch(0, register_again("a", 1, None, Vec::new(), Some(7)));
        stage.epoch(0, register_again("a", 1, None, Vec::new(), Some(8)));
        let late = stage.done(0, register_again("a", 1, None, Vec::new(), Some(7)));
        matches!(late.result, Err(Refusal::Superseded { last: 2, .. }))
    });
}

#[test]
fn s08_a_node_that_slept_through_its_ttl_has_ended() {
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.epoch(0, register("a", 1, None));
    stage.pass(8_000);
    stage.settle();
    assert!(
        stage.is_live(0, "a"),
        "a registry counts longer than a node"
    );
    stage.pass(600);
    stage.settle();
    assert!(!stage.is_live(1, "a"));
    let late = stage.refused(1, heartbeat("a", 1, 1, None));
    assert!(matches!(late, Refusal::NodeNotFound(_)), "{late:?}");
    // It comes back as another life.
    assert_eq!(stage.epoch(1, register("a", 1, None)), 2);
    let kinds = stage.kinds();
    let nodes = [
        EventKind::NodeRegistered,
        EventKind::NodeExpired,
        EventKind::NodeRejoined,
    ];
    assert_eq!(kinds, nodes);
}

#[test]
fn s11_a_node_with_ten_tools_is_told_of_by_eleven_events_at_its_begin_and_at_its_end() {
    let mut stage = Stage::new(2, Mechanisms::default());
    let tools = (0..10).map(|n| tool(&format!("t{n}"), "c")).collect();
    let job = stage.ask(0, register_again("a", 1, None, tools, None));
    // Its instance is gone as soon as the entry has landed; another one ends the node.
    stage.arrive().unwrap();
    stage.instances[0].engine = None;
    assert!(stage.reply(job).is_none());
    stage.settle();
    stage.epoch(1, deregister("a", 1, 1));
    let kinds = stage.kinds();
    let count = |kind| kinds.iter().filter(|other| **other == kind).count();
    assert_eq!(kinds.len(), 22);
    assert_eq!(count(EventKind::ToolRegistered), 10);
    assert_eq!(count(EventKind::ToolRemoved), 10);
}

#[test]
fn s15_a_dot_in_a_node_id_does_not_make_two_tokens() {
    let mut keys = std::collections::BTreeSet::new();
    for node in ["a", "a.b", "a.tool.b", "a-b", "a_b", "a.b.c", "b", "c"] {
        let id: NodeId = node.parse().unwrap();
        for key in [
            Key::Node(id.clone()),
            Key::Live(id.clone()),
            Key::Trust(id.clone()),
        ] {
            let text = key.to_string();
            assert_eq!(text.split('.').count(), 2, "{text}");
            assert_eq!(text.parse(), Ok(key));
            assert!(keys.insert(text));
        }
    }
}

#[test]
fn s17_an_epoch_that_has_ended_is_not_registered_again() {
    needs(Mechanism::EndedEpoch, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        // Instance 1 has the request and stands still; the node asks instance 0, and ends there.
        let ghost = register("a", 1, Some(5));
        stage.epoch(0, register("a", 1, Some(5)));
        stage.epoch(0, deregister("a", 1, 5));
        let late = stage.done(1, ghost);
        matches!(late.result, Err(Refusal::Superseded { last: 5, .. }))
    });
}

#[test]
fn s23_a_nodes_heartbeat_does_not_shorten() {
    needs(Mechanism::OnlyLengthens, |mechanisms| {
        let mut stage = Stage::new(1, mechanisms);
        stage.epoch(0, register("a", 1, None));
        stage.done(0, heartbeat("a", 1, 1, Some(2)));
        stage.pass(6_000);
        stage.settle();
        stage.is_live(0, "a")
    });
}

#[test]
fn s42_queued_heartbeats_are_taken_before_nodes_that_are_due() {
    needs(Mechanism::RequestsBeforeTimers, |mechanisms| {
        let mut stage = Stage::new(1, mechanisms);
        stage.epoch(0, register("a", 1, None));
        stage.input(0, [Input::Disconnected]);
        stage.t += 20_000;
        stage.ask(0, heartbeat("a", 1, 1, None));
        stage.follow(0);
        stage.settle();
        stage.pass(10);
        stage.settle();
        stage.is_live(0, "a")
    });
}

#[test]
fn a_heartbeat_is_the_bare_key_in_the_log() {
    let mut stage = Stage::new(1, Mechanisms::default());
    stage.epoch(0, register("a", 1, None));
    let revision = stage.done(0, heartbeat("a", 1, 1, None)).revision;
    let last = stage.store.get(stage.store.last()).unwrap();
    let entry = last.entry.as_ref().unwrap();
    let key = CommandRecord::Renewal("live.a".parse().unwrap());
    assert!(entry.cmds.contains(&key), "{entry:?}");
    assert_eq!(entry.last_revision(), revision);
    assert!(last.bytes.len() < 100);
}

#[test]
fn a_node_is_registered_by_the_rules_of_epochs() {
    let mut stage = Stage::new(1, Mechanisms::default());
    assert_eq!(stage.epoch(0, register("a", 1, None)), 1);
    // Somebody else's: not while it is live, unless a higher epoch is named.
    let taken = stage.refused(0, register("a", 2, None));
    assert!(matches!(taken, Refusal::NodeTaken { epoch: 1, .. }));
    let taken = stage.refused(0, register("a", 2, Some(1)));
    assert!(matches!(taken, Refusal::NodeTaken { epoch: 1, .. }));
    // The same again, with its epoch: the same life. Without: the next.
    let first = stage.done(0, register("a", 1, Some(1)));
    let Ok(Answer::Node(first)) = first.result else {
        panic!("not registered")
    };
    assert_eq!(stage.epoch(0, register("a", 1, None)), 2);
    let live = stage.engine(0).state().live(&first.node_id).unwrap().1;
    assert_ne!(live.incarnation, first.live.incarnation);
    // Old epochs are fenced off.
    let late = stage.refused(0, heartbeat("a", 1, 1, None));
    assert!(matches!(late, Refusal::Superseded { last: 2, .. }));
    let late = stage.refused(0, register("a", 1, Some(1)));
    assert!(matches!(late, Refusal::Superseded { last: 2, .. }));
    let none = stage.refused(0, heartbeat("a", 1, 3, None));
    assert!(matches!(
        none,
        Refusal::EpochNotFound {
            named: 3,
            last: 2,
            ..
        }
    ));
    let other = stage.refused(0, heartbeat("a", 2, 2, None));
    assert!(matches!(other, Refusal::NotNodeHolder(_)));
    assert_eq!(stage.epoch(0, register("a", 2, Some(9))), 9);
    let high = stage.refused(0, register("a", 2, Some((1 << 52) + 1)));
    assert_eq!(high, Refusal::EpochTooHigh);
    // Once it has ended it is anybody's, and the answer to its end is the same again.
    for _ in 0..2 {
        let ended = stage.done(0, deregister("a", 2, 9)).result;
        let Ok(Answer::Node(ended)) = ended else {
            panic!("{ended:?}")
        };
        assert_eq!(
            ended.live.ended.as_ref().unwrap().how,
            NodeEnd::Deregistered
        );
    }
    assert_eq!(stage.epoch(0, register("a", 1, None)), 10);
    assert!(stage.alike());
}

#[test]
fn a_request_id_with_other_parameters_is_refused_for_nodes_and_tools() {
    let mut stage = Stage::new(1, Mechanisms::default());
    stage.epoch(0, register_again("a", 1, None, Vec::new(), Some(7)));
    let other = Action::Register(Box::new({
        let mut request = super::node_stage::registers("a", 1, None, Vec::new(), Some(7));
        request.request.as_mut().unwrap().digest.0 = uuid::Uuid::from_u128(8);
        request
    }));
    assert_eq!(
        stage.refused(0, other),
        Refusal::IdempotencyMismatch(request(7))
    );
    let of = claim("a", 1, 1);
    let job = stage.ask(0, add_tool(of.clone(), tool("t", "c"), Some(9)));
    stage.settled(job).result.unwrap();
    stage
        .done(0, remove_tool(of.clone(), "t", Some(10)))
        .result
        .unwrap();
    // A late copy of a request does nothing, and is answered as it was.
    let late = stage.done(0, add_tool(of.clone(), tool("t", "c"), Some(9)));
    assert!(late.result.is_ok());
    assert!(!stage.offers(0, "a", "t"));
    let none = stage.refused(0, remove_tool(of, "t", None));
    assert!(matches!(none, Refusal::ToolNotFound(..)));
}

#[test]
fn tools_of_a_live_node_are_found_and_those_of_an_ended_one_are_not() {
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.epoch(0, register_again("a", 1, None, vec![tool("t", "c")], None));
    stage.epoch(1, register_again("b", 2, None, vec![tool("t", "d")], None));
    let state = stage.engine(0).state();
    let offer = state.indexes.nodes.offer(&"t".parse().unwrap()).unwrap();
    assert_eq!((offer.providers_count(), offer.collides()), (2, true));
    stage.epoch(0, deregister("a", 1, 1));
    assert!(!stage.offers(1, "a", "t") && stage.offers(1, "b", "t"));
    // The later of the two was told to collide with the earlier one.
    let kinds = stage.kinds();
    let collisions = kinds
        .iter()
        .filter(|kind| **kind == EventKind::ToolCollision);
    assert_eq!(collisions.count(), 1);
    assert!(stage.alike());
}

#[test]
fn ended_nodes_count_until_they_are_forgotten() {
    let mut stage = Stage::new(1, Mechanisms::default());
    for n in 0..6 {
        stage.epoch(0, register(&format!("n{n}"), 1, None));
    }
    stage.epoch(0, deregister("n0", 1, 1));
    let full = stage.refused(0, register("m", 1, None));
    assert!(matches!(full, Refusal::LimitExceeded { limit: 6, .. }));
    // One that is known may come back.
    assert_eq!(stage.epoch(0, register("n0", 1, None)), 2);
    stage.epoch(0, deregister("n0", 1, 2));
    stage.pass(12_600);
    stage.settle();
    assert!(
        stage
            .engine(0)
            .state()
            .live(&"n0".parse().unwrap())
            .is_none()
    );
    assert_eq!(stage.epoch(0, register("m", 1, None)), 1);
    assert!(stage.alike());
}

#[test]
fn tools_and_registrations_are_bounded() {
    let mut stage = Stage::new(1, Mechanisms::default());
    let many = (0..99).map(|n| tool(&format!("t{n}"), "c")).collect();
    let large = stage.refused(0, register_again("a", 1, None, many, None));
    assert_eq!(large, Refusal::NodeTooLarge("a".parse().unwrap(), 10_000));
    let most = (0..98).map(|n| tool(&format!("t{n}"), "c")).collect();
    stage.epoch(0, register_again("a", 1, None, most, None));
    let large = stage.refused(0, add_tool(claim("a", 1, 1), tool("more", "c"), None));
    assert_eq!(large, Refusal::NodeTooLarge("a".parse().unwrap(), 10_000));
    let mut short = tool("t0", "c");
    short.patterns = 1_000;
    let many = stage.refused(0, add_tool(claim("a", 1, 1), short, None));
    assert!(matches!(many, Refusal::LimitExceeded { limit: 256, .. }));
}

impl Stage {
    /// The numbers of a key's events, in order.
    pub(super) fn numbers(&self, key: &Key) -> Vec<u64> {
        let mut numbers = Vec::new();
        for sequence in self.store.first().0..=self.store.last().0 {
            let message = self.store.get(onex_types::entry::Sequence(sequence));
            let entry = message.and_then(|message| message.entry.as_ref());
            let commands = entry.into_iter().flat_map(|entry| &entry.cmds);
            for change in commands.flat_map(CommandRecord::changes) {
                if let Change::Put {
                    key: of,
                    event: Some(event),
                    ..
                } = change
                    && of == key
                {
                    numbers.push(event.n);
                }
            }
        }
        numbers
    }

    /// The kinds of all events of nodes, tools, buses and trust, and of ports that were revoked, in order.
    pub(super) fn kinds(&self) -> Vec<EventKind> {
        let mut kinds = Vec::new();
        for sequence in self.store.first().0..=self.store.last().0 {
            let message = self.store.get(onex_types::entry::Sequence(sequence));
            let entry = message.and_then(|message| message.entry.as_ref());
            let commands = entry.into_iter().flat_map(|entry| &entry.cmds);
            for change in commands.flat_map(CommandRecord::changes) {
                let events = change.event().into_iter();
                kinds.extend(events.flat_map(|event| event.events().map(|(kind, _)| kind)));
            }
        }
        kinds
    }
}

/// A value may be nested more deeply than a reader follows. Whoever takes requests bounds that; here nobody does.
#[test]
fn what_nobody_could_read_again_is_refused_and_stops_nothing() {
    needs(Mechanism::ReadBack, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        stage.epoch(0, register("a", 1, None));
        let deep = (0..200).fold(Json::Null, |inner, _| Json::Array(vec![inner]));
        let unreadable = Action::Heartbeat(Box::new(Heartbeat {
            of: claim("a", 1, 1),
            ttl: None,
            health: Some(deep),
        }));
        let job = stage.ask(0, unreadable);
        stage.settle();
        if !matches!(stage.refusal(job), Some(Refusal::Unreadable)) {
            return false;
        }
        stage.ask(0, heartbeat("a", 1, 1, None));
        stage.settle();
        stage.is_live(1, "a") && stage.alike()
    });
}
