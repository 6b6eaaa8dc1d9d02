//! The registry on the core that keeps its state in an ordered log, over real servers: ports. `docs/log-core.md` says what it
//! does not do yet.

// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{
    Caller, Event, Events, Holder, HolderPlan, Ledger, Nats, Registry, node, until, wish,
};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

mod harness;

const ARGS: [&str; 5] = ["--host", "here", "--no-probe", "--ports", "20000-20299"];
const HOLDERS: u32 = 12;

async fn leases(caller: &Caller) -> Vec<Value> {
    let page = caller.see("port.list", json!({})).await;
    page["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_granted_renewed_released_and_remembered() {
    let nats = Nats::start();
    let _registry = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let (requester, request) = (Uuid::new_v4(), Uuid::new_v4());
    let more = json!({"name": "api", "request_id": request, "preferred_port": 20_007});
    let lease = caller.lease(requester, more.clone()).await;
    assert_eq!(lease["port"], 20_007);
    // The same request again is the same lease; another one under its id is refused.
    assert_eq!(
        caller.lease(requester, more).await["lease_id"],
        lease["lease_id"]
    );
    let other = json!({"request_id": request, "ttl": 9});
    caller
        .refused(
            "port.lease",
            wish(requester, other),
            ErrorCode::IdempotencyMismatch,
        )
        .await;
    // The fencing token stays; the revision does not.
    let mine = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
    let renewed = caller.get("port.heartbeat", mine.clone()).await;
    assert_eq!(renewed["fencing_token"], lease["fencing_token"]);
    assert!(renewed["revision"].as_u64() > lease["revision"].as_u64());
    let all = caller
        .get("port.heartbeat", json!({"requester_id": requester}))
        .await;
    assert_eq!(all["renewed"][0]["lease_id"], lease["lease_id"]);
    let found = caller.see("port.resolve", json!({"name": "api"})).await;
    assert_eq!(found["items"][0]["port"], 20_007);
    let pools = caller.see("pool.list", json!({})).await;
    assert_eq!(pools["items"][0]["held"], 1);
    assert_eq!(pools["items"][0]["free"], 299);
    let stranger = json!({"requester_id": Uuid::new_v4(), "lease_id": lease["lease_id"]});
    caller
        .refused("port.release", stranger, ErrorCode::NotHolder)
        .await;
    let released = caller.get("port.release", mine.clone()).await;
    assert_eq!(released["status"], "released");
    caller
        .refused("port.heartbeat", mine, ErrorCode::LeaseExpired)
        .await;
    let again = caller.lease(requester, json!({"name": "api"})).await;
    assert_eq!(again["port"], 20_007);
    assert!(again["fencing_token"].as_u64() > lease["fencing_token"].as_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_another_program_uses_is_not_granted() {
    let nats = Nats::start();
    let (listener, port) = loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if port < u16::MAX - 8 {
            break (listener, port);
        }
    };
    let ports = format!("{port}-{}", port + 8);
    let _registry = Registry::on(&nats, &["--host", "here", "--ports", &ports]);
    let caller = Caller::connect(&nats.url()).await;
    let prefers = |exact: bool| json!({"preferred_port": port, "exact": exact});
    let refused = caller
        .refused(
            "port.lease",
            wish(Uuid::new_v4(), prefers(true)),
            ErrorCode::PortUnavailable,
        )
        .await;
    assert_eq!(refused.detail("state"), "in_use");
    let lease = caller.lease(Uuid::new_v4(), prefers(false)).await;
    assert_ne!(lease["port"], port);
    assert_eq!(lease["availability"], "verified");
    drop(listener);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_grant_every_port_once() {
    let nats = Nats::start();
    let args = ["--host", "here", "--no-probe", "--ports", "20000-20049"];
    let _instances = [Registry::on(&nats, &args), Registry::on(&nats, &args)];
    let mut racing = JoinSet::new();
    for _ in 0..64 {
        let caller = Caller::connect(&nats.url()).await;
        racing.spawn(async move {
            caller
                .ask("port.lease", wish(Uuid::new_v4(), json!({})))
                .await
        });
    }
    let mut ports = BTreeSet::new();
    for answer in racing.join_all().await {
        match answer {
            Ok(lease) => assert!(ports.insert(lease["port"].as_u64().unwrap()), "{lease:#}"),
            Err(refused) => assert!(refused.is(ErrorCode::ResourceExhausted), "{refused:?}"),
        }
    }
    assert_eq!(ports.len(), 50);
    let caller = Caller::connect(&nats.url()).await;
    for one in caller.micro("STATS").await {
        let endpoints = one["endpoints"].as_array().unwrap().clone();
        let of_lease = endpoints
            .iter()
            .find(|one| one["name"] == "port-lease")
            .unwrap();
        assert!(
            of_lease["num_requests"].as_u64().unwrap() > 0,
            "{of_lease:#}"
        );
    }
}

/// Holders at work while instances and the server are killed and frozen: what counts is what the holders believe.
#[tokio::test(flavor = "multi_thread")]
async fn kills_and_pauses_give_no_port_to_two_holders() {
    let mut nats = Nats::start();
    let mut instances = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let caller = Caller::connect(&nats.url()).await;
    let requester = Uuid::new_v4();
    let kept = caller.lease(requester, json!({})).await;
    let ledger = Arc::new(Ledger::default());
    let stop = Arc::new(AtomicBool::new(false));
    let mut holders = JoinSet::new();
    for n in 0..HOLDERS {
        let plan = HolderPlan {
            ttl: 1 + u64::from(n) % 3,
            renewals: n % 4,
            pace: Duration::from_millis(20 + 15 * (u64::from(n) % 5)),
            releases: n % 4 != 3,
            more: json!({"name": "api"}),
        };
        holders.spawn(Holder::new(&caller, &ledger, plan, &stop).run());
    }
    for round in 0..9 {
        let wanted = ledger.counted("leased") + 30;
        until("the load to go on", async || {
            (ledger.counted("leased") >= wanted).then_some(())
        })
        .await;
        match round % 3 {
            0 => {
                instances[0].kill();
                instances[0] = Registry::on(&nats, &ARGS);
            }
            1 => {
                instances[1].pause();
                tokio::time::sleep(Duration::from_millis(3_500)).await;
                instances[1].resume();
            }
            _ => {
                nats.kill();
                nats.start_again();
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = holders.join_next().await {
        ended.unwrap();
    }
    println!(
        "{:?}, longest pause {:?}",
        ledger.counts(),
        ledger.longest_pause()
    );
    ledger.check();
    let mine = json!({"requester_id": requester, "lease_id": kept["lease_id"]});
    assert_eq!(
        caller.get("port.heartbeat", mine).await["port"],
        kept["port"]
    );
    until("what nobody gave back to end", async || {
        (leases(&caller).await.len() == 1).then_some(())
    })
    .await;
}

/// What became of one lease is told in order, once, and goes on where a killed instance stopped.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_told_once_and_in_order_whoever_publishes() {
    let nats = Nats::start();
    let caller = Caller::connect(&nats.url()).await;
    let mut expected = 0;
    for _ in 0..3 {
        let mut instances = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
        for n in 0..40 {
            let requester = Uuid::new_v4();
            let lease = caller.lease(requester, json!({"ttl": 600})).await;
            expected += 1;
            if n % 2 == 0 {
                let mine = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
                caller.get("port.release", mine).await;
                expected += 1;
            }
            if n == 20 {
                instances[0].kill();
            }
        }
        // The other one takes over, with what was not out yet.
        until("all events", async || {
            (Events::read(&caller).await.0.len() >= expected).then_some(())
        })
        .await;
        instances[1].kill();
    }
    let events = Events::read(&caller).await;
    assert_eq!(events.0.len(), expected);
    assert_eq!(events.check().len(), 60);
    let ids: Vec<(u64, u64)> = events.0.iter().map(event_id).collect();
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
}

/// The revision of an event's command, and its place among that command's events.
fn event_id(event: &Event) -> (u64, u64) {
    let id = event.headers.get("ce-id").unwrap().as_str();
    let (revision, index) = id.split_once('.').unwrap();
    assert_eq!(event.body["revision"], revision.parse::<u64>().unwrap());
    (revision.parse().unwrap(), index.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_reads_everything_again() {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let mut before = Vec::new();
    for n in 0..40 {
        before.push(
            caller
                .lease(
                    Uuid::new_v4(),
                    json!({"ttl": 600, "labels": [format!("n{n}")]}),
                )
                .await,
        );
    }
    registry.kill();
    let mut registry = Registry::on(&nats, &ARGS);
    let after = leases(&caller).await;
    assert_eq!(after.len(), before.len());
    for lease in &before {
        let same = |other: &&Value| other["lease_id"] == lease["lease_id"];
        let other = after.iter().find(same).unwrap();
        for member in ["port", "fencing_token", "granted_at", "labels", "ttl"] {
            assert_eq!(other[member], lease[member]);
        }
    }
    // A drain answers and ends.
    registry.terminate();
    assert!(registry.ended().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_started_with_other_settings_than_the_store_has_says_both_and_stops() {
    let nats = Nats::start();
    let _registry = Registry::on(&nats, &ARGS);
    let mut other = Registry::spawn_on(&nats, &["--host", "there", "--ports", "30000-30009"]);
    let (status, log) = other.ended();
    assert!(!status.success(), "{log}");
    for value in [
        "ports_default",
        "20000",
        "20299",
        "30000",
        "30009",
        "onex settings set",
    ] {
        assert!(log.contains(value), "{value}: {log}");
    }
    // What is not said may differ: the store has it.
    let _third = Registry::on(&nats, &["--host", "there", "--no-probe"]);
}

/// A flood of anything else takes no place of what keeps a lease or a node.
#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_are_never_refused_because_others_ask_for_much() {
    let registry = Registry::start(&["--host", "here", "--no-probe", "--in-flight-max", "4"]);
    let caller = Caller::of(&registry).await;
    let requester = Uuid::new_v4();
    let lease = caller.lease(requester, json!({"ttl": 5})).await;
    let register = node(requester, "a", json!({"ttl": 5}));
    caller.get("node.register", register).await;
    let flood = (0..64).map(|_| {
        let caller = caller.clone();
        tokio::spawn(async move {
            let mut busy = 0;
            for _ in 0..200 {
                let wish = json!({"requester_id": Uuid::new_v4(), "protocol": "tcp", "ttl": 5});
                let refused = caller.ask("port.lease", wish).await.err();
                busy += usize::from(refused.is_some_and(|refused| refused.is(ErrorCode::Busy)));
            }
            busy
        })
    });
    let flood: Vec<_> = flood.collect();
    let upkeep = async {
        let mut kept = 0;
        while !flood.iter().all(tokio::task::JoinHandle::is_finished) {
            let body = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
            caller.get("port.heartbeat", body).await;
            let body = json!({"requester_id": requester, "node_id": "a", "epoch": 1});
            caller.get("node.heartbeat", body).await;
            kept += 1;
        }
        kept
    };
    let kept = upkeep.await;
    let mut refused = 0;
    for task in flood {
        refused += task.await.unwrap();
    }
    assert!(kept > 0 && refused > 0, "{kept} kept, {refused} refused");
}
