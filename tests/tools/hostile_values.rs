//! Contracts, arguments and results that take as long as any to be read, compiled and checked, beside callers who mean
//! well: these lose no lease, and their first calls are not `BUSY`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::harness::{Caller, Provider, Registry, header_map, lease_request, node, until};
use async_nats::HeaderMap;
use bytes::Bytes;
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];
/// Tools that are called for the first time while others are under attack.
const FIRST_CALLS: usize = 20;
/// Callers of each hostile kind.
const CALLERS: usize = 6;
/// Requests of a flood that wait all the time, from one connection, or one from each. So many that whoever comes behind
/// all of them waits longer than [`DEADLINE`] for each request; and far fewer than a registry takes at a time
/// (`--in-flight-max`, 1,024), so that BUSY is not what keeps others from being served.
const FLOOD_REQUESTS: usize = 80;
/// Connections that send long registrations together: fewer, as each of these takes more than twice as long to parse.
const FLOOD_CONNECTIONS: usize = 20;
/// How long each of them waits, in milliseconds: as long as others ask.
const PATIENT: &str = "60000";
/// How long others wait, in milliseconds. One after the other the requests of the flood would take much longer.
const DEADLINE: &str = "10000";

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
    headers: HeaderMap,
}

impl Flood {
    fn new(headers: &[(&str, &str)]) -> Self {
        Self {
            stop: Arc::default(),
            answers: Arc::default(),
            callers: JoinSet::new(),
            headers: header_map(headers),
        }
    }

    /// Each caller has a connection of its own.
    async fn send(&mut self, registry: &Registry, callers: usize, bodies: Vec<String>) {
        let bodies: Vec<Bytes> = bodies.into_iter().map(Bytes::from).collect();
        for first in 0..callers {
            let caller = Caller::of(registry).await;
            self.send_from(&caller, "tool.invoke", first, bodies.clone());
        }
    }

    fn send_from(&mut self, caller: &Caller, endpoint: &str, first: usize, bodies: Vec<Bytes>) {
        let (caller, subject) = (caller.clone(), caller.subject(endpoint));
        let headers = self.headers.clone();
        let (stop, answers) = (Arc::clone(&self.stop), Arc::clone(&self.answers));
        self.callers.spawn(async move {
            for body in bodies.iter().cycle().skip(first) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                // Whatever comes of it. The answers are not read: they take as long as any.
                let request = async_nats::Request::new()
                    .headers(headers.clone())
                    .payload(body.clone())
                    .timeout(Some(Duration::from_mins(1)));
                let _ = caller.client.send_request(subject.clone(), request).await;
                answers.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await;
        self.answers.load(Ordering::Relaxed)
    }
}

fn call(tool: &str, arguments: &str) -> String {
    call_within(8_000, tool, arguments)
}

fn call_within(timeout_ms: u32, tool: &str, arguments: &str) -> String {
    format!(r#"{{"tool_name":"{tool}","timeout_ms":{timeout_ms},"arguments":{arguments}}}"#)
}

/// Registers a node of a requester of its own.
async fn announce(caller: &Caller, node_id: &str, tools: &[Value]) {
    let body = node(
        Uuid::new_v4(),
        node_id,
        json!({"ttl": 3600, "tools": tools}),
    )
    .to_string();
    let patient = [("Onex-Timeout-Ms", PATIENT)];
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
        .get("port.lease", lease_request(holder, json!({"ttl": 5})))
        .await;

    let mut flood = Flood::new(&[]);
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
        let heartbeat = json!({"requester_id": holder, "lease_id": lease["lease_id"]});
        caller.get("port.heartbeat", heartbeat).await;
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
    let answers = flood.stop().await;
    println!(
        "{answers} answers; a heartbeat took at most {longest_beat:?}, a first call {longest_call:?}"
    );
    assert!(answers >= 5 * CALLERS, "{answers}");
}

/// First calls with large arguments, and small announcements, while connections flood the registry with `bodies`: from
/// when each connection has been served once: whoever has had nothing before is served as it came.
async fn others_are_served(connections: usize, endpoint: &str, bodies: Vec<Bytes>) {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let _echo = Provider::answering(registry.url(), "good.echo", Value::clone).await;
    let tool = |n: usize| {
        let schema = json!({"properties": {"a": {"type": "array", "items": {"type": "integer", "maximum": n + 50}}}});
        json!({"name": format!("good{n}"), "version": "1.0.0", "subject": "good.echo", "input_schema": schema})
    };
    let tools: Vec<Value> = (0..FIRST_CALLS).map(tool).collect();
    announce(&caller, "good", &tools).await;

    let mut flood = Flood::new(&[("Onex-Timeout-Ms", PATIENT)]);
    let each = if connections == 1 { FLOOD_REQUESTS } else { 1 };
    for _ in 0..connections {
        let hostile = Caller::of(&registry).await;
        for first in 0..each {
            flood.send_from(&hostile, endpoint, first, bodies.clone());
        }
    }
    until("the flood is under way", async || {
        (flood.answers.load(Ordering::Relaxed) >= connections).then_some(())
    })
    .await;
    let (large, deadline) = (vec![7; 33_000], [("Onex-Timeout-Ms", DEADLINE)]);
    for n in 0..FIRST_CALLS / 4 {
        // A caller who was not there before each time, as somebody who has just been started.
        let caller = Caller::of(&registry).await;
        let arguments = json!({"a": large});
        let body =
            json!({"tool_name": format!("good{n}"), "timeout_ms": 60_000, "arguments": arguments});
        let reply = caller.raw("tool.invoke", &deadline, body.to_string()).await;
        assert_eq!(reply.unwrap()["result"], arguments);
        let more = json!({"tools": [{"name": format!("late{n}"), "version": "1.0.0", "input_schema": {"properties": {"a": {"pattern": "^a+$"}}}}]});
        let body = node(Uuid::new_v4(), &format!("late{n}"), more);
        let reply = caller.raw("node.register", &deadline, body.to_string());
        reply.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_calls_of_one_connection_leave_turns_to_others() {
    let read = format!("{{\"a\":{}}}", odd_numbers(150 * 1024));
    others_are_served(
        1,
        "tool.invoke",
        vec![call_within(60_000, "good0", &read).into()],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_calls_of_many_connections_leave_turns_to_others() {
    let read = format!("{{\"a\":{}}}", odd_numbers(150 * 1024));
    others_are_served(
        FLOOD_REQUESTS,
        "tool.invoke",
        vec![call_within(60_000, "good0", &read).into()],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_long_registrations_of_one_connection_leave_turns_to_others() {
    others_are_served(1, "node.register", refused_registrations()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_long_registrations_of_many_connections_leave_turns_to_others() {
    others_are_served(FLOOD_CONNECTIONS, "node.register", refused_registrations()).await;
}

/// Each by another requester.
fn refused_registrations() -> Vec<Bytes> {
    let odd = odd_numbers(361 * 1024);
    let body = |n: usize| {
        let requester = Uuid::new_v4();
        format!(
            r#"{{"requester_id":"{requester}","node_id":"bad{n}","version":"1.0.0","node_type":"tool","capabilities":{{"a":{odd}}},"ttl":"long"}}"#
        )
    };
    (0..FLOOD_REQUESTS).map(|n| body(n).into()).collect()
}
