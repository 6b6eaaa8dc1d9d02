//! Questions while the store cannot be asked: who allows it is told how things were, and how long ago that was.

use std::time::Duration;

use onex_registry::protocol::{
    endpoint::Endpoint,
    error::ErrorCode,
    names::{HEADER_AGE_MS, HEADER_MAX_AGE_MS, HEADER_TIMEOUT_MS},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Caller, Refused, Registry, UNTRIED, behind_wire, header_map, node, until};

/// How old what is told without being asked for is, at most, in milliseconds.
const STALE: u64 = 10_000;
const HOUR: &str = "3600000";

type Answer = Result<Value, Refused>;

async fn send(
    caller: &Caller,
    endpoint: &str,
    body: &Value,
    headers: &[(&str, &str)],
) -> (Answer, Option<u64>) {
    let patience = Duration::from_secs(5);
    let sent = caller.send(endpoint, header_map(headers), body.to_string(), patience);
    let reply = sent.await.unwrap();
    let age = reply.headers.get(HEADER_AGE_MS);
    let age = age.map(|age| age.as_str().parse().unwrap());
    (reply.outcome(), age)
}

/// What comes to who allows that age, and how old it is said to be.
async fn ask(
    caller: &Caller,
    endpoint: &str,
    body: &Value,
    max_age: &str,
) -> (Answer, Option<u64>) {
    let headers = [(HEADER_MAX_AGE_MS, max_age), (HEADER_TIMEOUT_MS, "2000")];
    send(caller, endpoint, body, &headers).await
}

fn refused(answer: Answer, code: ErrorCode) -> Refused {
    let refused = answer.unwrap_err();
    assert!(refused.is(code), "{refused:?}");
    refused
}

/// What does not change while nobody writes.
fn lasting(mut body: Value) -> Value {
    fn forget(value: &mut Value) {
        match value {
            Value::Object(members) => {
                let changes = |name: &str| name.ends_with("_ms") || name == "events_waiting";
                members.retain(|name, _| !changes(name) && name != "registry");
                members.values_mut().for_each(forget);
            }
            Value::Array(items) => items.iter_mut().for_each(forget),
            _ => {}
        }
    }
    forget(&mut body);
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn who_allows_it_is_told_how_things_were_while_the_store_cannot_be_asked() {
    let (_nats, wire, _registry, caller) = behind_wire(&["--host", "here"]).await;
    let me = Uuid::new_v4();
    let lease = caller.lease(me, json!({"name": "api", "ttl": 3600})).await;
    let tool = json!({"name": "add", "version": "1.0.0", "subject": "add.calc"});
    let body = node(me, "calc", json!({"tools": [tool], "ttl": 3600}));
    caller.get("node.register", body).await;
    let questions = [
        ("port.list", json!({})),
        ("port.list", json!({"host": "here"})),
        ("port.resolve", json!({"name": "api"})),
        ("pool.list", json!({})),
        ("node.list", json!({})),
        ("tool.list", json!({})),
        ("bus.list", json!({})),
        ("schema.list", json!({})),
        ("tool.describe", json!({"name": "add"})),
        ("trust.get", json!({"node_id": "calc"})),
        ("describe", json!({})),
        ("describe", json!({"node_id": "calc"})),
    ];
    let mut before = Vec::new();
    for (endpoint, body) in &questions {
        let (answer, age) = ask(&caller, endpoint, body, HOUR).await;
        assert!(age.unwrap() < STALE, "{endpoint} {age:?}");
        before.push(lasting(answer.unwrap()));
        // Who does not ask for it is not told.
        assert_eq!(
            send(&caller, endpoint, body, &[]).await.1,
            None,
            "{endpoint}"
        );
    }

    wire.silence_store();
    until("what is known to be old", async || {
        let refused = caller.ask("port.list", json!({})).await.err()?;
        assert!(refused.is(ErrorCode::StoreUnavailable), "{refused:?}");
        Some(())
    })
    .await;
    for ((endpoint, body), before) in questions.iter().zip(before) {
        let (answer, age) = ask(&caller, endpoint, body, HOUR).await;
        assert_eq!(lasting(answer.unwrap()), before, "{endpoint}");
        assert!(age.unwrap() >= STALE, "{endpoint} {age:?}");
        // Older than the caller allows.
        let (answer, age) = ask(&caller, endpoint, body, "10000").await;
        refused(answer, ErrorCode::StoreUnavailable);
        assert_eq!(age, None, "{endpoint}");
    }
    let explain = json!({"port": lease["port"]});
    let (held, age) = ask(&caller, "port.explain", &explain, HOUR).await;
    assert_eq!(held.unwrap()["state"], "held");
    assert!(age.unwrap() >= STALE);

    // What is not there, as far as was known then.
    for (endpoint, body, code) in [
        (
            "describe",
            json!({"node_id": "nobody"}),
            ErrorCode::NodeNotFound,
        ),
        (
            "tool.describe",
            json!({"name": "nothing"}),
            ErrorCode::ToolNotFound,
        ),
        (
            "schema.get",
            json!({"name": "nothing"}),
            ErrorCode::SchemaNotFound,
        ),
    ] {
        let (answer, age) = ask(&caller, endpoint, &body, HOUR).await;
        refused(answer, code);
        assert!(age.unwrap() >= STALE, "{endpoint} {age:?}");
    }

    // Nothing is done, and nobody is called, on what is old.
    let mine = json!({"requester_id": me, "lease_id": lease["lease_id"]});
    for (endpoint, body) in [
        ("port.heartbeat", mine),
        ("tool.resolve", json!({"tool_name": "add"})),
        ("tool.invoke", json!({"tool_name": "add", "dry_run": true})),
    ] {
        let (answer, age) = ask(&caller, endpoint, &body, HOUR).await;
        refused(answer, ErrorCode::StoreUnavailable);
        assert_eq!(age, None, "{endpoint}");
    }

    wire.mend();
    until("the store to be asked", async || {
        let (_, age) = ask(&caller, "port.list", &json!({}), HOUR).await;
        (age.unwrap() < STALE).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_age_that_is_none_is_refused_at_every_endpoint() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    for endpoint in Endpoint::ALL {
        for wrong in ["9999", "604800001", "-1", "1h", ""] {
            let (answer, _) = ask(&caller, endpoint.name(), &json!({}), wrong).await;
            let refused = refused(answer, ErrorCode::InvalidRequest);
            assert_eq!(refused.detail("header"), HEADER_MAX_AGE_MS, "{endpoint:?}");
            let message = refused.error["message"].as_str().unwrap();
            assert!(message.contains("10000 to 604800000"), "{message}");
        }
    }
}
