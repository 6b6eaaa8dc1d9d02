//! Publishes what happened: from the outbox of the records into the stream of events. One instance at a
//! time does; which one, and how far it has come, is in the bucket.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, HeaderMap};
use futures::future::join_all;
use uuid::Uuid;

use crate::{
    domain::{
        key::Key,
        outbox::{Publish, ROUND_MILLIS_MAX, Told},
        transition::Kind,
        write::Write,
    },
    protocol::{
        event::{About, Envelope, EventBody, transition_id},
        names::{Namespace, event_kind},
    },
    store::Written,
};

use super::{commit::Commit, micro};

/// How long events are gathered before a round, so that one checkpoint serves many.
const GATHER: Duration = Duration::from_millis(100);
/// How often a publisher looks whether another one has stopped.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Events on their way at the same time.
const EVENTS_IN_FLIGHT: usize = 64;

/// Publishes for ever.
pub(super) struct Publisher {
    pub(super) commit: Arc<Commit>,
    pub(super) namespace: Namespace,
    /// To ask whether the publisher is still there.
    pub(super) client: Client,
}

impl Publisher {
    pub(super) async fn run(self) {
        let mut gaps = 0;
        loop {
            let changed = self.commit.mirror.changed.notified();
            let next = self.next(&mut gaps);
            match next {
                Publish::Idle => {
                    let _ = tokio::time::timeout(LOOK_INTERVAL, changed).await;
                    self.gather().await;
                    self.look_after_the_publisher().await;
                }
                Publish::Claim(write) => {
                    let written = self.commit.store.write(std::slice::from_ref(&write)).await;
                    tracing::debug!(?written, "claiming to publish events");
                    self.settled(written).await;
                }
                Publish::Send(told, write) => self.round(&told, write).await,
            }
        }
    }

    /// Sends what is to be told, and moves the checkpoint as far as that came.
    async fn round(&self, told: &[Told], whole: Write) {
        let count = self.send(told).await;
        let (sent, unsent) = told.split_at(count);
        if sent.is_empty() {
            tracing::warn!(
                waiting = told.len(),
                "events cannot be published; trying again"
            );
            self.commit.store.ensure_events().await;
            return tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let write = self.commit.mirror.with(|core| {
            let outbox = &mut core.index.outbox;
            outbox.sent(sent);
            unsent.first().map_or(whole, |unsent| outbox.up_to(unsent))
        });
        let written = self.commit.store.write(std::slice::from_ref(&write)).await;
        self.settled(written).await;
    }

    /// When another instance publishes and is late: is it still there?
    async fn look_after_the_publisher(&self) {
        let now = self.commit.clock.now().mono;
        let mirror = &self.commit.mirror;
        let Some(publisher) = mirror.with(|core| core.index.outbox.awaits(now)) else {
            return;
        };
        if micro::is_gone(&self.client, publisher).await {
            mirror.with(|core| core.index.outbox.gone(publisher));
        }
    }

    fn next(&self, gaps: &mut u64) -> Publish {
        let now = self.commit.clock.now();
        self.commit.mirror.with(|core| {
            let index = &core.index;
            if index.outbox.gaps() > *gaps {
                *gaps = index.outbox.gaps();
                tracing::error!(
                    events = *gaps,
                    "events were lost: records were overwritten from outside"
                );
            }
            index.outbox.next(index.exact(), now.mono)
        })
    }

    /// Waits a little for more to come, unless a record is running out of room.
    async fn gather(&self) {
        let crowded = self
            .commit
            .mirror
            .until(|core| core.index.outbox.is_crowded());
        let _ = tokio::time::timeout(GATHER, crowded).await;
    }

    /// After a write of the checkpoint: go on when the follower has passed it, or the one that won.
    async fn settled(&self, written: Written) {
        match written {
            Written::At(revision) => {
                let passed = self.commit.mirror.exact(revision);
                let _ = tokio::time::timeout(LOOK_INTERVAL, passed).await;
            }
            Written::Lost | Written::Unknown | Written::Unsent | Written::Unreadable => {
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    /// Sends them, some at a time, until all are stored, one is not, or the round has lasted long enough.
    /// How many from the start are stored.
    async fn send(&self, told: &[Told]) -> usize {
        let began = Instant::now();
        let mut sent = 0;
        for some in told.chunks(EVENTS_IN_FLIGHT) {
            let lasted = began.elapsed() >= Duration::from_millis(ROUND_MILLIS_MAX);
            if sent > 0 && lasted || !self.send_some(some).await {
                break;
            }
            sent += some.len();
        }
        sent
    }

    /// Sends them at the same time, but those of one key, or one node, in their order, each when the one
    /// before it is stored; false when one is not.
    async fn send_some(&self, told: &[Told]) -> bool {
        let mut by_lane: BTreeMap<Key, Vec<&Told>> = BTreeMap::new();
        for event in told {
            by_lane.entry(lane(&event.key)).or_default().push(event);
        }
        let in_order = by_lane.into_values().map(async |events| {
            for event in events {
                if !self.send_one(event).await {
                    return false;
                }
            }
            true
        });
        join_all(in_order).await.into_iter().all(|stored| stored)
    }

    /// The events of one transition; false when one is not stored.
    async fn send_one(&self, told: &Told) -> bool {
        let (lineage, registry_id) = self
            .commit
            .mirror
            .with(|core| (core.index.lineage(), core.index.policy.registry_id));
        let revision = told.revision.wire(lineage);
        for (kind, tool) in told.transition.events() {
            let Some(about) = About::of(told, tool) else {
                continue;
            };
            if !matches!(
                self.send_event(told, kind, about, revision, registry_id)
                    .await,
                Written::At(_)
            ) {
                return false;
            }
        }
        true
    }

    /// One event: CloudEvents 1.0, binary mode.
    async fn send_event(
        &self,
        told: &Told,
        kind: Kind,
        about: About,
        revision: u64,
        registry_id: Uuid,
    ) -> Written {
        let transition = &told.transition;
        let key = about.key();
        let subject = self.namespace.event(kind, &key);
        let envelope = Envelope {
            namespace: &self.namespace,
            kind,
            id: transition_id(revision, kind, &key),
            key,
            at: transition.at,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in envelope.headers() {
            headers.insert(name, value);
        }
        let body = EventBody {
            event: event_kind(kind).to_owned(),
            revision,
            at: transition.at,
            about,
            correlation_id: transition.correlation_id.clone(),
            registry_id,
            record: told.key.to_string(),
            n: transition.n,
        };
        let body = match serde_json::to_vec(&body) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(key = %told.key, %error, "an event cannot be encoded");
                return Written::Unsent;
            }
        };
        self.commit
            .store
            .publish_event(subject, headers, body.into())
            .await
    }
}

/// What is told in its order: all that happens to one key, and to a node under any of its keys.
fn lane(key: &Key) -> Key {
    match key {
        Key::Live(id) | Key::Verdict(id) => Key::Node(id.clone()),
        key => key.clone(),
    }
}
