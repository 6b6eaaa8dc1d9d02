//! The tools that a node of the Rust client serves: what callers get, whatever they ask and whatever the handler does,
//! and how taking calls begins and ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::{HeaderMap, RequestErrorKind, Subscriber};
use futures::StreamExt as _;
use onex_registry::{
    client::{
        BootTime, CALLS_AT_ONCE_DEFAULT, Call, Calls, Client, Error, Failure, Loss, Node,
        NodeBuilder, OrFail as _,
    },
    protocol::{
        error::ErrorCode,
        inbox::Inboxes,
        invoke::InvokeRequest,
        names::Namespace,
        node_view::{Liveness, NodeListRequest},
        tool::Tool,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinHandle, time::timeout};

use crate::harness::{Nats, PATIENCE, Registry, header_map, round_trip, until};

const ARGS: [&str; 5] = ["--host", "here", "--ports", "20000-29999", "--no-probe"];

#[derive(Deserialize, JsonSchema)]
struct Add {
    /// What to add up.
    terms: Vec<f64>,
    /// How often.
    #[serde(default)]
    times: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
struct Sum {
    sum: f64,
}

/// What a tool takes that takes nothing, or any text.
#[derive(Deserialize, JsonSchema)]
struct Text {
    #[serde(default)]
    text: String,
}

async fn connect(url: &str) -> async_nats::Client {
    async_nats::connect(url).await.unwrap()
}

async fn client(url: &str) -> Client {
    Client::new(connect(url).await, Namespace::default())
}

fn calc() -> NodeBuilder {
    Node::builder("calc.1").version("1.0.0").host("here")
}

fn tool(name: &str) -> Tool {
    Tool::of::<Text, Value>(name, "1.0.0").unwrap()
}

fn add() -> Tool {
    Tool::of::<Add, Sum>("add", "1.0.0").unwrap()
}

async fn adds(args: Add, _: Call) -> Result<Sum, Failure> {
    let times = f64::from(args.times.unwrap_or(1));
    Ok(Sum {
        sum: args.terms.iter().sum::<f64>() * times,
    })
}

/// Who calls tools directly, as anybody may.
struct Caller(async_nats::Client);

/// What came of a call.
#[derive(Debug)]
struct Answer {
    headers: HeaderMap,
    body: Value,
}

impl Caller {
    async fn of(registry: &Registry) -> Self {
        Self(connect(registry.url()).await)
    }

    async fn call(&self, tool: &str, headers: &[(&str, &str)], body: impl ToString) -> Answer {
        self.try_call(tool, headers, body).await.unwrap()
    }

    async fn try_call(
        &self,
        tool: &str,
        headers: &[(&str, &str)],
        body: impl ToString,
    ) -> Result<Answer, RequestErrorKind> {
        let request = async_nats::Request::new()
            .headers(header_map(headers))
            .payload(body.to_string().into())
            .timeout(Some(PATIENCE));
        let subject = format!("onex.node.v1.tool.{tool}.calc=2E1");
        let sent = self.0.send_request(subject, request).await;
        let message = sent.map_err(|error| error.kind())?;
        assert!(message.payload.len() < 100_000, "it is not cut off");
        Ok(Answer {
            headers: message.headers.unwrap_or_default(),
            body: serde_json::from_slice(&message.payload).unwrap(),
        })
    }

    /// What nodes ask a registry for, in its place.
    async fn registrations(&self) -> Subscriber {
        let subject = "onex.registry.v1.node.register";
        let registrations = self.0.subscribe(subject).await.unwrap();
        round_trip(&self.0).await;
        registrations
    }

    /// Whether nobody listens.
    async fn finds_nobody(&self, tool: &str) -> bool {
        let called = self.try_call(tool, &[], r#"{"text": "at once"}"#).await;
        called.is_err_and(|kind| kind == RequestErrorKind::NoResponders)
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.as_str())
    }

    #[track_caller]
    fn result(self) -> Value {
        assert_eq!(self.header("Nats-Service-Error-Code"), None, "{self:?}");
        self.body
    }

    /// The error, with what all have in common.
    #[track_caller]
    fn error(self, number: &str, code: &str, begun: bool) -> Value {
        let said = (
            self.header("Nats-Service-Error-Code"),
            self.header("Nats-Service-Error"),
            self.header("Onex-Executed"),
        );
        let executed = (!begun).then_some("false");
        assert_eq!(said, (Some(number), Some(code), executed), "{self:?}");
        let error = &self.body["error"];
        assert_eq!(error["code"], code);
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        assert_eq!(
            error["correlation_id"].as_str(),
            self.header("Onex-Correlation-Id").or(Some(""))
        );
        error.clone()
    }
}

fn calls(node: &Node, tool: &str) -> Calls {
    node.calls(tool).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_are_checked_before_and_results_after() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let small = Tool {
        output_schema: json!({"type": "object", "properties": {"sum": {"maximum": 10}}}),
        ..Tool::of::<Add, Sum>("small", "1.0.0").unwrap()
    };
    let node = calc().serve(add(), adds).serve(small, adds);
    let node = node.start(&client(registry.url()).await).await.unwrap();

    let sum = caller.call("add", &[], r#"{"terms": [1, 2.5]}"#).await;
    assert_eq!(sum.result(), json!({"sum": 3.5}));
    let wrong = json!({"terms": [1, "x"], "times": -1});
    let refused = caller.call("add", &[], wrong).await;
    let refused = refused.error("400", "INVALID_ARGUMENTS", false);
    assert_eq!(refused["retryable"], false);
    let violations = refused["details"]["violations"].as_array().unwrap();
    let mut places: Vec<_> = violations
        .iter()
        .map(|one| one["pointer"].as_str().unwrap())
        .collect();
    places.sort_unstable();
    assert_eq!(places, ["/terms/1", "/times"], "{violations:?}");
    for no_object in ["[]", "null", "{", "1"] {
        let refused = caller.call("add", &[], no_object).await;
        let refused = refused.error("400", "INVALID_ARGUMENTS", false);
        assert_eq!(refused["details"]["violations"][0]["pointer"], "");
    }
    // To JSON Schema 2.0 is a whole number.
    let sum = caller
        .call("add", &[], r#"{"terms": [1], "times": 2.0}"#)
        .await;
    assert_eq!(sum.result(), json!({"sum": 2.0}));

    let fits = caller.call("small", &[], r#"{"terms": [10]}"#).await;
    assert_eq!(fits.result(), json!({"sum": 10.0}));
    let broken = caller.call("small", &[], r#"{"terms": [10, 1]}"#).await;
    let broken = broken.error("502", "INVALID_RESULT", true);
    assert_eq!(broken["details"]["violations"][0]["pointer"], "/sum");
    assert_eq!(
        (calls(&node, "add").answered, calls(&node, "add").refused),
        (2, 5)
    );
    assert_eq!(
        (calls(&node, "small").answered, calls(&node, "small").failed),
        (1, 1)
    );
    assert_eq!(node.calls("other"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_cannot_do_is_told_by_its_code() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let fails = Tool {
        error_codes: vec!["TOO_SHORT".parse().unwrap(), "NOT_NOW".parse().unwrap()],
        ..tool("fails")
    };
    let node = calc().serve(fails, |Text { text }, _| async move {
        match text.as_str() {
            "short" => Err(Failure::new("TOO_SHORT", "more, please").with("least", 7)),
            "later" => Err(Failure::new("NOT_NOW", "come back").retryable()),
            "panic" => panic!("for a test"),
            "huge" => Err(Failure::new("TOO_SHORT", "m").with("all", "x".repeat(2_000_000))),
            "secret" => Err(std::io::Error::other("the password is 1234"))?,
            number => {
                let number: u32 = number.parse().or_fail("TOO_SHORT")?;
                Ok(json!(number))
            }
        }
    });
    let node = node.start(&client(registry.url()).await).await.unwrap();
    let call = async |text: &str| caller.call("fails", &[], json!({"text": text})).await;

    let short = call("short").await.error("422", "TOO_SHORT", true);
    assert_eq!(short["message"], "more, please");
    assert_eq!(short["retryable"], false);
    assert_eq!(short["details"], json!({"least": 7}));
    assert_eq!(
        call("later").await.error("503", "NOT_NOW", true)["retryable"],
        true
    );
    let parsed = call("x").await.error("422", "TOO_SHORT", true);
    assert!(
        parsed["message"]
            .as_str()
            .unwrap()
            .contains("invalid digit")
    );
    call("panic").await.error("500", "INTERNAL", true);
    let secret = call("secret").await.error("500", "INTERNAL", true);
    assert!(!secret.to_string().contains("1234"), "{secret}");
    // The code counts, also where its details are too much.
    let huge = call("huge").await.error("422", "TOO_SHORT", true);
    assert_eq!(huge["details"], json!({}));
    // Nothing of that stops the tool.
    assert_eq!(call("7").await.result(), 7);
    assert_eq!(calls(&node, "fails").failed, 6);
    assert_eq!(calls(&node, "fails").under_way, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_knows_of_the_call() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let who = |version: &str| Tool {
        version: version.parse().unwrap(),
        ..tool("who")
    };
    let says = |_: Text, call: Call| async move {
        Ok(json!({
            "tool": call.tool().as_str(), "version": call.version(), "execution": call.execution_id(),
            "correlation": call.correlation_id(), "trace": call.traceparent(),
            "left": u64::try_from(call.remaining().as_millis())?,
        }))
    };
    let node = calc().serve(who("1.0.0"), says).serve(who("2.0.0"), says);
    let _node = node.start(&client(registry.url()).await).await.unwrap();
    let headers = [
        ("Onex-Tool", "who"),
        ("Onex-Tool-Version", "1.0.0"),
        ("Onex-Execution-Id", "e-1"),
        ("Onex-Correlation-Id", "c-1"),
        ("Onex-Timeout-Ms", "30000"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ];
    let answer = caller.call("who", &headers, "").await;
    assert_eq!(answer.header("Onex-Correlation-Id"), Some("c-1"));
    assert_eq!(answer.header("Onex-Execution-Id"), Some("e-1"));
    let said = answer.result();
    assert_eq!(
        (&said["tool"], &said["version"]),
        (&json!("who"), &json!("1.0.0"))
    );
    assert_eq!(
        (&said["execution"], &said["correlation"]),
        (&json!("e-1"), &json!("c-1"))
    );
    assert_eq!(said["trace"], headers[5].1);
    let left = said["left"].as_u64().unwrap();
    assert!(left > 10_000 && left <= 30_000, "{left}");

    // Who does not say which gets the newest, and names for what it does not name.
    let answer = caller.call("who", &[], "").await;
    let correlation = answer.header("Onex-Correlation-Id").unwrap().to_owned();
    let said = answer.result();
    assert_eq!(said["version"], "2.0.0");
    assert_eq!(said["correlation"], correlation.as_str());
    assert_eq!(said["trace"], Value::Null);

    for (name, other) in [("Onex-Tool", "other"), ("Onex-Tool-Version", "3.0.0")] {
        let refused = caller.call("who", &[(name, other)], "").await;
        let refused = refused.error("503", "TOOL_NOT_FOUND", false);
        assert!(
            refused["message"]
                .as_str()
                .unwrap()
                .contains("who 2.0.0, who 1.0.0")
        );
    }
    let refused = caller.call("who", &[("Onex-Timeout-Ms", "soon")], "").await;
    let refused = refused.error("400", "INVALID_REQUEST", false);
    assert_eq!(refused["details"]["header"], "Onex-Timeout-Ms");
}

/// A caller that was made for a contract is told that it is another one before anything is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_by_another_contract_is_not_begun() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let node = calc().serve(add(), adds);
    let client = client(registry.url()).await;
    let node = node.start(&client).await.unwrap();
    let asked = serde_json::from_value(json!({"name": "add"})).unwrap();
    let hash = client.describe_tool(&asked).await.unwrap().contract_hash;
    let body = r#"{"terms": [1]}"#;
    let same = caller
        .call("add", &[("Onex-Contract-Hash", &hash)], body)
        .await;
    assert_eq!(same.result(), json!({"sum": 1.0}));
    let other = [("Onex-Contract-Hash", "c2:0")];
    let refused = caller.call("add", &other, body).await;
    let refused = refused.error("503", "CONTRACT_CHANGED", false);
    assert_eq!(
        refused["details"],
        json!({"contract_hash": "c2:0", "offered": [{"tool_version": "1.0.0", "contract_hash": hash}]})
    );
    assert_eq!(calls(&node, "add").answered, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_passes_on_what_the_tool_says() {
    let registry = Registry::start(&ARGS);
    let client = client(registry.url()).await;
    let gate = Arc::new(Semaphore::new(0));
    let says = |Text { text }: Text, call: Call| async move {
        if text.is_empty() {
            return Err(Failure::new("TOO_SHORT", "more, please").retryable());
        }
        Ok(json!([call.execution_id(), call.correlation_id()]))
    };
    let tells = Tool {
        error_codes: vec!["TOO_SHORT".parse().unwrap()],
        ..tool("tells")
    };
    let node = calc()
        .serve(tells, says)
        .serve_at_most(1, tool("single"), waits(&gate));
    let node = node.start(&client).await.unwrap();
    let request = |tool: &str, arguments: Value| InvokeRequest {
        correlation_id: Some("c-1".to_owned()),
        timeout_ms: Some(30_000),
        ..InvokeRequest::new(
            tool.parse().unwrap(),
            arguments.as_object().unwrap().clone(),
        )
    };
    let refused = async |request: InvokeRequest| match client.invoke(&request).await {
        Err(Error::Refused(error)) => error,
        other => panic!("{other:?}"),
    };
    let reply = client
        .invoke(&request("tells", json!({"text": "x"})))
        .await
        .unwrap();
    assert_eq!(reply.result, json!([reply.execution_id.to_string(), "c-1"]));
    assert_eq!(reply.provider_node_id, *node.id());

    let failed = refused(request("tells", json!({}))).await;
    assert_eq!(
        (failed.code, failed.retryable),
        (ErrorCode::ToolError, true)
    );
    assert_eq!(failed.details["provider_code"], "TOO_SHORT");
    assert_eq!(failed.details["provider_message"], "more, please");
    assert_eq!(failed.details["executed"], true);

    let caller = Caller::of(&registry).await;
    let slow = tokio::spawn(async move { caller.call("single", &[], "{}").await.result() });
    under_way(&node, "single", 1).await;
    let busy = refused(request("single", json!({}))).await;
    assert_eq!(busy.code, ErrorCode::Busy);
    gate.add_permits(1);
    assert_eq!(slow.await.unwrap(), "done");
}

/// A tool that works until it is let go, one permit a call; with a text it does at once.
fn waits(gate: &Arc<Semaphore>) -> impl Fn(Text, Call) -> Waiting + Send + Sync + 'static {
    let gate = Arc::clone(gate);
    move |Text { text }, _| {
        let gate = Arc::clone(&gate);
        Box::pin(async move {
            if text.is_empty() {
                gate.acquire().await?.forget();
            }
            Ok(json!("done"))
        })
    }
}

type Waiting = std::pin::Pin<Box<dyn Future<Output = Result<Value, Failure>> + Send>>;

async fn under_way(node: &Node, tool: &str, count: usize) {
    until("calls to be under way", async || {
        (calls(node, tool).under_way == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_more_than_the_bound_is_refused_at_once() {
    let registry = Registry::start(&ARGS);
    let caller = Arc::new(Caller::of(&registry).await);
    let gate = Arc::new(Semaphore::new(0));
    let node =
        calc()
            .serve(tool("slow"), waits(&gate))
            .serve_at_most(1, tool("single"), waits(&gate));
    let node = node.start(&client(registry.url()).await).await.unwrap();
    for (name, bound) in [("slow", CALLS_AT_ONCE_DEFAULT), ("single", 1)] {
        let several: Vec<_> = (0..bound)
            .map(|_| {
                let caller = Arc::clone(&caller);
                tokio::spawn(async move { caller.call(name, &[], "{}").await.result() })
            })
            .collect();
        under_way(&node, name, bound).await;
        let refused = caller.call(name, &[], "{}").await;
        let refused = refused.error("503", "BUSY", false);
        assert_eq!(refused["retryable"], true);
        assert!(refused["retry_after_ms"].is_u64());
        assert_eq!(calls(&node, name).answered, 0, "nothing was waited for");
        gate.add_permits(bound);
        for one in several {
            assert_eq!(one.await.unwrap(), "done");
        }
        // A slot is free again.
        gate.add_permits(1);
        until("a slot", async || {
            let answer = caller.call(name, &[], "{}").await;
            (answer.body == "done").then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_waits_for_is_given_up() {
    struct Dropped(Arc<AtomicU64>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let (dropped, began) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let shared = Arc::clone(&dropped);
    let node = calc().serve(tool("slow"), move |Text { text }, _| {
        let dropped = Dropped(Arc::clone(&shared));
        async move {
            if text == "blocks" {
                // Longer than its caller waits.
                std::thread::sleep(Duration::from_millis(300));
            } else {
                std::future::pending::<()>().await;
            }
            drop(dropped);
            Ok(json!("done"))
        }
    });
    let node = node.start(&client(registry.url()).await).await.unwrap();
    let inbox = caller.0.new_inbox();
    let mut answers = caller.0.subscribe(inbox.clone()).await.unwrap();
    for body in ["{}", r#"{"text": "blocks"}"#] {
        let subject = node.tool_subject("slow").unwrap();
        let headers = header_map(&[("Onex-Timeout-Ms", "150")]);
        let sent =
            caller
                .0
                .publish_with_reply_and_headers(subject, inbox.clone(), headers, body.into());
        sent.await.unwrap();
    }
    until("both to be given up", async || {
        (calls(&node, "slow").late == 2).then_some(())
    })
    .await;
    assert!(began.elapsed() >= Duration::from_millis(150));
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
    assert_eq!(calls(&node, "slow").under_way, 0);
    // Behind what might have been sent.
    caller
        .call("slow", &[], "[]")
        .await
        .error("400", "INVALID_ARGUMENTS", false);
    round_trip(&caller.0).await;
    assert!(
        timeout(Duration::from_millis(50), answers.next())
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_is_not_begun() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let begun = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&begun);
    let node = calc().serve(tool("once"), move |_: Text, _| {
        let begun = count.fetch_add(1, Ordering::Relaxed) + 1;
        async move { Ok(json!(begun)) }
    });
    let node = node.start(&client(registry.url()).await).await.unwrap();
    let subject = node.tool_subject("once").unwrap();
    caller
        .0
        .publish(subject.clone(), "{}".into())
        .await
        .unwrap();
    // Nor is it answered where a caller might not publish itself.
    for reply in [
        "$KV.onex-registry.sys",
        "onex.registry.v1.port.lease",
        "orders.delete",
    ] {
        assert!(!Inboxes::default().has(reply));
        let sent = caller
            .0
            .publish_with_reply(subject.clone(), reply, "{}".into());
        sent.await.unwrap();
    }
    assert_eq!(caller.call("once", &[], "{}").await.result(), 1);
    assert_eq!(calls(&node, "once").without_reply, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_too_large_is_told() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let node = calc().serve(tool("huge"), |_: Text, _| async {
        Ok("x".repeat(2 * 1024 * 1024))
    });
    let node = node.start(&client(registry.url()).await).await.unwrap();
    let told = caller
        .call("huge", &[], "{}")
        .await
        .error("413", "TOO_LARGE", true);
    assert_eq!(told["details"]["limit"], 1024 * 1024);
    drop(node);
}

async fn is_online(client: &Client) -> bool {
    let all = client.all(&NodeListRequest::default()).await.unwrap();
    let all = all.items.iter();
    all.filter(|node| node.node_id.as_str() == "calc.1")
        .any(|node| node.liveness.known() == Some(&Liveness::Online))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_takes_leave_answers_what_it_has_begun() {
    let registry = Registry::start(&ARGS);
    let caller = Arc::new(Caller::of(&registry).await);
    let client = client(registry.url()).await;
    let gate = Arc::new(Semaphore::new(0));
    let node = calc()
        .ttl(1)
        .drain(PATIENCE)
        .serve(tool("slow"), waits(&gate));
    let node = node.start(&client).await.unwrap();
    let life = node.online().await.unwrap();
    let call = tokio::spawn({
        let caller = Arc::clone(&caller);
        async move { caller.call("slow", &[], "{}").await.result() }
    });
    under_way(&node, "slow", 1).await;
    let leaving = tokio::spawn(node.deregister());
    until("nobody to take calls", async || {
        caller.finds_nobody("slow").await.then_some(())
    })
    .await;
    // Real time has to pass: it lives on, for longer than it would without heartbeats.
    let end = BootTime::now() + Duration::from_secs(3);
    while BootTime::now() < end {
        assert!(is_online(&client).await && !life.remaining().is_zero());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!leaving.is_finished() && !call.is_finished());
    gate.add_permits(1);
    assert_eq!(call.await.unwrap(), "done");
    timeout(PATIENCE, leaving).await.unwrap().unwrap().unwrap();
    assert!(!is_online(&client).await);
    assert!(matches!(life.over().await, Loss::Released));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_takes_leave_does_not_wait_for_ever() {
    let registry = Registry::start(&ARGS);
    let caller = Arc::new(Caller::of(&registry).await);
    let client = client(registry.url()).await;
    let node = calc().drain(Duration::from_millis(200));
    let node = node.serve(tool("slow"), waits(&Arc::new(Semaphore::new(0))));
    let node = node.start(&client).await.unwrap();
    let call = tokio::spawn({
        let caller = Arc::clone(&caller);
        async move {
            caller
                .call("slow", &[], "{}")
                .await
                .error("500", "INTERNAL", true)
        }
    });
    under_way(&node, "slow", 1).await;
    // Dropping it is the same.
    drop(node);
    let told = call.await.unwrap();
    assert!(
        told["message"].as_str().unwrap().contains("stopped"),
        "{told}"
    );
    until("the node to be gone", async || {
        (!is_online(&client).await).then_some(())
    })
    .await;
}

/// The old process of a node answers what it has begun, and begins nothing more; the new one is called.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_place_is_taken_takes_no_more_calls() {
    let registry = Registry::start(&ARGS);
    let caller = Arc::new(Caller::of(&registry).await);
    let client = client(registry.url()).await;
    let gate = Arc::new(Semaphore::new(0));
    let first = calc().ttl(1).serve(tool("slow"), waits(&gate));
    let first = first.start(&client).await.unwrap();
    let life = first.online().await.unwrap();
    let call = tokio::spawn({
        let caller = Arc::clone(&caller);
        async move { caller.call("slow", &[], "{}").await.result() }
    });
    under_way(&first, "slow", 1).await;
    let second = calc().serve(tool("slow"), |_: Text, _| async { Ok(json!("second")) });
    let second = second.start(&client).await.unwrap();
    assert!(matches!(
        timeout(PATIENCE, life.over()).await.unwrap(),
        Loss::Refused(_)
    ));
    let before = calls(&first, "slow");
    for _ in 0..50 {
        until("an answer of the second", async || {
            let answer = caller.call("slow", &[], "{}").await;
            if answer.body == "second" {
                return Some(());
            }
            // On its way when the first one ended.
            answer.error("503", "BUSY", false);
            None
        })
        .await;
    }
    assert_eq!(calls(&second, "slow").answered, 50);
    assert_eq!(calls(&first, "slow").under_way, before.under_way);
    gate.add_permits(1);
    assert_eq!(call.await.unwrap(), "done");
    assert_eq!(calls(&first, "slow").answered, 1);
    first.deregister().await.unwrap_err();
}

/// An old process that does not know yet of its successor, and the successor.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_processes_one_does_a_call() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let executed = Arc::new(AtomicU64::new(0));
    let start = async || {
        let executed = Arc::clone(&executed);
        let node = calc().ttl(3_600).serve(tool("once"), move |_: Text, _| {
            let number = executed.fetch_add(1, Ordering::Relaxed) + 1;
            async move { Ok(json!(number)) }
        });
        node.start(&client(registry.url()).await).await.unwrap()
    };
    let (first, second) = (start().await, start().await);
    for number in 1..=100 {
        assert_eq!(caller.call("once", &[], "{}").await.result(), number);
    }
    let (first, second) = (calls(&first, "once"), calls(&second, "once"));
    assert_eq!(first.answered + second.answered, 100);
    assert!(first.answered > 0 && second.answered > 0, "they share them");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_taken_while_the_node_lives_and_not_between() {
    let mut nats = Nats::start();
    let mut registry = Registry::on(&nats, &ARGS);
    let caller = Caller::of(&registry).await;
    let node = calc().ttl(2).serve(add(), adds);
    let node = node.start(&client(&nats.url()).await).await.unwrap();
    let adds_up = async || {
        let answer = caller
            .try_call("add", &[], r#"{"terms": [1]}"#)
            .await
            .ok()?;
        (answer.body == json!({"sum": 1.0})).then_some(())
    };
    adds_up().await.unwrap();
    let life = node.online().await.unwrap();
    registry.kill();
    assert!(matches!(
        timeout(PATIENCE, life.over()).await.unwrap(),
        Loss::Expired(_)
    ));
    // While it tries to come back it listens from time to time, or it could not be called as soon as it is found.
    until("nobody to take calls", async || {
        caller.finds_nobody("add").await.then_some(())
    })
    .await;
    let _registry = Registry::on(&nats, &ARGS);
    until("the tool to be back", adds_up).await;
    let life = timeout(PATIENCE, node.online()).await.unwrap().unwrap();
    assert!(life.epoch() >= 1);
    // The server is away for a moment.
    nats.kill();
    nats.start_again();
    until("the tool to be back", adds_up).await;
}

/// A node that has announced itself, and waits for the answer; nobody else has its connection.
async fn announced(nats: &Nats, registrations: &mut Subscriber) -> JoinHandle<Result<Node, Error>> {
    let client = client(&nats.url()).await;
    let starting = tokio::spawn(async move { calc().serve(add(), adds).start(&client).await });
    let asked = timeout(PATIENCE, registrations.next()).await;
    asked.unwrap().unwrap();
    starting
}

/// In the place of a registry stands one that calls the tool before it answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_can_be_called_as_soon_as_anybody_can_know_of_it() {
    let nats = Nats::start();
    let caller = Caller(connect(&nats.url()).await);
    let mut registrations = caller.registrations().await;
    let starting = announced(&nats, &mut registrations).await;
    let sum = caller.call("add", &[], r#"{"terms": [2]}"#).await;
    assert_eq!(sum.result(), json!({"sum": 2.0}));
    starting.abort();
    until("nobody to take calls", async || {
        caller.finds_nobody("add").await.then_some(())
    })
    .await;
}

/// Its connection ends with it, with nothing lost that it was still to send.
#[tokio::test(flavor = "multi_thread")]
async fn who_calls_as_a_node_stops_is_answered() {
    let nats = Nats::start();
    let caller = Arc::new(Caller(connect(&nats.url()).await));
    let mut registrations = caller.registrations().await;
    for _ in 0..50 {
        let starting = announced(&nats, &mut registrations).await;
        let callers = (0..4).map(|_| {
            let caller = Arc::clone(&caller);
            tokio::spawn(async move {
                let called = async || caller.try_call("add", &[], r#"{"terms": [2]}"#).await;
                let last = loop {
                    match called().await {
                        Ok(answer) if answer.body.get("sum").is_none() => {
                            answer.error("503", "BUSY", false);
                        }
                        Ok(_) => {}
                        Err(kind) => break kind,
                    }
                };
                assert_eq!(last, RequestErrorKind::NoResponders);
            })
        });
        let callers: Vec<_> = callers.collect();
        starting.abort();
        for caller in callers {
            caller.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_is_said_with_its_field() {
    let registry = Registry::start(&ARGS);
    let client = client(registry.url()).await;
    let refused = async |builder: NodeBuilder, place: &str| {
        let error = builder.start(&client).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::InvalidRequest), "{error:?}");
        assert!(error.to_string().contains(place), "{error}");
    };
    refused(
        calc().serve_at_most(0, add(), adds),
        "/tools: calls at once must be 1 to",
    )
    .await;
    let wrong = Tool {
        output_schema: json!({"type": "objekt"}),
        ..add()
    };
    refused(
        calc().tool(tool("other")).serve(wrong, adds),
        "/tools/1/output_schema/type",
    )
    .await;
    let at = |tool: Tool| Tool {
        subject: Some("calc.all".to_owned().try_into().unwrap()),
        ..tool
    };
    let both = calc()
        .serve(at(add()), adds)
        .serve(at(tool("other")), |_: Text, _| async { Ok(1) });
    refused(both, "/tools/1/subject: is that of the tool add as well").await;
    let node = calc().serve(at(add()), adds).start(&client).await.unwrap();
    let caller = connect(registry.url()).await;
    let sum = caller
        .request("calc.all", r#"{"terms": [1]}"#.into())
        .await
        .unwrap();
    assert_eq!(sum.payload, r#"{"sum":1.0}"#);
    drop(node);
}
