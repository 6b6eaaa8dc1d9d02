//! Takes requests from the bus, one subscription for each endpoint, as many at once as have come. What needs nothing but a
//! decision goes straight to the engine, and its reply is made where its outcome comes out; everything else is a task.

mod admission;
mod meant;
mod shared;

use std::sync::{Arc, OnceLock};

use async_nats::{Message, Subscriber};
use futures::{StreamExt, stream::ReadyChunks};
use onex_machine::new_id;
use onex_types::time::MonoMillis;
use tokio::{sync::watch, task::JoinHandle};

use onex_nats::serving::{round_trip, unsubscribe};

use crate::protocol::{
    endpoint::Endpoint,
    error::{BUSY_RETRY_MILLIS, Error, ErrorCode, Outcome as Done},
    frame,
    names::{HEADER_CORRELATION_ID, HEADER_MAX_AGE_MS, HEADER_TIMEOUT_MS, SERVICE},
};

use super::{
    driver::Submitted,
    handlers,
    request::{Completion, InFlight, Plan},
};

pub(super) use admission::Admission;
pub(super) use shared::Intake;
use shared::command;

/// Messages that are taken at once, at most.
const CHUNK_MAX: usize = 256;

/// How far a registry has come with stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// The server routes no more requests here; what it has routed still comes.
    Unsubscribed,
    /// All that it had routed is here.
    Complete,
}

/// The subscriptions, each with the task that reads it.
pub(super) struct Listening {
    tasks: Vec<JoinHandle<()>>,
    phase: watch::Sender<Phase>,
}

impl Listening {
    /// Reads nothing more, whatever comes.
    pub(super) fn end(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.end();
    }
}

impl Intake {
    /// Subscribes to every endpoint, as one of the queue group.
    pub(super) async fn listen(self: &Arc<Self>) -> Result<Listening, async_nats::SubscribeError> {
        let client = self.bus.client();
        let phase = watch::Sender::new(Phase::Serving);
        let mut tasks = Vec::new();
        for endpoint in Endpoint::ALL {
            let subject = self.namespace.subject(endpoint.name());
            let messages = client.queue_subscribe(subject, SERVICE.to_owned()).await?;
            let take = Arc::clone(self).take(endpoint, messages, phase.subscribe());
            tasks.push(tokio::spawn(take));
        }
        Ok(Listening { tasks, phase })
    }

    /// Stops taking requests.
    pub(super) async fn leave(&self, listening: &mut Listening) {
        listening.phase.send_replace(Phase::Unsubscribed);
        let told = u32::try_from(listening.tasks.len()).unwrap_or(u32::MAX);
        if let Ok(all) = self.unsubscribed.acquire_many(told).await {
            all.forget();
        }
        round_trip(&self.bus.client()).await;
        listening.phase.send_replace(Phase::Complete);
        for task in std::mem::take(&mut listening.tasks) {
            let _ = task.await;
        }
    }

    /// Waits until those that were taken are answered.
    pub(super) async fn all_answered(&self) {
        self.admission.all_free().await;
        self.invoke.all_ended().await;
        round_trip(&self.bus.client()).await;
    }

    /// After a pause of this process: what had waited is taken when the server has answered to what is said after it.
    pub(super) async fn watch_for_pauses(self: Arc<Self>) {
        loop {
            self.pause_detector.paused().await;
            tracing::warn!("this process stood still; requests that waited count from before");
            round_trip(&self.bus.client()).await;
            self.pause_detector.over().await;
        }
    }

    async fn take(
        self: Arc<Self>,
        endpoint: Endpoint,
        messages: Subscriber,
        mut phase: watch::Receiver<Phase>,
    ) {
        let mut sweep = self.pause_detector.sweep();
        let mut messages = messages.ready_chunks(CHUNK_MAX);
        loop {
            let chunk = tokio::select! {
                biased;
                Ok(()) = phase.changed() => {
                    let phase = *phase.borrow_and_update();
                    if self.end(&mut messages, phase).await {
                        continue;
                    }
                    return;
                }
                chunk = messages.next() => chunk,
                // Behind it: all that had come is taken.
                Ok(()) = sweep.changed() => {
                    sweep.borrow_and_update().add_permits(1);
                    continue;
                }
            };
            let Some(chunk) = chunk else { return };
            self.accept_all(endpoint, chunk).await;
        }
    }

    /// Whether the subscription goes on.
    async fn end(&self, messages: &mut ReadyChunks<Subscriber>, phase: Phase) -> bool {
        let messages = messages.get_mut();
        if phase == Phase::Unsubscribed {
            let done = unsubscribe(messages).await;
            self.unsubscribed.add_permits(1);
            return done.is_ok();
        }
        messages.unsubscribe().await.is_ok()
    }

    async fn accept_all(self: &Arc<Self>, endpoint: Endpoint, chunk: Vec<Message>) {
        let mut commands = Vec::with_capacity(chunk.len());
        for message in chunk {
            match self.accept(endpoint, message) {
                Accepted::Command(submitted) => commands.push(submitted),
                Accepted::Error(in_flight, error) => self.replies.error(in_flight, error).await,
                Accepted::Elsewhere => {}
            }
        }
        if !commands.is_empty() {
            self.submit(commands).await;
        }
    }

    /// Hands commands to the engine. Where it has ended, nothing is done, and callers are told so.
    async fn submit(&self, commands: Vec<Submitted<Completion>>) {
        let Err(commands) = self.driver.handle.submit(commands).await else {
            return;
        };
        for submitted in commands {
            // A task finds that nobody will answer.
            if let Some(Completion::Reply(in_flight, _)) = submitted.waiter {
                let error = Error::unavailable(Done::None);
                self.replies.error(*in_flight, error).await;
            }
        }
    }

    fn accept(self: &Arc<Self>, endpoint: Endpoint, message: Message) -> Accepted {
        let subject = message
            .reply
            .clone()
            .filter(|reply| self.replies.callers.may_answer(reply));
        let Some(subject) = subject else {
            self.replies.micro.count_without_reply(endpoint);
            return Accepted::Elsewhere;
        };
        let header = |name: &str| Some(message.headers.as_ref()?.get(name)?.as_str());
        let correlation_id = frame::correlation_id(header(HEADER_CORRELATION_ID));
        let patience = frame::timeout_millis(header(HEADER_TIMEOUT_MS));
        let max_age = frame::max_age_millis(header(HEADER_MAX_AGE_MS));
        let at = self.pause_detector.arrived();
        let mut in_flight = InFlight {
            at,
            endpoint,
            subject,
            correlation_id: String::new(),
            max_age: max_age.as_ref().copied().unwrap_or_default(),
            age: OnceLock::new(),
            shares: None,
            deadline: self.deadline(at, patience.as_ref().copied().unwrap_or_default()),
            permit: self.admission.place(endpoint),
        };
        let said = correlation_id.as_ref().ok().cloned().flatten();
        in_flight.correlation_id = said.unwrap_or_else(|| new_id().to_string());
        if let Some(error) = correlation_id.err().or(patience.err()).or(max_age.err()) {
            return Accepted::Error(in_flight, error);
        }
        if in_flight.permit.is_none() {
            let busy = Error::new(ErrorCode::Busy, "too many requests are under way");
            return Accepted::Error(in_flight, busy.after(BUSY_RETRY_MILLIS));
        }
        let reads = &self.driver.handle.reads;
        let waits = |wanted| wanted > reads.revision() || reads.is_skipped(wanted);
        match handlers::plan(self, endpoint, &message) {
            Ok(Some(plan)) if plan.min_revision.is_some_and(waits) => {
                tokio::spawn(handlers::run_late(Arc::clone(self), in_flight, plan));
                Accepted::Elsewhere
            }
            Ok(Some(Plan { action, reply, .. })) => {
                let command = command(in_flight.correlation_id.clone(), action);
                let deadline = in_flight.deadline;
                Accepted::Command(Submitted {
                    waiter: Some(Completion::Reply(Box::new(in_flight), reply)),
                    command,
                    deadline,
                })
            }
            Ok(None) => {
                tokio::spawn(handlers::run(Arc::clone(self), in_flight, message));
                Accepted::Elsewhere
            }
            Err(error) => Accepted::Error(in_flight, error),
        }
    }

    /// When a caller is told that nothing is known, so that the answer reaches it in its time.
    fn deadline(&self, at: std::time::Instant, patience: u64) -> MonoMillis {
        let patience = frame::answer_millis(patience);
        let waited = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.clock.now().mono.plus(patience.saturating_sub(waited))
    }
}

enum Accepted {
    Command(Submitted<Completion>),
    Error(InFlight, Error),
    /// A task answers, or nobody.
    Elsewhere,
}
