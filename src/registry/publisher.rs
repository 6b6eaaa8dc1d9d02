//! Publishes what happened: from the outbox of the records into the stream of events. One instance at a
//! time does; which one, and how far it has come, is in the bucket.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, HeaderMap};
use futures::future::join_all;
use serde_json::json;

use crate::{
    domain::{
        key::PortKey,
        outbox::{Publish, ROUND_MILLIS_MAX, Told},
        write::Write,
    },
    protocol::{
        names::{Namespace, event_kind},
        time,
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
                    let written = self.commit.store.write(&write).await;
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
        let written = self.commit.store.write(&write).await;
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
            Written::Lost | Written::Unknown | Written::Unsent => tokio::time::sleep(GATHER).await,
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

    /// Sends them at the same time, but those of one key in their order, each when the one before it is
    /// stored; false when one is not.
    async fn send_some(&self, told: &[Told]) -> bool {
        let mut by_key: BTreeMap<&PortKey, Vec<&Told>> = BTreeMap::new();
        for event in told {
            by_key.entry(&event.key).or_default().push(event);
        }
        let in_order = by_key.into_values().map(async |events| {
            for event in events {
                if !matches!(self.send_one(event).await, Written::At(_)) {
                    return false;
                }
            }
            true
        });
        join_all(in_order).await.into_iter().all(|stored| stored)
    }

    /// One event: CloudEvents 1.0, binary mode.
    async fn send_one(&self, told: &Told) -> Written {
        let Told {
            revision,
            key,
            transition,
        } = told;
        let (lineage, registry_id) = self
            .commit
            .mirror
            .with(|core| (core.index.lineage(), core.index.policy.registry_id));
        let kind = event_kind(transition.event);
        let revision = revision.wire(lineage);
        let id = format!("{revision}.{kind}.{key}");
        let subject = self.namespace.event(transition.event, key);
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, id.as_str());
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", &id),
            ("ce-source", &self.namespace.prefix()),
            ("ce-type", kind),
            ("ce-subject", &key.to_string()),
            ("ce-time", &time::show(transition.at)),
            ("content-type", "application/json"),
        ] {
            headers.insert(name, value);
        }
        let body = json!({
            "event": kind,
            "revision": revision,
            "at": time::show(transition.at),
            "host": key.host,
            "transport": key.transport,
            "port": key.port,
            "lease_id": transition.lease_id,
            "requester_id": transition.requester_id,
            "name": transition.name,
            "outcome": transition.outcome,
            "correlation_id": transition.correlation_id,
            "registry_id": registry_id,
            "n": transition.n,
        });
        self.commit
            .store
            .publish_event(subject, headers, body.to_string().into())
            .await
    }
}
