//! What each fault of a cluster costs whoever asks a registry: for how long writes and reads fail. `docs/operations.md` has
//! what comes out; `cargo test --test store cluster_costs -- --nocapture` prints it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, jetstream};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::harness::{Caller, Nats, Registry, UNTRIED, until};

/// How often each is asked.
const ASK_INTERVAL: Duration = Duration::from_millis(50);
/// How long it waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// In which time a fault shows, longer than the bounds of all but the last.
const SHOWS_WITHIN: Duration = Duration::from_secs(17);
/// A loss that nobody recovers from.
const FOR_GOOD: u64 = 60;

/// What a client went through.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    asked: usize,
    failed: usize,
    /// The longest time between two answers that were right.
    gap: Duration,
}

/// Asks the same again and again, until it is told to stop.
struct Asking {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Cost>,
}

impl Asking {
    async fn start(url: &str, endpoint: &'static str, request: &Value) -> Self {
        let caller = Caller::connect(url).await;
        let (stop, body) = (Arc::new(AtomicBool::new(false)), request.to_string());
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let (mut cost, mut last) = (Cost::default(), Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                let sent = caller.send(endpoint, HeaderMap::new(), body.clone(), ANSWER_TIMEOUT);
                let answer = sent.await;
                let is_right = answer.is_ok_and(|reply| reply.outcome().is_ok());
                cost.asked += 1;
                cost.failed += usize::from(!is_right);
                cost.gap = cost.gap.max(last.elapsed());
                if is_right {
                    last = Instant::now();
                }
                tokio::time::sleep(ASK_INTERVAL).await;
            }
            cost
        });
        Self { stop, task }
    }

    async fn end(self) -> Cost {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// Servers that soon give up another one that stands still: what docs/operations.md advises.
const PINGS: &str = "ping_interval: \"2s\"\nping_max: 1";

/// Three servers, two instances, and a lease.
struct Cluster {
    servers: Vec<Nats>,
    registries: [Registry; 2],
    mine: Value,
}

impl Cluster {
    async fn start() -> Self {
        let servers = Nats::cluster_with(3, PINGS);
        let urls: Vec<String> = servers.iter().map(Nats::url).collect();
        let all = urls.join(",");
        let args = [&["--nats", &all], &UNTRIED[..]].concat();
        let mut registries = [Registry::spawn(&args), Registry::spawn(&args)];
        for registry in &mut registries {
            registry.await_ready();
        }
        let caller = Caller::connect(&servers[0].url()).await;
        let lease = caller.lease(Uuid::new_v4(), json!({"ttl": 3600})).await;
        let mine = json!({"requester_id": lease["requester_id"], "lease_id": lease["lease_id"]});
        Self {
            servers,
            registries,
            mine,
        }
    }

    /// The server that leads the log, once all copies have everything and instances take requests.
    async fn leader(&self) -> usize {
        let scout = Caller::connect(&self.servers[0].url()).await;
        let context = jetstream::new(scout.client.clone());
        until("all servers to have all", async || {
            let log = context.get_stream("KV_onex-registry").await.ok()?;
            let cluster = log.cached_info().cluster.clone()?;
            let mut replicas = cluster.replicas.iter();
            let whole = replicas.all(|it| it.current && !it.offline);
            let leader = cluster.leader.filter(|_| whole)?;
            let patience = Duration::from_secs(2);
            let kept = scout.send(
                "port.heartbeat",
                HeaderMap::new(),
                self.mine.to_string(),
                patience,
            );
            kept.await.ok()?.outcome().ok()?;
            leader.strip_prefix('n')?.parse().ok()
        })
        .await
    }

    /// What writes and reads cost, each within its bound, at a client of that server, while `fault` is done and until it has shown. Bounds are in seconds.
    async fn cost(
        &mut self,
        name: &str,
        at: usize,
        bounds: [u64; 2],
        fault: impl AsyncFnOnce(&mut Self),
    ) -> [Cost; 2] {
        let url = self.servers[at].url();
        let list = json!({"limit": 10});
        let writes = Asking::start(&url, "port.heartbeat", &self.mine).await;
        let reads = Asking::start(&url, "port.list", &list).await;
        fault(self).await;
        // A server that is gone is found out and replaced meanwhile.
        tokio::time::sleep(SHOWS_WITHIN).await;
        let costs = [writes.end().await, reads.end().await];
        let [writes, reads] = &costs;
        eprintln!("{name}: writes {writes:?}, reads {reads:?}");
        assert!(self.registries.iter_mut().all(Registry::runs), "{name}");
        for (cost, bound) in costs.iter().zip(bounds) {
            assert!(cost.gap < Duration::from_secs(bound), "{name}: {costs:?}");
        }
        costs
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_faults_of_servers_cost() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let other = (leader + 1) % 3;
    let kill = async |it: &mut Cluster| it.servers[leader].kill();
    cluster.cost("leader killed", other, [11, 3], kill).await;
    cluster.servers[leader].start_again();

    let leader = cluster.leader().await;
    let (other, follower) = ((leader + 1) % 3, (leader + 2) % 3);
    let kill = async |it: &mut Cluster| it.servers[follower].kill();
    cluster.cost("follower killed", other, [4, 3], kill).await;
    cluster.servers[follower].start_again();

    let leader = cluster.leader().await;
    let other = (leader + 1) % 3;
    let freeze = async |it: &mut Cluster| it.servers[leader].pause();
    cluster.cost("leader frozen", other, [16, 11], freeze).await;
    cluster.servers[leader].resume();

    let leader = cluster.leader().await;
    let other = (leader + 1) % 3;
    let retire = async |it: &mut Cluster| it.servers[leader].retire();
    cluster.cost("leader retired", other, [3, 3], retire).await;
    cluster.servers[leader].kill();
    cluster.servers[leader].start_again();

    let leader = cluster.leader().await;
    let roll = async |it: &mut Cluster| {
        for index in [(leader + 1) % 3, (leader + 2) % 3] {
            it.servers[index].terminate();
            it.servers[index].start_again();
            it.leader().await;
        }
    };
    cluster
        .cost("two restarted one after the other", leader, [5, 3], roll)
        .await;

    let leader = cluster.leader().await;
    let other = (leader + 1) % 3;
    let lose = async |it: &mut Cluster| {
        it.servers[leader].kill();
        it.servers[(leader + 2) % 3].kill();
    };
    let lost = cluster.cost("two of three lost", other, [FOR_GOOD, FOR_GOOD], lose);
    let [writes, reads] = lost.await;
    // Nothing is written, and what is read is answered until it may be out of date.
    assert!(writes.asked - writes.failed <= 2, "{writes:?}");
    assert!(reads.asked - reads.failed > 60, "{reads:?}");
}
