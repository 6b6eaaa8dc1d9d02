//! Ports that are tried by whoever runs on their host: an agent, or another instance.

use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use crate::harness::{Caller, Nats, Registry, UNTRIED, until};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

/// Longer than an instance waits for what is found elsewhere, and shorter than anything else that could be waited for.
const SOON: Duration = Duration::from_millis(1_500);

/// So many requests in a row do not all go to the same one of two instances, but once in a million times.
const IN_A_ROW: usize = 20;

/// An instance that is not on the network of its host.
fn instance(nats: &Nats, ports: &str) -> Registry {
    Registry::on(nats, &[&UNTRIED[..], &["--ports", ports]].concat())
}

async fn lease_there(caller: &Caller, more: Value) -> Value {
    let mut wanted = json!({"host": "there"});
    let members = wanted.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    caller.lease(Uuid::new_v4(), wanted).await
}

/// Waits until ports there are tried.
async fn until_tried(caller: &Caller) {
    until_tried_in(caller, "tcp").await;
}

async fn until_tried_in(caller: &Caller, transport: &str) {
    until("ports to be tried", async || {
        let lease = lease_there(caller, json!({"transport": transport})).await;
        let mine = json!({"requester_id": lease["requester_id"], "lease_id": lease["lease_id"]});
        caller.get("port.release", mine).await;
        (lease["availability"] == "verified").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_tries_the_ports_of_its_host() {
    let nats = Nats::start();
    let registry = instance(&nats, "19240-19247");
    let caller = Caller::of(&registry).await;
    let before = lease_there(&caller, json!({"preferred_port": 19_240, "exact": true})).await;
    assert_eq!(before["availability"], "unverified");
    assert_eq!(before.get("verified_on"), None);

    let mut agent = Registry::agent(&nats, "there");
    until_tried(&caller).await;
    let strangers = [19_241, 19_242, 19_243];
    let strangers = strangers.map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let _udp = UdpSocket::bind("127.0.0.1:19244").unwrap();
    let exact = json!({
        "requester_id": Uuid::new_v4(), "protocol": "http", "host": "there", "preferred_port": 19_241, "exact": true,
    });
    let refused = caller.refused("port.lease", exact, ErrorCode::PortUnavailable);
    assert_eq!(refused.await.detail("state"), "in_use");

    // It says who that is, too.
    let asked = json!({"port": 19_243, "host": "there"});
    let seen = caller.see("port.explain", asked.clone()).await;
    assert_eq!(seen["state"], "in_use", "{seen}");
    assert_eq!(seen["in_use"][0]["pid"], std::process::id());
    assert!(seen["next_free"].as_u64() > Some(19_243), "{seen}");

    // Of a set the worst port counts: 19244 is free in one port space only.
    let set = json!({"count": 2, "contiguous": true, "transport": "both"});
    let lease = lease_there(&caller, set).await;
    assert!(lease["ports"][0].as_u64() > Some(19_244), "{lease}");
    assert_eq!(lease["availability"], "verified");
    assert_eq!(lease["verified_on"], "there");

    // What a lease gets in exchange is tried, too.
    drop(strangers);
    let stranger = TcpListener::bind(("127.0.0.1", 19_242)).unwrap();
    let one = lease_there(&caller, json!({})).await;
    let rebind = json!({
        "requester_id": one["requester_id"], "lease_id": one["lease_id"], "port": one["port"],
    });
    let after = caller.get("port.rebind", rebind).await;
    assert_ne!(after["port"], 19_242);
    assert_eq!(after["verified_on"], "there");
    drop(stranger);

    // One that stands still holds nobody up for long, and one that is gone for less.
    agent.pause();
    let since = Instant::now();
    let transport = json!({"transport": "udp"});
    let unsure = lease_there(&caller, transport.clone()).await;
    assert_eq!(unsure["availability"], "unverified");
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    agent.resume();
    until_tried_in(&caller, "udp").await;
    agent.kill();
    let unseen = caller.see("port.explain", asked).await;
    assert_eq!(unseen["in_use"], json!(null));
    let since = Instant::now();
    let unsure = lease_there(&caller, transport).await;
    assert_eq!(unsure["availability"], "unverified");
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_try_the_ports_of_their_hosts_for_each_other() {
    let nats = Nats::start();
    // On one machine, so the other one must not say which that is.
    let registry = instance(&nats, "19250-19253");
    let there = Registry::on(&nats, &["--host", "there", "--ports", "19250-19253"]);
    let caller = Caller::of(&registry).await;
    let stranger = TcpListener::bind("127.0.0.1:19250").unwrap();
    until(
        "ports to be tried, whichever of the two answers",
        async || {
            let mut verified = 0;
            for _ in 0..IN_A_ROW {
                let lease = lease_there(&caller, json!({})).await;
                let own =
                    json!({"requester_id": lease["requester_id"], "lease_id": lease["lease_id"]});
                caller.get("port.release", own).await;
                if lease["verified_on"] == "there" {
                    assert_ne!(lease["port"], 19_250);
                    verified += 1;
                }
            }
            (verified == IN_A_ROW).then_some(())
        },
    )
    .await;
    drop((stranger, there));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_has_the_ports_of_its_machine_tried() {
    let nats = Nats::start();
    let registry = instance(&nats, "19255-19259");
    let _agent = Registry::agent(&nats, "here");
    let caller = Caller::of(&registry).await;
    let lease = until("its own ports to be tried", async || {
        let lease = caller.lease(Uuid::new_v4(), json!({})).await;
        let mine = json!({"requester_id": lease["requester_id"], "lease_id": lease["lease_id"]});
        caller.get("port.release", mine).await;
        (lease["availability"] == "verified").then_some(lease)
    });
    assert_eq!(lease.await["verified_on"], "here");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_outlives_its_server_and_refuses_another_name_of_a_machine() {
    let mut nats = Nats::start();
    let registry = instance(&nats, "19260-19269");
    let caller = Caller::of(&registry).await;
    let _agent = Registry::agent(&nats, "there");
    until_tried(&caller).await;
    nats.kill();
    nats.start_again();
    caller.await_answer().await;
    until_tried(&caller).await;

    let (status, said) = Registry::spawn_agent(&nats, &["--host", "elsewhere"]).ended();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("--host there"), "{said}");
}
