//! What holds for the requests and replies of nodes, tools, buses, trust and schemas alike.

use onex_types::bounds::NODE_TOOLS_MAX;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    bus::{BusDeregisterRequest, BusItem, BusListRequest, BusRegisterRequest},
    catalog::{SchemaGetRequest, SchemaListRequest},
    node::{InboundPort, NodeSchema, OutboundPort, RegisterRequest, SchemaField},
    node_life::{DeregisterRequest, HeartbeatRequest},
    node_view::{NodeItem, NodeListRequest, NodeMetadata, NodeTool, NodeView},
    tool::{
        Tool, ToolDeregisterRequest, ToolDescribeReply, ToolDescribeRequest, ToolListRequest,
        ToolRegisterRequest,
    },
    trust::{ReportRequest, TrustGetRequest, TrustReply},
};

const ID: &str = "0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21";

fn schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// What a request needs is enough, is what its schema requires, and comes back as it is; its other fields
/// may be null; and its schema agrees.
#[track_caller]
#[expect(
    clippy::needless_pass_by_value,
    reason = "a table reads better without borrows"
)]
fn check<T: DeserializeOwned + Serialize + JsonSchema>(bare: Value) {
    let read = |value: &Value| serde_json::from_value::<T>(value.clone()).unwrap();
    let request = read(&bare);
    let schema = schema::<T>();
    let compiled = jsonschema::validator_for(&schema).unwrap();
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut nulls = bare.clone();
    for field in schema["properties"].as_object().unwrap().keys() {
        let is_required = required.contains(&json!(field));
        assert_eq!(is_required, bare.get(field).is_some(), "{field}");
        if !is_required {
            nulls[field] = Value::Null;
        }
        if is_required {
            let mut without: Map<String, Value> = bare.as_object().unwrap().clone();
            without.remove(field);
            assert!(
                serde_json::from_value::<T>(without.into()).is_err(),
                "{field}"
            );
        }
    }
    let written = serde_json::to_value(&request).unwrap();
    for value in [&bare, &nulls, &written] {
        assert!(compiled.is_valid(value), "{value} {schema:#}");
        assert_eq!(serde_json::to_value(read(value)).unwrap(), written);
    }
}

#[test]
fn what_is_required_is_enough() {
    let tool = json!({"name": "add", "version": "1.0.0"});
    check::<Tool>(tool.clone());
    check::<ToolRegisterRequest>(
        json!({"node_id": "calc", "requester_id": ID, "epoch": 1, "tool": tool}),
    );
    check::<ToolDeregisterRequest>(
        json!({"node_id": "calc", "requester_id": ID, "epoch": 1, "name": "add"}),
    );
    check::<ToolListRequest>(json!({}));
    check::<ToolDescribeRequest>(json!({"name": "add"}));
    check::<RegisterRequest>(json!({
        "node_id": "calc.1", "version": "1.0.0", "node_type": "tool", "requester_id": ID,
    }));
    check::<NodeSchema>(json!({}));
    check::<SchemaField>(json!({"name": "a", "type": "string"}));
    check::<InboundPort>(json!({"name": "api", "port": 80, "protocol": "http"}));
    check::<OutboundPort>(json!({"name": "log", "topic": "logs.>", "protocol": "nats"}));
    check::<HeartbeatRequest>(json!({"node_id": "calc", "requester_id": ID, "epoch": 1}));
    check::<DeregisterRequest>(json!({"node_id": "calc", "requester_id": ID, "epoch": 1}));
    check::<NodeListRequest>(json!({}));
    check::<BusRegisterRequest>(json!({
        "bus_id": "main", "protocol": "redis", "endpoint_uri": "redis://h", "requester_id": ID,
    }));
    check::<BusDeregisterRequest>(json!({"bus_id": "main", "requester_id": ID}));
    check::<BusListRequest>(json!({}));
    check::<ReportRequest>(json!({
        "node_id": "calc", "validator_id": "judge", "requester_id": ID, "outcome": "pass",
    }));
    check::<TrustGetRequest>(json!({"node_id": "calc"}));
    check::<SchemaListRequest>(json!({}));
    check::<SchemaGetRequest>(json!({"name": "port.lease.request"}));
}

#[track_caller]
fn refused<T: DeserializeOwned + std::fmt::Debug>(bare: &Value, field: &str, value: Value) {
    let mut changed = bare.clone();
    changed[field] = value;
    let text = changed.to_string();
    let mut json = serde_json::Deserializer::from_str(&text);
    let error = serde_path_to_error::deserialize::<_, T>(&mut json).unwrap_err();
    let at = error.path().to_string();
    assert!(at.starts_with(field), "{at}: {error}");
}

#[test]
fn what_a_node_says_is_bounded() {
    use super::node::{
        DESCRIPTION_CHARS_MAX, HEALTH_BYTES_MAX, NODE_CAPABILITIES_BYTES_MAX, NODE_PORTS_MAX,
        NODE_RELATED_MAX, NODE_TAGS_MAX,
    };
    let node = json!({
        "node_id": "calc.1", "version": "1.0.0", "node_type": "tool", "requester_id": ID,
    });
    let tool = json!({"name": "add", "version": "1.0.0"});
    let port = json!({"name": "a", "port": 1, "protocol": "http"});
    for (field, value) in [
        ("node_id", json!("a..b")),
        ("version", json!("1.0")),
        ("node_type", json!("oracle")),
        ("execution_mode", json!("cloud")),
        ("epoch", json!(1_u64 << 53)),
        ("ttl", json!(0)),
        ("description", json!("x".repeat(DESCRIPTION_CHARS_MAX + 1))),
        ("tags", json!(vec!["a"; NODE_TAGS_MAX + 1])),
        ("tools", json!(vec![tool; NODE_TOOLS_MAX + 1])),
        ("inbound_ports", json!(vec![port; NODE_PORTS_MAX + 1])),
        ("upstream_nodes", json!(vec!["a"; NODE_RELATED_MAX + 1])),
        (
            "capabilities",
            json!("x".repeat(NODE_CAPABILITIES_BYTES_MAX)),
        ),
        ("schema", json!({"inputs": 1})),
    ] {
        refused::<RegisterRequest>(&node, field, value);
    }
    let heartbeat = json!({"node_id": "calc", "requester_id": ID, "epoch": 1});
    let health = json!("x".repeat(HEALTH_BYTES_MAX - 1));
    refused::<HeartbeatRequest>(&heartbeat, "health", health);
    let list = json!({});
    refused::<ToolListRequest>(&list, "version", json!("newest"));
    refused::<NodeListRequest>(&list, "liveness", json!("undead"));
    refused::<SchemaListRequest>(&list, "kind", json!("other"));
}

#[test]
fn credentials_do_not_even_enter() {
    let bus: BusRegisterRequest = serde_json::from_value(json!({
        "bus_id": "main", "protocol": "redis", "endpoint_uri": "redis://u:secret@h/0",
        "requester_id": ID, "outbound": false,
    }))
    .unwrap();
    assert_eq!(bus.endpoint_uri.as_str(), "redis://h/0");
    assert!(bus.inbound && !bus.outbound);
}

/// A reply of a later version is read, and what nobody has measured is null.
#[track_caller]
fn reply<T: DeserializeOwned + Serialize + JsonSchema>(sample: &Value, nulls: &[&str]) {
    let mut later = sample.clone();
    later["later"] = json!({"a": 1});
    let written = serde_json::to_value(serde_json::from_value::<T>(later).unwrap()).unwrap();
    for name in nulls {
        assert_eq!(written.get(name), Some(&Value::Null), "{name}");
    }
    let schema = schema::<T>();
    let compiled = jsonschema::validator_for(&schema).unwrap();
    assert!(compiled.is_valid(&written), "{written:#} {schema:#}");
}

#[test]
fn replies_are_open_and_do_not_guess() {
    let time = "2026-01-01T00:00:00.000Z";
    let item = json!({
        "node_id": "calc", "version": "1.0.0", "node_type": "oracle", "tags": [], "liveness": "dormant",
        "epoch": 1, "registered_at": time, "expires_in_ms": 1, "tools": 0, "trust_state": "untrusted",
    });
    let known = |mut value: Value| {
        value["node_type"] = json!("tool");
        value["liveness"] = json!("online");
        value
    };
    let read: NodeItem = serde_json::from_value(item.clone()).unwrap();
    assert_eq!(read.node_type.known(), None);
    reply::<NodeItem>(&known(item.clone()), &["host", "trust_score"]);
    let mut metadata = known(item);
    for (name, value) in [
        ("ttl", json!(60)),
        ("requester_id", json!(ID)),
        ("expires_at", json!(time)),
        ("subscribed_by_agents", json!([])),
        ("upstream_nodes", json!([])),
        ("downstream_nodes", json!([])),
        ("contract_hash", json!("c2:0")),
    ] {
        metadata[name] = value;
    }
    let unmeasured = [
        "execution_count",
        "success_rate",
        "last_execution_timestamp",
        "health",
        "last_heartbeat_at",
    ];
    reply::<NodeMetadata>(&metadata, &unmeasured);
    let bus = json!({
        "bus_id": "main", "protocol": "redis", "endpoint_uri": "redis://h", "inbound": true,
        "outbound": true, "requester_id": ID, "active": true, "registered_at": time,
    });
    let unmeasured = [
        "subscriber_count",
        "messages_per_sec",
        "health_check_passed",
    ];
    reply::<BusItem>(&bus, &unmeasured);
    let trust = json!({
        "node_id": "calc", "trust_state": "untrusted", "validated": false, "validator_ids": [],
        "failure_modes": [], "contract_hash": "c2:0", "revision": 1,
        "computed": {
            "rule": "…", "reports": 0, "passed": 0, "failed": 0, "validators": 0, "outdated": 0,
        },
    });
    reply::<TrustReply>(&trust, &["trust_score", "registry_lifecycle"]);
    let tool = json!({
        "name": "add", "version": "1.0.0", "input_schema": {"type": "object", "maxProperties": 3.5e300},
        "output_schema": true, "idempotent": true, "contract_hash": "c2:0", "collision": false,
    });
    reply::<NodeTool>(&tool, &[]);
    let described = json!({
        "name": "add", "version": "1.0.0", "contract": {"name": "add", "version": "1.0.0"},
        "contract_hash": "c2:0", "collision": false, "variants": [], "versions": ["1.0.0"], "provider_count": 1,
        "revision": 1,
        "providers": [{
            "node_id": "calc", "subject": "calc.add", "contract_hash": "c2:0", "online": true,
            "trust_state": "verified", "expires_in_ms": 1,
        }],
    });
    reply::<ToolDescribeReply>(&described, &[]);
    assert_eq!(
        serde_json::to_value(NodeView::default()).unwrap(),
        json!({})
    );
}
