//! Calls that are under way, counted for as long as they are.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use super::{
    super::clock::Clock,
    load::{Ended, Loads, Provider},
};

/// The loads behind a lock that is never held across an await. Where the index's is held as well, that one is taken
/// first.
pub(super) struct SharedLoads {
    loads: Mutex<Loads>,
    /// Told when a call begins or ends.
    pub(super) changed: Notify,
    pub(super) clock: Clock,
}

impl SharedLoads {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            loads: Mutex::default(),
            changed: Notify::new(),
            clock,
        }
    }

    /// A provider is called; `loads` are these.
    pub(super) fn begin(self: &Arc<Self>, provider: &Provider, loads: &mut Loads) -> UnderWay {
        loads.begin(provider, self.clock.now().mono);
        self.changed.notify_one();
        UnderWay {
            loads: Arc::clone(self),
            provider: provider.clone(),
            began: Instant::now(),
            ended: Ended::Unknown,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Loads> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that counts as under way, until it is dropped.
pub(super) struct UnderWay {
    loads: Arc<SharedLoads>,
    provider: Provider,
    began: Instant,
    pub(super) ended: Ended,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let took = self.began.elapsed().as_secs_f64() * 1_000.0;
        let now = self.loads.clock.now().mono;
        self.loads.lock().end(&self.provider, took, self.ended, now);
        self.loads.changed.notify_one();
    }
}
