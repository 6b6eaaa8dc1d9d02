//! A stream that is derived from the log: one writer at a time, each message behind the last one.

use std::time::Duration;

use async_nats::HeaderMap;
use onex_log::{BucketNames, Derived, DerivedMessage, DerivedOptions, Tail};
use onex_types::entry::Sequence;

use crate::nats::Nats;

const NAME: &str = "Event-Id";

async fn open(nats: &Nats) -> Derived {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let options = DerivedOptions {
        name: "DERIVED".to_owned(),
        description: "Made again from the log.".to_owned(),
        subject: "derived.>".to_owned(),
        replicas: Some(1),
        size: None,
        age_max: Duration::ZERO,
        age_chosen: false,
        is_bucket: false,
    };
    Derived::open(client, &options).await.unwrap()
}

fn messages(ids: std::ops::Range<u32>) -> Vec<DerivedMessage> {
    let message = |id: u32| {
        let mut headers = HeaderMap::new();
        headers.insert(NAME, id.to_string());
        DerivedMessage {
            subject: "derived.a".to_owned(),
            headers,
            body: "x".into(),
        }
    };
    ids.map(message).collect()
}

fn tail(last: u64, id: Option<u32>) -> Tail {
    Tail {
        last: Sequence(last),
        value: id.map(|id| id.to_string()),
    }
}

#[tokio::test]
async fn messages_go_behind_the_last_one_or_nowhere() {
    let nats = Nats::start();
    let one = open(&nats).await;
    let other = open(&nats).await;
    assert_eq!(one.tail(NAME, |_| true).await.unwrap(), tail(0, None));
    assert_eq!(one.append(Sequence(0), messages(1..201)).await, 200);
    // Who believes the stream to be shorter appends nothing.
    assert_eq!(other.append(Sequence(0), messages(1..201)).await, 0);
    assert_eq!(other.append(Sequence(0), messages(1..4)).await, 0);
    assert_eq!(other.append(Sequence(199), messages(200..202)).await, 0);
    assert_eq!(
        other.tail(NAME, |_| true).await.unwrap(),
        tail(200, Some(200))
    );
    assert_eq!(other.append(Sequence(200), messages(201..203)).await, 2);
    assert_eq!(one.append(Sequence(200), messages(201..203)).await, 0);
    assert_eq!(one.append(Sequence(202), messages(203..1_303)).await, 1_100);
    assert_eq!(
        one.tail(NAME, |_| true).await.unwrap(),
        tail(1_302, Some(1_302))
    );
}

#[tokio::test]
async fn nothing_of_a_batch_is_behind_what_somebody_else_wrote_meanwhile() {
    let nats = Nats::start();
    let derived = open(&nats).await;
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let stream = context.get_stream("DERIVED").await.unwrap();
    let stranger = async_nats::connect(nats.url()).await.unwrap();
    let mut last = 0;
    let mut cut = 0;
    for round in 0..40 {
        let first = last;
        let write = async {
            // Each round at another moment of the batch.
            tokio::time::sleep(Duration::from_micros(250 * round)).await;
            stranger.request("derived.b", "y".into()).await.unwrap();
        };
        let append = derived.append(Sequence(first), messages(0..500));
        let (stored, ()) = tokio::join!(append, write);
        last = derived.last().await.unwrap().0;
        // Ours without a gap, then theirs, and nothing behind; theirs may also be behind all of ours.
        let ours = usize::try_from(last - first - 1).unwrap();
        assert!(stored <= ours, "{stored} of {ours}");
        cut += usize::from(ours < 500);
        let theirs = stream.get_raw_message(last).await.unwrap();
        assert_eq!(theirs.subject.as_str(), "derived.b", "{ours}");
        for (n, place) in [(0, first + 1), (ours.saturating_sub(1), last - 1)] {
            if ours > 0 {
                let message = stream.get_raw_message(place).await.unwrap();
                let id = message.headers.get(NAME).map(|id| id.as_str().to_owned());
                assert_eq!(id, Some(n.to_string()));
            }
        }
    }
    assert!(cut > 0, "nobody wrote meanwhile");
}

#[tokio::test]
async fn messages_of_a_batch_are_stored_one_by_one_and_ask_for_no_files_of_their_own() {
    let nats = Nats::start();
    let derived = open(&nats).await;
    assert_eq!(derived.append(Sequence(0), messages(0..500)).await, 500);
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let stream = context.get_stream("DERIVED").await.unwrap();
    // The first of them, before anything has shown that each is synced.
    let message = stream.get_raw_message(2).await.unwrap();
    assert_eq!(message.headers.get("Nats-Batch-Id"), None);
}

#[tokio::test]
async fn what_others_write_is_looked_past() {
    let nats = Nats::start();
    let derived = open(&nats).await;
    assert_eq!(derived.append(Sequence(0), messages(1..4)).await, 3);
    let stranger = async_nats::connect(nats.url()).await.unwrap();
    for _ in 0..3 {
        stranger.request("derived.b", "y".into()).await.unwrap();
    }
    assert_eq!(
        derived.tail(NAME, |_| true).await.unwrap(),
        tail(6, Some(3))
    );
    assert_eq!(derived.append(Sequence(6), messages(4..5)).await, 1);
    assert_eq!(
        derived.tail(NAME, |_| true).await.unwrap(),
        tail(7, Some(4))
    );
}

#[tokio::test]
async fn a_stream_that_takes_no_batches_is_corrected_and_the_rest_of_its_settings_stays() {
    let nats = Nats::start();
    let client = async_nats::connect(nats.url()).await.unwrap();
    let context = async_nats::jetstream::new(client.clone());
    let config = async_nats::jetstream::stream::Config {
        name: "DERIVED".to_owned(),
        subjects: vec!["derived.>".to_owned()],
        max_bytes: 1 << 20,
        ..Default::default()
    };
    context.create_stream(config).await.unwrap();
    let derived = open(&nats).await;
    // So many go in a batch.
    assert_eq!(derived.append(Sequence(0), messages(1..101)).await, 100);
    let stream = context.get_stream("DERIVED").await.unwrap();
    assert_eq!(stream.cached_info().config.max_bytes, 1 << 20);
}

#[tokio::test]
async fn a_bucket_keeps_the_last_value_of_each_key_and_tells_what_others_wrote() {
    let nats = Nats::start();
    let client = async_nats::connect(nats.url()).await.unwrap();
    let names = BucketNames::of("shown");
    let options = names.options("Shown.".to_owned(), Some(1));
    let derived = Derived::open(client.clone(), &options).await.unwrap();
    let put = |key: &str, value: &'static str| names.put(key, value.into());
    let mut messages: Vec<DerivedMessage> = (0..64).map(|n| put(&format!("k.{n}"), "1")).collect();
    messages.extend([put("k.0", "2"), names.remove("k.1")]);
    assert_eq!(derived.append(Sequence(0), messages).await, 66);
    let context = async_nats::jetstream::new(client);
    let bucket = context.get_key_value("shown").await.unwrap();
    assert_eq!(bucket.get("k.0").await.unwrap().unwrap(), "2");
    assert_eq!(bucket.get("k.1").await.unwrap(), None);
    let mut subjects = derived.subjects().await.unwrap();
    subjects.sort();
    assert_eq!(subjects.len(), 64);
    assert_eq!(names.key(&subjects[0]), Some("k.0"));
    bucket.put("k.5", "theirs".into()).await.unwrap();
    bucket.put("k.6", "theirs".into()).await.unwrap();
    let (last, behind) = derived.behind(Sequence(66)).await.unwrap();
    let behind = behind.unwrap();
    let keys: Vec<Option<&str>> = behind.iter().map(|subject| names.key(subject)).collect();
    assert_eq!((last, keys), (Sequence(68), vec![Some("k.5"), Some("k.6")]));
    // A stream that is shorter than that is another one.
    assert_eq!(derived.behind(Sequence(70)).await.unwrap(), (last, None));
}
