//! Schedules of reports by validators.

use crate::{
    command::{Action, Refusal},
    entry::EventKind,
    mechanism::{Mechanism, Mechanisms},
    trust::{VALIDATORS_MAX, Verdict},
};

use super::{
    node_stage::{
        add_tool, claim, deregister, freeze, heartbeat, register, register_again,
        register_validator, remove_tool, reports, tool,
    },
    stage::{Stage, needs},
};

#[test]
fn a_frozen_node_keeps_its_contract() {
    needs(Mechanism::FrozenContract, |mechanisms| {
        let mut stage = Stage::new(2, mechanisms);
        stage.epoch(0, register_again("a", 1, None, vec![tool("t", "c")], None));
        stage.epoch(0, register_validator("v", 2));
        stage.done(0, freeze("a", "v", 2)).result.unwrap();
        let of = claim("a", 1, 1);
        let changed = [
            register_again("a", 1, Some(1), Vec::new(), None),
            register_again("a", 1, None, vec![tool("t", "d")], None),
            add_tool(of.clone(), tool("t", "d"), None),
            remove_tool(of, "t", None),
        ];
        let frozen = changed.into_iter().all(|action| {
            let refused = stage.done(1, action).result;
            matches!(refused, Err(Refusal::Frozen(_)))
        });
        // The same contract again is none that changes.
        let same = stage.done(1, register_again("a", 1, None, vec![tool("t", "c")], None));
        frozen && same.result.is_ok()
    });
}

#[test]
fn a_report_that_freezes_and_a_change_of_the_contract_are_decided_one_after_the_other() {
    let mut stage = Stage::new(2, Mechanisms::default());
    stage.epoch(0, register_again("a", 1, None, vec![tool("t", "c")], None));
    stage.epoch(0, register_validator("v", 2));
    // Both are under way, decided by instances that have not seen the other.
    let report = stage.ask(0, freeze("a", "v", 2));
    let change = stage.ask(1, add_tool(claim("a", 1, 1), tool("t", "d"), None));
    stage.settle();
    let report = stage.reply(report).unwrap().result.clone();
    let change = stage.reply(change).unwrap().result.clone();
    assert!(report.is_ok());
    assert!(matches!(change, Err(Refusal::Frozen(_))), "{change:?}");
}

#[test]
fn only_live_validators_report_and_each_counts_once() {
    let mut stage = Stage::new(1, Mechanisms::default());
    stage.epoch(0, register("a", 1, None));
    stage.epoch(0, register("b", 2, None));
    stage.epoch(0, register_validator("v", 2));
    let report = |node, validator, n| {
        let report = reports(node, validator, n, Verdict::Pass, None);
        Action::Report(Box::new(report))
    };
    let refused = stage.refused(0, report("a", "b", 2));
    assert!(matches!(refused, Refusal::NotValidator(_)));
    let refused = stage.refused(0, report("a", "v", 1));
    assert!(matches!(refused, Refusal::NotValidator(_)));
    let refused = stage.refused(0, report("v", "v", 2));
    assert!(matches!(refused, Refusal::OwnReport(_)));
    let refused = stage.refused(0, report("c", "v", 2));
    assert!(matches!(refused, Refusal::NodeNotFound(_)));
    for _ in 0..2 {
        stage.done(0, report("a", "v", 2)).result.unwrap();
    }
    let state = stage.engine(0).state();
    let trust = state.trust(&state.node(&"a".parse().unwrap()).unwrap());
    assert_eq!((trust.passes, trust.fails), (1, 0));
    let changed = |kinds: Vec<EventKind>| {
        let changed = kinds
            .iter()
            .filter(|kind| **kind == EventKind::TrustChanged);
        changed.count()
    };
    assert_eq!(changed(stage.kinds()), 1);
    let mut other = reports("a", "v", 2, Verdict::Pass, None);
    other.contract_hash = Some("other".to_owned());
    let refused = stage.refused(0, Action::Report(Box::new(other)));
    assert!(matches!(refused, Refusal::OtherContract { .. }));
    stage.epoch(0, deregister("v", 2, 1));
    let refused = stage.refused(0, report("a", "v", 2));
    assert!(matches!(refused, Refusal::NotValidator(_)));
}

#[test]
fn validators_of_a_contract_are_bounded_and_gone_ones_give_way() {
    let mut settings = Stage::new(1, Mechanisms::default()).instances[0]
        .settings
        .clone();
    settings.nodes.nodes_max = 100;
    let mut stage = Stage::with_settings(&settings);
    stage.epoch(0, register("a", 1, None));
    let report = |n: usize| {
        let report = reports("a", &format!("v{n}"), 2, Verdict::Pass, None);
        Action::Report(Box::new(report))
    };
    for n in 0..VALIDATORS_MAX {
        stage.epoch(0, register_validator(&format!("v{n}"), 2));
        stage.done(0, report(n)).result.unwrap();
    }
    stage.epoch(0, register_validator("v64", 2));
    let full = stage.refused(0, report(64));
    assert!(matches!(full, Refusal::LimitExceeded { limit: 64, .. }));
    // One that has ended is known until it is forgotten; then its place is free.
    stage.epoch(0, deregister("v3", 2, 1));
    assert!(stage.done(0, report(64)).result.is_err());
    for _ in 0..3 {
        for n in (0..=64).filter(|n| *n != 3) {
            stage.ask(0, heartbeat(&format!("v{n}"), 2, 1, None));
        }
        stage.ask(0, heartbeat("a", 1, 1, None));
        stage.settle();
        stage.pass(6_000);
        stage.settle();
    }
    stage.done(0, report(64)).result.unwrap();
}
