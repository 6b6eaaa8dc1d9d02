//! The log on three servers, with three copies.

use std::time::Duration;

use onex_log::{Options, Refusal, open};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    PATIENCE,
    nats::{Nats, free_port},
    raw::Stranger,
    writer::{Writer, assert_log, options},
};

struct Cluster(Vec<Nats>);

impl Cluster {
    fn start() -> Self {
        let ports = [free_port(), free_port(), free_port()];
        let routes: Vec<String> = ports
            .iter()
            .map(|port| format!("\"nats://127.0.0.1:{port}\""))
            .collect();
        let server = |(n, port): (usize, &u16)| {
            Nats::start_with(&format!(
                "server_name: s{n}\njetstream {{ store_dir: \"FOLDER/store\", sync_interval: always }}\n\
                 cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{}] }}",
                routes.join(", ")
            ))
        };
        Self(ports.iter().enumerate().map(server).collect())
    }

    fn urls(&self) -> String {
        let urls: Vec<String> = self.0.iter().map(Nats::url).collect();
        urls.join(",")
    }

    /// A writer, once the servers have found each other.
    async fn writer(&self, url: &str) -> Writer {
        let since = Instant::now();
        loop {
            let options = Options {
                replicas: 3,
                ..options(url)
            };
            match open(options).await {
                Ok((mut log, store)) => {
                    log.follow(onex_types::entry::Sequence(0));
                    return Writer::with(log, store);
                }
                Err(error) => assert!(since.elapsed() < PATIENCE, "{error}"),
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Which server leads the stream, by what a server says that is none of `not`.
    async fn leader(&self, not: &[usize]) -> usize {
        let since = Instant::now();
        loop {
            for n in (0..3).filter(|n| !not.contains(n)) {
                let Ok((_, store)) = open(Options {
                    replicas: 3,
                    ..options(&self.0[n].url())
                })
                .await
                else {
                    continue;
                };
                let leader = store.check().await.ok().and_then(|info| info.leader);
                if let Some(leader) = leader.and_then(|name| name.strip_prefix('s')?.parse().ok())
                    && !not.contains(&leader)
                {
                    return leader;
                }
            }
            assert!(since.elapsed() < PATIENCE, "nobody leads");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_killed_and_stepped_down() {
    let mut cluster = Cluster::start();
    let mut writer = cluster.writer(&cluster.urls()).await;
    writer.write(20).await;
    let leader = cluster.leader(&[]).await;
    writer.want(1);
    cluster.0[leader].kill();
    writer
        .until("another server leads", |writer| writer.stored.len() == 21)
        .await;
    writer.write(20).await;
    cluster.0[leader].start_again();
    let stranger = Stranger::at(&cluster.urls()).await;
    for n in 0..2 {
        let answer = stranger
            .api("STREAM.LEADER.STEPDOWN.KV_test", &json!({}))
            .await;
        assert!(answer["error"].is_null(), "{n}: {answer}");
        writer.write(20).await;
    }
    assert_eq!(assert_log(&cluster.urls(), &[&writer]).await.len(), 81);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_frozen_under_two_writers() {
    let cluster = Cluster::start();
    let mut one = cluster.writer(&cluster.urls()).await;
    let mut two = cluster.writer(&cluster.urls()).await;
    tokio::join!(one.write(20), two.write(20));
    let leader = cluster.leader(&[]).await;
    cluster.0[leader].pause();
    tokio::join!(one.write(20), two.write(20));
    cluster.0[leader].resume();
    tokio::join!(one.write(20), two.write(20));
    assert_eq!(assert_log(&cluster.urls(), &[&one, &two]).await.len(), 120);
}

/// Schedule 27: a leader that is cut off from the others refuses with a number that is never stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn winner_that_a_cut_off_leader_names_never_lands() {
    let cluster = Cluster::start();
    let mut elsewhere = cluster.writer(&cluster.urls()).await;
    elsewhere.write(5).await;
    let leader = cluster.leader(&[]).await;
    let others: Vec<usize> = (0..3).filter(|n| *n != leader).collect();
    let mut one = cluster.writer(&cluster.0[leader].url()).await;
    let mut two = cluster.writer(&cluster.0[leader].url()).await;
    one.catch_up().await;
    two.catch_up().await;
    for n in &others {
        cluster.0[*n].pause();
    }
    // It is proposed, and can not be stored.
    let proposed = crate::writer::entry(one.last_valid, one.head, "proposed");
    one.log.append(proposed.clone());
    two.until("the leader names the proposed one", |two| {
        two.refusals.contains(&Refusal::Conflict) || {
            two.log
                .append(crate::writer::entry(two.last_valid, two.head, "second"));
            false
        }
    })
    .await;
    assert_eq!(two.head.0, 5, "nothing was stored");
    cluster.0[leader].pause();
    for n in &others {
        cluster.0[*n].resume();
    }
    elsewhere.write(3).await;
    cluster.0[leader].resume();
    one.until("it sees what was stored", |one| one.head.0 >= 8)
        .await;
    two.until("it sees what was stored", |two| two.head.0 >= 8)
        .await;
    one.write(2).await;
    two.write(2).await;
    let read = assert_log(&cluster.urls(), &[&elsewhere, &one, &two]).await;
    assert_eq!(read.len(), 12);
    assert!(
        read.iter()
            .all(|entry| entry.header.unwrap().id != proposed.header.id)
    );
}
