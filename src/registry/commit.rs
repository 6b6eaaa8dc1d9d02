//! Carries commands out: does what each says is next, and feeds back what came of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use crate::{
    domain::{
        command::{Answer, Command, Probed, Refusal},
        deed::{Deed, Fed, Step},
        ids::CommandId,
        key::{Key, Revision},
        time::Moment,
    },
    store::{Store, Written},
};

use super::{
    availability, barrier::Barrier, clock::Clock, fatal::Fatal, mirror::Mirror, stop::Stop,
};

/// The longest pause between two tries, in milliseconds.
const PAUSE_MILLIS_MAX: u64 = 100;

/// What commands are carried out with.
pub(super) struct Commit {
    pub(super) store: Store,
    pub(super) mirror: Arc<Mirror>,
    pub(super) barrier: Barrier,
    pub(super) clock: Clock,
    pub(super) stop: Stop,
}

/// A command under way.
pub(super) struct Ticket {
    outcome: oneshot::Receiver<Result<Answer, Refusal>>,
    unsettled: Arc<AtomicBool>,
}

/// What is known of a command at its caller's deadline.
pub(super) enum Known {
    Done(Result<Answer, Refusal>),
    /// No write of it is under way or has landed.
    Nothing,
    /// A write of it may have landed, or may still.
    Unsettled,
    /// Its task died.
    Broken,
}

impl Ticket {
    /// Waits for the outcome until `deadline`.
    pub(super) async fn outcome(self, deadline: tokio::time::Instant) -> Known {
        match tokio::time::timeout_at(deadline, self.outcome).await {
            Err(_) | Ok(Ok(Err(Refusal::Unreachable))) => {
                if self.unsettled.load(Ordering::Acquire) {
                    Known::Unsettled
                } else {
                    Known::Nothing
                }
            }
            Ok(Ok(outcome)) => Known::Done(outcome),
            Ok(Err(_)) => Known::Broken,
        }
    }
}

impl Commit {
    /// Begins to carry out a command. It goes on past the deadline until what it began is settled; the
    /// permit is given back then.
    pub(super) fn begin(
        self: &Arc<Self>,
        command: Command,
        deadline: Moment,
        permit: Option<Arc<OwnedSemaphorePermit>>,
    ) -> Ticket {
        let (sender, outcome) = oneshot::channel();
        let unsettled = Arc::new(AtomicBool::new(false));
        let ticket = Ticket {
            outcome,
            unsettled: Arc::clone(&unsettled),
        };
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = this
                .carry_out(Deed::new(command, deadline), &unsettled)
                .await;
            // The caller may have gone.
            let _ = sender.send(outcome);
            drop(permit);
        });
        ticket
    }

    async fn carry_out(&self, mut deed: Deed, unsettled: &AtomicBool) -> Result<Answer, Refusal> {
        let mut fed = Fed::Go;
        loop {
            let now = self.clock.now();
            let step = self.mirror.with(|core| deed.step(core, fed, now));
            unsettled.store(deed.is_unsettled(), Ordering::Release);
            fed = match step {
                Step::Done(outcome) => return outcome,
                Step::Barrier if self.barrier.pass().await => Fed::Go,
                Step::Barrier => Fed::Failed,
                Step::Write(write) => {
                    let before = self.mirror.with(|core| core.index.applied());
                    let written = self.store.write(&write).await;
                    tracing::debug!(key = %write.key, expected = write.expected.0, ?written, "write");
                    self.fed(written, before, &write.key)
                }
                Step::Moved(key, past) => {
                    self.mirror.moved(&key, past).await;
                    Fed::Go
                }
                Step::Exact(revision) => {
                    self.mirror.exact(revision).await;
                    Fed::Go
                }
                Step::Probe(key) => {
                    // The runtime may have been stopped since the step was decided.
                    let probed = if deed.may_probe(self.clock.now().mono) {
                        availability::probe(&key)
                    } else {
                        Probed::Unknown
                    };
                    Fed::Probed(probed, CommandId(Uuid::now_v7()))
                }
                Step::Pause(tries) => {
                    tokio::time::sleep(pause(tries)).await;
                    Fed::Go
                }
            };
        }
    }

    /// An acknowledgement at or below what was applied before the write was sent is one of a store that
    /// has gone backwards.
    fn fed(&self, written: Written, before: Revision, key: &Key) -> Fed {
        match written {
            Written::At(revision) if revision <= before => {
                tracing::error!(%key, revision = revision.0, applied = before.0, "acknowledged below what was applied");
                self.stop.fail(Fatal::Backwards {
                    last: revision,
                    seen: before,
                });
                Fed::Unknown
            }
            Written::At(revision) => Fed::Written(revision),
            Written::Lost => Fed::Lost,
            Written::Unknown => Fed::Unknown,
            Written::Unsent => Fed::Unsent,
        }
    }
}

/// A random time below a bound that doubles with each try.
fn pause(tries: u32) -> Duration {
    let bound = 1_u64
        .checked_shl(tries)
        .unwrap_or(u64::MAX)
        .min(PAUSE_MILLIS_MAX);
    if tries == 0 {
        return Duration::ZERO;
    }
    // A v4 UUID is random; its low bits spare a dependency.
    let (_, random) = Uuid::new_v4().as_u64_pair();
    Duration::from_micros(random % (bound * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_bounded() {
        assert_eq!(pause(0), Duration::ZERO);
        for tries in 1..100 {
            assert!(pause(tries) < Duration::from_millis(PAUSE_MILLIS_MAX));
        }
    }
}
