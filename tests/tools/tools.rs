//! Tools as contracts: how they come and go, how they are found, and what is told when two of them differ.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::{Caller, Events, Nats, Registry, until, with};
use onex_registry::protocol::{
    endpoint::NODE_BYTES_MAX, error::ErrorCode, subject::SUBJECT_CHARS_MAX,
};
use onex_types::bounds::{NODE_PATTERNS_MAX, NODE_TOOLS_MAX};
use serde_json::{Value, json};
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];

fn tool(name: &str, version: &str, more: Value) -> Value {
    with(json!({"name": name, "version": version}), more)
}

/// A tool whose arguments have a member of that name: each its own contract.
fn of_member(name: &str, version: &str, member: &str) -> Value {
    let schema = json!({"type": "object", "properties": {member: {"type": "string"}}});
    tool(name, version, json!({"input_schema": schema}))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "a body reads better without borrows"
)]
fn node(id: &str, requester: Uuid, tools: Value) -> Value {
    json!({
        "node_id": id, "version": "1.0.0", "node_type": "tool", "requester_id": requester, "tools": tools,
    })
}

fn claim(id: &str, requester: Uuid, more: Value) -> Value {
    with(
        json!({"node_id": id, "requester_id": requester, "epoch": 1}),
        more,
    )
}

async fn names(caller: &Caller, filter: Value) -> Vec<String> {
    let list = caller.see("tool.list", filter).await;
    let items = list["items"].as_array().unwrap().iter();
    let text = |item: &Value| item["name"].as_str().unwrap().to_owned();
    items.map(text).collect()
}

async fn item(caller: &Caller, name: &str) -> Value {
    let list = caller.see("tool.list", json!({"name": name})).await;
    list["items"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_come_and_go_without_a_new_registration() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let add = tool("add", "1.0.0", json!({}));
    caller
        .get("node.register", node("calc", me, json!([add])))
        .await;

    let sub = claim(
        "calc",
        me,
        json!({"tool": tool("sub", "1.0.0", json!({"tags": ["math"]}))}),
    );
    let added = caller.get("tool.register", sub.clone()).await;
    assert_eq!(added["status"], "accepted");
    assert_eq!(
        (&added["node_id"], &added["name"], &added["version"]),
        (&json!("calc"), &json!("sub"), &json!("1.0.0"))
    );
    assert_eq!(added["warnings"], json!([]));
    assert_eq!(names(&caller, json!({})).await, ["add", "sub"]);
    let described = caller.see("describe", json!({"node_id": "calc"})).await;
    assert_eq!(described["tools"].as_array().unwrap().len(), 2);
    assert_eq!(described["node"]["epoch"], 1);

    // Another contract in its place.
    let other = claim("calc", me, json!({"tool": of_member("sub", "1.0.0", "x")}));
    let replaced = caller.get("tool.register", other).await;
    assert_ne!(replaced["contract_hash"], added["contract_hash"]);
    let now = item(&caller, "sub").await;
    assert_eq!(now["contract_hash"], replaced["contract_hash"]);
    assert_eq!(now["versions"], json!(["1.0.0"]));

    // One version of it, then all that are left.
    for version in ["1.1.0", "1.2.0"] {
        let more = claim("calc", me, json!({"tool": tool("sub", version, json!({}))}));
        caller.get("tool.register", more).await;
    }
    let one = claim("calc", me, json!({"name": "sub", "version": "1.1.0"}));
    let removed = caller.get("tool.deregister", one.clone()).await;
    assert_eq!(
        (&removed["status"], &removed["version"]),
        (&json!("removed"), &json!("1.1.0"))
    );
    assert!(removed["contract_hash"].is_string());
    assert_eq!(
        item(&caller, "sub").await["versions"],
        json!(["1.2.0", "1.0.0"])
    );
    caller
        .refused("tool.deregister", one, ErrorCode::ToolNotFound)
        .await;
    let all = claim("calc", me, json!({"name": "sub"}));
    let removed = caller.get("tool.deregister", all.clone()).await;
    assert_eq!(removed["version"], Value::Null);
    assert_eq!(names(&caller, json!({})).await, ["add"]);
    caller
        .refused("tool.deregister", all, ErrorCode::ToolNotFound)
        .await;

    // What a registration says again is what there is.
    caller.get("tool.register", sub).await;
    let again = with(
        node("calc", me, json!([tool("mul", "1.0.0", json!({}))])),
        json!({"epoch": 1}),
    );
    caller.get("node.register", again).await;
    assert_eq!(names(&caller, json!({})).await, ["mul"]);

    // They are gone with their node.
    caller
        .get("node.deregister", claim("calc", me, json!({})))
        .await;
    assert!(names(&caller, json!({})).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_node_itself_changes_its_tools() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let (me, other) = (Uuid::new_v4(), Uuid::new_v4());
    let tools = json!([tool("add", "1.0.0", json!({}))]);
    let second = with(node("calc", me, tools.clone()), json!({"epoch": 2}));
    caller.get("node.register", second).await;
    caller.get("node.register", node("left", me, tools)).await;
    caller
        .get("node.deregister", claim("left", me, json!({})))
        .await;
    let with_tool = json!({"tool": tool("sub", "1.0.0", json!({}))});
    for (endpoint, what) in [
        ("tool.register", with_tool),
        ("tool.deregister", json!({"name": "add"})),
    ] {
        let of = |id: &str, requester, epoch: u64| {
            let claim = claim(id, requester, what.clone());
            with(claim, json!({"epoch": epoch}))
        };
        let refused = caller
            .refused(endpoint, of("calc", me, 1), ErrorCode::Superseded)
            .await;
        assert_eq!(refused.detail("epoch"), 2);
        for (body, code) in [
            (of("calc", me, 3), ErrorCode::NodeNotFound),
            (of("calc", other, 2), ErrorCode::NotHolder),
            (of("nobody", me, 1), ErrorCode::NodeNotFound),
            (of("left", me, 1), ErrorCode::NodeNotFound),
        ] {
            caller.refused(endpoint, body, code).await;
        }
    }
    assert_eq!(names(&caller, json!({})).await, ["add"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_again_changes_nothing() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let ids: Vec<Uuid> = (0..5).map(|_| Uuid::new_v4()).collect();
    let named =
        |n: usize, more: Value| claim("calc", me, with(more, json!({"request_id": ids[n]})));
    let first = of_member("add", "1.0.0", "a");
    let registration = with(
        node("calc", me, json!([first])),
        json!({"request_id": ids[0]}),
    );
    caller.get("node.register", registration).await;

    // It changes nothing, and is remembered all the same.
    let nothing = named(1, json!({"tool": first}));
    let hash = caller.get("tool.register", nothing.clone()).await["contract_hash"].clone();
    let change = named(2, json!({"tool": of_member("add", "1.0.0", "b")}));
    let changed = caller.get("tool.register", change.clone()).await["contract_hash"].clone();
    assert_ne!(hash, changed);
    caller.get("tool.register", nothing).await;
    assert_eq!(item(&caller, "add").await["contract_hash"], changed);

    let remove = named(3, json!({"name": "add"}));
    caller.get("tool.deregister", remove.clone()).await;
    caller.get("tool.register", change).await;
    assert!(names(&caller, json!({})).await.is_empty());
    caller
        .get("tool.register", claim("calc", me, json!({"tool": first})))
        .await;
    let again = caller.get("tool.deregister", remove).await;
    assert_eq!(again["status"], "removed");
    assert_eq!(names(&caller, json!({})).await, ["add"]);

    for n in 0..4 {
        for (endpoint, more) in [
            (
                "tool.register",
                json!({"tool": of_member("add", "1.0.0", "c")}),
            ),
            (
                "tool.deregister",
                json!({"name": "add", "version": "1.0.0"}),
            ),
        ] {
            let refused = caller.refused(endpoint, named(n, more), ErrorCode::IdempotencyMismatch);
            // What the life began with is its own kind of request.
            if n > 0 {
                refused.await;
            }
        }
    }
    let events = Events::published(&caller).await;
    let told: Vec<&str> = events.0.iter().map(crate::harness::Event::kind).collect();
    assert_eq!(
        told,
        [
            "node.registered",
            "tool.registered",
            "tool.registered",
            "tool.removed",
            "tool.registered"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_tools_are_bounded_however_they_come() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let many = |count: usize| -> Value {
        let tools = 0..count;
        tools
            .map(|n| tool(&format!("t{n}"), "1.0.0", json!({})))
            .collect()
    };
    let refused = caller
        .refused(
            "node.register",
            node("calc", me, many(NODE_TOOLS_MAX + 1)),
            ErrorCode::InvalidRequest,
        )
        .await;
    assert_eq!(refused.detail("pointer"), "/tools");
    let all = node("calc", me, many(NODE_TOOLS_MAX - 1));
    caller.get("node.register", all).await;
    let more =
        |name: &str, more: Value| claim("calc", me, json!({"tool": tool(name, "1.0.0", more)}));
    caller.get("tool.register", more("last", json!({}))).await;
    let refused = caller
        .refused(
            "tool.register",
            more("more", json!({})),
            ErrorCode::LimitExceeded,
        )
        .await;
    assert_eq!(refused.detail("limit"), NODE_TOOLS_MAX);
    assert_eq!(refused.detail("bound"), "tools of one node");
    // One in the place of another is not one more.
    let idempotent = more("last", json!({"idempotent": true}));
    caller.get("tool.register", idempotent).await;
    let last = claim("calc", me, json!({"name": "last"}));
    caller.get("tool.deregister", last).await;
    caller.get("tool.register", more("more", json!({}))).await;

    let patterns = |count: usize| {
        let schema = json!({"allOf": vec![json!({"pattern": "x"}); count]});
        json!({"output_schema": schema})
    };
    let tools: Value = (0..NODE_PATTERNS_MAX / 64)
        .map(|n| tool(&format!("p{n}"), "1.0.0", patterns(64)))
        .collect();
    let node_of = |id: &str, tools: &Value| node(id, me, tools.clone());
    caller
        .get("node.register", node_of("patterns", &tools))
        .await;
    let one = json!({"tool": tool("one", "1.0.0", patterns(1))});
    let refused = caller
        .refused(
            "tool.register",
            claim("patterns", me, one),
            ErrorCode::LimitExceeded,
        )
        .await;
    assert_eq!(refused.detail("limit"), NODE_PATTERNS_MAX);
    assert_eq!(refused.detail("bound"), "regular expressions of one node");
    let mut too_many = tools.clone();
    let tools = too_many.as_array_mut().unwrap();
    tools.push(tool("one", "1.0.0", patterns(1)));
    let refused = caller
        .refused(
            "node.register",
            node_of("other", &too_many),
            ErrorCode::InvalidRequest,
        )
        .await;
    assert_eq!(refused.detail("pointer"), "/tools/4");

    // All together they fit into what `describe` can answer.
    let large = |name: &str| {
        let text = "x".repeat(60_000);
        let schemas = json!({"input_schema": {"x-a": text}, "output_schema": {"x-b": text}});
        claim("large", me, json!({"tool": tool(name, "1.0.0", schemas)}))
    };
    caller
        .get("node.register", node("large", me, json!([])))
        .await;
    for name in ["a", "b", "c"] {
        caller.get("tool.register", large(name)).await;
    }
    let refused = caller
        .refused("tool.register", large("d"), ErrorCode::TooLarge)
        .await;
    assert_eq!(refused.detail("limit"), NODE_BYTES_MAX);
    let described = caller.see("describe", json!({"node_id": "large"})).await;
    assert_eq!(described["tools"].as_array().unwrap().len(), 3);
    let a = claim("large", me, json!({"name": "a"}));
    caller.get("tool.deregister", a).await;
    caller.get("tool.register", large("d")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tools_come_one_by_one_and_at_the_same_time() {
    let nats = Nats::start();
    let _both = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let caller = Caller::connect(&nats.url()).await;
    let me = Uuid::new_v4();
    caller
        .get("node.register", node("calc", me, json!([])))
        .await;
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..24 {
        let caller = caller.clone();
        callers.spawn(async move {
            let tool = tool(&format!("t{n}"), "1.0.0", json!({}));
            let body = claim(
                "calc",
                me,
                json!({"tool": tool, "request_id": Uuid::new_v4()}),
            );
            until("the tool to be taken", async || {
                match caller.ask("tool.register", body.clone()).await {
                    Ok(reply) => Some(reply),
                    Err(refused) => {
                        assert!(refused.retryable(), "{:#}", refused.error);
                        None
                    }
                }
            })
            .await;
        });
    }
    callers.join_all().await;
    assert_eq!(names(&caller, json!({})).await.len(), 24);
    let events = Events::published(&caller).await;
    check_events(&events);
    assert_eq!(events.of_kind("tool.registered").len(), 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_found_by_name_tag_node_and_version() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let versions = ["1.9.0", "1.10.0", "2.0.0-rc.1", "1.10.0-rc.2"];
    let mut tools: Vec<Value> = versions
        .iter()
        .map(|version| tool("add", version, json!({"tags": ["math"]})))
        .collect();
    // Versions alone make no other contract; what callers rely on does.
    tools[0]["idempotent"] = json!(true);
    tools.push(tool("sum", "3.0.0", json!({"tags": ["lists"]})));
    caller
        .get("node.register", node("calc", me, json!(tools)))
        .await;
    let also = json!([
        tool(
            "add",
            "1.9.0",
            json!({"tags": ["fast"], "idempotent": true})
        ),
        tool("zip", "1.0.0", json!({}))
    ]);
    caller.get("node.register", node("bulk", me, also)).await;

    let found = item(&caller, "add").await;
    assert_eq!(
        found["versions"],
        json!(["2.0.0-rc.1", "1.10.0", "1.10.0-rc.2", "1.9.0"])
    );
    assert_eq!(found["providers"], 2);
    assert_eq!(found["provider_node_ids"], json!(["bulk", "calc"]));
    assert_eq!(found["tags"], json!(["fast", "math"]));
    assert_eq!(found["collision"], false);
    // Several contracts: of its versions.
    assert_eq!(found["contract_hash"], Value::Null);

    for (filter, expected) in [
        (json!({}), vec!["add", "sum", "zip"]),
        (json!({"name": "sum"}), vec!["sum"]),
        (json!({"name": "su"}), vec![]),
        (json!({"tag": "math"}), vec!["add"]),
        (json!({"tag": "lists"}), vec!["sum"]),
        (json!({"node_id": "bulk"}), vec!["add", "zip"]),
        (json!({"node_id": "bulk", "tag": "math"}), vec![]),
        (json!({"version": "^1"}), vec!["add", "zip"]),
        (json!({"version": ">=3, <4"}), vec!["sum"]),
        (json!({"version": "=1.9.0"}), vec!["add"]),
        (json!({"version": "~1.9"}), vec!["add"]),
        (json!({"version": ">9"}), vec![]),
    ] {
        assert_eq!(names(&caller, filter.clone()).await, expected, "{filter}");
    }
    let ranged = json!({"name": "add", "version": "^1.9", "node_id": "calc"});
    let list = caller.see("tool.list", ranged).await;
    assert_eq!(list["items"][0]["versions"], json!(["1.10.0", "1.9.0"]));
    assert_eq!(list["items"][0]["providers"], 1);

    let mut cursor = Value::Null;
    let mut all = Vec::new();
    loop {
        let page = caller
            .see("tool.list", json!({"limit": 2, "cursor": cursor}))
            .await;
        for item in page["items"].as_array().unwrap() {
            all.push(item["name"].as_str().unwrap().to_owned());
        }
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(all, ["add", "sum", "zip"]);
    for (body, pointer) in [
        (json!({"version": "one"}), "/version"),
        (json!({"name": "a.b"}), "/name"),
        (json!({"limit": 0}), "/limit"),
        (json!({"cursor": "a.b"}), "/cursor"),
    ] {
        let refused = caller
            .refused("tool.list", body, ErrorCode::InvalidRequest)
            .await;
        assert_eq!(refused.detail("pointer"), pointer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_described_with_its_providers() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let schema =
        json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "number"}}});
    let said = json!({
        "description": "Adds.", "input_schema": schema, "output_schema": {"type": "number"},
        "error_codes": ["OVERFLOW"], "side_effects": ["log"], "idempotent": true, "tags": ["math"],
    });
    let tools = json!([
        tool("add", "1.0.0", json!({})),
        tool("add", "2.0.0", said.clone())
    ]);
    let calc = with(
        node("calc.1", me, tools.clone()),
        json!({"host": "build-7"}),
    );
    caller.get("node.register", calc).await;
    caller.get("node.register", node("calc.2", me, tools)).await;
    let heartbeat = claim("calc.1", me, json!({"health": {"queue": 3}}));
    caller.get("node.heartbeat", heartbeat).await;

    let newest = caller.see("tool.describe", json!({"name": "add"})).await;
    assert_eq!(newest["version"], "2.0.0");
    assert_eq!(newest["versions"], json!(["2.0.0", "1.0.0"]));
    for (member, value) in said.as_object().unwrap() {
        assert_eq!(newest["contract"][member], *value, "{member}");
    }
    assert_eq!(newest["collision"], false);
    assert_eq!(newest["variants"], json!([]));
    assert_eq!(newest["provider_count"], 2);
    let provider = &newest["providers"][0];
    assert_eq!(provider["node_id"], "calc.1");
    assert_eq!(provider["host"], "build-7");
    assert_eq!(provider["subject"], "onex.node.v1.tool.add.calc=2E1");
    assert_eq!(provider["contract_hash"], newest["contract_hash"]);
    assert_eq!(provider["health"], json!({"queue": 3}));
    assert_eq!(
        (&provider["trust_state"], &provider["trust_score"]),
        (&json!("untrusted"), &Value::Null)
    );
    assert_eq!(provider["online"], true);
    assert!(provider["expires_in_ms"].as_u64().unwrap() > 0);
    assert_eq!(newest["providers"][1]["health"], Value::Null);

    let old = json!({"name": "add", "version": "1.0.0"});
    assert_eq!(caller.see("tool.describe", old).await["version"], "1.0.0");
    let page = json!({"name": "add", "limit": 1});
    let first = caller.see("tool.describe", page).await;
    assert_eq!(first["providers"].as_array().unwrap().len(), 1);
    assert_eq!(first["provider_count"], 2);
    let page = json!({"name": "add", "limit": 1, "cursor": first["next_cursor"]});
    let second = caller.see("tool.describe", page).await;
    assert_eq!(second["providers"][0]["node_id"], "calc.2");
    assert_eq!(second.get("next_cursor"), None);

    for body in [
        json!({"name": "ad"}),
        json!({"name": "add", "version": "3.0.0"}),
    ] {
        caller
            .refused("tool.describe", body, ErrorCode::ToolNotFound)
            .await;
    }
    for id in ["calc.1", "calc.2"] {
        caller
            .get("node.deregister", claim(id, me, json!({})))
            .await;
    }
    caller
        .refused(
            "tool.describe",
            json!({"name": "add"}),
            ErrorCode::ToolNotFound,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_providers_are_of_one_version() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let offers = |version: &str| json!([tool("add", version, json!({}))]);
    for id in ["calc.1", "calc.2", "calc.3"] {
        caller
            .get("node.register", node(id, me, offers("1.2.0-rc.1+x")))
            .await;
    }
    let page = json!({"name": "add", "limit": 1});
    let first = caller.see("tool.describe", page.clone()).await;
    assert_eq!(first["version"], "1.2.0-rc.1+x");
    caller
        .get("node.register", node("calc.4", me, offers("2.0.0")))
        .await;
    let mut found = vec![first["providers"][0]["node_id"].clone()];
    let mut cursor = first["next_cursor"].clone();
    while cursor.is_string() {
        let body = with(page.clone(), json!({"cursor": cursor}));
        let next = caller.see("tool.describe", body).await;
        assert_eq!(next["version"], "1.2.0-rc.1+x");
        assert_eq!(next["contract_hash"], first["contract_hash"]);
        assert_eq!(next["provider_count"], 3);
        found.push(next["providers"][0]["node_id"].clone());
        cursor = next["next_cursor"].clone();
    }
    assert_eq!(found, ["calc.1", "calc.2", "calc.3"]);
    // A first page is of the newest; a page behind one of another version is none.
    let newest = caller.see("tool.describe", page.clone()).await;
    assert_eq!(newest["version"], "2.0.0");
    let mixed = json!({"version": "2.0.0", "cursor": first["next_cursor"]});
    for more in [mixed, json!({"cursor": "calc.1"})] {
        let refused = caller
            .refused(
                "tool.describe",
                with(page.clone(), more),
                ErrorCode::InvalidRequest,
            )
            .await;
        assert_eq!(refused.detail("pointer"), "/cursor");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_there_is_no_such_tool_is_never_said_by_an_instance_that_lags() {
    let nats = Nats::start();
    let _both = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let caller = Caller::connect(&nats.url()).await;
    let me = Uuid::new_v4();
    for n in 0..30 {
        let name = format!("t{n}");
        let tools = json!([tool(&name, "1.0.0", json!({}))]);
        caller
            .get("node.register", node(&format!("n{n}"), me, tools))
            .await;
        caller.get("tool.describe", json!({"name": name})).await;
        let more = claim(
            &format!("n{n}"),
            me,
            json!({"tool": tool(&name, "2.0.0", json!({}))}),
        );
        caller.get("tool.register", more).await;
        let second = json!({"name": name, "version": "2.0.0"});
        caller.get("tool.describe", second).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_fits_a_message_however_many_offer_the_tool() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let health = json!({"health": {"log": "x".repeat(4_000)}});
    let count = 90;
    for n in 0..count {
        let id = format!("n{n:03}");
        // Ten contracts of which none is small.
        let text = format!("{}{}", n % 10, "x".repeat(20_000));
        let tools = json!([tool(
            "add",
            "1.0.0",
            json!({"input_schema": {"properties": {"a": {"const": text}}}})
        )]);
        caller.get("node.register", node(&id, me, tools)).await;
        caller
            .get("node.heartbeat", claim(&id, me, health.clone()))
            .await;
    }
    let (mut cursor, mut found) = (Value::Null, BTreeSet::new());
    loop {
        let body = json!({"name": "add", "cursor": cursor, "limit": 1000});
        let page = caller.see("tool.describe", body).await;
        assert_eq!(page["provider_count"], count);
        let variants = page["variants"].as_array().unwrap();
        assert_eq!(variants.len(), 9);
        let full = variants.iter().filter(|one| one["contract"].is_object());
        assert_eq!(full.count(), 3, "as many as fit");
        assert!(variants.iter().all(|one| one["providers"] == 9));
        for provider in page["providers"].as_array().unwrap() {
            assert_eq!(provider["health"], health["health"]);
            assert!(found.insert(provider["node_id"].as_str().unwrap().to_owned()));
        }
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    assert_eq!(found.len(), count);
    let listed = item(&caller, "add").await;
    assert_eq!(
        (&listed["providers"], &listed["collision"]),
        (&json!(count), &json!(true))
    );
    assert_eq!(listed["provider_node_ids"].as_array().unwrap().len(), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_listens_where_it_may() {
    let registry = Registry::start(&[&ARGS[..], &["--tool-subjects", "calc.>,text.*"]].concat());
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let on = |subject: &str| json!([tool("add", "1.0.0", json!({"subject": subject}))]);
    let register = |subject: &str| with(node("calc.1", me, on(subject)), json!({"epoch": 1}));
    for good in ["calc.add.x", "text.a", "onex.node.v1.tool.add.calc=2E1"] {
        caller.get("node.register", register(good)).await;
        let described = caller.see("tool.describe", json!({"name": "add"})).await;
        assert_eq!(described["providers"][0]["subject"], good);
        assert_eq!(described["contract"]["subject"], good);
    }
    for bad in [
        "",
        "other.add",
        "text.a.b",
        "calc.*",
        "calc.>",
        "calc..x",
        "calc.a b",
        "$JS.API.STREAM.DELETE.KV_onex-registry",
        "$KV.onex-registry.sys",
        "_INBOX.x",
        "onex.registry.v1.port.lease",
        "onex.registry.v1.event.port.leased.x",
        "onex.registry.v1",
        "onex.ci.registry.v1.port.lease",
        "onex.node.v1.tool.add.other",
        "onex.ci.node.v1.tool.add.calc=2E1",
        &format!("calc.{}", "x".repeat(SUBJECT_CHARS_MAX)),
    ] {
        let refused = caller
            .refused("node.register", register(bad), ErrorCode::InvalidRequest)
            .await;
        assert_eq!(refused.detail("pointer"), "/tools/0/subject", "{bad}");
        let one = claim("calc.1", me, json!({"tool": on(bad)[0]}));
        let refused = caller
            .refused("tool.register", one, ErrorCode::InvalidRequest)
            .await;
        assert_eq!(refused.detail("pointer"), "/tool/subject", "{bad}");
    }
    // No two names are one subject.
    let tools = json!([tool("tool", "1.0.0", json!({}))]);
    caller
        .get("node.register", node("a.b", me, tools.clone()))
        .await;
    caller.get("node.register", node("a", me, tools)).await;
    let described = caller.see("tool.describe", json!({"name": "tool"})).await;
    let providers = described["providers"].as_array().unwrap();
    let subjects: BTreeSet<&str> = providers
        .iter()
        .map(|provider| provider["subject"].as_str().unwrap())
        .collect();
    assert_eq!(subjects.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collision_is_told_and_flagged_and_goes_with_its_cause() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let offers = |id: &str, member: &str| node(id, me, json!([of_member("add", "1.0.0", member)]));
    let first = caller.get("node.register", offers("one", "a")).await;
    assert_eq!(first["warnings"], json!([]));
    // The same contract is no collision, and neither is another version.
    let same = caller.get("node.register", offers("same", "a")).await;
    assert_eq!(same["warnings"], json!([]));
    let later = json!([of_member("add", "1.1.0", "b")]);
    let later = caller.get("node.register", node("later", me, later)).await;
    assert_eq!(later["warnings"], json!([]));
    assert_eq!(item(&caller, "add").await["collision"], false);
    let described = async |id: &str| {
        let node = caller.see("describe", json!({"node_id": id})).await;
        node["tools"][0]["collision"].clone()
    };
    assert_eq!(described("one").await, false);

    let other = caller.get("node.register", offers("other", "b")).await;
    assert_eq!(other["warnings"][0]["code"], "TOOL_COLLISION");
    let warning = other["warnings"][0]["message"].as_str().unwrap();
    for part in ["add", "1.0.0", "one", "same"] {
        assert!(warning.contains(part), "{warning}");
    }
    let listed = item(&caller, "add").await;
    assert_eq!(listed["collision"], true);
    assert_eq!(listed["contract_hash"], Value::Null);
    // Flagged also where only one of them is asked for.
    let of_one = caller.see("tool.list", json!({"node_id": "one"})).await;
    assert_eq!(of_one["items"][0]["collision"], true);
    let body = json!({"name": "add", "version": "1.0.0"});
    let tool = caller.see("tool.describe", body.clone()).await;
    assert_eq!(tool["collision"], true);
    // The one that more nodes offer.
    let properties = &tool["contract"]["input_schema"]["properties"];
    assert_eq!(*properties, json!({"a": {"type": "string"}}));
    let variant = &tool["variants"][0];
    let properties = &variant["contract"]["input_schema"]["properties"];
    assert_eq!(*properties, json!({"b": {"type": "string"}}));
    assert_eq!(variant["providers"], 1);
    let hashes: BTreeMap<&str, &Value> = tool["providers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["node_id"].as_str().unwrap(), &one["contract_hash"]))
        .collect();
    assert_eq!(hashes["one"], &tool["contract_hash"]);
    assert_eq!(hashes["same"], &tool["contract_hash"]);
    assert_eq!(hashes["other"], &variant["contract_hash"]);
    for id in ["one", "other"] {
        assert_eq!(described(id).await, true, "{id}");
    }
    let events = Events::published(&caller).await;
    let told = events.of_kind("tool.collision");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].body["node_id"], "other");
    assert_eq!(told[0].body["tool_name"], "add");
    assert_eq!(told[0].body["tool_version"], "1.0.0");
    assert_eq!(told[0].body["other_node_id"], "one");

    // It goes when what collides goes: here the tool, there the node.
    for id in ["one", "same"] {
        let gone = claim(id, me, json!({"name": "add"}));
        caller.get("tool.deregister", gone).await;
    }
    assert_eq!(item(&caller, "add").await["collision"], false);
    assert_eq!(described("one").await, Value::Null);
    assert_eq!(described("other").await, false);
    let back = claim("same", me, json!({"tool": of_member("add", "1.0.0", "a")}));
    let back = caller.get("tool.register", back).await;
    assert!(
        back["warnings"][0]["message"]
            .as_str()
            .unwrap()
            .contains("other")
    );
    assert_eq!(item(&caller, "add").await["collision"], true);
    assert_eq!(described("other").await, true);
    let other = claim("other", me, json!({}));
    caller.get("node.deregister", other).await;
    assert_eq!(item(&caller, "add").await["collision"], false);
    assert_eq!(described("same").await, false);
    let tool = caller.see("tool.describe", body).await;
    assert_eq!(
        (&tool["collision"], &tool["variants"]),
        (&json!(false), &json!([]))
    );
    assert_eq!(
        Events::published(&caller)
            .await
            .of_kind("tool.collision")
            .len(),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_collide_at_the_same_moment_one_is_told() {
    let nats = Nats::start();
    let _all = [
        Registry::on(&nats, &ARGS),
        Registry::on(&nats, &ARGS),
        Registry::on(&nats, &ARGS),
    ];
    let caller = Caller::connect(&nats.url()).await;
    let me = Uuid::new_v4();
    for round in 0..40 {
        let offer = |member: &str| {
            let tools = json!([of_member(&format!("t{round}"), "1.0.0", member)]);
            caller.get(
                "node.register",
                node(&format!("{member}{round}"), me, tools),
            )
        };
        let (one, other) = tokio::join!(offer("a"), offer("b"));
        let told = [one, other].map(|reply| reply["warnings"].as_array().unwrap().len());
        assert!(
            told == [0, 1] || told == [1, 0] || told == [1, 1],
            "{told:?}"
        );
        assert_eq!(item(&caller, &format!("t{round}")).await["collision"], true);
    }
    let events = Events::published(&caller).await;
    check_events(&events);
    let told: BTreeSet<&str> = events
        .of_kind("tool.collision")
        .iter()
        .map(|event| event.body["tool_name"].as_str().unwrap())
        .collect();
    assert_eq!(told.len(), 40, "{told:?}");
}

/// Every event has an id of its own, and what happened to a key is counted without a gap.
fn check_events(events: &Events) {
    let mut ids = BTreeSet::new();
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for event in &events.0 {
        let id = event.headers.get("ce-id").unwrap().as_str();
        assert!(ids.insert(id.to_owned()), "twice: {event:#?}");
        // Where events have their place in the stream by their position, the server need not remember their names.
        if let Some(name) = event.headers.get("Nats-Msg-Id") {
            assert_eq!(name.as_str(), id);
        }
        let subject = event.headers.get("ce-subject").unwrap().as_str();
        assert!(
            event
                .subject
                .ends_with(&format!(".{}.{subject}", event.kind()))
        );
        let n = event.body["n"].as_u64().unwrap();
        let record = event.body["record"].as_str().unwrap().to_owned();
        let before = counted.insert(record, n).unwrap_or(0);
        assert!(n == before || n == before + 1, "a gap: {event:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_that_comes_changes_or_goes_is_an_event() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let mut tools: Vec<Value> = (0..9)
        .map(|n| tool(&format!("t{n}"), "1.0.0", json!({})))
        .collect();
    // Two versions of one name.
    tools.push(tool("t0", "2.0.0", json!({})));
    let first = with(node("calc.1", me, json!(tools)), json!({"epoch": 1}));
    caller.get("node.register", first.clone()).await;
    let told = |events: &Events, kind: &str| -> Vec<(String, String)> {
        let of_kind = events.of_kind(kind);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let tools = of_kind.iter().map(|event| {
            (
                text(&event.body["tool_name"]),
                text(&event.body["tool_version"]),
            )
        });
        tools.collect()
    };
    let events = Events::published(&caller).await;
    check_events(&events);
    assert_eq!(told(&events, "tool.registered").len(), 10);
    let one = events.of_kind("tool.registered")[0];
    assert_eq!(one.body["node_id"], "calc.1");
    assert_eq!(one.body["requester_id"], json!(me));
    assert_eq!(one.body["epoch"], 1);
    assert_eq!(one.body["record"], "live.calc=2E1");
    assert!(one.body["correlation_id"].is_string());
    assert_eq!(
        one.subject,
        "onex.registry.v1.event.tool.registered.tool.t0.calc=2E1.1=2E0=2E0"
    );

    // What is the same, or differs for people only, is no event; what changed is one.
    caller.get("node.register", first.clone()).await;
    let mut again = first;
    again["tools"][3]["description"] = json!("the fourth");
    again["tools"][4]["idempotent"] = json!(true);
    again["tools"].as_array_mut().unwrap().remove(9);
    caller.get("node.register", again).await;
    let events = Events::published(&caller).await;
    check_events(&events);
    let registered = told(&events, "tool.registered");
    assert_eq!(registered.len(), 11);
    assert_eq!(registered[10], ("t4".to_owned(), "1.0.0".to_owned()));
    assert_eq!(
        told(&events, "tool.removed"),
        [("t0".to_owned(), "2.0.0".to_owned())]
    );

    let more = claim(
        "calc.1",
        me,
        json!({"tool": tool("t0", "3.0.0", json!({}))}),
    );
    caller.get("tool.register", more).await;
    let less = claim("calc.1", me, json!({"name": "t0", "version": "1.0.0"}));
    caller.get("tool.deregister", less).await;
    caller
        .get("node.deregister", claim("calc.1", me, json!({})))
        .await;
    let events = Events::published(&caller).await;
    check_events(&events);
    let registered = told(&events, "tool.registered");
    assert_eq!(registered[11..], [("t0".to_owned(), "3.0.0".to_owned())]);
    let removed = told(&events, "tool.removed");
    assert_eq!(removed[1], ("t0".to_owned(), "1.0.0".to_owned()));
    // The other eight, and the new one, with their node.
    assert_eq!(removed.len(), 2 + 9);
    assert_eq!(events.of_kind("node.deregistered").len(), 1);
}
