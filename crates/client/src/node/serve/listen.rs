//! The subscriptions to the subjects of tools, from when a node is announced to when it is not any more.

use std::{
    pin::pin,
    sync::{Arc, OnceLock},
};

use async_nats::Subscriber;
use futures::{StreamExt as _, future::join_all};
use onex_nats::serving::{round_trip, unsubscribe};
use onex_protocol::names::NODE_GROUP;
use tokio::{sync::watch, task::JoinHandle};

use crate::{BootTime, Error};

use super::{super::state::State, offer::Offer, work::Desk};

/// What is told who calls when the node's time is up or another has taken its place.
const NOT_ALIVE: &str = "the node's life is over";

/// A subject, with the tools that listen there.
pub(super) type SubjectOffers = (String, Vec<Arc<Offer>>);

/// Subscriptions, each with the task that reads it. Dropped, they end, and what still comes is refused.
#[derive(Debug)]
pub(super) struct Listening {
    /// True: no more calls shall come. Those that the server has routed here still do, and are done.
    draining: watch::Sender<bool>,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    desk: Desk,
    /// How the node is, once it is announced: what comes when its time is up is not done.
    state: OnceLock<watch::Receiver<State>>,
}

impl Listening {
    pub(super) async fn begin(desk: Desk, by_subject: &[SubjectOffers]) -> Result<Self, Error> {
        let mut listening = Self {
            draining: watch::Sender::new(false),
            shared: Arc::new(Shared {
                desk,
                state: OnceLock::new(),
            }),
            tasks: Vec::new(),
        };
        let shared = &listening.shared;
        for (subject, offers) in by_subject {
            let nats = &shared.desk.nats;
            let subscribed = nats.queue_subscribe(subject.clone(), NODE_GROUP.to_owned());
            let messages = subscribed.await.map_err(|error| {
                let message = format!("cannot listen on {subject}: {error}");
                Error::unfit("/tools/subject", message)
            })?;
            let read =
                Arc::clone(shared).read(messages, offers.clone(), listening.draining.subscribe());
            listening.tasks.push(tokio::spawn(read));
        }
        Ok(listening)
    }

    /// The node lives, and this tells for how long.
    pub(super) fn alive(&self, state: watch::Receiver<State>) {
        let _ = self.shared.state.set(state);
    }

    /// Takes no more calls. What had come before is done, and may be under way afterwards.
    pub(super) async fn drain(self) {
        self.draining.send_replace(true);
        join_all(self.tasks).await;
    }
}

impl Shared {
    async fn read(
        self: Arc<Self>,
        mut messages: Subscriber,
        offers: Vec<Arc<Offer>>,
        mut draining: watch::Receiver<bool>,
    ) {
        let refused = loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.desk.accept(&offers, message, self.closed()).await,
                    None => return,
                },
                // Nobody is left who could say that it drains: the node is not announced, or not any more.
                changed = draining.changed() => break changed.is_err().then_some(NOT_ALIVE),
            }
        };
        if unsubscribe(&mut messages).await.is_err() {
            return;
        }
        let mut unsubscribed = pin!(round_trip(&self.desk.nats));
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = &mut unsubscribed => break,
            };
            let Some(message) = message else { return };
            let closed = refused.or_else(|| self.closed());
            self.desk.accept(&offers, message, closed).await;
        }
        if messages.unsubscribe().await.is_err() {
            return;
        }
        // What has come and was not read yet.
        while let Some(message) = messages.next().await {
            let closed = refused.or_else(|| self.closed());
            self.desk.accept(&offers, message, closed).await;
        }
    }

    /// Why no call is done, if none is.
    fn closed(&self) -> Option<&'static str> {
        let state = self.state.get()?;
        (state.borrow().term.until <= BootTime::now()).then_some(NOT_ALIVE)
    }
}
