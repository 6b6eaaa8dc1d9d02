//! A derived stream as a key-value bucket: what people read with `nats kv get`.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::derived::{DerivedMessage, DerivedOptions};

/// For how long a watcher can still learn that a key was removed, in seconds: an hour.
pub const REMOVED_KEPT_SECONDS: u64 = 3_600;

/// The names of a bucket.
#[derive(Debug, Clone)]
pub struct BucketNames {
    stream: String,
    prefix: String,
}

impl BucketNames {
    /// Of the bucket of that name.
    pub fn of(bucket: &str) -> Self {
        Self {
            stream: format!("KV_{bucket}"),
            prefix: format!("$KV.{bucket}."),
        }
    }

    /// How its stream is created. It has no bound of its own: it holds one message for each record of the state, which is
    /// bounded.
    pub fn options(&self, description: String, replicas: Option<usize>) -> DerivedOptions {
        DerivedOptions {
            name: self.stream.clone(),
            description,
            subject: format!("{}>", self.prefix),
            replicas,
            size: None,
            age_max: Duration::ZERO,
            age_chosen: false,
            is_bucket: true,
        }
    }

    /// The key that a subject is of.
    pub fn key<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.prefix)
    }

    /// The key has that value.
    pub fn put(&self, key: &str, body: Bytes) -> DerivedMessage {
        DerivedMessage {
            subject: format!("{}{key}", self.prefix),
            headers: HeaderMap::new(),
            body,
        }
    }

    /// The key has no value any more.
    pub fn remove(&self, key: &str) -> DerivedMessage {
        let mut headers = HeaderMap::new();
        headers.insert("KV-Operation", "DEL");
        headers.insert("Nats-TTL", REMOVED_KEPT_SECONDS.to_string());
        DerivedMessage {
            headers,
            ..self.put(key, Bytes::new())
        }
    }
}
