//! What can happen to a follower.

use onex_log::{Error, Event, Lost, open};
use onex_types::entry::Sequence;

use crate::{
    appending::next,
    nats::Nats,
    raw::Stranger,
    writer::{Writer, assert_log, options},
};

#[tokio::test]
async fn deleted_consumer_is_noticed_at_once() {
    let nats = Nats::start();
    let stranger = Stranger::at(&nats.url()).await;
    let mut writer = Writer::open(options(&nats.url())).await;
    writer.write(5).await;
    stranger.delete_consumers().await;
    writer
        .until("the session is lost", |writer| !writer.lost.is_empty())
        .await;
    assert!(
        matches!(writer.lost[0], Lost::Consumer(_)),
        "{:?}",
        writer.lost
    );
    writer.write(5).await;
    assert_eq!(assert_log(&nats.url(), &[&writer]).await.len(), 10);
}

#[tokio::test]
async fn stream_deleted_and_created_again_is_another_one() {
    let nats = Nats::start();
    let stranger = Stranger::at(&nats.url()).await;
    let (mut log, store) = open(options(&nats.url())).await.unwrap();
    let mut queue = Vec::new();
    log.follow(Sequence(0));
    assert!(matches!(
        next(&mut log, &mut queue).await,
        Event::Following { .. }
    ));
    let config = stranger.config().await;
    stranger.delete_stream().await;
    let event = next(&mut log, &mut queue).await;
    assert!(matches!(event, Event::Lost(Lost::Consumer(_))), "{event:?}");
    log.follow(Sequence(0));
    let event = next(&mut log, &mut queue).await;
    assert!(
        matches!(event, Event::Lost(Lost::NotStarted(Error::Missing { .. }))),
        "{event:?}"
    );
    stranger.api("STREAM.CREATE.KV_test", &config).await;
    for n in 0..3 {
        stranger.store(b"NATS/1.0\r\n\r\n", &n.to_string()).await;
    }
    log.follow(Sequence(0));
    let event = next(&mut log, &mut queue).await;
    assert!(
        matches!(
            event,
            Event::Lost(Lost::NotStarted(Error::Recreated { .. }))
        ),
        "{event:?}"
    );
    assert!(matches!(store.check().await, Err(Error::Recreated { .. })));
    assert!(matches!(
        store.purge_below(Sequence(3)).await,
        Err(Error::Recreated { .. })
    ));
    assert_eq!(store.get(Sequence(1)).await.unwrap().unwrap().body, "0");
}

/// Schedule 35.
#[tokio::test]
async fn follower_paused_beyond_what_is_kept_is_told() {
    let nats = Nats::start();
    let mut writer = Writer::open(options(&nats.url())).await;
    writer.write(50).await;
    let (mut log, store) = open(options(&nats.url())).await.unwrap();
    let mut queue = Vec::new();
    assert_eq!(store.purge_below(Sequence(30)).await.unwrap(), 29);
    for (from, wanted) in [(0, 1), (10, 10), (29, 29)] {
        log.follow(Sequence(from));
        let mut event = next(&mut log, &mut queue).await;
        if from == 0 {
            assert!(
                matches!(
                    event,
                    Event::Following {
                        first: None,
                        pending: 21
                    }
                ),
                "{event:?}"
            );
            event = next(&mut log, &mut queue).await;
        }
        match event {
            Event::Lost(Lost::Trimmed { wanted: is, first }) => {
                assert_eq!((is, first), (Sequence(wanted), Sequence(30)));
            }
            event => panic!("{event:?}"),
        }
    }
    log.follow(Sequence(30));
    match next(&mut log, &mut queue).await {
        Event::Following {
            first: Some(first),
            pending,
        } => {
            assert_eq!((first.sequence, pending), (Sequence(30), 20));
            assert_eq!(first.header, writer.applied[29].header);
            let found = store.get(Sequence(30)).await.unwrap().unwrap();
            assert_eq!(
                (found.header, found.time, &found.body),
                (first.header, first.time, &first.body)
            );
        }
        event => panic!("{event:?}"),
    }
}

#[tokio::test]
async fn store_behind_what_was_applied_is_told() {
    let nats = Nats::start();
    let mut writer = Writer::open(options(&nats.url())).await;
    writer.write(3).await;
    let (mut log, _store) = open(options(&nats.url())).await.unwrap();
    let mut queue = Vec::new();
    log.follow(Sequence(4));
    let event = next(&mut log, &mut queue).await;
    assert!(
        matches!(
            event,
            Event::Lost(Lost::Behind {
                wanted: Sequence(4)
            })
        ),
        "{event:?}"
    );
    writer.write(1).await;
    log.follow(Sequence(4));
    let event = next(&mut log, &mut queue).await;
    assert!(
        matches!(
            event,
            Event::Following {
                first: Some(_),
                pending: 0
            }
        ),
        "{event:?}"
    );
}

#[tokio::test]
async fn long_log_is_followed_to_its_end_in_one_session() {
    let nats = Nats::start_with("jetstream { store_dir: \"FOLDER/store\" }");
    let mut writer = Writer::open(options(&nats.url())).await;
    // More, by number and by bytes, than the consumer is asked for at once.
    writer.bodies("x".repeat(12 << 10));
    writer.write(2_500).await;
    let mut reader = Writer::open(options(&nats.url())).await;
    reader.catch_up().await;
    assert_eq!(reader.applied.len(), 2_500);
    let last = reader.applied.last().unwrap();
    assert_eq!(
        (last.header, last.pending),
        (writer.applied[2_499].header, 0)
    );
    // One session is enough: it asks for more before it has everything that it asked for.
    assert!(reader.lost.len() < 2, "{:?}", reader.lost);
}
