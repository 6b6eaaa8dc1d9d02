//! Tools called through the registry: who is asked, what is checked, and what comes back.

use std::time::{Duration, Instant};

use crate::harness::{Caller, Provider, Registry, node, until, with};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];

/// A tool that adds up, with a contract that says so.
fn add(version: &str, more: Value) -> Value {
    let tool = json!({
        "name": "add", "version": version,
        "input_schema": {
            "type": "object", "required": ["a", "b"], "additionalProperties": false,
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        },
        "output_schema": {"type": "object", "required": ["sum"], "properties": {"sum": {"type": "integer"}}},
        "error_codes": ["TOO_MUCH"],
    });
    with(tool, more)
}

fn sum(arguments: &Value) -> Value {
    let number = |name: &str| arguments[name].as_i64().unwrap();
    json!({"sum": number("a") + number("b")})
}

fn subject(node_id: &str) -> String {
    format!("onex.node.v1.tool.add.{node_id}")
}

/// A node that offers a version of the tool, and what answers for it.
async fn provider(caller: &Caller, registry: &Registry, node_id: &str, tool: Value) -> Provider {
    let provider = Provider::answering(registry.url(), &subject(node_id), sum).await;
    announce(caller, node_id, tool).await;
    provider
}

/// A node that offers a tool, as far as it says.
async fn announce(caller: &Caller, node_id: &str, tool: Value) {
    let tools = json!({"tools": [tool]});
    let body = node(Uuid::new_v4(), node_id, tools);
    caller.get("node.register", body).await;
}

fn call(more: Value) -> Value {
    let call = json!({"tool_name": "add", "arguments": {"a": 1, "b": 2}});
    with(call, more)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_is_called_and_answers() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let calc = provider(&caller, &registry, "calc", add("1.2.0", json!({}))).await;

    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [("traceparent", trace), ("Onex-Correlation-Id", "order-17")];
    let body = call(json!({})).to_string();
    let reply = caller.raw("tool.invoke", &headers, body).await.unwrap();
    assert_eq!(reply["status"], "success");
    assert_eq!(reply["result"], json!({"sum": 3}));
    assert_eq!(reply["tool_name"], "add");
    assert_eq!(reply["tool_version"], "1.2.0");
    assert_eq!(reply["provider_node_id"], "calc");
    assert_eq!(reply["correlation_id"], "order-17");
    assert_eq!(reply["attempts"], 1);
    assert!(reply["duration_ms"].is_u64() && reply["revision"].is_u64());

    let got = &calc.got()[0];
    assert_eq!(got.arguments, json!({"a": 1, "b": 2}));
    for (name, value) in [
        ("Onex-Tool", "add"),
        ("Onex-Tool-Version", "1.2.0"),
        ("Onex-Correlation-Id", "order-17"),
        ("Onex-Execution-Id", reply["execution_id"].as_str().unwrap()),
        (
            "Onex-Contract-Hash",
            reply["contract_hash"].as_str().unwrap(),
        ),
        ("traceparent", trace),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    let left: u64 = got.header("Onex-Timeout-Ms").parse().unwrap();
    assert!((1..=4_000).contains(&left), "{left}");

    // The body's name counts before the header's, also in an error; what is no trace is not passed on.
    let headers = [("Onex-Correlation-Id", "other"), ("traceparent", "00-xyz")];
    let body = call(json!({"correlation_id": "named"})).to_string();
    let reply = caller.reply("tool.invoke", &headers, body).await;
    let header = reply
        .headers
        .get("Onex-Correlation-Id")
        .unwrap()
        .as_str()
        .to_owned();
    assert_eq!(
        (header.as_str(), &reply.body["correlation_id"]),
        ("named", &json!("named"))
    );
    assert_eq!(calc.got()[1].header("Onex-Correlation-Id"), "named");
    assert_eq!(calc.got()[1].header("traceparent"), "");
    let wrong = json!({"tool_name": "no-such", "correlation_id": "named"});
    let refused = caller
        .refused("tool.invoke", wrong, ErrorCode::ToolNotFound)
        .await;
    assert_eq!(refused.error["correlation_id"], "named");
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_are_checked_before_anything_is_sent() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let calc = provider(&caller, &registry, "calc", add("1.0.0", json!({}))).await;
    let wrong = call(json!({"arguments": {"a": "one", "c": 1}}));
    let refused = caller
        .refused("tool.invoke", wrong, ErrorCode::InvalidArguments)
        .await;
    let violations = refused.detail("violations").as_array().unwrap().clone();
    let pointers: Vec<&str> = violations
        .iter()
        .map(|one| one["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(violations.len(), 3, "{violations:#?}");
    assert!(
        pointers.contains(&"/a") && pointers.contains(&""),
        "{pointers:?}"
    );
    for (wrong, pointer) in [
        (json!({"arguments": []}), "/arguments"),
        (json!({"timeout_ms": 0}), "/timeout_ms"),
        (json!({"timeout_ms": 300_001}), "/timeout_ms"),
        (json!({"correlation_id": "a b"}), "/correlation_id"),
        (
            json!({"node_selection_policy": "fastest"}),
            "/node_selection_policy",
        ),
        (json!({"tool_version": "one"}), "/tool_version"),
    ] {
        let refused = caller
            .refused(
                "tool.invoke",
                call(wrong.clone()),
                ErrorCode::InvalidRequest,
            )
            .await;
        assert_eq!(refused.detail("pointer"), pointer, "{wrong}");
    }
    assert_eq!(calc.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_says_is_passed_on() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    announce(&caller, "calc", add("1.0.0", json!({}))).await;
    let invoke = || caller.ask("tool.invoke", call(json!({"timeout_ms": 60_000})));

    // Nobody is there.
    let refused = invoke().await.unwrap_err();
    assert_eq!(refused.code, "PROVIDER_NOT_FOUND");
    assert_eq!(refused.detail("candidates")[0]["reason"], "no_responders");

    let failing = Provider::serve(registry.url(), &subject("calc"), |got| async move {
        let headers = [("Nats-Service-Error-Code", "422"), ("Nats-Service-Error", "the sum is too much")];
        let body = json!({"error": {"code": "TOO_MUCH", "message": "3 is too much", "retryable": true, "details": {"max": 2}}});
        got.answer_bytes(&headers, body.to_string()).await;
    })
    .await;
    let refused = invoke().await.unwrap_err();
    assert_eq!(refused.code, "TOOL_ERROR");
    assert_eq!(refused.detail("provider_code"), "TOO_MUCH");
    assert_eq!(refused.detail("provider_message"), "3 is too much");
    assert_eq!(
        refused.detail("provider_body")["error"]["details"]["max"],
        2
    );
    assert_eq!(refused.detail("provider_node_id"), "calc");
    assert_eq!(refused.detail("executed"), true);
    assert!(refused.retryable());
    drop(failing);

    let bare = Provider::serve(registry.url(), &subject("calc"), |got| async move {
        got.answer_bytes(
            &[
                ("Nats-Service-Error-Code", "500"),
                ("Nats-Service-Error", "it broke"),
            ],
            String::new(),
        )
        .await;
    })
    .await;
    let refused = invoke().await.unwrap_err();
    assert_eq!(refused.detail("provider_code"), "500");
    assert_eq!(refused.detail("provider_message"), "it broke");
    assert!(!refused.retryable());
    drop(bare);

    for (body, pointer) in [("{\"sum\": \"3\"}", "/sum"), ("{\"sum\": ", ""), ("[]", "")] {
        let wrong = Provider::serve(registry.url(), &subject("calc"), move |got| async move {
            got.answer_bytes(&[], body.to_owned()).await;
        })
        .await;
        let refused = invoke().await.unwrap_err();
        assert_eq!(refused.code, "INVALID_RESULT", "{body}");
        assert_eq!(
            refused.detail("violations")[0]["pointer"],
            pointer,
            "{body}"
        );
        assert_eq!(refused.detail("executed"), true);
        drop(wrong);
    }

    // Larger than what fits into an answer with all that stands around it.
    let huge = Provider::serve(registry.url(), &subject("calc"), |got| async move {
        let text = "x".repeat(1_048_000);
        got.answer_bytes(&[], json!({"sum": 1, "text": text}).to_string())
            .await;
    })
    .await;
    let refused = invoke().await.unwrap_err();
    assert_eq!(refused.code, "TOO_LARGE");
    assert_eq!(refused.detail("executed"), true);
    drop(huge);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_answer_in_time_is_not_waited_for() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let slow = Provider::serve(registry.url(), &subject("calc"), |got| async move {
        // Longer than the caller waits: the answer comes too late.
        tokio::time::sleep(Duration::from_millis(600)).await;
        got.answer(&json!({"sum": 3})).await;
        got.answer(&json!({"sum": 4})).await;
    })
    .await;
    announce(&caller, "calc", add("1.0.0", json!({}))).await;
    let began = Instant::now();
    let hasty = call(json!({"timeout_ms": 200}));
    let refused = caller
        .refused("tool.invoke", hasty, ErrorCode::ToolTimeout)
        .await;
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(refused.detail("executed"), "unknown");
    assert!(!refused.retryable(), "it is not idempotent");
    assert_eq!(slow.count(), 1);

    // The header counts where it is less.
    let body = call(json!({"timeout_ms": 60_000})).to_string();
    let refused = caller
        .raw("tool.invoke", &[("Onex-Timeout-Ms", "300")], body)
        .await
        .unwrap_err();
    assert_eq!(refused.code, "TOOL_TIMEOUT");

    // Of a double answer the first counts.
    let patient = caller
        .get("tool.invoke", call(json!({"timeout_ms": 60_000})))
        .await;
    assert_eq!(patient["result"], json!({"sum": 3}));
    let late = until("late answers are counted", async || {
        let stats = caller.micro("STATS").await;
        let endpoints = stats[0]["endpoints"].as_array().unwrap().clone();
        let invoke = endpoints
            .iter()
            .find(|one| one["name"] == "tool-invoke")
            .unwrap();
        let late = invoke["data"]["late_answers"].as_u64().unwrap();
        (late >= 5).then_some(late)
    })
    .await;
    assert_eq!(
        late, 5,
        "two of each call that was given up, and one of the last"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_tool_is_asked_of_another_node() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let silent = |node_id: &str| {
        let subject = subject(node_id);
        let url = registry.url().to_owned();
        async move { Provider::serve(&url, &subject, |_| async {}).await }
    };
    let idempotent = add("1.0.0", json!({"idempotent": true}));
    let dead = silent("a").await;
    announce(&caller, "a", idempotent.clone()).await;
    let alive = provider(&caller, &registry, "b", idempotent).await;
    let brief = json!({"attempt_timeout_ms": 500, "timeout_ms": 10_000});
    let first = with(call(brief), json!({"node_selection_policy": "first"}));
    let reply = caller.get("tool.invoke", first).await;
    assert_eq!(
        (&reply["provider_node_id"], &reply["attempts"]),
        (&json!("b"), &json!(2))
    );
    assert_eq!((dead.count(), alive.count()), (1, 1));

    // One that is not idempotent is not.
    let once = json!({"name": "once", "version": "1.0.0", "subject": "once.a"});
    announce(&caller, "c", once.clone()).await;
    announce(&caller, "d", with(once, json!({"subject": "once.b"}))).await;
    let dead = Provider::serve(registry.url(), "once.a", |_| async {}).await;
    let alive = Provider::answering(registry.url(), "once.b", |_| json!(1)).await;
    let body = json!({"tool_name": "once", "node_selection_policy": "first", "timeout_ms": 1_000});
    let refused = caller
        .refused("tool.invoke", body.clone(), ErrorCode::ToolTimeout)
        .await;
    assert_eq!(refused.detail("provider_node_id"), "c");
    assert_eq!((dead.count(), alive.count()), (1, 0));
    // But where nobody got it, it is.
    drop(dead);
    let reply = until("nobody listens there any more", async || {
        let reply = caller.ask("tool.invoke", body.clone()).await;
        reply.ok()
    })
    .await;
    assert_eq!(
        (&reply["provider_node_id"], &reply["attempts"]),
        (&json!("d"), &json!(2))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_will_do_is_chosen() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let mut all = Vec::new();
    for (node_id, version, more) in [
        ("a", "1.0.0", json!({})),
        ("b", "1.2.0", json!({})),
        ("c", "1.2.0", json!({})),
        ("d", "2.0.0-rc.1", json!({})),
        ("e", "0.9.0", json!({"error_codes": []})),
    ] {
        all.push(provider(&caller, &registry, node_id, add(version, more)).await);
    }
    let asked = async |more: Value| {
        let reply = caller.get("tool.invoke", call(more)).await;
        reply["provider_node_id"].as_str().unwrap().to_owned()
    };
    let many = async |more: Value| {
        let mut counted = std::collections::BTreeMap::<String, u32>::new();
        for _ in 0..40 {
            *counted.entry(asked(more.clone()).await).or_default() += 1;
        }
        counted
    };
    assert_eq!(asked(json!({"node_selection_policy": "first"})).await, "b");
    assert_eq!(asked(json!({"tool_version": "=1.0.0"})).await, "a");
    assert_eq!(asked(json!({"tool_version": ">=2.0.0-rc.0"})).await, "d");
    assert_eq!(asked(json!({"tool_version": "<1"})).await, "e");
    assert_eq!(asked(json!({"provider_node_id": "d"})).await, "d");
    let turns = many(json!({"node_selection_policy": "round_robin"})).await;
    assert_eq!(turns, [("b".to_owned(), 20), ("c".to_owned(), 20)].into());
    let random = many(json!({"node_selection_policy": "random"})).await;
    assert!(
        random.len() == 2 && random["b"] >= 5 && random["c"] >= 5,
        "{random:?}"
    );

    for (more, code, reason) in [
        (
            json!({"tool_version": "^3"}),
            ErrorCode::ProviderNotFound,
            "version",
        ),
        (
            json!({"provider_node_id": "x"}),
            ErrorCode::ProviderNotFound,
            "not_pinned",
        ),
        (
            json!({"trusted_only": true}),
            ErrorCode::ProviderNotFound,
            "untrusted",
        ),
    ] {
        let refused = caller.refused("tool.invoke", call(more), code).await;
        let candidates = refused.detail("candidates").as_array().unwrap();
        assert_eq!(candidates.len(), 5);
        assert!(
            candidates.iter().all(|one| one["reason"] == reason),
            "{candidates:#?}"
        );
        assert!(refused.retryable());
    }
    let hash = "c2:no-such";
    let gone = call(json!({"contract_hash": hash}));
    let refused = caller
        .refused("tool.invoke", gone, ErrorCode::ContractChanged)
        .await;
    assert_eq!(refused.detail("contract_hash"), hash);
    // Two contracts, in four versions.
    assert_eq!(refused.detail("offered").as_array().unwrap().len(), 4);
    let described = caller
        .see("tool.describe", json!({"name": "add", "version": "1.0.0"}))
        .await;
    let hash = &described["contract_hash"];
    let same = call(json!({"contract_hash": hash, "tool_version": "^1"}));
    assert_eq!(
        caller.get("tool.invoke", same.clone()).await["status"],
        "success"
    );
    // A contract is offered in several versions, of which the newest is taken; those of its versions that are others by
    // their contract are told from those of other versions.
    let reasons = async |call: Value| {
        let said = caller
            .get("tool.invoke", with(call, json!({"dry_run": true})))
            .await;
        let candidates = said["candidates"].as_array().unwrap().iter();
        let reason = |one: &Value| {
            let node_id = one["node_id"].as_str().unwrap().to_owned();
            (node_id, one["reason"].as_str().map(str::to_owned))
        };
        candidates
            .map(reason)
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    for (call, e) in [
        (same, "version"),
        (call(json!({"contract_hash": hash})), "contract"),
    ] {
        let wanted = [Some("older"), None, None, Some("version"), Some(e)];
        let wanted = wanted.map(|reason| reason.map(str::to_owned));
        let nodes = ["a", "b", "c", "d", "e"].map(str::to_owned);
        assert_eq!(reasons(call).await, nodes.into_iter().zip(wanted).collect());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let b = provider(&caller, &registry, "b", add("1.2.0", json!({}))).await;
    let c = provider(&caller, &registry, "c", add("1.0.0", json!({}))).await;
    let dry = |more: Value| call(with(json!({"dry_run": true}), more));
    let said = caller
        .get("tool.invoke", dry(json!({"timeout_ms": 1_500})))
        .await;
    assert_eq!(said["status"], "dry_run");
    assert_eq!(said["refusal"], Value::Null);
    assert_eq!(said["plan"]["provider_node_id"], "b");
    assert_eq!(said["plan"]["subject"], subject("b"));
    assert_eq!(said["plan"]["timeout_ms"], 1_500);
    assert_eq!(said["plan"]["node_selection_policy"], "least_loaded");
    let states: Vec<(&Value, &Value)> = said["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["state"], &one["reason"]))
        .collect();
    assert_eq!(
        states,
        [
            (&json!("chosen"), &Value::Null),
            (&json!("out"), &json!("older"))
        ]
    );

    let said = caller
        .get("tool.invoke", dry(json!({"arguments": {}})))
        .await;
    assert_eq!(said["refusal"], "INVALID_ARGUMENTS");
    assert_eq!(said["violations"].as_array().unwrap().len(), 2);
    let said = caller
        .get("tool.invoke", dry(json!({"tool_version": "^7"})))
        .await;
    assert_eq!(
        (&said["refusal"], &said["plan"]),
        (&json!("PROVIDER_NOT_FOUND"), &Value::Null)
    );
    let said = caller
        .get("tool.invoke", dry(json!({"tool_name": "nothing"})))
        .await;
    assert_eq!(
        (&said["refusal"], &said["candidate_count"]),
        (&json!("TOOL_NOT_FOUND"), &json!(0))
    );
    assert_eq!((b.count(), c.count()), (0, 0));

    // Straight to whoever it names.
    let resolved = caller
        .get("tool.resolve", json!({"tool_name": "add"}))
        .await;
    assert_eq!(resolved["provider_node_id"], "b");
    assert_eq!(
        resolved["contract"]["input_schema"]["required"],
        json!(["a", "b"])
    );
    let to = resolved["subject"].as_str().unwrap().to_owned();
    let answer = caller
        .client
        .request(to, "{\"a\":1,\"b\":2}".into())
        .await
        .unwrap();
    assert_eq!(&answer.payload[..], b"{\"sum\":3}");
    for (body, code) in [
        (json!({"tool_name": "nothing"}), ErrorCode::ToolNotFound),
        (
            json!({"tool_name": "add", "tool_version": "^7"}),
            ErrorCode::ProviderNotFound,
        ),
        (
            json!({"tool_name": "add", "contract_hash": "x"}),
            ErrorCode::ContractChanged,
        ),
    ] {
        caller.refused("tool.resolve", body, code).await;
    }
}
