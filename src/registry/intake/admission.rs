//! How many requests may be in flight. What keeps or ends a lease or a node has places of its own, so that a flood of
//! anything else never refuses it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::protocol::endpoint::Endpoint;

/// Places of the requests in flight.
pub(in crate::registry) struct Admission {
    upkeep: Arc<Semaphore>,
    others: Arc<Semaphore>,
    each_max: u32,
}

impl Admission {
    /// So many of each kind.
    pub(in crate::registry) fn new(each_max: u32) -> Self {
        let places = || Arc::new(Semaphore::new(each_max as usize));
        Self {
            upkeep: places(),
            others: places(),
            each_max,
        }
    }

    /// A place, if there is one.
    pub(super) fn place(&self, endpoint: Endpoint) -> Option<OwnedSemaphorePermit> {
        let places = if endpoint.is_upkeep() {
            &self.upkeep
        } else {
            &self.others
        };
        Arc::clone(places).try_acquire_owned().ok()
    }

    /// Waits until no request has one.
    pub(super) async fn all_free(&self) {
        for places in [&self.upkeep, &self.others] {
            let _ = places.acquire_many(self.each_max).await;
        }
    }
}
