//! Contracts, arguments and results that take as long as any to be read, compiled and checked, beside callers who mean
//! well: these lose no lease, and their first calls are not `BUSY`.

// The lints' exception for tests does not reach the helpers of one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use harness::{Caller, Provider, Registry, node, wish};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

mod harness;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];
/// Tools that are called for the first time while others are under attack.
const FIRST_CALLS: usize = 20;
/// Callers of each hostile kind.
const CALLERS: usize = 6;

fn all(count: usize, schema: &Value) -> Value {
    json!({"allOf": vec![schema; count]})
}

fn members(count: usize, value: &Value) -> Value {
    let members = (0..count).map(|at| (format!("m{at}"), value.clone()));
    Value::Object(members.collect())
}

/// Schemas, and arguments that take about as many steps as are allowed; by keyword.
fn slow() -> Vec<(Value, Value)> {
    let of_a = |schema: Value| json!({"properties": {"a": schema}});
    let long = "x".repeat(2_000);
    let alike: Vec<Value> = (0..100).map(|at| json!(format!("{long}{at}"))).collect();
    let large = json!(vec![json!([1, 2, 3]); 200]);
    let contains = json!({"contains": {"const": "x"}, "minContains": 1_000});
    let looks = json!({"pattern": "^(?:(?!bbbbbbbbb).)*c$"});
    vec![
        (
            of_a(all(450, &json!({"uniqueItems": true}))),
            json!((0..2_000).collect::<Vec<u32>>()),
        ),
        (of_a(all(450, &json!({"uniqueItems": true}))), json!(alike)),
        (
            of_a(json!({"items": all(100, &json!({"multipleOf": 7}))})),
            json!(vec![49; 2_000]),
        ),
        (
            of_a(json!({"items": {"anyOf": vec![json!({"const": large}); 40]}})),
            json!(vec![&large; 60]),
        ),
        (
            of_a(json!({"items": {"enum": vec![&large; 40]}})),
            json!(vec![&large; 60]),
        ),
        (of_a(all(20, &contains)), json!(vec![1; 10_000])),
        (
            of_a(
                json!({"items": {"dependentSchemas": members(100, &json!({"minProperties": 1}))}}),
            ),
            json!(vec![members(100, &json!(1)); 300]),
        ),
        (
            of_a(json!({"oneOf": vec![json!({"unevaluatedProperties": false}); 20]})),
            members(4_000, &json!(1)),
        ),
        (
            json!({"properties": {"a": {"items": all(400, &json!({"$ref": "#/$defs/x"}))}}, "$defs": {"x": {"type": "number"}}}),
            json!(vec![1; 300]),
        ),
        (
            of_a(json!({"items": all(4, &looks)})),
            json!(vec!["abababab"; 2_000]),
        ),
    ]
}

/// Tools that take as long as any to be compiled.
fn monstrous(count: usize) -> Vec<Value> {
    let pattern = |n: usize| json!({"pattern": format!(r"(\p{{Lu}}|\p{{Ll}}|\p{{Lt}}){{4}}{n}")});
    let tool = |n: usize| {
        let schema = json!({"allOf": (0..64).map(|m| pattern(64 * n + m)).collect::<Vec<_>>()});
        json!({"name": format!("monster{n}"), "version": "1.0.0", "subject": "bad.echo", "input_schema": {"properties": {"a": schema}}})
    };
    (0..count).map(tool).collect()
}

/// A list of numbers that no double is, of so many bytes.
fn odd_numbers(bytes: usize) -> String {
    format!("[{}1]", "1e400,".repeat(bytes / 6))
}

/// Sends these calls again and again until all is over, in any order.
struct Flood {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    callers: JoinSet<()>,
}

impl Flood {
    async fn send(&mut self, registry: &Registry, callers: usize, bodies: Vec<String>) {
        let bodies: Vec<Bytes> = bodies.into_iter().map(Bytes::from).collect();
        for first in 0..callers {
            let (bodies, caller) = (bodies.clone(), Caller::of(registry).await);
            let (stop, answers) = (Arc::clone(&self.stop), Arc::clone(&self.answers));
            let subject = "onex.registry.v1.tool.invoke";
            self.callers.spawn(async move {
                for body in bodies.iter().cycle().skip(first) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // Whatever comes of it. The answers are not read: they take as long as any.
                    let request = async_nats::Request::new().payload(body.clone());
                    let request = request.timeout(Some(Duration::from_mins(1)));
                    let _ = caller.client.send_request(subject, request).await;
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
}

fn call(tool: &str, arguments: &str) -> String {
    format!(r#"{{"tool_name":"{tool}","timeout_ms":8000,"arguments":{arguments}}}"#)
}

/// Registers a node of a requester of its own.
async fn announce(caller: &Caller, node_id: &str, tools: &[Value]) {
    let body = node(Uuid::new_v4(), node_id, json!({"tools": tools})).to_string();
    let patient = [("Onex-Timeout-Ms", "60000")];
    caller.raw("node.register", &patient, body).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_schemas_arguments_and_results_keep_no_tool_from_its_first_call() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let _echo = Provider::answering(registry.url(), "good.echo", Value::clone).await;
    let _bad = Provider::answering(registry.url(), "bad.echo", Value::clone).await;
    let long = odd_numbers(900 * 1024);
    let _long = Provider::serve(registry.url(), "bad.long", move |got| {
        let long = long.clone();
        async move { got.answer_bytes(&[], long).await }
    })
    .await;

    let slow = slow();
    let tool = |(at, (schema, _)): (usize, &(Value, Value))| json!({"name": format!("slow{at}"), "version": "1.0.0", "subject": "bad.echo", "input_schema": schema});
    let tools: Vec<Value> = slow.iter().enumerate().map(tool).collect();
    announce(&caller, "slow", &tools).await;
    let long = json!({"name": "long", "version": "1.0.0", "subject": "bad.long"});
    announce(&caller, "long", &[long]).await;
    for (at, monsters) in monstrous(12).chunks(3).enumerate() {
        announce(&caller, &format!("monster{at}"), monsters).await;
    }
    let first = |n: usize| {
        let schema = json!({"properties": {"a": {"type": "string", "pattern": format!("^[a-z]{{1,{}}}$", n + 8)}}});
        json!({"name": format!("first{n}"), "version": "1.0.0", "subject": "good.echo", "input_schema": schema})
    };
    announce(
        &caller,
        "good",
        &(0..FIRST_CALLS).map(first).collect::<Vec<_>>(),
    )
    .await;
    let holder = Uuid::new_v4();
    let lease = caller
        .get("port.lease", wish(holder, json!({"ttl": 5})))
        .await;

    let mut flood = Flood {
        stop: Arc::default(),
        answers: Arc::default(),
        callers: JoinSet::new(),
    };
    let checked = slow.iter().enumerate();
    let checked =
        checked.map(|(at, (_, a))| call(&format!("slow{at}"), &json!({"a": a}).to_string()));
    flood.send(&registry, 2 * CALLERS, checked.collect()).await;
    let compiled = (0..12).map(|n| call(&format!("monster{n}"), r#"{"a":1}"#));
    flood.send(&registry, CALLERS, compiled.collect()).await;
    let read = format!("{{\"a\":{}}}", odd_numbers(400 * 1024));
    flood
        .send(&registry, CALLERS, vec![call("long", &read)])
        .await;
    flood
        .send(&registry, CALLERS, vec![call("long", "{}")])
        .await;

    let (mut longest_beat, mut longest_call) = (Duration::ZERO, Duration::ZERO);
    for n in 0..FIRST_CALLS {
        let begun = Instant::now();
        let beat = json!({"requester_id": holder, "lease_id": lease["lease_id"]});
        caller.get("port.heartbeat", beat).await;
        longest_beat = longest_beat.max(begun.elapsed());
        let begun = Instant::now();
        let body = json!({"tool_name": format!("first{n}"), "arguments": {"a": "abc"}});
        let reply = caller.get("tool.invoke", body).await;
        assert_eq!(reply["result"], json!({"a": "abc"}));
        longest_call = longest_call.max(begun.elapsed());
        // What is wrong is said as soon as well.
        let body = json!({"tool_name": format!("first{n}"), "arguments": {"a": 1}});
        caller
            .refused("tool.invoke", body, ErrorCode::InvalidArguments)
            .await;
        // The flood goes on for longer than a life of the lease.
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    flood.stop.store(true, Ordering::Relaxed);
    flood.callers.join_all().await;
    let answers = flood.answers.load(Ordering::Relaxed);
    println!(
        "{answers} answers; a heartbeat took at most {longest_beat:?}, a first call {longest_call:?}"
    );
    assert!(answers >= 5 * CALLERS, "{answers}");
}
