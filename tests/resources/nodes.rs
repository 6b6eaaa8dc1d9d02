//! Nodes as `docs/protocol.md` describes them: registered, kept alive, followed by another life, ended, remembered and
//! forgotten; and the leases that end with them. Asked over a real server, and looked up in the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Caller, Events, Log, Nats, Registry, View, claim, node, tool, until};
use async_nats::HeaderMap;
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

const ARGS: [&str; 5] = ["--host", "here", "--no-probe", "--ports", "20000-20009"];

/// What a registry and a holder count more than a TTL of two seconds, in milliseconds.
const SLACK_OF_TWO_SECONDS: u64 = 502;

async fn start(args: &[&str]) -> (Registry, Caller) {
    let registry = Registry::start(&[&ARGS[..], args].concat());
    let caller = Caller::of(&registry).await;
    (registry, caller)
}

fn number(value: &Value, name: &str) -> u64 {
    value[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no number {name} in {value:#}"))
}

/// The ids of a page of nodes.
fn ids(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .filter_map(|item| item["node_id"].as_str())
        .collect()
}

async fn wait_until_ended(caller: &Caller, node_id: &str) -> Value {
    until("the node to end", async || {
        let page = caller.get("node.list", json!({"liveness": "ended"})).await;
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .find(|item| item["node_id"] == node_id)
            .cloned()
    })
    .await
}

async fn wait_until_forgotten(caller: &Caller, node_id: &str) {
    until("the node to be forgotten", async || {
        let page = caller.get("node.list", json!({})).await;
        (!ids(&page).contains(&node_id)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_says_all_that_a_node_needs() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let reply = caller.register(owner, "calc.1", json!({"ttl": 90})).await;
    assert_eq!(reply["node_id"], "calc.1");
    assert_eq!(reply["status"], "accepted");
    assert_eq!(reply["trust_state"], "untrusted");
    assert_eq!((number(&reply, "ttl"), number(&reply, "epoch")), (90, 1));
    assert_eq!(reply["warnings"], json!([]));
    let registry = caller.get("describe", json!({})).await;
    assert_eq!(reply["registry_id"], registry["registry"]["registry_id"]);
    let left = number(&reply, "expires_in_ms");
    assert!((80_000..=90_000).contains(&left), "{left}");
    assert_eq!(number(&reply, "heartbeat_after_ms"), left / 3);
    assert!(number(&reply, "revision") > 0);

    let default = caller.register(owner, "other", json!({})).await;
    assert_eq!(number(&default, "ttl"), 60);

    let heartbeat = caller
        .get("node.heartbeat", claim(owner, "calc.1", 1))
        .await;
    assert_eq!(heartbeat["node_id"], "calc.1");
    let left = number(&heartbeat, "expires_in_ms");
    assert!((80_000..=90_000).contains(&left), "{left}");
    assert_eq!(number(&heartbeat, "heartbeat_after_ms"), left / 3);
    // A TTL only grows, by whichever request.
    for (ttl, now) in [(30, 90), (120, 120), (60, 120)] {
        let mut body = claim(owner, "calc.1", 1);
        body["ttl"] = json!(ttl);
        caller.get("node.heartbeat", body).await;
        let seen = caller.describe("calc.1", &["node"]).await;
        assert_eq!(number(&seen["node"], "ttl"), now);
    }
    let again = json!({"epoch": 1, "ttl": 10});
    let again = caller.register(owner, "calc.1", again).await;
    assert_eq!(number(&again, "ttl"), 120);
    let refused = caller
        .refused(
            "node.register",
            node(owner, "x", json!({"ttl": 86_401})),
            ErrorCode::InvalidRequest,
        )
        .await;
    assert_eq!(refused.detail("pointer"), "/ttl");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_one_command() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let log = Log::of(&caller).await;
    // What begins a life writes it anew; what changes only what it announced renews it.
    for (more, live) in [
        (json!({}), "put"),
        (json!({"epoch": 1, "tools": [tool("add")]}), "renew"),
        (json!({"epoch": 7}), "put"),
    ] {
        let before = log.last().await;
        let reply = caller.register(owner, "calc.1", more).await;
        let written = log.about("live.calc=2E1", before).await;
        let [command] = written.as_slice() else {
            panic!("{written:#?}")
        };
        assert_eq!(command.kind(), "node.register");
        let both = [("put", "node.calc=2E1"), (live, "live.calc=2E1")];
        assert_eq!(command.changes(), both);
        assert!(number(&reply, "revision") > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_is_one_bare_key() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let tools: Vec<Value> = (0..20)
        .map(|n| {
            let schema = json!({"type": "object", "description": "x".repeat(500)});
            json!({"name": format!("tool-{n}"), "version": "1.0.0", "input_schema": schema})
        })
        .collect();
    caller
        .register(owner, "calc", json!({"tools": tools}))
        .await;
    let lease = json!({"node_id": "calc"});
    caller.lease(owner, lease).await;
    let log = Log::of(&caller).await;
    for _ in 0..3 {
        let before = log.last().await;
        caller.get("node.heartbeat", claim(owner, "calc", 1)).await;
        let written = log.about("live.calc", before).await;
        let [heartbeat] = written.as_slice() else {
            panic!("{written:#?}")
        };
        assert_eq!(heartbeat.body, "live.calc");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_count_lives() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let incarnation = async || {
        let live = Log::of(&caller).await.record("live.calc").await.unwrap();
        live["live"]["incarnation"].clone()
    };
    let epoch = async |more: Value| number(&caller.register(owner, "calc", more).await, "epoch");
    let superseded = async |more: Value, last: u64| {
        let body = node(owner, "calc", more);
        let refused = caller
            .refused("node.register", body, ErrorCode::Superseded)
            .await;
        assert_eq!(refused.detail("epoch"), last);
        let message = refused.error["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("last epoch is {last}")),
            "{message}"
        );
    };
    // None given: the next one.
    assert_eq!(epoch(json!({})).await, 1);
    let first = incarnation().await;
    // The same: a refresh of the same life, with what has changed.
    assert_eq!(epoch(json!({"epoch": 1, "tools": [tool("add")]})).await, 1);
    assert_eq!(incarnation().await, first);
    assert_eq!(caller.tool_names().await, ["add"]);
    assert_eq!(
        epoch(json!({"epoch": 1, "tools": [tool("sub")], "tags": ["x"]})).await,
        1
    );
    assert_eq!(incarnation().await, first);
    assert_eq!(caller.tool_names().await, ["sub"]);
    // Higher: another life.
    assert_eq!(epoch(json!({"epoch": 5})).await, 5);
    let second = incarnation().await;
    assert_ne!(second, first);
    assert_eq!(caller.tool_names().await, Vec::<String>::new());
    superseded(json!({"epoch": 4}), 5).await;
    superseded(json!({"epoch": 1}), 5).await;
    assert_eq!(epoch(json!({})).await, 6);
    // What acts for a life that is over is told so; one that is not there yet is not found.
    for (endpoint, more) in [
        ("node.heartbeat", json!({})),
        ("node.deregister", json!({})),
        ("tool.register", json!({"tool": tool("add")})),
        ("tool.deregister", json!({"name": "add"})),
    ] {
        let mut body = claim(owner, "calc", 5);
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let refused = caller
            .refused(endpoint, body.clone(), ErrorCode::Superseded)
            .await;
        assert_eq!(refused.detail("epoch"), 6);
        body["epoch"] = json!(7);
        caller
            .refused(endpoint, body, ErrorCode::NodeNotFound)
            .await;
    }
    // Ended: only a higher one begins anew.
    caller.get("node.deregister", claim(owner, "calc", 6)).await;
    superseded(json!({"epoch": 6}), 6).await;
    superseded(json!({"epoch": 5}), 6).await;
    assert_eq!(epoch(json!({"epoch": 9})).await, 9);
    caller.get("node.deregister", claim(owner, "calc", 9)).await;
    assert_eq!(epoch(json!({})).await, 10);
    assert_eq!(epoch(json!({"epoch": 1_u64 << 52})).await, 1 << 52);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_supersession_ends_rests() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    caller.register(owner, "calc", json!({"ttl": 2})).await;
    let bound = caller.lease(owner, json!({"node_id": "calc"})).await;
    let free = caller.lease(owner, json!({"ttl": 600})).await;
    let bus = json!({
        "bus_id": "queue", "protocol": "redis", "endpoint_uri": "redis://h", "requester_id": owner, "node_id": "calc",
    });
    caller.get("bus.register", bus).await;
    let before = Instant::now();
    caller.register(owner, "calc", json!({"ttl": 600})).await;
    let port = bound["port"].clone();
    // The lease of its own goes on; the one that hung on the old life has ended, and its port rests.
    until("the port to rest", async || {
        (caller.pool("here").await == (1, 1, 8)).then_some(())
    })
    .await;
    let page = caller
        .see("port.list", json!({"requester_id": owner}))
        .await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_eq!(page["items"][0]["lease_id"], free["lease_id"]);
    let mine = json!({"requester_id": owner, "lease_id": bound["lease_id"]});
    caller
        .refused("port.heartbeat", mine, ErrorCode::LeaseExpired)
        .await;
    let exact = json!({"preferred_port": port, "exact": true});
    let refused = caller
        .refused(
            "port.lease",
            crate::harness::lease_request(Uuid::new_v4(), exact.clone()),
            ErrorCode::PortUnavailable,
        )
        .await;
    assert_eq!(refused.detail("state"), "resting");
    let buses = caller.see("bus.list", json!({})).await;
    assert_eq!(buses["items"][0]["active"], false);
    // Nobody gets it before the old holder has stopped counting.
    until("the port to be free again", async || {
        let lease_request = crate::harness::lease_request(Uuid::new_v4(), exact.clone());
        caller.ask("port.lease", lease_request).await.ok()
    })
    .await;
    let rested = before.elapsed();
    let least = Duration::from_millis(2_000 + SLACK_OF_TWO_SECONDS);
    assert!(rested >= least, "{rested:?}");
    let events = Events::published(&caller).await;
    let lease_id = bound["lease_id"].as_str().unwrap();
    assert_eq!(events.of_lease(lease_id), ["port.leased", "port.revoked"]);
    let revoked = events.of_kind("port.revoked");
    assert_eq!(revoked[0].body["outcome"], "superseded");
    assert_eq!(
        events.about("node_id", "calc"),
        ["node.registered", "node.registered"]
    );
    assert_eq!(
        events.about("bus_id", "queue"),
        ["bus.registered", "bus.removed"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_belongs_to_who_announced_it() {
    let (_registry, caller) = start(&[]).await;
    let (owner, other) = (Uuid::new_v4(), Uuid::new_v4());
    caller
        .register(owner, "calc", json!({"tools": [tool("add")]}))
        .await;
    let not_holder = async |endpoint: &str, body: Value| {
        let refused = caller.refused(endpoint, body, ErrorCode::NotHolder).await;
        let message = refused.error["message"].as_str().unwrap().to_owned();
        assert!(
            message.starts_with("node calc belongs to another requester"),
            "{message}"
        );
        refused
    };
    for epoch in [json!({}), json!({"epoch": 1})] {
        let refused = not_holder("node.register", node(other, "calc", epoch)).await;
        assert_eq!(refused.detail("epoch"), 1);
        let message = refused.error["message"].as_str().unwrap();
        assert!(message.contains("higher epoch"), "{message}");
    }
    let mine = claim(other, "calc", 1);
    not_holder("node.heartbeat", mine.clone()).await;
    not_holder("node.deregister", mine.clone()).await;
    let mut add = mine.clone();
    add["tool"] = tool("mul");
    not_holder("tool.register", add).await;
    let mut remove = mine;
    remove["name"] = json!("add");
    not_holder("tool.deregister", remove).await;
    let lease = crate::harness::lease_request(other, json!({"node_id": "calc"}));
    not_holder("port.lease", lease).await;
    let bus = json!({
        "bus_id": "queue", "protocol": "redis", "endpoint_uri": "redis://h", "requester_id": other, "node_id": "calc",
    });
    not_holder("bus.register", bus).await;
    // With a higher epoch it can be taken over: whoever restarts it elsewhere may not have its requester id.
    let taken = caller.register(other, "calc", json!({"epoch": 2})).await;
    assert_eq!(number(&taken, "epoch"), 2);
    caller.get("node.heartbeat", claim(other, "calc", 2)).await;
    caller
        .refused(
            "node.heartbeat",
            claim(owner, "calc", 1),
            ErrorCode::Superseded,
        )
        .await;
    not_holder("node.heartbeat", claim(owner, "calc", 2)).await;
    // One that it has not had yet is said to be that.
    let refused = caller
        .refused(
            "node.heartbeat",
            claim(other, "calc", 7),
            ErrorCode::NodeNotFound,
        )
        .await;
    let message = refused.error["message"].as_str().unwrap();
    assert_eq!(message, "node calc has no epoch 7: its last one is 2");
    // One that has ended is anybody's.
    caller.get("node.deregister", claim(other, "calc", 2)).await;
    let again = caller.register(owner, "calc", json!({})).await;
    assert_eq!(number(&again, "epoch"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_are_idempotent() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let first = json!({"request_id": Uuid::new_v4(), "ttl": 60});
    let reply = caller.register(owner, "calc", first.clone()).await;
    assert_eq!(number(&reply, "epoch"), 1);
    let log = Log::of(&caller).await;
    let commands = async || log.about("live.calc", 0).await.len();
    let again = caller.register(owner, "calc", first.clone()).await;
    assert_eq!(number(&again, "epoch"), 1);
    assert_eq!(commands().await, 1);
    // When it was asked does not count; everything else does.
    let mut later = first.clone();
    later["requested_at"] = json!("2026-11-22T08:00:00Z");
    caller.register(owner, "calc", later).await;
    assert_eq!(commands().await, 1);
    let mut mismatch = first.clone();
    mismatch["tags"] = json!(["x"]);
    caller
        .refused(
            "node.register",
            node(owner, "calc", mismatch),
            ErrorCode::IdempotencyMismatch,
        )
        .await;
    // A refresh under an id of its own, again after others.
    let refresh = json!({"epoch": 1, "request_id": Uuid::new_v4(), "tags": ["a"]});
    caller.register(owner, "calc", refresh.clone()).await;
    caller
        .register(owner, "calc", json!({"epoch": 1, "tags": ["b"]}))
        .await;
    caller.register(owner, "calc", refresh.clone()).await;
    let seen = caller.describe("calc", &["node"]).await;
    assert_eq!(seen["node"]["tags"], json!(["b"]));
    // Another life: what led to the one before comes too late, and does not begin a third.
    let second = json!({"request_id": Uuid::new_v4()});
    let reply = caller.register(owner, "calc", second.clone()).await;
    assert_eq!(number(&reply, "epoch"), 2);
    for late in [&first, &refresh] {
        let body = node(owner, "calc", (*late).clone());
        let refused = caller
            .refused("node.register", body, ErrorCode::Superseded)
            .await;
        assert_eq!(refused.detail("epoch"), 2);
    }
    // Another requester's request under that id is another request.
    caller
        .refused(
            "node.register",
            node(Uuid::new_v4(), "calc", second.clone()),
            ErrorCode::NotHolder,
        )
        .await;
    // It has ended: the same again is told so, and taking one's leave twice is as good as once.
    let leave = claim(owner, "calc", 2);
    let left = caller.get("node.deregister", leave.clone()).await;
    assert_eq!(left["status"], "deregistered");
    assert_eq!(number(&left, "epoch"), 2);
    let last = log.last().await;
    let left_again = caller.get("node.deregister", leave).await;
    assert_eq!(left_again["ended_at"], left["ended_at"]);
    assert!(log.about("live.calc", last).await.is_empty());
    let body = node(owner, "calc", second);
    caller
        .refused("node.register", body, ErrorCode::Superseded)
        .await;
    let events = Events::published(&caller).await;
    assert_eq!(
        events.about("node_id", "calc"),
        ["node.registered", "node.registered", "node.deregistered"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_takes_all_that_hangs_on_a_node_at_once() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let announce =
        json!({"ttl": 1, "tools": [tool("add")], "schema": {"inputs": []}, "tags": ["t"]});
    caller.register(owner, "calc", announce.clone()).await;
    let bound = caller
        .lease(owner, json!({"node_id": "calc", "name": "api"}))
        .await;
    let bus = json!({
        "bus_id": "queue", "protocol": "redis", "endpoint_uri": "redis://h", "requester_id": owner, "node_id": "calc",
    });
    caller.get("bus.register", bus).await;
    assert_eq!(caller.tool_names().await, ["add"]);
    caller
        .see("schema.get", json!({"name": "add@1.0.0.input"}))
        .await;
    let item = wait_until_ended(&caller, "calc").await;
    // The very answer that shows its end, and any later one, shows nothing of what hung on it.
    assert_eq!(caller.tool_names().await, Vec::<String>::new());
    for (endpoint, body, code) in [
        (
            "tool.describe",
            json!({"name": "add"}),
            ErrorCode::ToolNotFound,
        ),
        (
            "schema.get",
            json!({"name": "add@1.0.0.input"}),
            ErrorCode::SchemaNotFound,
        ),
        (
            "schema.get",
            json!({"kind": "node", "name": "calc"}),
            ErrorCode::SchemaNotFound,
        ),
        (
            "node.heartbeat",
            claim(owner, "calc", 1),
            ErrorCode::NodeNotFound,
        ),
        (
            "port.lease",
            crate::harness::lease_request(owner, json!({"node_id": "calc"})),
            ErrorCode::NodeNotFound,
        ),
        (
            "port.heartbeat",
            json!({"requester_id": owner, "lease_id": bound["lease_id"]}),
            ErrorCode::LeaseExpired,
        ),
    ] {
        caller.refused(endpoint, body, code).await;
    }
    for (endpoint, body) in [
        ("port.list", json!({"node_id": "calc"})),
        ("port.list", json!({})),
        ("port.resolve", json!({"name": "api"})),
        ("schema.list", json!({"kind": "tool"})),
        ("schema.list", json!({"kind": "node"})),
        ("node.list", json!({"liveness": "online"})),
        ("node.list", json!({"liveness": "expired"})),
    ] {
        let page = caller.see(endpoint, body).await;
        assert_eq!(page["items"], json!([]), "{endpoint}");
    }
    let buses = caller.see("bus.list", json!({})).await;
    assert_eq!(buses["items"][0]["active"], false);
    assert_eq!(item["ended"], "expired");
    assert!(item["ended_at"].is_string());
    assert_eq!(item["expires_in_ms"], 0);
    // Its port is free for anyone: its holder stopped first.
    let exact = json!({"preferred_port": bound["port"], "exact": true});
    let next = caller.lease(Uuid::new_v4(), exact).await;
    assert!(number(&next, "fencing_token") > number(&bound, "fencing_token"));
    assert_eq!(caller.pool("here").await, (1, 0, 9));
    // Described all the same, with what it was.
    let seen = caller.describe("calc", &[]).await;
    assert_eq!(seen["node"]["liveness"], "ended");
    assert_eq!(seen["node"]["tags"], json!(["t"]));
    assert_eq!(seen["ports"]["leases"], json!([]));
    assert_eq!(seen["tools"][0]["name"], "add");
    // It comes back.
    let again = caller.register(owner, "calc", announce).await;
    assert_eq!(number(&again, "epoch"), 2);
    assert_eq!(caller.tool_names().await, ["add"]);
    let events = Events::published(&caller).await;
    assert_eq!(
        events.about("node_id", "calc"),
        [
            "node.registered",
            "tool.registered",
            "node.expired",
            "tool.removed",
            "node.rejoined",
            "tool.registered",
        ]
    );
    let lease_id = bound["lease_id"].as_str().unwrap();
    assert_eq!(events.of_lease(lease_id), ["port.leased", "port.expired"]);
    assert_eq!(
        events.about("bus_id", "queue"),
        ["bus.registered", "bus.removed"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_free_as_soon_as_its_node_has_gone() {
    let registry = Registry::start(&["--host", "here", "--no-probe", "--ports", "20000"]);
    let caller = Caller::of(&registry).await;
    for n in 0..20 {
        let owner = Uuid::new_v4();
        caller.register(owner, "calc", json!({})).await;
        // The only port there is: asked for by its number, or any.
        let more = if n % 2 == 0 {
            json!({"node_id": "calc", "preferred_port": 20_000, "exact": true})
        } else {
            json!({"node_id": "calc"})
        };
        let lease = caller.lease(owner, more).await;
        assert_eq!(lease["port"], 20_000);
        let epoch = n + 1;
        caller
            .get("node.deregister", claim(owner, "calc", epoch))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_ended_is_remembered_for_a_while_and_then_forgotten() {
    let (_registry, caller) = start(&["--retention", "2"]).await;
    let (owner, validator) = (Uuid::new_v4(), Uuid::new_v4());
    let announce = json!({"tools": [tool("add")], "epoch": 8});
    caller.register(owner, "calc", announce).await;
    let judge = json!({"node_type": "validator"});
    caller.register(validator, "judge", judge).await;
    let report = json!({
        "node_id": "calc", "validator_id": "judge", "requester_id": validator, "outcome": "pass",
    });
    caller.get("trust.report", report).await;
    let lease = caller.lease(owner, json!({"node_id": "calc"})).await;
    caller.get("node.deregister", claim(owner, "calc", 8)).await;
    let since = Instant::now();
    let page = caller.see("node.list", json!({})).await;
    assert_eq!(ids(&page), ["calc", "judge"]);
    let item = &page["items"][0];
    assert_eq!(
        (&item["liveness"], &item["ended"]),
        (&json!("ended"), &json!("deregistered"))
    );
    assert_eq!(
        caller.see("describe", json!({})).await["counts"]["nodes"],
        1
    );
    wait_until_forgotten(&caller, "calc").await;
    assert!(since.elapsed() >= Duration::from_secs(2));
    for (endpoint, body) in [
        ("describe", json!({"node_id": "calc"})),
        ("trust.get", json!({"node_id": "calc"})),
        ("node.heartbeat", claim(owner, "calc", 8)),
        ("node.deregister", claim(owner, "calc", 8)),
    ] {
        caller
            .refused(endpoint, body, ErrorCode::NodeNotFound)
            .await;
    }
    // All that was kept of it was removed by one command.
    let log = Log::of(&caller).await;
    let commands = log.commands(0).await;
    let removed = |key| {
        let of_key = |(kind, changed): &(&str, &str)| *kind == "del" && *changed == key;
        let by = commands
            .iter()
            .filter(|command| command.changes().iter().any(of_key));
        by.map(|command| (command.position, command.body["do"].clone()))
            .collect::<Vec<_>>()
    };
    let all = ["node.calc", "live.calc", "trust.calc"].map(removed);
    assert_eq!(all[0].len(), 1, "{commands:#?}");
    assert!(all.iter().all(|one| *one == all[0]), "{commands:#?}");
    // How its port was used last is not.
    let port = format!("port.here.tcp.{}", lease["port"]);
    assert!(removed(&port).is_empty());
    // It begins anew, as a node that nobody has heard of.
    let again = caller.register(owner, "calc", json!({})).await;
    assert_eq!(number(&again, "epoch"), 1);
    assert_eq!(again["trust_state"], "untrusted");
    let seen = caller.describe("calc", &["node", "trust"]).await;
    assert_eq!(seen["node"]["liveness"], "online");
    assert_eq!(seen["trust"]["trust_score"], Value::Null);
    let events = Events::published(&caller).await;
    let told: Vec<&str> = events
        .about("node_id", "calc")
        .into_iter()
        .filter(|kind| kind.starts_with("node."))
        .collect();
    assert_eq!(
        told,
        ["node.registered", "node.deregistered", "node.registered"]
    );
    // The view forgets it as well.
    let view = View::of(&caller).await;
    for key in ["node.judge", "live.judge"] {
        view.until(key, |_| true).await;
    }
    let body = claim(validator, "judge", 1);
    caller.get("node.deregister", body).await;
    for key in ["node.judge", "live.judge"] {
        until("the view to forget it", async || {
            view.get(key).await.is_none().then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_forgotten_comes_back_after_a_restart_too() {
    let nats = Nats::start();
    let args = [&ARGS[..], &["--retention", "1"]].concat();
    let mut registry = Registry::on(&nats, &args);
    let caller = Caller::connect(&nats.url()).await;
    let owner = Uuid::new_v4();
    for restarted in [false, true] {
        let epoch = number(&caller.register(owner, "calc", json!({})).await, "epoch");
        assert_eq!(epoch, 1);
        caller.get("node.deregister", claim(owner, "calc", 1)).await;
        wait_until_forgotten(&caller, "calc").await;
        if restarted {
            registry.kill();
            registry = Registry::on(&nats, &args);
        }
    }
    let again = caller.register(owner, "calc", json!({})).await;
    assert_eq!(number(&again, "epoch"), 1);
    drop(registry);
}

/// A registry and its server, both killed and started again, each with everything that it had.
struct Killed {
    nats: Nats,
    registry: Registry,
    args: Vec<&'static str>,
}

impl Killed {
    fn start(more: &[&'static str]) -> Self {
        let nats = Nats::start();
        let args = [&ARGS[..], more].concat();
        let registry = Registry::on(&nats, &args);
        Self {
            nats,
            registry,
            args,
        }
    }

    async fn caller(&self) -> Caller {
        Caller::connect(&self.nats.url()).await
    }

    fn again(&mut self) {
        self.registry.kill();
        self.nats.kill();
        self.nats.start_again();
        self.registry = Registry::on(&self.nats, &self.args);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_changes_nothing_about_a_live_node() {
    let mut all = Killed::start(&[]);
    let owner = Uuid::new_v4();
    let caller = all.caller().await;
    let announce = json!({
        "tools": [tool("add")], "capabilities": {"gpu": 1}, "request_id": Uuid::new_v4(), "ttl": 100,
    });
    caller.register(owner, "calc", announce.clone()).await;
    let lease_request = crate::harness::lease_request(
        owner,
        json!({"node_id": "calc", "request_id": Uuid::new_v4()}),
    );
    let lease = caller.get("port.lease", lease_request.clone()).await;
    let mut heartbeat = claim(owner, "calc", 1);
    heartbeat["health"] = json!({"load": 0.5});
    caller.get("node.heartbeat", heartbeat.clone()).await;
    let before = caller.describe("calc", &["node", "tools", "schema"]).await;
    all.again();
    let caller = all.caller().await;
    let after = caller.describe("calc", &["node", "tools", "schema"]).await;
    for section in ["tools", "schema"] {
        assert_eq!(before[section], after[section]);
    }
    let (mut before, mut after) = (before["node"].clone(), after["node"].clone());
    // Its time is counted anew.
    assert!(number(&after, "expires_in_ms") > 90_000);
    for node in [&mut before, &mut after] {
        node.as_object_mut().unwrap().remove("expires_in_ms");
    }
    assert_eq!(before, after);
    assert_eq!(
        caller.get("port.lease", lease_request).await["lease_id"],
        lease["lease_id"]
    );
    assert_eq!(
        number(&caller.register(owner, "calc", announce).await, "epoch"),
        1
    );
    caller.get("node.heartbeat", heartbeat).await;
    caller.get("node.deregister", claim(owner, "calc", 1)).await;
    until("its port to be free", async || {
        (caller.pool("here").await == (0, 0, 10)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_time_ran_out_unseen_has_it_again() {
    let mut all = Killed::start(&[]);
    let owner = Uuid::new_v4();
    let caller = all.caller().await;
    caller
        .register(owner, "calc", json!({"ttl": 2, "tools": [tool("add")]}))
        .await;
    let lease = caller.lease(owner, json!({"node_id": "calc"})).await;
    all.registry.kill();
    // Real time has to pass: longer than the node's.
    tokio::time::sleep(Duration::from_secs(3)).await;
    all.again();
    let caller = all.caller().await;
    // The registry has not seen it for so long: doubt lengthens.
    caller.get("node.heartbeat", claim(owner, "calc", 1)).await;
    assert_eq!(caller.tool_names().await, ["add"]);
    all.again();
    let caller = all.caller().await;
    wait_until_ended(&caller, "calc").await;
    until("its port to be free", async || {
        (caller.pool("here").await == (0, 0, 10)).then_some(())
    })
    .await;
    let events = Events::published(&caller).await;
    let lease_id = lease["lease_id"].as_str().unwrap();
    assert_eq!(events.of_lease(lease_id), ["port.leased", "port.expired"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_remembers_an_ended_node_and_a_forgotten_one_stays_forgotten() {
    let mut all = Killed::start(&["--retention", "3"]);
    let owner = Uuid::new_v4();
    let caller = all.caller().await;
    caller.register(owner, "calc", json!({"epoch": 4})).await;
    let lease = caller.lease(owner, json!({"node_id": "calc"})).await;
    caller.get("node.deregister", claim(owner, "calc", 4)).await;
    // Killed at once, whatever has become of its port.
    all.again();
    let caller = all.caller().await;
    let page = caller.get("node.list", json!({})).await;
    assert_eq!(page["items"][0]["ended"], "deregistered");
    let ghost = node(owner, "calc", json!({"epoch": 4}));
    caller
        .refused("node.register", ghost, ErrorCode::Superseded)
        .await;
    until("its port to be free", async || {
        (caller.pool("here").await == (0, 0, 10)).then_some(())
    })
    .await;
    wait_until_forgotten(&caller, "calc").await;
    all.again();
    let caller = all.caller().await;
    assert_eq!(caller.get("node.list", json!({})).await["items"], json!([]));
    let gone = json!({"node_id": "calc"});
    caller
        .refused("describe", gone, ErrorCode::NodeNotFound)
        .await;
    let again = caller.register(owner, "calc", json!({})).await;
    assert_eq!(number(&again, "epoch"), 1);
    let events = Events::published(&caller).await;
    let lease_id = lease["lease_id"].as_str().unwrap();
    assert_eq!(events.of_lease(lease_id), ["port.leased", "port.released"]);
    assert_eq!(
        events.about("node_id", "calc"),
        ["node.registered", "node.deregistered", "node.registered"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_never_sees_half_a_registration() {
    let nats = Nats::start();
    let one = Registry::on(&nats, &ARGS);
    let two = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let owner = Uuid::new_v4();
    // What was announced with epoch n says so in each of its parts; every third is a refresh.
    let announce = |epoch: u64, round: u64| {
        json!({
            "epoch": epoch, "ttl": 60, "version": format!("1.0.{round}"), "tags": [format!("epoch-{epoch}")],
            "tools": [{"name": "add", "version": format!("1.0.{round}")}],
            "description": format!("round {round}"),
        })
    };
    caller.register(owner, "calc", announce(1, 1)).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let (caller, done) = (caller.clone(), done.clone());
        readers.spawn(async move {
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) {
                let seen = caller.get("describe", json!({"node_id": "calc"})).await;
                let meta = &seen["node"];
                assert_eq!(
                    meta["tags"],
                    json!([format!("epoch-{}", meta["epoch"])]),
                    "{seen:#}"
                );
                let version = meta["version"].as_str().unwrap();
                assert_eq!(seen["tools"][0]["version"], version, "{seen:#}");
                let round = version.rsplit('.').next().unwrap();
                assert_eq!(meta["description"], format!("round {round}"), "{seen:#}");
                assert_eq!(meta["liveness"], "online");
                let tools = caller.get("tool.list", json!({})).await;
                assert_eq!(tools["items"].as_array().unwrap().len(), 1, "{tools:#}");
                assert_eq!(tools["items"][0]["versions"].as_array().unwrap().len(), 1);
                looks += 1;
            }
            looks
        });
    }
    for round in 2..150 {
        caller
            .register(owner, "calc", announce(round / 3 + 1, round))
            .await;
    }
    done.store(true, Ordering::Relaxed);
    let looks: usize = readers.join_all().await.into_iter().sum();
    assert!(looks > 50, "{looks}");
    drop((one, two));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_announce_one_node_one_wins() {
    let nats = Nats::start();
    let instances = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let caller = Caller::connect(&nats.url()).await;
    for round in 0..10 {
        let node_id = format!("calc-{round}");
        let mut rivals = JoinSet::new();
        for _ in 0..8 {
            let (caller, node_id) = (caller.clone(), node_id.clone());
            rivals.spawn(async move {
                let owner = Uuid::new_v4();
                let told = caller
                    .ask("node.register", node(owner, &node_id, json!({})))
                    .await;
                (owner, told)
            });
        }
        let told = rivals.join_all().await;
        let winners: Vec<_> = told.iter().filter(|(_, told)| told.is_ok()).collect();
        let [(winner, reply)] = winners.as_slice() else {
            panic!("{told:#?}")
        };
        assert_eq!(number(reply.as_ref().unwrap(), "epoch"), 1);
        for (_, told) in &told {
            if let Err(refused) = told {
                assert!(refused.is(ErrorCode::NotHolder), "{refused:?}");
            }
        }
        caller
            .get("node.heartbeat", claim(*winner, &node_id, 1))
            .await;
    }
    // The same request to both at once is one life.
    for round in 0..10 {
        let owner = Uuid::new_v4();
        let node_id = format!("twice-{round}");
        let body = node(owner, &node_id, json!({"request_id": Uuid::new_v4()}));
        let mut both = JoinSet::new();
        for _ in 0..6 {
            let (caller, body) = (caller.clone(), body.clone());
            both.spawn(async move { caller.get("node.register", body).await });
        }
        for reply in both.join_all().await {
            assert_eq!(number(&reply, "epoch"), 1);
        }
    }
    drop(instances);
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_a_node_is_is_judged_by_no_old_view() {
    let nats = Nats::start();
    let instances = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let caller = Caller::connect(&nats.url()).await;
    // It goes from hand to hand, and each acts for it at once, whichever instance is asked.
    for epoch in 1..60 {
        let owner = Uuid::new_v4();
        caller
            .register(owner, "calc", json!({"epoch": epoch}))
            .await;
        let on = json!({"bus_id": "queue", "protocol": "redis", "endpoint_uri": "redis://h", "requester_id": owner,
            "node_id": "calc"});
        caller.get("bus.register", on).await;
        caller
            .get("node.heartbeat", claim(owner, "calc", epoch))
            .await;
    }
    drop(instances);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_whole_after_kills() {
    let mut all = Killed::start(&[]);
    let owner = Uuid::new_v4();
    let mut accepted: Vec<String> = Vec::new();
    for round in 0..4 {
        let caller = all.caller().await;
        let count = Arc::new(AtomicUsize::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let mut busy = JoinSet::new();
        for n in 0..8 {
            let (caller, count, over) = (caller.clone(), Arc::clone(&count), Arc::clone(&over));
            busy.spawn(async move {
                let mut accepted = Vec::new();
                for k in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let node_id = format!("n-{round}-{n}-{k}");
                    let more = json!({"ttl": 600, "tools": [tool(&format!("t-{round}-{n}-{k}"))]});
                    let body = node(owner, &node_id, more).to_string();
                    let patience = Duration::from_secs(2);
                    let sent = caller
                        .send("node.register", HeaderMap::new(), body, patience)
                        .await;
                    match sent.map(crate::harness::Reply::outcome) {
                        Ok(Ok(_)) => accepted.push(node_id),
                        // Nobody is there, or the store is not: the kill.
                        _ => continue,
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
                accepted
            });
        }
        until("the load to go on", async || {
            (count.load(Ordering::Relaxed) >= 20).then_some(())
        })
        .await;
        // In the middle of it, wherever that is.
        if round % 2 == 0 {
            all.again();
        } else {
            all.registry.kill();
            // It is away for a moment, and requests fail.
            tokio::time::sleep(Duration::from_millis(100)).await;
            all.registry = Registry::on(&all.nats, &all.args);
        }
        over.store(true, Ordering::Relaxed);
        accepted.extend(busy.join_all().await.into_iter().flatten());
    }
    assert!(accepted.len() > 50, "{}", accepted.len());
    let caller = all.caller().await;
    let mut listed = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let body = json!({"limit": 1000, "cursor": cursor, "liveness": "online"});
        let page = caller.get("node.list", body).await;
        listed.extend(ids(&page).into_iter().map(str::to_owned));
        match page.get("next_cursor") {
            Some(next) => cursor = next.clone(),
            None => break,
        }
    }
    for node_id in &accepted {
        assert!(
            listed.contains(node_id),
            "{node_id} was accepted and is not there"
        );
    }
    // Nothing is there by half: every node has its epoch, of the same life.
    let log = Log::of(&caller).await;
    let commands = log.commands(0).await;
    let puts = commands
        .iter()
        .flat_map(|command| command.body["do"].as_array().into_iter().flatten());
    let (mut nodes, mut lives) = (BTreeMap::new(), BTreeMap::new());
    for put in puts {
        let key = put["put"].as_str().unwrap_or_default();
        if let Some(id) = key.strip_prefix("node.") {
            nodes.insert(id, &put["node"]["incarnation"]);
        } else if let Some(id) = key.strip_prefix("live.") {
            lives.insert(id, &put["live"]["incarnation"]);
        }
    }
    assert!(nodes.values().all(|incarnation| !incarnation.is_null()));
    assert_eq!(nodes, lives);
    assert_eq!(nodes.len(), listed.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_with_a_node_ends_with_it() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    // It has no time of its own.
    let both = crate::harness::lease_request(owner, json!({"node_id": "calc", "ttl": 60}));
    let refused = caller
        .refused("port.lease", both, ErrorCode::InvalidRequest)
        .await;
    assert_eq!(refused.detail("pointer"), "/ttl");
    let lease_request = crate::harness::lease_request(
        owner,
        json!({"node_id": "calc", "request_id": Uuid::new_v4()}),
    );
    caller
        .refused("port.lease", lease_request.clone(), ErrorCode::NodeNotFound)
        .await;

    caller.register(owner, "calc", json!({"ttl": 100})).await;
    let lease = caller.get("port.lease", lease_request.clone()).await;
    assert_eq!(
        (&lease["node_id"], number(&lease, "ttl")),
        (&json!("calc"), 100)
    );
    assert!((90_000..=100_000).contains(&number(&lease, "expires_in_ms")));
    let other = caller.lease(owner, json!({})).await;
    assert!(other.get("node_id").is_none());
    let again = caller.get("port.lease", lease_request.clone()).await;
    assert_eq!(again["lease_id"], lease["lease_id"]);

    // Its heartbeat says how it is, and changes nothing.
    let log = Log::of(&caller).await;
    let before = log.last().await;
    let mine = json!({"requester_id": owner, "lease_id": lease["lease_id"]});
    let heartbeat = caller.get("port.heartbeat", mine.clone()).await;
    let several = json!({"requester_id": owner, "lease_ids": [lease["lease_id"]]});
    let several = caller.get("port.heartbeat", several).await;
    let port = format!("port.here.tcp.{}", lease["port"]);
    assert!(log.about(&port, before).await.is_empty());
    assert_eq!(heartbeat["fencing_token"], again["fencing_token"]);
    assert_eq!(several["renewed"][0]["lease_id"], lease["lease_id"]);

    // Its time is the node's: a heartbeat of the node lengthens both.
    let mut heartbeat = claim(owner, "calc", 1);
    heartbeat["ttl"] = json!(3_000);
    caller.get("node.heartbeat", heartbeat).await;
    let page = caller.see("port.list", json!({"node_id": "calc"})).await;
    let [item] = page["items"].as_array().unwrap().as_slice() else {
        panic!("{page:#}")
    };
    assert_eq!(item["lease_id"], lease["lease_id"]);
    assert_eq!(number(item, "ttl"), 3_000);
    assert!(number(item, "expires_in_ms") > 2_990_000);
    assert_eq!(
        number(item, "renew_after_ms"),
        number(item, "expires_in_ms") / 3
    );
    let at: jiff::Timestamp = item["expires_at"].as_str().unwrap().parse().unwrap();
    let left = at.as_millisecond() - jiff::Timestamp::now().as_millisecond();
    assert!((2_980_000..=3_000_000).contains(&left), "{left}");

    caller.get("node.deregister", claim(owner, "calc", 1)).await;
    let page = caller.see("port.list", json!({"node_id": "calc"})).await;
    assert_eq!(page["items"], json!([]));
    // The same request again does not give another port, and the lease's own requests say that it is over.
    caller
        .refused("port.lease", lease_request, ErrorCode::LeaseExpired)
        .await;
    caller
        .refused("port.heartbeat", mine.clone(), ErrorCode::LeaseExpired)
        .await;
    let all = caller
        .get("port.heartbeat", json!({"requester_id": owner}))
        .await;
    assert_eq!(all["renewed"].as_array().unwrap().len(), 1);
    assert_eq!(all["renewed"][0]["lease_id"], other["lease_id"]);
    let released = caller.get("port.release", mine).await;
    assert_eq!(released["status"], "released");
    until("its port to be free", async || {
        (caller.pool("here").await == (1, 0, 9)).then_some(())
    })
    .await;
    let lease_request = crate::harness::lease_request(owner, json!({"node_id": "calc"}));
    caller
        .refused("port.lease", lease_request, ErrorCode::NodeNotFound)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_with_a_node_is_where_the_node_runs() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    caller
        .register(owner, "away", json!({"host": "build-7"}))
        .await;
    caller.register(owner, "silent", json!({})).await;
    for (more, host) in [
        (json!({"node_id": "away"}), "build-7"),
        (json!({"node_id": "away", "host": "build-8"}), "build-8"),
        (json!({"node_id": "silent"}), "here"),
        (json!({}), "here"),
    ] {
        let request = json!({"request_id": Uuid::new_v4(), "name": "api"});
        let mut lease_request = crate::harness::lease_request(owner, request);
        for (name, value) in more.as_object().unwrap() {
            lease_request[name] = value.clone();
        }
        let lease = caller.get("port.lease", lease_request.clone()).await;
        assert_eq!(lease["host"], host, "{more}");
        let again = caller.get("port.lease", lease_request).await;
        assert_eq!(again["lease_id"], lease["lease_id"], "{more}");
    }
    assert_eq!(caller.pool("build-7").await, (1, 0, 9));
    // It says another one: what is leased then is there, and what it had stays where it was.
    let moved = json!({"host": "build-9", "epoch": 1});
    caller.register(owner, "away", moved).await;
    let lease = caller.lease(owner, json!({"node_id": "away"})).await;
    assert_eq!(lease["host"], "build-9");
    assert_eq!(caller.pool("build-7").await, (1, 0, 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_a_node_speaks_of_is_checked() {
    let (_registry, caller) = start(&[]).await;
    let (owner, other) = (Uuid::new_v4(), Uuid::new_v4());
    let lease = caller.lease(owner, json!({})).await;
    let foreign = caller.lease(other, json!({})).await;
    let ended = caller.lease(owner, json!({})).await;
    let gone = json!({"requester_id": owner, "lease_id": ended["lease_id"]});
    caller.get("port.release", gone).await;
    let port = number(&lease, "port");
    let inbound = |lease_id: &Value, port: u64| {
        json!([
            {"name": "http", "port": port, "protocol": "http", "lease_id": lease["lease_id"]},
            {"name": "other", "port": port, "protocol": "http", "lease_id": lease_id},
        ])
    };
    for (lease_id, port, code) in [
        (json!(Uuid::now_v7()), port, ErrorCode::LeaseNotFound),
        (
            foreign["lease_id"].clone(),
            number(&foreign, "port"),
            ErrorCode::NotHolder,
        ),
        (
            ended["lease_id"].clone(),
            number(&ended, "port"),
            ErrorCode::LeaseExpired,
        ),
        (
            lease["lease_id"].clone(),
            port + 1,
            ErrorCode::InvalidRequest,
        ),
    ] {
        let mut ports = inbound(&lease_id, port);
        ports[0]["port"] = lease["port"].clone();
        let body = node(owner, "calc", json!({"inbound_ports": ports}));
        let refused = caller.refused("node.register", body, code).await;
        assert_eq!(refused.detail("pointer"), "/inbound_ports/1/lease_id");
        caller
            .refused(
                "describe",
                json!({"node_id": "calc"}),
                ErrorCode::NodeNotFound,
            )
            .await;
    }
    let ports = inbound(&lease["lease_id"], port);
    caller
        .register(owner, "calc", json!({"inbound_ports": ports}))
        .await;
    let seen = caller.describe("calc", &["ports"]).await;
    assert_eq!(seen["ports"]["inbound"][0]["lease_id"], lease["lease_id"]);
    assert_eq!(seen["ports"]["inbound"][0]["port"], port);

    // One that ends with the node's own life may be spoken of in that life, and not in the next: it ends there.
    let bound = caller.lease(owner, json!({"node_id": "calc"})).await;
    let speaks = |epoch: u64| {
        json!({"epoch": epoch, "inbound_ports": [
            {"name": "http", "port": bound["port"], "protocol": "http", "lease_id": bound["lease_id"]},
        ]})
    };
    caller.register(owner, "calc", speaks(1)).await;
    let refused = caller
        .refused(
            "node.register",
            node(owner, "calc", speaks(2)),
            ErrorCode::InvalidRequest,
        )
        .await;
    assert_eq!(refused.detail("pointer"), "/inbound_ports/0/lease_id");
    assert!(
        refused.error["message"]
            .as_str()
            .unwrap()
            .contains("name its epoch, 1")
    );
    caller.get("node.heartbeat", claim(owner, "calc", 1)).await;
    // No name of an epoch takes the room for the next one.
    for epoch in [(1_u64 << 52) + 1, (1 << 53) - 1] {
        let high = node(owner, "calc", json!({"epoch": epoch}));
        let refused = caller
            .refused("node.register", high, ErrorCode::InvalidRequest)
            .await;
        assert_eq!(refused.detail("pointer"), "/epoch");
    }
    caller
        .register(owner, "calc", json!({"epoch": 1_u64 << 52}))
        .await;
    let next = caller.register(owner, "calc", json!({})).await;
    assert_eq!(next["epoch"], (1_u64 << 52) + 1);
    let last = claim(owner, "calc", (1 << 52) + 1);
    caller.get("node.heartbeat", last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_lists_by_name_has_names_of_its_own() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let port = |name: &str, port: u16| json!({"name": name, "port": port, "protocol": "http"});
    let sends = |name: &str, topic: &str| json!({"name": name, "topic": topic, "protocol": "nats"});
    let field = |name: &str, kind: &str| json!({"name": name, "type": kind});
    let fields = json!([field("a", "text"), field("b", "text"), field("a", "number")]);
    for (more, pointer) in [
        (
            json!({"inbound_ports": [port("http", 80), port("http", 81)]}),
            "/inbound_ports/1/name",
        ),
        (
            json!({"outbound_ports": [sends("a", "x"), sends("b", "x"), sends("b", "y")]}),
            "/outbound_ports/2/name",
        ),
        (
            json!({"schema": {"inputs": fields}}),
            "/schema/inputs/2/name",
        ),
        (
            json!({"schema": {"outputs": fields}}),
            "/schema/outputs/2/name",
        ),
    ] {
        let body = node(owner, "calc", more);
        let refused = caller
            .refused("node.register", body, ErrorCode::InvalidRequest)
            .await;
        assert_eq!(refused.detail("pointer"), pointer);
    }
    // The same name in another list, and the same port by another name, are nothing to refuse.
    let more = json!({
        "inbound_ports": [port("http", 80), port("api", 80)],
        "outbound_ports": [sends("http", "x"), sends("api", "x")],
        "schema": {"inputs": [field("a", "text")], "outputs": [field("a", "text")]},
    });
    caller.register(owner, "calc", more).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let judge = json!({"node_type": "validator", "tags": ["b", "a", "a"], "host": "there"});
    caller.register(owner, "judge", judge).await;
    caller.register(owner, "calc", json!({"tags": ["a"]})).await;
    caller.register(owner, "gone", json!({})).await;
    caller.get("node.deregister", claim(owner, "gone", 1)).await;
    let report = json!({
        "node_id": "calc", "validator_id": "judge", "requester_id": owner, "outcome": "pass",
    });
    caller.get("trust.report", report).await;
    for (filter, expected) in [
        (json!({}), vec!["calc", "gone", "judge"]),
        (json!({"node_type": "validator"}), vec!["judge"]),
        (json!({"node_type": "agent"}), vec![]),
        (json!({"tag": "a"}), vec!["calc", "judge"]),
        (json!({"tag": "b"}), vec!["judge"]),
        (json!({"host": "there"}), vec!["judge"]),
        (json!({"liveness": "online"}), vec!["calc", "judge"]),
        (json!({"liveness": "ended"}), vec!["gone"]),
        (json!({"liveness": "expired"}), vec![]),
        (json!({"trusted_only": true}), vec!["calc"]),
        (json!({"tag": "a", "node_type": "tool"}), vec!["calc"]),
    ] {
        let page = caller.see("node.list", filter.clone()).await;
        assert_eq!(ids(&page), expected, "{filter}");
    }
    let page = caller
        .see("node.list", json!({"node_type": "validator"}))
        .await;
    let item = &page["items"][0];
    assert_eq!(item["tags"], json!(["a", "b"]));
    assert_eq!(item["host"], "there");
    assert_eq!(
        (&item["version"], number(item, "tools")),
        (&json!("1.0.0"), 0)
    );
    assert_eq!(item["trust_score"], Value::Null);
    let first = caller.see("node.list", json!({"limit": 2})).await;
    assert_eq!(ids(&first), ["calc", "gone"]);
    let second = json!({"limit": 2, "cursor": first["next_cursor"]});
    let second = caller.see("node.list", second).await;
    assert_eq!(ids(&second), ["judge"]);
    assert!(second.get("next_cursor").is_none());
    let bad = json!({"cursor": "not a node!"});
    caller
        .refused("node.list", bad, ErrorCode::InvalidRequest)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_makes_room() {
    let (_registry, caller) = start(&["--nodes-max", "2", "--retention", "1"]).await;
    let owner = Uuid::new_v4();
    caller.register(owner, "a", json!({})).await;
    caller.register(owner, "b", json!({})).await;
    // A node that is known is no new one.
    caller.register(owner, "b", json!({})).await;
    let refused = caller
        .refused(
            "node.register",
            node(owner, "c", json!({})),
            ErrorCode::LimitExceeded,
        )
        .await;
    assert_eq!(
        (refused.detail("bound"), refused.detail("limit")),
        (&json!("nodes"), &json!(2))
    );
    caller.get("node.deregister", claim(owner, "a", 1)).await;
    // It is still remembered.
    caller
        .refused(
            "node.register",
            node(owner, "c", json!({})),
            ErrorCode::LimitExceeded,
        )
        .await;
    wait_until_forgotten(&caller, "a").await;
    caller.register(owner, "c", json!({})).await;
    caller
        .refused(
            "node.register",
            node(owner, "a", json!({})),
            ErrorCode::LimitExceeded,
        )
        .await;
}
