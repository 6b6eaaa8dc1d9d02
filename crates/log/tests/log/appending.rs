//! Compare-and-append on one server.

use std::time::Duration;

use onex_log::{Event, Lost, Refusal, open};
use onex_types::entry::{EntryId, Sequence};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use crate::{
    PATIENCE,
    nats::Nats,
    proxy::Proxy,
    raw::Stranger,
    until,
    writer::{Writer, assert_log, entry, options},
};

/// The next event of a log that is used by hand.
pub(crate) async fn next(log: &mut onex_log::Log, queue: &mut Vec<Event>) -> Event {
    if queue.is_empty() {
        timeout(PATIENCE, log.next(queue)).await.unwrap();
    }
    queue.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_contending_appenders_leave_one_chain() {
    let nats = Nats::start();
    let mut one = Writer::open(options(&nats.url())).await;
    let mut two = Writer::open(options(&nats.url())).await;
    tokio::join!(one.write(300), two.write(300));
    let read = assert_log(&nats.url(), &[&one, &two]).await;
    assert_eq!(read.len(), 600);
    assert!(one.outlived + two.outlived > 0, "they never met");
    assert!(
        one.refusals
            .iter()
            .chain(&two.refusals)
            .all(|refusal| *refusal == Refusal::Conflict)
    );
}

/// Schedule 26.
#[tokio::test]
async fn repeated_entry_is_refused_by_its_own_number() {
    let nats = Nats::start();
    let (mut log, _store) = open(options(&nats.url())).await.unwrap();
    let mut queue = Vec::new();
    log.follow(Sequence(0));
    assert!(matches!(
        next(&mut log, &mut queue).await,
        Event::Following {
            first: None,
            pending: 0
        }
    ));
    let append = entry(EntryId::NONE, Sequence(0), "{\"n\":1}");
    log.append(append.clone());
    let (mut acked, mut delivered) = (None, None);
    while acked.is_none() || delivered.is_none() {
        match next(&mut log, &mut queue).await {
            Event::Acked { id, sequence } => acked = Some((id, sequence)),
            Event::Delivered(batch) => delivered = batch.into_iter().next(),
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(acked, Some((append.header.id, Sequence(1))));
    let delivered = delivered.unwrap();
    assert_eq!(
        (delivered.header, delivered.body),
        (Some(append.header), append.body.clone())
    );
    assert_eq!(delivered.pending, 0);
    log.append(append.clone());
    match next(&mut log, &mut queue).await {
        Event::Refused {
            id,
            refusal,
            description,
        } => {
            assert_eq!((id, refusal), (append.header.id, Refusal::Conflict));
            assert!(description.ends_with(": 1"), "{description}");
        }
        event => panic!("{event:?}"),
    }
    assert_eq!(Stranger::at(&nats.url()).await.last().await, 1);
}

/// Schedule 39: a message id, or the expectation of one, may stop the replicas of a stream for good.
#[tokio::test]
async fn entry_is_stored_with_its_three_headers() {
    let nats = Nats::start();
    let stranger = Stranger::at(&nats.url()).await;
    let mut writer = Writer::open(options(&nats.url())).await;
    writer.write(2).await;
    let mut lines = stranger.headers(2).await;
    lines.sort_unstable();
    let [one, two] = [0, 1].map(|n| writer.stored[n].0);
    assert_eq!(
        lines,
        [
            "Nats-Expected-Last-Sequence: 1".to_owned(),
            "Nats-Expected-Stream: KV_test".to_owned(),
            format!("Onex-Entry: {two} {one} 2 0 {}", EntryId::NONE),
        ]
    );
}

#[tokio::test]
async fn frozen_server_is_silence_and_a_repeat_settles_it() {
    let nats = Nats::start();
    let mut writer = Writer::open(options(&nats.url())).await;
    writer.write(3).await;
    nats.pause();
    writer.want(1);
    writer
        .until("the session is lost", |writer| !writer.lost.is_empty())
        .await;
    assert!(matches!(writer.lost[0], Lost::Silent), "{:?}", writer.lost);
    nats.resume();
    writer
        .until("it is stored", |writer| writer.stored.len() == 4)
        .await;
    writer.write(3).await;
    assert_eq!(assert_log(&nats.url(), &[&writer]).await.len(), 7);
}

#[tokio::test]
async fn killed_server_loses_nothing_acknowledged() {
    let mut nats = Nats::start();
    let mut writer = Writer::open(options(&nats.url())).await;
    for _ in 0..3 {
        writer.write(20).await;
        writer.want(1);
        nats.kill();
        writer
            .until("the session is lost", |writer| !writer.lost.is_empty())
            .await;
        assert!(
            matches!(writer.lost[0], Lost::Connection),
            "{:?}",
            writer.lost
        );
        nats.start_again();
        // Over a connection that ended with the server.
        writer.store.check().await.unwrap();
        writer.write(0).await;
        writer.lost.clear();
    }
    writer.write(5).await;
    assert!(assert_log(&nats.url(), &[&writer]).await.len() >= 65);
}

/// Schedule 50, this crate's part: the client library would send it on reconnecting, before anything was compared.
#[tokio::test]
async fn append_outside_a_session_is_never_sent() {
    let nats = Nats::start();
    let proxy = Proxy::to(&nats.url()).await;
    let mut writer = Writer::open(options(&proxy.url())).await;
    writer.write(2).await;
    let address = proxy.url();
    let mut witness = TcpStream::connect(address.trim_start_matches("nats://"))
        .await
        .unwrap();
    let mut greeting = [0; 5];
    witness.read_exact(&mut greeting).await.unwrap();
    proxy.cut();
    drop(witness.read_to_end(&mut Vec::new()).await);
    writer
        .log
        .append(entry(writer.last_valid, writer.head, "buffered"));
    let mut events = Vec::new();
    drop(timeout(Duration::from_millis(500), writer.log.next(&mut events)).await);
    proxy.mend();
    writer.handle_all(events);
    writer
        .log
        .append(entry(writer.last_valid, writer.head, "without a session"));
    writer.write(1).await;
    assert!(
        matches!(writer.lost[0], Lost::Connection),
        "{:?}",
        writer.lost
    );
    assert_eq!(assert_log(&nats.url(), &[&writer]).await.len(), 3);
}

#[tokio::test]
async fn too_large_an_entry_is_refused_here() {
    let nats = Nats::start();
    let (mut log, _store) = open(options(&nats.url())).await.unwrap();
    let mut queue = Vec::new();
    log.follow(Sequence(0));
    next(&mut log, &mut queue).await;
    let max = log.max_payload().unwrap();
    log.append(entry(EntryId::NONE, Sequence(0), &"x".repeat(max)));
    let event = next(&mut log, &mut queue).await;
    assert!(
        matches!(
            event,
            Event::Refused {
                refusal: Refusal::TooLarge,
                ..
            }
        ),
        "{event:?}"
    );
}

#[tokio::test]
async fn nothing_outlives_the_log() {
    let mut nats = Nats::start();
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = alive();
    let mut writer = Writer::open(options(&nats.url())).await;
    writer.write(2).await;
    assert!(alive() > before);
    nats.kill();
    writer.want(1);
    writer
        .until("the session is lost", |writer| !writer.lost.is_empty())
        .await;
    drop(writer);
    // The server stays away: whoever waits for it would stay.
    until("all tasks to end", async || {
        (alive() <= before).then_some(())
    })
    .await;
}
