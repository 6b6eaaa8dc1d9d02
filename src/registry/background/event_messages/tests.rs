use onex_core::entry::Entry;
use serde_json::{Value, json};

use super::*;
use crate::protocol::event::{ExecutionEvent, GapEvent, NodeEvent, PortEvent, ToolEvent};

const REQUESTER: &str = "0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21";
const LEASE: &str = "0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f";

/// The events of one entry with these commands, each with its id and subject.
fn events(commands: &[Value]) -> Vec<(String, String, Value)> {
    let entry = json!({"rev": 7, "at": "2026-11-30T03:00:00Z", "cmds": commands});
    let entry: Entry = serde_json::from_value(entry).unwrap();
    let encoder = EventEncoder {
        namespace: Namespace::default(),
        registry_id: Uuid::nil(),
    };
    let events = encoder.events(&entry).into_iter().map(|(id, message)| {
        let header = |name| {
            message
                .headers
                .get(name)
                .map(async_nats::HeaderValue::as_str)
        };
        assert_eq!(header("ce-id"), Some(id.to_string().as_str()));
        assert_eq!(header("Nats-Msg-Id"), None);
        let body = serde_json::from_slice(&message.body).unwrap();
        (id.to_string(), message.subject.clone(), body)
    });
    events.collect()
}

fn of<T: serde::de::DeserializeOwned>(body: &Value) -> EventBody<T> {
    serde_json::from_value(body.clone()).unwrap()
}

#[test]
fn a_rebound_lease_is_told_with_all_its_ports_and_the_one_it_gave_up() {
    let lease = json!({
        "lease_id": LEASE, "requester_id": REQUESTER, "protocol": "http", "ttl": 60, "ports": [20_002, 20_003],
        "transports": ["tcp", "udp"], "granted_at": "2026-11-30T03:00:00Z", "fence": 9,
    });
    let renewal = json!("port.h.tcp.20009");
    let rebind = json!({"c": "port.rebind", "x": "deploy-81", "do": [
        {"put": "port.h.tcp.20002", "lease": lease, "ev": {"kind": "port.rebound", "n": 2, "old_port": 20_001}},
    ]});
    let events = events(&[renewal, rebind]);
    let [(id, subject, body)] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(id, "8.0");
    assert_eq!(
        subject,
        "onex.registry.v1.event.port.rebound.port.h.tcp.20002"
    );
    let event = of::<PortEvent>(body);
    assert_eq!((event.revision, event.n), (8, 2));
    assert_eq!(event.correlation_id.as_deref(), Some("deploy-81"));
    assert_eq!(body["ports"], json!([20_002, 20_003]));
    assert_eq!(body["transports"], json!(["tcp", "udp"]));
    assert_eq!(body["old_port"], 20_001);
}

#[test]
fn a_gap_is_told_with_its_revisions() {
    let skip = json!({"c": "named.skip_events", "do": [{
        "put": "sys.named", "named": {"instance": 1, "published": 6, "published_sequence": 3},
        "ev": {"kind": "gap", "n": 1, "gap": {"from": 2, "to": 6}},
    }]});
    let events = events(&[skip]);
    let [(id, subject, body)] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(
        (id.as_str(), subject.as_str()),
        ("7.0", "onex.registry.v1.event.gap.all")
    );
    let gap = of::<GapEvent>(body).about;
    assert_eq!((gap.from_revision, gap.to_revision), (2, 6));
}

#[test]
fn tools_of_a_node_are_told_with_it_and_share_its_number() {
    let tool = |name: &str| json!({"name": name, "version": "1.0.0"});
    let node = json!({
        "requester_id": REQUESTER, "epoch": 3, "tools_added": [tool("add")], "tools_removed": [tool("halve")],
    });
    let live = json!({
        "incarnation": LEASE, "epoch": 3, "requester_id": REQUESTER, "ttl": 60,
        "registered_at": "2026-11-30T03:00:00Z",
    });
    let register = json!({"c": "node.register", "do": [
        {"put": "live.calc", "live": live, "ev": {"kind": "node.registered", "n": 5, "node": node}},
        {"put": "node.calc", "node": {"incarnation": LEASE, "registration": {
            "version": "1.0.0", "node_type": "tool", "contract_hash": "c", "base_hash": "b", "bytes": 1,
        }}, "ev": {"kind": "tools.changed", "n": 1, "node": node}},
    ]});
    let events = events(&[register]);
    let told: Vec<(&str, &str, u64)> = events
        .iter()
        .map(|(id, _, body)| {
            let kind = body["event"].as_str().unwrap();
            (id.as_str(), kind, body["n"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("7.0", "node.registered", 5),
            ("7.1", "tool.removed", 5),
            ("7.2", "tool.registered", 5),
            ("7.3", "tool.removed", 1),
            ("7.4", "tool.registered", 1),
        ]
    );
    assert_eq!(of::<NodeEvent>(&events[0].2).about.epoch, Some(3));
    assert_eq!(
        of::<ToolEvent>(&events[1].2).about.tool_name.as_str(),
        "halve"
    );
}

#[test]
fn an_execution_that_time_ends_is_told_with_its_callers_correlation_id() {
    let run = json!({
        "execution": {
            "execution_id": LEASE, "tool_name": "add", "tool_version": "1.0.0", "contract_hash": "c", "node_id": "calc",
        },
        "timeout_ms": 4_000, "correlation_id": "deploy-81", "began_at": "2026-11-30T03:00:00Z",
    });
    let end = json!({"how": "unknown", "executed": "unknown"});
    let expire = json!({"c": "run.expire", "do": [{
        "del": format!("run.{LEASE}"), "ev": {"kind": "tool.failed", "n": 2, "run": run, "end": end},
    }]});
    let events = events(&[expire]);
    let [(_, _, body)] = events.as_slice() else {
        panic!("{events:?}");
    };
    let event = of::<ExecutionEvent>(body);
    assert_eq!(event.correlation_id.as_deref(), Some("deploy-81"));
    assert_eq!(event.about.code.as_deref(), Some("TOOL_TIMEOUT"));
    assert_eq!(body["outcome"], "unknown");
}
