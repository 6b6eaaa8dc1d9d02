//! Full logs, and trims.

use futures::StreamExt;
use onex_log::{Error, Options, Refusal, Size};
use onex_types::entry::Sequence;
use serde_json::json;
use tokio::time::timeout;

use crate::{
    PATIENCE,
    nats::Nats,
    raw::{SUBJECT, Stranger},
    writer::{Writer, entry, options},
};

/// Schedule 40.
#[tokio::test]
async fn full_log_refuses_and_a_trim_cures_it() {
    let nats = Nats::start();
    let small = Options {
        size: Size::or(Some(1 << 20), 0),
        ..options(&nats.url())
    };
    let mut writer = Writer::open(small).await;
    writer.bodies("x".repeat(64 << 10));
    writer.want(100);
    writer
        .until("it is full", |writer| !writer.refusals.is_empty())
        .await;
    assert_eq!(writer.refusals[0], Refusal::Full);
    let stored = writer.stored.len();
    assert!((10..20).contains(&stored), "{stored}");
    let info = writer.store.check().await.unwrap();
    assert!(
        info.bytes_max == 1 << 20 && info.bytes > 900 << 10,
        "{info:?}"
    );
    assert_eq!(writer.store.purge_below(Sequence(6)).await.unwrap(), 5);
    writer
        .until("it goes on", |writer| writer.stored.len() > stored)
        .await;
}

#[tokio::test]
async fn trim_goes_as_far_as_it_says() {
    let nats = Nats::start();
    let mut writer = Writer::open(options(&nats.url())).await;
    writer.write(10).await;
    for (below, purged, first) in [
        (0, 0, 1),
        (1, 0, 1),
        (4, 3, 4),
        (4, 0, 4),
        (11, 7, 11),
        (11, 0, 11),
    ] {
        assert_eq!(
            writer.store.purge_below(Sequence(below)).await.unwrap(),
            purged,
            "{below}"
        );
        let info = writer.store.check().await.unwrap();
        assert_eq!(
            (info.first, info.last),
            (Sequence(first), Sequence(10)),
            "{below}"
        );
    }
    let refused = writer.store.purge_below(Sequence(12)).await;
    assert!(matches!(refused, Err(Error::Behind { .. })), "{refused:?}");
    assert_eq!(writer.store.last().await.unwrap(), None);
    assert_eq!(writer.store.get(Sequence(3)).await.unwrap(), None);
    writer.write(1).await;
    assert_eq!(writer.head, Sequence(11));
}

#[tokio::test]
async fn trim_is_cut_into_pieces() {
    let nats = Nats::start_with("jetstream { store_dir: \"FOLDER/store\" }");
    let stranger = Stranger::at(&nats.url()).await;
    let mut purges = stranger
        .client
        .subscribe("$JS.API.STREAM.PURGE.KV_test")
        .await
        .unwrap();
    let writer = Writer::open(options(&nats.url())).await;
    // A server drops what it has not stored yet beyond 10,000 messages.
    for n in 1..=25_000 {
        let body = n.to_string().into();
        if n % 1_000 == 0 {
            stranger.client.request(SUBJECT, body).await.unwrap();
        } else {
            stranger.client.publish(SUBJECT, body).await.unwrap();
        }
    }
    assert_eq!(stranger.last().await, 25_000);
    assert_eq!(
        writer.store.purge_below(Sequence(24_001)).await.unwrap(),
        24_000
    );
    let mut pieces = Vec::new();
    while pieces.last() != Some(&24_001) {
        let request = timeout(PATIENCE, purges.next()).await.unwrap().unwrap();
        let request: serde_json::Value = serde_json::from_slice(&request.payload).unwrap();
        pieces.push(request["seq"].as_u64().unwrap());
    }
    assert_eq!(pieces, [10_001, 20_001, 24_001]);
}

/// Schedule 34: the request of a trim arrives when the log is another one, or went back.
#[tokio::test]
async fn late_trim_moves_no_numbers() {
    let nats = Nats::start();
    let stranger = Stranger::at(&nats.url()).await;
    let mut purges = stranger
        .client
        .subscribe("$JS.API.STREAM.PURGE.KV_test")
        .await
        .unwrap();
    let mut writer = Writer::open(options(&nats.url())).await;
    writer.write(30).await;
    writer.store.purge_below(Sequence(21)).await.unwrap();
    let late = timeout(PATIENCE, purges.next())
        .await
        .unwrap()
        .unwrap()
        .payload;
    drop(writer);
    stranger.delete_stream().await;
    let mut writer = Writer::open(options(&nats.url())).await;
    writer.write(10).await;
    stranger
        .client
        .request("$JS.API.STREAM.PURGE.KV_test", late)
        .await
        .unwrap();
    assert_eq!(stranger.last().await, 10);
    writer.write(1).await;
    assert_eq!(writer.head, Sequence(11));
    // So it would be without the filter, which is why it is there.
    let bare = json!({ "seq": 21 });
    stranger.api("STREAM.PURGE.KV_test", &bare).await;
    assert_eq!(stranger.last().await, 20);
    writer
        .log
        .append(entry(writer.last_valid, writer.head, "{}"));
    writer
        .until("it is refused", |writer| !writer.refusals.is_empty())
        .await;
    assert_eq!(writer.refusals, [Refusal::Conflict]);
}
