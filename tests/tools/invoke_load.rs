//! Calls of tools under load: bounds, balance over instances, and providers that do not answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::harness::{Caller, Got, Nats, Provider, Registry, Reply, node, until, with};
use async_nats::RequestErrorKind;
use futures::future::{join_all, select_all};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];

/// A tool that any node may offer, on a subject of the node's own.
async fn announce(caller: &Caller, node_id: &str, more: Value) {
    let tool = with(
        json!({"name": "work", "version": "1.0.0", "subject": format!("work.{node_id}")}),
        more,
    );
    let body = node(Uuid::new_v4(), node_id, json!({"tools": [tool]}));
    caller.get("node.register", body).await;
}

/// Answers once the gate lets it.
async fn gated(url: &str, node_id: &str, gate: &Arc<Semaphore>) -> Provider {
    let gate = Arc::clone(gate);
    Provider::serve(url, &format!("work.{node_id}"), move |got| {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            got.answer(&json!("done")).await;
        }
    })
    .await
}

fn call(more: Value) -> Value {
    with(json!({"tool_name": "work", "timeout_ms": 60_000}), more)
}

/// A call in the background.
type Call = tokio::task::JoinHandle<Result<Value, crate::harness::Refused>>;

fn begin(caller: &Caller, more: Value) -> Call {
    let caller = caller.clone();
    tokio::spawn(async move { caller.ask("tool.invoke", call(more)).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_hold_and_others_are_served() {
    let bounds = [
        "--invokes-max",
        "3",
        "--invokes-per-provider-max",
        "2",
        // None waits.
        "--invoke-queue-max",
        "0",
        "--in-flight-max",
        "2",
    ];
    let registry = Registry::start(&[&ARGS[..], &bounds].concat());
    let caller = Caller::of(&registry).await;
    let gate = Arc::new(Semaphore::new(0));
    let (a, b) = (
        gated(registry.url(), "a", &gate).await,
        gated(registry.url(), "b", &gate).await,
    );
    announce(&caller, "a", json!({})).await;
    let first: Vec<_> = (0..2).map(|_| begin(&caller, json!({}))).collect();
    until("both are under way", async || {
        (a.count() == 2).then_some(())
    })
    .await;

    // The provider has as many as it may have; the registry has room for one more.
    let refused = caller
        .refused("tool.invoke", call(json!({})), ErrorCode::Busy)
        .await;
    assert!(refused.error["retry_after_ms"].is_u64());
    let said = caller
        .get("tool.invoke", call(json!({"dry_run": true})))
        .await;
    assert_eq!(said["candidates"][0]["reason"], "at_bound");
    assert_eq!(said["candidates"][0]["in_flight"], 2);
    assert_eq!(said["refusal"], "BUSY");
    announce(&caller, "b", json!({})).await;
    let more = begin(&caller, json!({}));
    until("that one goes elsewhere", async || {
        (b.count() == 1).then_some(())
    })
    .await;
    caller
        .refused("tool.invoke", call(json!({})), ErrorCode::Busy)
        .await;

    // Calls that wait for a provider keep nobody from being served: only two requests may be under way.
    caller.lease(Uuid::new_v4(), json!({})).await;

    gate.add_permits(3);
    for call in first.into_iter().chain([more]) {
        assert_eq!(call.await.unwrap().unwrap()["result"], "done");
    }
    assert_eq!(a.count() + b.count(), 3);
    gate.add_permits(1);
    assert_eq!(
        caller.get("tool.invoke", call(json!({}))).await["result"],
        "done"
    );
}

/// Waits until that many calls wait for the first candidate.
async fn queued(caller: &Caller, count: usize) -> Value {
    until("calls to wait", async || {
        let said = caller
            .get("tool.invoke", call(json!({"dry_run": true})))
            .await;
        (said["candidates"][0]["queued"] == count).then_some(said)
    })
    .await
}

/// The same once the last of these calls waits. None of them may be answered before.
async fn queued_last(caller: &Caller, count: usize, all: &mut [Call]) -> Value {
    let waits = queued(caller, count);
    let answered = async {
        let (answer, at, _) = select_all(all.iter_mut()).await;
        panic!(
            "call {at} is answered instead of waiting: {:#?}",
            answer.unwrap()
        );
    };
    tokio::select! {
        said = waits => said,
        never = answered => never,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_bound_are_served_in_the_order_in_which_they_came() {
    let bounds = ["--invokes-per-provider-max", "2", "--invoke-queue-max", "3"];
    let registry = Registry::start(&[&ARGS[..], &bounds].concat());
    let caller = Caller::of(&registry).await;
    let gate = Arc::new(Semaphore::new(0));
    let a = gated(registry.url(), "a", &gate).await;
    announce(&caller, "a", json!({})).await;
    let numbered = |n: usize| begin(&caller, json!({"arguments": {"n": n}}));
    let mut all = Vec::new();
    for n in 0..2 {
        all.push(numbered(n));
        until("it is under way", async || {
            (a.count() == n + 1).then_some(())
        })
        .await;
    }
    for n in 2..5 {
        all.push(numbered(n));
        let said = queued_last(&caller, n - 1, &mut all).await;
        let candidate = &said["candidates"][0];
        assert_eq!(candidate["reason"], "at_bound");
        assert_eq!(candidate["in_flight"], 2);
        // There is room for three.
        let full = n == 4;
        assert_eq!(candidate["state"], if full { "out" } else { "chosen" });
        assert_eq!(said["plan"].is_null(), full);
        assert_eq!(
            said["refusal"],
            if full { json!("BUSY") } else { Value::Null }
        );
    }
    let refused = caller
        .refused("tool.invoke", call(json!({})), ErrorCode::Busy)
        .await;
    let message = refused.error["message"].as_str().unwrap();
    assert!(message.contains("node a has 2 calls of work"), "{message}");
    assert_eq!(a.count(), 2);
    for n in 2..5 {
        gate.add_permits(1);
        until("the next one is called", async || {
            (a.count() == n + 1).then_some(())
        })
        .await;
    }
    gate.add_permits(2);
    for call in all {
        assert_eq!(call.await.unwrap().unwrap()["result"], "done");
    }
    let order: Vec<Value> = a
        .got()
        .iter()
        .map(|got| got.arguments["n"].clone())
        .collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_far_beyond_the_bound_is_served() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let a = Provider::serve(registry.url(), "work.a", |got| async move {
        // As long as work takes.
        tokio::time::sleep(Duration::from_millis(20)).await;
        got.answer(&json!("done")).await;
    })
    .await;
    announce(&caller, "a", json!({})).await;
    let calls = (0..300).map(|_| begin(&caller, json!({})));
    for call in join_all(calls).await {
        assert_eq!(call.unwrap().unwrap()["result"], "done");
    }
    assert_eq!(a.count(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_in_vain_is_busy_and_nothing_was_called() {
    let registry = Registry::start(&[&ARGS[..], &["--invokes-per-provider-max", "1"]].concat());
    let caller = Caller::of(&registry).await;
    let gate = Arc::new(Semaphore::new(0));
    let a = gated(registry.url(), "a", &gate).await;
    announce(&caller, "a", json!({})).await;
    let first = begin(&caller, json!({}));
    until("it is under way", async || (a.count() == 1).then_some(())).await;
    let since = std::time::Instant::now();
    for more in [json!({}), json!({"request_id": Uuid::new_v4()})] {
        let brief = call(with(json!({"timeout_ms": 600}), more));
        let refused = caller.refused("tool.invoke", brief, ErrorCode::Busy).await;
        assert!(refused.retryable());
        assert!(refused.error["retry_after_ms"].is_u64());
    }
    // The one with a request id leaves a tenth of its time for what is in the log of it.
    assert!(since.elapsed() >= Duration::from_millis(1_140));
    assert_eq!(a.count(), 1);
    queued(&caller, 0).await;
    gate.add_permits(1);
    assert_eq!(first.await.unwrap().unwrap()["result"], "done");
}

/// The same where, in the end, all that had a turn are left without an answer, so that the provider is left alone from
/// then on.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_in_vain_is_busy_when_others_were_left_without_an_answer() {
    let registry = Registry::start(&[&ARGS[..], &["--invokes-per-provider-max", "5"]].concat());
    let caller = Caller::of(&registry).await;
    let silent = Provider::serve(registry.url(), "work.a", |_| async {}).await;
    announce(&caller, "a", json!({})).await;
    let brief = json!({"timeout_ms": 1_700});
    let first: Vec<_> = (0..5).map(|_| begin(&caller, brief.clone())).collect();
    until("they are under way", async || {
        (silent.count() == 5).then_some(())
    })
    .await;
    // Their time is up after that of the others.
    let more: Vec<_> = (0..3).map(|_| begin(&caller, brief.clone())).collect();
    for call in first {
        assert_eq!(
            call.await.unwrap().unwrap_err().error["code"],
            "TOOL_TIMEOUT"
        );
    }
    for call in more {
        let refused = call.await.unwrap().unwrap_err();
        assert_eq!(refused.error["code"], "BUSY", "{:#}", refused.error);
        assert_eq!(refused.detail("executed"), false);
    }
    let said = registry.said();
    assert!(!said.contains("the store does not answer"), "{said}");
    assert_eq!(silent.count(), 5);
}

/// A provider that works on a call of which nobody waits for the answer any more has no room for another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_held_until_the_provider_answers() {
    let registry = Registry::start(&[&ARGS[..], &["--invokes-per-provider-max", "1"]].concat());
    let caller = Caller::of(&registry).await;
    let gate = Arc::new(Semaphore::new(0));
    let a = gated(registry.url(), "a", &gate).await;
    announce(&caller, "a", json!({})).await;
    let brief = call(json!({"timeout_ms": 300}));
    caller
        .refused("tool.invoke", brief.clone(), ErrorCode::ToolTimeout)
        .await;
    let refused = caller.refused("tool.invoke", brief, ErrorCode::Busy).await;
    assert_eq!(refused.detail("executed"), false);
    let second = begin(&caller, json!({}));
    let said = queued(&caller, 1).await;
    assert_eq!(said["candidates"][0]["in_flight"], 1);
    assert_eq!(a.count(), 1);
    gate.add_permits(1);
    until("the second one is called", async || {
        (a.count() == 2).then_some(())
    })
    .await;
    gate.add_permits(1);
    assert_eq!(second.await.unwrap().unwrap()["result"], "done");
}

/// Nor for longer than the provider is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_free_when_its_provider_is_gone() {
    let registry = Registry::start(&[&ARGS[..], &["--invokes-per-provider-max", "1"]].concat());
    let caller = Caller::of(&registry).await;
    let hung = Provider::serve(registry.url(), "work.a", |_| async {}).await;
    announce(&caller, "a", json!({})).await;
    caller
        .refused(
            "tool.invoke",
            call(json!({"timeout_ms": 300})),
            ErrorCode::ToolTimeout,
        )
        .await;
    let second = begin(&caller, json!({}));
    queued(&caller, 1).await;
    let again = Provider::answering(registry.url(), "work.a", |_| json!("done")).await;
    assert_eq!(again.count(), 0);
    drop(hung);
    assert_eq!(second.await.unwrap().unwrap()["result"], "done");
}

/// Of a call that was never sent that is said, however close it came.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_never_sent_is_busy() {
    const CALLS: usize = 400;
    let registry = Registry::start(&[&ARGS[..], &["--invokes-per-provider-max", "1"]].concat());
    let caller = Caller::of(&registry).await;
    let a = Provider::serve(registry.url(), "work.a", |got| async move {
        // As long as work takes.
        tokio::time::sleep(Duration::from_millis(3)).await;
        got.answer(&json!("done")).await;
    })
    .await;
    announce(&caller, "a", json!({})).await;
    let calls = (0..CALLS).map(|n| begin(&caller, json!({"timeout_ms": 20 + n})));
    let mut sent = 0;
    for call in join_all(calls).await {
        match call.unwrap() {
            Ok(_) => sent += 1,
            Err(refused) if refused.is(ErrorCode::Busy) => {
                assert_eq!(refused.detail("executed"), false, "{:#}", refused.error);
            }
            Err(refused) => {
                assert!(refused.is(ErrorCode::ToolTimeout), "{:#}", refused.error);
                assert_eq!(refused.detail("executed"), "unknown", "{:#}", refused.error);
                sent += 1;
            }
        }
    }
    assert_eq!(a.count(), sent);
}

/// A call that waits has no place among those under way, and goes to whoever comes and has room.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_keep_nobody_from_being_called() {
    let bounds = ["--invokes-per-provider-max", "1", "--invokes-max", "2"];
    let registry = Registry::start(&[&ARGS[..], &bounds].concat());
    let caller = Caller::of(&registry).await;
    let gate = Arc::new(Semaphore::new(0));
    let a = gated(registry.url(), "a", &gate).await;
    announce(&caller, "a", json!({})).await;
    let first = begin(&caller, json!({}));
    until("it is under way", async || (a.count() == 1).then_some(())).await;
    let mut more = Vec::new();
    for waiting in 1..=3 {
        // Until it waits it has a place, and there is one for it alone.
        more.push(begin(&caller, json!({})));
        queued(&caller, waiting).await;
    }
    let _b = Provider::answering(registry.url(), "work.b", |_| json!("b")).await;
    announce(&caller, "b", json!({})).await;
    for call in more {
        assert_eq!(call.await.unwrap().unwrap()["result"], "b");
    }
    assert_eq!(a.count(), 1);
    gate.add_permits(1);
    assert_eq!(first.await.unwrap().unwrap()["result"], "done");
}

/// Whoever waits when the registry stops is served, as long as it stops in its own time.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_are_answered_when_the_registry_stops() {
    let nats = Nats::start();
    let args = [&ARGS[..], &["--invokes-per-provider-max", "1"]].concat();
    let mut registry = Registry::on(&nats, &args);
    let caller = Caller::connect(&nats.url()).await;
    let gate = Arc::new(Semaphore::new(0));
    let a = gated(&nats.url(), "a", &gate).await;
    announce(&caller, "a", json!({})).await;
    let first = begin(&caller, json!({}));
    until("it is under way", async || (a.count() == 1).then_some(())).await;
    let second = begin(&caller, json!({}));
    queued(&caller, 1).await;
    registry.terminate();
    registry.line("draining");
    gate.add_permits(2);
    for call in [first, second] {
        assert_eq!(call.await.unwrap().unwrap()["result"], "done");
    }
    assert!(registry.ended().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_answers_is_left_alone_for_a_while() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    announce(&caller, "a", json!({})).await;
    for _ in 0..5 {
        let refused = caller
            .refused("tool.invoke", call(json!({})), ErrorCode::ProviderNotFound)
            .await;
        assert_eq!(refused.detail("candidates")[0]["reason"], "no_responders");
    }
    let refused = caller
        .refused("tool.invoke", call(json!({})), ErrorCode::ProviderNotFound)
        .await;
    assert_eq!(refused.detail("candidates")[0]["reason"], "circuit_open");
    let wait = refused.error["retry_after_ms"].as_u64().unwrap();
    assert!((1_000..=5_000).contains(&wait), "{wait}");

    // Another life of the node is another provider.
    let other = Uuid::new_v4();
    let tools = json!({"tools": [{"name": "work", "version": "1.0.0", "subject": "work.b"}]});
    let _b = Provider::answering(registry.url(), "work.b", |_| json!("b")).await;
    caller.get("node.register", node(other, "b", tools)).await;
    assert_eq!(
        caller.get("tool.invoke", call(json!({}))).await["result"],
        "b"
    );

    // Once its time is over one call finds out, and then it is as before.
    let _a = Provider::answering(registry.url(), "work.a", |_| json!("a")).await;
    let pinned = call(json!({"provider_node_id": "a"}));
    let answer = until("it is tried again", async || {
        caller.ask("tool.invoke", pinned.clone()).await.ok()
    })
    .await;
    assert_eq!(answer["result"], "a");
    assert_eq!(caller.get("tool.invoke", pinned).await["result"], "a");
}

/// A node that works is no dead one for it that its callers had no time left, as after a long wait for their turn.
#[tokio::test(flavor = "multi_thread")]
async fn who_answers_too_late_is_not_taken_for_dead() {
    let one_at_a_time = ["--invokes-per-provider-max", "1"];
    let registry = Registry::start(&[&ARGS[..], &one_at_a_time].concat());
    let caller = Caller::of(&registry).await;
    announce(&caller, "a", json!({})).await;
    let slow = Duration::from_millis(1_300);
    let a = Provider::serve(registry.url(), "work.a", move |got| async move {
        // Longer than its caller waits.
        tokio::time::sleep(slow).await;
        got.answer(&json!("done")).await;
    })
    .await;
    // Each has its turn when the one before has answered, after its caller had gone: five times in a row nobody waits.
    let hurried = call(json!({"timeout_ms": 1_100}));
    for count in 1..=6 {
        let refused = caller
            .refused("tool.invoke", hurried.clone(), ErrorCode::ToolTimeout)
            .await;
        assert_eq!(a.count(), count, "{refused:?}");
        until("its place to be free", async || {
            let said = caller
                .get("tool.invoke", call(json!({"dry_run": true})))
                .await;
            (said["candidates"][0]["in_flight"] == 0).then_some(())
        })
        .await;
    }
    let reply = caller.get("tool.invoke", call(json!({}))).await;
    assert_eq!(reply["result"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_take_more_says_so_and_another_is_asked() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let decline = |got: Got| async move {
        let headers = [
            ("Nats-Service-Error-Code", "503"),
            ("Nats-Service-Error", "BUSY"),
            ("Onex-Executed", "false"),
        ];
        got.answer_bytes(&headers, String::new()).await;
    };
    let full = Provider::serve(registry.url(), "work.a", decline).await;
    announce(&caller, "a", json!({})).await;
    caller
        .refused("tool.invoke", call(json!({})), ErrorCode::Busy)
        .await;
    let free = Provider::answering(registry.url(), "work.b", |_| json!("b")).await;
    announce(&caller, "b", json!({})).await;
    let first = call(json!({"node_selection_policy": "first"}));
    // Who declined a moment ago is asked after the others; a second later it is tried again, and declines again.
    let before = full.count();
    let answer = until("it is tried again", async || {
        let reply = caller.get("tool.invoke", first.clone()).await;
        assert_eq!(reply["result"], "b");
        (reply["attempts"] == 2).then_some(reply)
    })
    .await;
    assert_eq!(answer["provider_node_id"], "b");
    assert!(full.count() > before && free.count() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slow_one_gets_little() {
    let nats = Nats::start();
    let registries = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let caller = Caller::connect(&nats.url()).await;
    let mut providers = Vec::new();
    for (node_id, millis) in [("a", 10), ("b", 10), ("c", 200)] {
        let wait = Duration::from_millis(millis);
        let (url, subject) = (nats.url(), format!("work.{node_id}"));
        let serve = Provider::serve(&url, &subject, move |got| async move {
            // As long as work takes.
            tokio::time::sleep(wait).await;
            got.answer(&json!(null)).await;
        });
        providers.push(serve.await);
        announce(&caller, node_id, json!({})).await;
    }
    let known = caller.see("tool.list", json!({})).await["revision"].clone();
    for callers in [1, 16] {
        let before: Vec<usize> = providers.iter().map(Provider::count).collect();
        let calls = 480 / callers;
        let one = || async {
            for _ in 0..calls {
                let least =
                    call(json!({"node_selection_policy": "least_loaded", "min_revision": known}));
                caller.get("tool.invoke", least).await;
            }
        };
        join_all((0..callers).map(|_| one())).await;
        let shares: Vec<usize> = providers
            .iter()
            .zip(before)
            .map(|(provider, before)| provider.count() - before)
            .collect();
        let all: usize = shares.iter().sum();
        assert_eq!(all, calls * callers);
        assert!(shares[2] * 100 < all * 15, "{callers} callers: {shares:?}");
        // The two that are alike share the rest.
        assert!(
            shares[0].min(shares[1]) * 4 > all,
            "{callers} callers: {shares:?}"
        );
    }
    drop(registries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_is_answered_before_a_registry_stops() {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let gate = Arc::new(Semaphore::new(0));
    let provider = gated(&nats.url(), "a", &gate).await;
    announce(&caller, "a", json!({})).await;
    let call = begin(&caller, json!({}));
    until("it is under way", async || {
        (provider.count() == 1).then_some(())
    })
    .await;
    registry.terminate();
    registry.line("draining");
    gate.add_permits(1);
    assert_eq!(call.await.unwrap().unwrap()["result"], "done");
    assert!(registry.ended().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_superseded_still_answers_what_it_began() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let gate = Arc::new(Semaphore::new(0));
    let old = gated(registry.url(), "a", &gate).await;
    announce(&caller, "a", json!({})).await;
    let under_way = begin(&caller, json!({}));
    until("it is under way", async || (old.count() == 1).then_some(())).await;
    let me = Uuid::new_v4();
    let tools =
        json!({"epoch": 2, "tools": [{"name": "work", "version": "1.0.0", "subject": "work.new"}]});
    let new = Provider::answering(registry.url(), "work.new", |_| json!("new")).await;
    caller.get("node.register", node(me, "a", tools)).await;
    assert_eq!(
        caller.get("tool.invoke", call(json!({}))).await["result"],
        "new"
    );
    gate.add_permits(1);
    assert_eq!(under_way.await.unwrap().unwrap()["result"], "done");
    assert_eq!((old.count(), new.count()), (1, 1));
}

/// What became of the calls that were made, and what the provider did.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_executed_twice_when_registries_are_killed() {
    const CALLERS: usize = 8;
    const CALLS: usize = 60;
    const KILLS: usize = 4;
    let nats = Nats::start();
    let mut registries = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let caller = Caller::connect(&nats.url()).await;
    let provider = Provider::answering(&nats.url(), "work.a", Value::clone).await;
    announce(&caller, "a", json!({})).await;
    let one = |from: usize| {
        let caller = caller.clone();
        async move {
            let (mut answered, mut refused, mut lost) = (Vec::new(), Vec::new(), 0);
            for n in from * CALLS..(from + 1) * CALLS {
                let body = call(json!({"arguments": {"n": n}, "timeout_ms": 5_000}));
                let sent = caller.send(
                    "tool.invoke",
                    crate::harness::header_map(&[]),
                    body.to_string(),
                    Duration::from_secs(6),
                );
                match sent.await.map(Reply::outcome) {
                    Ok(Ok(reply)) => {
                        assert_eq!(reply["result"]["n"], n);
                        answered.push(n);
                    }
                    // It was not begun, and may be tried again.
                    Ok(Err(error)) => {
                        assert!(error.is(ErrorCode::Busy), "{:#}", error.error);
                        refused.push(n);
                    }
                    // Whoever had it is gone: there is always another one that listens.
                    Err(error) => {
                        assert_eq!(error.kind(), RequestErrorKind::TimedOut);
                        lost += 1;
                    }
                }
                // Callers that go on take breaks.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            (answered, refused, lost)
        }
    };
    let calls = join_all((0..CALLERS).map(|from| tokio::spawn(one(from))));
    let kills = async {
        for round in 0..KILLS {
            let victim = round % 2;
            until("calls are made", async || {
                (provider.count() > (round + 1) * 40).then_some(())
            })
            .await;
            registries[victim].kill();
            registries[victim] = Registry::on(&nats, &ARGS);
        }
    };
    let (calls, ()) = tokio::join!(calls, kills);
    let mut executed = BTreeMap::<u64, u32>::new();
    for got in provider.got() {
        *executed
            .entry(got.arguments["n"].as_u64().unwrap())
            .or_default() += 1;
    }
    let twice: Vec<_> = executed.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    for caller in calls {
        let (answered, refused, lost) = caller.unwrap();
        assert!(answered.iter().all(|n| executed.contains_key(&(*n as u64))));
        assert!(!refused.iter().any(|n| executed.contains_key(&(*n as u64))));
        // It has one call under way, which a registry that is killed may have.
        assert!(lost <= KILLS, "{lost} were lost");
    }
}
