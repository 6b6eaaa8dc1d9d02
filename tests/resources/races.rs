//! Many callers want the same at the same time, and other programs use ports that nobody leased to them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use crate::harness::{
    Caller, Events, Holder, HolderPlan, Ledger, Nats, Refused, Registry, lease_request, until,
};
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

const CALLERS: usize = 64;
const ROUNDS: usize = 8;

/// Two instances, and a caller for each of `CALLERS` with a connection of its own.
async fn two(ports: &str) -> (Nats, [Registry; 2], Vec<Caller>) {
    let nats = Nats::start();
    let args = ["--host", "here", "--no-probe", "--ports", ports];
    let instances = [Registry::on(&nats, &args), Registry::on(&nats, &args)];
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        callers.push(Caller::connect(&nats.url()).await);
    }
    (nats, instances, callers)
}

/// All at once: each caller's lease or refusal, with its requester.
async fn race(callers: &[Caller], more: &Value) -> Vec<(Uuid, Result<Value, Refused>)> {
    let mut racing = JoinSet::new();
    for caller in callers {
        let (caller, more) = (caller.clone(), more.clone());
        racing.spawn(async move {
            let requester = Uuid::new_v4();
            let answer = caller
                .ask("port.lease", lease_request(requester, more))
                .await;
            (requester, answer)
        });
    }
    racing.join_all().await
}

async fn release(caller: &Caller, requester: Uuid, lease: &Value) {
    let body = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
    caller.get("port.release", body).await;
}

/// Both instances had a part in it.
async fn both_served(caller: &Caller) {
    let stats = caller.micro("STATS").await;
    assert_eq!(stats.len(), 2);
    for one in stats {
        let endpoints = one["endpoints"].as_array().unwrap();
        let lease = endpoints
            .iter()
            .find(|one| one["name"] == "port-lease")
            .unwrap();
        assert!(lease["num_requests"].as_u64().unwrap() > 0, "{lease:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_64_gets_the_one_port() {
    let (_nats, _instances, callers) = two("20000-20099").await;
    for _ in 0..ROUNDS {
        let exact = json!({"preferred_port": 20_042, "exact": true});
        let mut winners = Vec::new();
        for (requester, answer) in race(&callers, &exact).await {
            match answer {
                Ok(lease) => winners.push((requester, lease)),
                Err(refused) if refused.is(ErrorCode::PortUnavailable) => {
                    assert_eq!(refused.detail("state"), "held");
                }
                Err(refused) => panic!("{refused:?}"),
            }
        }
        let [(requester, lease)] = winners.as_slice() else {
            panic!("{} winners: {winners:#?}", winners.len())
        };
        assert_eq!(lease["port"], 20_042);
        release(&callers[0], *requester, lease).await;
    }
    both_served(&callers[0]).await;
    assert!(Events::published(&callers[0]).await.check().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_of_64_get_the_last_eight_ports() {
    let (_nats, _instances, callers) = two("20000-20007").await;
    for _ in 0..ROUNDS {
        let mut winners = Vec::new();
        for (requester, answer) in race(&callers, &json!({})).await {
            match answer {
                Ok(lease) => winners.push((requester, lease)),
                Err(refused) => assert!(refused.is(ErrorCode::ResourceExhausted), "{refused:?}"),
            }
        }
        let ports: BTreeSet<u64> = winners
            .iter()
            .map(|(_, lease)| lease["port"].as_u64().unwrap())
            .collect();
        assert_eq!((winners.len(), ports.len()), (8, 8), "{winners:#?}");
        for (requester, lease) in &winners {
            release(&callers[0], *requester, lease).await;
        }
    }
    both_served(&callers[0]).await;
    assert!(Events::published(&callers[0]).await.check().is_empty());
}

/// Each pair is one request that went to both instances: what an impatient caller does.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_to_both_instances_gets_one_lease() {
    let (_nats, _instances, callers) = two("20000-20499").await;
    let mut twins = JoinSet::new();
    for pair in callers.chunks(4) {
        let pair = pair.to_vec();
        twins.spawn(async move {
            let mut got = Vec::new();
            for _ in 0..15 {
                let requester = Uuid::new_v4();
                let body =
                    lease_request(requester, json!({"request_id": Uuid::new_v4(), "ttl": 600}));
                // Of four it is likely that both instances get some.
                let asked = pair
                    .iter()
                    .map(|caller| caller.get("port.lease", body.clone()));
                let leases = futures::future::join_all(asked).await;
                let ids: BTreeSet<String> = leases
                    .iter()
                    .map(|lease| lease["lease_id"].to_string())
                    .collect();
                assert_eq!(ids.len(), 1, "{leases:#?}");
                let ports: BTreeSet<u64> = leases
                    .iter()
                    .map(|lease| lease["port"].as_u64().unwrap())
                    .collect();
                assert_eq!(ports.len(), 1, "{leases:#?}");
                got.push((requester, leases[0].clone()));
            }
            got
        });
    }
    let got: Vec<_> = twins.join_all().await.into_iter().flatten().collect();
    assert_eq!(got.len(), 240);
    // And no second one is left behind.
    let caller = &callers[0];
    for (requester, lease) in &got {
        let all = caller
            .get("port.heartbeat", json!({"requester_id": requester}))
            .await;
        let renewed = all["renewed"].as_array().unwrap();
        assert_eq!(renewed.len(), 1, "{all:#}");
        assert_eq!(renewed[0]["lease_id"], lease["lease_id"]);
    }
    both_served(caller).await;
    // A grant that lost to its twin was ended, and told as ended: every port is leased exactly by who got it.
    let open = Events::published(caller).await.check();
    let open: BTreeSet<String> = open.into_values().collect();
    let got: BTreeSet<String> = got
        .iter()
        .map(|(_, lease)| lease["lease_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(open, got);
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_go_from_hand_to_hand() {
    let (_nats, _instances, callers) = two("20000-20023").await;
    let ledger = Arc::new(Ledger::default());
    let stop = Arc::new(AtomicBool::new(false));
    let mut holders = JoinSet::new();
    for (n, caller) in callers.iter().enumerate().take(32) {
        let plan = HolderPlan {
            ttl: 5,
            renewals: u32::from(n % 2 == 0),
            pace: Duration::from_millis(5),
            releases: true,
            more: json!({"preferred_port": 20_000 + n % 4}),
        };
        holders.spawn(Holder::new(caller, &ledger, plan, &stop).run());
    }
    until("500 leases", async || {
        (ledger.counted("leased") >= 500).then_some(())
    })
    .await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    holders.join_all().await;
    println!("{:?}", ledger.counts());
    ledger.check();
    let mut ports: BTreeMap<u64, u32> = BTreeMap::new();
    for belief in ledger.beliefs() {
        *ports.entry(belief.port).or_default() += 1;
    }
    assert!(ports.values().any(|leases| *leases > 5), "{ports:?}");
    until("all to be given back", async || {
        let page = callers[0].see("port.list", json!({})).await;
        page["items"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    assert!(Events::published(&callers[0]).await.check().is_empty());
}

/// Ten ports in a row that nobody uses, and their range.
fn free_range() -> (u16, String) {
    static NEXT: AtomicU16 = AtomicU16::new(8_000);
    loop {
        // Below the ports of the servers that other tests start meanwhile.
        let first = NEXT.fetch_add(10, Ordering::Relaxed);
        assert!(first < 10_000, "no ten ports are free");
        let all_free = (first..first + 10).all(|port| {
            TcpListener::bind(("0.0.0.0", port)).is_ok()
                && TcpListener::bind(("::", port)).is_ok()
                && UdpSocket::bind(("0.0.0.0", port)).is_ok()
                && UdpSocket::bind(("::", port)).is_ok()
        });
        if all_free {
            return (first, format!("{first}-{}", first + 9));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_never_granted() {
    let (first, range) = free_range();
    // Nine of ten, each by another kind of program; the last is free.
    let mut tcp = Vec::new();
    let mut udp = Vec::new();
    for n in 0..9 {
        let port = first + n;
        let address = ["127.0.0.1", "0.0.0.0", "::1", "::"][usize::from(n) % 4];
        tcp.push(TcpListener::bind((address, port)).unwrap());
        udp.push(UdpSocket::bind((address, port)).unwrap());
    }
    let registry = Registry::start(&["--host", "here", "--ports", &range]);
    let caller = Caller::of(&registry).await;
    for transport in ["tcp", "udp"] {
        let wanted = json!({"transport": transport});
        let exact = json!({"transport": transport, "preferred_port": first, "exact": true});
        let requester = Uuid::new_v4();
        let refused = caller
            .refused(
                "port.lease",
                lease_request(requester, exact.clone()),
                ErrorCode::PortUnavailable,
            )
            .await;
        assert_eq!(refused.detail("state"), "in_use", "{transport}");
        // It rests now, for whoever asks.
        let refused = caller
            .refused(
                "port.lease",
                lease_request(Uuid::new_v4(), exact),
                ErrorCode::PortUnavailable,
            )
            .await;
        assert_eq!(refused.detail("state"), "quarantined", "{transport}");
        let lease = caller.lease(requester, wanted.clone()).await;
        assert_eq!(lease["port"], first + 9, "{transport}");
        assert_eq!(
            (&lease["availability"], &lease["verified_on"]),
            (&json!("verified"), &json!("here"))
        );
        // What was tried is free again for its holder.
        if transport == "tcp" {
            TcpListener::bind(("0.0.0.0", first + 9)).unwrap();
        } else {
            UdpSocket::bind(("0.0.0.0", first + 9)).unwrap();
        }
        let refused = caller
            .refused(
                "port.lease",
                lease_request(requester, wanted),
                ErrorCode::ResourceExhausted,
            )
            .await;
        assert!(refused.error["retry_after_ms"].as_u64().is_some());
        let pool = caller.see("pool.list", json!({"host": "here"})).await;
        let pool = pool["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|pool| pool["transport"] == transport)
            .unwrap()
            .clone();
        let counts =
            ["held", "quarantined", "resting", "free"].map(|name| pool[name].as_u64().unwrap());
        assert_eq!(counts, [1, 9, 0, 0], "{pool:#}");
        let mine = caller
            .see("port.list", json!({"requester_id": requester}))
            .await;
        let items = mine["items"].as_array().unwrap();
        assert_eq!(
            items
                .iter()
                .filter(|item| item["transport"] == transport)
                .count(),
            1,
            "{mine:#}"
        );
    }
    // Told as what it was, and nobody was left with a port in use.
    let events = Events::published(&caller).await;
    assert_eq!(events.of_kind("port.quarantined").len(), 18);
    assert_eq!(events.check().len(), 2);
    drop((tcp, udp));
}

/// A grant of another machine's port is not tried here.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_another_host_is_not_tried() {
    let (first, range) = free_range();
    let _taken = TcpListener::bind(("0.0.0.0", first)).unwrap();
    let registry = Registry::start(&["--host", "here", "--ports", &range]);
    let caller = Caller::of(&registry).await;
    let exact = json!({"preferred_port": first, "exact": true, "host": "there"});
    let lease = caller.lease(Uuid::new_v4(), exact).await;
    assert_eq!(
        (&lease["port"], &lease["availability"]),
        (&json!(first), &json!("unverified"))
    );
}
