//! Crashes, pauses and restarts in the middle of a load. What counts is what the holders believe.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{
    Caller, Events, Holder, HolderPlan, Ledger, Nats, PATIENCE, Registry, lease_request, until,
};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

/// A pool that is small enough for its ports to go from hand to hand, and large enough for the load to go on while
/// the events of a dead instance wait for another one to publish them.
const ARGS: [&str; 5] = ["--host", "here", "--no-probe", "--ports", "20000-20299"];
const KILLS: u32 = 20;
const HOLDERS: u32 = 16;

/// Holders at work, and leases that are never given back while they are.
struct Load {
    caller: Caller,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    holders: JoinSet<()>,
    kept: Vec<(Uuid, Value)>,
}

impl Load {
    async fn start(url: &str) -> Self {
        let caller = Caller::connect(url).await;
        let ledger = Arc::new(Ledger::default());
        let stop = Arc::new(AtomicBool::new(false));
        let mut kept = Vec::new();
        for _ in 0..8 {
            let requester = Uuid::new_v4();
            kept.push((
                requester,
                caller.lease(requester, json!({"ttl": 3600})).await,
            ));
        }
        let mut holders = JoinSet::new();
        for n in 0..HOLDERS {
            let plan = HolderPlan {
                ttl: 1 + u64::from(n) % 3,
                renewals: n % 4,
                pace: Duration::from_millis(20 + 15 * (u64::from(n) % 5)),
                releases: n % 4 != 3,
                // Half of them come back to the port that they had.
                more: if n % 2 == 0 {
                    json!({"name": "api"})
                } else {
                    json!({})
                },
            };
            holders.spawn(Holder::new(&caller, &ledger, plan, &stop).run());
        }
        Self {
            caller,
            ledger,
            stop,
            holders,
            kept,
        }
    }

    /// Waits for the next `more` grants: the load goes on.
    async fn goes_on(&self, more: u64) {
        let wanted = self.ledger.counted("leased") + more;
        until("the load to go on", async || {
            (self.ledger.counted("leased") >= wanted).then_some(())
        })
        .await;
    }

    /// Ends the load and checks everything that was promised.
    async fn finish(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.holders.join_next().await {
            ended.unwrap();
        }
        println!(
            "{:?}, longest pause {:?}",
            self.ledger.counts(),
            self.ledger.longest_pause()
        );
        self.ledger.check();
        for (requester, lease) in &self.kept {
            let mine = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
            let renewed = self.caller.get("port.heartbeat", mine.clone()).await;
            assert_eq!(renewed["port"], lease["port"]);
            assert_eq!(renewed["fencing_token"], lease["fencing_token"]);
            assert!(renewed["revision"].as_u64() > lease["revision"].as_u64());
            self.caller.get("port.release", mine).await;
        }
        // What nobody gave back ends by itself.
        until("all leases to end", async || {
            let page = self.caller.see("port.list", json!({})).await;
            page["items"].as_array().unwrap().is_empty().then_some(())
        })
        .await;
        // It reads as ended from its deadline on, and its end is written down soon after that.
        let events = until("all leases to be told to have ended", async || {
            let events = Events::published(&self.caller).await;
            events.check().is_empty().then_some(events)
        })
        .await;
        let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for event in &events.0 {
            told.entry(event.lease_id()).or_default().push(event.kind());
        }
        let beliefs = self.ledger.beliefs();
        let granted = beliefs.iter().map(|belief| belief.lease_id.as_str());
        let kept = self
            .kept
            .iter()
            .map(|(_, lease)| lease["lease_id"].as_str().unwrap());
        for lease_id in granted.chain(kept) {
            let told = told.get(lease_id).map(Vec::as_slice);
            let whole = [
                ["port.leased", "port.released"],
                ["port.leased", "port.expired"],
            ];
            assert!(
                whole.iter().any(|whole| told == Some(whole.as_slice())),
                "{lease_id}: {told:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_instances_is_killed_twenty_times() {
    let nats = Nats::start();
    let mut instances = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let load = Load::start(&nats.url()).await;
    for kill in 0..KILLS {
        load.goes_on(10).await;
        let victim = &mut instances[kill as usize % 2];
        victim.kill();
        // The other one serves.
        load.goes_on(5).await;
        *victim = Registry::on(&nats, &ARGS);
    }
    load.goes_on(10).await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_instance_is_killed_twenty_times() {
    let nats = Nats::start();
    let mut instance = Registry::on(&nats, &ARGS);
    let load = Load::start(&nats.url()).await;
    for _ in 0..KILLS {
        load.goes_on(10).await;
        instance.kill();
        instance = Registry::on(&nats, &ARGS);
    }
    load.goes_on(10).await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nats_server_is_killed_twenty_times() {
    let mut nats = Nats::start();
    let mut instances = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let load = Load::start(&nats.url()).await;
    for _ in 0..KILLS {
        load.goes_on(10).await;
        nats.kill();
        nats.start_again();
    }
    load.goes_on(10).await;
    load.finish().await;
    assert!(instances.iter_mut().all(Registry::runs));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_slept_across_a_ttl_wakes_and_serves_right() {
    let nats = Nats::start();
    let instances = [Registry::on(&nats, &ARGS), Registry::on(&nats, &ARGS)];
    let load = Load::start(&nats.url()).await;
    for round in 0..4 {
        load.goes_on(20).await;
        let sleeper = &instances[round % 2];
        sleeper.pause();
        // The longest TTL of the load and what a registry adds to it: all that the sleeper knew is over.
        tokio::time::sleep(Duration::from_millis(3600)).await;
        sleeper.resume();
        // It serves, alone.
        instances[1 - round % 2].pause();
        load.goes_on(20).await;
        instances[1 - round % 2].resume();
    }
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeper_renews_nothing_that_others_have_ended() {
    let nats = Nats::start();
    let sleeper = Registry::on(&nats, &["--host", "here", "--no-probe", "--ports", "20000"]);
    let caller = Caller::connect(&nats.url()).await;
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    let lease = caller.lease(one, json!({"ttl": 1})).await;
    sleeper.pause();
    // This heartbeat waits in the sleeper's socket, when the server has passed it on.
    let heartbeats = "onex.registry.v1.port.heartbeat";
    let mut heartbeats = caller.client.subscribe(heartbeats).await.unwrap();
    let late = json!({"requester_id": one, "lease_id": lease["lease_id"]});
    let late = tokio::spawn({
        let caller = caller.clone();
        async move { caller.ask("port.heartbeat", late).await }
    });
    let passed_on = tokio::time::timeout(PATIENCE, heartbeats.next()).await;
    passed_on.unwrap().unwrap();
    let mut other = Registry::on(&nats, &["--host", "here", "--no-probe", "--ports", "20000"]);
    // The other one ends the lease and grants the port, to whoever gets past the sleeper.
    let patience = Duration::from_millis(300);
    let request = lease_request(two, json!({"ttl": 60, "request_id": Uuid::new_v4()})).to_string();
    let granted = until("the port to be granted again", async || {
        let headers = async_nats::HeaderMap::new();
        let reply = caller
            .send("port.lease", headers, request.clone(), patience)
            .await;
        reply.ok()?.outcome().ok()
    })
    .await;
    assert_eq!(granted["port"], lease["port"]);
    sleeper.resume();
    let mut refused = late.await.unwrap().unwrap_err();
    if refused.code == "STORE_UNAVAILABLE" {
        // It stood still for longer than a request may wait: it says that nothing was done, and may be asked again.
        assert_eq!(refused.detail("outcome"), "none");
        let again = json!({"requester_id": one, "lease_id": lease["lease_id"]});
        refused = caller.ask("port.heartbeat", again).await.unwrap_err();
    }
    assert!(
        ["LEASE_NOT_FOUND", "LEASE_EXPIRED"].contains(&refused.code.as_str()),
        "{refused:?}"
    );
    other.terminate();
    assert!(other.ended().0.success());
    let body = json!({"requester_id": two, "lease_id": granted["lease_id"]});
    let renewed = caller.get("port.heartbeat", body).await;
    assert_eq!(renewed["fencing_token"], granted["fencing_token"]);
    assert!(renewed["revision"].as_u64() > granted["revision"].as_u64());
}

/// The answer; none when nobody is there any more, which the server says at once.
async fn answer(caller: &Caller, endpoint: &str, body: &Value) -> Option<Value> {
    let patience = Duration::from_secs(5);
    let headers = async_nats::HeaderMap::new();
    match caller
        .send(endpoint, headers, body.to_string(), patience)
        .await
    {
        Ok(reply) => Some(reply.outcome().unwrap()),
        Err(error) if error.kind() == async_nats::RequestErrorKind::NoResponders => None,
        Err(error) => panic!("{endpoint} was not answered: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_at_a_sigterm_is_answered() {
    let nats = Nats::start();
    let caller = Caller::connect(&nats.url()).await;
    for _ in 0..5 {
        let mut instance = Registry::on(&nats, &ARGS);
        let mut callers = JoinSet::new();
        for _ in 0..32 {
            let caller = caller.clone();
            callers.spawn(async move {
                let mut answered = 0;
                loop {
                    let requester = Uuid::new_v4();
                    let body = lease_request(requester, json!({"ttl": 5}));
                    let Some(lease) = answer(&caller, "port.lease", &body).await else {
                        return answered;
                    };
                    answered += 1;
                    let mine = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
                    if answer(&caller, "port.release", &mine).await.is_none() {
                        return answered;
                    }
                }
            });
        }
        until("requests to be under way", async || {
            let stats = caller.micro("STATS").await;
            let endpoints = stats[0]["endpoints"].as_array().unwrap();
            let lease = endpoints
                .iter()
                .find(|one| one["name"] == "port-lease")
                .unwrap();
            (lease["num_requests"].as_u64() > Some(100)).then_some(())
        })
        .await;
        instance.terminate();
        let (status, said) = instance.ended();
        assert!(status.success(), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        let mut answered = 0;
        while let Some(ended) = callers.join_next().await {
            answered += ended.unwrap();
        }
        assert!(answered > 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_survive_a_restart_with_their_full_ttl() {
    let data = tempfile::tempdir().unwrap();
    let mut registry = Registry::start_in(data.path(), &ARGS);
    let caller = Caller::of(&registry).await;
    let requester = Uuid::new_v4();
    let lease = caller
        .lease(requester, json!({"ttl": 3, "name": "x", "labels": ["l"]}))
        .await;
    let kept = caller.lease(requester, json!({"ttl": 3})).await;
    // Most of its time passes before the crash; after the restart nobody can know that.
    tokio::time::sleep(Duration::from_secs(2)).await;
    registry.kill();
    let mut registry = Registry::start_in(data.path(), &ARGS);
    let back = Instant::now();
    let caller = Caller::of(&registry).await;
    let page = caller.see("port.list", json!({"name": "x"})).await;
    let item = &page["items"][0];
    for same in [
        "lease_id",
        "port",
        "fencing_token",
        "labels",
        "ttl",
        "granted_at",
    ] {
        assert_eq!(item[same], lease[same], "{same}");
    }
    assert!(item["expires_in_ms"].as_u64().unwrap() > 2_000, "{item:#}");
    let mine = json!({"requester_id": requester, "lease_id": kept["lease_id"]});
    until("the lease to end", async || {
        caller.get("port.heartbeat", mine.clone()).await;
        let page = caller.see("port.list", json!({"name": "x"})).await;
        page["items"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    // It had seen the bucket a moment before it was ready.
    assert!(
        back.elapsed() > Duration::from_millis(2_900),
        "{:?}",
        back.elapsed()
    );

    // After a restart that was asked for nothing is different.
    registry.terminate();
    assert!(registry.ended().0.success());
    let registry = Registry::start_in(data.path(), &ARGS);
    let caller = Caller::of(&registry).await;
    let renewed = caller.get("port.heartbeat", mine).await;
    assert_eq!(renewed["port"], kept["port"]);
    let body = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
    assert_eq!(caller.get("port.release", body).await["status"], "expired");
}
