//! Publishes what happened: from the outbox of the records into the stream of events. One instance at a
//! time does; which one, and how far it has come, is in the bucket.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_nats::HeaderMap;
use futures::{StreamExt, stream};
use serde_json::json;

use crate::{
    domain::{
        key::PortKey,
        outbox::{Publish, Told},
    },
    protocol::names::{Namespace, event_kind},
    store::Written,
};

use super::commit::Commit;

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
                }
                Publish::Claim(write) => {
                    let written = self.commit.store.write(&write).await;
                    tracing::debug!(?written, "claiming to publish events");
                    self.settled(written).await;
                }
                Publish::Send(told, write) => {
                    if self.send(&told).await {
                        self.commit
                            .mirror
                            .with(|core| core.index.outbox.sent(&told));
                        let written = self.commit.store.write(&write).await;
                        self.settled(written).await;
                    } else {
                        tokio::time::sleep(LOOK_INTERVAL).await;
                    }
                }
            }
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

    /// Sends them. Those of one key leave in their order, each when the one before it is stored.
    async fn send(&self, told: &[Told]) -> bool {
        let mut by_key: BTreeMap<PortKey, Vec<Told>> = BTreeMap::new();
        for event in told {
            by_key
                .entry(event.key.clone())
                .or_default()
                .push(event.clone());
        }
        stream::iter(by_key.into_values())
            .map(|events| async move {
                for event in &events {
                    if !matches!(self.send_one(event).await, Written::At(_)) {
                        return false;
                    }
                }
                true
            })
            .buffer_unordered(EVENTS_IN_FLIGHT)
            .all(std::future::ready)
            .await
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
            ("ce-time", &transition.at.to_string()),
            ("content-type", "application/json"),
        ] {
            headers.insert(name, value);
        }
        let body = json!({
            "event": kind,
            "revision": revision,
            "at": transition.at,
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
