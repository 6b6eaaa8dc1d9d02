//! Calls that are under way, counted for as long as they are.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::{Notify, oneshot};

use super::{
    super::clock::Clock, history::Ended, load::Loads, provider::Provider, queue::WaiterId,
};

/// The loads behind a lock that is never held across an await. Where the index's is held as well, that one is taken
/// first.
pub(super) struct SharedLoads {
    loads: Mutex<Loads>,
    /// Told when a call begins or ends.
    pub(super) changed: Notify,
    pub(super) clock: Clock,
    /// Calls that one provider may have under way from this instance.
    pub(super) provider_max: u32,
}

impl SharedLoads {
    pub(super) fn new(clock: Clock, provider_max: u32) -> Self {
        Self {
            loads: Mutex::default(),
            changed: Notify::new(),
            clock,
            provider_max,
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
            held: false,
        }
    }

    /// A call waits for the first of these providers to have room; `loads` are these.
    pub(super) fn wait(self: &Arc<Self>, at: Vec<Provider>, loads: &mut Loads) -> Waits {
        let waiter = loads.queue.next_id();
        Waits {
            loads: Arc::clone(self),
            waiter,
            notified: loads.queue.enter(waiter, at),
            given: None,
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
    /// Nobody waits for it any more, and the provider may still work on it.
    held: bool,
}

impl UnderWay {
    /// The call is over for its caller; its place at the provider is not free yet.
    pub(super) fn held(mut self, ended: Ended) -> Self {
        let (took, now) = (self.millis(), self.loads.clock.now().mono);
        self.loads.lock().hold(&self.provider, took, ended, now);
        self.held = true;
        self
    }

    /// The provider has answered after all.
    pub(super) fn answered_late(self) {
        let (took, now) = (self.millis(), self.loads.clock.now().mono);
        let mut loads = self.loads.lock();
        loads.answered_late(&self.provider, took, now);
    }

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
        let mut loads = self.loads.lock();
        if self.held {
            loads.release(&self.provider);
        } else {
            loads.end(&self.provider, took, self.ended, now);
        }
        drop(loads);
        self.loads.changed.notify_one();
    }
}

/// A call's place among those that wait. When it is dropped the call waits no longer, and what it was given goes to the
/// next one. It must not be dropped while the loads are locked.
pub(super) struct Waits {
    loads: Arc<SharedLoads>,
    pub(super) waiter: WaiterId,
    notified: oneshot::Receiver<Provider>,
    /// The provider that has room for it.
    pub(super) given: Option<Provider>,
}

impl Waits {
    /// Waits until a provider has room for it, until then at the latest.
    pub(super) async fn room(&mut self, until: tokio::time::Instant) {
        if let Ok(Ok(provider)) = tokio::time::timeout_at(until, &mut self.notified).await {
            self.given = Some(provider);
        }
    }

    /// Waits for these providers from now on, and keeps its turn; `loads` are those that it waits in.
    pub(super) fn wait_again(&mut self, at: Vec<Provider>, loads: &mut Loads) {
        self.leave(loads);
        self.notified = loads.queue.enter(self.waiter, at);
    }

    /// Waits no longer, and passes on what it was given, unless that is taken by now.
    pub(super) fn leave(&mut self, loads: &mut Loads) {
        loads.queue.leave(self.waiter);
        let given = self.given.take().or_else(|| self.notified.try_recv().ok());
        if let Some(provider) = given {
            loads.pass_on(&provider, self.loads.provider_max);
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        let loads = Arc::clone(&self.loads);
        self.leave(&mut loads.lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::invoke::history::Outlook;
    use onex_types::ids::Incarnation;

    #[test]
    fn an_answer_that_breaks_the_contract_is_a_bad_one() {
        let loads = Arc::new(SharedLoads::new(Clock::start(), 1));
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

    #[tokio::test]
    async fn a_place_that_nobody_takes_goes_to_the_next_one() {
        let loads = Arc::new(SharedLoads::new(Clock::start(), 1));
        let provider: Provider = (Incarnation(uuid::Uuid::nil()), "add".parse().unwrap());
        let under_way = loads.begin(&provider, &mut loads.lock());
        let wait = || loads.wait(vec![provider.clone()], &mut loads.lock());
        let (first, mut second, third) = (wait(), wait(), wait());
        assert_eq!(loads.lock().of(&provider, loads.clock.now().mono).queued, 3);
        drop(under_way);
        // It was given the place, and had not even looked.
        drop(first);
        let soon = tokio::time::Instant::now() + std::time::Duration::from_mins(1);
        second.room(soon).await;
        assert_eq!(second.given, Some(provider.clone()));
        let load = loads.lock().of(&provider, loads.clock.now().mono);
        assert_eq!((load.own, load.queued), (1, 1));
        {
            // Taken: nobody else gets it.
            let mut locked = loads.lock();
            std::mem::forget(loads.begin(&provider, &mut locked));
            second.leave(&mut locked);
            assert_eq!(locked.of(&provider, loads.clock.now().mono).queued, 1);
        }
        drop((second, third));
        let load = loads.lock().of(&provider, loads.clock.now().mono);
        assert_eq!((load.own, load.queued), (1, 0));
    }
}
