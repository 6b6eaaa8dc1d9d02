//! What the stream of events says.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, consumer::DeliverPolicy};
use futures::StreamExt as _;
use serde_json::Value;

use super::{Caller, until};

#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// All of them, in the order of the stream.
#[derive(Debug)]
pub(crate) struct Events(pub(crate) Vec<Event>);

impl Event {
    pub(crate) fn kind(&self) -> &str {
        self.body["event"].as_str().unwrap()
    }

    pub(crate) fn lease_id(&self) -> &str {
        self.body["lease_id"].as_str().unwrap()
    }

    fn port(&self) -> (String, String, u64) {
        let text = |name: &str| self.body[name].as_str().unwrap().to_owned();
        (
            text("host"),
            text("transport"),
            self.body["port"].as_u64().unwrap(),
        )
    }
}

impl Events {
    /// Waits until no event waits to be published, and reads all there are.
    pub(crate) async fn published(caller: &Caller) -> Self {
        until("no event to wait", async || {
            let reply = caller.raw("describe", &[], "").await.ok()?;
            (reply["counts"]["events_waiting"] == 0).then_some(())
        })
        .await;
        Self::read(caller).await
    }

    /// Reads all there are.
    pub(crate) async fn read(caller: &Caller) -> Self {
        Self::read_with(caller, |body| serde_json::from_slice(body).unwrap()).await
    }

    async fn read_with(caller: &Caller, parse: impl Fn(&[u8]) -> Value) -> Self {
        let context = jetstream::new(caller.client.clone());
        let stream = context.get_stream("ONEX_REGISTRY_EVENTS").await.unwrap();
        let last = stream.get_info().await.unwrap().state.last_sequence;
        let mut events = Vec::new();
        if last == 0 {
            return Self(events);
        }
        let config = jetstream::consumer::pull::OrderedConfig {
            deliver_policy: DeliverPolicy::All,
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.unwrap();
        let name = consumer.cached_info().name.clone();
        let mut messages = consumer.messages().await.unwrap();
        while let Some(message) = messages.next().await {
            let message = message.unwrap();
            let sequence = message.info().unwrap().stream_sequence;
            events.push(Event {
                subject: message.subject.to_string(),
                headers: message.headers.clone().unwrap_or_default(),
                body: parse(&message.payload),
            });
            if sequence >= last {
                break;
            }
        }
        // A server has room for so many, and keeps one for a while that nobody asks anything of.
        drop(messages);
        let _ = stream.delete_consumer(&name).await;
        Self(events)
    }

    /// The same, where somebody else writes there too what is no JSON.
    pub(crate) async fn read_json(caller: &Caller) -> Self {
        Self::read_with(caller, |body| {
            serde_json::from_slice(body).unwrap_or_default()
        })
        .await
    }

    pub(crate) fn of_kind(&self, kind: &str) -> Vec<&Event> {
        self.0.iter().filter(|event| event.kind() == kind).collect()
    }

    /// The kinds that were told of what a member names, in their order.
    pub(crate) fn about(&self, member: &str, value: &str) -> Vec<&str> {
        let of_it = self.0.iter().filter(|event| event.body[member] == value);
        of_it.map(Event::kind).collect()
    }

    /// The kinds that were told of one lease, in their order.
    pub(crate) fn of_lease(&self, lease_id: &str) -> Vec<&str> {
        let of_it = self
            .0
            .iter()
            .filter(|event| event.body["lease_id"] == lease_id);
        of_it.map(Event::kind).collect()
    }

    /// Each port's transitions are there without a gap, once, in order; a grant and one end alternate. Returns what
    /// is still leased by them: lease id by port.
    pub(crate) fn check(&self) -> BTreeMap<(String, String, u64), String> {
        let mut counted: BTreeMap<_, u64> = BTreeMap::new();
        let mut leased: BTreeMap<_, String> = BTreeMap::new();
        for event in &self.0 {
            let key = event.port();
            let n = event.body["n"].as_u64().unwrap();
            let before = counted.insert(key.clone(), n).unwrap_or(0);
            assert_eq!(n, before + 1, "a gap or a double: {event:#?}");
            // Where events have their place in the stream by their position, the server need not remember their names.
            if let Some(id) = event.headers.get("Nats-Msg-Id") {
                assert_eq!(event.headers.get("ce-id").unwrap(), id);
            }
            let lease_id = event.lease_id().to_owned();
            match (event.kind(), leased.remove(&key)) {
                ("port.leased", None) => drop(leased.insert(key, lease_id)),
                ("port.released" | "port.expired" | "port.quarantined", Some(open)) => {
                    assert_eq!(open, lease_id, "the end of another lease: {event:#?}");
                }
                (_, open) => panic!("{open:?} was leased when this came: {event:#?}"),
            }
        }
        leased
    }
}
