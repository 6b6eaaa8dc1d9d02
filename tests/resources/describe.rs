//! What `describe`, `schema.list` and `schema.get` say, as `docs/protocol.md` describes it; also where messages must be
//! small.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::harness::{Caller, Nats, Registry, claim, node, tool, until, with};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];
const SECTIONS: [&str; 6] = ["node", "ports", "schema", "trust", "tools", "buses"];
/// What a server's messages may have in the tests of small ones, and what of that is for an answer's headers.
const PAYLOAD_MAX: usize = 64 * 1024;
const HEADERS: usize = 4 * 1024;
/// No page has more, however large messages may be.
const PAGE_BYTES_MAX: usize = 256 * 1024;

async fn start(args: &[&str]) -> (Registry, Caller) {
    let registry = Registry::start(&[&ARGS, args].concat());
    let caller = Caller::of(&registry).await;
    (registry, caller)
}

/// A server with small messages, and a registry on it.
fn narrow() -> (Nats, Registry) {
    let nats = Nats::start_with(&format!(
        "max_payload: {PAYLOAD_MAX}\njetstream {{ store_dir: \"FOLDER/store\", sync_interval: always }}"
    ));
    let registry = Registry::on(&nats, &ARGS);
    (nats, registry)
}

fn number(value: &Value, name: &str) -> u64 {
    value[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no number {name} in {value:#}"))
}

fn names(items: &Value, name: &str) -> Vec<String> {
    let items = items.as_array().unwrap();
    let name = |item: &Value| item[name].as_str().unwrap().to_owned();
    items.iter().map(name).collect()
}

fn bus(owner: Uuid, bus_id: &str, more: Value) -> Value {
    with(
        json!({
            "bus_id": bus_id, "protocol": "redis", "endpoint_uri": "redis://h:6379", "requester_id": owner,
        }),
        more,
    )
}

/// All that a node can say of itself.
fn everything() -> Value {
    json!({
        "version": "1.2.3-rc.1+build.5", "version_hash": "git:abc", "node_type": "agent", "description": "It adds.",
        "tags": ["math", "add"], "execution_mode": "container", "host": "there", "ttl": 100,
        "schema": {
            "inputs": [{
                "name": "a", "type": "number", "required": true, "description": "First.", "schema": {"type": "number"},
            }],
            "outputs": [{"name": "sum", "type": "number"}],
            "accepts_context": true, "modifies_state": true, "side_effects": ["writes a log"],
        },
        "inbound_ports": [{
            "name": "http", "port": 8080, "protocol": "http", "endpoint_uri": "http://user:secret@there:8080/add?token=x",
            "dynamic": true,
        }],
        "outbound_ports": [{"name": "log", "topic": "logs.add", "protocol": "nats"}],
        "tools": [{
            "name": "add", "version": "1.0.0", "description": "Adds.", "input_schema": {"type": "object"},
            "output_schema": {"type": "number"}, "error_codes": ["OVERFLOW"], "side_effects": ["none"],
            "idempotent": true, "tags": ["t"], "subject": "calc.add",
        }],
        "capabilities": {"gpu": [1, 2]}, "graph_binding": {"graph": "g"}, "owned_by_agent": "agent 7",
        "subscribed_by_agents": ["agent 8"], "upstream_nodes": ["up.1"], "downstream_nodes": ["down"],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_described_with_all_that_it_said() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let said = everything();
    caller.register(owner, "calc.1", said.clone()).await;
    let lease = caller
        .lease(owner, json!({"node_id": "calc.1", "name": "api"}))
        .await;
    caller
        .get(
            "bus.register",
            bus(owner, "queue", json!({"node_id": "calc.1"})),
        )
        .await;
    let mut heartbeat = claim(owner, "calc.1", 1);
    heartbeat["health"] = json!({"load": 0.25, "queue": []});
    caller.get("node.heartbeat", heartbeat).await;

    let seen = caller.describe("calc.1", &[]).await;
    assert_eq!(seen["node_id"], "calc.1");
    assert!(number(&seen, "revision") > 0);
    let meta = &seen["node"];
    for name in [
        "version",
        "version_hash",
        "node_type",
        "description",
        "execution_mode",
        "host",
        "ttl",
        "capabilities",
        "graph_binding",
        "owned_by_agent",
        "subscribed_by_agents",
        "upstream_nodes",
        "downstream_nodes",
    ] {
        assert_eq!(meta[name], said[name], "{name}");
    }
    assert_eq!(meta["tags"], json!(["add", "math"]));
    assert_eq!(
        (&meta["liveness"], number(meta, "epoch")),
        (&json!("online"), 1)
    );
    assert_eq!(meta["requester_id"], json!(owner));
    assert_eq!(meta["health"], json!({"load": 0.25, "queue": []}));
    assert!((90_000..=100_000).contains(&number(meta, "expires_in_ms")));
    assert_eq!(number(meta, "tools"), 1);
    for time in ["registered_at", "expires_at", "last_heartbeat_at"] {
        let time = meta[time].as_str().unwrap();
        assert!(
            time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(),
            "{time}"
        );
    }
    // What nobody measures is there, and says so.
    for unmeasured in [
        "execution_count",
        "success_rate",
        "last_execution_timestamp",
    ] {
        assert_eq!(meta.get(unmeasured), Some(&Value::Null), "{unmeasured}");
    }
    assert!(meta.get("ended_at").is_none());

    assert_eq!(seen["schema"]["accepts_context"], true);
    for name in ["modifies_state", "side_effects", "inputs"] {
        assert_eq!(seen["schema"][name], said["schema"][name], "{name}");
    }
    assert_eq!(seen["schema"]["outputs"][0]["name"], "sum");

    let inbound = &seen["ports"]["inbound"][0];
    assert_eq!(
        (&inbound["port"], &inbound["dynamic"]),
        (&json!(8080), &json!(true))
    );
    // Nobody's password is shown.
    assert_eq!(inbound["endpoint_uri"], "http://there:8080/add");
    assert_eq!(seen["ports"]["outbound"], said["outbound_ports"]);
    assert_eq!(number(&seen["ports"], "lease_count"), 1);
    let shown = &seen["ports"]["leases"][0];
    assert_eq!(shown["lease_id"], lease["lease_id"]);
    assert_eq!(
        (&shown["name"], &shown["port"]),
        (&json!("api"), &lease["port"])
    );

    assert_eq!(seen["trust"]["trust_state"], "untrusted");
    assert_eq!(seen["trust"]["trust_score"], Value::Null);
    assert_eq!(seen["trust"]["validated"], false);
    assert_eq!(seen["trust"]["contract_hash"], meta["contract_hash"]);

    let offered = &seen["tools"][0];
    for (name, value) in said["tools"][0].as_object().unwrap() {
        assert_eq!(offered[name], *value, "{name}");
    }
    assert!(
        offered["contract_hash"]
            .as_str()
            .unwrap()
            .starts_with("c2:")
    );
    assert_eq!(offered["collision"], false);

    assert_eq!(number(&seen, "bus_count"), 1);
    assert_eq!(seen["buses"][0]["bus_id"], "queue");
    assert_eq!(seen["buses"][0]["active"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_whose_lease_has_ended_is_shown_as_such() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let inbound = |name: &str, lease: &Value| {
        json!({
            "name": name, "port": lease["port"], "protocol": "http", "lease_id": lease["lease_id"],
        })
    };
    let (released, kept) = (
        caller.lease(owner, json!({})).await,
        caller.lease(owner, json!({})).await,
    );
    caller.register(owner, "calc", json!({})).await;
    let bound = caller.lease(owner, json!({"node_id": "calc"})).await;
    let ports = json!([
        inbound("released", &released),
        inbound("kept", &kept),
        inbound("bound", &bound),
        {"name": "fixed", "port": 80, "protocol": "http"},
    ]);
    caller
        .register(owner, "calc", json!({"epoch": 1, "inbound_ports": ports}))
        .await;
    let statuses = async || {
        let seen = caller.describe("calc", &["ports"]).await;
        let ports = seen["ports"]["inbound"].as_array().unwrap().clone();
        let status = |port: &Value| port.get("lease_status").cloned();
        ports.iter().map(status).collect::<Option<Vec<_>>>()
    };
    let expected = |[released, kept, bound]: [&str; 3]| {
        let mut all = [released, kept, bound].map(Value::from).to_vec();
        all.push(Value::Null);
        Some(all)
    };
    assert_eq!(statuses().await, expected(["active", "active", "active"]));
    let gone = json!({"requester_id": owner, "lease_id": released["lease_id"]});
    caller.get("port.release", gone).await;
    assert_eq!(statuses().await, expected(["ended", "active", "active"]));
    // Whoever gets the port then does not make it the node's again.
    let other = json!({"preferred_port": released["port"], "exact": true});
    let other = caller.lease(owner, other).await;
    assert_eq!(other["port"], released["port"]);
    assert_eq!(statuses().await, expected(["ended", "active", "active"]));
    caller.get("node.deregister", claim(owner, "calc", 1)).await;
    assert_eq!(statuses().await, expected(["ended", "active", "ended"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn sections_are_those_asked_for() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    caller.register(owner, "calc", json!({})).await;
    let has = |seen: &Value| -> Vec<&str> {
        let there = |section: &&str| seen.get(*section).is_some();
        SECTIONS.into_iter().filter(there).collect()
    };
    assert_eq!(has(&caller.describe("calc", &[]).await), SECTIONS);
    for section in SECTIONS {
        let seen = caller.describe("calc", &[section]).await;
        assert_eq!(has(&seen), [section]);
    }
    let seen = caller.describe("calc", &["tools", "node", "tools"]).await;
    assert_eq!(has(&seen), ["node", "tools"]);
    // A node that said nothing is described by what that stands for.
    let seen = caller.describe("calc", &[]).await;
    assert_eq!(seen["node"]["host"], Value::Null);
    assert_eq!(seen["node"]["health"], Value::Null);
    assert_eq!(seen["node"]["last_heartbeat_at"], Value::Null);
    assert_eq!(seen["schema"]["accepts_context"], false);
    assert_eq!(seen["schema"]["inputs"], json!([]));
    assert_eq!(
        seen["ports"],
        json!({"inbound": [], "outbound": [], "leases": [], "lease_count": 0})
    );
    // Two pools and a node fill the page, and nothing is behind them.
    let full = caller.see("describe", json!({"limit": 3})).await;
    assert_eq!(full["nodes"].as_array().unwrap().len(), 1);
    assert!(full.get("next_cursor").is_none());
    let unknown = json!({"node_id": "calc", "sections": ["node", "metrics"]});
    let refused = caller
        .refused("describe", unknown, ErrorCode::InvalidRequest)
        .await;
    assert_eq!(refused.detail("pointer"), "/sections/1");
    let gone = json!({"node_id": "nobody"});
    caller
        .refused("describe", gone, ErrorCode::NodeNotFound)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_node_is_not_there_is_said_behind_a_barrier() {
    let nats = Nats::start();
    let one = Registry::on(&nats, &ARGS);
    let two = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    // Whichever instance answers: what was accepted a moment ago is there.
    for n in 0..40 {
        let node_id = format!("n-{n}");
        let missing = json!({"node_id": node_id});
        caller
            .refused("describe", missing.clone(), ErrorCode::NodeNotFound)
            .await;
        caller.register(Uuid::new_v4(), &node_id, json!({})).await;
        caller.get("describe", missing).await;
    }
    drop((one, two));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_negative_answers_of_two_instances_keep_nobody_waiting() {
    let nats = Nats::start();
    let one = Registry::on(&nats, &ARGS);
    let two = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    // Each is a barrier, and each instance's overwrites the other's.
    let mut askers = JoinSet::new();
    for _ in 0..8 {
        let caller = caller.clone();
        askers.spawn(async move {
            let mut longest = Duration::ZERO;
            for _ in 0..60 {
                let since = Instant::now();
                let missing = json!({"node_id": "nobody"});
                caller
                    .refused("describe", missing, ErrorCode::NodeNotFound)
                    .await;
                longest = longest.max(since.elapsed());
            }
            longest
        });
    }
    let longest = askers.join_all().await.into_iter().max().unwrap();
    assert!(longest < Duration::from_millis(1_500), "{longest:?}");
    drop((one, two));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_is_described_page_by_page() {
    let (_registry, caller) = start(&["--retention", "600"]).await;
    let owner = Uuid::new_v4();
    for n in 0..5 {
        let tools = json!([tool(&format!("tool-{n}")), tool("shared")]);
        caller
            .register(owner, &format!("n-{n}"), json!({"tools": tools}))
            .await;
    }
    caller
        .register(owner, "gone", json!({"tools": [tool("gone")]}))
        .await;
    caller.get("node.deregister", claim(owner, "gone", 1)).await;
    for n in 0..3 {
        caller
            .get("bus.register", bus(owner, &format!("b-{n}"), json!({})))
            .await;
    }
    let ended = json!({"bus_id": "b-0", "requester_id": owner});
    caller.get("bus.deregister", ended).await;
    caller.lease(owner, json!({"node_id": "n-1"})).await;
    caller.lease(owner, json!({"host": "there"})).await;

    let whole = caller.see("describe", json!({})).await;
    assert!(whole.get("next_cursor").is_none());
    let counts = &whole["counts"];
    for (name, count) in [
        ("leases", 2),
        ("hosts", 2),
        ("nodes", 5),
        ("tools", 6),
        ("buses", 2),
    ] {
        assert_eq!(number(counts, name), count, "{name}");
    }
    assert_eq!(whole["instances"].as_array().unwrap().len(), 1);
    assert_eq!(
        whole["instances"][0]["registry_id"],
        whole["registry"]["registry_id"]
    );
    assert_eq!(whole["pools"].as_array().unwrap().len(), 4);
    assert_eq!(
        names(&whole["nodes"], "node_id"),
        ["gone", "n-0", "n-1", "n-2", "n-3", "n-4"]
    );
    assert_eq!(
        names(&whole["tools"], "name"),
        ["shared", "tool-0", "tool-1", "tool-2", "tool-3", "tool-4"]
    );
    assert_eq!(names(&whole["buses"], "bus_id"), ["b-0", "b-1", "b-2"]);

    // Pages of every size have all of it, each item once, in order.
    let all: usize = 4 + 6 + 6 + 3;
    for limit in 1..=all {
        let (mut lists, mut pages) = (vec![Vec::new(); 4], 0);
        let mut cursor = Value::Null;
        loop {
            let page = caller
                .get("describe", json!({"limit": limit, "cursor": cursor}))
                .await;
            pages += 1;
            let mut on_page = 0;
            for (list, name) in lists.iter_mut().zip(["pools", "nodes", "tools", "buses"]) {
                let items = page[name].as_array().unwrap();
                on_page += items.len();
                list.extend(items.clone());
            }
            assert!(on_page <= limit);
            match page.get("next_cursor") {
                None => break,
                Some(next) => {
                    assert_eq!(on_page, limit);
                    cursor = next.clone();
                }
            }
        }
        assert_eq!(pages, all.div_ceil(limit), "limit {limit}");
        assert_eq!(lists[0], *whole["pools"].as_array().unwrap());
        assert_eq!(
            names(&json!(lists[1]), "node_id"),
            names(&whole["nodes"], "node_id")
        );
        assert_eq!(lists[2], *whole["tools"].as_array().unwrap());
        assert_eq!(lists[3], *whole["buses"].as_array().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_registry_only_what_is_asked_for() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let more = json!({"tools": [tool("add")]});
    caller.register(owner, "calc", more).await;
    caller
        .get("bus.register", bus(owner, "queue", json!({})))
        .await;
    for (sections, has) in [
        (vec!["node"], ["nodes"].as_slice()),
        (vec!["buses", "ports"], &["pools", "buses"]),
        (vec!["schema", "trust"], &[]),
    ] {
        let page = caller.see("describe", json!({"sections": sections})).await;
        for list in ["pools", "nodes", "tools", "buses"] {
            let there = !page[list].as_array().unwrap().is_empty();
            assert_eq!(there, has.contains(&list), "{sections:?} {list}");
        }
    }
    for cursor in [
        "",
        "x",
        "x:y",
        "node",
        "schema:",
        "ports:nonsense",
        "node:a b",
    ] {
        let refused = caller
            .refused(
                "describe",
                json!({"cursor": cursor}),
                ErrorCode::InvalidRequest,
            )
            .await;
        assert_eq!(refused.detail("pointer"), "/cursor", "{cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stays_is_on_one_page_whatever_comes_and_goes() {
    let (_registry, caller) = start(&["--retention", "1"]).await;
    let owner = Uuid::new_v4();
    let stays: BTreeSet<String> = (0..30).map(|n| format!("stays-{n:02}")).collect();
    for node_id in &stays {
        caller.register(owner, node_id, json!({"ttl": 600})).await;
    }
    let (coming, other) = (caller.clone(), Uuid::new_v4());
    let churn = tokio::spawn(async move {
        for n in 0.. {
            // Before, between and behind those that stay.
            let node_id = format!("{}-{n}", ["a", "stays-1", "stays-2", "z"][n % 4]);
            coming.register(other, &node_id, json!({})).await;
            coming
                .get("node.deregister", claim(other, &node_id, 1))
                .await;
        }
    });
    for round in 0..12 {
        let mut seen = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let body = json!({"limit": 1 + round, "cursor": cursor, "sections": ["node"]});
            let page = caller.get("describe", body).await;
            seen.extend(names(&page["nodes"], "node_id"));
            match page.get("next_cursor") {
                None => break,
                Some(next) => cursor = next.clone(),
            }
        }
        let once: Vec<_> = seen
            .iter()
            .filter(|id| stays.contains(*id))
            .cloned()
            .collect();
        assert_eq!(once, stays.iter().cloned().collect::<Vec<_>>(), "{seen:?}");
    }
    churn.abort();
}

/// A tool that takes about that many bytes.
fn large_tool(name: &str, version: &str, bytes: usize) -> Value {
    let schema = json!({"type": "object", "description": "x".repeat(bytes)});
    json!({"name": name, "version": version, "input_schema": schema})
}

#[tokio::test(flavor = "multi_thread")]
async fn small_messages_make_short_pages() {
    let (nats, _registry) = narrow();
    let caller = Caller::connect(&nats.url()).await;
    let owner = Uuid::new_v4();
    let long = |n: usize| format!("{n:03}-{}", "x".repeat(120));
    for n in 0..60 {
        let tags: Vec<String> = (0..32)
            .map(|t| format!("tag-{t}-{}", "t".repeat(100)))
            .collect();
        let more =
            json!({"tags": tags, "tools": [large_tool(&long(n), "1.0.0", 10_000)], "ttl": 600});
        caller.register(owner, &long(n), more).await;
        let uri = format!("redis://{}/", "h".repeat(1_500));
        caller
            .get(
                "bus.register",
                bus(owner, &long(n), json!({"endpoint_uri": uri})),
            )
            .await;
    }
    let (mut found, mut pages, mut largest) = (vec![Vec::new(); 3], 0, 0);
    let mut cursor = Value::Null;
    loop {
        let reply = caller
            .reply(
                "describe",
                &[],
                json!({"limit": 1000, "cursor": cursor}).to_string(),
            )
            .await;
        largest = largest.max(reply.body.to_string().len());
        let page = reply.outcome().unwrap();
        pages += 1;
        for (list, name) in
            found
                .iter_mut()
                .zip([("nodes", "node_id"), ("tools", "name"), ("buses", "bus_id")])
        {
            list.extend(names(&page[name.0], name.1));
        }
        match page.get("next_cursor") {
            None => break,
            Some(next) => cursor = next.clone(),
        }
    }
    let expected: Vec<String> = (0..60).map(long).collect();
    for list in found {
        assert_eq!(list, expected);
    }
    assert!(pages > 5, "{pages}");
    assert!(largest <= PAYLOAD_MAX - HEADERS, "{largest}");
    // The same for each list, and whatever teaches.
    for endpoint in ["node.list", "tool.list", "bus.list", "schema.list"] {
        caller.get(endpoint, json!({"limit": 1000})).await;
    }
    for item in caller
        .get("schema.list", json!({"kind": "message", "limit": 1000}))
        .await["items"]
        .as_array()
        .unwrap()
    {
        let name = json!({"name": item["name"]});
        caller.get("schema.get", name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_item_is_never_too_long_for_a_page() {
    let (nats, _registry) = narrow();
    let caller = Caller::connect(&nats.url()).await;
    let owner = Uuid::new_v4();
    // One tool in more versions, and with more tags, than a message has room for.
    for n in 0..20 {
        let tools: Vec<Value> = (0..32)
            .map(|v| {
                let version = format!("1.0.0-{n}.{v}.{}", "v".repeat(100));
                let tags: Vec<String> = (0..3)
                    .map(|t| format!("{n}-{v}-{t}-{}", "t".repeat(100)))
                    .collect();
                json!({"name": "add", "version": version, "tags": tags})
            })
            .collect();
        let more = json!({"tools": tools, "ttl": 600});
        caller.register(owner, &format!("n-{n}"), more).await;
    }
    for endpoint in ["tool.list", "describe"] {
        let page = caller.see(endpoint, json!({"limit": 1000})).await;
        let tools = if endpoint == "describe" {
            &page["tools"]
        } else {
            &page["items"]
        };
        assert_eq!(number(&tools[0], "providers"), 20);
        let versions = names(&json!([{"v": tools[0]["versions"][0]}]), "v");
        assert!(versions[0].starts_with("1.0.0-19."), "{versions:?}");
        assert_eq!(tools[0]["versions"].as_array().unwrap().len(), 64);
        assert_eq!(tools[0]["tags"].as_array().unwrap().len(), 64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_is_longer_than_its_bound() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    for n in 0..120 {
        let tags: Vec<String> = (0..32)
            .map(|t| format!("tag-{t}-{}", "t".repeat(100)))
            .collect();
        let more = json!({"tags": tags, "ttl": 600});
        caller.register(owner, &format!("n-{n:03}"), more).await;
    }
    let mut cursor = Value::Null;
    let (mut seen, mut pages) = (0, 0);
    loop {
        let body = json!({"limit": 1000, "cursor": cursor, "sections": ["node"]});
        let page = caller.get("describe", body).await;
        assert!(page.to_string().len() <= PAGE_BYTES_MAX);
        seen += page["nodes"].as_array().unwrap().len();
        pages += 1;
        match page.get("next_cursor") {
            None => break,
            Some(next) => cursor = next.clone(),
        }
    }
    assert!(seen == 120 && pages > 1, "{seen} on {pages}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_described_is_not_registered() {
    let (nats, _registry) = narrow();
    let caller = Caller::connect(&nats.url()).await;
    let owner = Uuid::new_v4();
    // One large tool, and many small ones of which the description says more than the request did.
    let large = json!({"tools": [large_tool("add", "1.0.0", 40_000)]});
    let small: Vec<Value> = (0..256).map(|n| tool(&format!("t-{n:03}"))).collect();
    assert!(json!(small).to_string().len() < 12_000);
    let described = json!({"description": "d".repeat(4_000), "capabilities": "c".repeat(15_000)});
    let mut text = described.clone();
    text["graph_binding"] = json!("g".repeat(15_000));
    for more in [large, json!({"tools": small}), text] {
        let refused = caller
            .refused(
                "node.register",
                node(owner, "calc", more),
                ErrorCode::TooLarge,
            )
            .await;
        assert_eq!(refused.detail("limit"), PAYLOAD_MAX / 16 * 7);
        caller
            .refused(
                "describe",
                json!({"node_id": "calc"}),
                ErrorCode::NodeNotFound,
            )
            .await;
    }
    // As much as there is room for is described, whatever hangs on the node as well.
    let mut count = 256;
    let accepted = loop {
        let tools: Vec<Value> = (0..count).map(|n| tool(&format!("t-{n:03}"))).collect();
        let body = node(owner, "calc", json!({"tools": tools, "ttl": 600}));
        match caller.ask("node.register", body).await {
            Ok(_) => break count,
            Err(refused) => assert!(refused.is(ErrorCode::TooLarge), "{refused:?}"),
        }
        count -= 1;
    };
    assert!(accepted > 50, "{accepted}");
    // A tool more is refused as well.
    let mut more = claim(owner, "calc", 1);
    more["tool"] = large_tool("more", "1.0.0", 2_000);
    caller
        .refused("tool.register", more, ErrorCode::TooLarge)
        .await;
    let labels: Vec<String> = (0..16)
        .map(|n| format!("{n}-{}", "é".repeat(100)))
        .collect();
    for n in 0..40 {
        caller
            .lease(owner, json!({"node_id": "calc", "labels": labels}))
            .await;
        let uri = format!("redis://{}/", "h".repeat(1_500));
        let more = json!({"node_id": "calc", "endpoint_uri": uri});
        caller
            .get("bus.register", bus(owner, &format!("b-{n}"), more))
            .await;
    }
    let mut heartbeat = claim(owner, "calc", 1);
    heartbeat["health"] = json!("h".repeat(4_000));
    caller.get("node.heartbeat", heartbeat).await;
    let seen = caller.describe("calc", &[]).await;
    assert_eq!(seen["tools"].as_array().unwrap().len(), accepted);
    assert_eq!(
        (
            number(&seen["ports"], "lease_count"),
            number(&seen, "bus_count")
        ),
        (40, 40)
    );
    let leases = seen["ports"]["leases"].as_array().unwrap().len();
    let buses = seen["buses"].as_array().unwrap().len();
    assert!(
        leases > 0 && leases < 40 && leases == buses,
        "{leases} {buses}"
    );
    assert!(seen.to_string().len() <= PAYLOAD_MAX - HEADERS);
    // The lists have all of them.
    let page = caller
        .see("port.list", json!({"node_id": "calc", "limit": 5}))
        .await;
    assert_eq!(page["items"].as_array().unwrap().len(), 5);
    // And its end can be written and told.
    caller.get("node.deregister", claim(owner, "calc", 1)).await;
    until("its ports to be free", async || {
        (caller.pool("here").await.0 == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_much_that_hangs_on_it() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    caller.register(owner, "calc", json!({"ttl": 600})).await;
    for n in 0..120 {
        caller.lease(owner, json!({"node_id": "calc"})).await;
        caller
            .get(
                "bus.register",
                bus(owner, &format!("b-{n:03}"), json!({"node_id": "calc"})),
            )
            .await;
    }
    let seen = caller.describe("calc", &["ports", "buses"]).await;
    assert_eq!(
        (
            number(&seen["ports"], "lease_count"),
            number(&seen, "bus_count")
        ),
        (120, 120)
    );
    assert_eq!(seen["ports"]["leases"].as_array().unwrap().len(), 100);
    let shown = names(&seen["buses"], "bus_id");
    let first: Vec<String> = (0..100).map(|n| format!("b-{n:03}")).collect();
    assert_eq!(shown, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_true_for_one_revision() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    caller.register(owner, "calc", json!({"ttl": 600})).await;
    // A bus and a lease are made and ended together; whoever looks sees leases only together with their buses.
    let churn = {
        let caller = caller.clone();
        tokio::spawn(async move {
            for n in 0_u64.. {
                let lease = caller.lease(owner, json!({"node_id": "calc"})).await;
                let on = json!({"lease_id": lease["lease_id"], "node_id": "calc"});
                caller.get("bus.register", bus(owner, "queue", on)).await;
                let mine = json!({"requester_id": owner, "lease_id": lease["lease_id"], "request_id": Uuid::new_v4()});
                caller.get("port.release", mine).await;
                assert!(n < 10_000);
            }
        })
    };
    let mut active = 0;
    // How often a bus is seen while it lasts is a matter of who is faster.
    for _ in 0..10_000 {
        if active > 30 {
            break;
        }
        let seen = caller.get("describe", json!({"node_id": "calc"})).await;
        let live: Vec<&Value> = seen["ports"]["leases"].as_array().unwrap().iter().collect();
        for lease in &live {
            assert!(number(lease, "revision") <= number(&seen, "revision"));
        }
        let Some(bus) = seen["buses"].as_array().unwrap().first() else {
            continue;
        };
        if bus["active"] == true {
            active += 1;
            let ids: Vec<&Value> = live.iter().map(|lease| &lease["lease_id"]).collect();
            assert!(ids.contains(&&bus["lease_id"]), "{seen:#}");
        }
    }
    churn.abort();
    assert!(active > 10, "{active}");
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_of_messages_tools_and_nodes() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let more = json!({
        "tools": [
            {"name": "add", "version": "1.0.0", "input_schema": {"type": "object", "required": ["a"]},
             "output_schema": {"type": "number"}},
            {"name": "add", "version": "2.0.0"},
        ],
        "schema": {"inputs": [{"name": "a", "type": "number"}]},
    });
    caller.register(owner, "calc.1", more).await;
    caller.register(owner, "plain", json!({})).await;

    let messages = caller
        .see("schema.list", json!({"kind": "message", "limit": 1000}))
        .await;
    let messages = names(&messages["items"], "name");
    assert!(messages.is_sorted());
    for name in [
        "node.register.request",
        "describe.reply",
        "error",
        "event.node.expired",
        "view.port",
        "entry",
    ] {
        assert!(messages.contains(&name.to_owned()), "{name}");
        let got = caller.see("schema.get", json!({"name": name})).await;
        assert_eq!(
            (&got["kind"], &got["name"]),
            (&json!("message"), &json!(name))
        );
        let schema = &got["schema"];
        assert_eq!(
            schema["$schema"], "https://json-schema.org/draft/2020-12/schema",
            "{name}"
        );
        assert!(jsonschema::validator_for(schema).is_ok(), "{name}");
        for example in schema["examples"].as_array().unwrap() {
            assert!(jsonschema::is_valid(schema, example), "{name}: {example}");
        }
    }
    let tools = caller.see("schema.list", json!({"kind": "tool"})).await;
    assert_eq!(
        names(&tools["items"], "name"),
        [
            "add@1.0.0.input",
            "add@1.0.0.output",
            "add@2.0.0.input",
            "add@2.0.0.output"
        ]
    );
    let got = caller
        .see("schema.get", json!({"name": "add@1.0.0.input"}))
        .await;
    assert_eq!(got["kind"], "tool");
    assert_eq!(got["schema"], json!({"type": "object", "required": ["a"]}));
    let got = caller
        .see(
            "schema.get",
            json!({"name": "add@2.0.0.output", "kind": "tool"}),
        )
        .await;
    assert_eq!(got["schema"], true);
    let nodes = caller.see("schema.list", json!({"kind": "node"})).await;
    assert_eq!(names(&nodes["items"], "name"), ["calc.1"]);
    let got = caller.see("schema.get", json!({"name": "calc.1"})).await;
    assert_eq!(got["kind"], "node");
    assert_eq!(got["schema"]["inputs"][0]["name"], "a");
    for (missing, nearest) in [
        (json!({"name": "nothing"}), None),
        (json!({"name": "plain"}), None),
        (json!({"name": "plain", "kind": "node"}), None),
        (json!({"name": "calc1"}), Some("calc.1")),
        (json!({"name": "calc1", "kind": "tool"}), None),
        (json!({"name": "add@1.0.0.input", "kind": "message"}), None),
        (json!({"name": "add@3.0.0.input"}), Some("add@1.0.0.input")),
        (json!({"name": "add@1.0.0"}), Some("add@1.0.0.input")),
        (json!({"name": "ad@2.0.0.output"}), Some("add@2.0.0.output")),
        (json!({"name": "add"}), Some("add@1.0.0.input")),
        (
            json!({"name": "node.regster.request"}),
            Some("node.register.request"),
        ),
        (json!({"name": "trust.get"}), Some("trust.get.reply")),
        (json!({"name": "error", "kind": "node"}), None),
        (json!({"name": "@"}), None),
    ] {
        let refused = caller
            .refused("schema.get", missing.clone(), ErrorCode::SchemaNotFound)
            .await;
        assert_eq!(refused.detail("nearest"), &json!(nearest), "{missing}");
        assert_eq!(refused.detail("name"), &missing["name"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_that_collide_and_pages_of_them() {
    let (_registry, caller) = start(&[]).await;
    let owner = Uuid::new_v4();
    let one = json!({"name": "add", "version": "1.0.0", "input_schema": {"type": "object", "required": ["a"]}});
    caller
        .register(owner, "calc", json!({"tools": [one]}))
        .await;
    // One contract in the place of another: both have names of their own.
    let other =
        json!({"tools": [{"name": "add", "version": "1.0.0", "input_schema": {"type": "object"}}]});
    caller.register(owner, "other", other).await;
    let tools = caller.see("schema.list", json!({"kind": "tool"})).await;
    let both: Vec<String> = names(&tools["items"], "name")
        .into_iter()
        .filter(|name| name.starts_with("add@1.0.0") && name.contains(".input"))
        .collect();
    assert_eq!(both.len(), 2, "{both:?}");
    let mut found = BTreeSet::new();
    for name in &both {
        let got = caller.see("schema.get", json!({"name": name})).await;
        found.insert(got["schema"].to_string());
    }
    assert_eq!(found.len(), 2);
    // Pages have all of them, each once.
    let whole = caller.see("schema.list", json!({"limit": 1000})).await;
    let whole = names(&whole["items"], "name");
    let mut paged = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let page = caller
            .see("schema.list", json!({"limit": 7, "cursor": cursor}))
            .await;
        paged.extend(names(&page["items"], "name"));
        match page.get("next_cursor") {
            None => break,
            Some(next) => cursor = next.clone(),
        }
    }
    assert_eq!(paged, whole);
    let bad = json!({"cursor": "nothing"});
    caller
        .refused("schema.list", bad, ErrorCode::InvalidRequest)
        .await;
}
