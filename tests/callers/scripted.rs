//! A registry whose answers the test gives.

use futures::StreamExt as _;
use onex_registry::{
    client::{BootTime, Client},
    protocol::{endpoint::Endpoint, names::Namespace},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use crate::harness::{PATIENCE, Registry, round_trip};

/// A registry that answers as the test wants: what it was asked, when, and how to answer.
pub(crate) struct Scripted {
    _server: Registry,
    nats: async_nats::Client,
    pub(crate) client: Client,
    asked: mpsc::UnboundedReceiver<(async_nats::Message, BootTime)>,
}

impl Scripted {
    pub(crate) async fn new(endpoints: &[Endpoint]) -> Self {
        let server = Registry::start(&[]);
        let namespace: Namespace = "scripted".parse().unwrap();
        let nats = async_nats::connect(server.url()).await.unwrap();
        let (sender, asked) = mpsc::unbounded_channel();
        for endpoint in endpoints {
            let subject = namespace.subject(endpoint.name());
            let mut requests = nats.subscribe(subject).await.unwrap();
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Some(request) = requests.next().await {
                    sender.send((request, BootTime::now())).unwrap();
                }
            });
        }
        round_trip(&nats).await;
        let client = Client::new(nats.clone(), namespace);
        Self {
            _server: server,
            nats,
            client,
            asked,
        }
    }

    /// The next request: its body, when it came, and where its answer goes.
    pub(crate) async fn next(&mut self) -> (Value, BootTime, async_nats::Subject) {
        let next = timeout(PATIENCE, self.asked.recv()).await;
        let (message, at) = next.unwrap().unwrap();
        let body = serde_json::from_slice(&message.payload).unwrap();
        (body, at, message.reply.unwrap())
    }

    pub(crate) async fn answer(&self, to: async_nats::Subject, body: &Value) {
        self.nats
            .publish(to, body.to_string().into())
            .await
            .unwrap();
    }

    pub(crate) async fn refuse(&self, to: async_nats::Subject, code: &str) {
        self.refuse_for(to, code, None).await;
    }

    /// The same, worth trying again after so many milliseconds where they are given.
    pub(crate) async fn refuse_for(
        &self,
        to: async_nats::Subject,
        code: &str,
        retry_after_ms: Option<u64>,
    ) {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Service-Error-Code", "404");
        let error = json!({
            "code": code, "message": code, "retryable": retry_after_ms.is_some(), "retry_after_ms": retry_after_ms, "correlation_id": "c",
            "details": {},
        });
        let body = json!({"error": error}).to_string();
        self.nats
            .publish_with_headers(to, headers, body.into())
            .await
            .unwrap();
    }
}

pub(crate) fn lease_of(port: u16, ttl: u32, revision: u64) -> Value {
    let mut lease = lease(ttl, revision);
    lease["port"] = json!(port);
    lease["ports"] = json!([port]);
    lease["fencing_token"] = json!(revision);
    lease
}

pub(crate) fn lease(ttl: u32, revision: u64) -> Value {
    let id = "0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21";
    json!({
        "lease_id": id, "status": "active", "port": 21000, "ports": [21000], "host": "vm", "transport": "tcp",
        "protocol": "http", "requester_id": id, "assigned_to": id, "ttl": ttl, "granted_at": "2026-01-01T00:00:00Z",
        "expires_at": "2026-01-01T00:01:00Z", "expires_in_ms": 1, "renew_after_ms": 1, "fencing_token": 5,
        "revision": revision,
    })
}
