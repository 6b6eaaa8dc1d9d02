//! The log on three servers, with three copies.

use std::time::Duration;

use onex_log::{Event, Options, Refusal, open};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    appending::next,
    nats::{Nats, free_port},
    raw::Stranger,
    until,
    writer::{Writer, assert_log, entry, options},
};

struct Cluster(Vec<Nats>);

impl Cluster {
    /// Servers that tell clients of each other, or do not.
    fn start(advertise: bool) -> Self {
        let ports = [free_port(), free_port(), free_port()];
        let routes: Vec<String> = ports
            .iter()
            .map(|port| format!("\"nats://127.0.0.1:{port}\""))
            .collect();
        let server = |(n, port): (usize, &u16)| {
            Nats::start_with(&format!(
                "server_name: s{n}\njetstream {{ store_dir: \"FOLDER/store\", sync_interval: always }}\n\
                 cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{}], no_advertise: {} }}",
                routes.join(", "),
                !advertise
            ))
        };
        Self(ports.iter().enumerate().map(server).collect())
    }

    fn urls(&self) -> String {
        let urls: Vec<String> = self.0.iter().map(Nats::url).collect();
        urls.join(",")
    }

    async fn writer(&self, url: &str) -> Writer {
        Writer::open(Options {
            replicas: Some(3),
            ..options(url)
        })
        .await
    }

    /// A writer whose connection and consumer are at that server.
    async fn writer_at(&self, server: usize) -> Writer {
        let url = self.0[server].url();
        let stranger = Stranger::at(&url).await;
        let count = async || {
            let listed = stranger.api("CONSUMER.LIST.KV_test", &json!({})).await;
            let consumers = listed["consumers"].as_array().unwrap().clone();
            let name = Value::from(format!("s{server}"));
            let at = consumers
                .iter()
                .filter(|consumer| consumer["cluster"]["leader"] == name);
            at.count()
        };
        loop {
            let before = count().await;
            let mut writer = self.writer(&url).await;
            writer.catch_up().await;
            if count().await > before {
                return writer;
            }
        }
    }

    /// Which server leads the stream, by what a server says that is none of `not`.
    async fn leader(&self, not: &[usize]) -> usize {
        until("a leader", async || {
            for n in (0..3).filter(|n| !not.contains(n)) {
                let options = Options {
                    replicas: Some(3),
                    ..options(&self.0[n].url())
                };
                let Ok((_, store)) = open(options).await else {
                    continue;
                };
                let leader = store.check().await.ok().and_then(|info| info.leader);
                if let Some(leader) = leader.and_then(|name| name.strip_prefix('s')?.parse().ok())
                    && !not.contains(&leader)
                {
                    return Some(leader);
                }
            }
            None
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_killed_and_stepped_down() {
    let mut cluster = Cluster::start(true);
    cluster.writer(&cluster.urls()).await.write(10).await;
    let leader = cluster.leader(&[]).await;
    // It learns of the others from this one.
    let mut writer = cluster.writer(&cluster.0[leader].url()).await;
    writer.catch_up().await;
    writer.write(10).await;
    writer.want(1);
    cluster.0[leader].kill();
    writer
        .until("another server leads", |writer| writer.stored.len() == 11)
        .await;
    writer.write(20).await;
    cluster.0[leader].start_again();
    let stranger = Stranger::at(&cluster.0[0].url()).await;
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
    let cluster = Cluster::start(false);
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
    let mut cluster = Cluster::start(false);
    let mut elsewhere = cluster.writer(&cluster.urls()).await;
    elsewhere.write(5).await;
    let leader = cluster.leader(&[]).await;
    let others: Vec<usize> = (0..3).filter(|n| *n != leader).collect();
    let mut one = cluster.writer_at(leader).await;
    let mut two = cluster.writer_at(leader).await;
    // Not frozen: they would read what the leader has sent them, and could store it together, later.
    for n in &others {
        cluster.0[*n].kill();
    }
    // It is proposed, and cannot be stored.
    let proposed = entry(one.last_valid, one.head, "proposed");
    one.log.append(proposed.clone());
    let mut queue = Vec::new();
    let said = timeout(Duration::from_millis(300), one.log.next(&mut queue)).await;
    assert!(said.is_err(), "{queue:?}");
    let second = entry(two.last_valid, two.head, "second");
    two.log.append(second.clone());
    match next(&mut two.log, &mut queue).await {
        Event::Refused {
            id,
            refusal,
            description,
        } => {
            assert_eq!((id, refusal), (second.header.id, Refusal::Conflict));
            assert!(description.ends_with(": 6"), "{description}");
        }
        event => panic!("{event:?}"),
    }
    cluster.0[leader].pause();
    for n in &others {
        cluster.0[*n].start_again();
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
