//! Calls of tools of which the first attempt fails: who is asked next, and what is said in the end.

// The lints' exception for tests does not reach the helpers of one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use harness::{Caller, Provider, Registry, node, until, with};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

mod harness;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];
const DECLINES: [(&str, &str); 3] = [
    ("Nats-Service-Error-Code", "503"),
    ("Nats-Service-Error", "BUSY"),
    ("Onex-Executed", "false"),
];
const FAILS: [(&str, &str); 2] = [
    ("Nats-Service-Error-Code", "500"),
    ("Nats-Service-Error", "it broke"),
];

/// A registry, and nodes that say that they offer `work`, each in that version.
async fn announced(nodes: &[(&str, &str)], more: Value) -> (Registry, Caller) {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    for (node_id, version) in nodes {
        let tool =
            json!({"name": "work", "version": version, "subject": format!("work.{node_id}")});
        let tool = with(tool, more.clone());
        let body = node(Uuid::new_v4(), node_id, json!({"tools": [tool]}));
        caller.get("node.register", body).await;
    }
    (registry, caller)
}

fn first(more: Value) -> Value {
    let body = json!({"tool_name": "work", "node_selection_policy": "first", "timeout_ms": 2_000});
    with(body, more)
}

/// What a dry run says of that node: why it is out, or null.
fn reason<'a>(said: &'a Value, node_id: &str) -> &'a Value {
    let mut all = said["candidates"].as_array().unwrap().iter();
    &all.find(|one| one["node_id"] == node_id).unwrap()["reason"]
}

/// A node that does not answer for a moment is no reason to call something that is another by its version.
#[tokio::test(flavor = "multi_thread")]
async fn another_version_does_not_step_in() {
    let (registry, caller) = announced(
        &[("new", "2.0.0"), ("old", "1.4.0"), ("near", "2.1.0-rc.1")],
        json!({}),
    )
    .await;
    let answering = |node_id: &str| {
        let (url, subject) = (registry.url().to_owned(), format!("work.{node_id}"));
        async move { Provider::answering(&url, &subject, |_| json!("done")).await }
    };
    let (old, near) = (answering("old").await, answering("near").await);
    // Seven times: more often than it takes to leave a node alone for a while.
    for _ in 0..7 {
        let refused = caller
            .refused("tool.invoke", first(json!({})), ErrorCode::ProviderNotFound)
            .await;
        let candidates = refused.detail("candidates").as_array().unwrap();
        let reasons = candidates.iter().map(|one| {
            (
                one["node_id"].as_str().unwrap(),
                one["reason"].as_str().unwrap(),
            )
        });
        for (node_id, reason) in reasons {
            match node_id {
                "old" => assert_eq!(reason, "older"),
                "near" => assert_eq!(reason, "version"),
                _ => assert!(
                    ["no_responders", "circuit_open"].contains(&reason),
                    "{reason}"
                ),
            }
        }
    }
    assert_eq!((old.count(), near.count()), (0, 0));
    // Unless the caller says that it will do.
    let reply = caller
        .get("tool.invoke", first(json!({"tool_version": ">=1"})))
        .await;
    assert_eq!(reply["provider_node_id"], "old");
}

/// One was silent, and may have done it: that the others did nothing does not change that.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_done_is_told_whatever_comes_after_it() {
    let nodes = [("a", "1.0.0"), ("b", "1.0.0"), ("c", "1.0.0")];
    let (registry, caller) = announced(&nodes, json!({"idempotent": true})).await;
    let silent = Provider::serve(registry.url(), "work.a", |_| async {}).await;
    let declining = Provider::serve(registry.url(), "work.b", |got| async move {
        got.answer_bytes(&DECLINES, String::new()).await;
    })
    .await;
    // Nobody listens for the third.
    let refused = caller
        .refused("tool.invoke", first(json!({})), ErrorCode::ToolTimeout)
        .await;
    assert_eq!(refused.detail("executed"), "unknown");
    assert_eq!(refused.detail("provider_node_id"), "a");
    assert!(refused.retryable());
    assert_eq!((silent.count(), declining.count()), (1, 1));
}

/// The same where the next one refuses for a reason of its own; not where it did something.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_does_not_undo_what_may_have_been_done() {
    for (executed, code) in [
        ("false", ErrorCode::ToolTimeout),
        ("true", ErrorCode::ToolError),
    ] {
        let (registry, caller) = announced(
            &[("a", "1.0.0"), ("b", "1.0.0")],
            json!({"idempotent": true}),
        )
        .await;
        let silent = Provider::serve(registry.url(), "work.a", |_| async {}).await;
        let refusing = Provider::serve(registry.url(), "work.b", move |got| async move {
            let headers = [
                ("Nats-Service-Error-Code", "400"),
                ("Nats-Service-Error", "BAD"),
                ("Onex-Executed", executed),
            ];
            got.answer_bytes(&headers, String::new()).await;
        })
        .await;
        let refused = caller.refused("tool.invoke", first(json!({})), code).await;
        let said = match code {
            ErrorCode::ToolTimeout => json!("unknown"),
            _ => json!(true),
        };
        assert_eq!(*refused.detail("executed"), said);
        assert_eq!((silent.count(), refusing.count()), (1, 1));
    }
}

/// Who has no room says so at once, and is not the fastest for that.
#[tokio::test(flavor = "multi_thread")]
async fn who_declines_is_asked_after_the_others_for_a_while() {
    let (registry, caller) = announced(&[("a", "1.0.0"), ("b", "1.0.0")], json!({})).await;
    let declining = Provider::serve(registry.url(), "work.a", |got| async move {
        got.answer_bytes(&DECLINES, String::new()).await;
    })
    .await;
    let working = Provider::serve(registry.url(), "work.b", |got| async move {
        // As long as work takes.
        tokio::time::sleep(Duration::from_millis(5)).await;
        got.answer(&json!("done")).await;
    })
    .await;
    let calls = 20;
    for _ in 0..calls {
        let reply = caller
            .get("tool.invoke", json!({"tool_name": "work"}))
            .await;
        assert_eq!(reply["provider_node_id"], "b");
    }
    assert_eq!(working.count(), calls);
    let declined = declining.count();
    assert!(
        (1..calls / 2).contains(&declined),
        "asked {declined} times of {calls}"
    );
    let said = caller
        .get("tool.invoke", json!({"tool_name": "work", "dry_run": true}))
        .await;
    let of = |node_id: &str| {
        let all = said["candidates"].as_array().unwrap();
        all.iter().find(|one| one["node_id"] == node_id).unwrap()["recent_ms"].clone()
    };
    assert!(of("a").is_null() && of("b").is_number(), "{said:#}");
}

/// What a dry run says of one who is chosen it says everywhere.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_chooses_once() {
    let nodes = [
        ("a", "1.0.0"),
        ("b", "1.0.0"),
        ("c", "1.0.0"),
        ("d", "1.0.0"),
    ];
    let (_registry, caller) = announced(&nodes, json!({})).await;
    for _ in 0..20 {
        let body = json!({"tool_name": "work", "dry_run": true, "node_selection_policy": "random"});
        let said = caller.get("tool.invoke", body).await;
        assert_eq!(said["candidates"][0]["state"], "chosen");
        assert_eq!(
            said["plan"]["provider_node_id"],
            said["candidates"][0]["node_id"]
        );
    }
    // Those who go there themselves are sent to one after another.
    let mut all = std::collections::BTreeSet::new();
    for _ in 0..nodes.len() {
        let body = json!({"tool_name": "work", "node_selection_policy": "round_robin"});
        let to = caller.get("tool.resolve", body).await;
        all.insert(to["provider_node_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(all.len(), nodes.len());
}

/// Who fails at once is not preferred for being quick.
#[tokio::test(flavor = "multi_thread")]
async fn who_only_fails_is_asked_after_the_others() {
    const CALLS: usize = 60;
    let error = (&FAILS[..], "");
    let wrong = (&[][..], "17");
    for (headers, body) in [error, wrong] {
        let text = json!({"output_schema": {"type": "string"}});
        let (registry, caller) = announced(&[("a", "1.0.0"), ("b", "1.0.0")], text).await;
        let failing = Provider::serve(registry.url(), "work.a", move |got| async move {
            got.answer_bytes(headers, body.to_owned()).await;
        })
        .await;
        let working = Provider::serve(registry.url(), "work.b", |got| async move {
            // As long as work takes.
            tokio::time::sleep(Duration::from_millis(5)).await;
            got.answer(&json!("done")).await;
        })
        .await;
        let mut failed = 0;
        for _ in 0..CALLS {
            let call = caller.ask("tool.invoke", json!({"tool_name": "work"}));
            failed += usize::from(call.await.is_err());
        }
        assert_eq!((failing.count(), working.count()), (failed, CALLS - failed));
        assert!((1..=CALLS / 6).contains(&failed), "{headers:?}: {failed}");
    }
}

/// Callers that do not wait a second are kept from it as others are.
#[tokio::test(flavor = "multi_thread")]
async fn who_never_answers_is_left_alone_though_nobody_waits_long() {
    let (registry, caller) = announced(&[("a", "1.0.0"), ("b", "1.0.0")], json!({})).await;
    let hung = Provider::serve(registry.url(), "work.a", |_| async {}).await;
    let working = Provider::answering(registry.url(), "work.b", |_| json!("done")).await;
    let hurried = |more: Value| with(json!({"tool_name": "work", "timeout_ms": 300}), more);
    let calls = 20;
    for _ in 0..calls {
        let _ = caller.ask("tool.invoke", hurried(json!({}))).await;
    }
    assert!((1..=calls / 4).contains(&hung.count()), "{}", hung.count());
    assert_eq!(working.count(), calls - hung.count());

    // Whoever insists on it opens its circuit.
    let pinned = hurried(json!({"provider_node_id": "a"}));
    until("its circuit is open", async || {
        let refused = caller.ask("tool.invoke", pinned.clone()).await.unwrap_err();
        (refused.code == "PROVIDER_NOT_FOUND").then_some(())
    })
    .await;
    assert!(hung.count() <= 25, "{}", hung.count());
    let first = |more| hurried(with(json!({"node_selection_policy": "first"}), more));
    let looks = first(json!({"dry_run": true}));
    let said = caller.get("tool.invoke", looks.clone()).await;
    assert_eq!(*reason(&said, "a"), "circuit_open");
    assert_eq!(said["plan"]["provider_node_id"], "b");

    // Later one call tries it, and that it fails as shortly keeps the circuit open.
    let before = hung.count();
    until("it is tried again", async || {
        let call = caller.ask("tool.invoke", first(json!({}))).await;
        call.is_err().then_some(())
    })
    .await;
    let said = caller.get("tool.invoke", looks).await;
    assert_eq!(*reason(&said, "a"), "circuit_open");
    let reply = caller.get("tool.invoke", first(json!({}))).await;
    assert_eq!(reply["provider_node_id"], "b");
    assert_eq!(hung.count(), before + 1);
}

/// Of each that was asked it is said why that did not do.
#[tokio::test(flavor = "multi_thread")]
async fn why_nobody_did_it_is_told_of_each() {
    let (registry, caller) = announced(&[("a", "1.0.0"), ("b", "1.0.0")], json!({})).await;
    let _full = Provider::serve(registry.url(), "work.a", |got| async move {
        got.answer_bytes(&DECLINES, String::new()).await;
    })
    .await;
    let refused = caller.refused("tool.invoke", first(json!({})), ErrorCode::ProviderNotFound);
    let details = refused.await.error["details"].clone();
    assert_eq!(*reason(&details, "a"), "declined");
    assert_eq!(*reason(&details, "b"), "no_responders");
}

/// Who has sent no heartbeat is not asked any more, though it is listed until its end is written.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_whose_time_is_up() {
    let (_registry, caller) = announced(&[], json!({})).await;
    let tools = json!([{"name": "work", "version": "1.0.0"}]);
    let said = until("its time is up", async || {
        let look = first(json!({"dry_run": true}));
        let said = caller.get("tool.invoke", look).await;
        if said["candidate_count"] == 0 {
            let brief = json!({"ttl": 1, "tools": tools});
            let body = node(Uuid::new_v4(), "a", brief);
            caller.get("node.register", body).await;
            return None;
        }
        (*reason(&said, "a") == "expired").then_some(said)
    })
    .await;
    assert_eq!(said["refusal"], "PROVIDER_NOT_FOUND");
    assert!(said["plan"].is_null());
}
