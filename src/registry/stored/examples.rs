//! Examples of what is stored.

use serde_json::{Value, json};

const LEASE: &str = "0198f3a0-7d10-7f3c-8a8e-6a1b2c3d4e5f";
const REQUESTER: &str = "0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21";
const INCARNATION: &str = "0198f3a0-6b2c-7d3e-8f90-a1b2c3d4e5f6";
const HASH: &str = "c2:6f1ed002ab5595859014ebf0951522d9b3c1a6f3b0d5f7e8c1d2a3b4c5d6e7f8";
const TIME: &str = "2026-11-22T10:04:07.600Z";

pub(super) fn leased_port() -> Value {
    json!({
        "status": "active", "requester_id": REQUESTER, "name": "api", "expires_at": "2026-11-22T10:05:07.600Z",
        "lease_id": LEASE, "host": "build-7", "transport": "tcp", "ports": [20_017], "protocol": "http", "ttl": 60,
        "holder": {"user": "ana", "host": "build-7", "pid": 4_711, "command": "pytest"}, "granted_at": TIME, "fencing_token": 4_711, "revision": 4_711,
    })
}

pub(super) fn ended_port() -> Value {
    json!({
        "status": "released", "requester_id": REQUESTER, "name": "api", "ended_at": TIME, "lease_id": LEASE,
        "host": "build-7", "transport": "tcp", "port": 20_017, "fencing_token": 4_711, "revision": 4_802,
    })
}

pub(super) fn shown_node() -> Value {
    json!({
        "node_id": "text.summariser", "version": "1.2.0", "node_type": "tool", "tags": ["text"], "host": "build-7",
        "contract_hash": HASH, "revision": 4_711,
        "tools": [{
            "name": "summarise", "version": "1.0.0", "contract_hash": HASH, "idempotent": true,
            "subject": "onex.node.v1.tool.summarise.text=2Esummariser", "input_schema": {"type": "object"},
            "output_schema": true,
        }],
    })
}

pub(super) fn shown_live() -> Value {
    json!({
        "liveness": "online", "node_id": "text.summariser", "requester_id": REQUESTER,
        "expires_at": "2026-11-22T10:05:07.600Z", "epoch": 3, "ttl": 60, "registered_at": TIME, "revision": 4_720,
    })
}

/// A lease that is granted while others are renewed; and an entry of a log that has just been made.
pub(super) fn entries() -> Vec<Value> {
    let granted = json!({
        "rev": 4_709, "at": TIME,
        "cmds": [
            "port.build-7.tcp.20018",
            "live.text=2Esummariser",
            {"c": "port.lease", "x": "deploy-81", "by": REQUESTER, "do": [{
                "put": "port.build-7.tcp.20017", "tentative": true,
                "lease": {
                    "lease_id": LEASE, "requester_id": REQUESTER, "protocol": "http", "ttl": 60, "ports": [20_017],
                    "transports": ["tcp"], "name": "api", "granted_at": TIME, "fence": 4_711,
                },
                "ev": {"kind": "port.leased", "n": 1},
            }]},
            {"c": "node.heartbeat", "by": REQUESTER, "do": [{
                "renew": "live.text=2Echecker", "health": {"queue": 3},
            }]},
        ],
    });
    let snapshot = json!({
        "rev": 4_713, "at": TIME,
        "cmds": [{"c": "snapshot", "do": [{"chunk": {
            "snapshot": INCARNATION, "n": 0, "last": true,
            "records": [{
                "key": "sys.store", "rev": 1, "at": TIME,
                "record": {"store": {"store_id": INCARNATION, "created_at": TIME}},
            }],
        }}]}],
    });
    vec![granted, snapshot]
}
