//! Trust: who may report, what follows from it, and what a frozen node may not do.

use std::collections::BTreeMap;

use crate::harness::{Caller, Events, Nats, Provider, Registry, with};
use onex_core::trust::{REPORTS_REMEMBERED, VALIDATORS_MAX};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];
/// What follows from reports; the domain's own test runs it as well.
const TABLE: &str = include_str!("../tables/trust.txt");

fn node(id: &str, kind: &str, requester: Uuid) -> Value {
    json!({
        "node_id": id, "version": "1.0.0", "node_type": kind, "requester_id": requester, "epoch": 1,
        "ttl": 3600,
    })
}

/// A node whose contract has that name.
fn of_contract(id: &str, requester: Uuid, contract: &str) -> Value {
    let schema = json!({"type": "object", "properties": {contract: true}});
    let tools = json!([{"name": "add", "version": "1.0.0", "input_schema": schema}]);
    with(node(id, "tool", requester), json!({"tools": tools}))
}

fn report(id: &str, validator: &str, requester: Uuid, more: Value) -> Value {
    with(
        json!({
            "node_id": id, "validator_id": validator, "requester_id": requester, "outcome": "pass",
        }),
        more,
    )
}

async fn trust(caller: &Caller, id: &str) -> Value {
    caller.see("trust.get", json!({"node_id": id})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_from_reports() {
    let nats = Nats::start();
    let _both = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let caller = Caller::connect(&nats.url()).await;
    let mut validators: BTreeMap<String, Uuid> = BTreeMap::new();
    for id in ["a", "b", "c", "d"] {
        let requester = Uuid::new_v4();
        let validator = node(id, "validator", requester);
        caller.get("node.register", validator).await;
        validators.insert(id.to_owned(), requester);
    }
    let rows: Vec<&str> = TABLE.lines().filter(|line| line.contains('|')).collect();
    assert!(rows.len() >= 12);
    for (n, row) in rows.iter().enumerate() {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [steps, state, score, validated, by, modes, stage] = cells.as_slice() else {
            panic!("no row: {row}");
        };
        let (id, owner) = (format!("row.{n}"), Uuid::new_v4());
        caller
            .get("node.register", of_contract(&id, owner, "A"))
            .await;
        take(&caller, &validators, &id, owner, steps).await;
        let list = |text: &str| -> Value { text.split_whitespace().collect() };
        let trust = trust(&caller, &id).await;
        let expected = json!({
            "trust_state": state, "trust_score": serde_json::from_str::<Option<f64>>(score).unwrap(),
            "validated": *validated == "true", "validator_ids": list(by), "failure_modes": list(modes),
            "registry_lifecycle": Some(*stage).filter(|stage| *stage != "-"),
        });
        for (member, value) in expected.as_object().unwrap() {
            assert_eq!(trust[member], *value, "{member}: {row}");
        }
        everywhere(&caller, &id, owner, &trust).await;
    }
}

/// Takes the steps of a row, one by one.
async fn take(
    caller: &Caller,
    validators: &BTreeMap<String, Uuid>,
    id: &str,
    owner: Uuid,
    steps: &str,
) {
    for step in steps.split(',').map(str::trim) {
        let words: Vec<&str> = step.split_whitespace().collect();
        let said = match words.as_slice() {
            ["contract", next, "refused"] => {
                let refused = of_contract(id, owner, next);
                caller
                    .refused("node.register", refused, ErrorCode::Forbidden)
                    .await;
                continue;
            }
            ["contract", next] => {
                caller
                    .get("node.register", of_contract(id, owner, next))
                    .await;
                continue;
            }
            [validator, "pass", stage] => (validator, json!({}), stage),
            [validator, "fail", mode, stage] => {
                let failed = json!({"outcome": "fail"});
                let mode = match *mode {
                    "-" => failed,
                    mode => with(failed, json!({"failure_mode": mode})),
                };
                (validator, mode, stage)
            }
            [] => continue,
            other => panic!("no step: {other:?}"),
        };
        let (validator, mut more, stage) = said;
        if *stage != "-" {
            more["lifecycle"] = json!(stage);
        }
        let report = report(id, validator, validators[*validator], more);
        // Of the contract that was announced before, whichever instance is asked.
        let reply = caller.see("trust.report", report).await;
        // The answer to a report is what follows from it.
        let mut seen = trust(caller, id).await;
        seen["revision"] = reply["revision"].clone();
        assert_eq!(reply, seen, "{steps}");
    }
}

/// The same is said wherever a node's trust is shown.
async fn everywhere(caller: &Caller, id: &str, owner: Uuid, trust: &Value) {
    let state = &trust["trust_state"];
    let described = caller.see("describe", json!({"node_id": id})).await;
    assert_eq!(described["trust"]["trust_state"], *state, "{id}");
    assert_eq!(described["trust"]["computed"], trust["computed"], "{id}");
    assert_eq!(described["node"]["trust_state"], *state, "{id}");
    let summary = caller
        .see("node.list", json!({"node_type": "tool", "limit": 1000}))
        .await;
    let items = summary["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["node_id"] == id).unwrap();
    assert_eq!(item["trust_state"], *state, "{id}");
    assert_eq!(item["trust_score"], trust["trust_score"], "{id}");
    let only = json!({"trusted_only": true, "node_type": "tool", "limit": 1000});
    let only = caller.see("node.list", only).await;
    let listed = only["items"].as_array().unwrap().iter();
    let listed = listed.filter(|item| item["node_id"] == id).count();
    assert_eq!(listed == 1, *state != "untrusted", "{id}");
    let tool = caller
        .see("tool.describe", json!({"name": "add", "limit": 1000}))
        .await;
    let providers = tool["providers"].as_array().unwrap();
    let provider = providers.iter().find(|one| one["node_id"] == id).unwrap();
    assert_eq!(provider["trust_state"], *state, "{id}");
    assert_eq!(provider["trust_score"], trust["trust_score"], "{id}");
    let contract = trust["contract_hash"].clone();
    let again = with(
        node(id, "tool", owner),
        json!({"tools": [tool_of(providers, &tool, id)]}),
    );
    let again = caller.get("node.register", again).await;
    assert_eq!(again["trust_state"], *state, "{id}");
    assert_eq!(self::trust(caller, id).await["contract_hash"], contract);
}

/// The tool as that node offers it.
fn tool_of(providers: &[Value], described: &Value, id: &str) -> Value {
    let provider = providers.iter().find(|one| one["node_id"] == id).unwrap();
    let variants = described["variants"].as_array().unwrap();
    let mut all = variants.iter().chain([described]);
    let same = |one: &&Value| one["contract_hash"] == provider["contract_hash"];
    let mut tool = all.find(same).unwrap()["contract"].clone();
    tool.as_object_mut().unwrap().remove("subject");
    tool
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_live_validator_reports_and_never_on_itself() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let (me, owner) = (Uuid::new_v4(), Uuid::new_v4());
    caller
        .get("node.register", of_contract("calc", owner, "A"))
        .await;
    for (id, kind) in [
        ("judge", "validator"),
        ("plain", "tool"),
        ("gone", "validator"),
    ] {
        caller.get("node.register", node(id, kind, me)).await;
    }
    let gone = json!({"node_id": "gone", "requester_id": me, "epoch": 1});
    caller.get("node.deregister", gone).await;
    for (validator, requester, of, reason) in [
        ("plain", me, "calc", "not_validator"),
        ("gone", me, "calc", "not_validator"),
        ("nobody", me, "calc", "not_validator"),
        ("judge", owner, "calc", "not_validator"),
        ("judge", me, "judge", "own_verdict"),
    ] {
        let report = report(of, validator, requester, json!({}));
        let refused = caller
            .refused("trust.report", report, ErrorCode::Forbidden)
            .await;
        assert_eq!(refused.detail("reason"), reason, "{validator}");
    }
    for of in ["nobody", "gone"] {
        let report = report(of, "judge", me, json!({}));
        caller
            .refused("trust.report", report, ErrorCode::NodeNotFound)
            .await;
    }
    for (more, pointer) in [
        (json!({"failure_mode": "slow"}), "/failure_mode"),
        (
            json!({"outcome": "fail", "lifecycle": "frozen"}),
            "/lifecycle",
        ),
        (
            json!({"outcome": "fail", "lifecycle": "validated"}),
            "/lifecycle",
        ),
        (json!({"outcome": "good"}), "/outcome"),
        (json!({"lifecycle": "done"}), "/lifecycle"),
        (json!({"failure_mode": ""}), "/failure_mode"),
    ] {
        let report = report("calc", "judge", me, more);
        let refused = caller
            .refused("trust.report", report, ErrorCode::InvalidRequest)
            .await;
        assert_eq!(refused.detail("pointer"), pointer);
    }
    let trust = trust(&caller, "calc").await;
    assert_eq!(trust["validator_ids"], json!([]));
    caller
        .refused(
            "trust.get",
            json!({"node_id": "nobody"}),
            ErrorCode::NodeNotFound,
        )
        .await;
    // Of one that has ended it is still known.
    let calc = json!({"node_id": "calc", "requester_id": owner, "epoch": 1});
    caller
        .get("trust.report", report("calc", "judge", me, json!({})))
        .await;
    caller.get("node.deregister", calc).await;
    assert_eq!(self::trust(&caller, "calc").await["trust_state"], "trusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_outlives_its_validator() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let (me, owner) = (Uuid::new_v4(), Uuid::new_v4());
    caller
        .get("node.register", of_contract("calc", owner, "A"))
        .await;
    caller
        .get("node.register", node("judge", "validator", me))
        .await;
    caller
        .get("trust.report", report("calc", "judge", me, json!({})))
        .await;
    let judge = json!({"node_id": "judge", "requester_id": me, "epoch": 1});
    caller.get("node.deregister", judge).await;
    let after = trust(&caller, "calc").await;
    assert_eq!(
        (&after["trust_state"], &after["validator_ids"]),
        (&json!("trusted"), &json!(["judge"]))
    );
    // A new life of the node with the same contract is the same to them.
    let again = with(of_contract("calc", owner, "A"), json!({"epoch": 2}));
    let again = caller.get("node.register", again).await;
    assert_eq!(again["trust_state"], "trusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_on_what_was_examined() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let (me, owner) = (Uuid::new_v4(), Uuid::new_v4());
    caller
        .get("node.register", node("judge", "validator", me))
        .await;
    caller
        .get("node.register", of_contract("calc", owner, "A"))
        .await;
    let examined = trust(&caller, "calc").await["contract_hash"].clone();
    caller
        .get("node.register", of_contract("calc", owner, "B"))
        .await;
    let late = report("calc", "judge", me, json!({"contract_hash": examined}));
    let refused = caller
        .refused("trust.report", late, ErrorCode::InvalidRequest)
        .await;
    assert_eq!(refused.detail("pointer"), "/contract_hash");
    let now = trust(&caller, "calc").await;
    let message = refused.error["message"].as_str().unwrap();
    assert!(
        message.contains(now["contract_hash"].as_str().unwrap()),
        "{message}"
    );
    assert_eq!(now["trust_score"], Value::Null);
    let more = json!({"contract_hash": now["contract_hash"]});
    caller
        .get("trust.report", report("calc", "judge", me, more))
        .await;
    // What is for people only is no other contract.
    let mut said = of_contract("calc", owner, "B");
    said["description"] = json!("calculates");
    said["tags"] = json!(["math"]);
    said["tools"][0]["description"] = json!("adds");
    said["tools"][0]["input_schema"]["title"] = json!("numbers");
    let reply = caller.get("node.register", said).await;
    assert_eq!(reply["trust_state"], "trusted");
    // A tool that comes or goes is.
    let claim = json!({"node_id": "calc", "requester_id": owner, "epoch": 1});
    let tool = with(
        claim.clone(),
        json!({"tool": {"name": "sub", "version": "1.0.0"}}),
    );
    caller.get("tool.register", tool).await;
    let other = trust(&caller, "calc").await;
    assert_eq!(other["trust_state"], "untrusted");
    assert_eq!(
        (
            &other["computed"]["reports"],
            &other["computed"]["outdated"]
        ),
        (&json!(0), &json!(1))
    );
    caller
        .get("tool.deregister", with(claim, json!({"name": "sub"})))
        .await;
    assert_eq!(trust(&caller, "calc").await["trust_state"], "trusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_report_again_is_not_done_again() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let (me, owner) = (Uuid::new_v4(), Uuid::new_v4());
    caller
        .get("node.register", node("judge", "validator", me))
        .await;
    caller
        .get("node.register", of_contract("calc", owner, "A"))
        .await;
    let id = Uuid::new_v4();
    let first = report("calc", "judge", me, json!({"request_id": id}));
    caller.get("trust.report", first.clone()).await;
    for _ in 1..REPORTS_REMEMBERED {
        let fail = json!({"outcome": "fail", "request_id": Uuid::new_v4()});
        caller
            .get("trust.report", report("calc", "judge", me, fail))
            .await;
    }
    // Late, and what was said since stands.
    let late = caller.get("trust.report", first.clone()).await;
    assert_eq!(late["trust_score"], 0.0);
    caller
        .get("node.register", of_contract("calc", owner, "B"))
        .await;
    let late = caller.get("trust.report", first).await;
    assert_eq!(late["trust_score"], Value::Null);
    let other = json!({"request_id": id, "outcome": "fail"});
    caller
        .refused(
            "trust.report",
            report("calc", "judge", me, other),
            ErrorCode::IdempotencyMismatch,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_nodes_contract_does_not_change() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let (me, owner) = (Uuid::new_v4(), Uuid::new_v4());
    caller
        .get("node.register", node("judge", "validator", me))
        .await;
    caller
        .get("node.register", of_contract("calc", owner, "A"))
        .await;
    let frozen = report("calc", "judge", me, json!({"lifecycle": "frozen"}));
    caller.get("trust.report", frozen).await;

    let claim = |more: Value| {
        let claim = json!({"node_id": "calc", "requester_id": owner, "epoch": 1});
        with(claim, more)
    };
    let sub = json!({"tool": {"name": "sub", "version": "1.0.0"}});
    let other = json!({"tool": {"name": "add", "version": "1.0.0", "idempotent": true}});
    let next = with(of_contract("calc", owner, "A"), json!({"version": "1.0.1"}));
    let taken = with(of_contract("calc", me, "B"), json!({"epoch": 2}));
    for (endpoint, body) in [
        ("tool.register", claim(sub.clone())),
        ("tool.register", claim(other)),
        ("tool.deregister", claim(json!({"name": "add"}))),
        ("node.register", of_contract("calc", owner, "B")),
        ("node.register", next),
        ("node.register", taken),
    ] {
        let refused = caller.refused(endpoint, body, ErrorCode::Forbidden).await;
        assert_eq!(refused.detail("reason"), "frozen");
        let message = refused.error["message"].as_str().unwrap();
        assert!(
            message.contains("frozen") && message.contains("validator"),
            "{message}"
        );
    }
    // The same contract may be said again, also with other words, by another life.
    let mut same = with(of_contract("calc", owner, "A"), json!({"epoch": 2}));
    same["tools"][0]["description"] = json!("adds");
    caller.get("node.register", same).await;
    // It may end, and stays frozen when it comes back.
    let end = with(claim(json!({})), json!({"epoch": 2}));
    caller.get("node.deregister", end).await;
    let back = with(of_contract("calc", owner, "B"), json!({"epoch": 3}));
    let refused = caller.refused("node.register", back, ErrorCode::Forbidden);
    assert_eq!(refused.await.detail("reason"), "frozen");
    let back = with(of_contract("calc", owner, "A"), json!({"epoch": 3}));
    caller.get("node.register", back).await;
    // A validator lets it change again.
    let thawed = report("calc", "judge", me, json!({"lifecycle": "canary"}));
    caller.get("trust.report", thawed).await;
    let sub = with(claim(sub), json!({"epoch": 3}));
    caller.get("tool.register", sub).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_frozen_and_changed_at_the_same_moment_is_one_of_the_two() {
    let nats = Nats::start();
    let _all = [
        Registry::on(&nats, &ARGS),
        Registry::on(&nats, &ARGS),
        Registry::on(&nats, &ARGS),
    ];
    let caller = Caller::connect(&nats.url()).await;
    let (me, owner) = (Uuid::new_v4(), Uuid::new_v4());
    caller
        .get("node.register", node("judge", "validator", me))
        .await;
    let mut seen = [0, 0];
    for n in 0..40 {
        let id = format!("n{n}");
        caller
            .get("node.register", of_contract(&id, owner, "A"))
            .await;
        let examined = trust(&caller, &id).await["contract_hash"].clone();
        let frozen = report(&id, "judge", me, json!({"lifecycle": "frozen"}));
        let (frozen, changed) = tokio::join!(
            caller.ask("trust.report", frozen),
            caller.ask("node.register", of_contract(&id, owner, "B")),
        );
        frozen.unwrap();
        let now = trust(&caller, &id).await;
        let first = if let Err(refused) = changed {
            // It was frozen first: then it is what was frozen.
            assert!(refused.is(ErrorCode::Forbidden), "{:#}", refused.error);
            assert_eq!(now["registry_lifecycle"], "frozen");
            assert_eq!(now["contract_hash"], examined);
            0
        } else {
            // It changed first, and was frozen as it is now, or the verdict is on what it was.
            assert_ne!(now["contract_hash"], examined);
            1
        };
        seen[first] += 1;
        // In either case it may be announced as it is.
        let contract = if now["contract_hash"] == examined {
            "A"
        } else {
            "B"
        };
        caller
            .get("node.register", of_contract(&id, owner, contract))
            .await;
    }
    println!("frozen first {}, changed first {}", seen[0], seen[1]);
    // No contract changes behind the verdict that froze it.
    let events = Events::published(&caller).await;
    for frozen in events.of_kind("trust.changed") {
        let mut tools = events.of_kind("tool.registered");
        tools.retain(|tool| tool.body["node_id"] == frozen.body["node_id"]);
        let revision = |event: &crate::harness::Event| event.body["revision"].as_u64().unwrap();
        let last = tools.into_iter().map(revision).max().unwrap();
        assert!(revision(frozen) > last, "{frozen:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_contracts_that_collide_the_trusted_one_is_shown() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let (me, owner) = (Uuid::new_v4(), Uuid::new_v4());
    caller
        .get("node.register", node("judge", "validator", me))
        .await;
    for (id, contract) in [("one", "A"), ("two", "B"), ("three", "B")] {
        caller
            .get("node.register", of_contract(id, owner, contract))
            .await;
    }
    let shown = async || {
        let tool = caller.see("tool.describe", json!({"name": "add"})).await;
        tool["contract"]["input_schema"]["properties"].clone()
    };
    assert_eq!(shown().await, json!({"B": true}));
    caller
        .get("trust.report", report("one", "judge", me, json!({})))
        .await;
    assert_eq!(shown().await, json!({"A": true}));
}

#[tokio::test(flavor = "multi_thread")]
async fn validators_of_a_contract_are_bounded() {
    let registry = Registry::start(&[&ARGS[..], &["--retention", "1"]].concat());
    let caller = Caller::of(&registry).await;
    let (me, owner) = (Uuid::new_v4(), Uuid::new_v4());
    caller
        .get("node.register", of_contract("calc", owner, "A"))
        .await;
    for n in 0..=VALIDATORS_MAX {
        let id = format!("v{n}");
        caller
            .get("node.register", node(&id, "validator", me))
            .await;
        let report = report("calc", &id, me, json!({}));
        if n < VALIDATORS_MAX {
            caller.get("trust.report", report).await;
        } else {
            let refused = caller
                .refused("trust.report", report, ErrorCode::LimitExceeded)
                .await;
            assert_eq!(refused.detail("limit"), VALIDATORS_MAX);
            assert_eq!(refused.detail("bound"), "validators of one contract");
        }
    }
    // One that is forgotten gives way.
    let gone = json!({"node_id": "v7", "requester_id": me, "epoch": 1});
    caller.get("node.deregister", gone).await;
    let last = format!("v{VALIDATORS_MAX}");
    crate::harness::until("room for one more", async || {
        let report = report("calc", &last, me, json!({}));
        caller.ask("trust.report", report).await.ok()
    })
    .await;
    let ids = trust(&caller, "calc").await["validator_ids"].clone();
    let ids = ids.as_array().unwrap();
    assert_eq!(ids.len(), VALIDATORS_MAX);
    assert!(ids.contains(&json!(last)) && !ids.contains(&json!("v7")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_trust_is_an_event() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let (me, owner) = (Uuid::new_v4(), Uuid::new_v4());
    for id in ["a", "b"] {
        caller.get("node.register", node(id, "validator", me)).await;
    }
    caller
        .get("node.register", of_contract("calc.1", owner, "A"))
        .await;
    for (validator, more) in [
        ("a", json!({"lifecycle": "canary"})),
        // Nothing follows from it that was not so before.
        ("a", json!({"request_id": Uuid::new_v4()})),
        ("b", json!({"outcome": "fail", "failure_mode": "slow"})),
        ("b", json!({"outcome": "fail", "failure_mode": "wrong"})),
        ("b", json!({})),
    ] {
        caller
            .get("trust.report", report("calc.1", validator, me, more))
            .await;
    }
    let events = Events::published(&caller).await;
    let told = events.of_kind("trust.changed");
    let of = |member: &str| -> Vec<Value> {
        told.iter()
            .map(|event| event.body[member].clone())
            .collect()
    };
    assert_eq!(json!(of("n")), json!([1, 2, 3, 4]));
    assert_eq!(json!(of("validator_id")), json!(["a", "b", "b", "b"]));
    assert_eq!(
        json!(of("outcome")),
        json!(["pass", "fail", "fail", "pass"])
    );
    assert_eq!(
        json!(of("failure_mode")),
        json!([null, "slow", "wrong", null])
    );
    assert_eq!(
        json!(of("trust_state")),
        json!(["trusted", "untrusted", "untrusted", "verified"])
    );
    assert_eq!(json!(of("trust_score")), json!([1.0, 0.5, 0.5, 1.0]));
    assert_eq!(json!(of("registry_lifecycle")), json!(vec!["canary"; 4]));
    let now = trust(&caller, "calc.1").await;
    for event in told {
        assert_eq!(
            event.subject,
            "onex.registry.v1.event.trust.changed.node.calc=2E1"
        );
        assert_eq!(event.body["node_id"], "calc.1");
        assert_eq!(event.body["requester_id"], json!(me));
        assert_eq!(event.body["record"], "trust.calc=2E1");
        assert_eq!(event.body["contract_hash"], now["contract_hash"]);
        assert!(event.body["correlation_id"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_trust_is_served_by_a_trusted_node() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let mut providers = Vec::new();
    for id in ["a-new", "b-known"] {
        let subject = format!("add.{id}");
        let tools = json!([{"name": "add", "version": "1.0.0", "subject": subject}]);
        let body = with(node(id, "tool", me), json!({"tools": tools}));
        caller.get("node.register", body).await;
        providers.push(Provider::answering(registry.url(), &subject, move |_| json!(id)).await);
    }
    let judge = node("judge", "validator", me);
    caller.get("node.register", judge).await;
    let passed = report("b-known", "judge", me, json!({}));
    caller.get("trust.report", passed).await;
    for (trusted_only, expected) in [(false, "a-new"), (true, "b-known")] {
        let body = json!({
            "tool_name": "add", "node_selection_policy": "first", "trusted_only": trusted_only,
        });
        let resolved = caller.see("tool.resolve", body.clone()).await;
        assert_eq!(resolved["provider_node_id"], expected);
        let called = caller.get("tool.invoke", body).await;
        assert_eq!(called["result"], expected);
    }
    // What it is trusted for is its contract: another one has to be looked at first.
    let tools =
        json!([{"name": "add", "version": "1.0.0", "subject": "add.b-known", "idempotent": true}]);
    let changed = with(node("b-known", "tool", me), json!({"tools": tools}));
    caller.get("node.register", changed).await;
    let body = json!({"tool_name": "add", "trusted_only": true});
    let refused = caller.refused("tool.invoke", body, ErrorCode::ProviderNotFound);
    let candidates = refused.await.detail("candidates").clone();
    for candidate in candidates.as_array().unwrap() {
        assert_eq!(candidate["reason"], "untrusted");
    }
}
