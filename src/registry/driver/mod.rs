//! Drives the engine: brings it what happens (commands, the log, the clock) and carries out what it wants. Nothing is decided
//! here.
//!
//! One task owns the engine and the log. Commands come in through a channel, in chunks; outcomes go out through a function,
//! in chunks; and readers have a copy of the state of their own, behind a lock ([`Reads`]).

mod doubt;
mod load;
mod probe;
mod reads;
mod sizes;
mod store_tasks;
mod turn;

use std::sync::Arc;

use onex_core::{
    command::{Command, Outcome, Refusal},
    decide::Local,
    engine::{self, Limits, Loaded},
    entry::Entry,
    record::Settings,
    settings::SettingDiffers,
};
use onex_log::{Log, Store};
use onex_types::{
    entry::{EntryHeader, Sequence},
    time::Moment,
};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

pub(super) use load::{LoadError, load};
pub(super) use reads::Reads;

use super::{clock::Clock, high_water::HighWaterSources};

/// Chunks of commands that wait for the engine, at most. How many commands wait is bounded where they are taken.
const CHUNKS_MAX: usize = 1_024;

/// A command on its way to the engine.
pub(super) struct Submitted<T> {
    /// Who waits for its outcome; none when nobody does.
    pub(super) waiter: Option<T>,
    /// What to do.
    pub(super) command: Command,
    /// After this nobody decides it any more.
    pub(super) deadline: Moment,
}

/// An entry that is in the log.
#[derive(Debug, Clone)]
pub(super) struct Applied {
    /// Where it is.
    pub(super) sequence: Sequence,
    /// Its header.
    pub(super) header: EntryHeader,
    /// What it says.
    pub(super) entry: Arc<Entry>,
}

/// What an engine is made with.
pub(super) struct Options {
    /// What this instance knows of itself.
    pub(super) local: Local,
    /// Sizes and times.
    pub(super) limits: Limits,
    /// What the first entry of a log says, where there is none yet; none for who only looks at it.
    pub(super) settings: Option<Settings>,
    /// Which of these somebody gave: a log that is there must have them as they are given.
    pub(super) given: Vec<String>,
    /// How far the log was, by what is noted outside of the store: a log that is older is refused.
    pub(super) high_water: HighWaterSources,
    /// Where the time comes from.
    pub(super) clock: Clock,
    /// Who are told of every entry.
    pub(super) applied: Vec<mpsc::UnboundedSender<Applied>>,
}

/// Why the engine does not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// It was told to stop, and everything is settled or nobody knows.
    #[error("stopped")]
    Stopped,
    /// It was started with other settings than the log has.
    #[error("{}", Refusal::SettingsDiffer(.0.clone()))]
    Differs(Vec<SettingDiffers>),
    /// The log says something that this version cannot follow.
    #[error("the log cannot be followed")]
    Fatal(#[from] engine::Fatal),
    /// What the log said could not be read again.
    #[error("the log cannot be read")]
    Load(#[from] LoadError),
}

/// The way to the engine.
pub(super) struct Handle<T> {
    commands: mpsc::Sender<Vec<Submitted<T>>>,
    /// What readers see.
    pub(super) reads: Arc<Reads>,
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            reads: Arc::clone(&self.reads),
        }
    }
}

impl<T> Handle<T> {
    /// Hands commands to the engine, in their order; gives them back where it has ended.
    pub(super) async fn submit(&self, chunk: Vec<Submitted<T>>) -> Result<(), Vec<Submitted<T>>> {
        let sent = self.commands.send(chunk).await;
        sent.map_err(|mpsc::error::SendError(chunk)| chunk)
    }
}

/// The engine's task.
pub(super) struct Driver<T> {
    /// The way to it.
    pub(super) handle: Handle<T>,
    stop: watch::Sender<bool>,
    ready: watch::Receiver<bool>,
    task: AbortHandle,
    ended: watch::Receiver<Option<Arc<Ended>>>,
}

impl<T: Send + 'static> Driver<T> {
    /// Starts the engine on what was [`load`]ed of the log. `answer` gets the outcomes, with who waits for them.
    pub(super) fn start(
        log: Log,
        store: Store,
        loaded: Loaded,
        options: Options,
        answer: impl FnMut(Vec<(T, Outcome)>) + Send + 'static,
    ) -> Self {
        let reads = Arc::new(Reads::new(&loaded, options.clock.now().mono));
        let (commands, submitted) = mpsc::channel(CHUNKS_MAX);
        let (stop, stopping) = watch::channel(false);
        let (is_ready, ready) = watch::channel(false);
        let turn = turn::Turn::new(turn::Parts {
            log,
            store,
            options,
            loaded,
            reads: Arc::clone(&reads),
            submitted,
            stopping,
            is_ready,
            answer: Box::new(answer),
        });
        let (end, ended) = watch::channel(None);
        let task = tokio::spawn(async move {
            end.send_replace(Some(Arc::new(Box::pin(turn.run()).await)));
        });
        Self {
            handle: Handle { commands, reads },
            stop,
            ready,
            task: task.abort_handle(),
            ended,
        }
    }

    /// Waits until an entry of its own has shown that this instance has everything that was there when it started. False
    /// where the engine ended before.
    pub(super) async fn ready(&self) -> bool {
        self.ready.clone().wait_for(|ready| *ready).await.is_ok()
    }

    /// Lets the engine settle what has come, and end.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Ends the engine at once.
    pub(super) fn abandon(&self) {
        self.task.abort();
    }

    /// Waits until the engine has ended; says why, unless by a fault of its own.
    pub(super) async fn ended(&self) -> Option<Arc<Ended>> {
        let mut ended = self.ended.clone();
        let ended = ended.wait_for(Option::is_some).await;
        ended.ok().and_then(|ended| ended.clone())
    }
}

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
