//! Messages that no version of ours wrote.

use onex_types::entry::{ENTRY_HEADER, EntryId};

use crate::{
    nats::Nats,
    raw::Stranger,
    writer::{Writer, options},
};

/// Header blocks; whether they hold an entry's header that counts; what of them kills a connection that reads them.
fn blocks() -> Vec<(Vec<u8>, bool)> {
    let header = format!("{} {} 2 0 0", "1".repeat(32), EntryId::NONE);
    let block = |text: String| format!("NATS/1.0\r\n{text}\r\n\r\n").into_bytes();
    let mut blocks = vec![
        (block("A: b".to_owned()), false),
        (block(format!("{ENTRY_HEADER}: {header}")), true),
        (block(format!("{ENTRY_HEADER}:    {header}   ")), true),
        (
            block(format!(
                "{ENTRY_HEADER}: {header}\r\n{ENTRY_HEADER}: {header}"
            )),
            false,
        ),
        (block(format!("onex-entry: {header}")), false),
        (block(format!("{ENTRY_HEADER}: ")), false),
        // Folded.
        (
            block(format!(
                "{ENTRY_HEADER}: {}\r\n {}",
                &header[..32],
                &header[33..]
            )),
            true,
        ),
        // A lone CR: the client library panics.
        (block(format!("A: b\rc\r\n{ENTRY_HEADER}: {header}")), false),
        (block(format!("{ENTRY_HEADER}: {header}\rx")), false),
        // Its connection breaks.
        (block(format!("A b: c\r\n{ENTRY_HEADER}: {header}")), false),
        (
            block(format!("no colon\r\n{ENTRY_HEADER}: {header}")),
            false,
        ),
        (
            format!("HTTP/1.0\r\n{ENTRY_HEADER}: {header}\r\n\r\n").into_bytes(),
            false,
        ),
        // As the server's words for a follower. It removes them.
        (b"NATS/1.0 409 Consumer Deleted\r\n\r\n".to_vec(), false),
        (b"NATS/1.0 100 Idle Heartbeat\r\n\r\n".to_vec(), false),
        (
            format!("NATS/1.0 503\r\n{ENTRY_HEADER}: {header}\r\n\r\n").into_bytes(),
            true,
        ),
    ];
    let mut binary = format!("NATS/1.0\r\n{ENTRY_HEADER}: {header}\r\nA: ").into_bytes();
    binary.extend(b"\xff\xfe\r\n\r\n");
    blocks.push((binary, false));
    blocks
}

/// Schedules 38 and 45, this crate's part: a follower and a reader of single messages see the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_messages_are_delivered_and_judged_alike() {
    let nats = Nats::start();
    let stranger = Stranger::at(&nats.url()).await;
    let mut writer = Writer::open(options(&nats.url())).await;
    writer.write(1).await;
    let mut wanted = vec![true];
    for (n, (block, entry)) in blocks().into_iter().enumerate() {
        stranger.store(&block, &format!("foreign {n}")).await;
        wanted.push(entry);
        if n % 3 == 0 {
            writer.write(1).await;
            wanted.push(true);
        }
    }
    writer.catch_up().await;
    let mut reader = Writer::open(options(&nats.url())).await;
    reader.catch_up().await;
    for follower in [&writer, &reader] {
        let seen: Vec<bool> = follower
            .applied
            .iter()
            .map(|delivery| delivery.header.is_some())
            .collect();
        assert_eq!(seen, wanted);
        assert!(!follower.lost.is_empty(), "no message ended a connection");
    }
    for (own, other) in writer.applied.iter().zip(&reader.applied) {
        let found = writer.store.get(own.sequence).await.unwrap().unwrap();
        assert_eq!(
            (&found.header, &found.body, found.time),
            (&own.header, &own.body, own.time)
        );
        assert_eq!(
            (&other.header, &other.body, other.time),
            (&own.header, &own.body, own.time)
        );
    }
    assert_eq!(writer.stored.len(), 7);
}

/// The last message, and the one that was applied, cannot be read by the client library.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_header_at_the_end_stops_nobody() {
    let nats = Nats::start();
    let stranger = Stranger::at(&nats.url()).await;
    let mut writer = Writer::open(options(&nats.url())).await;
    writer.write(2).await;
    for body in ["one", "two"] {
        stranger.store(b"NATS/1.0\r\nA: b\rc\r\n\r\n", body).await;
    }
    writer.catch_up().await;
    // Its next session starts at one of them.
    stranger.delete_consumers().await;
    let before = writer.lost.len();
    writer
        .until("the session is lost", |writer| writer.lost.len() > before)
        .await;
    writer.write(2).await;
    let bodies: Vec<&[u8]> = writer
        .applied
        .iter()
        .map(|delivery| &delivery.body[..])
        .collect();
    assert_eq!(bodies, [&b"{}"[..], b"{}", b"one", b"two", b"{}", b"{}"]);
    let last = writer.store.last().await.unwrap().unwrap();
    assert_eq!(last.header, writer.applied[5].header);
}
