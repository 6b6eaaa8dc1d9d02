//! What is written in one piece is seen whole or not at all, also from a server that sends it message by message
//! before it counts the rest.

use crate::domain::{
    command::{Action, Answer, Judgement},
    cursor::behind,
    key::{Key, Revision},
    trust::{Lifecycle, Outcome},
};

use super::{
    found::{self, Bench, requester},
    found_nodes::{announce, announce_as, bus, claim, known, node_id, tool},
    world::host,
};

impl Bench {
    /// The instance's follower sees the next message, from a server that counts nothing behind it.
    #[track_caller]
    fn glimpse(&mut self, instance: usize) {
        let now = self.now();
        let core = &mut self.cores[instance];
        let next = core.index.applied().0 + 1;
        let (revision, (key, stored)) = self.store.log.range(next..).next().unwrap();
        let revision = Revision(*revision);
        let pending = behind(0, self.store.within(revision).is_some());
        core.apply(key, revision, stored.clone(), pending, now);
    }

    /// The tools that an instance shows of the node; none when it does not show it.
    fn tools(&self, instance: usize) -> Option<Vec<String>> {
        let nodes = &self.cores[instance].index.nodes;
        let seen = nodes.seen(&node_id())?;
        let tools = seen.node.registration.tools.iter();
        Some(tools.map(|tool| tool.name.to_string()).collect())
    }

    /// The epoch that an instance shows of the node.
    fn epoch(&self, instance: usize) -> Option<u64> {
        let nodes = &self.cores[instance].index.nodes;
        nodes.seen(&node_id()).map(|seen| seen.live.epoch)
    }

    /// Whether all that the instance has seen was whole.
    fn is_exact(&self, instance: usize) -> bool {
        let index = &self.cores[instance].index;
        index.exact() == index.applied()
    }
}

#[test]
fn a_registration_is_shown_whole_or_not_at_all() {
    let mut bench = Bench::new(2);
    known(bench.done(0, announce(None)));
    bench.glimpse(1);
    assert_eq!((bench.epoch(1), bench.is_exact(1)), (None, false));
    bench.glimpse(1);
    assert_eq!((bench.epoch(1), bench.is_exact(1)), (Some(1), true));
    bench.follow(0);
    known(bench.done(0, announce(None)));
    bench.glimpse(1);
    assert_eq!((bench.epoch(1), bench.is_exact(1)), (Some(1), false));
    bench.glimpse(1);
    assert_eq!((bench.epoch(1), bench.is_exact(1)), (Some(2), true));
}

#[test]
fn tools_that_change_are_shown_with_their_life() {
    let mut bench = Bench::new(2);
    known(bench.done(0, announce(None)));
    (0..2).for_each(|instance| bench.follow(instance));
    let add = Action::AddTool {
        of: claim(1),
        tool: Box::new(tool("mul")),
        request: None,
    };
    bench.done(0, add).unwrap();
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    bench.glimpse(1);
    assert_eq!(bench.tools(1), names(&["add"]));
    // Who was told of that revision waits for the rest.
    assert!(!bench.is_exact(1));
    bench.glimpse(1);
    assert_eq!(bench.tools(1), names(&["add", "mul"]));
    assert!(bench.is_exact(1));
}

#[test]
fn half_a_registration_is_not_forgotten() {
    let mut bench = Bench::new(2);
    known(bench.done(0, announce(None)));
    bench.glimpse(1);
    bench.time += 1_000_000;
    let now = bench.now();
    assert_eq!(bench.cores[1].reap(now, 16), []);
}

#[test]
fn what_hangs_on_a_life_lasts_until_the_next_one_is_seen_whole() {
    let mut bench = Bench::new(2);
    known(bench.done(0, announce(None)));
    bench.follow(0);
    let Action::AnnounceBus(mut wish) = bus(requester(), None) else {
        unreachable!()
    };
    wish.node_id = Some(node_id());
    bench.done(0, Action::AnnounceBus(wish)).unwrap();
    let mut lease = found::wish(None);
    lease.node_id = Some(node_id());
    // One that nobody here can try.
    lease.host = Some(host(false));
    let Ok(Answer::Lease(held)) = bench.done(0, Action::Lease(lease)) else {
        panic!("no lease")
    };
    (0..2).for_each(|instance| bench.follow(instance));
    known(bench.done(0, announce(None)));
    let due = |bench: &mut Bench| {
        let now = bench.now();
        bench.cores[1].reap(now, 16)
    };
    bench.glimpse(1);
    assert_eq!(due(&mut bench), []);
    assert_eq!(bench.cores[1].index.lease_over(&held.key), None);
    bench.glimpse(1);
    let mut over = due(&mut bench);
    over.sort();
    let mut hung = [Key::Bus("x".parse().unwrap()), Key::Port(held.key.clone())];
    hung.sort();
    assert_eq!(over, hung);
}

fn judge(outcome: Outcome, lifecycle: Option<Lifecycle>) -> Action {
    Action::Judge(Box::new(Judgement {
        node_id: node_id(),
        validator_id: "judge".parse().unwrap(),
        requester_id: requester(),
        outcome,
        failure_mode: None,
        lifecycle,
        contract_hash: None,
        request: None,
    }))
}

#[test]
fn a_node_is_frozen_in_one_piece() {
    let mut bench = Bench::new(2);
    known(bench.done(0, announce(None)));
    known(bench.done(0, announce_as("judge", None)));
    (0..2).for_each(|instance| bench.follow(instance));
    let freeze = judge(Outcome::Pass, Some(Lifecycle::Frozen));
    bench.done(0, freeze).unwrap();
    for whole in [false, false, true] {
        bench.glimpse(1);
        let nodes = &bench.cores[1].index.nodes;
        let seen = nodes.seen(&node_id()).unwrap();
        assert_eq!(seen.live.epoch, 1);
        assert_eq!(nodes.trust(&seen).lifecycle, Some(Lifecycle::Frozen));
        assert_eq!(bench.is_exact(1), whole);
    }
}

#[test]
fn a_node_is_forgotten_with_what_was_thought_of_it() {
    let mut bench = Bench::new(2);
    known(bench.done(0, announce(None)));
    known(bench.done(0, announce_as("judge", None)));
    bench.follow(0);
    bench.done(0, judge(Outcome::Pass, None)).unwrap();
    known(bench.done(0, Action::Leave(claim(1))));
    bench.follow(0);
    let out_to = bench.store.last;
    bench.published(0, out_to);
    bench.follow(1);
    bench.time += 100_000;
    let forget = bench.writes(0, Action::Settle(Key::Live(node_id())));
    assert_eq!(forget.len(), 3);
    bench.store.write(&forget, true).unwrap();
    let passes = |bench: &Bench| {
        let nodes = &bench.cores[1].index.nodes;
        let seen = nodes.seen(&node_id())?;
        Some(nodes.trust(&seen).passes)
    };
    let shown: Vec<_> = forget
        .iter()
        .map(|_| {
            bench.glimpse(1);
            passes(&bench)
        })
        .collect();
    assert_eq!(shown, [Some(1), None, None]);
    assert!(bench.is_exact(1));
}
