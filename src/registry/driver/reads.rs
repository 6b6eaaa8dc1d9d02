//! What readers see: a copy of the state to which only entries are applied that are in the log. Records are shared with the
//! engine's state.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use onex_core::{
    engine::{Loaded, STALE_MILLIS, Unpublished},
    entry::Entry,
    state::State,
};
use onex_types::time::{MonoMillis, Now};
use tokio::sync::watch;

/// The readers' state.
pub(in super::super) struct Reads {
    inner: RwLock<Inner>,
    revision: watch::Sender<u64>,
}

struct Inner {
    state: State,
    /// When the last entry came, or the follower fitted.
    fresh_at: MonoMillis,
    unpublished: Unpublished,
}

impl Inner {
    fn new(loaded: &Loaded, now: MonoMillis) -> Self {
        Self {
            state: loaded.state().clone(),
            fresh_at: now,
            unpublished: loaded.unpublished().clone(),
        }
    }
}

impl Reads {
    pub(super) fn new(loaded: &Loaded, now: MonoMillis) -> Self {
        let revision = watch::Sender::new(loaded.state().revision());
        Self {
            inner: RwLock::new(Inner::new(loaded, now)),
            revision,
        }
    }

    /// Looks at the state. None where it may be old: nothing was heard of the log for too long. Copy what is shared, and
    /// encode outside.
    pub(in super::super) fn with<R>(
        &self,
        now: MonoMillis,
        read: impl FnOnce(&State) -> R,
    ) -> Option<R> {
        let (found, _) = self.within(now, STALE_MILLIS, read)?;
        Some(found)
    }

    /// The same, of a state that may be so old; how old it is. Both in milliseconds.
    pub(in super::super) fn within<R>(
        &self,
        now: MonoMillis,
        max_age: u64,
        read: impl FnOnce(&State) -> R,
    ) -> Option<(R, u64)> {
        let inner = self.read();
        let age = now.since(inner.fresh_at);
        (age < max_age).then(|| (read(&inner.state), age))
    }

    /// Looks at the state, however old it is.
    pub(in super::super) fn last<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(&self.read().state)
    }

    /// The revision of the last command that readers see.
    pub(in super::super) fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// Tells of each later revision that readers see.
    pub(in super::super) fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Events that are not published as far as the log says.
    pub(in super::super) fn events_waiting(&self) -> usize {
        self.read().unpublished.count()
    }

    /// Whether that revision was skipped when a restored log was accepted: who knows of it knows what is lost.
    pub(in super::super) fn is_skipped(&self, revision: u64) -> bool {
        self.read().state.is_skipped(revision)
    }

    /// Waits until readers see that revision.
    pub(in super::super) async fn reach(&self, revision: u64) {
        let mut seen = self.revision.subscribe();
        // The sender is a field of this.
        let _ = seen.wait_for(|seen| *seen >= revision).await;
    }

    /// Applies entries that are in the log, in its order.
    pub(super) fn apply(&self, entries: &[Arc<Entry>], now: Now) {
        let revision = {
            let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
            inner.fresh_at = now.mono;
            for entry in entries {
                // The engine has applied it to the same records before: what it says of those fits.
                if let Err(error) = inner.state.apply_entry(entry, now) {
                    tracing::error!(%error, "readers cannot follow an entry");
                }
                let Inner {
                    state, unpublished, ..
                } = &mut *inner;
                unpublished.note(entry, state);
            }
            // Timers of this copy are nobody's: what they say comes with entries. Ports that have cooled down are counted.
            inner.state.due(now.mono);
            inner.state.revision()
        };
        self.revision.send_if_modified(|seen| {
            let grown = *seen < revision;
            *seen = revision.max(*seen);
            grown
        });
    }

    /// Begins anew with what was read again.
    pub(super) fn replace(&self, loaded: &Loaded, now: MonoMillis) {
        let revision = loaded.state().revision();
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        *inner = Inner::new(loaded, now);
        drop(inner);
        self.revision.send_replace(revision);
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }
}
