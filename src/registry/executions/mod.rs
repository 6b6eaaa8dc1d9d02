//! Runs of tools: their events, where the call has no record that tells of them, and how many there were.

mod counter;
mod queue;
mod teller;

use std::sync::Arc;

use async_nats::Client;

use crate::{
    domain::{
        call::{By, Execution, Outcome},
        ids::RequesterId,
        transition::EndTold,
    },
    protocol::names::Namespace,
};

use super::{clock::Clock, commit::Commit, seldom::Seldom};

use queue::{Item, Queue};

/// Tells of calls without a request id, as well as possible: what an instance that dies has not sent yet is lost.
#[derive(Clone)]
pub(super) struct Executions {
    queue: Arc<Queue>,
    clock: Clock,
}

/// The run of a tool that is to be told of.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) execution: Execution,
    pub(super) requester_id: Option<RequesterId>,
    pub(super) correlation_id: String,
    /// How long it may run, in milliseconds.
    pub(super) timeout_ms: u64,
}

/// A run that has begun, and that has one end: what came of it is unknown when nobody says.
pub(super) struct Telling {
    /// None when there is no room to tell of it, and once its end is told.
    told: Option<Arc<Told>>,
    executions: Executions,
}

impl Executions {
    /// Publishes what is told, and counts, for ever.
    pub(super) fn start(commit: Arc<Commit>, namespace: Namespace, client: Client) -> Self {
        let (clock, stop) = (commit.clock, commit.stop.clone());
        let queue = Arc::new(Queue::default());
        let counter = counter::Counter {
            commit: Arc::clone(&commit),
            namespace: namespace.clone(),
            client,
        };
        stop.watch("counter of executions", counter.run());
        let teller = teller::Teller {
            commit,
            namespace,
            queue: Arc::clone(&queue),
            complaints: Seldom::default(),
        };
        stop.watch("teller of executions", teller.run());
        Self { queue, clock }
    }

    /// `tool.invoked`. Neither waits nor fails: where too much waits to be told already, nothing is told of this run.
    pub(super) fn invoked(&self, told: Told) -> Telling {
        let told = Arc::new(told);
        let room = self.queue.begin(Item {
            told: Arc::clone(&told),
            at: self.clock.now().wall,
            ended: None,
        });
        Telling {
            told: room.then_some(told),
            executions: self.clone(),
        }
    }

    /// Waits until all is out that was told so far.
    pub(super) async fn flush(&self) {
        self.queue.emptied().await;
    }

    fn ended(&self, told: Arc<Told>, by: Option<By>, end: EndTold) {
        self.queue.end(Item {
            told,
            at: self.clock.now().wall,
            ended: Some((by, end)),
        });
    }
}

impl Telling {
    /// `tool.completed` or `tool.failed`; `by` is who was tried last, when that is not who was tried first.
    pub(super) fn ended(mut self, by: Option<By>, end: EndTold) {
        if let Some(told) = self.told.take() {
            self.executions.ended(told, by, end);
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(told) = self.told.take() {
            let end = EndTold::of(&Outcome::Unknown);
            self.executions.ended(told, None, end);
        }
    }
}
