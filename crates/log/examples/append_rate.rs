//! What grouping commands into entries is worth, on a server of your own:
//!
//!     nats-server -c <file with jetstream { store_dir: "...", sync_interval: always }>
//!     cargo run --release -p onex-log --example append_rate nats://127.0.0.1:4222
//!
//! One appender with one entry under way, beside awaited writes of single records with compare-and-set; and how fast a
//! follower reads it all again.

#![allow(clippy::cast_precision_loss, reason = "rates, for people")]
#![allow(
    clippy::indexing_slicing,
    reason = "of JSON, where what is missing is null"
)]

use std::time::{Duration, Instant};

use async_nats::{HeaderMap, header, jetstream};
use bytes::Bytes;
use onex_log::{Append, Event, Log, Options, Size, open};
use onex_nats::connect;
use onex_types::entry::{EntryHeader, EntryId, Sequence};
use uuid::Uuid;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How long each line is measured.
const SECONDS: Duration = Duration::from_secs(4);
/// A lease's record, about.
const COMMAND_BYTES: usize = 300;

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::args()
        .nth(1)
        .unwrap_or("nats://127.0.0.1:4222".to_owned());
    let singles = singles(&url, 64).await?;
    println!("{singles:>9.0} commands/s  single records, compare-and-set, awaited by 64 callers");
    let (mut log, _) = open(Options {
        nats: connect::Options::at(&url),
        bucket: format!("rate-{}", Uuid::new_v4().simple()),
        replicas: Some(1),
        size: Size::or(None, 4 << 30),
    })
    .await?;
    let mut head = Sequence(0);
    let mut last = EntryId::NONE;
    log.follow(head);
    // Nothing is sent without a session.
    log.next(&mut Vec::new()).await;
    for commands in [1, 16, 64, 256] {
        let before = head;
        let began = Instant::now();
        while began.elapsed() < SECONDS {
            let header = EntryHeader {
                id: EntryId(Uuid::new_v4()),
                predecessor: last,
                format: 2,
                snapshot: None,
            };
            let body = Bytes::from(vec![b'x'; commands * COMMAND_BYTES]);
            log.append(Append {
                expected: head,
                header,
                body,
            });
            stored(&mut log, header.id).await?;
            (head, last) = (head.next(), header.id);
        }
        let entries = (head.0 - before.0) as f64 / began.elapsed().as_secs_f64();
        println!(
            "{:>9.0} commands/s  entries of {commands}: {entries:.0} entries/s, {:.1} times single records",
            entries * commands as f64,
            entries * commands as f64 / singles
        );
    }
    let began = Instant::now();
    let (mut messages, mut bytes) = (0, 0);
    log.follow(Sequence(0));
    let mut events = Vec::new();
    while messages < head.0 {
        log.next(&mut events).await;
        for event in events.drain(..) {
            match event {
                Event::Delivered(batch) => {
                    messages += batch.len() as u64;
                    bytes += batch
                        .iter()
                        .map(|delivery| delivery.body.len())
                        .sum::<usize>();
                }
                Event::Lost(lost) => return Err(lost.into()),
                _ => {}
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{:>9.0} entries/s   read again, {:.0} MB/s",
        messages as f64 / seconds,
        bytes as f64 / seconds / 1e6
    );
    Ok(())
}

/// Waits until the entry is acknowledged or delivered.
async fn stored(log: &mut Log, id: EntryId) -> Result<()> {
    let mut events = Vec::new();
    loop {
        log.next(&mut events).await;
        for event in events.drain(..) {
            let delivered = |batch: &Vec<onex_log::Delivery>| {
                batch
                    .iter()
                    .any(|delivery| delivery.header.is_some_and(|header| header.id == id))
            };
            match event {
                Event::Acked { id: acked, .. } if acked == id => return Ok(()),
                Event::Delivered(batch) if delivered(&batch) => return Ok(()),
                Event::Lost(lost) => return Err(lost.into()),
                Event::Refused { description, .. } => return Err(description.into()),
                _ => {}
            }
        }
    }
}

/// Writes a second, each of that many callers to its own key.
async fn singles(url: &str, callers: usize) -> Result<f64> {
    let client = async_nats::connect(url).await?;
    let name = format!("single-{}", Uuid::new_v4().simple());
    let context = jetstream::new(client.clone());
    let stream = jetstream::stream::Config {
        name: name.clone(),
        subjects: vec![format!("{name}.>")],
        max_messages_per_subject: 1,
        ..Default::default()
    };
    context.create_stream(stream).await?;
    let began = Instant::now();
    let write = |caller: usize| {
        let (client, subject) = (client.clone(), format!("{name}.{caller}"));
        async move {
            let (mut expected, mut count) = (0_u64, 0_u64);
            while began.elapsed() < SECONDS {
                let mut headers = HeaderMap::new();
                headers.insert(
                    header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
                    expected.to_string(),
                );
                let body = Bytes::from(vec![b'x'; COMMAND_BYTES]);
                let ack = client
                    .request_with_headers(subject.clone(), headers, body)
                    .await?;
                let ack: serde_json::Value = serde_json::from_slice(&ack.payload)?;
                expected = ack["seq"].as_u64().ok_or("refused")?;
                count += 1;
            }
            Result::Ok(count)
        }
    };
    let callers: Vec<_> = (0..callers)
        .map(|caller| tokio::spawn(write(caller)))
        .collect();
    let mut count = 0;
    for caller in callers {
        count += caller.await??;
    }
    context.delete_stream(&name).await?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
