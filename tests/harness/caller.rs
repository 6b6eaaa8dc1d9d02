//! Requests with JSON in and out. Every reply is checked for what all replies have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, HeaderMap, RequestError, ServerAddr};
use bytes::Bytes;
use onex_registry::protocol::error::ErrorCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Registry, json, traffic::Sent, until, with};

const PREFIX: &str = "onex.registry.v1";

#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) client: Client,
    pub(crate) prefix: String,
    /// The latest revision that it was told.
    seen: Arc<AtomicU64>,
}

/// A reply as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// The error of a reply.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) code: String,
    pub(crate) error: Value,
}

/// Errors that only the log can say.
const SAID_BY_THE_LOG: [ErrorCode; 12] = [
    ErrorCode::NotHolder,
    ErrorCode::LeaseNotFound,
    ErrorCode::LeaseExpired,
    ErrorCode::PortUnavailable,
    ErrorCode::ResourceExhausted,
    ErrorCode::NodeNotFound,
    ErrorCode::Superseded,
    ErrorCode::ToolNotFound,
    ErrorCode::ContractChanged,
    ErrorCode::BusNotFound,
    ErrorCode::SchemaNotFound,
    ErrorCode::IdempotencyMismatch,
];

impl Caller {
    pub(crate) async fn connect(url: &str) -> Self {
        // The client library does not use a URL's user.
        let server: ServerAddr = url.parse().unwrap();
        let options = match (server.username(), server.password()) {
            (Some(user), Some(password)) => {
                ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
            }
            _ => ConnectOptions::new(),
        };
        let client = options.connect(server).await.unwrap();
        Self {
            client,
            prefix: PREFIX.to_owned(),
            seen: Arc::default(),
        }
    }

    pub(crate) async fn of(registry: &Registry) -> Self {
        Self::connect(registry.url()).await
    }

    pub(crate) fn subject(&self, endpoint: &str) -> String {
        format!("{}.{endpoint}", self.prefix)
    }

    /// Sends `body` as it is.
    pub(crate) async fn send(
        &self,
        endpoint: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
        patience: Duration,
    ) -> Result<Reply, RequestError> {
        let body = body.into();
        let sent = Sent::new(&headers, &body);
        let request = async_nats::Request::new()
            .headers(headers)
            .payload(body)
            .timeout(Some(patience));
        let message = self
            .client
            .send_request(self.subject(endpoint), request)
            .await?;
        let reply = Reply {
            headers: message.headers.unwrap_or_default(),
            body: json::read(&message.payload).expect("a reply is JSON"),
        };
        sent.answered(endpoint, &reply);
        Ok(reply)
    }

    /// Sends these bytes; what came, or the error that came.
    pub(crate) async fn raw(
        &self,
        endpoint: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Value, Refused> {
        let answer = self.reply(endpoint, headers, body).await.outcome()?;
        if let Some(revision) = answer["revision"].as_u64() {
            self.seen.fetch_max(revision, Ordering::Relaxed);
        }
        Ok(answer)
    }

    pub(crate) async fn reply(
        &self,
        endpoint: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let headers = header_map(headers);
        self.send(endpoint, headers, body, super::PATIENCE)
            .await
            .unwrap_or_else(|error| panic!("{endpoint}: no answer: {error}"))
    }

    pub(crate) async fn ask(&self, endpoint: &str, body: Value) -> Result<Value, Refused> {
        self.raw(endpoint, &[], body.to_string()).await
    }

    /// A request that must be granted.
    #[track_caller]
    pub(crate) fn get(&self, endpoint: &str, body: Value) -> impl Future<Output = Value> + use<'_> {
        let place = std::panic::Location::caller();
        let endpoint = endpoint.to_owned();
        async move {
            let asked = body.to_string();
            match self.ask(&endpoint, body).await {
                Ok(reply) => reply,
                Err(refused) => panic!("{place}: {endpoint} {asked}: {:#}", refused.error),
            }
        }
    }

    /// The same, and the answer shows all that this caller was told of before.
    #[track_caller]
    pub(crate) fn see(
        &self,
        endpoint: &str,
        mut body: Value,
    ) -> impl Future<Output = Value> + use<'_> {
        body["min_revision"] = json!(self.seen.load(Ordering::Relaxed));
        self.get(endpoint, body)
    }

    /// A request that must be refused with that code.
    #[track_caller]
    pub(crate) fn refused(
        &self,
        endpoint: &str,
        body: Value,
        code: ErrorCode,
    ) -> impl Future<Output = Refused> + use<'_> {
        let place = std::panic::Location::caller();
        let endpoint = endpoint.to_owned();
        async move {
            let asked = body.to_string();
            match self.ask(&endpoint, body).await {
                Ok(reply) => panic!("{place}: {endpoint} {asked} was granted: {reply:#}"),
                Err(refused) => {
                    let error = &refused.error;
                    assert_eq!(
                        refused.code,
                        code.as_str(),
                        "{place}: {endpoint} {asked}: {error:#}"
                    );
                    assert!(
                        error["revision"].is_u64() || !SAID_BY_THE_LOG.contains(&code),
                        "{place}: {endpoint} {asked}: as of which revision? {error:#}"
                    );
                    refused
                }
            }
        }
    }

    /// Leases a port with all defaults but `more`.
    #[track_caller]
    pub(crate) fn lease(
        &self,
        requester: Uuid,
        more: Value,
    ) -> impl Future<Output = Value> + use<'_> {
        self.get("port.lease", lease_request(requester, more))
    }

    /// Waits until somebody answers.
    pub(crate) async fn await_answer(&self) {
        until("an answer", async || {
            let patience = Duration::from_secs(1);
            let reply = self.send("describe", HeaderMap::new(), "", patience).await;
            reply.ok()?.outcome().ok()
        })
        .await;
    }

    /// Asks all services of this name, as `nats micro` does, and gathers what comes in half a second.
    pub(crate) async fn micro(&self, verb: &str) -> Vec<Value> {
        use futures::StreamExt as _;
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.unwrap();
        let subject = format!("$SRV.{verb}.onex-registry");
        self.client
            .publish_with_reply(subject, inbox, "".into())
            .await
            .unwrap();
        let mut all = Vec::new();
        // Nobody says how many will answer.
        while let Ok(Some(message)) =
            tokio::time::timeout(Duration::from_millis(500), answers.next()).await
        {
            all.push(serde_json::from_slice(&message.payload).unwrap());
        }
        all
    }
}

pub(crate) fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    map
}

/// The body of a `port.lease` request.
pub(crate) fn lease_request(requester: Uuid, more: Value) -> Value {
    with(json!({"requester_id": requester, "protocol": "http"}), more)
}

impl Reply {
    /// What was answered. Headers and body of an error say the same, and every reply has a correlation id.
    pub(crate) fn outcome(self) -> Result<Value, Refused> {
        let header = |name: &str| {
            self.headers
                .get(name)
                .map(|value| value.as_str().to_owned())
        };
        let correlation = header("Onex-Correlation-Id").expect("a reply has a correlation id");
        let Some(error) = self.body.get("error").cloned() else {
            assert_eq!(header("Nats-Service-Error-Code"), None, "{:#}", self.body);
            assert_eq!(header("Nats-Service-Error"), None, "{:#}", self.body);
            return Ok(self.body);
        };
        let code = error["code"].as_str().unwrap().to_owned();
        let known = ErrorCode::ALL.iter().find(|known| known.as_str() == code);
        let known = known.unwrap_or_else(|| panic!("an unknown code: {error:#}"));
        assert_eq!(
            header("Nats-Service-Error"),
            Some(code.clone()),
            "{error:#}"
        );
        assert_eq!(
            header("Nats-Service-Error-Code"),
            Some(known.number().to_string()),
            "{error:#}"
        );
        assert_eq!(error["correlation_id"], correlation, "{error:#}");
        if !known.depends_on_tool() {
            assert_eq!(error["retryable"], known.retryable(), "{error:#}");
        }
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{error:#}"
        );
        assert!(error["details"].is_object(), "{error:#}");
        assert!(error.get("retry_after_ms").is_some(), "{error:#}");
        Err(Refused { code, error })
    }
}

impl Refused {
    pub(crate) fn is(&self, code: ErrorCode) -> bool {
        self.code == code.as_str()
    }

    pub(crate) fn retryable(&self) -> bool {
        self.error["retryable"] == true
    }

    /// What its details name, each of which its message has to name as well, and the rest of the details.
    pub(crate) fn names(&self) -> (Vec<(&'static str, String)>, Value) {
        const NAMES: [&str; 8] = [
            "lease_id",
            "port",
            "node_id",
            "bus_id",
            "tool_name",
            "request_id",
            "host",
            "name",
        ];
        let message = self.error["message"].as_str().unwrap();
        let mut rest = self.error["details"].clone();
        let mut names = Vec::new();
        for name in NAMES {
            let Some(value) = rest.as_object_mut().unwrap().remove(name) else {
                continue;
            };
            let text = value.as_str().map_or(value.to_string(), str::to_owned);
            assert!(
                message.contains(&text),
                "{name} {text} is not in: {message}"
            );
            names.push((name, text));
        }
        (names, rest)
    }

    pub(crate) fn detail(&self, name: &str) -> &Value {
        &self.error["details"][name]
    }
}
