//! Sets of ports: several ports, or one number in both port spaces, under one lease.

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};

use crate::harness::{Caller, Registry, View, lease_request};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

/// Ports that nobody tries: what other programs of this machine do does not matter.
const UNTRIED: [&str; 5] = ["--host", "here", "--no-probe", "--ports", "20000-20099"];

async fn start() -> (Registry, Caller) {
    let registry = Registry::start(&UNTRIED);
    let caller = Caller::of(&registry).await;
    (registry, caller)
}

fn ports(lease: &Value) -> Vec<u64> {
    let ports = lease["ports"].as_array().unwrap().iter();
    ports.map(|port| port.as_u64().unwrap()).collect()
}

fn follow_one_another(ports: &[u64]) -> bool {
    ports.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_one_lease() {
    let (_registry, caller) = start().await;
    let me = Uuid::new_v4();
    let lease = caller.lease(me, json!({"count": 3, "name": "api"})).await;
    let held: BTreeSet<u64> = ports(&lease).into_iter().collect();
    assert_eq!(held.len(), 3);
    assert_eq!(lease["port"], ports(&lease)[0]);
    assert_eq!(lease.get("transports"), None);

    // Nobody else gets any of them, and each leads to the lease.
    for port in &held {
        let exact = json!({"preferred_port": port, "exact": true});
        let request = lease_request(Uuid::new_v4(), exact);
        let refused = caller.refused("port.lease", request, ErrorCode::PortUnavailable);
        assert_eq!(refused.await.detail("state"), "held");
        let page = caller.get("port.list", json!({"port": port})).await;
        assert_eq!(page["items"][0]["lease_id"], lease["lease_id"], "{port}");
        assert_eq!(page["items"].as_array().unwrap().len(), 1);
    }
    let found = caller.get("port.resolve", json!({"name": "api"})).await;
    assert_eq!(found["items"][0]["ports"], lease["ports"]);

    let own = json!({"requester_id": me, "lease_id": lease["lease_id"]});
    let renewed = caller.get("port.heartbeat", own.clone()).await;
    assert_eq!(renewed["ports"], lease["ports"]);
    assert_eq!(renewed["fencing_token"], lease["fencing_token"]);
    caller.get("port.release", own).await;
    for port in held {
        let exact = json!({"preferred_port": port, "exact": true});
        caller.lease(Uuid::new_v4(), exact).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_are_found_wherever_they_are() {
    let (_registry, caller) = start().await;
    let me = Uuid::new_v4();
    // Every second port below 20036 is taken, so that 64 in a row are only from 20036 on.
    for port in (20_001..20_036).step_by(2) {
        let exact = json!({"preferred_port": port, "exact": true});
        caller.lease(Uuid::new_v4(), exact).await;
    }
    let set = json!({"count": 64, "contiguous": true});
    let lease = caller.lease(me, set.clone()).await;
    assert!(follow_one_another(&ports(&lease)) && ports(&lease)[0] >= 20_036);
    assert_eq!(ports(&lease).len(), 64);

    // No second one, though one port is free here and there; and nothing of it is kept.
    let request = lease_request(me, json!({"count": 2, "contiguous": true}));
    let refused = caller.refused("port.lease", request, ErrorCode::ResourceExhausted);
    let refused = refused.await;
    let message = refused.error["message"].as_str().unwrap();
    assert!(
        message.contains("no 2 neighbouring tcp ports of the pool of host here are free"),
        "{message}"
    );
    let two = caller.lease(me, json!({"count": 2})).await;
    assert!(!follow_one_another(&ports(&two)));

    // From a port on, if it is to be that one.
    let own = json!({"requester_id": me, "lease_id": lease["lease_id"]});
    caller.get("port.release", own).await;
    let from = json!({"count": 4, "contiguous": true, "preferred_port": 20_050, "exact": true});
    let four = caller.lease(me, from).await;
    assert_eq!(ports(&four), [20_050, 20_051, 20_052, 20_053]);
    let across = json!({"count": 4, "contiguous": true, "preferred_port": 20_048, "exact": true});
    let across = lease_request(Uuid::new_v4(), across);
    let refused = caller.refused("port.lease", across, ErrorCode::PortUnavailable);
    assert_eq!(refused.await.detail("port"), 20_050);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_number_in_both_port_spaces() {
    let (_registry, caller) = start().await;
    let me = Uuid::new_v4();
    let udp = json!({"transport": "udp", "preferred_port": 20_005, "exact": true});
    caller.lease(Uuid::new_v4(), udp).await;
    let request = json!({"transport": "both", "count": 95});
    let refused = lease_request(me, request);
    caller
        .refused("port.lease", refused, ErrorCode::InvalidRequest)
        .await;
    let lease = caller
        .lease(
            me,
            json!({"transport": "both", "count": 2, "preferred_port": 20_005, "name": "db"}),
        )
        .await;
    assert!(
        !ports(&lease).contains(&20_005),
        "it is taken in one of them"
    );
    assert_eq!(lease["transports"], json!(["tcp", "udp"]));
    assert_eq!(lease["transport"], "tcp");
    for transport in ["tcp", "udp"] {
        for port in ports(&lease) {
            let exact = json!({"transport": transport, "preferred_port": port, "exact": true});
            let request = lease_request(Uuid::new_v4(), exact);
            let refused = caller.refused("port.lease", request, ErrorCode::PortUnavailable);
            assert_eq!(refused.await.detail("state"), "held", "{port}/{transport}");
        }
    }
    let own = json!({"requester_id": me, "lease_id": lease["lease_id"]});
    let renewed = caller.get("port.heartbeat", own.clone()).await;
    let listed = caller.get("port.list", json!({"requester_id": me})).await;
    let resolved = caller.get("port.resolve", json!({"name": "db"})).await;
    for shown in [&renewed, &listed["items"][0], &resolved["items"][0]] {
        assert_eq!(shown["transports"], json!(["tcp", "udp"]), "{shown:#}");
    }
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    caller.get("port.release", own).await;
    let node = caller.register(me, "calc", json!({})).await;
    let of_node = json!({"transport": "both", "node_id": "calc", "epoch": node["epoch"]});
    caller.lease(me, of_node).await;
    let node = caller.get("describe", json!({"node_id": "calc"})).await;
    assert!(
        node.to_string().contains(r#""transports":["tcp","udp"]"#),
        "{node:#}"
    );
    let pools = caller.get("pool.list", json!({})).await;
    let held = pools["items"].as_array().unwrap().iter();
    let held: u64 = held.map(|pool| pool["held"].as_u64().unwrap()).sum();
    assert_eq!(held, 3, "one in udp alone, and one in both");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_asked_for_once_and_comes_back_under_its_name() {
    let (_registry, caller) = start().await;
    let me = Uuid::new_v4();
    let request_id = Uuid::new_v4();
    let set = json!({"count": 3, "contiguous": true, "transport": "both", "name": "db", "request_id": request_id});
    let lease = caller.lease(me, set.clone()).await;
    let again = caller.lease(me, set.clone()).await;
    assert_eq!(
        (&again["lease_id"], &again["ports"]),
        (&lease["lease_id"], &lease["ports"])
    );
    let mut other = set.clone();
    other["count"] = json!(2);
    let other = lease_request(me, other);
    caller
        .refused("port.lease", other, ErrorCode::IdempotencyMismatch)
        .await;
    let own = json!({"requester_id": me, "lease_id": lease["lease_id"]});
    caller.get("port.release", own).await;
    let mut anew = set;
    anew["request_id"] = json!(Uuid::new_v4());
    let anew = caller.lease(me, anew).await;
    assert_eq!(anew["ports"], lease["ports"]);
    assert!(anew["fencing_token"].as_u64() > lease["fencing_token"].as_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_port_of_a_set_is_tried_and_shown() {
    let ports_here = "19200-19215";
    let registry = Registry::start(&["--host", "here", "--ports", ports_here]);
    let caller = Caller::of(&registry).await;
    // In the middle of what would be granted, in either port space.
    let _tcp = TcpListener::bind("127.0.0.1:19204").unwrap();
    let _udp = UdpSocket::bind("127.0.0.1:19209").unwrap();
    let me = Uuid::new_v4();
    let set = json!({"count": 6, "contiguous": true, "transport": "both"});
    let lease = caller.lease(me, set).await;
    assert_eq!(
        ports(&lease),
        [19_210, 19_211, 19_212, 19_213, 19_214, 19_215]
    );
    assert_eq!(lease["availability"], "verified");

    let view = View::of(&caller).await;
    let first = view.until("port.here.tcp.19210", |_| true).await;
    assert_eq!(first["ports"], lease["ports"]);
    assert_eq!(first["transports"], json!(["tcp", "udp"]));
    let other = view.until("port.here.udp.19212", |_| true).await;
    assert_eq!(other["part_of"], "port.here.tcp.19210");
}
