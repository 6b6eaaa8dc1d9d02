//! Does what time asks for: ends leases and nodes whose time is up, forgets what ended long ago.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use uuid::Uuid;

use crate::domain::{command::Command, core::Core, ids::CommandId};

use super::commit::Commit;

/// Leases ended in one round, at most.
const ROUND_LEASES_MAX: usize = 1_024;
/// Of them at the same time.
const ROUND_CONCURRENCY: usize = 64;
/// The longest time between two rounds.
const ROUND_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// By how much a round is put off at random, in milliseconds, so that instances do not all try the same.
const ROUND_JITTER_MILLIS: u64 = 50;
/// How long one end may be tried before a new round decides again.
const END_TIMEOUT_MILLIS: u64 = 10_000;

/// Ends what is due, for ever.
pub(super) async fn run(commit: Arc<Commit>) {
    loop {
        let next = commit.mirror.with(|core| core.index.next_change());
        let wait = next.map_or(ROUND_INTERVAL_MAX, |at| {
            commit.clock.until(at).min(ROUND_INTERVAL_MAX)
        });
        // What hangs on a node that has ended is due as soon as that is seen.
        let due = commit.mirror.until(Core::is_due);
        let _ = tokio::time::timeout(wait, due).await;
        let (_, random) = Uuid::new_v4().as_u64_pair();
        tokio::time::sleep(Duration::from_millis(1 + random % ROUND_JITTER_MILLIS)).await;
        round(&commit).await;
    }
}

async fn round(commit: &Arc<Commit>) {
    let now = commit.clock.now();
    let due = commit.mirror.with(|core| core.reap(now, ROUND_LEASES_MAX));
    if due.is_empty() {
        return;
    }
    tracing::debug!(keys = due.len(), "ending what is due");
    let deadline = now.mono.plus(END_TIMEOUT_MILLIS);
    let until = tokio::time::Instant::now() + Duration::from_millis(END_TIMEOUT_MILLIS);
    stream::iter(due)
        .map(|key| {
            let command = Command::settle(CommandId(Uuid::now_v7()), key);
            commit.begin(command, deadline, None).outcome(until)
        })
        .buffer_unordered(ROUND_CONCURRENCY)
        .for_each(|_| std::future::ready(()))
        .await;
}
