//! Registries on a cluster of NATS servers: how many copies of the bucket there are, who may start when, and what is advised.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;

use crate::harness::{Caller, Nats, Refused, Registry, lease_request, until};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];

async fn replicas(caller: &Caller, stream: &str) -> usize {
    let context = async_nats::jetstream::new(caller.client.clone());
    let stream = context.get_stream(stream).await.unwrap();
    stream.cached_info().config.num_replicas
}

#[tokio::test(flavor = "multi_thread")]
async fn three_instances_that_start_at_once_on_a_fresh_cluster_all_start() {
    let servers = Nats::cluster(3);
    let started = servers.iter().map(|nats| Registry::spawn_on(nats, &ARGS));
    let mut registries: Vec<Registry> = started.collect();
    for registry in &mut registries {
        registry.await_ready();
    }
    let caller = Caller::connect(&servers[0].url()).await;
    caller.lease(Uuid::new_v4(), json!({})).await;
    assert_eq!(replicas(&caller, "KV_onex-registry").await, 3);
    assert_eq!(replicas(&caller, "ONEX_REGISTRY_EVENTS").await, 3);
    let said: String = registries.iter().map(Registry::said).collect();
    assert!(
        said.contains("created stream stream=\"KV_onex-registry\" replicas=3"),
        "{said}"
    );
    // One more takes what is there, and one that says another number is told which flag says it.
    let _more = Registry::on(&servers[1], &ARGS);
    let refusal = Registry::spawn_on(&servers[2], &["--replicas", "1"]).refusal();
    for word in [
        "num_replicas 3",
        "--replicas 1",
        "--replicas 3",
        "ONEX_REPLICAS=3",
    ] {
        assert!(refusal.contains(word), "{refusal}");
    }
    assert!(!refusal.to_lowercase().contains("remove"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_instances_that_say_how_many_copies_all_start_too() {
    let servers = Nats::cluster(3);
    let args = [&ARGS[..], &["--replicas", "3"]].concat();
    let started = servers.iter().map(|nats| Registry::spawn_on(nats, &args));
    let mut registries: Vec<Registry> = started.collect();
    for registry in &mut registries {
        registry.await_ready();
    }
    let caller = Caller::connect(&servers[0].url()).await;
    assert_eq!(replicas(&caller, "KV_onex-registry").await, 3);
}

/// Whoever comes a moment later finds what the first has begun: a stream that not all servers know of yet, and a log that
/// had no message just now.
#[tokio::test(flavor = "multi_thread")]
async fn instances_that_start_at_once_in_a_new_namespace_all_start() {
    const NAMESPACES: usize = 6;
    let servers = Nats::cluster(3);
    let _first = Registry::on(&servers[0], &ARGS);
    for n in 0..NAMESPACES {
        let name = format!("n{n}");
        // Of one machine, so each grants other ports.
        let ports = format!("{}-{}", 9_000 + n * 10, 9_009 + n * 10);
        let more = ["--namespace", &name, "--ports", &ports];
        // All of them fit on a small disk.
        let small = [
            "--store-bytes-max",
            "134217728",
            "--events-bytes-max",
            "16777216",
        ];
        let more = [&ARGS[..], &more, &small].concat();
        let started = servers.iter().map(|nats| Registry::spawn_on(nats, &more));
        let mut registries: Vec<Registry> = started.collect();
        for registry in &mut registries {
            registry.await_ready();
        }
        let mut caller = Caller::connect(&servers[1].url()).await;
        caller.prefix = format!("onex.{name}.registry.v1");
        caller.lease(Uuid::new_v4(), json!({})).await;
    }
}

/// What docs/operations.md says of a server that fails: how long until a lease is granted and in the log again. An instance
/// that is just starting waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn requests_go_on_when_the_server_that_leads_the_log_is_killed() {
    const ROUNDS: usize = 3;
    const OUTAGE_MAX: Duration = Duration::from_secs(15);
    const STARTS: usize = 8;
    const START_INTERVAL: Duration = Duration::from_millis(50);
    let mut servers = Nats::cluster(3);
    let urls: Vec<String> = servers.iter().map(Nats::url).collect();
    let all = urls.join(",");
    let args = [&["--nats", &all], &ARGS[..]].concat();
    let mut registries = [Registry::spawn(&args), Registry::spawn(&args)];
    for registry in &mut registries {
        registry.await_ready();
    }
    let mut outages = Vec::new();
    for _ in 0..ROUNDS {
        let scout = Caller::connect(&servers[0].url()).await;
        let context = async_nats::jetstream::new(scout.client.clone());
        let log = context.get_stream("KV_onex-registry").await.unwrap();
        let leader = log.cached_info().cluster.as_ref().unwrap().leader.clone();
        let leader: usize = leader.unwrap().strip_prefix('n').unwrap().parse().unwrap();
        let caller = Caller::connect(&servers[(leader + 1) % 3].url()).await;
        let kept = caller.lease(Uuid::new_v4(), json!({"ttl": 600})).await;
        let context = async_nats::jetstream::new(caller.client.clone());
        // The server is killed in another part of the start of each.
        let mut starting = Vec::new();
        for _ in 0..STARTS {
            let other = servers[(leader + 2) % 3].url();
            starting.push(Registry::spawn(&[&["--nats", &other], &ARGS[..]].concat()));
            tokio::time::sleep(START_INTERVAL).await;
        }
        let killed = Instant::now();
        servers[leader].kill();
        let granted = until("a lease to be granted", async || {
            let patience = Duration::from_secs(2);
            let body = lease_request(Uuid::new_v4(), json!({"ttl": 600})).to_string();
            let reply = caller.send("port.lease", HeaderMap::new(), body, patience);
            reply.await.ok()?.outcome().ok()
        })
        .await;
        outages.push(killed.elapsed());
        assert!(granted["fencing_token"].as_u64() > kept["fencing_token"].as_u64());
        let mine = json!({"requester_id": kept["requester_id"], "lease_id": kept["lease_id"]});
        let renewed = caller.get("port.heartbeat", mine).await;
        assert_eq!(renewed["fencing_token"], kept["fencing_token"]);
        for registry in &mut starting {
            registry.await_ready();
        }
        servers[leader].start_again();
        until("all servers to have all again", async || {
            let log = context.get_stream("KV_onex-registry").await.ok()?;
            let cluster = log.cached_info().cluster.clone()?;
            let current = cluster
                .replicas
                .iter()
                .filter(|it| it.current && !it.offline);
            (cluster.leader.is_some() && current.count() == 2).then_some(())
        })
        .await;
    }
    eprintln!("outages: {outages:?}");
    assert!(
        outages.iter().all(|outage| *outage < OUTAGE_MAX),
        "{outages:?}"
    );
    assert!(registries.iter_mut().all(Registry::runs));
}

/// What a request got: the port, and the revision of the answer. Nothing while nobody answers.
async fn answered(caller: &Caller, more: Value) -> Option<Result<(u64, u64), Refused>> {
    let body = lease_request(Uuid::new_v4(), more).to_string();
    let reply = caller.send("port.lease", HeaderMap::new(), body, Duration::from_secs(5));
    let outcome = reply.await.ok()?.outcome();
    let number = |lease: &Value, name: &str| lease[name].as_u64().unwrap();
    Some(outcome.map(|lease| (number(&lease, "port"), number(&lease, "revision"))))
}

/// All leases that whoever answers on that connection knows of as of that revision, by their ports.
async fn held(caller: &Caller, revision: u64) -> Vec<u64> {
    let list = json!({"limit": 1_000, "min_revision": revision});
    let page = caller.get("port.list", list).await;
    let items = page["items"].as_array().unwrap().iter();
    items.map(|lease| lease["port"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nothing_is_granted_and_with_one_all_goes_on() {
    let mut servers = Nats::cluster(3);
    let urls: Vec<String> = servers.iter().map(Nats::url).collect();
    let all = urls.join(",");
    let args = [&["--nats", &all], &ARGS[..]].concat();
    let mut registries = [Registry::spawn(&args), Registry::spawn(&args)];
    for registry in &mut registries {
        registry.await_ready();
    }
    let caller = Caller::connect(&servers[0].url()).await;
    let kept = caller.lease(Uuid::new_v4(), json!({"ttl": 600})).await;
    for server in &mut servers[1..] {
        server.kill();
    }
    let refused = until("requests to be refused", async || {
        let outcome = answered(&caller, json!({})).await?;
        Some(outcome.expect_err("a lease that no majority has"))
    })
    .await;
    assert!(
        refused.is(ErrorCode::StoreUnavailable),
        "{:#}",
        refused.error
    );
    for server in &mut servers[1..] {
        server.start_again();
    }
    let (port, _) = until("a lease to be granted", async || {
        answered(&caller, json!({"ttl": 600})).await?.ok()
    })
    .await;
    assert_ne!(json!(port), kept["port"]);
    let own = json!({"requester_id": kept["requester_id"], "lease_id": kept["lease_id"]});
    let renewed = caller.get("port.heartbeat", own).await;
    assert_eq!(renewed["fencing_token"], kept["fencing_token"]);
    assert!(registries.iter_mut().all(Registry::runs));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_whose_server_stands_still_costs_the_others_nothing() {
    let servers = Nats::cluster(3);
    let mut cut_off = Registry::on(&servers[0], &ARGS);
    let mut other = Registry::on(&servers[1], &ARGS);
    let (here, there) = (
        Caller::connect(&servers[0].url()).await,
        Caller::connect(&servers[1].url()).await,
    );
    let mut granted = Vec::new();
    for caller in [&here, &there] {
        let lease = caller.lease(Uuid::new_v4(), json!({"ttl": 600})).await;
        granted.push(lease["port"].as_u64().unwrap());
    }
    servers[0].pause();
    for _ in 0..5 {
        let port = until("a lease to be granted", async || {
            answered(&there, json!({"ttl": 600})).await?.ok()
        });
        granted.push(port.await.0);
    }
    servers[0].resume();
    let last = until("the one that was cut off to grant again", async || {
        answered(&here, json!({"ttl": 600})).await?.ok()
    });
    let (port, revision) = last.await;
    granted.push(port);
    granted.sort_unstable();
    let (mut unique, all) = (granted.clone(), granted.len());
    unique.dedup();
    assert_eq!(unique.len(), all, "a port was granted twice: {granted:?}");
    // A grant of which nobody heard may be there besides.
    for caller in [&here, &there] {
        let held = held(caller, revision).await;
        assert!(granted.iter().all(|port| held.contains(port)), "{held:?}");
    }
    assert!(cut_off.runs() && other.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_two_has_two_copies() {
    let servers = Nats::cluster(2);
    let registry = Registry::on(&servers[0], &ARGS);
    let caller = Caller::connect(&servers[0].url()).await;
    assert_eq!(replicas(&caller, "KV_onex-registry").await, 2);
    assert!(
        registry.said().contains("replicas=2"),
        "{}",
        registry.said()
    );
    let refusal = Registry::spawn_on(
        &servers[1],
        &[
            "--namespace",
            "x",
            "--ports",
            "9000-9001",
            "--replicas",
            "3",
        ],
    );
    let refusal = refusal.refusal();
    for word in ["3 copies", "--replicas"] {
        assert!(refusal.contains(word), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_has_one_copy_and_cannot_have_more() {
    let nats = Nats::start();
    let refusal = Registry::spawn_on(&nats, &["--replicas", "3"]).refusal();
    for word in ["3 copies", "--replicas"] {
        assert!(refusal.contains(word), "{refusal}");
    }
    let _registry = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    assert_eq!(replicas(&caller, "KV_onex-registry").await, 1);
    let refusal = Registry::spawn_on(&nats, &["--replicas", "3"]).refusal();
    for word in ["num_replicas 1", "--replicas 3", "--replicas 1"] {
        assert!(refusal.contains(word), "{refusal}");
    }
}
