//! What is in the bucket, as anyone with the `nats` command could see it.

use async_nats::HeaderMap;
use async_nats::jetstream::{self, consumer::DeliverPolicy, stream::Stream};
use futures::StreamExt as _;
use serde_json::Value;

use super::Caller;

/// The bucket's stream.
pub(crate) struct Bucket(Stream);

/// One message of it.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    pub(crate) key: String,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: usize,
    /// Null where it is no JSON.
    pub(crate) body: Value,
}

impl Stored {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.as_str())
    }
}

impl Bucket {
    pub(crate) async fn of(caller: &Caller) -> Self {
        let context = jetstream::new(caller.client.clone());
        Self(context.get_stream("KV_onex-registry").await.unwrap())
    }

    /// The last position of its stream.
    pub(crate) async fn last(&self) -> u64 {
        self.0.get_info().await.unwrap().state.last_sequence
    }

    /// Everything in it behind `after`, in order.
    pub(crate) async fn after(&self, after: u64) -> Vec<Stored> {
        let last = self.last().await;
        let mut all = Vec::new();
        if last <= after {
            return all;
        }
        let config = jetstream::consumer::pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: after + 1,
            },
            ..Default::default()
        };
        let consumer = self.0.create_consumer(config).await.unwrap();
        let mut messages = consumer.messages().await.unwrap();
        while let Some(message) = messages.next().await {
            let message = message.unwrap();
            let sequence = message.info().unwrap().stream_sequence;
            let pending = message.info().unwrap().pending;
            // $KV, the bucket, the key.
            let key = message.subject.splitn(3, '.').nth(2).unwrap().to_owned();
            all.push(Stored {
                sequence,
                key,
                headers: message.headers.clone().unwrap_or_default(),
                bytes: message.payload.len(),
                body: serde_json::from_slice(&message.payload).unwrap_or_default(),
            });
            if sequence >= last || pending == 0 {
                break;
            }
        }
        all
    }

    /// What is under a key, if anything is.
    pub(crate) async fn get(&self, key: &str) -> Option<Stored> {
        let all = self.after(0).await;
        all.into_iter().find(|stored| stored.key == key)
    }
}
