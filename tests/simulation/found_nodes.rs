//! What runs with nodes have found, each as the few steps that lead there.

use uuid::Uuid;

use crate::domain::{
    command::{Action, Announce, Answer, BusWish, Claim, Judgement, Known, Refusal},
    deed::{Fed, Step},
    ids::{Digest, NodeId, RequestId, RequesterId, Ttl},
    key::{Key, Revision},
    node::{Announced, NodeType, Registration, Tool},
    record::{Record, Request, Stored, Unknown},
    trust::Outcome,
    write::Write,
};

use super::found::{Bench, requester};

const NODE: &str = "a";

pub(super) fn node_id() -> NodeId {
    NODE.parse().unwrap()
}

#[allow(clippy::unnecessary_wraps, reason = "as commands take it")]
fn named(id: u128) -> Option<Request> {
    Some(Request {
        id: RequestId(Uuid::from_u128(id)),
        digest: Digest(Uuid::from_u128(id)),
    })
}

pub(super) fn tool(name: &str) -> Tool {
    Tool {
        name: name.parse().unwrap(),
        version: semver::Version::new(1, 0, 0),
        contract_hash: String::new(),
        bytes: 10,
        patterns: 0,
        subject: name.to_owned(),
        tags: Vec::new(),
        more: Unknown::new(),
    }
}

pub(super) fn announce(request: Option<Request>) -> Action {
    announce_as(NODE, request)
}

pub(super) fn announce_as(id: &str, request: Option<Request>) -> Action {
    Action::Announce(Box::new(Announce {
        node_id: id.parse().unwrap(),
        requester_id: requester(),
        epoch: None,
        chosen: None,
        ttl: Ttl::try_from(60).unwrap(),
        registration: Registration {
            version: semver::Version::new(1, 0, 0),
            node_type: NodeType::Validator,
            tags: Vec::new(),
            host: None,
            contract_hash: String::new(),
            base_hash: String::new(),
            bytes: 100,
            inbound_ports: Vec::new(),
            tools: vec![tool("add")],
            more: Unknown::new(),
        },
        request,
    }))
}

pub(super) fn claim(epoch: u64) -> Claim {
    Claim {
        node_id: node_id(),
        requester_id: requester(),
        epoch,
    }
}

pub(super) fn bus(requester_id: RequesterId, request: Option<Request>) -> Action {
    Action::AnnounceBus(Box::new(BusWish {
        bus_id: "x".parse().unwrap(),
        requester_id,
        protocol: "jetstream".parse().unwrap(),
        node_id: None,
        lease_id: None,
        more: Unknown::new(),
        request,
    }))
}

fn remove_bus(requester_id: RequesterId, request: Option<Request>) -> Action {
    Action::RemoveBus {
        requester_id,
        bus_id: "x".parse().unwrap(),
        request,
    }
}

pub(super) fn known(outcome: Result<Answer, Refusal>) -> Known {
    match outcome {
        Ok(Answer::Node(known)) => *known,
        other => panic!("{other:?}"),
    }
}

impl Bench {
    /// One command from its beginning to its end; every write lands and is seen at once.
    #[track_caller]
    pub(super) fn done(&mut self, instance: usize, action: Action) -> Result<Answer, Refusal> {
        let mut deed = self.deed(action);
        let mut fed = Fed::Go;
        loop {
            fed = match self.step(instance, &mut deed, fed) {
                Step::Done(outcome) => return outcome,
                Step::Write(writes) => self
                    .store
                    .write(&writes, true)
                    .map_or(Fed::Lost, Fed::Written),
                _ => {
                    self.follow(instance);
                    Fed::Go
                }
            };
        }
    }

    /// The command's writes, the first time that it wants any.
    #[track_caller]
    pub(super) fn writes(&mut self, instance: usize, action: Action) -> Vec<Write> {
        let mut deed = self.deed(action);
        match self.step(instance, &mut deed, Fed::Go) {
            Step::Write(writes) => writes.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// What is due is done by the reaper of that instance.
    fn reap(&mut self, instance: usize) {
        let now = self.now();
        for key in self.cores[instance].reap(now, 16) {
            // What came of it shows in the stream.
            let _ = self.done(instance, Action::Settle(key));
        }
        self.follow(instance);
    }
}

#[test]
fn a_request_that_began_an_earlier_life_begins_no_other() {
    let mut bench = Bench::new(1);
    let first = known(bench.done(0, announce(named(1))));
    bench.follow(0);
    let second = known(bench.done(0, announce(named(2))));
    bench.follow(0);
    assert_eq!((first.live.epoch, second.live.epoch), (1, 2));
    let again = bench.done(0, announce(named(1)));
    assert!(matches!(again, Err(Refusal::Superseded { last: 2, .. })));
    let again = known(bench.done(0, announce(named(2))));
    assert_eq!(again.live.incarnation, second.live.incarnation);
}

#[test]
fn of_two_that_begin_at_once_one_begins_the_next_life() {
    let mut bench = Bench::new(2);
    let mut other = bench.deed(announce(None));
    let step = bench.step(1, &mut other, Fed::Go);
    assert!(matches!(step, Step::Write(_)), "{step:?}");
    let first = known(bench.done(0, announce(None)));
    assert_eq!(first.live.epoch, 1);
    let step = bench.step(1, &mut other, Fed::Lost);
    assert!(matches!(step, Step::Moved(_)), "{step:?}");
    bench.follow(1);
    let mut step = bench.step(1, &mut other, Fed::Go);
    while let Step::Pause(_) = step {
        step = bench.step(1, &mut other, Fed::Go);
    }
    let Step::Write(writes) = step else {
        panic!("{step:?}")
    };
    let Stored::Live(record) = &writes[1].value else {
        panic!("{writes:?}")
    };
    assert_eq!(record.body.live.epoch, 2);
}

#[test]
fn a_tool_is_not_added_to_a_life_that_has_ended() {
    let mut bench = Bench::new(2);
    known(bench.done(0, announce(None)));
    (0..2).for_each(|instance| bench.follow(instance));
    let add = Action::AddTool {
        of: claim(1),
        tool: Box::new(tool("mul")),
        request: None,
    };
    // The other instance has not seen the end.
    known(bench.done(0, Action::Leave(claim(1))));
    let writes = bench.writes(1, add);
    assert!(bench.store.write(&writes, true).is_none());
}

#[test]
fn whoever_ends_a_life_knows_its_tools() {
    let mut bench = Bench::new(2);
    known(bench.done(0, announce(None)));
    (0..2).for_each(|instance| bench.follow(instance));
    let add = Action::AddTool {
        of: claim(1),
        tool: Box::new(tool("mul")),
        request: None,
    };
    let leave = bench.writes(1, Action::Leave(claim(1)));
    bench.done(0, add).unwrap();
    // It does not know of the second tool.
    assert!(bench.store.write(&leave, true).is_none());
}

#[test]
fn what_was_announced_is_not_forgotten_before_its_life_is_seen() {
    let mut bench = Bench::new(2);
    let writes = bench.writes(0, announce(None));
    let last = bench.store.write(&writes, true).unwrap();
    let now = bench.now();
    let first = Revision(last.0 - 1);
    let said = writes[0].clone();
    bench.cores[1].apply(&said.key, first, said.value, 1, now);
    bench.time += 1_000_000;
    let now = bench.now();
    assert_eq!(bench.cores[1].reap(now, 16), []);
}

#[test]
fn a_bus_ends_before_the_node_that_it_hangs_on_is_forgotten() {
    let mut bench = Bench::new(1);
    known(bench.done(0, announce(None)));
    bench.follow(0);
    let Action::AnnounceBus(mut wish) = bus(requester(), None) else {
        unreachable!()
    };
    wish.node_id = Some(node_id());
    bench.done(0, Action::AnnounceBus(wish)).unwrap();
    known(bench.done(0, Action::Leave(claim(1))));
    bench.follow(0);
    let out_to = bench.store.last;
    bench.published(0, out_to);
    // Both are due now: nobody has done anything in the meantime.
    bench.time += 100_000;
    bench.reap(0);
    let live = bench.store.value(&Key::Live(node_id())).cloned();
    assert!(matches!(live, Some(Stored::Live(_))), "{live:?}");
    let Some(Stored::Bus(record)) = bench.store.value(&Key::Bus("x".parse().unwrap())) else {
        panic!("no bus")
    };
    assert!(record.body.bus.ended.is_some());
    bench.time += 1_000;
    bench.reap(0);
    let live = bench.store.value(&Key::Live(node_id())).cloned();
    assert_eq!(live, Some(Stored::Forgotten));
}

#[test]
fn names_of_tools_are_forgotten_with_their_node() {
    let mut bench = Bench::new(1);
    known(bench.done(0, announce(None)));
    bench.follow(0);
    known(bench.done(0, Action::Leave(claim(1))));
    bench.follow(0);
    let out_to = bench.store.last;
    bench.published(0, out_to);
    for _ in 0..4 {
        bench.time += 100_000;
        bench.reap(0);
    }
    let nodes = &bench.cores[0].index.nodes;
    assert_eq!(nodes.known(), 0);
    assert_eq!(nodes.tool_names(None).next(), None);
}

#[test]
fn what_was_announced_and_overwritten_is_shown_by_nobody() {
    let mut bench = Bench::new(2);
    known(bench.done(0, announce(None)));
    bench.follow(0);
    bench.store.put(Key::Node(node_id()), Stored::Foreign);
    // One has seen it before, the other begins now.
    for instance in 0..2 {
        bench.follow(instance);
        assert!(bench.cores[instance].index.nodes.seen(&node_id()).is_none());
    }
}

#[test]
fn whose_a_bus_is_is_said_behind_a_barrier() {
    let other = RequesterId(Uuid::from_u128(8));
    let mut bench = Bench::new(2);
    bench.done(0, bus(other, None)).unwrap();
    bench.follow(1);
    bench.done(0, remove_bus(other, None)).unwrap();
    bench.done(0, bus(requester(), None)).unwrap();
    let mut deed = bench.deed(remove_bus(requester(), None));
    assert_eq!(bench.step(1, &mut deed, Fed::Go), Step::Barrier);
}

#[test]
fn that_a_life_is_over_is_said_behind_a_barrier() {
    // A node that was forgotten begins with the first epoch again, and the other instance lags.
    let mut bench = Bench::new(2);
    for request in 1..=3 {
        known(bench.done(0, announce(named(request))));
        bench.follow(0);
    }
    bench.follow(1);
    let beat = Action::Beat {
        of: claim(1),
        ttl: None,
        health: None,
    };
    let mut deed = bench.deed(beat);
    assert_eq!(bench.step(1, &mut deed, Fed::Go), Step::Barrier);
}

#[test]
fn an_old_request_does_not_bring_a_bus_back() {
    let mut bench = Bench::new(1);
    bench.done(0, bus(requester(), named(1))).unwrap();
    bench.done(0, remove_bus(requester(), named(2))).unwrap();
    bench.done(0, bus(requester(), named(3))).unwrap();
    bench.follow(0);
    let before = bench.store.last;
    for again in [
        bus(requester(), named(1)),
        remove_bus(requester(), named(2)),
    ] {
        assert_eq!(
            bench.done(0, again),
            Ok(Answer::Done(Revision(before))),
            "the present state"
        );
    }
    assert_eq!(bench.store.last, before);
    let Some(Request { id, .. }) = named(1) else {
        unreachable!()
    };
    let digest = Digest(Uuid::nil());
    let unlike = bench.done(0, bus(requester(), Some(Request { id, digest })));
    assert_eq!(unlike, Err(Refusal::IdempotencyMismatch(id)));
}

#[test]
fn an_old_report_does_not_take_the_place_of_a_later_one() {
    let mut bench = Bench::new(1);
    known(bench.done(0, announce(None)));
    known(bench.done(0, announce_as("judge", None)));
    bench.follow(0);
    let judge = |outcome, request| {
        Action::Judge(Box::new(Judgement {
            node_id: node_id(),
            validator_id: "judge".parse().unwrap(),
            requester_id: requester(),
            outcome,
            failure_mode: None,
            lifecycle: None,
            contract_hash: None,
            request,
        }))
    };
    bench.done(0, judge(Outcome::Fail, named(1))).unwrap();
    bench.done(0, judge(Outcome::Pass, named(2))).unwrap();
    bench.done(0, judge(Outcome::Fail, named(1))).unwrap();
    bench.follow(0);
    let verdicts = bench.cores[0].index.nodes.verdicts(&node_id()).unwrap();
    let latest = verdicts.contracts.iter().flat_map(|on| &on.latest);
    let latest: Vec<Outcome> = latest.map(|verdict| verdict.outcome).collect();
    assert_eq!(latest, [Outcome::Pass]);
}

#[test]
fn an_announcement_that_is_half_seen_is_not_written_over() {
    let mut bench = Bench::new(2);
    known(bench.done(0, announce(None)));
    (0..2).for_each(|instance| bench.follow(instance));
    let second = bench.writes(0, announce(None));
    let last = bench.store.write(&second, true).unwrap();
    let now = bench.now();
    let said = second[0].clone();
    bench.cores[1].apply(&said.key, Revision(last.0 - 1), said.value, 1, now);
    let add = Action::AddTool {
        of: claim(1),
        tool: Box::new(tool("mul")),
        request: None,
    };
    // For this instance the first life still lasts.
    let writes = bench.writes(1, add);
    assert!(bench.store.write(&writes, true).is_none());
    let Some(Stored::Node(record)) = bench.store.value(&Key::Node(node_id())) else {
        panic!("no announcement")
    };
    let Record {
        body: Announced { node },
        ..
    } = record.as_ref();
    let Stored::Live(live) = &second[1].value else {
        panic!("{second:?}")
    };
    assert_eq!(node.incarnation, live.body.live.incarnation);
}

#[test]
fn a_node_that_was_forgotten_while_an_instance_was_away_does_not_come_back() {
    let mut bench = Bench::new(2);
    known(bench.done(0, announce(None)));
    bench.done(0, bus(requester(), None)).unwrap();
    (0..2).for_each(|instance| bench.follow(instance));
    // It ended, was forgotten, and its markers are gone; the other instance saw nothing of that.
    let keys = [
        Key::Node(node_id()),
        Key::Live(node_id()),
        Key::Bus("x".parse().unwrap()),
    ];
    for key in &keys {
        let marker = bench.store.put(key.clone(), Stored::Forgotten);
        bench.store.remove(key, marker);
    }
    bench.time += 100_000;
    let mut deed = bench.deed(Action::Settle(Key::Live(node_id())));
    let step = bench.step(1, &mut deed, Fed::Go);
    assert!(matches!(step, Step::Write(_)), "{step:?}");
    let step = bench.step(1, &mut deed, Fed::Lost);
    assert!(matches!(step, Step::Moved(_)), "{step:?}");
    let index = &mut bench.cores[1].index;
    for key in &keys {
        let revision = index.revision(key);
        index.vanish(key, revision);
    }
    let mut step = bench.step(1, &mut deed, Fed::Go);
    while let Step::Pause(_) = step {
        step = bench.step(1, &mut deed, Fed::Go);
    }
    assert_eq!(step, Step::Done(Ok(Answer::Nothing)));
    let nodes = &bench.cores[1].index.nodes;
    assert_eq!((nodes.known(), nodes.buses_known()), (0, 0));
    assert_eq!(nodes.tool_names(None).next(), None);
}

#[test]
fn a_bus_of_a_life_that_was_overwritten_does_not_keep_it() {
    let mut bench = Bench::new(1);
    known(bench.done(0, announce(None)));
    bench.follow(0);
    let Action::AnnounceBus(mut wish) = bus(requester(), None) else {
        unreachable!()
    };
    wish.node_id = Some(node_id());
    bench.done(0, Action::AnnounceBus(wish)).unwrap();
    bench.store.put(Key::Live(node_id()), Stored::Foreign);
    bench.follow(0);
    let out_to = bench.store.last;
    bench.published(0, out_to);
    for _ in 0..4 {
        bench.time += 200_000;
        bench.reap(0);
        let out_to = bench.store.last;
        bench.published(0, out_to);
    }
    let nodes = &bench.cores[0].index.nodes;
    assert_eq!((nodes.known(), nodes.buses_known()), (0, 0));
}
