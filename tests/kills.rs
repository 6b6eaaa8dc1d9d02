//! Crashes, pauses and restarts in the middle of a load. What counts is what the holders believe.

// The lints' exception for tests does not reach the helpers of one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::{Caller, Events, Holder, HolderPlan, Ledger, Nats, PATIENCE, Registry, until, wish};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

mod harness;

/// A pool that is small enough for its ports to go from hand to hand, and large enough for the load to go on while
/// the events of a dead instance wait for another one to publish them.
const ARGS: [&str; 5] = ["--host", "here", "--no-probe", "--ports", "20000-20299"];
const KILLS: u32 = 20;
const HOLDERS: usize = 16;

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
                ttl: 1 + n as u64 % 3,
                renewals: n as u32 % 4,
                pace: Duration::from_millis(20 + 15 * (n as u64 % 5)),
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
            assert!(renewed["fencing_token"].as_u64() > lease["fencing_token"].as_u64());
            self.caller.get("port.release", mine).await;
        }
        // What nobody gave back ends by itself.
        until("all leases to end", async || {
            let page = self.caller.get("port.list", json!({})).await;
            page["items"].as_array().unwrap().is_empty().then_some(())
        })
        .await;
        let events = Events::published(&self.caller).await;
        let open = events.check();
        assert!(open.is_empty(), "never told to have ended: {open:#?}");
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
