//! Calls that are under way, counted for as long as they are.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use super::{
    super::clock::Clock,
    history::Ended,
    load::{Loads, Provider},
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
        loads.begin(provider);
        self.changed.notify_one();
        UnderWay {
            loads: Arc::clone(self),
            provider: provider.clone(),
            began: Instant::now(),
            took: None,
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
    /// How long the provider took, in milliseconds, once it has answered.
    took: Option<f64>,
    pub(super) ended: Ended,
}

impl UnderWay {
    /// The provider has answered; looking at the answer takes none of its time.
    pub(super) fn answered(&mut self, ended: Ended) {
        self.took = Some(self.millis());
        self.ended = ended;
    }

    fn millis(&self) -> f64 {
        self.began.elapsed().as_secs_f64() * 1_000.0
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let took = self.took.unwrap_or_else(|| self.millis());
        let now = self.loads.clock.now().mono;
        self.loads.lock().end(&self.provider, took, self.ended, now);
        self.loads.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::ids::Incarnation, registry::invoke::history::Outlook};

    #[test]
    fn an_answer_that_breaks_the_contract_is_a_bad_one() {
        let loads = Arc::new(SharedLoads::new(Clock::start()));
        let provider = (Incarnation(uuid::Uuid::nil()), "add".parse().unwrap());
        let mut under_way = {
            let mut locked = loads.lock();
            loads.begin(&provider, &mut locked)
        };
        under_way.answered(Ended::Answered);
        under_way.ended = Ended::Refused;
        drop(under_way);
        let load = loads.lock().of(&provider, loads.clock.now().mono);
        assert_eq!((load.own, load.recent), (0, None));
        assert_eq!(load.outlook, Outlook::Doubted);
    }
}
