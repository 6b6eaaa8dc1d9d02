//! The least engine that the rules for appending allow: one entry under way, the same one again until the log shows what
//! stands at its place, and only the log says what was lost.

use std::time::Duration;

use bytes::Bytes;
use onex_log::{Append, Delivery, Event, Log, Lost, Options, Refusal, Size, Store, open};
use onex_nats::connect;
use onex_types::entry::{EntryHeader, EntryId, Sequence};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use crate::{PATIENCE, until};

/// After how long without an answer the same entry is sent again.
const REPEAT: Duration = Duration::from_secs(1);

pub(crate) fn options(url: &str) -> Options {
    Options {
        nats: connect::Options::at(url),
        bucket: "test".to_owned(),
        replicas: Some(1),
        size: Size::or(None, 64 << 20),
    }
}

/// The loop that owns a log may be a task of its own.
const fn is_send<T: Send>() {}
const _: () = is_send::<Log>();

/// An entry that follows `predecessor`.
pub(crate) fn entry(predecessor: EntryId, expected: Sequence, body: &str) -> Append {
    Append {
        expected,
        header: EntryHeader {
            id: EntryId(Uuid::new_v4()),
            predecessor,
            format: 2,
            snapshot: None,
        },
        body: Bytes::from(body.to_owned()),
    }
}

pub(crate) struct Writer {
    options: Options,
    pub(crate) log: Log,
    pub(crate) store: Store,
    pub(crate) head: Sequence,
    pub(crate) last_valid: EntryId,
    pub(crate) applied: Vec<Delivery>,
    /// Whether the session fits: only then is anything sent.
    fits: bool,
    pending: Option<(Append, Instant)>,
    /// Entries that are still to be written.
    wanted: usize,
    body: String,
    /// Entries of its own that are stored, and where.
    pub(crate) stored: Vec<(EntryId, Sequence)>,
    pub(crate) outlived: usize,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) lost: Vec<Lost>,
}

impl Writer {
    /// Once the server, or its cluster, is ready.
    pub(crate) async fn open(options: Options) -> Self {
        let opened = until("the log to open", async || open(options.clone()).await.ok());
        let (mut log, store) = opened.await;
        log.follow(Sequence(0));
        Self {
            options,
            log,
            store,
            head: Sequence(0),
            last_valid: EntryId::NONE,
            applied: Vec::new(),
            fits: false,
            pending: None,
            wanted: 0,
            body: "{}".to_owned(),
            stored: Vec::new(),
            outlived: 0,
            refusals: Vec::new(),
            lost: Vec::new(),
        }
    }

    pub(crate) fn bodies(&mut self, body: String) {
        self.body = body;
    }

    /// Writes that many entries.
    pub(crate) async fn write(&mut self, count: usize) {
        let goal = self.stored.len() + count;
        self.wanted = count;
        self.until("entries are written", |writer| writer.stored.len() >= goal)
            .await;
    }

    /// Starts to write and does not wait.
    pub(crate) fn want(&mut self, count: usize) {
        self.wanted = count;
    }

    /// Goes on until the condition holds.
    pub(crate) async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(self) {
            let step = timeout_at(end, self.step()).await;
            assert!(
                step.is_ok(),
                "waited in vain until {what}; lost: {:?}, refused: {:?}",
                self.lost,
                self.refusals
            );
        }
    }

    /// Goes on until everything that the stream has is applied.
    pub(crate) async fn catch_up(&mut self) {
        let last = self.store.check().await.unwrap().last;
        self.until("it has caught up", |writer| writer.head >= last)
            .await;
    }

    async fn step(&mut self) {
        if self.fits && self.pending.is_none() && self.wanted > 0 {
            self.wanted -= 1;
            let append = entry(self.last_valid, self.head, &self.body);
            self.send(append);
        }
        let mut events = Vec::new();
        match self.pending.as_ref().map(|(_, at)| *at + REPEAT) {
            Some(at) if timeout_at(at, self.log.next(&mut events)).await.is_err() => {
                if self.fits
                    && let Some((append, _)) = self.pending.take()
                {
                    self.send(append);
                } else if let Some((_, at)) = &mut self.pending {
                    *at = Instant::now();
                }
            }
            Some(_) => {}
            None => drop(timeout(REPEAT, self.log.next(&mut events)).await),
        }
        self.handle_all(events);
    }

    fn send(&mut self, append: Append) {
        self.log.append(append.clone());
        self.pending = Some((append, Instant::now()));
    }

    pub(crate) fn handle_all(&mut self, events: Vec<Event>) {
        for event in events {
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Following { first, .. } => {
                assert_eq!(
                    first.as_ref().map_or(Sequence(0), |first| first.sequence),
                    self.head
                );
                if let (Some(first), Some(applied)) = (first, self.applied.last()) {
                    assert_eq!(first.header, applied.header, "the store does not fit");
                    assert_eq!(first.body, applied.body, "the store does not fit");
                }
                self.fits = true;
            }
            Event::Delivered(batch) => batch.into_iter().for_each(|delivery| self.apply(delivery)),
            // The log shows it anyway; here it is only compared with what the log shows.
            Event::Acked { id, sequence } => {
                let own = self
                    .pending
                    .as_ref()
                    .is_some_and(|(append, _)| append.header.id == id);
                assert!(
                    own || self.stored.contains(&(id, sequence)),
                    "{id} was not sent, or lost"
                );
                if let Some((append, _)) = &self.pending
                    && own
                {
                    assert_eq!(sequence, append.expected.next());
                }
            }
            Event::Refused { refusal, .. } => self.refusals.push(refusal),
            Event::Lost(lost) => {
                self.lost.push(lost);
                self.fits = false;
                self.log.follow(self.head);
            }
        }
    }

    fn apply(&mut self, delivery: Delivery) {
        assert_eq!(delivery.sequence, self.head.next());
        self.head = delivery.sequence;
        let valid = delivery
            .header
            .filter(|header| header.predecessor == self.last_valid);
        if let Some(header) = valid {
            self.last_valid = header.id;
            match self.pending.take() {
                Some((append, _)) if append.header.id == header.id => {
                    self.stored.push((header.id, delivery.sequence));
                }
                // Another entry stands at its place: it is decided again, as a new entry.
                Some((append, _)) if delivery.sequence > append.expected => {
                    self.outlived += 1;
                    self.wanted += 1;
                }
                pending => self.pending = pending,
            }
        } else if let Some((mut append, at)) = self.pending.take() {
            // A void message: nothing is lost, the same entry goes behind it.
            append.expected = self.head;
            self.pending = Some((append, at));
        }
        self.applied.push(delivery);
    }
}

/// Reads the whole log anew: no gap, each valid entry follows the one before, and what writers say of theirs is so.
pub(crate) async fn assert_log(url: &str, writers: &[&Writer]) -> Vec<Delivery> {
    let options = Options {
        nats: connect::Options::at(url),
        ..writers[0].options.clone()
    };
    let mut reader = Writer::open(options).await;
    reader.catch_up().await;
    let mut last = EntryId::NONE;
    let mut stored = Vec::new();
    for (n, delivery) in (1..).zip(&reader.applied) {
        assert_eq!(delivery.sequence, Sequence(n));
        let header = delivery.header.expect("an entry");
        assert_eq!(header.predecessor, last, "at {n}");
        last = header.id;
        stored.push((header.id, delivery.sequence));
    }
    for writer in writers {
        for own in &writer.stored {
            assert!(stored.contains(own), "{own:?} is lost");
        }
    }
    reader.applied
}
