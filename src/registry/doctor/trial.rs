//! Requests that are sent to see what comes of them.

use std::time::Duration;

use async_nats::{Client, RequestErrorKind};
use futures::future::join_all;

use crate::{
    protocol::{endpoint::Endpoint, names::Namespace},
    registry::rights::User,
};

/// Requests that are sent at once: of two instances that take them in turn by chance, each gets one but once in 32,768 times.
const REQUESTS: usize = 16;
/// How long the reply to one may take.
const PATIENCE: Duration = Duration::from_secs(2);

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
