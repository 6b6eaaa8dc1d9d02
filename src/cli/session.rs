//! One command's conversation with the registry.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::{ConnectErrorKind, Event};

use crate::{
    client::{self, Client},
    connect,
    protocol::names::Namespace,
};

use super::{
    connection::{Flags, Target},
    failure::{Exit, Failure},
    output::Output,
};

/// A connected client, and where its answers go.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) output: Output,
    /// The server, to be shown.
    server: String,
    namespace: Namespace,
    /// What the server complained of last: it does not say so in a reply.
    complaint: Arc<Mutex<Option<String>>>,
}

impl Session {
    pub(super) async fn open(
        flags: &Flags,
        timeout: Duration,
        output: Output,
    ) -> Result<Self, Failure> {
        let target = flags.target()?;
        let complaint = Arc::new(Mutex::new(None));
        let heard = Arc::clone(&complaint);
        let on_event = move |event| {
            if let Event::ServerError(error) = event {
                *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
            }
        };
        let connecting = target.options.connect("onex", on_event);
        let nats = match tokio::time::timeout(timeout, connecting).await {
            Ok(connected) => connected.map_err(|error| unconnected(&error, &target))?,
            Err(_) => return Err(unreachable("no answer", &target)),
        };
        let namespace = flags.namespace();
        Ok(Self {
            client: Client::new(nats, namespace.clone()).with_timeout(timeout),
            output,
            server: target.options.shown(),
            namespace,
            complaint,
        })
    }

    /// What a failed call means here.
    pub(super) fn failure(&self, error: client::Error) -> Failure {
        let complaint = self
            .complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let server = &self.server;
        match (&error, complaint) {
            (client::Error::NoResponders { .. }, _) => {
                let (registry, flag) = match self.namespace.name() {
                    None => ("no registry".to_owned(), String::new()),
                    Some(name) => (
                        format!("no registry of namespace {name:?}"),
                        format!(" --namespace {name}"),
                    ),
                };
                let message =
                    format!("a NATS server answers at {server}, but {registry} serves there");
                Failure::new(Exit::Unreachable, "NO_REGISTRY", message).hint(format!(
                    "start one with `onex serve --nats {server}{flag}`, or say where it is with --nats or --namespace"
                ))
            }
            (client::Error::TimedOut { .. }, Some(complaint)) => {
                let message = format!("{error}: the NATS server at {server} says: {complaint}");
                Failure::new(Exit::Unreachable, "TIMED_OUT", message)
                    .hint("may these credentials ask the registry? choose others with --creds or --context")
            }
            _ => error.into(),
        }
    }
}

fn unconnected(error: &connect::Error, target: &Target) -> Failure {
    let connect::Error::Connect(server, cause) = error else {
        return Failure::usage(crate::chain(error));
    };
    match cause.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            let message = format!(
                "the NATS server at {server} ({}) does not let us in: {cause}",
                target.because
            );
            Failure::new(Exit::Failed, "ACCESS_DENIED", message)
                .hint("say who you are with --creds or --context")
        }
        _ => unreachable(&cause.to_string(), target),
    }
}

fn unreachable(cause: &str, target: &Target) -> Failure {
    let server = target.options.shown();
    let message = format!("no NATS server at {server} ({}): {cause}", target.because);
    Failure::new(Exit::Unreachable, "NO_SERVER", message)
        .hint("is `onex serve` running? say where with --nats URL or --context NAME")
}
