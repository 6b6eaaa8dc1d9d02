//! Contracts: what is refused and where, what their hash is made of, and that none holds others up.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use crate::harness::{Caller, Nats, Registry, lease_request};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];
const DOC: &str = include_str!("../../docs/tools.md");

#[expect(
    clippy::needless_pass_by_value,
    reason = "a body reads better without borrows"
)]
fn node(id: &str, requester: Uuid, tools: Value) -> Value {
    json!({
        "node_id": id, "version": "1.0.0", "node_type": "tool", "requester_id": requester, "tools": tools,
    })
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!({}), |schema, _| json!({"items": schema}))
}

/// Definitions of which each asks for the next one twice.
fn doubling(count: usize) -> Value {
    let defs: Map<String, Value> = (0..count)
        .map(|at| {
            let next = json!({"$ref": format!("#/$defs/d{}", at + 1)});
            (format!("d{at}"), json!({"allOf": [next, next]}))
        })
        .chain([(format!("d{count}"), json!({"type": "null"}))])
        .collect();
    json!({"$defs": defs, "properties": {"x": {"$ref": "#/$defs/d0"}}})
}

/// Schemas of arguments that are no contract, and where they are wrong.
fn bad_schemas() -> Vec<(Value, String)> {
    let x = |schema: Value| json!({"properties": {"x": schema}});
    let long = "x".repeat(1_025);
    let bad = [
        // No schema.
        (json!("object"), ""),
        (json!(7), ""),
        (json!({"type": "objekt"}), "/type"),
        (x(json!({"type": "nummer"})), "/properties/x/type"),
        (x(json!({"minimum": "1"})), "/properties/x/minimum"),
        (x(json!(1)), "/properties/x"),
        (json!({"required": "x"}), "/required"),
        (json!({"items": [{}]}), "/items"),
        (
            json!({"$schema": "http://json-schema.org/draft-04/schema#"}),
            "/$schema",
        ),
        (json!({"$schema": 7}), "/$schema"),
        // What is elsewhere.
        (
            x(json!({"$ref": "http://169.254.169.254/"})),
            "/properties/x/$ref",
        ),
        (
            x(json!({"$ref": "https://example.com/a.json"})),
            "/properties/x/$ref",
        ),
        (
            x(json!({"$ref": "file:///etc/passwd"})),
            "/properties/x/$ref",
        ),
        (x(json!({"$ref": "other.json#/a"})), "/properties/x/$ref"),
        (
            x(json!({"$dynamicRef": "http://a/#b"})),
            "/properties/x/$dynamicRef",
        ),
        (x(json!({"$id": "http://a/"})), "/properties/x/$id"),
        (
            json!({"$id": "http://a/b", "$ref": "http://a/b#/$defs/c", "$defs": {"c": {}}}),
            "/$ref",
        ),
        // What is nowhere, or goes round in circles.
        (x(json!({"$ref": "#/$defs/a"})), "/properties/x/$ref"),
        (x(json!({"$ref": "#a"})), "/properties/x/$ref"),
        (json!({"$ref": "#"}), ""),
        (
            json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}}),
            "/$defs/a",
        ),
        (
            json!({"$dynamicAnchor": "a", "not": {"$dynamicRef": "#a"}}),
            "",
        ),
        // Patterns.
        (x(json!({"pattern": "("})), "/properties/x/pattern"),
        (
            x(json!({"pattern": "(a{1000}){1000}"})),
            "/properties/x/pattern",
        ),
        (
            x(json!({"pattern": r"\p{L}{1000}"})),
            "/properties/x/pattern",
        ),
        (x(json!({"pattern": "(?i)a"})), "/properties/x/pattern"),
        (x(json!({"pattern": r"(a)\1"})), "/properties/x/pattern"),
        (x(json!({"pattern": long})), "/properties/x/pattern"),
        (
            json!({"patternProperties": {"a/(": {}}}),
            "/patternProperties/a~1(",
        ),
        (
            json!({"allOf": vec![json!({"pattern": "x"}); 65]}),
            "/allOf/64/pattern",
        ),
        // Too deep, too large.
        (nested(40), &"/items".repeat(32)),
        (json!({"allOf": vec![json!({}); 2_000]}), "/allOf/1999"),
        (json!({"x-a": "x".repeat(64 * 1024)}), ""),
        (doubling(33), "/$defs/d16"),
        // Nothing that a caller could send.
        (json!(false), ""),
        (json!({"type": "string"}), "/type"),
        (json!({"type": ["null", "array"]}), "/type"),
        (json!({"enum": [1, "a"]}), "/enum"),
        (json!({"const": null}), "/const"),
        (json!({"not": {}}), "/not"),
        (json!({"allOf": [{}, {"type": "number"}]}), "/allOf/1/type"),
        (
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "array"}}}),
            "/$defs/a/type",
        ),
    ];
    bad.into_iter()
        .map(|(schema, at)| (schema, at.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_contract_is_refused_with_a_pointer_to_the_fault() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    caller
        .get("node.register", node("calc", me, json!([])))
        .await;
    let good = json!({"name": "good", "version": "1.0.0"});
    for (schema, at) in bad_schemas() {
        let bad = json!({"name": "bad", "version": "1.0.0", "input_schema": schema});
        let tools = node("calc", me, json!([good, bad]));
        let refused = caller
            .refused("node.register", tools, ErrorCode::InvalidRequest)
            .await;
        let pointer = refused.detail("pointer").as_str().unwrap();
        assert_eq!(
            pointer,
            format!("/tools/1/input_schema{at}"),
            "{:#}",
            refused.error
        );
        let one = json!({"node_id": "calc", "requester_id": me, "epoch": 1, "tool": bad});
        let refused = caller
            .refused("tool.register", one, ErrorCode::InvalidRequest)
            .await;
        let pointer = refused.detail("pointer").as_str().unwrap();
        assert_eq!(pointer, format!("/tool/input_schema{at}"));
        assert!(refused.error["message"].as_str().unwrap().len() < 400);
    }
    // A result may be anything, or nothing.
    for schema in [json!({"type": "string"}), json!(false), Value::Null] {
        let tool = json!({"name": "any", "version": "1.0.0", "output_schema": schema});
        let one = json!({"node_id": "calc", "requester_id": me, "epoch": 1, "tool": tool});
        caller.get("tool.register", one).await;
    }
    let list = caller.see("tool.list", json!({})).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_else_is_wrong_with_a_tool_is_pointed_to() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let tool = |member: &str, value: Value| {
        let mut tool = json!({"name": "bad", "version": "1.0.0"});
        tool[member] = value;
        tool
    };
    let twice = json!({"name": "twice", "version": "1.0.0"});
    for (tools, at) in [
        (json!([tool("name", json!("a.b"))]), "/tools/0/name"),
        (json!([tool("name", json!(""))]), "/tools/0/name"),
        (json!([{"version": "1.0.0"}]), "/tools/0/name"),
        (json!([{"name": "a"}]), "/tools/0/version"),
        (json!([tool("version", json!("1.0"))]), "/tools/0/version"),
        (
            json!([tool("inptu_schema", json!({}))]),
            "/tools/0/inptu_schema",
        ),
        (
            json!([tool("idempotent", json!("yes"))]),
            "/tools/0/idempotent",
        ),
        (
            json!([tool("error_codes", json!([""]))]),
            "/tools/0/error_codes/0",
        ),
        (json!([tool("tags", json!(["a b"]))]), "/tools/0/tags/0"),
        (
            json!([tool("description", json!("x".repeat(4_097)))]),
            "/tools/0/description",
        ),
        (json!([twice, twice]), "/tools/1/version"),
    ] {
        let refused = caller
            .refused(
                "node.register",
                node("calc", me, tools),
                ErrorCode::InvalidRequest,
            )
            .await;
        assert_eq!(refused.detail("pointer"), at);
    }
    // Deeper than JSON is read at all: what is wrong is said, and that it is JSON is not doubted.
    let tools = json!([tool("input_schema", nested(200))]);
    let refused = caller
        .refused(
            "node.register",
            node("calc", me, tools),
            ErrorCode::InvalidRequest,
        )
        .await;
    let pointer = refused.detail("pointer").as_str().unwrap();
    assert!(
        pointer.starts_with("/tools/0/input_schema/items"),
        "{pointer}"
    );
    let message = refused.error["message"].as_str().unwrap();
    assert!(message.contains("deep"), "{message}");
}

/// The same contract, written in several ways.
fn spellings() -> [String; 4] {
    let plain = r#"{"name":"add","version":"1.0.0","input_schema":{"type":"object","properties":{"é":{"minimum":1,"maximum":100}}},"error_codes":["A","B"],"side_effects":["x"]}"#;
    let turned = r#"{"side_effects": ["x", "x"], "error_codes": ["B", "A"], "version": "1.0.0",
        "input_schema": {"properties": {"é": {"maximum": 1e2, "minimum": 1.0}}, "type": "object"}, "name": "add"}"#;
    let escaped = plain
        .replace('é', r"\u00e9")
        .replace("\"type\"", r#""\u0074ype""#);
    let said = plain.replace(
        r#""input_schema":{"#,
        r#""description":"Adds.","tags":["math"],"subject":"calc.add","idempotent":false,"output_schema":true,
            "input_schema":{"$schema":"https://json-schema.org/draft/2020-12/schema",
            "title":"Two numbers","description":"To add.","$comment":"for now","examples":[{"é":1}],"#,
    );
    [plain.to_owned(), turned.to_owned(), escaped, said]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_has_one_hash_however_and_wherever_it_is_said() {
    let data = tempfile::tempdir().unwrap();
    let mut registry = Registry::start_in(data.path(), &ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let mut hashes = BTreeSet::new();
    for (n, tool) in spellings().into_iter().enumerate() {
        let mut body = node(&format!("n{n}"), me, json!(["TOOL"]));
        body["ttl"] = json!(3_600);
        let body = body.to_string().replace("\"TOOL\"", &tool);
        let reply = caller.raw("node.register", &[], body).await.unwrap();
        assert_eq!(reply["warnings"], json!([]), "{tool}");
        let one = format!(r#"{{"node_id":"n{n}","requester_id":"{me}","epoch":1,"tool":{tool}}}"#);
        let reply = caller.raw("tool.register", &[], one).await.unwrap();
        hashes.insert(reply["contract_hash"].as_str().unwrap().to_owned());
    }
    let list = caller.see("tool.list", json!({})).await;
    assert_eq!(
        (
            &list["items"][0]["providers"],
            &list["items"][0]["collision"]
        ),
        (&json!(4), &json!(false))
    );
    let hash = list["items"][0]["contract_hash"].clone();
    let nodes: BTreeSet<String> = [0, 1, 2, 3].map(|n| format!("n{n}")).into();
    for id in &nodes {
        let trust = caller.see("trust.get", json!({"node_id": id})).await;
        hashes.insert(format!("node {}", trust["contract_hash"]));
    }
    // One of the tool, one of the nodes.
    assert_eq!(hashes.len(), 2, "{hashes:?}");
    assert!(hashes.contains(hash.as_str().unwrap()));

    registry.terminate();
    registry.ended();
    let registry = Registry::start_in(data.path(), &ARGS);
    let caller = Caller::of(&registry).await;
    let list = caller.see("tool.list", json!({})).await;
    assert_eq!(list["items"][0]["contract_hash"], hash);
    let described = caller.see("tool.describe", json!({"name": "add"})).await;
    // What it says comes back as it is, numbers included.
    let again =
        json!({"node_id": "n0", "requester_id": me, "epoch": 1, "tool": described["contract"]});
    let again = caller.get("tool.register", again).await;
    assert_eq!(again["contract_hash"], hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_callers_rely_on_counts() {
    let nats = Nats::start();
    let _both = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let caller = Caller::connect(&nats.url()).await;
    let me = Uuid::new_v4();
    caller
        .get("node.register", node("calc", me, json!([])))
        .await;
    let base = json!({
        "name": "add", "version": "1.0.0", "input_schema": {"properties": {"a": {"maximum": 0.1}}},
        "output_schema": {"type": "number"}, "error_codes": ["A"], "side_effects": ["x"], "idempotent": true,
    });
    let mut hashes = BTreeSet::new();
    let mut changed = vec![base.clone()];
    for (member, value) in [
        ("name", json!("sum")),
        (
            "input_schema",
            json!({"properties": {"a": {"maximum": 0.2}}}),
        ),
        (
            "input_schema",
            json!({"properties": {"b": {"maximum": 0.1}}}),
        ),
        (
            "input_schema",
            json!({"properties": {"a": {"maximum": 0.1}}, "required": ["a"]}),
        ),
        (
            "input_schema",
            json!({"properties": {"a": {"maximum": 0.1, "default": 0}}}),
        ),
        (
            "input_schema",
            json!({"properties": {"a": {"maximum": 0.1}, "title": {}}}),
        ),
        ("output_schema", json!({"type": "integer"})),
        ("error_codes", json!(["A", "B"])),
        ("side_effects", json!([])),
        ("idempotent", json!(false)),
    ] {
        let mut tool = base.clone();
        tool[member] = value;
        changed.push(tool);
    }
    let count = changed.len();
    for tool in changed {
        let one = json!({"node_id": "calc", "requester_id": me, "epoch": 1, "tool": tool});
        let reply = caller.get("tool.register", one).await;
        assert!(hashes.insert(reply["contract_hash"].to_string()), "{tool}");
    }
    assert_eq!(hashes.len(), count);
}

/// A patch release that promises the same breaks no caller that relies on the contract's hash.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_with_the_same_contract_has_the_same_hash() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let tool = |version: &str, description: &str| {
        let mut sets = [json!("a"), json!("b")];
        if version == "1.0.1" {
            sets.reverse();
        }
        json!({
            "name": "add", "version": version, "description": description, "tags": [format!("v{version}")],
            "input_schema": {
                "type": "object", "description": description, "required": sets, "deprecated": version == "1.0.1",
                "properties": {"a": {"enum": sets, "readOnly": version == "1.0.1"}, "b": {"x-since": version}},
            },
        })
    };
    let mut hashes = BTreeSet::new();
    for (id, version) in [("old", "1.0.0"), ("new", "1.0.1")] {
        let tools = json!([tool(version, id)]);
        let reply = caller.get("node.register", node(id, me, tools)).await;
        assert_eq!(reply["warnings"], json!([]));
        let described = json!({"name": "add", "version": version});
        let described = caller.see("tool.describe", described).await;
        hashes.insert(described["contract_hash"].as_str().unwrap().to_owned());
    }
    assert_eq!(hashes.len(), 1, "{hashes:?}");
    let hash = hashes.pop_first().unwrap();
    let digits = hash.strip_prefix("c2:").unwrap();
    assert!(
        digits.len() == 64
            && digits
                .bytes()
                .all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    );
    // Two versions of one contract do not collide, and have one hash together.
    let list = caller.see("tool.list", json!({})).await;
    let item = &list["items"][0];
    assert_eq!(item["contract_hash"], hash);
    assert_eq!(item["versions"], json!(["1.0.1", "1.0.0"]));
    assert_eq!(item["collision"], false);
    // Who relies on it gets the newest of them.
    let resolve = json!({"tool_name": "add", "contract_hash": hash});
    let resolved = caller.get("tool.resolve", resolve).await;
    assert_eq!(
        (&resolved["tool_version"], &resolved["contract_hash"]),
        (&json!("1.0.1"), &json!(hash))
    );
    // Validators judge a program: what they said of one release says nothing of the next.
    let trust = async |id: &str| {
        let trust = caller.see("trust.get", json!({"node_id": id})).await;
        trust["contract_hash"].clone()
    };
    let before = trust("old").await;
    assert!(before.as_str().unwrap().starts_with("c2:"), "{before}");
    let upgrade = node("old", me, json!([tool("1.0.1", "old")]));
    caller.get("node.register", upgrade).await;
    assert_ne!(trust("old").await, before);
}

/// What stands between the first line of that kind behind `mark` and the end of its block.
fn block<'a>(mark: &str, kind: &str) -> &'a str {
    let (_, behind) = DOC.split_once(mark).unwrap();
    let (_, block) = behind.split_once(&format!("```{kind}\n")).unwrap();
    block.split_once("\n```").unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn another_implementation_can_compute_the_hash() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    caller
        .get("node.register", node("calc", me, json!([])))
        .await;
    let example: Value = serde_json::from_str(block("## The contract hash", "json")).unwrap();
    let canonical = block("In canonical form", "text");
    let hash = block("Its hash", "text");
    assert_eq!(format!("c2:{:x}", Sha256::digest(canonical)), hash);

    let program = block("In Python", "python");
    let mut tools = vec![example];
    tools.extend(spellings().map(|tool| serde_json::from_str(&tool).unwrap()));
    tools.push(json!({"name": "bare", "version": "1.0.0"}));
    tools.push(json!({
        "name": "all", "version": "1.0.0-rc.1+b", "output_schema": {
            "allOf": [{"title": "x"}, true], "$defs": {"description": {"description": "y"}},
            "additionalProperties": {"examples": [1]}, "x-own": {"title": "goes"}, "const": {"title": "stays"},
            "own": {"title": "stays"}, "readOnly": true, "deprecated": true, "writeOnly": false,
            "type": ["string", "object", "null"], "required": ["\u{fb33}", "\u{1f600}", "b", "a"],
            "enum": ["b", {"required": ["b", "a"]}, 10, 9, null, "a"], "dependentRequired": {"x-a": ["c", "b"]},
            "properties": {"x-a": {"type": ["string"], "x-b": 1}, "enum": {"enum": [2, 1, "1"]}},
            "prefixItems": [{"$comment": "z"}], "if": {"title": "z"}, "dependentSchemas": {"a": {"title": "z"}},
        },
    }));
    for (n, tool) in tools.iter().enumerate() {
        let one = json!({"node_id": "calc", "requester_id": me, "epoch": 1, "tool": tool});
        let reply = caller.get("tool.register", one).await;
        let python = Command::new("python3")
            .args(["-c", program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut python = python.unwrap();
        let mut stdin = python.stdin.take().unwrap();
        stdin.write_all(tool.to_string().as_bytes()).unwrap();
        drop(stdin);
        let said = python.wait_with_output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!(reply["contract_hash"], said.trim(), "{tool}");
        if n == 0 {
            assert_eq!(said.trim(), hash);
        }
    }
}

/// Registrations that take as long as any to be checked.
fn hostile() -> Vec<Value> {
    let pattern = |n: usize| json!({"pattern": format!(r"(\p{{Lu}}|\p{{Ll}}|\p{{Lt}}){{4}}{n}")});
    let patterns = |n: usize| {
        let schema = json!({"allOf": (0..64).map(|m| pattern(64 * n + m)).collect::<Vec<_>>()});
        json!({"name": format!("t{n}"), "version": "1.0.0", "output_schema": schema})
    };
    let wide = |n: usize| {
        let schema = json!({"anyOf": vec![json!({"properties": {"a": {"enum": [1, 2]}}}); 900]});
        json!({"name": format!("t{n}"), "version": "1.0.0", "input_schema": schema, "output_schema": schema})
    };
    let mut last = (0..4).map(patterns).collect::<Vec<_>>();
    // All is checked, and refused at the end.
    last.push(json!({"name": "last", "version": "1.0.0", "output_schema": {"type": "x"}}));
    vec![
        (0..4).map(patterns).collect(),
        (0..5).map(wide).collect(),
        last.into(),
        json!([{"name": "twice", "version": "1.0.0", "input_schema": doubling(15)}]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_contract_holds_nobody_up() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    // Made beforehand: that is work as well.
    let bodies: Vec<Vec<bytes::Bytes>> = (0..8)
        .map(|n| {
            let tools = hostile().into_iter();
            let body = |tools| node(&format!("h{n}"), me, tools).to_string().into();
            tools.map(body).collect()
        })
        .collect();
    // A machine that is busy takes its time.
    let patient = [("Onex-Timeout-Ms", "60000")];
    let alone = Instant::now();
    let body = bodies[0][0].clone();
    caller.raw("node.register", &patient, body).await.unwrap();
    let alone = alone.elapsed();

    let stop = Arc::new(AtomicBool::new(false));
    let mut flood = tokio::task::JoinSet::new();
    for bodies in bodies {
        let (caller, stop) = (Caller::of(&registry).await, Arc::clone(&stop));
        flood.spawn(async move {
            let mut answers = 0;
            while !stop.load(Ordering::Relaxed) {
                let body = bodies[answers % bodies.len()].clone();
                match caller.raw("node.register", &[], body).await {
                    Ok(_) => {}
                    Err(refused) => assert!(
                        refused.retryable() || refused.is(ErrorCode::InvalidRequest),
                        "{:#}",
                        refused.error
                    ),
                }
                answers += 1;
            }
            answers
        });
    }
    let mut took: Vec<Duration> = Vec::new();
    let since = Instant::now();
    let patience = crate::harness::PATIENCE.max(alone * 4);
    while took.len() < 30 || since.elapsed() < alone * 2 {
        let begun = Instant::now();
        assert!(
            since.elapsed() < patience,
            "a check takes {alone:?}; beside the flood {} of 30 leases took {took:?}",
            took.len()
        );
        let body = lease_request(Uuid::new_v4(), json!({})).to_string();
        caller.raw("port.lease", &patient, body).await.unwrap();
        took.push(begun.elapsed());
    }
    let all = since.elapsed();
    stop.store(true, Ordering::Relaxed);
    let answers: usize = flood.join_all().await.into_iter().sum();
    took.sort();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "a check takes {alone:?}; {answers} at the same time as {} leases: {median:?}, at most {longest:?}",
        took.len()
    );
    assert!(answers >= 8);
    // On the threads that serve, leases would wait for checks most of the time. One may wait for other
    // reasons, on a machine that is busy.
    let slow: Duration = took.iter().filter(|one| **one > alone / 8).sum();
    assert!(slow < all / 4, "{slow:?} of {all:?} were waited");
}

/// A schema of an older draft, and where it means something else in 2020-12.
#[expect(clippy::too_many_lines, reason = "a table")]
fn drafts() -> Vec<(Value, Option<&'static str>, &'static [&'static str])> {
    const SEVEN: &str = "http://json-schema.org/draft-07/schema#";
    const NINETEEN: &str = "https://json-schema.org/draft/2019-09/schema";
    let seven = |more: Value| crate::harness::with(json!({"$schema": SEVEN}), more);
    let nineteen = |more: Value| crate::harness::with(json!({"$schema": NINETEEN}), more);
    let both = |more: Value| [seven(more.clone()), nineteen(more)];
    let mut all = Vec::new();
    // As generators write them.
    for good in both(json!({
        "$ref": "#/definitions/Args", "definitions": {
            "Args": {"type": "object", "properties": {"a": {"$ref": "#/definitions/A", "description": "An a."}},
                "required": ["a"], "additionalProperties": false},
            "A": {"type": ["number", "null"], "exclusiveMinimum": 0, "default": 1},
        },
    })) {
        all.push((good, None, &[] as &[&str]));
    }
    for good in both(
        json!({"if": {"contains": {"const": 1}}, "then": {"items": true, "propertyNames": {}}}),
    ) {
        all.push((good, None, &[]));
    }
    all.push((
        seven(json!({"$schema": "https://json-schema.org/draft-07/schema"})),
        None,
        &[],
    ));
    all.push((
        nineteen(json!({"unevaluatedItems": false, "dependentRequired": {"a": ["b"]}})),
        None,
        &[],
    ));
    all.push((
        nineteen(
            json!({"properties": {"a": {"$ref": "#/$defs/a", "maximum": 1}}, "$defs": {"a": {}}}),
        ),
        None,
        &[],
    ));
    for bad in both(json!({"properties": {"a": {"items": [{}], "additionalItems": false}}})) {
        all.push((
            bad,
            Some("/properties/a/additionalItems"),
            &["prefixItems", "/properties/a/items"],
        ));
    }
    for bad in both(json!({"dependencies": {"a": ["b"]}})) {
        all.push((bad, Some("/dependencies"), &["dependentRequired"]));
    }
    for bad in both(json!({"properties": {"a": {"items": [{}]}}})) {
        all.push((bad, Some("/properties/a/items"), &["prefixItems"]));
    }
    for bad in both(json!({"$defs": {"a": {"prefixItems": [{}]}}})) {
        all.push((bad, Some("/$defs/a/prefixItems"), &["leave out $schema"]));
    }
    all.push((
        seven(json!({"properties": {"a": {"$ref": "#/definitions/a", "maximum": 1}}, "definitions": {"a": {}}})),
        Some("/properties/a/maximum"),
        &["beside $ref", "draft-07"],
    ));
    all.push((
        seven(json!({"unevaluatedProperties": false})),
        Some("/unevaluatedProperties"),
        &["draft-07"],
    ));
    all.push((
        nineteen(json!({"properties": {"a": {"contains": {}, "unevaluatedItems": false}}})),
        Some("/properties/a/unevaluatedItems"),
        &["contains", "2019-09"],
    ));
    all.push((
        nineteen(json!({"items": {"$recursiveRef": "#"}})),
        Some("/items/$recursiveRef"),
        &["$dynamicRef", "$ref"],
    ));
    // What is of an earlier draft without saying so.
    for (schema, pointer, said) in [
        (
            json!({"items": {"$recursiveRef": "#"}}),
            "/items/$recursiveRef",
            r##""$ref": "#""##,
        ),
        (
            json!({"$recursiveAnchor": true}),
            "/$recursiveAnchor",
            r#""$dynamicAnchor": "node""#,
        ),
        (
            json!({"properties": {"a": {"minimum": 5, "exclusiveMinimum": true}}}),
            "/properties/a/exclusiveMinimum",
            r#"draft-04 has it: in 2020-12 that is "exclusiveMinimum": 5, without minimum"#,
        ),
        (
            json!({"maximum": 5, "exclusiveMaximum": false}),
            "/exclusiveMaximum",
            "leave it out",
        ),
        (
            json!({"exclusiveMaximum": true}),
            "/exclusiveMaximum",
            "the number that is excluded",
        ),
        (
            json!({"properties": {"a": {"type": "string", "required": true}}}),
            "/properties/a/required",
            r#""required": ["a"]"#,
        ),
        (json!({"divisibleBy": 2}), "/divisibleBy", "multipleOf"),
        (json!({"disallow": "string"}), "/disallow", "use not"),
        (
            json!({"items": {"disallow": ["null", {"required": ["a"]}]}}),
            "/items/disallow",
            "means nothing in 2020-12",
        ),
        (
            json!({"properties": {"a": {"extends": {"maximum": 1}}}}),
            "/properties/a/extends",
            "use allOf",
        ),
        (
            json!({"extends": [{"$ref": "#/$defs/a"}], "$defs": {"a": {}}}),
            "/extends",
            "use allOf",
        ),
        (
            json!({"$defs": {"a": {"id": "#a"}}}),
            "/$defs/a/id",
            "use $anchor",
        ),
        (
            json!({"items": {"id": "http://x/", "items": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}}}),
            "/items/id",
            "the base of the $ref",
        ),
        (
            json!({"properties": {"a": {"type": "any"}}}),
            "/properties/a/type",
            "leave it out",
        ),
        (
            json!({"type": ["object", {"maximum": 1}]}),
            "/type",
            "use anyOf",
        ),
        (json!({"items": [{}]}), "/items", "prefixItems"),
    ] {
        all.push((schema, Some(pointer), vec![said].leak()));
    }
    for bad in both(json!({"disallow": "string"})) {
        all.push((bad, Some("/disallow"), &["use not"]));
    }
    for bad in both(json!({"extends": {}, "properties": {"a": {"disallow": "any"}}})) {
        all.push((
            bad,
            Some("/extends"),
            &["use allOf", "/properties/a/disallow"],
        ));
    }
    // Annotations by the same names, and what 2020-12 takes for one.
    for good in [
        json!({"extends": "Base", "disallow": ["weekends"], "id": "http://example.com/a", "x": {"disallow": "string"}}),
        json!({"properties": {"id": {"type": "string", "id": "a"}, "extends": {"extends": true}, "disallow": {}}}),
        json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "extends": {}, "disallow": "string"}),
        json!({"const": {"disallow": "string", "id": "#a"}}),
    ] {
        all.push((
            crate::harness::with(json!({"description": "fits"}), good),
            None,
            &[],
        ));
    }
    all.push((
        seven(json!({"properties": {"a": {"$schema": NINETEEN}}})),
        Some("/properties/a/$schema"),
        &["draft-07"],
    ));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_schema_is_taken_where_it_means_the_same_in_2020_12() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    caller
        .get("node.register", node("calc", me, json!([])))
        .await;
    for (schema, at, said) in drafts() {
        let tool =
            json!({"name": "t", "version": "1.0.0", "input_schema": schema, "output_schema": true});
        let one = json!({"node_id": "calc", "requester_id": me, "epoch": 1, "tool": tool});
        let Some(at) = at else {
            caller.get("tool.register", one).await;
            let described = caller.see("tool.describe", json!({"name": "t"})).await;
            assert_eq!(described["contract"]["input_schema"], schema);
            continue;
        };
        let refused = caller
            .refused("tool.register", one, ErrorCode::InvalidRequest)
            .await;
        assert_eq!(
            refused.detail("pointer"),
            &json!(format!("/tool/input_schema{at}")),
            "{schema}"
        );
        let message = refused.error["message"].as_str().unwrap();
        assert!(said.iter().all(|one| message.contains(one)), "{message}");
    }
    // Whatever it names, values are checked by it.
    let (schema, ..) = drafts().remove(0);
    let tool =
        json!({"name": "t", "version": "1.0.0", "subject": "calc.t", "input_schema": schema});
    let one = json!({"node_id": "calc", "requester_id": me, "epoch": 1, "tool": tool});
    caller.get("tool.register", one).await;
    let call = json!({"tool_name": "t", "arguments": {"a": 0, "b": 1}});
    let refused = caller
        .refused("tool.invoke", call, ErrorCode::InvalidArguments)
        .await;
    let violations = refused.detail("violations").as_array().unwrap();
    let pointers: BTreeSet<&str> = violations
        .iter()
        .map(|one| one["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, BTreeSet::from(["/a", "/b"]));
}

/// A tool by whose contract arguments take as long as any to be checked; and such arguments.
fn slow() -> (Value, Value) {
    let schema =
        json!({"properties": {"items": {"allOf": vec![json!({"uniqueItems": true}); 450]}}});
    (schema, json!({"items": (0..70_000).collect::<Vec<u32>>()}))
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_take_long_to_check_hold_nobody_up() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let (schema, arguments) = slow();
    let tool =
        json!({"name": "slow", "version": "1.0.0", "subject": "calc.slow", "input_schema": schema});
    caller
        .get("node.register", node("calc", Uuid::new_v4(), json!([tool])))
        .await;
    let holder = Uuid::new_v4();
    let lease = caller
        .get("port.lease", lease_request(holder, json!({"ttl": 5})))
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let call =
        json!({"tool_name": "slow", "arguments": arguments, "timeout_ms": 4_000}).to_string();
    let mut flood = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (caller, stop, call) = (Caller::of(&registry).await, Arc::clone(&stop), call.clone());
        flood.spawn(async move {
            let mut answers = 0;
            while !stop.load(Ordering::Relaxed) {
                let patient = [("Onex-Timeout-Ms", "60000")];
                let refused = caller
                    .raw("tool.invoke", &patient, call.clone())
                    .await
                    .unwrap_err();
                assert!(
                    refused.is(ErrorCode::InvalidArguments) || refused.is(ErrorCode::Busy),
                    "{:#}",
                    refused.error
                );
                answers += 1;
            }
            answers
        });
    }
    // As long as three lives of the lease.
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(15) {
        let body = json!({"requester_id": holder, "lease_id": lease["lease_id"]});
        caller.get("port.heartbeat", body).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let answers: usize = flood.join_all().await.into_iter().sum();
    println!("{answers} calls were answered");
    assert!(answers >= 8, "{answers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_contracts_keep_no_tool_from_its_first_call() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let tools: Vec<Value> = (0..20)
        .map(|n| {
            let schema = json!({"properties": {"a": {"type": "string", "pattern": format!("^[a-z]{{1,{}}}$", n + 8)}}});
            json!({"name": format!("t{n}"), "version": "1.0.0", "subject": "calc.echo", "input_schema": schema})
        })
        .collect();
    caller
        .get("node.register", node("good", me, json!(tools)))
        .await;
    let _provider =
        crate::harness::Provider::answering(registry.url(), "calc.echo", Value::clone).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut flood = tokio::task::JoinSet::new();
    for n in 0..32 {
        let (caller, stop) = (Caller::of(&registry).await, Arc::clone(&stop));
        let tools = hostile().remove(2);
        let body = node(&format!("h{n}"), me, tools).to_string();
        flood.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let refused = caller
                    .raw("node.register", &[], body.clone())
                    .await
                    .unwrap_err();
                assert!(
                    refused.retryable() || refused.is(ErrorCode::InvalidRequest),
                    "{:#}",
                    refused.error
                );
            }
        });
    }
    for n in 0..20 {
        let call = json!({"tool_name": format!("t{n}"), "arguments": {"a": "abc"}});
        let reply = caller.get("tool.invoke", call).await;
        assert_eq!(reply["result"], json!({"a": "abc"}));
    }
    stop.store(true, Ordering::Relaxed);
    flood.join_all().await;
}
