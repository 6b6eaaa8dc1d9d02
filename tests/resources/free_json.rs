//! JSON that has no shape of its own: how deep it may be, and that arguments and results are neither changed nor judged
//! by what a double makes of their numbers.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use crate::harness::{Caller, Refused, Registry, claim, node, round_trip, with};
use async_nats::Client;
use bytes::Bytes;
use futures::StreamExt as _;
use onex_registry::{
    client::{self, Direct},
    ids::RequestId,
    protocol::{
        error::ErrorCode,
        invoke::InvokeRequest,
        json::{JSON_LEVELS_MAX, JSON_NUMBER_CHARS_MAX, JsonText},
        names::Namespace,
    },
};
use serde_json::{Value, json};
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];
/// Depths that `serde_json` reads when they stand alone, and not within a record or a reply; and one that it never reads.
const DEPTHS: [usize; 6] = [JSON_LEVELS_MAX + 1, 100, 120, 124, 126, 1_000];

/// Lists in each other.
fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

/// The body with `"DEEP"` as JSON nested that deep.
fn deep(body: &Value, levels: usize) -> String {
    body.to_string().replace("\"DEEP\"", &nested(levels))
}

/// A provider of the tool `echo` on `echo.<node>`, which answers with these bytes, or else with its arguments. What it got.
async fn echo(url: &str, node_id: &str, answer: Option<String>) -> Arc<Mutex<Vec<Bytes>>> {
    let client = async_nats::connect(url).await.unwrap();
    let mut requests = client.subscribe(format!("echo.{node_id}")).await.unwrap();
    round_trip(&client).await;
    let got = Arc::<Mutex<Vec<Bytes>>>::default();
    let all = Arc::clone(&got);
    tokio::spawn(async move {
        while let Some(message) = requests.next().await {
            all.lock().unwrap().push(message.payload.clone());
            let body = answer.clone().map_or(message.payload, Bytes::from);
            client.publish(message.reply.unwrap(), body).await.unwrap();
        }
    });
    got
}

async fn announce(caller: &Caller, node_id: &str, more: Value) {
    let tool = with(
        json!({"name": "echo", "version": "1.0.0", "subject": format!("echo.{node_id}")}),
        more,
    );
    caller
        .register(Uuid::new_v4(), node_id, json!({"tools": [tool]}))
        .await;
}

/// The bytes of an answer.
async fn bytes(nats: &Client, endpoint: &str, body: String) -> String {
    let subject = format!("onex.registry.v1.{endpoint}");
    let answer = nats.request(subject, body.into()).await.unwrap();
    String::from_utf8(answer.payload.to_vec()).unwrap()
}

/// The result in the bytes of an answer.
fn result_of(answer: &str) -> &str {
    let (_, behind) = answer
        .split_once(r#""result":"#)
        .unwrap_or_else(|| panic!("{answer}"));
    behind.split_once(r#","tool_name":"#).unwrap().0
}

/// Refused for what is too deep in that field: where the first list stands that is one level too many.
#[track_caller]
fn too_deep(refused: &Refused, field: &str, around: usize) {
    let pointer = format!("{field}{}", "/0".repeat(JSON_LEVELS_MAX - around));
    invalid(refused, &pointer, "64 levels");
}

/// Refused for that place, in such words.
#[track_caller]
fn invalid(refused: &Refused, pointer: &str, said: &str) {
    assert!(refused.is(ErrorCode::InvalidRequest), "{refused:?}");
    assert_eq!(refused.detail("pointer"), pointer, "{refused:?}");
    let message = refused.error["message"].as_str().unwrap();
    assert!(message.contains(said), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn announced_json_is_at_most_64_levels_deep_and_its_node_is_there() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let tool = |name: &str| json!({"name": "add", "version": "1.0.0", name: {"default": "DEEP"}});
    // The place, what stands there, and how many levels of it stand around what is deep.
    let places = [
        ("/capabilities", json!({"capabilities": "DEEP"}), 0),
        ("/graph_binding", json!({"graph_binding": "DEEP"}), 0),
        (
            "/tools/0/input_schema",
            json!({"tools": [tool("input_schema")]}),
            1,
        ),
        (
            "/tools/0/output_schema",
            json!({"tools": [tool("output_schema")]}),
            1,
        ),
        (
            "/schema/inputs/0/schema",
            json!({"schema": {"inputs": [{"name": "a", "type": "b", "schema": {"default": "DEEP"}}]}}),
            1,
        ),
    ];
    for (at, (place, more, around)) in places.into_iter().enumerate() {
        let node_id = format!("n{at}");
        let body = node(Uuid::new_v4(), &node_id, more);
        for levels in DEPTHS {
            let body = deep(&body, levels - around);
            let refused = caller.raw("node.register", &[], body).await.unwrap_err();
            let within = if around == 0 { "" } else { "/default" };
            too_deep(&refused, &format!("{place}{within}"), around);
        }
        let body = deep(&body, JSON_LEVELS_MAX - around);
        caller.raw("node.register", &[], body).await.unwrap();
        let shown = caller.see("describe", json!({"node_id": node_id})).await;
        let kept = nested(JSON_LEVELS_MAX - around);
        assert!(shown.to_string().contains(&kept), "{place}");
    }
    let listed = caller.see("node.list", json!({})).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 5);

    let requester = Uuid::new_v4();
    caller.register(requester, "running", json!({})).await;
    let tool = with(
        claim(requester, "running", 1),
        json!({"tool": tool("input_schema")}),
    );
    let refused = caller.raw("tool.register", &[], deep(&tool, 120)).await;
    let refused = refused.unwrap_err();
    too_deep(&refused, "/tool/input_schema/default", 1);
    let body = deep(&tool, JSON_LEVELS_MAX - 1);
    caller.raw("tool.register", &[], body).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_health_is_refused_and_the_node_lives_on() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let owner = Uuid::new_v4();
    caller.register(owner, "calc", json!({})).await;
    let heartbeat = with(claim(owner, "calc", 1), json!({"health": "DEEP"}));
    for levels in DEPTHS {
        let refused = caller
            .raw("node.heartbeat", &[], deep(&heartbeat, levels))
            .await;
        let refused = refused.unwrap_err();
        too_deep(&refused, "/health", 0);
    }
    let body = deep(&heartbeat, JSON_LEVELS_MAX);
    caller.raw("node.heartbeat", &[], body).await.unwrap();
    let shown = caller.see("describe", json!({"node_id": "calc"})).await;
    let kept = shown.to_string().contains(&nested(JSON_LEVELS_MAX));
    assert!(kept, "{shown}");
    let other = node(Uuid::new_v4(), "calc", json!({}));
    caller
        .refused("node.register", other, ErrorCode::NotHolder)
        .await;
    let heartbeat = claim(owner, "calc", 1);
    caller.get("node.heartbeat", heartbeat).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_and_results_are_at_most_64_levels_deep() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let got = echo(registry.url(), "calc", None).await;
    announce(&caller, "calc", json!({})).await;
    let call = json!({"tool_name": "echo", "arguments": {"a": "DEEP"}});
    for levels in DEPTHS {
        let body = deep(&call, levels - 1);
        let refused = caller.raw("tool.invoke", &[], body).await.unwrap_err();
        too_deep(&refused, "/arguments/a", 1);
    }
    assert_eq!(got.lock().unwrap().len(), 0);

    // Of the same request twice, and for a client that reads with `serde_json`.
    let id = Uuid::new_v4();
    let client = client::Client::new(caller.client.clone(), Namespace::default());
    let arguments = format!("{{\"a\":{}}}", nested(JSON_LEVELS_MAX - 1));
    let request = InvokeRequest {
        request_id: Some(RequestId(id)),
        ..InvokeRequest::new(
            "echo".parse().unwrap(),
            JsonText::parse(arguments.as_bytes()).unwrap(),
        )
    };
    for _ in 0..2 {
        let reply = client.invoke(&request).await.unwrap();
        assert_eq!(reply.result.text(), arguments);
    }
    assert_eq!(got.lock().unwrap().len(), 1);
    let direct = Direct::new(client.clone()).invoke(&request).await.unwrap();
    assert_eq!(direct.text(), arguments);

    for levels in DEPTHS {
        let node_id = format!("deep{levels}");
        echo(registry.url(), &node_id, Some(nested(levels))).await;
        announce(&caller, &node_id, json!({})).await;
        for request_id in [None, Some(Uuid::new_v4())] {
            let call =
                json!({"tool_name": "echo", "provider_node_id": node_id, "request_id": request_id});
            for _ in 0..2 {
                let refused = caller
                    .refused("tool.invoke", call.clone(), ErrorCode::InvalidResult)
                    .await;
                let first = &refused.detail("violations")[0];
                assert_eq!(first["pointer"], "/0".repeat(JSON_LEVELS_MAX));
                assert!(
                    first["message"].as_str().unwrap().contains("64 levels"),
                    "{first}"
                );
                assert_eq!(refused.detail("executed"), &json!(true));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_error_of_a_provider_reaches_its_caller_as_text() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    for (node_id, body) in [
        ("deep", nested(120)),
        (
            "long",
            r#"{"at":123456789012345678901234567890}"#.to_owned(),
        ),
    ] {
        let client = async_nats::connect(registry.url()).await.unwrap();
        let mut requests = client.subscribe(format!("echo.{node_id}")).await.unwrap();
        round_trip(&client).await;
        let answer = body.clone();
        tokio::spawn(async move {
            while let Some(message) = requests.next().await {
                let mut headers = async_nats::HeaderMap::new();
                headers.insert("Nats-Service-Error-Code", "500");
                let (reply, answer) = (message.reply.unwrap(), answer.clone());
                let sent = client.publish_with_headers(reply, headers, answer.into());
                sent.await.unwrap();
            }
        });
        announce(&caller, node_id, json!({})).await;
        let id = Uuid::new_v4();
        let call = json!({"tool_name": "echo", "provider_node_id": node_id, "request_id": id});
        for _ in 0..2 {
            let refused = caller
                .refused("tool.invoke", call.clone(), ErrorCode::ToolError)
                .await;
            assert_eq!(refused.detail("provider_body"), &json!(body));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_and_results_pass_byte_for_byte() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let got = echo(registry.url(), "calc", None).await;
    announce(&caller, "calc", json!({})).await;
    for arguments in [
        r#"{"a":123456789012345678901234567890}"#,
        r#"{"a":0.1234567890123456789012,"b":[1.10,1e2,-0,1E400,-1e-400]}"#,
        r#"{"b":1, "a" : "é\u00e9\/" }"#,
        "{}",
    ] {
        let body = format!(r#"{{"tool_name":"echo","arguments": {arguments} }}"#);
        let answer = bytes(&caller.client, "tool.invoke", body).await;
        assert_eq!(got.lock().unwrap().last().unwrap(), arguments);
        assert_eq!(result_of(&answer), arguments);

        // One that is kept has no white space that means nothing.
        let id = Uuid::new_v4();
        let body = format!(r#"{{"tool_name":"echo","request_id":"{id}","arguments":{arguments}}}"#);
        let before = got.lock().unwrap().len();
        let first = bytes(&caller.client, "tool.invoke", body.clone()).await;
        assert_eq!(result_of(&first), arguments);
        let again = bytes(&caller.client, "tool.invoke", body).await;
        let compact = arguments.replace(' ', "");
        assert_eq!(result_of(&again), compact);
        assert_eq!(got.lock().unwrap().len(), before + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_tells_long_numbers_apart() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    echo(registry.url(), "calc", None).await;
    announce(&caller, "calc", json!({})).await;
    let id = Uuid::new_v4();
    let call = |arguments: &str| {
        format!(r#"{{"tool_name":"echo","request_id":"{id}","arguments":{arguments}}}"#)
    };
    let first = call(r#"{"a":123456789012345678901234567890,"b":1e400}"#);
    caller.raw("tool.invoke", &[], first).await.unwrap();
    let same = call(r#"{ "b":1e400, "a":123456789012345678901234567890 }"#);
    caller.raw("tool.invoke", &[], same).await.unwrap();
    for other in [
        r#"{"a":123456789012345678901234567891,"b":1e400}"#,
        r#"{"a":123456789012345678901234567890,"b":2e400}"#,
    ] {
        let refused = caller.raw("tool.invoke", &[], call(other)).await;
        assert!(refused.unwrap_err().is(ErrorCode::IdempotencyMismatch));
    }
}

const LONG: &str = "123456789012345678901234567890";

/// A schema, a number or what holds some, and what is said of it; nothing where it is as the schema says.
fn numbers() -> Vec<(Value, &'static str, Option<&'static str>)> {
    vec![
        (json!({"type": "integer"}), LONG, None),
        (
            json!({"type": "integer"}),
            "1.00000000000000000001",
            Some("1.00000000000000000001 is not of type \"integer\""),
        ),
        (
            json!({"type": "integer"}),
            "123456789012345678901234567890.5",
            Some("not of type"),
        ),
        (json!({"type": "integer"}), "5.0", None),
        (json!({"type": "integer"}), "1e400", None),
        (
            json!({"maximum": 1}),
            "1.00000000000000000001",
            Some("1.00000000000000000001 is greater than the maximum of 1"),
        ),
        (json!({"maximum": 1}), "1.0", None),
        (
            json!({"exclusiveMaximum": 1}),
            "0.99999999999999999999",
            None,
        ),
        (
            json!({"exclusiveMinimum": 1}),
            "1.00000000000000000001",
            None,
        ),
        (
            json!({"minimum": 1}),
            "0.99999999999999999999",
            Some("is less than the minimum of 1"),
        ),
        (
            json!({"minimum": 0}),
            "-1e-400",
            Some("is less than the minimum of 0"),
        ),
        (
            json!({"maximum": 18_446_744_073_709_551_615_u64}),
            "18446744073709551616",
            Some("is greater than"),
        ),
        (json!({"multipleOf": 10}), LONG, None),
        (
            json!({"multipleOf": 4}),
            LONG,
            Some("is not a multiple of 4"),
        ),
        (
            json!({"multipleOf": 0.01}),
            "0.1234567890123456789012",
            Some("is not a multiple of 0.01"),
        ),
        (json!({"multipleOf": 0.01}), "19.99", None),
        (
            json!({"const": 1}),
            "1.00000000000000000001",
            Some("1 was expected"),
        ),
        (json!({"const": 1}), "1.0", None),
        (
            json!({"enum": [1, 2]}),
            "2.00000000000000000001",
            Some("is not one of"),
        ),
        (
            json!({"uniqueItems": true}),
            "[1.00000000000000000001, 1]",
            None,
        ),
        (
            json!({"uniqueItems": true}),
            "[1e400, 2, 10e399]",
            Some("are equal, and all must differ"),
        ),
        (
            json!({"uniqueItems": true}),
            "[[{\"a\":1e400}], [{\"a\":10e399}]]",
            Some("are equal, and all must differ"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_checked_as_they_are_written() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    for (at, (schema, value, said)) in numbers().into_iter().enumerate() {
        // What is wrong for arguments is for a result.
        for (side, code) in [
            ("input", ErrorCode::InvalidArguments),
            ("output", ErrorCode::InvalidResult),
        ] {
            let node_id = format!("{side}{at}");
            let body = format!(r#"{{"a":{value}}}"#);
            let answer = (side == "output").then(|| body.clone());
            echo(registry.url(), &node_id, answer).await;
            let contract = json!({"type": "object", "properties": {"a": schema}});
            let named = format!("{side}_schema");
            announce(&caller, &node_id, json!({ named: contract })).await;
            let call = format!(
                r#"{{"tool_name":"echo","provider_node_id":"{node_id}","arguments":{body}}}"#
            );
            let called = caller.raw("tool.invoke", &[], call).await;
            match (called, said) {
                (Ok(_), None) => {}
                (Err(refused), Some(said)) if refused.is(code) => {
                    let first = &refused.detail("violations")[0];
                    assert_eq!(first["pointer"], "/a", "{schema} {value}");
                    let message = first["message"].as_str().unwrap();
                    assert!(message.contains(said), "{schema} {value}: {message}");
                }
                (called, said) => panic!("{side} {schema} {value}: {called:?}, not {said:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_there_twice_is_refused() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let got = echo(registry.url(), "calc", None).await;
    announce(&caller, "calc", json!({})).await;
    let call = r#"{"tool_name":"echo","arguments":{"a":[{"b":1,"\u0062":2}]}}"#;
    let refused = caller.raw("tool.invoke", &[], call).await.unwrap_err();
    invalid(&refused, "/arguments/a/0/b", "twice");
    assert_eq!(got.lock().unwrap().len(), 0);

    echo(registry.url(), "twice", Some(r#"{"a":1,"a":2}"#.to_owned())).await;
    announce(&caller, "twice", json!({})).await;
    let call = json!({"tool_name": "echo", "provider_node_id": "twice"});
    let refused = caller
        .refused("tool.invoke", call, ErrorCode::InvalidResult)
        .await;
    assert_eq!(refused.detail("violations")[0]["pointer"], "/a");
}

/// `serde_json` reads a value from the text under such a name: in another one, and so on, deeper than any stack.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_json_library_keeps_for_itself_is_refused() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let around = |inner: &Value| {
        let brackets = format!("{}{inner}{}", "[".repeat(120), "]".repeat(120));
        json!({"$serde_json::private::RawValue": brackets})
    };
    let deepest = (0..8).fold(json!([]), |inner, _| around(&inner));
    let said = "must not have a member named \"$serde_json::private::RawValue\"";
    let requester = Uuid::new_v4();
    let announced = caller.register(requester, "calc", json!({})).await;
    let epoch = &announced["epoch"];
    let claim = json!({"requester_id": requester, "node_id": "calc", "epoch": epoch});
    let tool = json!({"name": "t", "version": "1.0.0", "input_schema": {"const": deepest}});
    for (endpoint, body, pointer) in [
        (
            "node.heartbeat",
            with(claim.clone(), json!({"health": {"a": deepest}})),
            "/health",
        ),
        (
            "tool.register",
            with(claim, json!({"tool": tool})),
            "/tool/input_schema",
        ),
        (
            "tool.invoke",
            json!({"tool_name": "t", "arguments": {"a": [deepest]}}),
            "/arguments",
        ),
    ] {
        let refused = caller.ask(endpoint, body).await.unwrap_err();
        invalid(&refused, pointer, said);
    }
    // A tool that answers so has no result.
    let answer = json!({ "a": deepest }).to_string();
    echo(registry.url(), "odd", Some(answer)).await;
    announce(&caller, "odd", json!({})).await;
    let call = json!({"tool_name": "echo", "provider_node_id": "odd"});
    let refused = caller
        .refused("tool.invoke", call, ErrorCode::InvalidResult)
        .await;
    assert_eq!(refused.detail("executed"), true);
    // And nobody has died of it.
    caller.get("describe", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_at_most_128_characters_long() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let digits = |count: usize| format!("{{\"a\":{}}}", "7".repeat(count));
    // Each of these looks at the number, and a check counts it as one step.
    let looks = vec![json!({"multipleOf": 7}); 50];
    let contract = json!({"input_schema": {"properties": {"a": {"allOf": looks}}}});
    echo(
        registry.url(),
        "long",
        Some(digits(JSON_NUMBER_CHARS_MAX + 1)),
    )
    .await;
    announce(&caller, "long", contract).await;
    let call = |arguments: String| {
        format!(r#"{{"tool_name":"echo","provider_node_id":"long","arguments":{arguments}}}"#)
    };
    for count in [JSON_NUMBER_CHARS_MAX + 1, 50_000] {
        let refused = caller.raw("tool.invoke", &[], call(digits(count))).await;
        let refused = refused.unwrap_err();
        assert!(refused.is(ErrorCode::InvalidRequest), "{refused:?}");
        assert_eq!(refused.detail("pointer"), "/arguments/a");
    }
    // One of that length is checked, and what the tool answers is judged alike.
    let sevens = call(digits(JSON_NUMBER_CHARS_MAX));
    let refused = caller.raw("tool.invoke", &[], sevens).await.unwrap_err();
    assert!(refused.is(ErrorCode::InvalidResult), "{refused:?}");
    assert_eq!(refused.detail("violations")[0]["pointer"], "/a");
}

/// Numbers that 64 bits do not keep, and what is said of them.
const NOT_KEPT: [(&str, &str); 6] = [
    (LONG, "would become 1.2345678901234568e+29"),
    (
        "0.1234567890123456789012",
        "would become 0.12345678901234568",
    ),
    (
        "18446744073709551617",
        "would become 1.8446744073709552e+19",
    ),
    ("1e-400", "would become 0.0"),
    ("1e400", "within the range of a double, not 1e400"),
    ("-1e400", "within the range of a double, not -1e400"),
];

#[tokio::test(flavor = "multi_thread")]
async fn schema_with_a_number_that_is_not_kept_is_refused() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let tool = |name: &str| json!({"name": "add", "version": "1.0.0", name: {"x/y": ["NUMBER"]}});
    let fields = |name: &str| {
        let field = json!({"name": "a", "type": "b", "schema": {"x/y": ["NUMBER"]}});
        json!({"schema": {name: [field]}})
    };
    let me = Uuid::new_v4();
    caller.register(me, "running", json!({})).await;
    let of_node = |more| ("node.register", node(Uuid::new_v4(), "n", more));
    let of_tool = |tool: Value| {
        let body = with(claim(me, "running", 1), json!({"tool": tool}));
        ("tool.register", body)
    };
    for ((endpoint, body), place) in [
        (
            of_node(json!({"tools": [tool("input_schema")]})),
            "/tools/0/input_schema",
        ),
        (
            of_node(json!({"tools": [tool("output_schema")]})),
            "/tools/0/output_schema",
        ),
        (of_node(fields("inputs")), "/schema/inputs/0/schema"),
        (of_node(fields("outputs")), "/schema/outputs/0/schema"),
        (of_tool(tool("input_schema")), "/tool/input_schema"),
        (of_tool(tool("output_schema")), "/tool/output_schema"),
    ] {
        for (number, said) in NOT_KEPT {
            let body = body.to_string().replace("\"NUMBER\"", number);
            let refused = caller.raw(endpoint, &[], body).await.unwrap_err();
            invalid(&refused, &format!("{place}/x~1y/0"), said);
        }
        let long = "1.".to_owned() + &"0".repeat(JSON_NUMBER_CHARS_MAX);
        let long = body.to_string().replace("\"NUMBER\"", &long);
        let refused = caller.raw(endpoint, &[], long).await.unwrap_err();
        invalid(&refused, &format!("{place}/x~1y/0"), "128 characters");
        let twice = body.to_string().replace("[\"NUMBER\"]", r#"{"a":1,"a":2}"#);
        let refused = caller.raw(endpoint, &[], twice).await.unwrap_err();
        invalid(&refused, &format!("{place}/x~1y/a"), "twice");
    }
    // By its digits one number and as a double another: nobody could say which one is admitted.
    for (schema, place, exact) in [
        (
            r#"{"properties":{"a":{"const":12345678901234567e3}}}"#,
            "/properties/a/const",
            "12345678901234567168",
        ),
        (
            r#"{"not":{"enum":[1,{"a":12345678901234567.0e3}]}}"#,
            "/not/enum/1/a",
            "12345678901234567168",
        ),
    ] {
        let (endpoint, body) =
            of_tool(json!({"name": "a", "version": "1.0.0", "input_schema": "S"}));
        let body = body.to_string().replace("\"S\"", schema);
        let refused = caller.raw(endpoint, &[], body).await.unwrap_err();
        invalid(&refused, &format!("/tool/input_schema{place}"), exact);
    }
    let listed = caller.see("tool.list", json!({})).await;
    assert_eq!(listed["items"], json!([]));
    for schema in [
        r#"{"properties":{"a":{"const":1e19}}}"#,
        r#"{"properties":{"a":{"enum":[0.1,18446744073709551615]}}}"#,
        r#"{"properties":{"a":{"maximum":1.7976931348623157e308}}}"#,
    ] {
        let (endpoint, body) =
            of_tool(json!({"name": "a", "version": "1.0.0", "input_schema": "S"}));
        let body = body.to_string().replace("\"S\"", schema);
        caller.raw(endpoint, &[], body).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_keeps_the_numbers_that_it_is_taken_with() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let numbers = [
        "9007199254740993",
        "9007199254740992",
        "18446744073709551615",
        "18446744073709551614",
        "-9223372036854775808",
        "0.30000000000000004",
        "0.3",
        "1e300",
        "5e-324",
    ];
    for (at, number) in numbers.iter().enumerate() {
        let node_id = format!("n{at}");
        echo(registry.url(), &node_id, None).await;
        let tool = json!({
            "name": format!("t{at}"), "version": "1.0.0", "subject": format!("echo.{node_id}"),
            "input_schema": {"properties": {"a": {"const": "NUMBER"}}},
        });
        let body = node(Uuid::new_v4(), &node_id, json!({"tools": [tool]}));
        let body = body.to_string().replace("\"NUMBER\"", number);
        caller.raw("node.register", &[], body).await.unwrap();
        let shown = caller
            .see("tool.describe", json!({"name": format!("t{at}")}))
            .await;
        let want: Value = number.parse().unwrap();
        let kept = &shown["contract"]["input_schema"]["properties"]["a"]["const"];
        assert_eq!(kept, &want, "{number}");
        let call = |value: &str| format!(r#"{{"tool_name":"t{at}","arguments":{{"a":{value}}}}}"#);
        caller.raw("tool.invoke", &[], call(number)).await.unwrap();
        for other in numbers.iter().filter(|other| *other != number) {
            let refused = caller
                .raw("tool.invoke", &[], call(other))
                .await
                .unwrap_err();
            assert!(refused.is(ErrorCode::InvalidArguments), "{refused:?}");
            let message = refused.detail("violations")[0]["message"].as_str().unwrap();
            assert_eq!(message, format!("{want} was expected"), "{other}");
        }
    }
    let me = Uuid::new_v4();
    caller.register(me, "many", json!({})).await;
    let mut hashes = BTreeSet::new();
    for number in numbers {
        let tool =
            json!({"name": "same", "version": "1.0.0", "output_schema": {"const": "NUMBER"}});
        let body = with(claim(me, "many", 1), json!({"tool": tool}));
        let body = body.to_string().replace("\"NUMBER\"", number);
        let reply = caller.raw("tool.register", &[], body).await.unwrap();
        hashes.insert(reply["contract_hash"].to_string());
    }
    assert_eq!(hashes.len(), numbers.len(), "{hashes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn number_out_of_range_is_said_to_be_one_wherever_it_stands() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    caller.register(me, "calc", json!({})).await;
    let heartbeat = |more| ("node.heartbeat", with(claim(me, "calc", 1), more));
    let announced = |more| ("node.register", node(Uuid::new_v4(), "n", more));
    let leased = |more| {
        let body = json!({"requester_id": Uuid::new_v4(), "protocol": "http"});
        ("port.lease", with(body, more))
    };
    for ((endpoint, body), pointer) in [
        (
            heartbeat(json!({"health": {"a": [1, "NUMBER"]}})),
            "/health/a/1",
        ),
        (heartbeat(json!({"health": "NUMBER"})), "/health"),
        (heartbeat(json!({"ttl": "NUMBER"})), "/ttl"),
        (
            announced(json!({"capabilities": {"a": "NUMBER"}})),
            "/capabilities/a",
        ),
        (
            announced(json!({"graph_binding": ["NUMBER"]})),
            "/graph_binding/0",
        ),
        (leased(json!({"ttl": "NUMBER"})), "/ttl"),
        (
            leased(json!({"preferred_port": "NUMBER"})),
            "/preferred_port",
        ),
    ] {
        for number in ["1e400", "-1e999999999999999999999"] {
            let body = body.to_string().replace("\"NUMBER\"", number);
            let refused = caller.raw(endpoint, &[], body).await.unwrap_err();
            invalid(&refused, pointer, "within the range of a double");
        }
    }
    // A measurement with more digits than a double has is no reason to lose a node.
    let (endpoint, body) = heartbeat(json!({"health": "NUMBER"}));
    let body = body
        .to_string()
        .replace("\"NUMBER\"", "0.1234567890123456789012");
    caller.raw(endpoint, &[], body).await.unwrap();
    let shown = caller.see("describe", json!({"node_id": "calc"})).await;
    assert!(shown.to_string().contains("0.12345678901234568"), "{shown}");
}
