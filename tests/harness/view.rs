//! The view bucket, as anyone with the `nats` command sees it.

use async_nats::jetstream::{self, kv};
use bytes::Bytes;
use futures::TryStreamExt as _;
use serde_json::Value;

use super::{Caller, until};

pub(crate) struct View(kv::Store);

impl View {
    /// Waits until it is there.
    pub(crate) async fn of(caller: &Caller) -> Self {
        Self::named(caller, "onex-registry-view").await
    }

    /// The same, of another namespace.
    pub(crate) async fn named(caller: &Caller, bucket: &str) -> Self {
        let context = jetstream::new(caller.client.clone());
        let found = until("the view bucket", async || {
            context.get_key_value(bucket).await.ok()
        });
        Self(found.await)
    }

    pub(crate) async fn get(&self, key: &str) -> Option<Value> {
        let found = self.0.get(key).await.unwrap();
        found.map(|body| serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Waits until that record is as wanted.
    pub(crate) async fn until(&self, key: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(key, async || self.get(key).await.filter(&wanted)).await
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        let keys = self.0.keys().await.unwrap();
        let mut keys: Vec<String> = keys.try_collect().await.unwrap();
        keys.sort();
        keys
    }

    pub(crate) async fn put(&self, key: &str, value: &'static str) {
        self.0.put(key, Bytes::from(value)).await.unwrap();
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.0.delete(key).await.unwrap();
    }
}
