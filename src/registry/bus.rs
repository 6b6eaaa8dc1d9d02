//! The connection over which requests come and answers go.
//!
//! It may die: the client library ends it for good when a message has a header that is none. Then another one takes its
//! place, and everything that was decided is answered over that one; see [`super::session`].

use std::sync::{Arc, PoisonError, RwLock};

use async_nats::Client;

/// The connection that there is now.
#[derive(Clone)]
pub(super) struct Bus(Arc<RwLock<Client>>);

impl Bus {
    pub(super) fn new(client: Client) -> Self {
        Self(Arc::new(RwLock::new(client)))
    }

    pub(super) fn client(&self) -> Client {
        let client = self.0.read().unwrap_or_else(PoisonError::into_inner);
        client.clone()
    }

    /// Another connection is used from now on.
    pub(super) fn replace(&self, client: Client) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = client;
    }

    /// How long a message may be, in bytes.
    pub(super) fn max_payload(&self) -> usize {
        let client = self.0.read().unwrap_or_else(PoisonError::into_inner);
        client.max_payload()
    }
}
