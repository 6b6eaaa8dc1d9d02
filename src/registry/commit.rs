//! Carries commands out: does what each says is next, and feeds back what came of it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    domain::{
        command::{Answer, Command, Probed, Refusal},
        deed::{Deed, Fed, Step},
        key::{Key, Revision},
        time::Moment,
        write::Write,
    },
    machine::Machine,
    store::{Store, Written},
};

use super::{
    availability, barrier::Barrier, clock::Clock, fatal::Fatal, follower::Restart, hosts::Heard,
    mirror::Mirror, serve::Place, stop::Stop,
};

/// The longest pause between two tries, in milliseconds.
const PAUSE_MILLIS_MAX: u64 = 100;

/// How long the follower may take to show who won a key; then it is asked whether it can at all.
const MOVED_TIMEOUT: Duration = Duration::from_secs(2);

/// What commands are carried out with.
pub(super) struct Commit {
    pub(super) store: Store,
    pub(super) mirror: Arc<Mirror>,
    pub(super) barrier: Barrier,
    pub(super) clock: Clock,
    pub(super) stop: Stop,
    pub(super) restart: Arc<Restart>,
    /// Where this instance grants ports by default.
    pub(super) machine: Machine,
    /// Where others run.
    pub(super) heard: Arc<Heard>,
}

/// A command under way.
pub(super) struct Ticket {
    /// None once it has come.
    outcome: Option<oneshot::Receiver<Result<Answer, Refusal>>>,
    mirror: Arc<Mirror>,
    progress: Arc<Mutex<Progress>>,
}

/// How far a command has come: written and read under the mirror's lock, so that a command that is
/// decided on before its deadline is known to be under way at its deadline.
#[derive(Debug, Clone, Default)]
struct Progress {
    unsettled: bool,
    waits_for: Option<Refusal>,
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
    pub(super) async fn outcome(mut self, deadline: tokio::time::Instant) -> Known {
        self.known(deadline).await
    }

    /// The same; what is not settled can be asked about again.
    pub(super) async fn known(&mut self, deadline: tokio::time::Instant) -> Known {
        let Some(outcome) = self.outcome.as_mut() else {
            return Known::Broken;
        };
        let outcome = tokio::time::timeout_at(deadline, outcome).await;
        if outcome.is_ok() {
            self.outcome = None;
        }
        match outcome {
            Err(_) | Ok(Ok(Err(Refusal::Unreachable))) => {
                let progress = self.mirror.with(|_| lock(&self.progress).clone());
                match progress.waits_for {
                    _ if progress.unsettled => Known::Unsettled,
                    Some(refusal) => Known::Done(Err(refusal)),
                    None => Known::Nothing,
                }
            }
            Ok(Ok(outcome)) => Known::Done(outcome),
            Ok(Err(_)) => Known::Broken,
        }
    }
}

impl Commit {
    /// Begins to carry out a command. It goes on past the deadline until what it began is settled; the
    /// place is given back then.
    pub(super) fn begin(
        self: &Arc<Self>,
        command: Command,
        deadline: Moment,
        place: Option<Arc<Place>>,
    ) -> Ticket {
        let (sender, outcome) = oneshot::channel();
        let progress = Arc::<Mutex<Progress>>::default();
        let ticket = Ticket {
            outcome: Some(outcome),
            mirror: Arc::clone(&self.mirror),
            progress: Arc::clone(&progress),
        };
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let deed = Deed::new(command, deadline);
            let outcome = tokio::select! {
                outcome = this.carry_out(deed, &progress) => outcome,
                () = this.stop.abandoned() => return,
            };
            // The caller may have gone.
            let _ = sender.send(outcome);
            drop(place);
        });
        ticket
    }

    async fn carry_out(
        &self,
        mut deed: Deed,
        progress: &Mutex<Progress>,
    ) -> Result<Answer, Refusal> {
        let mut fed = Fed::Go;
        loop {
            let step = self.mirror.with(|core| {
                // Read here: the lock may have been waited for past the deadline.
                let step = deed.step(core, fed, self.clock.now());
                let done = matches!(step, Step::Done(Ok(_)));
                *lock(progress) = Progress {
                    // Of what is done nobody knows until its outcome has come out of this task.
                    unsettled: done || deed.is_unsettled(),
                    waits_for: deed.waits_for().cloned(),
                };
                step
            });
            fed = match step {
                Step::Done(outcome) => return outcome,
                Step::Barrier if self.barrier.pass().await => Fed::Go,
                Step::Barrier => Fed::Failed,
                Step::Write(writes) => {
                    let before = self.mirror.with(|core| core.index.applied());
                    let written = self.store.write(&writes).await;
                    for write in writes.iter() {
                        tracing::debug!(key = %write.key, expected = write.expected.0, ?written, "write");
                    }
                    self.fed(written, before, &writes)
                }
                Step::Moved(judged) => {
                    self.moved(&judged).await;
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
                    Fed::Probed(probed)
                }
                Step::Pause(tries) => {
                    tokio::time::sleep(pause(tries)).await;
                    Fed::Go
                }
            };
        }
    }

    /// Waits until the follower shows one of the keys past its revision; not for ever, for its message may
    /// be gone.
    async fn moved(&self, judged: &[(Key, Revision)]) {
        let moved = self.mirror.moved(judged);
        if tokio::time::timeout(MOVED_TIMEOUT, moved).await.is_ok() || !self.barrier.pass().await {
            return;
        }
        let index_at = |key: &Key| self.mirror.with(|core| core.index.revision(key));
        for (key, past) in judged {
            if index_at(key) > *past {
                return;
            }
        }
        for (key, _) in judged {
            let known = index_at(key);
            match self.store.locate(key).await {
                Some(Revision(0)) if known > Revision(0) => {
                    tracing::error!(%key, revision = known.0, "its message has vanished from the bucket");
                    self.mirror.with(|core| core.index.vanish(key, known));
                }
                Some(there) if there < known || (known == Revision(0) && there > known) => {
                    tracing::error!(%key, revision = there.0, "a message has come back into the bucket");
                    self.restart.all_again();
                }
                Some(_) | None => {}
            }
        }
    }

    /// An acknowledgement at or below what was applied before the write was sent is one of a store that
    /// has gone backwards.
    fn fed(&self, written: Written, before: Revision, writes: &[Write]) -> Fed {
        match written {
            Written::At(revision) if revision <= before => {
                let keys: Vec<String> = writes.iter().map(|write| write.key.to_string()).collect();
                let keys = keys.join(" ");
                tracing::error!(
                    keys,
                    revision = revision.0,
                    applied = before.0,
                    "acknowledged below what was applied"
                );
                self.stop.fail(Fatal::Backwards {
                    last: revision,
                    seen: before,
                });
                Fed::Unknown
            }
            Written::At(revision) => {
                self.mirror.acknowledge(revision);
                Fed::Written(revision)
            }
            Written::Lost => Fed::Lost,
            Written::Unknown => Fed::Unknown,
            Written::Unsent => Fed::Unsent,
            Written::Unreadable => Fed::Unreadable,
        }
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
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
