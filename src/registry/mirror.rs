//! What this instance knows, shared between its tasks, and waiting for it to know more.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, oneshot};

use crate::domain::{
    core::Core,
    key::{Key, Revision},
    record::Stored,
    time::{Moment, Now},
};

/// The core behind a lock that is never held across an await.
pub(super) struct Mirror {
    inner: Mutex<Inner>,
    /// Told after every message of the bucket.
    pub(super) changed: Notify,
}

struct Inner {
    core: Core,
    exact: BTreeMap<Revision, Vec<oneshot::Sender<()>>>,
    moved: BTreeMap<Key, Vec<(Revision, Arc<Notify>)>>,
    acknowledged: Revision,
}

impl Mirror {
    pub(super) fn new(core: Core) -> Self {
        let inner = Inner {
            core,
            exact: BTreeMap::new(),
            moved: BTreeMap::new(),
            acknowledged: Revision::default(),
        };
        Self {
            inner: Mutex::new(inner),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The core is changed by plain assignments that leave it whole; a panic in a reader says nothing
        // about it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the core, or lets a command change what it has reserved.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut Core) -> R) -> R {
        f(&mut self.lock().core)
    }

    /// The follower saw a record.
    pub(super) fn apply(
        &self,
        key: &Key,
        revision: Revision,
        stored: Stored,
        pending: u64,
        now: Now,
    ) {
        let mut inner = self.lock();
        inner.core.apply(key, revision, stored, pending, now);
        inner.wake_moved(key, revision);
        inner.wake_exact();
        drop(inner);
        self.changed.notify_waiters();
    }

    /// The follower saw something that this version has no use for.
    pub(super) fn pass(&self, revision: Revision, pending: u64, now: Moment) {
        let mut inner = self.lock();
        inner.core.index.seen(revision, pending, now);
        inner.wake_exact();
        drop(inner);
        self.changed.notify_waiters();
    }

    /// Waits for an exact point at `revision` or later.
    pub(super) async fn exact(&self, revision: Revision) {
        let waiter = {
            let mut inner = self.lock();
            if inner.core.index.exact() >= revision {
                return;
            }
            let (sender, waiter) = oneshot::channel();
            inner.exact.entry(revision).or_default().push(sender);
            waiter
        };
        // The sender lives as long as the mirror does.
        let _ = waiter.await;
    }

    /// A write of this instance was acknowledged.
    pub(super) fn acknowledge(&self, revision: Revision) {
        let mut inner = self.lock();
        inner.acknowledged = inner.acknowledged.max(revision);
    }

    /// Waits until the index shows every write of this instance that was acknowledged before: whoever
    /// was answered sees what was done, when it asks the same instance.
    pub(super) async fn own_writes(&self) {
        let acknowledged = self.lock().acknowledged;
        self.exact(acknowledged).await;
    }

    /// Waits until the core is as `is_so` says.
    pub(super) async fn until(&self, is_so: impl Fn(&Core) -> bool) {
        loop {
            let changed = self.changed.notified();
            if is_so(&self.lock().core) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the follower shows one of the keys past its revision.
    pub(super) async fn moved(&self, judged: &[(Key, Revision)]) {
        let told = Arc::new(Notify::new());
        {
            let mut inner = self.lock();
            let index = &inner.core.index;
            if judged.iter().any(|(key, past)| index.revision(key) > *past) {
                return;
            }
            for (key, past) in judged {
                let waiters = inner.moved.entry(key.clone()).or_default();
                waiters.retain(|(_, waiter)| Arc::strong_count(waiter) > 1);
                waiters.push((*past, Arc::clone(&told)));
            }
        }
        told.notified().await;
    }
}

impl Inner {
    fn wake_exact(&mut self) {
        let exact = self.core.index.exact();
        while let Some(first) = self.exact.first_entry()
            && *first.key() <= exact
        {
            for waiter in first.remove() {
                // A waiter that has gone does not mind.
                let _ = waiter.send(());
            }
        }
    }

    fn wake_moved(&mut self, key: &Key, revision: Revision) {
        let Some(waiters) = self.moved.get_mut(key) else {
            return;
        };
        waiters.retain(|(past, waiter)| {
            let moved = revision > *past;
            if moved {
                // Kept until it waits, should it not wait yet.
                waiter.notify_one();
            }
            // One that waits under several keys, or no longer, leaves the others behind.
            !moved && Arc::strong_count(waiter) > 1
        });
        if waiters.is_empty() {
            self.moved.remove(key);
        }
    }
}
