//! Executions: each leaves its begin and one end, and is counted once, over kills of registries.

use std::collections::BTreeMap;

use crate::harness::{Caller, Event, Events, Nats, Provider, Registry, node, until};
use async_nats::jetstream;
use serde_json::{Value, json};
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];

async fn announce(caller: &Caller, node_id: &str) {
    let tool = json!({"name": "work", "version": "1.0.0", "subject": format!("work.{node_id}")});
    let body = node(
        Uuid::new_v4(),
        node_id,
        json!({"tools": [tool], "ttl": 3600}),
    );
    caller.get("node.register", body).await;
}

/// What describe says of a node, once it says so many executions.
async fn counted(caller: &Caller, node_id: &str, executions: u64) -> Value {
    until("all to be counted", async || {
        let described = caller.ask("describe", json!({"node_id": node_id})).await;
        let node = described.ok()?["node"].clone();
        (node["execution_count"] == executions).then_some(node)
    })
    .await
}

/// The kinds that were told of each execution, in their order.
fn told(events: &Events) -> BTreeMap<String, Vec<String>> {
    let mut told = BTreeMap::<String, Vec<String>>::new();
    for event in &events.0 {
        if let Some(id) = event.body["execution_id"].as_str() {
            let kinds = told.entry(id.to_owned()).or_default();
            kinds.push(event.kind().to_owned());
        }
    }
    told
}

/// When the last execution ended that the stream tells of.
fn last_end(events: &Events) -> Value {
    let is_end = |event: &&Event| matches!(event.kind(), "tool.completed" | "tool.failed");
    events.0.iter().rfind(is_end).unwrap().body["at"].clone()
}

/// A tool that fails when it is asked to.
async fn provide(url: &str) -> Provider {
    Provider::serve(url, "work.a", |got| async move {
        if got.arguments["fail"] == true {
            let headers = [
                ("Nats-Service-Error-Code", "500"),
                ("Nats-Service-Error", "no"),
            ];
            got.answer_bytes(&headers, String::new()).await;
        } else {
            got.answer(&json!(1)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_execution_is_told_of_and_counted_once() {
    let nats = Nats::start();
    let mut first = Registry::on(&nats, &ARGS);
    let _second = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let _provider = provide(&nats.url()).await;
    announce(&caller, "a").await;
    let unmeasured = caller.get("describe", json!({"node_id": "a"})).await;
    assert_eq!(unmeasured["node"]["execution_count"], Value::Null);

    let (mut calls, mut good) = (0_u64, 0_u64);
    for round in 0..2 {
        for n in 0..20_u64 {
            let mut body = json!({"tool_name": "work", "arguments": {"fail": n % 4 == 0}});
            if n % 2 == 0 {
                body["request_id"] = json!(Uuid::new_v4());
            }
            let answered = caller.ask("tool.invoke", body).await;
            assert_eq!(answered.is_ok(), n % 4 != 0);
            calls += 1;
            good += u64::from(n % 4 != 0);
        }
        // What it was asked to tell without a request id has to be out before it is killed.
        let node = counted(&caller, "a", calls).await;
        let rate = node["success_rate"].as_f64().unwrap();
        let exact =
            f64::from(u32::try_from(good).unwrap()) / f64::from(u32::try_from(calls).unwrap());
        assert!((rate - exact).abs() < 1e-9, "{rate}");
        let events = Events::published(&caller).await;
        assert_eq!(node["last_execution_timestamp"], last_end(&events));
        if round == 0 {
            // It counted, being the first: the other one goes on from where it was.
            first.kill();
            first = Registry::on(&nats, &ARGS);
        }
    }
    let events = Events::published(&caller).await;
    let told = told(&events);
    assert_eq!(told.len() as u64, calls);
    for (id, kinds) in &told {
        assert_eq!(kinds.len(), 2, "{id}: {kinds:?}");
        assert_eq!(kinds[0], "tool.invoked");
    }
    assert_eq!(events.of_kind("tool.completed").len() as u64, good);
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_whose_registry_is_gone_has_its_end() {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let provider = Provider::serve(&nats.url(), "work.a", |_| async {}).await;
    announce(&caller, "a").await;
    for request_id in [Value::Null, json!(Uuid::new_v4())] {
        let caller = caller.client.clone();
        let body = json!({"tool_name": "work", "timeout_ms": 15_000, "request_id": request_id});
        let subject = "onex.registry.v1.tool.invoke";
        tokio::spawn(async move { caller.request(subject, body.to_string().into()).await });
    }
    until("both to be begun and told of", async || {
        let begun = Events::read(&caller).await;
        (provider.count() == 2 && begun.of_kind("tool.invoked").len() == 2).then_some(())
    })
    .await;
    registry.kill();
    let _other = Registry::on(&nats, &ARGS);
    let node = counted(&caller, "a", 2).await;
    assert_eq!(node["success_rate"], 0.0);
    let events = Events::published(&caller).await;
    assert_eq!(events.of_kind("tool.failed").len(), 2);
    for failed in events.of_kind("tool.failed") {
        assert_eq!(failed.body["outcome"], "unknown");
        assert_eq!(failed.body["executed"], "unknown");
        assert_eq!(failed.body["code"], "TOOL_TIMEOUT");
    }
    for kinds in told(&events).values() {
        assert_eq!(kinds[..], ["tool.invoked", "tool.failed"]);
    }
}

/// Counts come from the log: whoever publishes events of executions changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_others_publish_count_nothing() {
    let nats = Nats::start();
    let _registry = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let _provider = provide(&nats.url()).await;
    announce(&caller, "a").await;
    let call = json!({"tool_name": "work", "arguments": {}});
    caller.get("tool.invoke", call.clone()).await;
    counted(&caller, "a", 1).await;
    let events = Events::published(&caller).await;
    let context = jetstream::new(caller.client.clone());
    let ended = events.of_kind("tool.completed")[0];
    for _ in 0..3 {
        let (subject, body) = (ended.subject.clone(), ended.body.to_string());
        let sent = context.publish(subject, body.into()).await.unwrap();
        sent.await.unwrap();
    }
    caller.get("tool.invoke", call).await;
    let node = counted(&caller, "a", 2).await;
    assert_eq!(node["success_rate"], 1.0);
}
