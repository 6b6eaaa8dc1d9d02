//! The bound on batches under way of one instance, against a real server that has stopped answering.

// The lints' exception for tests does not reach the helpers of one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use harness::{Nats, round_trip};
use onex_registry::domain::key::{Key, Revision};
use onex_registry::domain::record::Stored;
use onex_registry::domain::write::Write;
use onex_registry::protocol::names::Namespace;
use onex_registry::store::{Store, Written, open::Names};
use tokio::task::JoinSet;

mod harness;

/// As docs/architecture.md says.
const UNDER_WAY_MAX: usize = 8;
/// How long a batch waits for its turn.
const TURN_WAIT: Duration = Duration::from_millis(500);
/// Batches that are one too many, or more.
const SURPLUS: usize = 5;

/// A batch of two writes, on keys that no other one writes.
fn batch(n: usize) -> [Write; 2] {
    let id = format!("n{n}");
    let write = |key| Write {
        key,
        expected: Revision::default(),
        value: Stored::Forgotten,
    };
    [
        write(Key::Node(id.parse().unwrap())),
        write(Key::Live(id.parse().unwrap())),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_batches_are_under_way_than_there_may_be() {
    let nats = Nats::start();
    let client = async_nats::connect(nats.url()).await.unwrap();
    let default = Namespace::default();
    let names = Names {
        bucket: default.bucket(),
        events_stream: default.events_stream(),
        events_subjects: default.events(),
        replicas: Some(1),
        events_bytes_max: 1 << 20,
        events_age_max: Duration::from_hours(1),
    };
    let store = Store::open(client.clone(), &names).await.unwrap();
    let observer = async_nats::connect(nats.url()).await.unwrap();
    let mut seen = observer.subscribe("$KV.>").await.unwrap();
    round_trip(&observer).await;

    // Nothing is acknowledged: whoever has a turn keeps it.
    nats.pause();
    let mut writes = JoinSet::new();
    for n in 0..UNDER_WAY_MAX + SURPLUS {
        let store = store.clone();
        writes.spawn(async move {
            let since = Instant::now();
            (store.write(&batch(n)).await, since.elapsed(), n)
        });
    }
    let mut all = writes.join_all().await;
    nats.resume();
    all.sort_by_key(|(_, after, _)| *after);
    let (without_turn, sent) = all.split_at(SURPLUS);
    for (written, after, n) in without_turn {
        assert_eq!(*written, Written::Unsent, "batch {n} after {after:?}");
        assert!(*after >= TURN_WAIT, "batch {n} after {after:?}");
    }
    for (written, after, n) in sent {
        assert_eq!(*written, Written::Unknown, "batch {n} after {after:?}");
    }

    // What was said not to have been sent was not, no part of it; all else was, whole.
    // This comes behind all that was sent: it takes the same way.
    client.publish("$KV.end", "".into()).await.unwrap();
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    loop {
        let message = seen.next().await.unwrap();
        if message.subject.as_str() == "$KV.end" {
            break;
        }
        let id = message
            .headers
            .unwrap()
            .get("Nats-Batch-Id")
            .unwrap()
            .to_string();
        *sizes.entry(id).or_default() += 1;
    }
    assert_eq!(sizes.into_values().collect::<Vec<_>>(), [2; UNDER_WAY_MAX]);

    // Turns are given back.
    for n in 100..100 + 2 * UNDER_WAY_MAX {
        let written = store.write(&batch(n)).await;
        assert!(matches!(written, Written::At(_)), "{written:?}");
    }
}
