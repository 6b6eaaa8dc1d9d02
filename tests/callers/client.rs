//! The client against a registry that says what the test wants, and against a real one.

use std::time::{Duration, Instant};

use futures::StreamExt;
use onex_registry::{
    client::{Client, Error},
    ids::Port,
    protocol::{
        bounds::Open,
        describe::DescribeRequest,
        endpoint::Endpoint,
        error::ErrorCode,
        explain::{ExplainReply, PortState},
        names::Namespace,
        pool::PoolListRequest,
        port::{LeaseRequest, Limit, ListRequest, ReleaseRequest},
    },
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use uuid::Uuid;

use crate::harness::{PATIENCE, Registry, round_trip};

const ID: &str = "0198f3a0-5b1e-7c46-9d55-3f1f0a3b6c21";

/// A registry whose replies are given: after the last one it answers no more.
struct Scripted {
    _server: Registry,
    client: Client,
    asked: UnboundedReceiver<async_nats::Message>,
}

impl Scripted {
    async fn new(endpoint: Endpoint, replies: Vec<Value>) -> Self {
        let server = Registry::start(&[]);
        let namespace: Namespace = "scripted".parse().unwrap();
        let nats = async_nats::connect(server.url()).await.unwrap();
        let mut requests = nats
            .subscribe(namespace.subject(endpoint.name()))
            .await
            .unwrap();
        round_trip(&nats).await;
        let client = Client::new(nats.clone(), namespace);
        let (sender, asked) = unbounded_channel();
        tokio::spawn(async move {
            let mut replies = replies.into_iter();
            while let Some(request) = requests.next().await {
                let to = request.reply.clone().unwrap();
                sender.send(request).unwrap();
                let Some(reply) = replies.next() else {
                    continue;
                };
                let mut headers = async_nats::HeaderMap::new();
                if reply.get("error").is_some() {
                    headers.insert("Nats-Service-Error-Code", "503");
                }
                let body = reply.to_string().into();
                nats.publish_with_headers(to, headers, body).await.unwrap();
            }
        });
        Self {
            _server: server,
            client,
            asked,
        }
    }

    /// What was asked so far.
    fn asked(&mut self) -> Vec<async_nats::Message> {
        std::iter::from_fn(|| self.asked.try_recv().ok()).collect()
    }
}

fn refusal(code: &str, retryable: bool, retry_after_ms: Option<u64>) -> Value {
    json!({"error": {
        "code": code, "message": "no", "retryable": retryable, "retry_after_ms": retry_after_ms,
        "correlation_id": "c", "details": {},
    }})
}

fn released() -> Value {
    json!({"lease_id": ID, "status": "released", "released_at": "2026-01-01T00:00:00Z", "revision": 7})
}

fn release(request_id: Option<&str>) -> ReleaseRequest {
    let request = json!({"requester_id": ID, "lease_id": ID, "request_id": request_id});
    serde_json::from_value(request).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_with_a_request_id_is_asked_again_as_the_same_within_the_timeout() {
    let replies = vec![
        refusal("BUSY", true, Some(30)),
        refusal("A_LATER_CODE", true, None),
        released(),
    ];
    let mut registry = Scripted::new(Endpoint::PortRelease, replies).await;
    let since = Instant::now();
    let client = registry.client.clone().with_timeout(PATIENCE);
    let reply = client.release(&release(Some(ID))).await.unwrap();
    assert_eq!(reply.revision, 7);
    assert!(since.elapsed() >= Duration::from_millis(30));
    let asked = registry.asked();
    assert_eq!(asked.len(), 3);
    let mut left = u128::MAX;
    for request in &asked {
        assert_eq!(request.payload, asked[0].payload);
        let headers = request.headers.as_ref().unwrap();
        assert_eq!(headers.get("Onex-Protocol").unwrap().as_str(), "1.0");
        let timeout: u128 = headers
            .get("Onex-Timeout-Ms")
            .unwrap()
            .as_str()
            .parse()
            .unwrap();
        assert!(
            timeout <= PATIENCE.as_millis() && timeout < left,
            "{timeout}"
        );
        left = timeout;
    }
    let body: Value = serde_json::from_slice(&asked[0].payload).unwrap();
    assert_eq!(
        body,
        json!({"requester_id": ID, "lease_id": ID, "request_id": ID})
    );
}

/// "Nothing was done" is true of the last try, and not of the one before.
#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_is_unknown_stays_so_until_it_is_settled() {
    let mut unknown = refusal("STORE_UNAVAILABLE", true, None);
    unknown["error"]["details"]["outcome"] = json!("unknown");
    for later in ["BUSY", "A_LATER_CODE"] {
        let busy = refusal(later, true, Some(3_600_000));
        let registry = Scripted::new(Endpoint::PortRelease, vec![unknown.clone(), busy]).await;
        let error = registry
            .client
            .release(&release(Some(ID)))
            .await
            .unwrap_err();
        assert!(error.may_be_done(), "{error:?}");
    }
    let gone = refusal("LEASE_EXPIRED", false, None);
    let registry = Scripted::new(Endpoint::PortRelease, vec![unknown, gone]).await;
    let error = registry
        .client
        .release(&release(Some(ID)))
        .await
        .unwrap_err();
    assert!(!error.may_be_done(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_done_twice_or_cannot_help_is_asked_once() {
    #[track_caller]
    fn refused(error: &Error, code: ErrorCode) {
        assert!(
            matches!(error, Error::Refused(it) if it.code == code),
            "{error:?}"
        );
    }
    let replies = vec![
        refusal("BUSY", true, Some(1)),
        refusal("NOT_HOLDER", false, None),
        refusal("RESOURCE_EXHAUSTED", true, Some(60_000)),
    ];
    let mut registry = Scripted::new(Endpoint::PortRelease, replies).await;
    let client = registry.client.clone();

    let error = client.release(&release(None)).await.unwrap_err();
    refused(&error, ErrorCode::Busy);
    assert!(error.retryable());
    let error = client.release(&release(Some(ID))).await.unwrap_err();
    refused(&error, ErrorCode::NotHolder);
    assert!(!error.retryable());
    // Later than the caller waits.
    let error = client.release(&release(Some(ID))).await.unwrap_err();
    refused(&error, ErrorCode::ResourceExhausted);
    assert_eq!(registry.asked().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_absence_and_nonsense_are_told_apart() {
    let replies = vec![json!({"items": 4}), json!({"error": "odd"})];
    let registry = Scripted::new(Endpoint::PortList, replies).await;
    let client = registry
        .client
        .clone()
        .with_timeout(Duration::from_millis(200));
    for _ in 0..2 {
        let error = client.list(&ListRequest::default()).await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
        assert!(!error.retryable());
    }
    let error = client.list(&ListRequest::default()).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert!(error.retryable());
    let error = client.help().await.unwrap_err();
    assert!(matches!(error, Error::NoResponders { .. }), "{error:?}");
    assert!(error.retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_told_as_that() {
    let registry = Registry::start(&[]);
    let (sender, mut events) = unbounded_channel();
    let nats = async_nats::ConnectOptions::new()
        .event_callback(move |event| {
            let _ = sender.send(event);
            std::future::ready(())
        })
        .connect(registry.url())
        .await
        .unwrap();
    drop(registry);
    while events.recv().await.unwrap() != async_nats::Event::Disconnected {}
    let client = Client::new(nats, Namespace::default()).with_timeout(Duration::from_millis(200));
    let error = client.help().await.unwrap_err();
    assert!(matches!(error, Error::Connection(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn later_pages_know_what_the_first_one_knew() {
    let page = |next: Option<&str>, revision| json!({"items": [], "next_cursor": next, "revision": revision});
    let replies = vec![page(Some("a"), 5), page(Some("b"), 9), page(None, 6)];
    let mut registry = Scripted::new(Endpoint::PortList, replies).await;
    let all = registry.client.all(&ListRequest::default()).await.unwrap();
    assert_eq!((all.revision, all.next_cursor), (5, None));
    let bodies: Vec<Value> = registry
        .asked()
        .iter()
        .map(|request| serde_json::from_slice(&request.payload).unwrap())
        .collect();
    let expected = [
        json!({}),
        json!({"cursor": "a", "min_revision": 5}),
        json!({"cursor": "b", "min_revision": 5}),
    ];
    assert_eq!(bodies, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_of_a_registry_is_understood() {
    let registry = Registry::start(&["--no-probe"]);
    let nats = async_nats::connect(registry.url()).await.unwrap();
    let client = Client::new(nats, Namespace::default());
    let request: LeaseRequest = serde_json::from_value(json!({
        "requester_id": ID, "protocol": "http", "name": "api", "request_id": Uuid::new_v4(),
    }))
    .unwrap();
    let lease = client.lease(&request).await.unwrap();
    let (requester, lease_id) = (lease.requester_id, lease.lease_id);
    let one = client
        .heartbeat(requester, lease_id, None, None)
        .await
        .unwrap();
    assert_eq!(one.fencing_token, lease.fencing_token);
    assert!(one.revision > lease.revision);
    let several = client
        .heartbeat_several(requester, vec![lease_id], None, None)
        .await
        .unwrap();
    let all = client.heartbeat_all(requester, None, None).await.unwrap();
    for reply in [several, all] {
        assert_eq!(reply.renewed[0].lease_id, lease_id);
        assert!(reply.lost.is_empty() && reply.unknown.is_empty());
    }
    assert_eq!(
        client
            .list(&ListRequest::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    let found = serde_json::from_value(json!({"name": "api"})).unwrap();
    assert_eq!(client.resolve(&found).await.unwrap().items.len(), 1);

    let small = Limit::try_from(1).ok();
    let request = PoolListRequest {
        limit: small,
        ..PoolListRequest::default()
    };
    assert_eq!(client.pools(&request).await.unwrap().items.len(), 1);
    assert_eq!(client.all(&request).await.unwrap().items.len(), 2);
    let request = DescribeRequest {
        limit: small,
        ..DescribeRequest::default()
    };
    assert_eq!(client.describe(&request).await.unwrap().pools.len(), 1);
    assert_eq!(client.all(&request).await.unwrap().pools.len(), 2);
    let help = client.help().await.unwrap();
    assert_eq!(help.endpoints.len(), Endpoint::ALL.len());

    let request = ReleaseRequest {
        requester_id: requester,
        lease_id,
        ..release(None)
    };
    assert_eq!(client.release(&request).await.unwrap().lease_id, lease_id);
    let gone = client
        .heartbeat(requester, lease_id, None, None)
        .await
        .unwrap_err();
    assert!(matches!(gone, Error::Refused(it) if it.code == ErrorCode::LeaseExpired));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_explained_with_what_its_holder_says_of_itself() {
    let registry = Registry::start(&["--no-probe", "--host", "here", "--ports", "20000-20009"]);
    let nats = async_nats::connect(registry.url()).await.unwrap();
    let client = Client::new(nats, Namespace::default());
    let lease = |port: u16, more: Value| {
        let mut request = json!({
            "requester_id": ID, "protocol": "http", "preferred_port": port, "exact": true,
        });
        request
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value::<LeaseRequest>(request).unwrap()
    };
    let explained = async |port: u16| {
        let request = serde_json::from_value(json!({"port": port})).unwrap();
        client.explain(&request).await.unwrap()
    };
    let said = |explained: &ExplainReply| {
        let holder = explained.lease.as_ref().unwrap().holder.as_deref().cloned();
        serde_json::to_value(holder).unwrap()
    };

    let free = explained(20_001).await;
    assert_eq!(free.state, Open::Known(PortState::Free));
    assert_eq!(
        (free.port, free.next_free),
        (port(20_001), Some(port(20_001)))
    );
    assert!(free.lease.is_none() && free.last.is_none() && free.in_use.is_none());

    // By itself it says which process it is.
    client
        .lease(&lease(20_001, json!({"name": "api"})))
        .await
        .unwrap();
    let held = explained(20_001).await;
    assert_eq!(held.state, Open::Known(PortState::Held));
    assert_eq!(said(&held)["pid"], std::process::id());
    assert!(said(&held)["host"].is_string() && said(&held)["command"].is_string());
    assert!(held.verdict.contains("is held by") && held.verdict.contains("as \"api\""));
    assert!((1..=60_000).contains(&held.expires_in_ms.unwrap()));

    // What the program says, what one request says, and nothing.
    let ana = json!({"user": "ana", "host": "build-7", "pid": 4_711, "command": "pytest"});
    let as_ana = client
        .clone()
        .with_holder(serde_json::from_value(ana.clone()).unwrap());
    as_ana.lease(&lease(20_002, json!({}))).await.unwrap();
    assert_eq!(said(&explained(20_002).await), ana);
    let ben = json!({"user": "ben"});
    as_ana
        .lease(&lease(20_003, json!({"holder": ben})))
        .await
        .unwrap();
    assert_eq!(said(&explained(20_003).await), ben);
    let silent = client.clone().with_holder(None);
    silent.lease(&lease(20_004, json!({}))).await.unwrap();
    assert_eq!(said(&explained(20_004).await), Value::Null);
    // So do the leases that it keeps.
    let kept = as_ana.hold(&lease(20_005, json!({}))).await.unwrap();
    assert_eq!(said(&explained(20_005).await), ana);
    kept.release().await.unwrap();
    let last = explained(20_005).await.last.unwrap();
    assert_eq!(serde_json::to_value(last.holder).unwrap(), ana);
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}
