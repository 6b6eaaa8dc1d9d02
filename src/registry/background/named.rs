//! What the named instance derives from the log: each time that this instance is named, and until another one is, it follows
//! the entries into a stream of its own.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use onex_core::{
    command::{Action, Command},
    record::{InstanceId, Named},
};
use onex_log::{Derived, DerivedOptions};
use onex_types::{entry::Sequence, ids::CommandId, time::MonoMillis};
use tokio::{
    sync::{mpsc::UnboundedReceiver, oneshot},
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::registry::{
    clock::Clock,
    driver::{Applied, Handle, Submitted},
    request::Completion,
};

/// How long to wait before it is tried again after something failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an instance that is not named waits until it looks again.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Entries that are kept for who is behind, at most.
const ENTRIES_KEPT_MAX: usize = 4_096;

/// This instance, as one that may be named.
#[derive(Clone)]
pub(in crate::registry) struct Candidate {
    pub(in crate::registry) instance: InstanceId,
    pub(in crate::registry) driver: Handle<Completion>,
    pub(in crate::registry) clock: Clock,
}

/// The stream that something is derived into.
pub(in crate::registry) struct Target {
    pub(in crate::registry) stream: Derived,
    pub(in crate::registry) options: DerivedOptions,
}

/// Entries as they are applied here.
pub(super) struct Incoming {
    applied: UnboundedReceiver<Applied>,
    pub(super) kept: VecDeque<Applied>,
}

/// Why it ended.
pub(super) enum Stopped {
    /// Another instance is named.
    NotNamed,
    /// Something failed: it is tried again.
    Failed(String),
}

/// Something that is derived from the log.
pub(super) trait Derive {
    /// What it is called in messages.
    const WHAT: &'static str;
    /// Where it goes.
    fn target(&self) -> &Target;
    /// Who derives it.
    fn candidate(&self) -> &Candidate;
    /// Derives it as long as this instance is named.
    fn derive(
        &self,
        named: &Named,
        incoming: &mut Incoming,
    ) -> impl Future<Output = Stopped> + Send;
}

/// Derives for ever.
pub(super) async fn run<D: Derive>(derive: D, applied: UnboundedReceiver<Applied>) {
    let mut incoming = Incoming {
        applied,
        kept: VecDeque::new(),
    };
    loop {
        let Some(named) = derive.candidate().named() else {
            incoming.rest().await;
            continue;
        };
        match derive.derive(&named, &mut incoming).await {
            Stopped::NotNamed => {}
            Stopped::Failed(why) => {
                let Target { stream, options } = derive.target();
                let stream_name = &options.name;
                tracing::warn!(why, stream = stream_name, "{}; trying again", D::WHAT);
                if let Err(error) = stream.ensure(options).await {
                    let error = onex_types::chain(&error);
                    tracing::warn!(error, stream = stream_name, "no such stream can be had");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

impl Candidate {
    /// What the log says of the named instance, if that is this one.
    pub(super) fn named(&self) -> Option<Arc<Named>> {
        let now = self.clock.now().mono;
        let named = self.driver.reads.with(now, |state| state.named().cloned());
        named
            .flatten()
            .filter(|named| named.instance == self.instance)
    }

    /// Whether it was still named when this was asked: an entry that was appended since says so.
    pub(super) async fn is_still_named(&self) -> bool {
        let (waiter, outcome) = oneshot::channel();
        self.submit(Action::ReadIndex, Some(Completion::Task(waiter)))
            .await;
        let decided = outcome.await.is_ok_and(|outcome| outcome.result.is_ok());
        decided && self.named().is_some()
    }

    /// Takes the place of the named instance at once, where no instance runs but this one.
    pub(in crate::registry) async fn replace_gone(&self) {
        let now = self.clock.now().mono;
        let named = self.driver.reads.with(now, |state| state.named().cloned());
        let other = |named: &Arc<Named>| named.instance != self.instance;
        if let Some(named) = named.flatten().filter(other) {
            let action = Action::TakeOver {
                from: Some(named.instance),
                to: self.instance,
            };
            self.submit(action, None).await;
        }
    }

    /// Has a command decided.
    pub(super) async fn submit(&self, action: Action, waiter: Option<Completion>) {
        let command = Command {
            id: CommandId(Uuid::nil()),
            correlation_id: None,
            action,
        };
        let submitted = Submitted {
            waiter,
            command,
            deadline: MonoMillis::NEVER,
        };
        // Where the engine has ended there is nothing to be done.
        let _ = self.driver.submit(vec![submitted]).await;
    }
}

impl Incoming {
    /// Lets time pass. What comes meanwhile is for another one to derive from, and is kept in case this one takes over.
    async fn rest(&mut self) {
        let keep = async {
            while let Some(applied) = self.applied.recv().await {
                self.keep(applied);
            }
            // The engine has ended: nothing comes any more.
            std::future::pending::<()>().await;
        };
        let _ = timeout(LOOK_INTERVAL, keep).await;
    }

    fn keep(&mut self, applied: Applied) {
        if self.kept.len() >= ENTRIES_KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(applied);
    }

    /// Keeps what comes, and what comes behind it for so much longer. Does not wait where something behind `after` is kept.
    pub(super) async fn gather(&mut self, after: Sequence, longer: Duration) {
        if self.kept.back().is_none_or(|last| last.sequence <= after) {
            match timeout(LOOK_INTERVAL, self.applied.recv()).await {
                Ok(Some(applied)) => self.keep(applied),
                _ => return,
            }
            sleep(longer).await;
        }
        while let Ok(applied) = self.applied.try_recv() {
            self.keep(applied);
        }
    }
}
