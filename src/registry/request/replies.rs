//! Sends replies: encoded here, away from the engine.

use std::{sync::Arc, time::Duration};

use async_nats::HeaderMap;
use bytes::Bytes;
use onex_core::command::Outcome;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::{
    protocol::{
        error::{Error, ErrorReply},
        names::{HEADER_AGE_MS, HEADER_CORRELATION_ID, HEADER_ERROR, HEADER_ERROR_NUMBER},
    },
    registry::{
        bus::Bus,
        callers::Callers,
        clock::Clock,
        journal::{Answered, Journal},
        message::to_bytes,
        micro::Micro,
    },
};

use super::in_flight::{Completion, InFlight, Reply};

/// Bytes that a reply's headers may take.
const HEADERS_BYTES: usize = 4 * 1024;

/// A request with its outcome, and how that becomes a reply.
pub(in crate::registry) type Decided = (Box<InFlight>, Reply, Outcome);

/// What replies are sent with.
#[derive(Clone)]
pub(in crate::registry) struct Replies {
    bus: Bus,
    pub(in crate::registry) micro: Arc<Micro>,
    pub(in crate::registry) journal: Arc<Journal>,
    pub(in crate::registry) callers: Callers,
    clock: Clock,
}

impl Replies {
    pub(in crate::registry) fn new(
        bus: Bus,
        micro: Arc<Micro>,
        callers: Callers,
        clock: Clock,
    ) -> Self {
        Self {
            bus,
            micro,
            journal: Arc::new(Journal::new()),
            callers,
            clock,
        }
    }

    /// Hands outcomes to who waits for them: tasks at once, requests to whoever runs [`Replies::run`].
    pub(in crate::registry) fn hand_out(
        decided: &UnboundedSender<Vec<Decided>>,
        outcomes: Vec<(Completion, Outcome)>,
    ) {
        let mut requests = Vec::with_capacity(outcomes.len());
        for (completion, outcome) in outcomes {
            match completion {
                Completion::Reply(in_flight, reply) => requests.push((in_flight, reply, outcome)),
                Completion::Task(task) => {
                    // The task may have gone.
                    let _ = task.send(outcome);
                }
            }
        }
        if !requests.is_empty() {
            let _ = decided.send(requests);
        }
    }

    /// Answers what was decided, until nothing more comes.
    pub(in crate::registry) async fn run(self, mut decided: UnboundedReceiver<Vec<Decided>>) {
        while let Some(requests) = decided.recv().await {
            for (in_flight, reply, outcome) in requests {
                let answer = reply(outcome, self.clock.now());
                self.answer(*in_flight, answer).await;
            }
        }
    }

    /// Answers that it was not done.
    pub(in crate::registry) async fn error(&self, in_flight: InFlight, error: Error) {
        self.answer(in_flight, Err(error)).await;
    }

    /// Answers a request, and counts and logs it.
    pub(in crate::registry) async fn answer(
        &self,
        in_flight: InFlight,
        answer: Result<Bytes, Error>,
    ) {
        let InFlight {
            at,
            endpoint,
            subject,
            correlation_id,
            max_age,
            age,
            shares,
            permit,
            ..
        } = in_flight;
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_CORRELATION_ID, correlation_id.as_str());
        if let (Some(age), true) = (age.get(), max_age.is_some()) {
            headers.insert(HEADER_AGE_MS, age.to_string());
        }
        let limit = self.reply_bytes_max();
        let answer = answer.and_then(|body| {
            if body.len() > limit {
                Err(Error::too_large("the answer", limit))
            } else {
                Ok(body)
            }
        });
        let took: Duration = at.elapsed();
        let error = answer.as_ref().err();
        self.micro.count(endpoint, took, error);
        self.journal.answered(&Answered {
            endpoint,
            correlation_id: &correlation_id,
            caller: self.callers.number(&subject),
            took,
            shares,
            error,
        });
        let body = match answer {
            Ok(body) => body,
            Err(error) => {
                let error = Error {
                    correlation_id,
                    ..error
                };
                headers.insert(HEADER_ERROR_NUMBER, error.code.number().to_string());
                headers.insert(HEADER_ERROR, error.code.as_str());
                to_bytes(&ErrorReply { error }).unwrap_or_default()
            }
        };
        let client = self.bus.client();
        let sent = client.publish_with_headers(subject, headers, body);
        if let Err(error) = sent.await {
            tracing::debug!(%error, "cannot reply");
        }
        drop(permit);
    }

    /// How long the body of a reply may be, in bytes.
    pub(in crate::registry) fn reply_bytes_max(&self) -> usize {
        self.bus.max_payload().saturating_sub(HEADERS_BYTES)
    }
}
