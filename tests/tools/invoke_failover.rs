//! Calls of tools of which the first attempt fails: who is asked next, and what is said in the end.

use std::time::Duration;

use crate::harness::{Caller, Events, Provider, Registry, node, until, with};
use futures::StreamExt as _;
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

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
    let brief = json!({"attempt_timeout_ms": 500});
    let refused = caller
        .refused("tool.invoke", first(brief), ErrorCode::ToolTimeout)
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
        let brief = json!({"attempt_timeout_ms": 500});
        let refused = caller.refused("tool.invoke", first(brief), code).await;
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
    let (registry, caller) = announced(&nodes, json!({})).await;
    let mut all = Vec::new();
    for (node_id, _) in nodes {
        let subject = format!("work.{node_id}");
        all.push(Provider::answering(registry.url(), &subject, |_| json!("done")).await);
    }
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

/// Whom an error, or an event, says that was asked, and what each said.
fn asked(details: &Value) -> Vec<(&str, &str)> {
    let all = details["asked"].as_array().unwrap().iter();
    all.map(|one| {
        (
            one["node_id"].as_str().unwrap(),
            one["said"].as_str().unwrap(),
        )
    })
    .collect()
}

/// That another node could be asked as well says nothing of how long the tool takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_keeps_the_whole_timeout_though_another_one_is_there() {
    let nodes = [("a", "1.0.0"), ("b", "1.0.0")];
    let (registry, caller) = announced(&nodes, json!({"idempotent": true})).await;
    let slow = Provider::serve(registry.url(), "work.a", |got| async move {
        // More than half of what the call may take.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        got.answer(&json!("slow")).await;
    })
    .await;
    let other = Provider::answering(registry.url(), "work.b", |_| json!("quick")).await;
    let reply = caller
        .get("tool.invoke", first(json!({"timeout_ms": 4_000})))
        .await;
    assert_eq!(
        (&reply["result"], &reply["attempts"]),
        (&json!("slow"), &json!(1))
    );
    assert_eq!((slow.count(), other.count()), (1, 0));
    let given: u64 = slow.got()[0].header("Onex-Timeout-Ms").parse().unwrap();
    assert!((3_500..=4_000).contains(&given), "{given}");
}

/// One attempt is as long as the contract says, or as the call says, which counts first.
#[tokio::test(flavor = "multi_thread")]
async fn attempt_timeout_moves_on_to_another_node() {
    let nodes = [("a", "1.0.0"), ("b", "1.0.0")];
    let contract = json!({"idempotent": true, "attempt_timeout_ms": 400});
    let (registry, caller) = announced(&nodes, contract).await;
    let silent = Provider::serve(registry.url(), "work.a", |_| async {}).await;
    let other = Provider::answering(registry.url(), "work.b", |_| json!("done")).await;
    for (more, millis) in [
        (json!({"timeout_ms": 60_000}), "400"),
        (
            json!({"timeout_ms": 60_000, "attempt_timeout_ms": 200}),
            "200",
        ),
    ] {
        let dry = first(with(more.clone(), json!({"dry_run": true})));
        let said = caller.get("tool.invoke", dry).await;
        assert_eq!(said["plan"]["attempt_timeout_ms"].to_string(), millis);
        let reply = caller.get("tool.invoke", first(more)).await;
        assert_eq!(
            (&reply["provider_node_id"], &reply["attempts"]),
            (&json!("b"), &json!(2))
        );
        let got = silent.got();
        assert_eq!(got.last().unwrap().header("Onex-Timeout-Ms"), millis);
    }
    assert_eq!((silent.count(), other.count()), (2, 2));
    let described = caller.get("tool.describe", json!({"name": "work"})).await;
    assert_eq!(described["contract"]["attempt_timeout_ms"], 400);
    for bad in [9, 300_001] {
        let body = first(json!({"attempt_timeout_ms": bad}));
        let refused = caller.refused("tool.invoke", body, ErrorCode::InvalidRequest);
        let refused = refused.await;
        assert_eq!(refused.detail("pointer"), "/attempt_timeout_ms");
        let tool = json!({"name": "work", "version": "1.0.0", "attempt_timeout_ms": bad});
        let body = node(Uuid::new_v4(), "c", json!({"tools": [tool]}));
        let refused = caller
            .refused("node.register", body, ErrorCode::InvalidRequest)
            .await;
        assert_eq!(refused.detail("pointer"), "/tools/0/attempt_timeout_ms");
    }
}

/// A tool that must not be called twice is not, however short an attempt may be.
#[tokio::test(flavor = "multi_thread")]
async fn attempt_timeout_ends_the_call_of_a_tool_that_is_not_idempotent() {
    let nodes = [("a", "1.0.0"), ("b", "1.0.0")];
    let (registry, caller) = announced(&nodes, json!({"attempt_timeout_ms": 300})).await;
    let silent = Provider::serve(registry.url(), "work.a", |_| async {}).await;
    let other = Provider::answering(registry.url(), "work.b", |_| json!("done")).await;
    let body = first(json!({"timeout_ms": 60_000}));
    let refused = caller
        .refused("tool.invoke", body, ErrorCode::ToolTimeout)
        .await;
    assert_eq!(refused.detail("executed"), "unknown");
    assert_eq!(asked(&refused.error["details"]), [("a", "silent")]);
    assert_eq!((silent.count(), other.count()), (1, 0));
}

/// Each is named, in the error and in the event, with what it said.
#[tokio::test(flavor = "multi_thread")]
async fn every_node_that_was_asked_is_named() {
    let nodes = [("a", "1.0.0"), ("b", "1.0.0"), ("c", "1.0.0")];
    let (registry, caller) = announced(&nodes, json!({"idempotent": true})).await;
    let _declining = Provider::serve(registry.url(), "work.b", |got| async move {
        got.answer_bytes(&DECLINES, String::new()).await;
    })
    .await;
    let _failing = Provider::serve(registry.url(), "work.c", |got| async move {
        got.answer_bytes(&FAILS, String::new()).await;
    })
    .await;
    let body = first(json!({}));
    let refused = caller
        .refused("tool.invoke", body, ErrorCode::ToolError)
        .await;
    let all = [("a", "no_responders"), ("b", "declined"), ("c", "failed")];
    assert_eq!(asked(&refused.error["details"]), all);
    let messages: Vec<&Value> = refused
        .detail("asked")
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["message"])
        .collect();
    assert_eq!(
        messages,
        [&Value::Null, &json!("BUSY"), &json!("500: it broke")]
    );
    // Who declined a moment ago comes last, if it is asked at all.
    let body = first(json!({"request_id": Uuid::new_v4()}));
    let refused = caller
        .refused("tool.invoke", body, ErrorCode::ToolError)
        .await;
    assert_eq!(
        asked(&refused.error["details"]).last(),
        Some(&("c", "failed"))
    );
    let events = until("the failures to be told", async || {
        let events = Events::published(&caller).await;
        (events.of_kind("tool.failed").len() >= 2).then_some(events)
    })
    .await;
    for event in events.of_kind("tool.failed") {
        let asked = asked(&event.body);
        assert_eq!(asked.len() as u64, event.body["attempts"].as_u64().unwrap());
        assert_eq!(asked.last().unwrap(), &("c", "failed"));
    }
}

/// A node that is gone while it is called is no reason to wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_is_not_waited_for() {
    let nodes = [("a", "1.0.0"), ("b", "1.0.0")];
    let (registry, caller) = announced(&nodes, json!({"idempotent": true})).await;
    let mut dies = Some(Provider::serve(registry.url(), "work.a", |_| async {}).await);
    let _other = Provider::answering(registry.url(), "work.b", |_| json!("done")).await;
    let call = tokio::spawn({
        let caller = caller.clone();
        async move {
            caller
                .get("tool.invoke", first(json!({"timeout_ms": 60_000})))
                .await
        }
    });
    until("the call to be under way", async || {
        (dies.as_ref()?.count() == 1).then_some(())
    })
    .await;
    // It is looked who listens after a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    dies.take();
    let reply = call.await.unwrap();
    assert_eq!(
        (&reply["result"], &reply["attempts"]),
        (&json!("done"), &json!(2))
    );
    let took = reply["duration_ms"].as_u64().unwrap();
    assert!(took < 20_000, "{took}");
    let event = until("its end to be told", async || {
        let events = Events::published(&caller).await;
        events
            .of_kind("tool.completed")
            .first()
            .map(|event| event.body.clone())
    })
    .await;
    assert_eq!(asked(&event), [("a", "gone"), ("b", "answered")]);
}

/// A node that unsubscribes is about to stop, and still answers: nobody else is asked meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drains_is_waited_for() {
    let nodes = [("a", "1.0.0"), ("b", "1.0.0")];
    let (registry, caller) = announced(&nodes, json!({"idempotent": true})).await;
    let draining = async_nats::connect(registry.url()).await.unwrap();
    let mut requests = draining.subscribe("work.a").await.unwrap();
    draining.flush().await.unwrap();
    let other = Provider::answering(registry.url(), "work.b", |_| json!("other")).await;
    let answers = tokio::spawn(async move {
        let request = requests.next().await.unwrap();
        // As long as somebody listens it is looked who that is, and then it is looked twice whether it is there.
        tokio::time::sleep(Duration::from_secs(2)).await;
        requests.unsubscribe().await.unwrap();
        // Longer than it takes until a node counts as gone.
        tokio::time::sleep(Duration::from_secs(6)).await;
        let reply = request.reply.unwrap();
        draining.publish(reply, "\"done\"".into()).await.unwrap();
        draining.flush().await.unwrap();
    });
    let reply = caller
        .get("tool.invoke", first(json!({"timeout_ms": 60_000})))
        .await;
    assert_eq!(
        (&reply["result"], &reply["attempts"]),
        (&json!("done"), &json!(1))
    );
    assert_eq!(other.count(), 0);
    answers.await.unwrap();
}

/// A dry run looks whether anybody listens, as a call finds out by asking.
#[tokio::test(flavor = "multi_thread")]
async fn dry_run_passes_over_a_node_that_nobody_listens_for() {
    let nodes = [("a", "1.0.0"), ("b", "1.0.0")];
    let (registry, caller) = announced(&nodes, json!({})).await;
    let dry = first(json!({"dry_run": true}));
    let said = caller.get("tool.invoke", dry.clone()).await;
    assert!(said["plan"].is_null(), "{said:#}");
    assert_eq!(said["refusal"], "PROVIDER_NOT_FOUND");
    for node_id in ["a", "b"] {
        assert_eq!(*reason(&said, node_id), "no_responders");
    }
    // By whatever subscription.
    let other = Provider::answering(registry.url(), "*.b", |_| json!("done")).await;
    let said = caller.get("tool.invoke", dry).await;
    assert_eq!(said["plan"]["provider_node_id"], "b");
    assert_eq!(said["plan"]["listening"], true);
    assert_eq!(*reason(&said, "a"), "no_responders");
    assert_eq!(other.count(), 0);
}

/// Listens on a subject, and is gone as soon as it is called; the request, to be answered from elsewhere.
async fn dies_when_called(
    url: &str,
    subject: &str,
) -> tokio::task::JoinHandle<async_nats::Message> {
    let client = async_nats::connect(url).await.unwrap();
    let mut requests = client.subscribe(subject.to_owned()).await.unwrap();
    client.flush().await.unwrap();
    tokio::spawn(async move {
        let request = requests.next().await.unwrap();
        drop((requests, client));
        request
    })
}

/// A node that dies in the moment in which it is called is failed over from long before the deadline, also when somebody
/// else listens in its place by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_at_once_is_not_waited_for() {
    for restarts in [false, true] {
        let nodes = [("a", "1.0.0"), ("b", "1.0.0")];
        let (registry, caller) = announced(&nodes, json!({"idempotent": true})).await;
        let dies = dies_when_called(registry.url(), "work.a").await;
        let _other = Provider::answering(registry.url(), "work.b", |_| json!("done")).await;
        let call = caller.get("tool.invoke", first(json!({"timeout_ms": 60_000})));
        let restart = async {
            dies.await.unwrap();
            if restarts {
                Some(Provider::serve(registry.url(), "work.a", |_| async {}).await)
            } else {
                None
            }
        };
        let (reply, _restarted) = tokio::join!(call, restart);
        assert_eq!(
            (&reply["result"], &reply["attempts"]),
            (&json!("done"), &json!(2))
        );
        let took = reply["duration_ms"].as_u64().unwrap();
        assert!(took < 10_000, "{took}");
    }
}

/// Who listens to everything, or to all of a node's kind, is not the node.
#[tokio::test(flavor = "multi_thread")]
async fn an_observer_does_not_stand_in_for_a_node_that_dies() {
    for (pattern, group) in [
        (">", None),
        ("work.*", None),
        ("work.a", Some("onex-node")),
        (">", Some("workers")),
    ] {
        let nodes = [("a", "1.0.0"), ("b", "1.0.0")];
        let (registry, caller) = announced(&nodes, json!({"idempotent": true})).await;
        let observer = async_nats::connect(registry.url()).await.unwrap();
        let _observed = observer.subscribe(pattern).await.unwrap();
        observer.flush().await.unwrap();
        let client = async_nats::connect(registry.url()).await.unwrap();
        let mut requests = match group {
            Some(group) => client.queue_subscribe("work.a", group.to_owned()).await,
            None => client.subscribe("work.a").await,
        }
        .unwrap();
        client.flush().await.unwrap();
        let _other = Provider::answering(registry.url(), "work.b", |_| json!("done")).await;
        // It is looked who listens before it is called.
        let dry = first(json!({"dry_run": true}));
        let said = caller.get("tool.invoke", dry.clone()).await;
        assert_eq!(said["plan"]["provider_node_id"], "a", "{pattern}");
        let dies = async move {
            requests.next().await.unwrap();
            drop((requests, client));
        };
        let call = caller.get("tool.invoke", first(json!({"timeout_ms": 20_000})));
        let (reply, ()) = tokio::join!(call, dies);
        assert_eq!(reply["provider_node_id"], "b", "{pattern}");
        let said = until("the end of its connection to be seen", async || {
            let said = caller.get("tool.invoke", dry.clone()).await;
            (*reason(&said, "a") == "no_responders").then_some(said)
        })
        .await;
        assert_eq!(said["plan"]["provider_node_id"], "b", "{pattern}");
        // Where it is asked nevertheless, by name, it is gone.
        let body = first(json!({"timeout_ms": 20_000, "provider_node_id": "a"}));
        let refused = caller.refused("tool.invoke", body, ErrorCode::ToolTimeout);
        let refused = refused.await;
        assert_eq!(asked(&refused.error["details"]), [("a", "gone")]);
    }
}

/// Whoever answers by a pattern is the node, where nobody else is.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_listens_by_a_pattern_is_listened_to() {
    let (registry, caller) = announced(&[("a", "1.0.0")], json!({})).await;
    let client = async_nats::connect(registry.url()).await.unwrap();
    let mut requests = client.subscribe("work.>").await.unwrap();
    client.flush().await.unwrap();
    let said = caller
        .get("tool.invoke", first(json!({"dry_run": true})))
        .await;
    assert_eq!(said["plan"]["listening"], true);
    let answers = async {
        let request = requests.next().await.unwrap();
        // Longer than it takes until one that is gone is found out.
        tokio::time::sleep(Duration::from_secs(4)).await;
        let reply = request.reply.unwrap();
        client.publish(reply, "\"done\"".into()).await.unwrap();
        client.flush().await.unwrap();
    };
    let call = caller.get("tool.invoke", first(json!({"timeout_ms": 20_000})));
    let (reply, ()) = tokio::join!(call, answers);
    assert_eq!(reply["result"], "done");
}

/// Where nobody else may be asked, that the node is gone is the outcome, and it is told when it is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_is_reported_though_nobody_else_may_be_asked() {
    let alone = [("a", "1.0.0")];
    let two = [("a", "1.0.0"), ("b", "1.0.0")];
    for (nodes, idempotent) in [(&alone[..], true), (&two[..], false)] {
        let (registry, caller) = announced(nodes, json!({"idempotent": idempotent})).await;
        let dies = dies_when_called(registry.url(), "work.a").await;
        let other = Provider::answering(registry.url(), "work.b", |_| json!("done")).await;
        let since = std::time::Instant::now();
        let body = first(json!({"timeout_ms": 60_000}));
        let refused = caller.refused("tool.invoke", body, ErrorCode::ToolTimeout);
        let refused = refused.await;
        assert!(since.elapsed() < Duration::from_secs(20));
        assert_eq!(refused.detail("executed"), "unknown");
        assert_eq!(asked(&refused.error["details"]), [("a", "gone")]);
        assert_eq!(refused.retryable(), idempotent);
        dies.await.unwrap();
        assert_eq!(other.count(), 0);
    }
}

/// A client library that has lost its connection comes back after a while, and its answer counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_reconnects_may_still_answer() {
    let (registry, caller) = announced(&[("a", "1.0.0")], json!({})).await;
    let cut_off = dies_when_called(registry.url(), "work.a").await;
    let answers = async {
        let request = cut_off.await.unwrap();
        // As long as it takes until it is there again, and then the work.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let client = async_nats::connect(registry.url()).await.unwrap();
        let _requests = client.subscribe("work.a").await.unwrap();
        tokio::time::sleep(Duration::from_secs(4)).await;
        let reply = request.reply.unwrap();
        client.publish(reply, "\"done\"".into()).await.unwrap();
        client.flush().await.unwrap();
    };
    let call = caller.get("tool.invoke", first(json!({"timeout_ms": 60_000})));
    let (reply, ()) = tokio::join!(call, answers);
    assert_eq!(reply["result"], "done");
}

/// The same where it unsubscribes in the moment in which it is called, and nobody could be asked in its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_drains_at_once_is_waited_for() {
    let (registry, caller) = announced(&[("a", "1.0.0")], json!({})).await;
    let draining = async_nats::connect(registry.url()).await.unwrap();
    let mut requests = draining.subscribe("work.a").await.unwrap();
    draining.flush().await.unwrap();
    let answers = async {
        let request = requests.next().await.unwrap();
        requests.unsubscribe().await.unwrap();
        // Longer than it takes until a node counts as gone.
        tokio::time::sleep(Duration::from_secs(6)).await;
        let reply = request.reply.unwrap();
        draining.publish(reply, "\"done\"".into()).await.unwrap();
        draining.flush().await.unwrap();
    };
    let call = caller.get("tool.invoke", first(json!({"timeout_ms": 60_000})));
    let (reply, ()) = tokio::join!(call, answers);
    assert_eq!(reply["result"], "done");
}

/// The same for nodes that come after the one that would be asked.
#[tokio::test(flavor = "multi_thread")]
async fn dry_run_says_of_every_candidate_whether_somebody_listens() {
    let nodes = [
        ("a", "1.0.0"),
        ("b", "1.0.0"),
        ("c", "1.0.0"),
        ("d", "1.0.0"),
    ];
    let (registry, caller) = announced(&nodes, json!({})).await;
    let _a = Provider::answering(registry.url(), "work.a", |_| json!("done")).await;
    let _c = Provider::answering(registry.url(), "work.c", |_| json!("done")).await;
    let said = caller
        .get("tool.invoke", first(json!({"dry_run": true})))
        .await;
    assert_eq!(said["plan"]["provider_node_id"], "a");
    let all = said["candidates"].as_array().unwrap().iter();
    let all: Vec<_> = all
        .map(|one| [&one["node_id"], &one["state"], &one["reason"]].map(Value::to_string))
        .collect();
    let wanted = [
        ["a", "chosen", ""],
        ["b", "out", "no_responders"],
        ["c", "usable", ""],
        ["d", "out", "no_responders"],
    ];
    let text = |text: &str| match text {
        "" => "null".to_owned(),
        text => format!("{text:?}"),
    };
    assert_eq!(all, wanted.map(|one| one.map(text)));
}
