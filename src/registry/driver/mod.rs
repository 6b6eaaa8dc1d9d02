//! Drives the engine: brings it what happens (commands, the log, the clock) and carries out what it wants. Nothing is decided
//! here.
//!
//! One task owns the engine and the log. Commands come in through a channel, in chunks; outcomes go out through a function,
//! in chunks; and readers have a copy of the state of their own, behind a lock ([`Reads`]).

mod applied;
mod doubt;
mod ended;
mod load;
mod options;
mod probe;
mod reads;
mod refused;
mod sizes;
mod store_tasks;
mod submitted;
mod turn;

use std::sync::Arc;

use onex_core::{command::Outcome, engine::Loaded};
use onex_log::{Log, Store};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

pub(super) use applied::Applied;
pub(super) use ended::Ended;
pub(super) use load::{LoadError, load, load_once_led};
pub(super) use options::Options;
pub(super) use reads::Reads;
pub(super) use submitted::Submitted;

/// Chunks of commands that wait for the engine, at most. How many commands wait is bounded where they are taken.
const CHUNKS_MAX: usize = 1_024;

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
