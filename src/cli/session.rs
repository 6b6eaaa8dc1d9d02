//! One command's conversation with the registry.

use std::{sync::Arc, time::Duration};

use async_nats::{
    ConnectErrorKind, Event,
    rustls::{self, CertificateError},
};
use onex_types::span;
use tokio::sync::watch;

use crate::{
    client::{self, Client, Pages},
    connect,
    protocol::names::Namespace,
};

use super::{
    connection::{Flags, Target},
    failure::{Exit, Failure},
    output::{Output, plain},
};

/// How long a complaint of the server may come after the answer that it explains.
const COMPLAINT_PATIENCE: Duration = Duration::from_millis(100);

/// A connected client, and where its answers go.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) output: Output,
    /// The server, to be shown.
    server: String,
    /// The flags of a registry that is started there.
    for_serve: String,
    namespace: Namespace,
    /// What the server complained of last. It says so beside its answers, not in them.
    complaint: Arc<watch::Sender<Option<String>>>,
    /// Whether the connection is there.
    connected: watch::Receiver<bool>,
}

impl Session {
    pub(super) async fn open(
        flags: &Flags,
        timeout: Duration,
        output: Output,
    ) -> Result<Self, Failure> {
        let target = flags.target()?;
        let ignored = target.options.ignored();
        if !ignored.is_empty() {
            output.note(&format!(
                "onex: warning: the {} of the URL of the NATS server is not used: only user, host and port are",
                ignored.join(" and ")
            ));
        }
        let complaint = Arc::new(watch::Sender::new(None));
        let complain = Arc::clone(&complaint);
        let (connect, connected) = watch::channel(true);
        let on_event = move |event| match event {
            Event::ServerError(error) => {
                complain.send_replace(Some(plain(&error.to_string()).into_owned()));
            }
            Event::Connected => {
                connect.send_replace(true);
            }
            Event::Disconnected => {
                connect.send_replace(false);
            }
            _ => {}
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
            for_serve: target.for_serve(),
            namespace,
            complaint,
            connected,
        })
    }

    /// The same, with questions that are also answered as things were so long ago.
    pub(super) fn with_max_age(mut self, max_age: Option<Duration>) -> Self {
        if let Some(max_age) = max_age {
            self.client = self.client.with_max_age(max_age);
        }
        self
    }

    /// Tells how old what was shown is, where it may be out of date.
    pub(super) fn tell_age(&self) {
        if let Some(age) = self.client.oldest_answer() {
            let age = span(age);
            self.output.note(&format!(
                "onex: warning: this is how it was {age} ago: the registry cannot ask its store"
            ));
        }
    }

    /// Whether the connection to the server is there, as that changes.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(dead_code, reason = "only `onex run` asks")
    )]
    pub(super) fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// All pages of a list.
    pub(super) async fn all<R: Pages>(&self, request: &R) -> Result<R::Page, Failure> {
        // What the server complained of before has nothing to do with it.
        self.complaint.send_replace(None);
        let list = self.client.all(request).await;
        self.seen(list).await
    }

    /// What came of a call that only asks.
    pub(super) async fn seen<T>(&self, called: Result<T, client::Error>) -> Result<T, Failure> {
        let settled = self.settle(called).await;
        settled.map_err(Failure::of_a_question)
    }

    /// What came of a call.
    pub(super) async fn settle<T>(&self, called: Result<T, client::Error>) -> Result<T, Failure> {
        match called {
            Ok(reply) => Ok(reply),
            Err(error) => Err(self.failure(error).await),
        }
    }

    async fn failure(&self, error: client::Error) -> Failure {
        let unanswered = matches!(
            error,
            client::Error::NoResponders { .. } | client::Error::TimedOut { .. }
        );
        if !unanswered {
            return error.into();
        }
        // A server that does not let a request through says either of the two as well.
        let mut complaint = self.complaint.subscribe();
        let complained = complaint.wait_for(Option::is_some);
        let server = &self.server;
        if let Ok(Ok(complaint)) = tokio::time::timeout(COMPLAINT_PATIENCE, complained).await {
            let complaint = complaint.as_deref().unwrap_or_default();
            let message = format!("the NATS server at {server} refused the request: {complaint}");
            return Failure::new(Exit::Failed, "ACCESS_DENIED", message)
                .hint("say who you are with --creds or --context");
        }
        if matches!(error, client::Error::TimedOut { .. }) {
            return error.into();
        }
        let (registry, flag) = match self.namespace.name() {
            None => ("no registry".to_owned(), String::new()),
            Some(name) => (
                format!("no registry of namespace {name:?}"),
                format!(" --namespace {name}"),
            ),
        };
        let message = format!("a NATS server answers at {server}, but {registry} serves there");
        Failure::new(Exit::Unreachable, "NO_REGISTRY", message).hint(format!(
            "start one with `onex serve{}{flag}`, or say where it is with --nats or --namespace",
            self.for_serve
        ))
    }
}

/// Why there is no connection, and what to do about it.
pub(super) fn unconnected(error: &connect::Error, target: &Target) -> Failure {
    let (server, cause) = match error {
        connect::Error::Connect(server, cause) => (server, cause),
        connect::Error::Untrusted(server, why) => return untrusted(server, why, target),
        connect::Error::NotTls(server) => return not_tls(server, target),
        connect::Error::TlsRefused(server, why) => {
            let message = format!(
                "the NATS server at {server} ({}) does not accept the TLS connection: {why}",
                target.because
            );
            return Failure::new(Exit::Failed, "ACCESS_DENIED", message)
                .hint("it may want a client certificate that it trusts: --tls-cert and --tls-key");
        }
        connect::Error::Creds(..)
        | connect::Error::Pem(..)
        | connect::Error::KeyPair(..)
        | connect::Error::Url(..) => {
            return Failure::usage(onex_types::chain(error)).about(target.whose(error));
        }
    };
    match cause.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            let message = format!(
                "the NATS server at {server} ({}) does not let us in: {}",
                target.because,
                plain(&onex_types::chain(cause))
            );
            Failure::new(Exit::Failed, "ACCESS_DENIED", message)
                .hint(format!("say who you are with {}", target.flags.who))
        }
        _ => unreachable(&onex_types::chain(cause), target),
    }
}

fn not_tls(server: &str, target: &Target) -> Failure {
    let message = format!(
        "the server at {server} ({}) does not speak TLS",
        target.because
    );
    Failure::new(Exit::Unreachable, "NO_TLS", message)
        .for_good()
        .hint("name it with nats:// in the place of tls:// where nobody listens in between")
}

fn untrusted(server: &str, why: &rustls::Error, target: &Target) -> Failure {
    let message = format!(
        "the certificate of the NATS server at {server} ({}) is not trusted: {why}",
        target.because,
    );
    let hint = match why {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "say with --tls-ca FILE which root certificate signed it"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => &format!(
            "ask the server by a name that its certificate has, with {}",
            target.flags.url
        ),
        _ => "it is the server's to mend",
    };
    Failure::new(Exit::Unreachable, "UNTRUSTED_SERVER", message)
        .for_good()
        .hint(hint)
}

fn unreachable(cause: &str, target: &Target) -> Failure {
    let server = target.options.shown();
    // What a server says stays on one line.
    let (cause, because) = (plain(cause), &target.because);
    let message = format!("no NATS server at {server} ({because}): {cause}");
    Failure::new(Exit::Unreachable, "NO_SERVER", message).hint(format!(
        "{}say where with {}",
        target.flags.start, target.flags.server
    ))
}
