//! The subscriptions to the subjects of tools, from when a node is announced to when it is not any more.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_nats::{Client, Subscriber};
use futures::StreamExt as _;
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

use crate::{client::BootTime, client::Error, protocol::names::NODE_GROUP};

use super::{super::keeper::State, offer::Offer, work::Desk};

/// How long the server may take to do what it is told.
pub(super) const ROUND_TRIP_TIMEOUT: Duration = Duration::from_secs(2);

/// To a server: unsubscribe at once, because this is no number that it takes for a count of messages; to the client
/// library: a count that is never reached, so that it goes on handing over what still comes. The library's own drain
/// forgets a subscription too early and loses calls.
const UNSUBSCRIBE_NOW: u64 = 10_000_000_000;

/// How far a node has come with not listening any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Listening,
    /// The server routes no more calls here; what it has routed still comes, and is done.
    Draining,
    /// The same, and it is refused.
    Refusing,
    /// All that it had routed is here.
    Complete,
}

/// What it is asked that comes when the node's time is up or another has taken its place.
const NOT_ALIVE: &str = "the node's life is over";

/// A subject, with the tools that listen there.
pub(super) type Place = (String, Vec<Arc<Offer>>);

/// Subscriptions, each with the task that reads it. Dropped, they end.
#[derive(Debug)]
pub(super) struct Listening {
    phase: watch::Sender<Phase>,
    shared: Arc<Shared>,
    places: u32,
}

#[derive(Debug)]
struct Shared {
    desk: Desk,
    /// How the node is, once it is announced: what comes when its time is up is not done.
    state: OnceLock<watch::Receiver<State>>,
    /// One for each subscription that has told the server that it ends.
    unsubscribed: Semaphore,
}

impl Listening {
    pub(super) async fn begin(desk: Desk, places: &[Place]) -> Result<Self, Error> {
        let phase = watch::Sender::new(Phase::Listening);
        let shared = Arc::new(Shared {
            desk,
            state: OnceLock::new(),
            unsubscribed: Semaphore::new(0),
        });
        for (subject, offers) in places {
            let nats = &shared.desk.nats;
            let subscribed = nats.queue_subscribe(subject.clone(), NODE_GROUP.to_owned());
            let wrong = |error: async_nats::SubscribeError| {
                let message = format!("cannot listen on {subject}: {error}");
                Error::unfit("/tools/subject", message)
            };
            let messages = subscribed.await.map_err(wrong)?;
            let offers = offers.clone();
            tokio::spawn(Arc::clone(&shared).read(messages, offers, phase.subscribe()));
        }
        Ok(Self {
            phase,
            shared,
            places: places.len().try_into().unwrap_or(u32::MAX),
        })
    }

    /// The node lives, and this tells for how long.
    pub(super) fn alive(&self, state: watch::Receiver<State>) {
        let _ = self.shared.state.set(state);
    }

    /// Takes no more calls. What had come before is done, and may be under way afterwards.
    pub(super) async fn drain(self) {
        self.end(Phase::Draining).await;
    }

    /// Takes no more calls, from now on; what is not under way is refused.
    pub(super) async fn refuse(self) {
        self.end(Phase::Refusing).await;
    }

    async fn end(self, phase: Phase) {
        self.phase.send_replace(phase);
        let told = async {
            let _ = self.shared.unsubscribed.acquire_many(self.places).await;
            round_trip(&self.shared.desk.nats).await;
        };
        if timeout(ROUND_TRIP_TIMEOUT, told).await.is_err() {
            tracing::debug!("the server has not said that it routes no more calls here");
        }
        self.phase.send_replace(Phase::Complete);
    }
}

impl Shared {
    async fn read(
        self: Arc<Self>,
        mut messages: Subscriber,
        offers: Vec<Arc<Offer>>,
        mut phase: watch::Receiver<Phase>,
    ) {
        let mut now = Phase::Listening;
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                changed = phase.changed() => {
                    let before = now;
                    // Nobody is left who could say more.
                    now = changed.map_or(Phase::Complete, |()| *phase.borrow_and_update());
                    let done = match (before, now) {
                        (_, Phase::Complete) => messages.unsubscribe().await,
                        (Phase::Listening, _) => {
                            let done = messages.unsubscribe_after(UNSUBSCRIBE_NOW).await;
                            self.unsubscribed.add_permits(1);
                            done
                        }
                        _ => Ok(()),
                    };
                    if done.is_err() {
                        return;
                    }
                    if now != Phase::Complete {
                        continue;
                    }
                    // What has come and was not read yet.
                    while let Some(message) = messages.next().await {
                        self.desk.accept(&offers, message, self.closed(before)).await;
                    }
                    return;
                }
            };
            match message {
                Some(message) => self.desk.accept(&offers, message, self.closed(now)).await,
                None => return,
            }
        }
    }

    /// Why no call is done, if none is.
    fn closed(&self, phase: Phase) -> Option<&'static str> {
        let state = self.state.get();
        let over = state.is_some_and(|state| state.borrow().until <= BootTime::now());
        (over || phase == Phase::Refusing).then_some(NOT_ALIVE)
    }
}

/// Waits until the server has done all that this connection has told it so far: a message to oneself comes behind it,
/// and behind everything that the server had routed here before.
async fn round_trip(nats: &Client) {
    let inbox = nats.new_inbox();
    let Ok(mut echo) = nats.subscribe(inbox.clone()).await else {
        return;
    };
    if nats.publish(inbox, Vec::new().into()).await.is_ok() {
        let _ = echo.next().await;
    }
}
