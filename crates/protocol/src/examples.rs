//! A request to each endpoint and a reply of it, for their schemas and for who reads `help`.

use serde_json::{Value, json};

use crate::{
    endpoint::{Endpoint, HOLDERS_CLOCK},
    error::ErrorCode,
};

pub(super) const LEASE: &str = "0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f";
pub(super) const REQUEST_ID: &str = "0198f3a0-6c2f-7d57-8e66-40201b4c7d32";
pub(super) const REASON: &str = "its process hangs and does not stop";
pub(super) const REQUESTER: &str = "0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21";
pub(super) const NODE: &str = "text.summariser";
pub(super) const OTHER_HASH: &str =
    "c2:9c56cc51b374c3ba189210d5b6d4bf57790d351c96c47c02190ecf1e430635ab";
pub(super) const EXECUTION: &str = "0198f3a1-2b3c-7d4e-9f50-61728394a5b6";
pub(super) const HASH: &str = "c2:6f1ed002ab5595859014ebf0951522d9b3c1a6f3b0d5f7e8c1d2a3b4c5d6e7f8";
const REGISTRY: &str = "0198f39f-0a4d-7b5e-8f60-718293a4b5c6";

/// A request that the endpoint takes.
pub(super) fn request(endpoint: Endpoint) -> Value {
    let of_node = json!({"node_id": NODE, "requester_id": REQUESTER, "epoch": 1});
    let with = |more: Value| {
        let mut request = of_node.clone();
        if let (Some(request), Value::Object(more)) = (request.as_object_mut(), more) {
            request.extend(more);
        }
        request
    };
    match endpoint {
        Endpoint::PortLease => {
            json!({"requester_id": REQUESTER, "protocol": "http", "ttl": 60, "name": "api"})
        }
        Endpoint::PortHeartbeat | Endpoint::PortRelease => {
            json!({"requester_id": REQUESTER, "lease_id": LEASE})
        }
        Endpoint::PortRebind => {
            json!({"requester_id": REQUESTER, "lease_id": LEASE, "port": 20_017})
        }
        Endpoint::PortList => json!({"requester_id": REQUESTER, "limit": 50}),
        Endpoint::PortResolve => json!({"name": "api"}),
        Endpoint::PortExplain => json!({"port": 20_017}),
        Endpoint::PoolList => json!({"limit": 10}),
        Endpoint::PoolSet => json!({
            "host": "build-7", "ranges": [{"first": 20_000, "last": 29_999}],
            "reserved": [{"first": 22_000, "last": 22_000}], "description": "for builds",
        }),
        Endpoint::PoolDelete => json!({"host": "build-7"}),
        Endpoint::NodeRegister => json!({
            "node_id": NODE, "requester_id": REQUESTER, "version": "1.2.0", "node_type": "tool", "ttl": 60,
            "host": "build-7", "tags": ["text"], "description": "Makes long texts short.", "tools": [tool()],
        }),
        Endpoint::NodeHeartbeat => with(json!({"health": {"queue": 0}})),
        Endpoint::NodeDeregister => of_node,
        Endpoint::NodeList => json!({"node_type": "tool", "liveness": "online"}),
        Endpoint::ToolRegister => with(json!({"tool": tool()})),
        Endpoint::ToolDeregister => with(json!({"name": "summarise"})),
        Endpoint::ToolList => json!({"tag": "text", "limit": 50}),
        Endpoint::ToolDescribe => json!({"name": "summarise"}),
        Endpoint::ToolInvoke => json!({
            "tool_name": "summarise", "arguments": {"text": "A long text."}, "tool_version": "^1", "timeout_ms": 2_000,
        }),
        Endpoint::ToolResolve => json!({"tool_name": "summarise", "tool_version": "^1"}),
        Endpoint::BusRegister => json!({
            "bus_id": "metrics", "requester_id": REQUESTER, "protocol": "redis",
            "endpoint_uri": "redis://build-7:20018/0", "node_id": NODE,
        }),
        Endpoint::BusDeregister => json!({"bus_id": "metrics", "requester_id": REQUESTER}),
        Endpoint::BusList => json!({"protocol": "redis"}),
        Endpoint::SchemaList => json!({"kind": "message", "limit": 50}),
        Endpoint::SchemaGet => json!({"name": "port.lease.request"}),
        Endpoint::TrustReport => json!({
            "node_id": NODE, "validator_id": "contract-checker", "requester_id": REQUESTER, "outcome": "pass",
        }),
        Endpoint::TrustGet => json!({"node_id": NODE}),
        Endpoint::AdminPortRevoke => json!({"lease_id": LEASE, "reason": REASON}),
        Endpoint::AdminPortUnquarantine => json!({"port": 20_017, "reason": REASON}),
        Endpoint::AdminNodeEvict => json!({"node_id": NODE, "epoch": 1, "reason": REASON}),
        Endpoint::AdminHostForget => json!({"host": "build-8", "reason": "its machine is gone"}),
        Endpoint::Describe | Endpoint::Help => json!({}),
    }
}

/// Who offers a tool.
pub(super) fn candidates() -> Value {
    json!([{
        "node_id": NODE, "tool_version": "1.0.0", "contract_hash": HASH, "state": "chosen", "reason": null,
        "message": null, "in_flight": 0, "recent_ms": 175.5, "trust_state": "trusted",
    }])
}

/// What the endpoint may answer; where it has several shapes, one of each.
pub(super) fn replies(endpoint: Endpoint) -> Vec<Value> {
    match endpoint {
        Endpoint::PortLease | Endpoint::PortRebind => {
            let mut granted = lease();
            if let Some(members) = granted.as_object_mut() {
                members.insert("availability".to_owned(), json!("verified"));
                members.insert("verified_on".to_owned(), json!("build-7"));
            }
            vec![granted]
        }
        Endpoint::PortHeartbeat => vec![
            lease(),
            json!({
                "renewed": [{"lease_id": LEASE, "fencing_token": 4_720, "expires_in_ms": 60_000, "revision": 4_720}],
                "lost": [{"lease_id": "0198f3a0-8a55-7e01-92c3-d4e5f6071829", "code": "LEASE_EXPIRED", "revision": 4_719}],
                "unknown": [],
                "revision": 4_720,
            }),
        ],
        Endpoint::PortRelease => vec![json!({
            "lease_id": LEASE, "status": "released", "released_at": "2026-11-22T10:05:00.000Z", "revision": 4_730,
        })],
        Endpoint::PortList | Endpoint::PortResolve => vec![json!({
            "items": [lease()], "next_cursor": "port.build-7.tcp.20017", "revision": 4_711,
        })],
        Endpoint::PoolList | Endpoint::PoolSet | Endpoint::PoolDelete => {
            vec![json!({"items": [pool()], "revision": 4_711})]
        }
        Endpoint::PortExplain => vec![explained_held(), explained_resting()],
        Endpoint::NodeRegister => vec![json!({
            "node_id": NODE, "status": "accepted", "registry_id": REGISTRY, "trust_state": "untrusted", "ttl": 60,
            "epoch": 1, "expires_in_ms": 60_000, "heartbeat_after_ms": 20_000, "warnings": [], "revision": 4_712,
        })],
        Endpoint::NodeHeartbeat => vec![json!({
            "node_id": NODE, "expires_in_ms": 60_000, "heartbeat_after_ms": 20_000, "revision": 4_713,
        })],
        Endpoint::NodeDeregister => vec![json!({
            "node_id": NODE, "epoch": 1, "status": "deregistered", "ended_at": "2026-11-22T11:00:00.000Z",
            "revision": 4_799,
        })],
        Endpoint::NodeList => vec![json!({"items": [node()], "revision": 4_713})],
        Endpoint::ToolRegister
        | Endpoint::ToolDeregister
        | Endpoint::ToolList
        | Endpoint::ToolDescribe
        | Endpoint::ToolInvoke
        | Endpoint::ToolResolve => tool_replies(endpoint),
        Endpoint::BusRegister => vec![json!({
            "bus_id": "metrics", "status": "accepted", "endpoint_uri": "redis://build-7:20018/0", "warnings": [],
            "revision": 4_716,
        })],
        Endpoint::BusDeregister => vec![json!({
            "bus_id": "metrics", "status": "removed", "warnings": [], "revision": 4_717,
        })],
        Endpoint::BusList => vec![json!({"items": [bus()], "revision": 4_716})],
        Endpoint::SchemaList => vec![json!({
            "items": [{"kind": "message", "name": "port.lease.request", "title": "Request to port.lease"}],
            "next_cursor": "message.port=2Elease=2Erequest", "revision": 4_713,
        })],
        Endpoint::SchemaGet => vec![json!({
            "kind": "tool", "name": "summarise@1.0.0.input", "schema": {"type": "object"}, "revision": 4_713,
        })],
        Endpoint::TrustReport | Endpoint::TrustGet => {
            let mut reply = trust();
            if let Some(members) = reply.as_object_mut() {
                members.insert("node_id".to_owned(), json!(NODE));
                members.insert("revision".to_owned(), json!(4_718));
            }
            vec![reply]
        }
        Endpoint::AdminPortRevoke => vec![json!({
            "lease_id": LEASE, "outcome": "revoked", "ended_at": "2026-11-22T10:05:00.000Z", "revision": 4_731,
        })],
        Endpoint::AdminPortUnquarantine => vec![json!({
            "host": "build-7", "transport": "tcp", "port": 20_017, "revision": 4_732,
        })],
        Endpoint::AdminHostForget => vec![json!({"host": "build-8", "revision": 4_801})],
        Endpoint::AdminNodeEvict => vec![json!({
            "node_id": NODE, "epoch": 1, "status": "evicted", "ended_at": "2026-11-22T11:00:00.000Z",
            "revision": 4_800,
        })],
        Endpoint::Describe => vec![
            described_node(),
            json!({
                "registry": {
                    "registry_id": REGISTRY, "version": "0.1.0", "protocol": "1.0", "host": "build-7",
                    "started_at": "2026-11-22T08:00:00.000Z", "ttl_max": 86_400, "probes": true,
                    "nats_server": "2.15.0", "lineage": 0,
                },
                "instances": [{"registry_id": REGISTRY, "version": "0.1.0", "host": "build-7"}],
                "counts": {"leases": 1, "hosts": 1, "nodes": 1, "tools": 1, "buses": 1, "events_waiting": 0},
                "pools": [pool()],
                "nodes": [node()],
                "tools": [tool_item()],
                "buses": [bus()],
                "revision": 4_711,
            }),
        ],
        Endpoint::Help => vec![help()],
    }
}

/// The same of those that are about tools.
fn tool_replies(endpoint: Endpoint) -> Vec<Value> {
    match endpoint {
        Endpoint::ToolRegister => vec![json!({
            "node_id": NODE, "name": "summarise", "version": "1.0.0", "contract_hash": HASH, "status": "accepted",
            "warnings": [], "revision": 4_714,
        })],
        Endpoint::ToolDeregister => vec![json!({
            "node_id": NODE, "name": "summarise", "version": null, "contract_hash": null, "status": "removed",
            "warnings": [], "revision": 4_715,
        })],
        Endpoint::ToolList => vec![json!({"items": [tool_item()], "revision": 4_713})],
        Endpoint::ToolDescribe => vec![json!({
            "name": "summarise", "version": "1.0.0", "contract": tool(), "contract_hash": HASH, "collision": false,
            "variants": [], "versions": ["1.0.0"], "revision": 4_713, "provider_count": 1,
            "providers": [{
                "node_id": NODE, "host": "build-7", "subject": "onex.node.v1.tool.summarise.text=2Esummariser",
                "contract_hash": HASH, "trust_state": "trusted", "trust_score": 1.0, "health": {"queue": 0},
                "online": true, "expires_in_ms": 41_200,
            }],
        })],
        Endpoint::ToolInvoke => vec![
            json!({
                "status": "success", "result": {"summary": "A text."}, "tool_name": "summarise", "tool_version": "1.0.0",
                "contract_hash": HASH, "provider_node_id": NODE, "correlation_id": "order-17",
                "execution_id": EXECUTION, "duration_ms": 182, "attempts": 1, "revision": 4_713,
            }),
            json!({
                "status": "dry_run", "candidates": candidates(), "candidate_count": 1, "violations": [], "refusal": null, "refusal_message": null,
                "revision": 4_713,
                "plan": {
                    "tool_name": "summarise", "tool_version": "1.0.0", "contract_hash": HASH, "provider_node_id": NODE,
                    "subject": "onex.node.v1.tool.summarise.text=2Esummariser", "timeout_ms": 2_000,
                    "node_selection_policy": "least_loaded", "idempotent": true,
                },
            }),
        ],
        Endpoint::ToolResolve => vec![json!({
            "tool_name": "summarise", "tool_version": "1.0.0", "provider_node_id": NODE, "contract_hash": HASH,
            "subject": "onex.node.v1.tool.summarise.text=2Esummariser", "contract": tool(), "expires_in_ms": 41_200,
            "revision": 4_713,
        })],
        _ => Vec::new(),
    }
}

fn help() -> Value {
    json!({
        "endpoints": [{
            "endpoint": "help", "subject": "onex.registry.v1.help", "description": Endpoint::Help.description(),
            "request_schema": {"type": "object"}, "response_schema": {"type": "object"}, "example": {},
            "errors": ["INVALID_REQUEST", "TOO_LARGE", "BUSY", "INTERNAL"],
        }],
        "errors": [{
            "code": "BUSY", "number": 503, "retryable": true, "meaning": ErrorCode::Busy.meaning(),
        }],
        "holders_clock": HOLDERS_CLOCK,
    })
}

/// A program that uses a port.
pub(super) fn listener() -> Value {
    json!({"address": "127.0.0.1", "user": "ana", "pid": 4_711, "command": "pytest"})
}

pub(super) fn holder() -> Value {
    json!({"user": "ana", "host": "build-7", "pid": 4_711, "command": "pytest"})
}

fn lease() -> Value {
    json!({
        "lease_id": LEASE, "status": "active", "port": 20_017, "ports": [20_017], "host": "build-7",
        "transport": "tcp", "protocol": "http", "requester_id": REQUESTER, "assigned_to": REQUESTER,
        "name": "api", "labels": ["team: blue"], "ttl": 60, "holder": holder(), "requested_at": "2026-11-22T10:04:07.500Z",
        "granted_at": "2026-11-22T10:04:07.600Z", "expires_at": "2026-11-22T10:05:07.600Z",
        "expires_in_ms": 60_000, "renew_after_ms": 20_000, "fencing_token": 4_711, "revision": 4_711,
    })
}

fn explained_held() -> Value {
    json!({
        "port": 20_017, "host": "build-7", "transport": "tcp", "state": "held", "lease": lease(),
        "since": "2026-11-22T10:04:07.600Z", "until": "2026-11-22T10:05:07.600Z", "expires_in_ms": 43_000,
        "history": [{
            "state": "held", "since": "2026-11-22T10:04:07.600Z", "reason": "it was leased", "event": "port.leased",
            "lease_id": LEASE, "requester_id": REQUESTER, "name": "api", "holder": holder(), "correlation_id": "deploy-81",
            "revision": 4_711,
        }],
        "in_use": [listener()],
        "ephemeral_range": {"first": 32_768, "last": 60_999}, "next_free": 20_018,
        "verdict": "Port 20017/tcp on build-7 is held by ana@build-7 (pytest, pid 4711) as \"api\" for another 43s, unless it is \
            renewed before; pytest (pid 4711) listens there.",
        "revision": 4_711,
    })
}

fn explained_resting() -> Value {
    json!({
        "port": 20_017, "host": "build-8", "transport": "tcp", "state": "resting",
        "since": "2026-11-22T10:04:07.600Z", "until": "2026-11-22T10:05:07.600Z", "expires_in_ms": 43_000,
        "last": {
            "lease_id": LEASE, "requester_id": REQUESTER, "name": "api", "holder": holder(), "outcome": "superseded",
            "ended_at": "2026-11-22T10:04:07.600Z", "fencing_token": 4_690,
        },
        "history": null, "in_use": null, "ephemeral_range": null, "next_free": 20_018,
        "verdict": "Port 20017/tcp on build-8 cools down for another 43s: its last holder, ana@build-7 (pytest, pid 4711) as \
            \"api\", may still count on it.",
        "revision": 4_711,
    })
}

fn pool() -> Value {
    json!({
        "host": "build-7", "transport": "tcp", "ranges": [{"first": 20_000, "last": 29_999}],
        "reserved": [{"first": 22_000, "last": 22_000}], "capacity": 9_999, "held": 1, "resting": 0,
        "quarantined": 0, "free": 9_998, "description": "for builds", "revision": 4_705,
    })
}

fn tool() -> Value {
    json!({
        "name": "summarise", "version": "1.0.0", "description": "Makes a long text short.", "idempotent": true,
        "input_schema": {
            "type": "object", "required": ["text"],
            "properties": {"text": {"type": "string"}, "words": {"type": "integer", "minimum": 1}},
        },
        "output_schema": {"type": "object", "properties": {"summary": {"type": "string"}}},
    })
}

fn node() -> Value {
    json!({
        "node_id": NODE, "version": "1.2.0", "node_type": "tool", "host": "build-7", "tags": ["text"],
        "liveness": "online", "epoch": 1, "registered_at": "2026-11-22T10:04:07.600Z", "expires_in_ms": 41_200,
        "tools": 1, "trust_state": "trusted", "trust_score": 1.0,
    })
}

fn tool_item() -> Value {
    json!({
        "name": "summarise", "versions": ["1.0.0"], "providers": 1, "provider_node_ids": [NODE],
        "contract_hash": HASH, "collision": false, "tags": ["text"],
    })
}

fn bus() -> Value {
    json!({
        "bus_id": "metrics", "protocol": "redis", "endpoint_uri": "redis://build-7:20018/0", "inbound": true,
        "outbound": true, "requester_id": REQUESTER, "node_id": NODE, "active": true, "subscriber_count": null,
        "messages_per_sec": null, "health_check_passed": null, "registered_at": "2026-11-22T10:04:08.000Z",
    })
}

fn trust() -> Value {
    json!({
        "trust_state": "trusted", "trust_score": 1.0, "validated": true, "validator_ids": ["contract-checker"],
        "failure_modes": [], "registry_lifecycle": "canary", "contract_hash": HASH,
        "computed": {
            "rule": "passed / reports", "reports": 1, "passed": 1, "failed": 0, "validators": 1, "outdated": 0,
        },
    })
}

fn described_node() -> Value {
    let mut metadata = node();
    let more = json!({
        "version_hash": null, "description": "Makes long texts short.", "execution_mode": "container", "ttl": 60,
        "requester_id": REQUESTER, "expires_at": "2026-11-22T10:05:07.600Z",
        "last_heartbeat_at": "2026-11-22T10:04:07.600Z", "health": {"queue": 0}, "capabilities": null,
        "graph_binding": null, "owned_by_agent": null, "subscribed_by_agents": [], "upstream_nodes": [],
        "downstream_nodes": [], "contract_hash": HASH, "execution_count": null, "success_rate": null,
        "last_execution_timestamp": null,
    });
    let mut offered = tool();
    let listed = json!({
        "contract_hash": HASH, "collision": false, "subject": "onex.node.v1.tool.summarise.text=2Esummariser",
    });
    for (one, more) in [(&mut metadata, more), (&mut offered, listed)] {
        if let (Some(one), Value::Object(more)) = (one.as_object_mut(), more) {
            one.extend(more);
        }
    }
    json!({
        "node_id": NODE,
        "node": metadata,
        "ports": {"inbound": [], "outbound": [], "leases": [lease()], "lease_count": 1},
        "schema": {
            "inputs": [{"name": "text", "type": "string", "required": true}], "outputs": [],
            "accepts_context": false, "modifies_state": false, "side_effects": [],
        },
        "trust": trust(),
        "tools": [offered],
        "buses": [bus()],
        "revision": 4_713,
    })
}
