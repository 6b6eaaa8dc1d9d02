//! Another port for one of a lease, when it cannot be used.

use std::net::TcpListener;

use crate::harness::{Caller, Events, Nats, Registry, UNTRIED, node};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

fn ports(lease: &Value) -> Vec<u64> {
    let ports = lease["ports"].as_array().unwrap().iter();
    ports.map(|port| port.as_u64().unwrap()).collect()
}

fn rebind(requester: Uuid, lease: &Value, port: &Value) -> Value {
    json!({"requester_id": requester, "lease_id": lease["lease_id"], "port": port})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_keeps_everything_but_the_port_that_it_gives_up() {
    let nats = Nats::start();
    let ports_here = [&UNTRIED[..], &["--ports", "20000-20009"]].concat();
    let (one, other) = (
        Registry::on(&nats, &ports_here),
        Registry::on(&nats, &ports_here),
    );
    let caller = Caller::of(&one).await;
    let me = Uuid::new_v4();
    let wanted = json!({
        "count": 3, "contiguous": true, "transport": "both", "name": "api", "ttl": 300, "labels": ["team: blue"],
        "requested_at": "2026-01-01T00:00:00Z",
        "holder": {"user": "ana", "host": "build-7", "pid": 7, "command": "pytest"},
    });
    let lease = caller.lease(me, wanted).await;
    let (first, kept) = (&lease["port"], &ports(&lease)[1..]);

    let request_id = Uuid::new_v4();
    let mut body = rebind(me, &lease, first);
    body["request_id"] = json!(request_id);
    body["reason"] = json!("the old one stopped answering");
    let after = caller.get("port.rebind", body.clone()).await;
    assert_eq!(after["lease_id"], lease["lease_id"]);
    assert_eq!(after["name"], "api");
    assert_eq!(&ports(&after)[1..], kept);
    assert_ne!(after["port"], *first);
    assert_eq!(after["transports"], json!(["tcp", "udp"]));
    assert_eq!(after["availability"], "unverified");
    assert_eq!(after["fencing_token"], after["revision"]);
    assert!(after["fencing_token"].as_u64() > lease["fencing_token"].as_u64());

    // The same again, wherever it arrives and whatever came between, does nothing more.
    let mine =
        json!({"requester_id": me, "lease_id": lease["lease_id"], "request_id": Uuid::new_v4()});
    caller.get("port.heartbeat", mine).await;
    for _ in 0..8 {
        let again = caller.get("port.rebind", body.clone()).await;
        assert_eq!(again["ports"], after["ports"]);
        assert_eq!(again["fencing_token"], after["fencing_token"]);
    }
    let renewed = json!({"requester_id": me, "lease_id": lease["lease_id"]});
    let renewed = caller.get("port.heartbeat", renewed).await;
    assert_eq!(renewed["ports"], after["ports"]);
    let found = caller.see("port.resolve", json!({"name": "api"})).await;
    assert_eq!(found["items"][0]["ports"], after["ports"]);
    // In both port spaces nobody gets it.
    for transport in ["tcp", "udp"] {
        let exact = json!({
            "requester_id": Uuid::new_v4(), "protocol": "http", "transport": transport, "preferred_port": first,
            "exact": true,
        });
        let refused = caller.refused("port.lease", exact, ErrorCode::PortUnavailable);
        let refused = refused.await;
        assert_eq!(refused.detail("state"), "quarantined", "{transport}");
        // Whoever was not told yet may count on it for the whole TTL, which nobody cuts short.
        let left = refused.detail("expires_in_ms").as_u64().unwrap();
        assert!((290_000..=301_000).contains(&left), "{left}");
        let lift = json!({"port": first, "transport": transport, "reason": "it is needed"});
        let refused = caller.refused("admin.port.unquarantine", lift, ErrorCode::PortUnavailable);
        let refused = refused.await;
        let message = refused.error["message"].as_str().unwrap();
        assert!(
            message.contains("was given up for another one"),
            "{message}"
        );
    }

    body["port"] = after["port"].clone();
    caller
        .refused("port.rebind", body, ErrorCode::IdempotencyMismatch)
        .await;
    let not_its = rebind(me, &lease, first);
    let refused = caller.refused("port.rebind", not_its, ErrorCode::InvalidRequest);
    assert_eq!(refused.await.detail("pointer"), "/port");
    let nobodys = rebind(Uuid::new_v4(), &lease, &after["port"]);
    caller
        .refused("port.rebind", nobodys, ErrorCode::NotHolder)
        .await;
    let none = json!({"lease_id": Uuid::new_v4()});
    caller
        .refused(
            "port.rebind",
            rebind(me, &none, first),
            ErrorCode::LeaseNotFound,
        )
        .await;

    let events = Events::published(&caller).await;
    let moved = events.of_kind("port.rebound");
    assert_eq!(moved.len(), 1);
    let moved = &moved[0].body;
    assert_eq!(moved["old_port"], *first);
    assert_eq!(moved["reason"], "the old one stopped answering");
    assert_eq!(moved["ports"], after["ports"]);
    assert_eq!(moved["revision"], after["revision"]);
    assert_eq!(moved["lease_id"], lease["lease_id"]);

    let mine = json!({"requester_id": me, "lease_id": lease["lease_id"]});
    caller.get("port.release", mine).await;
    caller
        .refused(
            "port.rebind",
            rebind(me, &lease, &after["port"]),
            ErrorCode::LeaseExpired,
        )
        .await;
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_other_port_is_free_the_lease_keeps_its_own() {
    let registry = Registry::start(&[&UNTRIED[..], &["--ports", "20000-20002"]].concat());
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let others = json!({"preferred_port": 20_002, "exact": true, "ttl": 600});
    let others = caller.lease(Uuid::new_v4(), others).await;
    let lease = caller.lease(me, json!({"count": 2})).await;
    let body = rebind(me, &lease, &lease["port"]);
    let refused = caller.refused("port.rebind", body.clone(), ErrorCode::ResourceExhausted);
    let refused = refused.await;
    assert!(refused.retryable());
    // Its own end is nothing to wait for, though it comes first.
    let next = refused.detail("next");
    assert_eq!(next["port"], others["port"], "{next}");
    let mine = json!({"requester_id": me, "lease_id": lease["lease_id"]});
    let kept = caller.get("port.heartbeat", mine).await;
    assert_eq!(kept["ports"], lease["ports"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_port_is_tried_and_another_one_taken_where_it_is_in_use() {
    let registry = Registry::start(&["--host", "here", "--ports", "19220-19225"]);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    let lease = caller
        .lease(me, json!({"preferred_port": 19_220, "exact": true}))
        .await;
    // Of the others only one can be bound.
    let strangers = [19_221, 19_222, 19_224, 19_225];
    let strangers = strangers.map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let after = caller
        .get("port.rebind", rebind(me, &lease, &lease["port"]))
        .await;
    assert_eq!(after["port"], 19_223);
    assert_eq!(after["availability"], "verified");
    assert_eq!(after["verified_on"], "here");
    assert_eq!(after.get("warnings"), None);
    drop(strangers);

    // Where all others are quarantined by now, or in use, the lease has one that cannot be used, and that is said.
    let other = Uuid::new_v4();
    let blocked = Registry::start(&["--host", "here", "--ports", "19226-19227"]);
    let caller = Caller::of(&blocked).await;
    let lease = caller
        .lease(other, json!({"preferred_port": 19_226, "exact": true}))
        .await;
    let _stranger = TcpListener::bind(("127.0.0.1", 19_227)).unwrap();
    let after = caller
        .get("port.rebind", rebind(other, &lease, &lease["port"]))
        .await;
    assert_eq!(after["port"], 19_227);
    assert_eq!(after["availability"], "unverified");
    assert_eq!(after["warnings"][0]["code"], "PORT_IN_USE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_and_a_bus_are_at_the_new_port_at_the_same_revision() {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    let me = Uuid::new_v4();
    caller
        .get("node.register", node(me, "cache", json!({})))
        .await;
    let lease = caller.lease(me, json!({"node_id": "cache"})).await;
    let (lease_id, port) = (&lease["lease_id"], &lease["port"]);
    let uri = |port: &Value| format!("redis://here:{port}/0");
    let inbound = json!([
        {"name": "main", "port": port, "protocol": "redis", "lease_id": lease_id, "endpoint_uri": uri(port)},
        {"name": "fixed", "port": 6379, "protocol": "redis"},
    ]);
    let announced = json!({"epoch": 1, "inbound_ports": inbound});
    caller
        .get("node.register", node(me, "cache", announced))
        .await;
    let bus = json!({
        "bus_id": "metrics", "requester_id": me, "protocol": "redis", "endpoint_uri": uri(port), "lease_id": lease_id,
    });
    caller.get("bus.register", bus).await;

    let after = caller.get("port.rebind", rebind(me, &lease, port)).await;
    let new = &after["port"];
    assert_ne!(new, port);
    let ports = caller.describe("cache", &["ports"]).await;
    let inbound = &ports["ports"]["inbound"];
    assert_eq!(inbound[0]["port"], *new);
    assert_eq!(inbound[0]["endpoint_uri"], uri(new));
    assert_eq!(inbound[1]["port"], 6379);
    let buses = caller.get("bus.list", json!({})).await;
    assert_eq!(buses["items"][0]["endpoint_uri"], uri(new));

    let events = Events::published(&caller).await;
    for (kind, member, name) in [
        ("node.registered", "node_id", "cache"),
        ("bus.registered", "bus_id", "metrics"),
    ] {
        let told = events.of_kind(kind);
        let last = &told.last().unwrap().body;
        assert_eq!(last[member], name);
        assert_eq!(last["revision"], after["revision"], "{kind}");
    }
}
