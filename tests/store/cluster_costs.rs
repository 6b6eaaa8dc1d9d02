//! What each fault of a cluster costs whoever asks a registry: for how long writes and reads fail. `docs/operations.md` has
//! what comes out; `cargo test --test store cluster_costs -- --nocapture` prints it.

use std::fmt;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap};
use onex_registry::protocol::names::HEADER_MAX_AGE_MS;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use uuid::Uuid;

use crate::harness::{Caller, Nats, Proxy, Registry, UNTRIED, free_port, until};

/// How often each is asked.
const ASK_INTERVAL: Duration = Duration::from_millis(50);
/// How long it waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Nothing fails any more when nothing has failed for so long.
const CALM: Duration = Duration::from_secs(1);

/// What a client went through.
#[derive(Debug, Clone, Copy)]
struct Cost {
    asked: usize,
    failed: usize,
    /// The longest time between two answers that were right.
    silent: Duration,
    /// From when the first one that failed was asked until the last one was.
    failing: Duration,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            asked,
            failed,
            silent,
            failing,
        } = self;
        write!(
            f,
            "none answered for {silent:.1?}, {failed} of {asked} failed, within {failing:.1?}"
        )
    }
}

/// When it was asked, and when it had an answer that was right.
type Asked = (Instant, Option<Instant>);

/// Asks the same again and again, whether the one before is answered or not, until it is told to stop.
struct Asking {
    stop: Arc<AtomicBool>,
    /// Those that wait no longer.
    seen: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Asking {
    fn start<F>(ask: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn({
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            async move {
                let mut asked = JoinSet::new();
                while !stop.load(Ordering::Relaxed) {
                    let (answer, seen, at) = (ask(), Arc::clone(&seen), Instant::now());
                    asked.spawn(async move {
                        let right = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
                        let answered = (right == Ok(true)).then(Instant::now);
                        seen.lock().unwrap().push((at, answered));
                    });
                    tokio::time::sleep(ASK_INTERVAL).await;
                }
                asked.join_all().await;
            }
        });
        Self { stop, seen, task }
    }

    fn of(caller: &Caller, endpoint: &'static str, headers: HeaderMap, request: &Value) -> Self {
        let (caller, body) = (caller.clone(), request.to_string());
        Self::start(move || {
            let (caller, headers, body) = (caller.clone(), headers.clone(), body.clone());
            async move {
                let sent = caller.send(endpoint, headers, body, ANSWER_TIMEOUT);
                sent.await.is_ok_and(|reply| reply.outcome().is_ok())
            }
        })
    }

    /// When an answer was right for the first time.
    fn first_right(&self) -> Option<Instant> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter_map(|(_, answered)| *answered).min()
    }

    /// Whether nothing has failed for a while.
    fn is_calm(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        // What was asked before has been answered or has failed by now.
        let fails =
            |(at, answered): &Asked| answered.is_none() && at.elapsed() < CALM + ANSWER_TIMEOUT;
        let answered = seen.iter().filter_map(|(_, answered)| *answered).max();
        !seen.iter().any(fails) && answered.is_some_and(|at| at.elapsed() < CALM)
    }

    /// Whether none has been answered for a while.
    fn is_silent(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        let answered = seen.iter().filter_map(|(_, answered)| *answered).max();
        answered.is_none_or(|at| at.elapsed() > CALM + ANSWER_TIMEOUT)
    }

    async fn end(self) -> Cost {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        let seen = self.seen.lock().unwrap();
        let mut right: Vec<Instant> = seen.iter().filter_map(|(_, answered)| *answered).collect();
        right.sort_unstable();
        let silent = right.windows(2).map(|two| two[1] - two[0]).max();
        let failed = || seen.iter().filter(|(_, right)| right.is_none());
        let failing = failed().map(|(at, _)| *at);
        let (first, last) = (failing.clone().min(), failing.max());
        Cost {
            asked: seen.len(),
            failed: failed().count(),
            silent: silent.unwrap_or(Duration::MAX),
            failing: last
                .zip(first)
                .map_or(Duration::ZERO, |(last, first)| last - first),
        }
    }
}

/// Servers that soon give up another one that stands still: what docs/operations.md advises. Who is retired is gone soon.
const SERVERS: &str = "ping_interval: \"2s\"\nping_max: 1\n\
                       lame_duck_grace_period: \"1s\"\nlame_duck_duration: \"30s\"";

/// Within which time a frozen server is given up.
const FROZEN: Duration = Duration::from_secs(5);
/// Within which time a server is left that is cut off from the others, once they have a leader.
const CUT_OFF: Duration = Duration::from_secs(2);
/// How much longer than all of that writes fail at most.
const BEYOND: Duration = Duration::from_secs(1);
/// What other tests on the same machine add.
const NOISE: Duration = Duration::from_secs(2);

/// Three servers, and a lease.
struct Cluster {
    servers: Vec<Nats>,
    /// Where each says whether it has everything.
    health: Vec<u16>,
    /// The ways between the servers, from each to each.
    ways: Vec<(usize, usize, Proxy)>,
    registries: Vec<Registry>,
    mine: Value,
}

/// What one client went through.
#[derive(Debug)]
struct Costs {
    writes: Cost,
    reads: Cost,
}

/// What is seen while a fault is there: of each client, and of the cluster.
struct Watch {
    clients: Vec<(usize, Asking, Asking)>,
    since: Instant,
}

impl Cluster {
    async fn start() -> Self {
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let health: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let mut ways = Vec::new();
        for from in 0..3 {
            for to in (0..3).filter(|to| *to != from) {
                let url = format!("nats://127.0.0.1:{}", ports[to]);
                ways.push((from, to, Proxy::to(&url).await));
            }
        }
        let server = |index: usize| {
            let out = ways.iter().filter(|(from, ..)| *from == index);
            let routes: Vec<String> = out.map(|(.., way)| way.url()).collect();
            // They tell each other an address at which nobody is: there is no other way.
            let others = format!(
                "listen: \"127.0.0.1:{}\", advertise: \"127.0.0.1:1\", routes: {routes:?}",
                ports[index]
            );
            let more = format!("{SERVERS}\nhttp: \"127.0.0.1:{}\"", health[index]);
            Nats::member(index, &others, &more)
        };
        let mut cluster = Self {
            servers: (0..3).map(server).collect(),
            health,
            ways,
            registries: Vec::new(),
            mine: Value::Null,
        };
        cluster.instances(&[0, 1]);
        let caller = cluster.caller(0).await;
        let lease = caller.lease(Uuid::new_v4(), json!({"ttl": 3600})).await;
        cluster.mine =
            json!({"requester_id": lease["requester_id"], "lease_id": lease["lease_id"]});
        cluster
    }

    async fn caller(&self, at: usize) -> Caller {
        Caller::connect(&self.servers[at].url()).await
    }

    /// Instances that have connected to those servers, in the place of those that there are. They are told of the others.
    fn instances(&mut self, at: &[usize]) {
        self.registries.clear();
        let spawn = |server: &usize| Registry::spawn_on(&self.servers[*server], &UNTRIED);
        self.registries = at.iter().map(spawn).collect();
        for registry in &mut self.registries {
            registry.await_ready();
        }
    }

    /// The server that leads the log, once each has everything and requests are answered, whomever one asks: what an
    /// operator waits for between two restarts.
    async fn leader(&self) -> usize {
        let mut callers = Vec::new();
        for at in 0..3 {
            callers.push(self.caller(at).await);
        }
        until("all servers to have all", async || {
            let mut leaders = Vec::new();
            for (caller, port) in callers.iter().zip(&self.health) {
                is_healthy(*port).await.filter(|healthy| *healthy)?;
                leaders.push(leader_of(&caller.client).await?);
                let heartbeat = self.mine.to_string();
                let kept = caller.send(
                    "port.heartbeat",
                    HeaderMap::new(),
                    heartbeat,
                    ANSWER_TIMEOUT,
                );
                kept.await.ok()?.outcome().ok()?;
            }
            leaders.dedup();
            let [leader] = &leaders[..] else { return None };
            leader.strip_prefix('n')?.parse().ok()
        })
        .await
    }

    /// The leader, with instances connected to servers that `at` counts from it.
    async fn leader_with_instances(&mut self, at: [usize; 2]) -> usize {
        loop {
            let leader = self.leader().await;
            self.instances(&at.map(|behind| (leader + behind) % 3));
            // Another one may lead by itself meanwhile.
            if self.leader().await == leader {
                return leader;
            }
        }
    }

    /// Clients that ask from now on, at those servers.
    async fn watch(&self, at: &[usize]) -> Watch {
        let mut clients = Vec::new();
        for at in at {
            let caller = self.caller(*at).await;
            let writes = Asking::of(&caller, "port.heartbeat", HeaderMap::new(), &self.mine);
            let reads = Asking::of(
                &caller,
                "port.list",
                HeaderMap::new(),
                &json!({"limit": 10}),
            );
            clients.push((*at, writes, reads));
        }
        tokio::time::sleep(CALM).await;
        Watch {
            clients,
            since: Instant::now(),
        }
    }

    /// Until when, after the fault that is there since then, the log had another leader than that one, and all of JetStream
    /// had one: what a client of that server sees. Without the one nothing is written, without the other nobody follows anew.
    async fn election(&self, at: usize, before: usize, since: Instant) -> Duration {
        let (log, all) = self.leaders(at, Some(before)).await;
        let elected = until("another leader", async || {
            log.first_right().zip(all.first_right())
        });
        let (log_at, all_at) = elected.await;
        log.end().await;
        all.end().await;
        eprintln!(
            "a leader of the log after {:.1?}, of JetStream after {:.1?}",
            log_at - since,
            all_at - since
        );
        log_at.max(all_at) - since
    }

    /// Asks at that server whether the log has a leader, other than that one, and whether all of JetStream has one.
    async fn leaders(&self, at: usize, other_than: Option<usize>) -> (Asking, Asking) {
        let client = self.caller(at).await.client;
        let before = other_than.map(|index| format!("n{index}"));
        let log = Asking::start({
            let client = client.clone();
            move || {
                let (client, before) = (client.clone(), before.clone());
                async move {
                    let leader = leader_of(&client).await;
                    leader.is_some() && leader != before
                }
            }
        });
        let all = Asking::start(move || {
            let client = client.clone();
            async move { leads_all(&client).await }
        });
        (log, all)
    }
}

impl Watch {
    /// Waits until nothing fails any more.
    async fn calm(&self) {
        // What was asked when the fault was there is answered or has failed by then.
        tokio::time::sleep(CALM + ANSWER_TIMEOUT).await;
        let is_calm =
            |(_, writes, reads): &(_, Asking, Asking)| writes.is_calm() && reads.is_calm();
        until("answers", async || {
            self.clients.iter().all(is_calm).then_some(())
        })
        .await;
    }

    /// What each client went through.
    async fn end(self, cluster: &mut Cluster, name: &str) -> Vec<Costs> {
        let mut costs = Vec::new();
        for (at, writes, reads) in self.clients {
            let (writes, reads) = (writes.end().await, reads.end().await);
            eprintln!("{name}, at n{at}: writes {writes}; reads {reads}");
            costs.push(Costs { writes, reads });
        }
        let runs = cluster.registries.iter_mut().all(Registry::runs);
        assert!(runs, "{name}");
        costs
    }
}

/// The server that leads the log, as that client is told.
async fn leader_of(client: &Client) -> Option<String> {
    let told = api(client, "STREAM.INFO.KV_onex-registry").await?;
    Some(told["cluster"]["leader"].as_str()?.to_owned())
}

/// Whether the server that leads all of JetStream answers.
async fn leads_all(client: &Client) -> bool {
    let told = api(client, "STREAM.NAMES").await;
    told.is_some_and(|told| told["streams"].is_array())
}

async fn api(client: &Client, request: &str) -> Option<Value> {
    let told = client.request(format!("$JS.API.{request}"), "".into());
    serde_json::from_slice(&told.await.ok()?.payload).ok()
}

/// Whether the server at that port says that it has everything.
async fn is_healthy(port: u16) -> Option<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream
        .write_all(b"GET /healthz HTTP/1.0\r\n\r\n")
        .await
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer.starts_with("HTTP/1.0 200 "))
}

/// A server that leads the log is killed, another one is, and one that leads stands still.
async fn servers_that_die() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader_with_instances([0, 0]).await;
    let watch = cluster.watch(&[(leader + 1) % 3]).await;
    cluster.servers[leader].kill();
    let election = cluster
        .election((leader + 1) % 3, leader, watch.since)
        .await;
    watch.calm().await;
    let costs = watch.end(&mut cluster, "leader killed").await;
    assert_within(&costs[0], election + BEYOND, Duration::ZERO);
    cluster.servers[leader].start_again();

    let leader = cluster.leader_with_instances([2, 2]).await;
    let (other, follower) = ((leader + 1) % 3, (leader + 2) % 3);
    let watch = cluster.watch(&[other]).await;
    cluster.servers[follower].kill();
    // It may have led JetStream.
    let election = cluster.election(other, follower, watch.since).await;
    watch.calm().await;
    let costs = watch.end(&mut cluster, "follower killed").await;
    assert_within(&costs[0], election + BEYOND, Duration::ZERO);
    cluster.servers[follower].start_again();

    let leader = cluster.leader_with_instances([0, 0]).await;
    let watch = cluster.watch(&[(leader + 1) % 3]).await;
    cluster.servers[leader].pause();
    let election = cluster
        .election((leader + 1) % 3, leader, watch.since)
        .await;
    watch.calm().await;
    let costs = watch.end(&mut cluster, "leader frozen").await;
    assert_within(&costs[0], election.max(FROZEN) + BEYOND, FROZEN);
    cluster.servers[leader].resume();
}

fn assert_within(costs: &Costs, writes: Duration, reads: Duration) {
    assert!(costs.writes.silent < writes + NOISE, "{costs:?}");
    assert!(costs.reads.silent < reads + NOISE, "{costs:?}");
}

/// The server that leads the log loses its ways to the others, while clients and instances still reach it.
async fn servers_that_are_cut_off() {
    let mut cluster = Cluster::start().await;
    for closed in [true, false] {
        let leader = cluster.leader_with_instances([0, 1]).await;
        let other = (leader + 1) % 3;
        let watch = cluster.watch(&[other, leader]).await;
        for (from, to, way) in &cluster.ways {
            match [*from, *to].contains(&leader) {
                true if closed => way.cut(),
                true => way.stop(),
                false => {}
            }
        }
        let election = cluster.election(other, leader, watch.since).await;
        watch.calm().await;
        let name = format!("leader cut off, which it is told: {closed}");
        let costs = watch.end(&mut cluster, &name).await;
        // The one that is cut off is found out by what is sent there.
        for costs in &costs {
            assert_within(costs, election + CUT_OFF + BEYOND, BEYOND);
        }
        for (.., way) in &cluster.ways {
            way.mend();
        }
    }
}

/// All servers are restarted, one after the other, each when the one before has everything again; and then two of three are
/// lost.
async fn servers_that_are_restarted() {
    let mut cluster = Cluster::start().await;
    for lame in [false, true] {
        let leader = cluster.leader_with_instances([0, 0]).await;
        // They hand over to each other, but now and then they have to elect.
        let (log, all) = cluster.leaders(leader, None).await;
        let watch = cluster.watch(&[leader]).await;
        for index in [0, 1, 2].map(|n| (leader + n) % 3) {
            let server = &mut cluster.servers[index];
            if lame {
                server.retire();
                while !server.has_ended() {
                    tokio::time::sleep(ASK_INTERVAL).await;
                }
            } else {
                server.terminate();
            }
            server.start_again();
            cluster.leader().await;
        }
        watch.calm().await;
        let name = format!("all restarted, lame ducks: {lame}");
        let costs = watch.end(&mut cluster, &name).await;
        let (log, all) = (log.end().await.silent, all.end().await.silent);
        eprintln!("{name}: no leader of the log for {log:.1?}, of JetStream for {all:.1?}");
        assert_within(&costs[0], log.max(all) + BEYOND, Duration::ZERO);
    }

    let leader = cluster.leader().await;
    let other = (leader + 1) % 3;
    let headers = HeaderMap::from_iter([(HEADER_MAX_AGE_MS.parse().unwrap(), "60000".into())]);
    let old = Asking::of(
        &cluster.caller(other).await,
        "port.list",
        headers,
        &json!({}),
    );
    let watch = cluster.watch(&[other]).await;
    cluster.servers[leader].kill();
    cluster.servers[(leader + 2) % 3].kill();
    let (_, _, reads) = &watch.clients[0];
    until("reads to be refused", async || {
        reads.is_silent().then_some(())
    })
    .await;
    let old = old.end().await;
    let costs = watch.end(&mut cluster, "two of three lost").await;
    eprintln!("reads that may be old: {old}");
    let Costs { writes, reads } = &costs[0];
    // Nothing is written, and what is read is answered until it may be out of date.
    let answered = |cost: &Cost| ASK_INTERVAL * u32::try_from(cost.asked - cost.failed).unwrap();
    assert!(answered(writes) < CALM + BEYOND, "{writes:?}");
    assert!(answered(reads) > Duration::from_secs(5), "{reads:?}");
    // Whoever says that an answer may be old has one.
    assert!(old.silent < NOISE, "{old:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_faults_of_servers_cost() {
    tokio::join!(
        servers_that_die(),
        servers_that_are_cut_off(),
        servers_that_are_restarted(),
    );
}
