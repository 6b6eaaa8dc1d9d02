//! Sends requests to providers, and brings each the first answer that comes. What comes later is counted.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, HeaderMap, Message, StatusCode, SubscribeError, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use super::super::{bus::Bus, stop::Stop};

/// How long a provider's place is kept for a call of which nobody waits for the answer any more.
const KEPT: Duration = Duration::from_mins(1);
/// Places that are kept like that at the same time, at most; beyond that they are free at once.
const KEPT_MAX: usize = 16_384;

/// Sends requests to providers; their answers arrive here.
pub(super) struct ProviderClient {
    bus: Bus,
    /// What their subjects begin with.
    inbox: String,
    /// By the end of the subject, which none but the provider is told: another one must not answer in its place. None
    /// when nobody waits any more.
    waiting: Mutex<Option<HashMap<Uuid, oneshot::Sender<Message>>>>,
    late: Arc<AtomicU64>,
    /// One for each place that is kept.
    kept: Arc<Semaphore>,
}

/// What came of a request to a provider.
pub(super) enum SendOutcome {
    /// Its first answer.
    Answer(Message),
    /// Nobody listens there.
    NoResponders,
    /// Nothing, as long as it was waited for. Its answer may still come, unless nobody waits for answers any more.
    Nothing(Option<Answer>),
    /// It could not be sent: it is too large for the server, or there is no connection.
    Unsent(async_nats::PublishError),
}

/// An answer that may come.
pub(super) struct Answer {
    message: oneshot::Receiver<Message>,
    waits: Waits,
}

impl ProviderClient {
    pub(super) fn new(bus: Bus, late: Arc<AtomicU64>) -> Self {
        Self {
            inbox: bus.client().new_inbox(),
            bus,
            waiting: Mutex::new(Some(HashMap::new())),
            late,
            kept: Arc::new(Semaphore::new(KEPT_MAX)),
        }
    }

    /// Listens for answers: below the same inbox over every connection, so that those come that were asked for over an
    /// earlier one.
    pub(super) async fn listen(
        self: &Arc<Self>,
        client: &Client,
        session: &Stop,
    ) -> Result<(), SubscribeError> {
        let answers = client.subscribe(format!("{}.*", self.inbox)).await?;
        session.spawn(Arc::clone(self).deliver(answers));
        Ok(())
    }

    async fn deliver(self: Arc<Self>, mut answers: Subscriber) {
        while let Some(message) = answers.next().await {
            let name = message.subject.rsplit('.').next();
            let name = name.and_then(|name| name.parse().ok());
            let waiter = name.and_then(|name| self.take(name));
            // One that has just given up counts as gone.
            if waiter.is_none_or(|waiter| waiter.send(message).is_err()) {
                self.late.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn take(&self, name: Uuid) -> Option<oneshot::Sender<Message>> {
        self.lock().as_mut()?.remove(&name)
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<Uuid, oneshot::Sender<Message>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever waits for an answer waits no longer, and nobody will.
    pub(super) fn close(&self) {
        *self.lock() = None;
    }

    /// Whether nobody waits for answers any more.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_none()
    }

    /// Waits until the answer comes after all, until its provider is gone, or for a minute; then it is `over`, with whether
    /// it came.
    pub(super) fn keep(
        self: &Arc<Self>,
        answer: Answer,
        gone: impl Future<Output = ()> + Send + 'static,
        over: impl FnOnce(bool) + Send + 'static,
    ) {
        let Ok(kept) = Arc::clone(&self.kept).try_acquire_owned() else {
            return;
        };
        let this = Arc::clone(self);
        let Answer { message, waits } = answer;
        tokio::spawn(async move {
            let came = tokio::select! {
                biased;
                came = message => came.is_ok_and(|message| message.status.is_none()),
                () = gone => false,
                () = tokio::time::sleep(KEPT) => false,
            };
            if came {
                this.late.fetch_add(1, Ordering::Relaxed);
            }
            over(came);
            drop((waits, kept));
        });
    }

    /// Sends a request, and waits for its first answer until then.
    pub(super) async fn ask(
        self: &Arc<Self>,
        subject: String,
        headers: HeaderMap,
        body: Bytes,
        until: tokio::time::Instant,
    ) -> SendOutcome {
        let name = Uuid::new_v4();
        let (sender, message) = oneshot::channel();
        if let Some(waiting) = self.lock().as_mut() {
            waiting.insert(name, sender);
        }
        let mut answer = Answer {
            message,
            waits: Waits {
                provider_client: Arc::clone(self),
                name,
            },
        };
        if self.is_closed() {
            return SendOutcome::Nothing(None);
        }
        let reply = format!("{}.{}", self.inbox, name.simple());
        let client = self.bus.client();
        let sent = client.publish_with_reply_and_headers(subject, reply, headers, body);
        if let Err(error) = sent.await {
            return SendOutcome::Unsent(error);
        }
        match tokio::time::timeout_at(until, &mut answer.message).await {
            Ok(Ok(message)) if message.status == Some(StatusCode::NO_RESPONDERS) => {
                SendOutcome::NoResponders
            }
            Ok(Ok(message)) => SendOutcome::Answer(message),
            Ok(Err(_)) => SendOutcome::Nothing(None),
            Err(_) => SendOutcome::Nothing(Some(answer)),
        }
    }
}

/// Forgets a request, also when whoever waits is dropped.
struct Waits {
    provider_client: Arc<ProviderClient>,
    name: Uuid,
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.provider_client.take(self.name);
    }
}
