//! Calls that wait until a provider has room, first come first served. No clock and no NATS.

use std::collections::{BTreeSet, HashMap};

use tokio::sync::oneshot;

use super::provider::Provider;

/// Identifies a waiting call: the lower came first.
pub(super) type WaiterId = u64;

/// All calls that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: HashMap<WaiterId, Waiting>,
    at: HashMap<Provider, BTreeSet<WaiterId>>,
    /// Places that were given to calls which have not begun yet: nobody else may take them.
    given: HashMap<Provider, u32>,
    last: WaiterId,
}

/// A call that waits for the first of several providers to have room.
#[derive(Debug)]
struct Waiting {
    at: Vec<Provider>,
    notify: oneshot::Sender<Provider>,
}

impl Queue {
    /// The id of a call that comes now.
    pub(super) fn next_id(&mut self) -> WaiterId {
        self.last += 1;
        self.last
    }

    /// How many wait for that provider, the one with that id not counted.
    pub(super) fn others(&self, provider: &Provider, than: Option<WaiterId>) -> usize {
        self.at.get(provider).map_or(0, |all| {
            let own = than.is_some_and(|waiter| all.contains(&waiter));
            all.len() - usize::from(own)
        })
    }

    /// How many places of that provider are given and not taken yet.
    pub(super) fn given(&self, provider: &Provider) -> u32 {
        self.given.get(provider).copied().unwrap_or_default()
    }

    /// Waits for any of these providers; it is notified of the one that has room.
    pub(super) fn enter(
        &mut self,
        waiter: WaiterId,
        at: Vec<Provider>,
    ) -> oneshot::Receiver<Provider> {
        let (notify, notified) = oneshot::channel();
        for provider in &at {
            self.at.entry(provider.clone()).or_default().insert(waiter);
        }
        self.waiting.insert(waiter, Waiting { at, notify });
        notified
    }

    /// Waits no longer.
    pub(super) fn leave(&mut self, waiter: WaiterId) {
        if let Some(waiting) = self.waiting.remove(&waiter) {
            self.forget(waiter, &waiting.at);
        }
    }

    fn forget(&mut self, waiter: WaiterId, at: &[Provider]) {
        for provider in at {
            if let Some(all) = self.at.get_mut(provider) {
                all.remove(&waiter);
                if all.is_empty() {
                    self.at.remove(provider);
                }
            }
        }
    }

    /// That provider has room for one more: whoever has waited for it longest gets the place.
    pub(super) fn give(&mut self, provider: &Provider) {
        let first = |queue: &Self| queue.at.get(provider)?.first().copied();
        while let Some(waiter) = first(self) {
            let Some(Waiting { at, notify }) = self.waiting.remove(&waiter) else {
                self.forget(waiter, std::slice::from_ref(provider));
                continue;
            };
            self.forget(waiter, &at);
            if notify.send(provider.clone()).is_ok() {
                *self.given.entry(provider.clone()).or_default() += 1;
                return;
            }
        }
    }

    /// A place that was given is taken, or is not wanted any more.
    pub(super) fn taken(&mut self, provider: &Provider) {
        if let Some(given) = self.given.get_mut(provider) {
            *given = given.saturating_sub(1);
            if *given == 0 {
                self.given.remove(provider);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use onex_types::ids::Incarnation;

    fn provider(n: u128) -> Provider {
        (Incarnation(Uuid::from_u128(n)), "add".parse().unwrap())
    }

    #[test]
    fn places_go_to_whoever_came_first() {
        let mut queue = Queue::default();
        let (a, b) = (provider(1), provider(2));
        let enter = |queue: &mut Queue, at: &[&Provider]| {
            let waiter = queue.next_id();
            let at = at.iter().map(|one| (*one).clone()).collect();
            (waiter, queue.enter(waiter, at))
        };
        let (first, mut one) = enter(&mut queue, &[&a, &b]);
        let (_, mut two) = enter(&mut queue, &[&b]);
        let (third, mut three) = enter(&mut queue, &[&a]);
        assert_eq!(queue.others(&a, None), 2);
        assert_eq!(queue.others(&a, Some(first)), 1);
        queue.give(&b);
        assert_eq!(one.try_recv(), Ok(b.clone()));
        assert_eq!((queue.given(&b), queue.others(&a, None)), (1, 1));
        assert!(two.try_recv().is_err() && three.try_recv().is_err());
        // It is told of one place only.
        queue.give(&a);
        assert_eq!(three.try_recv(), Ok(a.clone()));
        queue.taken(&b);
        queue.give(&b);
        assert_eq!(two.try_recv(), Ok(b.clone()));
        queue.leave(third);
        queue.give(&a);
        assert_eq!((queue.given(&a), queue.given(&b)), (1, 1));
    }

    #[test]
    fn whoever_comes_back_keeps_its_turn_and_whoever_leaves_loses_it() {
        let mut queue = Queue::default();
        let a = provider(1);
        let waiters = [queue.next_id(), queue.next_id()];
        let [_, mut two] = waiters.map(|waiter| queue.enter(waiter, vec![a.clone()]));
        queue.leave(waiters[0]);
        let mut one = queue.enter(waiters[0], vec![a.clone()]);
        queue.give(&a);
        assert_eq!(one.try_recv(), Ok(a.clone()));
        queue.leave(waiters[1]);
        queue.give(&a);
        assert!(two.try_recv().is_err());
        assert_eq!((queue.given(&a), queue.others(&a, None)), (1, 0));
        // Whoever is gone without leaving is passed over.
        let waiter = queue.next_id();
        drop(queue.enter(waiter, vec![a.clone()]));
        queue.give(&a);
        assert_eq!(queue.given(&a), 1);
    }
}
