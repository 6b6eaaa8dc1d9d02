//! Requests that are sent to see what comes of them.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_nats::{Client, Event, RequestErrorKind};
use futures::future::join_all;

use crate::{
    connect,
    protocol::{
        endpoint::Endpoint,
        names::{Namespace, SERVICE},
    },
    registry::rights::User,
};

/// Requests that are sent at once: of two instances that take them in turn by chance, each gets one but once in 32,768 times.
const REQUESTS: usize = 16;
/// How long the reply to one may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a server answers that lets a user have JetStream.
const JETSTREAM: &str = "$JS.API.INFO";
/// How long a server may take to refuse that.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// What came of requests that were sent as clients send them.
pub(super) struct Replies {
    /// How many were sent.
    pub(super) sent: usize,
    /// How many of them were delivered and not answered.
    pub(super) silent: usize,
}

/// Sends requests; none where this user may not.
pub(super) async fn replies(
    client: &Client,
    user: Option<&User>,
    namespace: &Namespace,
) -> Option<Replies> {
    let subject = namespace.subject(Endpoint::Describe.name());
    user.filter(|user| user.permissions.publish.has(&subject))?;
    let sent = (0..REQUESTS).map(|_| {
        let request = async_nats::Request::new().timeout(Some(PATIENCE));
        client.send_request(subject.clone(), request.payload("{}".into()))
    });
    let replies = join_all(sent).await;
    let silent = replies.iter().filter(|reply| {
        let error = reply.as_ref().err().map(async_nats::RequestError::kind);
        error == Some(RequestErrorKind::TimedOut)
    });
    Some(Replies {
        sent: replies.len(),
        silent: silent.count(),
    })
}

/// What a server says that does not let this user ask for JetStream; none where it lets it, or does not say so.
pub(super) async fn refusal(nats: &connect::Options) -> Option<String> {
    let said = Arc::new(OnceLock::new());
    let keep = Arc::clone(&said);
    let on_event = move |event| {
        if let Event::ServerError(error) = event {
            let _ = keep.set(error.to_string());
        }
    };
    let client = nats.connect(&format!("{SERVICE} doctor"), on_event).await;
    let request = async_nats::Request::new().timeout(Some(REFUSAL_TIMEOUT));
    let _ = client.ok()?.send_request(JETSTREAM, request).await;
    said.get().cloned()
}
