//! Publishes what is told of runs of tools.

use std::{sync::Arc, time::Duration};

use async_nats::HeaderMap;

use crate::{
    domain::{
        call::{By, Execution},
        transition::{ExecutionTold, How, Kind},
    },
    protocol::{
        event::{Envelope, EventBody, ExecutionEvent, execution_id, execution_record},
        names::{Namespace, event_kind},
    },
    store::events::{EVENTS_AT_ONCE_MAX, Event},
};

use super::{
    super::{commit::Commit, seldom::Seldom},
    queue::{Item, Queue},
};

/// How long events are gathered, so that one round trip serves many.
const GATHER: Duration = Duration::from_millis(10);
/// How long it waits after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Teller {
    pub(super) commit: Arc<Commit>,
    pub(super) namespace: Namespace,
    pub(super) queue: Arc<Queue>,
    pub(super) complaints: Seldom,
}

impl Teller {
    /// Publishes for ever, in the order of the queue.
    pub(super) async fn run(self) {
        loop {
            let items = self.queue.take(EVENTS_AT_ONCE_MAX).await;
            let events: Vec<Event> = self.events(&items);
            while !self.commit.store.publish_events(&events).await {
                if self.complaints.may() {
                    tracing::warn!("events of executions cannot be published; trying again");
                }
                self.commit.store.ensure_events().await;
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            self.queue.out();
            self.complain();
            if !self.queue.is_longer_than(EVENTS_AT_ONCE_MAX) {
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    fn complain(&self) {
        if self.complaints.may() {
            let executions = self.queue.dropped();
            if executions > 0 {
                tracing::warn!(
                    executions,
                    "more was carried out than can be told: there are no events of some executions"
                );
            }
        }
    }

    fn events(&self, items: &[Item]) -> Vec<Event> {
        let (revision, registry_id) = self.commit.mirror.with(|core| {
            let index = &core.index;
            let revision = index.applied().wire(index.lineage());
            (revision, index.policy.registry_id)
        });
        let bodies = items.iter().map(|item| {
            let told = &item.told;
            let (by, end) = item.ended.clone().unzip();
            let kind = match end.as_ref().map(|end| end.how) {
                None => Kind::ToolInvoked,
                Some(How::Completed) => Kind::ToolCompleted,
                Some(How::Failed | How::Unknown) => Kind::ToolFailed,
            };
            let n = if end.is_none() { 1 } else { 2 };
            let about = ExecutionTold {
                execution: last_tried(&told.execution, by.flatten()),
                timeout_ms: told.timeout_ms,
                ended: end,
            };
            let body = EventBody {
                event: event_kind(kind).to_owned(),
                revision,
                at: item.at,
                about: ExecutionEvent::new(&about, told.requester_id, None),
                correlation_id: Some(told.correlation_id.clone()),
                registry_id,
                record: execution_record(told.execution.execution_id),
                n,
            };
            event(&self.namespace, kind, &body)
        });
        bodies.collect()
    }
}

/// The event with that body.
pub(super) fn event(namespace: &Namespace, kind: Kind, body: &EventBody<ExecutionEvent>) -> Event {
    let key = body.about.key();
    let envelope = Envelope {
        namespace,
        kind,
        id: execution_id(body.about.execution_id, kind),
        key: key.clone(),
        at: body.at,
    };
    let mut headers = HeaderMap::new();
    for (name, value) in envelope.headers() {
        headers.insert(name, value);
    }
    Event {
        subject: namespace.event(kind, &key),
        headers,
        // Its members are texts and numbers.
        payload: serde_json::to_vec(body).unwrap_or_default().into(),
    }
}

fn last_tried(execution: &Execution, by: Option<By>) -> Execution {
    match by {
        None => execution.clone(),
        Some(by) => Execution {
            tool_version: by.tool_version,
            contract_hash: by.contract_hash,
            node_id: by.node_id,
            ..execution.clone()
        },
    }
}
