//! What waits to be told of runs of tools.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::domain::{call::By, transition::EndTold};

use super::Told;

/// Events that may wait, some tens of megabytes; then no further run is told of. Ends of runs that were told of find
/// room beyond that: there are no more of them than calls are under way.
pub(super) const WAITING_MAX: usize = 65_536;

/// One event of a run.
pub(super) struct Item {
    pub(super) told: Arc<Told>,
    pub(super) at: Timestamp,
    /// How it ended, and by whom, where it did.
    pub(super) ended: Option<(Option<By>, EndTold)>,
}

#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    more: Notify,
    empty: Notify,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Item>,
    /// Taken, and not known to be out.
    taken: usize,
    dropped: u64,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // It is changed by plain assignments that leave it whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The begin of a run; false when there is no room to tell of it.
    pub(super) fn begin(&self, item: Item) -> bool {
        let mut inner = self.lock();
        if inner.waiting.len() + inner.taken >= WAITING_MAX {
            inner.dropped += 1;
            return false;
        }
        inner.waiting.push_back(item);
        drop(inner);
        self.more.notify_one();
        true
    }

    /// The end of a run whose begin was told.
    pub(super) fn end(&self, item: Item) {
        self.lock().waiting.push_back(item);
        self.more.notify_one();
    }

    /// Waits for something, and takes at most so many, the oldest first.
    pub(super) async fn take(&self, most: usize) -> Vec<Item> {
        loop {
            {
                let mut inner = self.lock();
                let count = inner.waiting.len().min(most);
                if count > 0 {
                    inner.taken = count;
                    return inner.waiting.drain(..count).collect();
                }
            }
            self.more.notified().await;
        }
    }

    /// What was taken is out.
    pub(super) fn out(&self) {
        let mut inner = self.lock();
        inner.taken = 0;
        if inner.waiting.is_empty() {
            self.empty.notify_waiters();
        }
    }

    /// Waits until nothing waits.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.empty.notified();
            {
                let inner = self.lock();
                if inner.waiting.is_empty() && inner.taken == 0 {
                    return;
                }
            }
            emptied.await;
        }
    }

    /// Whether more than so many wait.
    pub(super) fn is_longer_than(&self, count: usize) -> bool {
        self.lock().waiting.len() > count
    }

    /// Runs of which nothing was told since this was asked last.
    pub(super) fn dropped(&self) -> u64 {
        std::mem::take(&mut self.lock().dropped)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        call::{Execution, Outcome},
        ids::ExecutionId,
    };

    fn item(ended: bool) -> Item {
        let execution = Execution {
            execution_id: ExecutionId(Uuid::nil()),
            tool_name: "add".parse().unwrap(),
            tool_version: "1.0.0".parse().unwrap(),
            contract_hash: String::new(),
            node_id: "calc".parse().unwrap(),
            trace_log_id: None,
        };
        Item {
            told: Arc::new(Told {
                execution,
                requester_id: None,
                correlation_id: "c".to_owned(),
                timeout_ms: 1,
            }),
            at: Timestamp::UNIX_EPOCH,
            ended: ended.then(|| (None, EndTold::of(&Outcome::Unknown))),
        }
    }

    #[tokio::test]
    async fn an_end_finds_room_where_a_begin_does_not() {
        let queue = Queue::default();
        for _ in 0..WAITING_MAX {
            assert!(queue.begin(item(false)));
        }
        assert!(!queue.begin(item(false)));
        queue.end(item(true));
        assert_eq!(queue.dropped(), 1);
        assert_eq!(queue.dropped(), 0);
        let taken = queue.take(2).await;
        assert_eq!(taken.len(), 2);
        assert!(
            !queue.begin(item(false)),
            "what was taken may have to be sent again"
        );
        queue.out();
        assert!(queue.begin(item(false)));
        let rest = queue.take(usize::MAX).await;
        assert_eq!(rest.len(), WAITING_MAX);
        assert!(rest.iter().any(|item| item.ended.is_some()));
        queue.out();
        queue.emptied().await;
    }
}
