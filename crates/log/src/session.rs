//! A session: one connection, one inbox for acknowledgements, one consumer. It ends as a whole.

use std::task::{Context, Poll};

use async_nats::Subscriber;
use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use onex_types::entry::Sequence;

use crate::{
    api::{Api, Names},
    append::{self, Append},
    error::{Error, Lost},
    event::Event,
    follow::Follower,
    link::Servers,
};

/// Appends and requests for messages that wait for the connection, at most. The engine has one append under way.
const SENDING_MAX: usize = 16;

pub(crate) struct Session {
    api: Api,
    acks: Subscriber,
    inbox: String,
    follower: Follower,
    /// The client's channel is bounded: what it does not take at once waits here, and nobody waits for it.
    sending: FuturesUnordered<BoxFuture<'static, Option<Event>>>,
}

impl Session {
    pub(crate) async fn start(
        servers: &mut Servers,
        names: Names,
        created: Timestamp,
        from: Sequence,
        careful: bool,
    ) -> Result<Self, Error> {
        let api = Api::new(servers.connect().await?, names).insisting();
        api.identify(created).await?;
        let inbox = api.client.new_inbox();
        let acks = api.client.subscribe(format!("{inbox}.*.*")).await;
        let acks = acks.map_err(|_| Error::Ended { request: "SUB" })?;
        let follower = Follower::start(&api, from, careful).await?;
        Ok(Self {
            api,
            acks,
            inbox,
            follower,
            sending: FuturesUnordered::new(),
        })
    }

    pub(crate) fn was_of_use(&self) -> bool {
        self.follower.was_of_use()
    }

    pub(crate) fn max_payload(&self) -> usize {
        self.api.client.max_payload()
    }

    /// Sent as soon as the session is polled and the client takes it.
    pub(crate) fn append(&self, append: Append) {
        if self.sending.len() >= SENDING_MAX {
            tracing::debug!(id = %append.header.id, "the connection takes nothing: an append was not sent");
            return;
        }
        let (client, names) = (self.api.client.clone(), self.api.names.clone());
        let sent = append::send(client, names, self.inbox.clone(), append);
        self.sending.push(Box::pin(sent));
    }

    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), Lost> {
        let followed = self.follower.poll(cx, events);
        // Also when the consumer has ended: what was acknowledged before counts.
        while let Poll::Ready(Some(message)) = self.acks.poll_next_unpin(cx) {
            events.extend(append::acknowledged(&self.api.names, &message));
        }
        followed?;
        if let Some(pull) = self.follower.pull(&self.api.client) {
            self.sending.push(pull);
        }
        while let Poll::Ready(Some(sent)) = self.sending.poll_next_unpin(cx) {
            events.extend(sent);
        }
        Ok(())
    }
}
