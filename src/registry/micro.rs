//! The micro service conventions (ADR-32 of NATS): what `nats micro ls`, `info` and `stats` ask for.
//!
//! The client library has them as well, and there an error has an empty body, and stopping drops what
//! is under way. Here an error has a body, is counted, and stopping is a drain.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{Client, Message, RequestErrorKind, Subscriber};
use bytes::Bytes;
use futures::{StreamExt, stream::select_all};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::protocol::{
    endpoint::Endpoint,
    error::Error,
    inbox::Inboxes,
    names::{Namespace, SERVICE},
};

use super::{bus::Bus, stop::Stop};

/// What the service says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) version: String,
    pub(super) metadata: BTreeMap<String, String>,
}

/// What one endpoint has done.
#[derive(Debug, Clone, Default)]
struct Counted {
    requests: u64,
    errors: u64,
    processing: Duration,
    last_error: String,
    without_reply: u64,
}

/// The service's side of the conventions.
pub(super) struct Micro {
    bus: Bus,
    /// As it is now.
    identity: watch::Receiver<Identity>,
    namespace: Namespace,
    /// Where answers may be sent.
    inboxes: Inboxes,
    started: Timestamp,
    counted: Mutex<BTreeMap<Endpoint, Counted>>,
    /// Answers of providers that nobody waited for any more.
    late: Arc<AtomicU64>,
}

impl Micro {
    pub(super) fn new(
        bus: Bus,
        identity: watch::Receiver<Identity>,
        namespace: Namespace,
        inboxes: Inboxes,
        started: Timestamp,
    ) -> Self {
        let counted = Endpoint::ALL
            .map(|endpoint| (endpoint, Counted::default()))
            .into();
        Self {
            bus,
            identity,
            namespace,
            inboxes,
            started,
            counted: Mutex::new(counted),
            late: Arc::default(),
        }
    }

    /// When it began to take requests.
    pub(super) fn started(&self) -> Timestamp {
        self.started
    }

    /// Counts answers of providers that nobody waited for any more: too late, or not the first.
    pub(super) fn late(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.late)
    }

    /// Counts one request.
    pub(super) fn count(&self, endpoint: Endpoint, took: Duration, error: Option<&Error>) {
        self.counted(endpoint, |counted| {
            counted.requests += 1;
            counted.processing += took;
            if let Some(error) = error {
                counted.errors += 1;
                counted.last_error = format!("{}:{}", error.code.number(), error.code.as_str());
            }
        });
    }

    /// Counts a message to which there is nobody to reply: nothing was done.
    pub(super) fn count_without_reply(&self, endpoint: Endpoint) {
        self.counted(endpoint, |counted| counted.without_reply += 1);
    }

    fn counted(&self, endpoint: Endpoint, f: impl FnOnce(&mut Counted)) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        f(counted.entry(endpoint).or_default());
    }

    /// Listens where a client asks for services: all, those of this name, this one.
    pub(super) async fn listen(
        self: &Arc<Self>,
        session: &Stop,
    ) -> Result<(), async_nats::SubscribeError> {
        let client = self.bus.client();
        let Identity { name, id, .. } = self.identity.borrow().clone();
        for verb in ["PING", "INFO", "STATS"] {
            let subjects = [
                format!("$SRV.{verb}"),
                format!("$SRV.{verb}.{name}"),
                format!("$SRV.{verb}.{name}.{id}"),
            ];
            let mut subscriptions: Vec<Subscriber> = Vec::new();
            for subject in subjects {
                subscriptions.push(client.subscribe(subject).await?);
            }
            let this = Arc::clone(self);
            session.spawn(async move {
                let mut messages = select_all(subscriptions);
                while let Some(message) = messages.next().await {
                    this.answer(verb, message).await;
                }
            });
        }
        Ok(())
    }

    async fn answer(&self, verb: &str, message: Message) {
        let Some(reply) = message.reply.filter(|reply| self.inboxes.has(reply)) else {
            return;
        };
        let body = match verb {
            "PING" => self.say("ping", json!({})),
            "INFO" => self.say(
                "info",
                json!({ "description": DESCRIPTION, "endpoints": self.info() }),
            ),
            _ => self.say(
                "stats",
                json!({ "started": self.started, "endpoints": self.stats() }),
            ),
        };
        if let Err(error) = self
            .bus
            .client()
            .publish(reply, body.to_string().into())
            .await
        {
            tracing::debug!(%error, verb, "cannot answer");
        }
    }

    fn say(&self, what: &str, more: Value) -> Value {
        let Identity {
            name,
            id,
            version,
            metadata,
        } = self.identity.borrow().clone();
        let mut body = json!({
            "type": format!("io.nats.micro.v1.{what}_response"),
            "name": name,
            "id": id,
            "version": version,
            "metadata": metadata,
        });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        body
    }

    fn info(&self) -> Vec<Value> {
        let one = |endpoint: Endpoint| {
            json!({
                "name": endpoint.micro_name(),
                "subject": self.namespace.subject(endpoint.name()),
                "queue_group": SERVICE,
                "metadata": { "description": endpoint.description() },
            })
        };
        Endpoint::ALL.map(one).into()
    }

    fn stats(&self) -> Vec<Value> {
        let counted = self
            .counted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let one = |(endpoint, counted): (Endpoint, Counted)| {
            let mut data = json!({ "without_reply": counted.without_reply });
            if endpoint == Endpoint::ToolInvoke
                && let Some(data) = data.as_object_mut()
            {
                let late = self.late.load(Ordering::Relaxed);
                data.insert("late_answers".to_owned(), json!(late));
            }
            let nanos = u64::try_from(counted.processing.as_nanos()).unwrap_or(u64::MAX);
            json!({
                "name": endpoint.micro_name(),
                "subject": self.namespace.subject(endpoint.name()),
                "queue_group": SERVICE,
                "num_requests": counted.requests,
                "num_errors": counted.errors,
                "last_error": counted.last_error,
                "processing_time": nanos,
                "average_processing_time": nanos.checked_div(counted.requests).unwrap_or(0),
                "data": data,
            })
        };
        counted.into_iter().map(one).collect()
    }
}

/// Whether that instance is not connected any more. One that is slow or stopped is not gone.
pub(super) async fn is_gone(client: &Client, registry_id: Uuid) -> bool {
    let subject = format!("$SRV.PING.{SERVICE}.{}", service_id(registry_id));
    let asked = client.request(subject, Bytes::new()).await;
    asked.is_err_and(|error| error.kind() == RequestErrorKind::NoResponders)
}

/// An instance's id as a micro service: one token.
pub(super) fn service_id(registry_id: Uuid) -> String {
    registry_id.simple().to_string()
}

const DESCRIPTION: &str =
    "Leases ports and says what there is. Ask the help endpoint for all requests.";
