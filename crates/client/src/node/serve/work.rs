//! From the message of a call to its answer.

use std::{convert::Infallible, sync::Arc};

use async_nats::{HeaderMap, Message, Subject, client::PublishErrorKind};
use onex_protocol::{
    inbox::Inboxes,
    names::{
        HEADER_CONTRACT_HASH, HEADER_CORRELATION_ID, HEADER_EXECUTION_ID, HEADER_TOOL,
        HEADER_TOOL_VERSION,
    },
    provide::Fault,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use crate::sleep_until;

use super::{
    Call,
    offer::{Offer, count},
};

/// What every call needs.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    pub(super) nats: async_nats::Client,
    /// Where answers may be sent.
    pub(super) inboxes: Inboxes,
    /// True: calls that are under way are given up.
    pub(super) cut: watch::Receiver<bool>,
    /// Held by everything that is under way: who has the other end knows when all of it is done.
    pub(super) under_way: mpsc::Sender<Infallible>,
}

/// One call that is done.
struct Work {
    offer: Arc<Offer>,
    call: Call,
    message: Message,
    reply: Subject,
    /// Its slot, until it is answered.
    _permit: OwnedSemaphorePermit,
}

impl Desk {
    /// Takes a call of one of these tools, which share a subject: answers at once if it is not to be done, else has it
    /// done. `closed` says why nothing is done any more.
    pub(super) async fn accept(
        &self,
        offers: &[Arc<Offer>],
        message: Message,
        closed: Option<&'static str>,
    ) {
        let chosen = choose(offers, &message);
        let Some(offer) = chosen.as_ref().ok().or(offers.first()) else {
            return;
        };
        let reply = message
            .reply
            .clone()
            .filter(|reply| self.inboxes.has(reply));
        let Some(reply) = reply else {
            return count(&offer.counts.without_reply);
        };
        let (call, refused) = match Call::of(message.headers.as_ref(), &offer.tool) {
            Ok(call) => (Some(call), None),
            Err(error) => (None, Some(error)),
        };
        let permit = match (chosen.as_ref().err(), closed, refused) {
            (Some(error), ..) => Err(error.clone()),
            (_, Some(why), _) => Err(Fault::busy(why)),
            (.., Some(error)) => Err(error),
            _ => Arc::clone(&offer.slots)
                .try_acquire_owned()
                .map_err(|_| Fault::busy("the tool has as many calls under way as it takes")),
        };
        match (permit, call) {
            (Ok(permit), Some(call)) => {
                let work = Work {
                    offer: Arc::clone(offer),
                    call,
                    message,
                    reply,
                    _permit: permit,
                };
                tokio::spawn(self.clone().run(work));
            }
            (Err(error), call) => {
                count(&offer.counts.refused);
                self.answer(reply, call.as_ref(), Err(error)).await;
            }
            // Without a call there is an error.
            (Ok(_), None) => {}
        }
    }

    async fn run(self, work: Work) {
        let Work { offer, call, .. } = &work;
        let mut cut = self.cut.clone();
        let outcome = tokio::select! {
            outcome = offer.execute(&work.message.payload, call.clone()) => outcome,
            // The handler is dropped: nobody waits for what it would still do.
            () = sleep_until(call.deadline()) => return late(offer, call),
            Ok(_) = cut.wait_for(|cut| *cut) => Err(Fault::internal(
                "the node was stopped while the tool was at work",
            )),
        };
        if call.remaining().is_zero() {
            return late(offer, call);
        }
        count(match &outcome {
            Ok(_) => &offer.counts.answered,
            Err(error) if error.begun => &offer.counts.failed,
            Err(_) => &offer.counts.refused,
        });
        self.answer(work.reply.clone(), Some(call), outcome).await;
    }

    /// Sends the answer; what is larger than a message may be is told as an error.
    async fn answer(&self, reply: Subject, call: Option<&Call>, outcome: Result<Vec<u8>, Fault>) {
        let too_large = Fault::too_large(self.nats.max_payload());
        let shorter = match &outcome {
            Ok(_) => too_large,
            Err(error) => Fault {
                details: serde_json::Map::new(),
                ..error.clone()
            },
        };
        for outcome in [outcome, Err(shorter)] {
            let (headers, body) = written(call, outcome);
            let sent = self
                .nats
                .publish_with_headers(reply.clone(), headers, body.into())
                .await;
            match sent {
                Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                    tracing::warn!(%error, "the answer of a tool is too large to be sent");
                }
                Err(error) => return tracing::warn!(%error, "cannot answer a call"),
                Ok(()) => return,
            }
        }
    }
}

fn late(offer: &Offer, call: &Call) {
    count(&offer.counts.late);
    let (tool, execution_id) = (call.tool().as_str(), call.execution_id());
    tracing::warn!(
        tool,
        execution_id,
        "a call of a tool was not done in time, and is given up"
    );
}

fn written(call: Option<&Call>, outcome: Result<Vec<u8>, Fault>) -> (HeaderMap, Vec<u8>) {
    let mut headers = HeaderMap::new();
    if let Some(call) = call {
        headers.insert(HEADER_CORRELATION_ID, call.correlation_id());
        headers.insert(HEADER_EXECUTION_ID, call.execution_id());
    }
    let error = match outcome {
        Ok(result) => return (headers, result),
        Err(error) => error,
    };
    for (name, value) in error.headers() {
        headers.insert(name, value);
    }
    let body = error.body(call.map_or("", Call::correlation_id));
    (headers, body)
}

/// The tool that a message calls, of those that listen on its subject, the newest version first: by what its headers
/// say, where they say it.
fn choose(offers: &[Arc<Offer>], message: &Message) -> Result<Arc<Offer>, Fault> {
    let header = |name: &str| Some(message.headers.as_ref()?.get(name)?.as_str());
    let (name, version) = (header(HEADER_TOOL), header(HEADER_TOOL_VERSION));
    let fits = |offer: &&Arc<Offer>| {
        name.is_none_or(|name| name == offer.tool.name.as_str())
            && version.is_none_or(|version| version == offer.tool.version.to_string())
    };
    let Some(offer) = offers.iter().find(fits) else {
        let all = offers
            .iter()
            .map(|offer| format!("{} {}", offer.tool.name, offer.tool.version));
        let served = all.collect::<Vec<_>>().join(", ");
        return Err(Fault::tool_not_found(format!("served here: {served}")));
    };
    match header(HEADER_CONTRACT_HASH) {
        Some(asked) if asked != offer.hash => Err(Fault::contract_changed(
            asked,
            &offer.tool.version,
            &offer.hash,
        )),
        _ => Ok(Arc::clone(offer)),
    }
}
