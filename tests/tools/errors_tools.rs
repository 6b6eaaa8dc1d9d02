//! Every error that a call of a tool can come to, with all that its `details` has. What all endpoints share is in
//! `fields.rs`.

use std::collections::BTreeSet;

use crate::harness::{Caller, Got, Provider, Refused, Registry, node, until, with};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

const SUBJECT: &str = "calc.half";
const NUMBER: &str = "Nats-Service-Error-Code";
const TEXT: &str = "Nats-Service-Error";

/// A registry, and a node that says that it halves.
struct Bus {
    registry: Registry,
    caller: Caller,
    contract_hash: Value,
}

async fn start(args: &[&str], more: Value) -> Bus {
    let registry = Registry::start(&[&["--host", "here", "--no-probe"], args].concat());
    let caller = Caller::of(&registry).await;
    let tool = json!({
        "name": "half", "version": "1.0.0", "subject": SUBJECT, "output_schema": {"type": "number"},
        // What two parts of it ask for is told once.
        "input_schema": {
            "type": "object", "required": ["of"], "properties": {"of": {"type": "number"}},
            "allOf": [{"properties": {"of": {"type": "number"}}}],
        },
    });
    let body = node(Uuid::new_v4(), "calc", json!({"tools": [with(tool, more)]}));
    caller.get("node.register", body).await;
    let resolved = caller
        .see("tool.resolve", json!({"tool_name": "half"}))
        .await;
    Bus {
        registry,
        caller,
        contract_hash: resolved["contract_hash"].clone(),
    }
}

fn call(more: Value) -> Value {
    let body = json!({"tool_name": "half", "arguments": {"of": 3}, "timeout_ms": 60_000});
    with(body, more)
}

impl Bus {
    /// Answers each call like this, until it is dropped.
    async fn answering(&self, headers: &'static [(&str, &str)], body: Value) -> Provider {
        Provider::serve(self.registry.url(), SUBJECT, move |got: Got| {
            let text = match &body {
                Value::Null => String::new(),
                body => body.to_string(),
            };
            async move { got.answer_bytes(headers, text).await }
        })
        .await
    }

    async fn silent(&self) -> Provider {
        Provider::serve(self.registry.url(), SUBJECT, |_| async {}).await
    }

    /// A call that comes to that.
    async fn fails(&self, more: Value, code: ErrorCode, details: &[&str]) -> Refused {
        let refused = self.caller.refused("tool.invoke", call(more), code).await;
        has(&refused, details);
        refused
    }
}

/// `details` has these members and no others.
#[track_caller]
fn has(refused: &Refused, details: &[&str]) {
    let found = refused.error["details"].as_object().unwrap();
    let found: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    let wanted: BTreeSet<&str> = details.iter().copied().collect();
    assert_eq!(found, wanted, "{:#}", refused.error);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_be_asked() {
    let bus = start(&[], json!({})).await;
    let [invoke, resolve] = ["tool.invoke", "tool.resolve"];
    for endpoint in [invoke, resolve] {
        let refused = |body: Value, code| bus.caller.refused(endpoint, body, code);
        let nothing = json!({"tool_name": "quarter"});
        has(
            &refused(nothing, ErrorCode::ToolNotFound).await,
            &["tool_name"],
        );
        for (more, reason) in [
            (json!({"tool_version": "^2"}), "version"),
            (json!({"provider_node_id": "abacus"}), "not_pinned"),
            (json!({"trusted_only": true}), "untrusted"),
        ] {
            let body = with(json!({"tool_name": "half"}), more);
            let refused = refused(body, ErrorCode::ProviderNotFound).await;
            let pinned = reason == "not_pinned";
            let members = ["tool_name", "candidates", "node_id"];
            has(&refused, &members[..if pinned { 3 } else { 2 }]);
            assert_eq!(refused.detail("tool_name"), "half");
            assert!(!pinned || refused.detail("node_id") == "abacus");
            let candidate = &refused.detail("candidates")[0];
            let said = (
                &candidate["node_id"],
                &candidate["state"],
                &candidate["reason"],
            );
            assert_eq!(said, (&json!("calc"), &json!("out"), &json!(reason)));
            assert!(candidate["message"].is_string(), "{candidate:#}");
            let message = refused.error["message"].as_str().unwrap();
            assert!(
                reason != "not_pinned" || message.contains("node abacus"),
                "{message}"
            );
        }
        let other = json!({"tool_name": "half", "contract_hash": "c2:0"});
        let refused = refused(other, ErrorCode::ContractChanged).await;
        has(&refused, &["contract_hash", "offered"]);
        assert_eq!(refused.detail("contract_hash"), "c2:0");
        let offered = json!([{"tool_version": "1.0.0", "contract_hash": bus.contract_hash}]);
        assert_eq!(*refused.detail("offered"), offered);
    }
    // Nobody listens: after the fifth time it is left alone for a while, and it is said how long.
    for _ in 0..5 {
        let refused = bus
            .fails(
                json!({}),
                ErrorCode::ProviderNotFound,
                &["asked", "candidates", "tool_name"],
            )
            .await;
        assert_eq!(refused.detail("candidates")[0]["reason"], "no_responders");
    }
    let alone = bus
        .fails(
            json!({}),
            ErrorCode::ProviderNotFound,
            &["candidates", "tool_name"],
        )
        .await;
    assert_eq!(alone.detail("candidates")[0]["reason"], "circuit_open");
    let after = alone.error["retry_after_ms"].as_u64().unwrap();
    assert!((100..=5_000).contains(&after), "{after}");
    let back = bus.answering(&[], json!(1.5)).await;
    let reply = until("it is asked again", async || {
        bus.caller.ask("tool.invoke", call(json!({}))).await.ok()
    })
    .await;
    assert_eq!((&reply["result"], back.count()), (&json!(1.5), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_in_and_what_comes_out_is_checked() {
    let bus = start(&[], json!({})).await;
    let provider = bus.answering(&[], json!("1.5")).await;
    let wrong = json!({"arguments": {"of": "three"}});
    let refused = bus
        .fails(wrong, ErrorCode::InvalidArguments, &["violations"])
        .await;
    let said = refused.detail("violations").as_array().unwrap();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(refused.detail("violations")[0]["pointer"], "/of");
    assert_eq!(provider.count(), 0);
    let executed = [
        "asked",
        "executed",
        "execution_id",
        "provider_node_id",
        "tool_name",
    ];
    let details = [&executed[..], &["provider_body", "violations"]].concat();
    let refused = bus
        .fails(json!({}), ErrorCode::InvalidResult, &details)
        .await;
    assert_eq!(refused.detail("violations")[0]["pointer"], "");
    assert_eq!(refused.detail("provider_body"), "1.5");
    assert_eq!(refused.detail("executed"), true);
    assert_eq!(
        refused.detail("execution_id"),
        provider.got()[0].header("Onex-Execution-Id")
    );
    drop(provider);

    // Around it stands more than is left.
    let text = "x".repeat(1_048_000);
    let bus = start(&[], json!({"output_schema": true})).await;
    let _huge = bus.answering(&[], json!(text)).await;
    let details = [&executed[..], &["limit"]].concat();
    let refused = bus.fails(json!({}), ErrorCode::TooLarge, &details).await;
    assert_eq!(refused.detail("executed"), true);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tool_says_of_its_errors_is_passed_on() {
    let bus = start(&[], json!({})).await;
    let always = [
        "asked",
        "executed",
        "execution_id",
        "provider_node_id",
        "tool_name",
        "provider_code",
        "provider_message",
    ];
    let bare = bus
        .answering(&[(NUMBER, "500"), (TEXT, "it broke")], Value::Null)
        .await;
    let refused = bus.fails(json!({}), ErrorCode::ToolError, &always).await;
    assert_eq!(refused.detail("provider_code"), "500");
    assert_eq!(refused.detail("provider_message"), "it broke");
    assert_eq!(refused.detail("executed"), true);
    drop(bare);
    let said =
        json!({"error": {"code": "ODD", "message": "3 is odd", "retryable": true}, "more": [1]});
    let named = bus.answering(&[(NUMBER, "422")], said.clone()).await;
    let details = [&always[..], &["provider_body"]].concat();
    let refused = bus.fails(json!({}), ErrorCode::ToolError, &details).await;
    assert_eq!(*refused.detail("provider_body"), said);
    assert!(refused.retryable());
    drop(named);
    // It did not begin, and no other could: that is no error of the tool's.
    let headers = &[(NUMBER, "400"), (TEXT, "NO"), ("Onex-Executed", "false")];
    let checked = bus.answering(headers, Value::Null).await;
    let refused = bus.fails(json!({}), ErrorCode::ToolError, &always).await;
    assert_eq!(refused.detail("executed"), false);
    drop(checked);
    let headers = &[(NUMBER, "503"), (TEXT, "BUSY"), ("Onex-Executed", "false")];
    let _full = bus.answering(headers, Value::Null).await;
    let refused = bus
        .fails(json!({}), ErrorCode::Busy, &["asked", "executed"])
        .await;
    assert!(refused.error["retry_after_ms"].is_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_silent_tool_may_be_called_again_is_for_it_to_say() {
    for idempotent in [false, true] {
        let bus = start(&[], json!({"idempotent": idempotent})).await;
        let provider = bus.silent().await;
        let details = [
            "asked",
            "executed",
            "execution_id",
            "provider_node_id",
            "tool_name",
        ];
        let refused = bus
            .fails(json!({"timeout_ms": 200}), ErrorCode::ToolTimeout, &details)
            .await;
        assert_eq!(refused.detail("executed"), "unknown");
        assert_eq!(refused.retryable(), idempotent);
        assert_eq!(provider.count(), 1);
    }
}

/// A call is under way; there is room for no other, and nothing is called.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_bounded() {
    for bound in ["--invokes-max", "--invokes-per-provider-max"] {
        let bus = start(&[bound, "1", "--invoke-queue-max", "0"], json!({})).await;
        let provider = bus.silent().await;
        let caller = bus.caller.clone();
        let hangs = tokio::spawn(async move {
            caller
                .ask("tool.invoke", call(json!({"timeout_ms": 4_000})))
                .await
        });
        until("the call to be under way", async || {
            (provider.count() == 1).then_some(())
        })
        .await;
        let refused = bus.fails(json!({}), ErrorCode::Busy, &["executed"]).await;
        assert_eq!(refused.detail("executed"), false);
        assert!(refused.error["retry_after_ms"].is_u64(), "{refused:?}");
        assert_eq!(provider.count(), 1);
        assert_eq!(hangs.await.unwrap().unwrap_err().code, "TOOL_TIMEOUT");
        drop(provider);
        let _back = bus.answering(&[], json!(1.5)).await;
        // It may have been at work on the call that nobody waits for: its place is free when it is seen to be gone.
        let reply = until("it is seen to be gone", async || {
            bus.caller.ask("tool.invoke", call(json!({}))).await.ok()
        })
        .await;
        assert_eq!(reply["result"], 1.5);
    }
}

/// Whatever a provider says, it is said once.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_tool_says_is_not_repeated() {
    let once = |refused: &Refused, text: &str| {
        let message = refused.error["message"].as_str().unwrap();
        assert_eq!(message.matches(text).count(), 1, "{message}");
        let asked = &refused.detail("asked")[0]["message"];
        let times = asked.as_str().unwrap_or_default().matches(text).count();
        assert!(times <= 1, "{asked}");
        times
    };
    let bus = start(&[], json!({})).await;
    for (headers, body, text) in [
        (&[(NUMBER, "500"), (TEXT, "BOOM")][..], Value::Null, "BOOM"),
        (&[(NUMBER, "500"), (TEXT, "500")], Value::Null, "500"),
        (&[(NUMBER, "500")], Value::Null, "500"),
        (
            &[(NUMBER, "500")],
            json!({"error": {"code": "BOOM", "message": "BOOM: no disk"}}),
            "BOOM",
        ),
        (
            &[(NUMBER, "500")],
            json!({"error": {"code": "boom", "message": "boom"}}),
            "boom",
        ),
    ] {
        let provider = bus.answering(headers, body).await;
        let refused = bus
            .caller
            .refused("tool.invoke", call(json!({})), ErrorCode::ToolError);
        assert_eq!(once(&refused.await, text), 1);
        drop(provider);
    }
    let _wrong = bus.answering(&[], json!("1.5")).await;
    let refused = bus
        .caller
        .refused("tool.invoke", call(json!({})), ErrorCode::InvalidResult);
    // Its violations say it to programs.
    assert_eq!(once(&refused.await, "is not of type"), 0);
}

/// However deep the body of an error is: what it is called, and whether it may be tried again, is not lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_deep_error_keeps_its_code_and_message() {
    let bus = start(&[], json!({})).await;
    for levels in [64, 65, 120, 1_000] {
        let deep = "[".repeat(levels) + &"]".repeat(levels);
        let body = format!(
            r#"{{"more":{deep},"error":{{"code":"NO_DISK","message":"it is full","retryable":true,"at":{deep}}}}}"#
        );
        let text = body.clone();
        let provider = Provider::serve(bus.registry.url(), SUBJECT, move |got: Got| {
            let body = body.clone();
            async move { got.answer_bytes(&[(NUMBER, "500")], body).await }
        })
        .await;
        let refused = bus
            .caller
            .refused("tool.invoke", call(json!({})), ErrorCode::ToolError);
        let refused = refused.await;
        assert_eq!(refused.detail("provider_code"), "NO_DISK", "{levels}");
        assert_eq!(refused.detail("provider_message"), "it is full");
        assert_eq!(refused.detail("provider_body"), &json!(text));
        assert!(refused.retryable());
        drop(provider);
    }
}
