//! Calls with a request id: made once, whoever is asked for them and however often, and with one outcome.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Caller, Events, Nats, Provider, Registry, node, until, with};
use futures::future::join_all;
use onex_core::call::CALL_RESULT_BYTES_MAX;
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];

async fn announce(caller: &Caller, node_id: &str, more: Value) {
    let tool = with(
        json!({"name": "work", "version": "1.0.0", "subject": format!("work.{node_id}")}),
        more,
    );
    let body = node(Uuid::new_v4(), node_id, json!({"tools": [tool]}));
    caller.get("node.register", body).await;
}

fn call(request_id: Uuid, more: Value) -> Value {
    with(
        json!({"tool_name": "work", "timeout_ms": 30_000, "request_id": request_id}),
        more,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_again_is_answered_and_not_made() {
    let nats = Nats::start();
    let registries = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let caller = Caller::connect(&nats.url()).await;
    let provider = Provider::answering(&nats.url(), "work.a", |arguments| {
        let size = arguments["size"].as_u64().unwrap_or(0).try_into().unwrap();
        json!({"text": "x".repeat(size)})
    })
    .await;
    announce(
        &caller,
        "a",
        json!({"output_schema": {"properties": {"text": {"maxLength": 1_000_000}}}}),
    )
    .await;

    let id = Uuid::new_v4();
    let first = caller
        .get("tool.invoke", call(id, json!({"correlation_id": "one"})))
        .await;
    assert!(first["duration_ms"].is_u64() && first["attempts"] == 1);
    for n in 0..8 {
        // How long it waits and what it calls it may differ.
        let more = json!({"correlation_id": format!("again-{n}"), "timeout_ms": 20_000 + n});
        let again = caller.get("tool.invoke", call(id, more)).await;
        for same in [
            "result",
            "execution_id",
            "provider_node_id",
            "tool_version",
            "contract_hash",
        ] {
            assert_eq!(again[same], first[same]);
        }
        assert_eq!(again["correlation_id"], format!("again-{n}"));
        assert_eq!(
            (&again["duration_ms"], &again["attempts"]),
            (&Value::Null, &Value::Null)
        );
    }
    assert_eq!(provider.count(), 1);
    for other in [
        json!({"arguments": {"size": 1}}),
        json!({"trusted_only": true}),
    ] {
        caller
            .refused(
                "tool.invoke",
                call(id, other),
                ErrorCode::IdempotencyMismatch,
            )
            .await;
    }

    // What is too large to be kept was answered once.
    let id = Uuid::new_v4();
    let large = call(id, json!({"arguments": {"size": CALL_RESULT_BYTES_MAX}}));
    let answered = caller.get("tool.invoke", large.clone()).await;
    assert_eq!(
        answered["result"]["text"].as_str().unwrap().len(),
        CALL_RESULT_BYTES_MAX
    );
    let refused = caller
        .refused("tool.invoke", large, ErrorCode::TooLarge)
        .await;
    assert_eq!(refused.detail("executed"), true);
    assert_eq!(refused.detail("limit"), CALL_RESULT_BYTES_MAX);
    assert_eq!(provider.count(), 2);

    // Nobody offers it any more, and still it is known what came of it.
    drop(provider);
    let id = Uuid::new_v4();
    let refused = caller
        .refused(
            "tool.invoke",
            call(id, json!({})),
            ErrorCode::ProviderNotFound,
        )
        .await;
    assert!(refused.retryable());
    drop(registries);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_before_it_was_begun_may_be_called_again() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    announce(&caller, "a", json!({})).await;
    let id = Uuid::new_v4();
    let refused = caller
        .refused(
            "tool.invoke",
            call(id, json!({})),
            ErrorCode::ProviderNotFound,
        )
        .await;
    assert_eq!(refused.detail("candidates")[0]["reason"], "no_responders");
    let provider = Provider::answering(registry.url(), "work.a", |_| json!(1)).await;
    assert_eq!(
        caller.get("tool.invoke", call(id, json!({}))).await["result"],
        1
    );
    assert_eq!(
        caller.get("tool.invoke", call(id, json!({}))).await["result"],
        1
    );
    assert_eq!(provider.count(), 1);

    // A tool's own error is an outcome like any other.
    let failing = Provider::serve(registry.url(), "work.b", |got| async move {
        let headers = [
            ("Nats-Service-Error-Code", "500"),
            ("Nats-Service-Error", "E_DISK"),
        ];
        got.answer_bytes(&headers, String::new()).await;
    })
    .await;
    announce(&caller, "b", json!({})).await;
    let id = Uuid::new_v4();
    for _ in 0..3 {
        let pinned = call(id, json!({"provider_node_id": "b"}));
        let refused = caller
            .refused("tool.invoke", pinned, ErrorCode::ToolError)
            .await;
        assert_eq!(refused.detail("provider_code"), "E_DISK");
    }
    assert_eq!(failing.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_one_call() {
    let nats = Nats::start();
    let registries = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let caller = Caller::connect(&nats.url()).await;
    let gate = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&gate);
    let provider = Provider::serve(&nats.url(), "work.a", move |got| {
        let gate = Arc::clone(&waits);
        async move {
            gate.acquire().await.unwrap().forget();
            got.answer(&json!("done")).await;
        }
    })
    .await;
    announce(&caller, "a", json!({})).await;
    let id = Uuid::new_v4();
    let calls: Vec<_> = (0..16)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move { caller.get("tool.invoke", call(id, json!({}))).await })
        })
        .collect();
    until("it is called", async || {
        (provider.count() > 0).then_some(())
    })
    .await;
    // Whoever does not wait so long is told that it still runs.
    let hasty = call(id, json!({"timeout_ms": 300}));
    let refused = caller.refused("tool.invoke", hasty, ErrorCode::Busy).await;
    assert!(refused.retryable());
    gate.add_permits(16);
    let replies = join_all(calls).await;
    let ids: Vec<Value> = replies
        .into_iter()
        .map(|reply| reply.unwrap()["execution_id"].clone())
        .collect();
    assert!(ids.iter().all(|one| *one == ids[0]), "{ids:?}");
    assert_eq!(provider.count(), 1);
    drop(registries);
}

/// Callers that insist, as clients do, while registries are killed: every call has one outcome, and nothing is executed
/// twice.
#[tokio::test(flavor = "multi_thread")]
async fn callers_that_insist_are_served_once() {
    const CALLERS: usize = 6;
    const CALLS: usize = 20;
    let nats = Nats::start();
    let mut registries = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let caller = Caller::connect(&nats.url()).await;
    let provider = Provider::serve(&nats.url(), "work.a", |got| async move {
        // As long as work takes.
        tokio::time::sleep(Duration::from_millis(20)).await;
        got.answer(&got.arguments).await;
    })
    .await;
    announce(&caller, "a", json!({})).await;
    let insist = |n: usize| {
        let caller = caller.clone();
        async move {
            let body = call(
                Uuid::new_v4(),
                json!({"arguments": {"n": n}, "timeout_ms": 1_500}),
            );
            let body = body.to_string();
            until("the call has an outcome", async || {
                let sent = caller.send(
                    "tool.invoke",
                    crate::harness::header_map(&[]),
                    body.clone(),
                    Duration::from_secs(2),
                );
                match sent.await.ok()?.outcome() {
                    Ok(reply) => {
                        assert_eq!(reply["result"]["n"], n);
                        Some(true)
                    }
                    // Nobody knows: that is an outcome as well, and stays so.
                    Err(refused) if refused.is(ErrorCode::ToolTimeout) => Some(false),
                    Err(refused) => {
                        assert!(refused.retryable(), "{:#}", refused.error);
                        None
                    }
                }
            })
            .await
        }
    };
    let several = |from: usize| {
        let calls: Vec<_> = (from * CALLS..(from + 1) * CALLS).map(insist).collect();
        async move {
            let mut done = 0;
            for call in calls {
                done += usize::from(call.await);
            }
            done
        }
    };
    let calls = join_all((0..CALLERS).map(|from| tokio::spawn(several(from))));
    let kills = async {
        for round in 0..4 {
            until("calls are made", async || {
                (provider.count() > (round + 1) * 15).then_some(())
            })
            .await;
            registries[round % 2].kill();
            registries[round % 2] = Registry::on(&nats, &ARGS);
        }
    };
    let (calls, ()) = tokio::join!(calls, kills);
    let done: usize = calls.into_iter().map(Result::unwrap).sum();
    let mut executed = BTreeMap::<u64, u32>::new();
    for got in provider.got() {
        *executed
            .entry(got.arguments["n"].as_u64().unwrap())
            .or_default() += 1;
    }
    let twice: Vec<_> = executed.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(done >= CALLERS * CALLS * 8 / 10, "{done}");

    let ended = executions_ended(&caller, CALLERS * CALLS).await;
    let counts = until("all are counted", async || {
        let described = caller.describe("a", &["node"]).await;
        let count = described["node"]["execution_count"].as_u64()?;
        (count >= ended).then_some(described["node"].clone())
    })
    .await;
    assert_eq!(counts["execution_count"], ended);
    let succeeded =
        counts["success_rate"].as_f64().unwrap() * f64::from(u32::try_from(ended).unwrap());
    // Some whose callers were told that nobody knows did succeed for the events, and some failed calls were made again.
    assert!(
        succeeded.round() >= f64::from(u32::try_from(done).unwrap()),
        "{counts:#}"
    );
}

/// Waits until every execution that began has ended: each once, as the events tell. How many there are.
async fn executions_ended(caller: &Caller, at_least: usize) -> u64 {
    until("every call that began has ended", async || {
        let mut begun = BTreeMap::<String, u32>::new();
        let mut ended = BTreeMap::<String, u32>::new();
        for event in Events::read(caller).await.0 {
            let execution = event.body["execution_id"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            match event.kind() {
                "tool.invoked" => *begun.entry(execution).or_default() += 1,
                "tool.completed" | "tool.failed" => *ended.entry(execution).or_default() += 1,
                _ => {}
            }
        }
        assert!(begun.values().all(|times| *times == 1), "{begun:?}");
        assert!(ended.values().all(|times| *times == 1), "{ended:?}");
        let all = begun.keys().eq(ended.keys()) && ended.len() >= at_least;
        all.then_some(u64::try_from(ended.len()).unwrap())
    })
    .await
}
