//! Calls that come late, and that a registry stops under: nothing is sent in vain, and
//! everybody is told.

use std::time::Duration;

use crate::harness::{Caller, Events, Nats, Provider, Registry, node, until, with};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];

/// A registry, and a node that says that it offers `work`.
async fn announced(nats: &Nats) -> (Registry, Caller) {
    let registry = Registry::on(nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let tool = json!({"name": "work", "version": "1.0.0", "subject": "work.a"});
    let body = node(Uuid::new_v4(), "a", json!({"tools": [tool]}));
    caller.get("node.register", body).await;
    (registry, caller)
}

fn call(more: Value) -> Value {
    with(json!({"tool_name": "work", "timeout_ms": 2_000}), more)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_while_the_registry_stood_still_is_not_sent() {
    let nats = Nats::start();
    let (registry, caller) = announced(&nats).await;
    let provider = Provider::answering(&nats.url(), "work.a", |_| json!("done")).await;
    caller.get("tool.invoke", call(json!({}))).await;
    registry.pause();
    let waiting = [json!({}), json!({"request_id": Uuid::new_v4()})].map(|more| {
        let caller = caller.clone();
        tokio::spawn(async move { caller.ask("tool.invoke", call(more)).await })
    });
    // Longer than the callers wait, by their own clocks: there is nothing to look at meanwhile.
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    registry.resume();
    for waiting in waiting {
        let refused = waiting.await.unwrap().unwrap_err();
        if !refused.is(ErrorCode::StoreUnavailable) {
            assert!(refused.is(ErrorCode::ToolTimeout), "{refused:?}");
            assert_eq!(refused.detail("executed"), false);
        }
        assert!(refused.retryable());
    }
    // It serves, and has sent only what is wanted. What comes in the first moment counts from before, too: nobody can tell.
    until("it to serve again", async || {
        let done = caller.ask("tool.invoke", call(json!({}))).await;
        done.map_err(|refused| assert!(refused.retryable(), "{refused:?}"))
            .ok()
    })
    .await;
    assert_eq!(provider.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_stops_tells_those_who_wait_for_a_tool() {
    let nats = Nats::start();
    let (mut registry, caller) = announced(&nats).await;
    let silent = Provider::serve(&nats.url(), "work.a", |_| async {}).await;
    let id = Uuid::new_v4();
    let waiting = [json!({}), json!({"request_id": id})].map(|more| {
        let caller = caller.clone();
        let mut body = call(more);
        body["timeout_ms"] = json!(120_000);
        tokio::spawn(async move { caller.ask("tool.invoke", body).await })
    });
    until("both to be called", async || {
        (silent.count() == 2).then_some(())
    })
    .await;
    let _other = Registry::on(&nats, &ARGS);
    registry.terminate();
    for waiting in waiting {
        let refused = waiting.await.unwrap().unwrap_err();
        assert!(refused.is(ErrorCode::ToolTimeout), "{refused:?}");
        assert_eq!(refused.detail("executed"), "unknown");
    }
    let (status, said) = registry.ended();
    assert!(status.success(), "{said}");
    assert!(!said.contains("not settled"), "{said}");
    // The other one knows what came of the one that has a name, and both are told of.
    let mut again = call(json!({"request_id": id}));
    again["timeout_ms"] = json!(120_000);
    let again = caller.refused("tool.invoke", again, ErrorCode::ToolTimeout);
    assert_eq!(again.await.detail("executed"), "unknown");
    let told = until("both ends to be told", async || {
        let events = Events::read(&caller).await;
        (events.of_kind("tool.failed").len() == 2).then_some(events)
    })
    .await;
    assert_eq!(told.of_kind("tool.invoked").len(), 2);
    assert_eq!(silent.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_is_called_is_in_its_events() {
    let nats = Nats::start();
    let (_registry, caller) = announced(&nats).await;
    let _provider = Provider::answering(&nats.url(), "work.a", |_| json!("done")).await;
    let id = Uuid::new_v4();
    let named = json!({"correlation_id": "order-7", "request_id": id});
    caller.get("tool.invoke", call(named)).await;
    let loose = json!({"correlation_id": "order-8"});
    caller.get("tool.invoke", call(loose)).await;
    let events = until("all ends to be told", async || {
        let events = Events::read(&caller).await;
        (events.of_kind("tool.completed").len() == 2).then_some(events)
    })
    .await;
    for kind in ["tool.invoked", "tool.completed"] {
        let mut names: Vec<&str> = events
            .of_kind(kind)
            .into_iter()
            .map(|event| event.body["correlation_id"].as_str().unwrap())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["order-7", "order-8"], "{kind}");
        for event in events.of_kind(kind) {
            assert_eq!(event.body["trace_log_id"], event.body["correlation_id"]);
        }
    }
}
