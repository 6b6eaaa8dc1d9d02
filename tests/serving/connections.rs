//! The connection over which requests come: one message can end it, and the server can take away what it allowed. Either way
//! the registry goes on with all that it knows.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use crate::harness::{Caller, Nats, Provider, Registry, node, until};
use async_nats::RequestErrorKind;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];
/// A lone carriage return in a header ends the client library's connection for good.
const DEADLY: &[u8] = b"NATS/1.0\r\nFoo: a\rb\r\n\r\n";
/// These it does not understand: it connects again, and the message is lost.
const STRANGE: [&[u8]; 3] = [
    b"NATS/1.0\r\nFo o: x\r\n\r\n",
    b"NATS/1.0\r\nFoo: \xff\xfe\r\n\r\n",
    b"NATS/1.0\r\nFoo\r\n\r\n",
];

/// Publishes that with those headers, as no client library would.
fn publish(nats: &Nats, subject: &str, headers: &[u8], body: &[u8]) {
    let url = nats.url();
    let mut stream = TcpStream::connect(url.strip_prefix("nats://").unwrap()).unwrap();
    let mut hello = [0; 4096];
    let _ = stream.read(&mut hello).unwrap();
    let whole = headers.len() + body.len();
    let reply = "_INBOX.nobody.x";
    let text = format!(
        "CONNECT {{\"verbose\":false,\"headers\":true}}\r\nHPUB {subject} {reply} {} {whole}\r\n",
        headers.len()
    );
    stream.write_all(text.as_bytes()).unwrap();
    stream.write_all(headers).unwrap();
    stream.write_all(body).unwrap();
    stream.write_all(b"\r\nPING\r\n").unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"PONG\r\n") {
        let mut part = [0; 512];
        let count = stream.read(&mut part).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&part[..count]);
    }
}

/// What it says of itself. A request that comes while it connects again is lost.
async fn described(caller: &Caller) -> Value {
    until("it to answer", async || {
        let asked = caller
            .client
            .request("onex.registry.v1.describe", "{}".into());
        let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
        serde_json::from_slice(&answer.ok()?.ok()?.payload).ok()
    })
    .await
}

/// Waits until it has taken requests over another connection so many times.
async fn connected_again(registry: &Registry, times: usize) {
    until("it to take requests again", async || {
        let again = registry.said().matches("taking requests again").count();
        (again >= times).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_none_costs_a_connection_and_nothing_else() {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let before = described(&caller).await;
    let requester = Uuid::new_v4();
    let lease = caller.lease(requester, json!({"ttl": 3600})).await;
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let provider = Provider::serve(&nats.url(), "work.a", move |got| {
        let opened = Arc::clone(&opened);
        async move {
            opened.acquire().await.unwrap().forget();
            got.answer(&json!("done")).await;
        }
    })
    .await;
    let tool = json!({"name": "work", "version": "1.0.0", "subject": "work.a"});
    let body = node(Uuid::new_v4(), "a", json!({"tools": [tool], "ttl": 3600}));
    caller.get("node.register", body).await;
    let call = tokio::spawn({
        let caller = caller.clone();
        async move {
            let body = json!({"tool_name": "work", "timeout_ms": 60_000});
            caller.ask("tool.invoke", body).await
        }
    });
    until("it to be called", async || {
        (provider.count() == 1).then_some(())
    })
    .await;

    let id = before["registry"]["registry_id"].as_str().unwrap();
    let own = id.replace('-', "");
    let subjects = [
        "onex.registry.v1.describe".to_owned(),
        "onex.registry.v1.port.lease".to_owned(),
        "$SRV.PING".to_owned(),
        format!("$SRV.STATS.onex-registry.{own}"),
    ];
    for (times, subject) in (1..).zip(&subjects) {
        publish(&nats, subject, DEADLY, b"{}");
        connected_again(&registry, times).await;
        let after = described(&caller).await;
        assert_eq!(after["registry"], before["registry"]);
    }
    for subject in &subjects {
        for headers in STRANGE {
            publish(&nats, subject, headers, b"{}");
        }
        let after = described(&caller).await;
        assert_eq!(after["registry"], before["registry"]);
    }
    // What was asked for over a connection that is gone is answered over another one.
    gate.add_permits(1);
    let answered = tokio::time::timeout(Duration::from_secs(30), call).await;
    assert_eq!(answered.unwrap().unwrap().unwrap()["result"], "done");
    let lease_id = &lease["lease_id"];
    let renewed = json!({"requester_id": requester, "lease_id": lease_id});
    let renewed = caller.get("port.heartbeat", renewed).await;
    assert_eq!(renewed["fencing_token"], lease["fencing_token"]);
    // Nothing of the earlier connections is left that takes requests.
    let answers = answers(&caller, "$SRV.PING.onex-registry").await;
    assert_eq!(answers, 1);
    assert!(registry.runs());
}

/// How many answer there within half a second.
async fn answers(caller: &Caller, subject: &str) -> usize {
    use futures::StreamExt as _;
    let inbox = caller.client.new_inbox();
    let mut answers = caller.client.subscribe(inbox.clone()).await.unwrap();
    let asked = caller
        .client
        .publish_with_reply(subject.to_owned(), inbox, "".into());
    asked.await.unwrap();
    let mut count = 0;
    // However many there are, the last comes within this time.
    while let Ok(Some(_)) = tokio::time::timeout(Duration::from_millis(500), answers.next()).await {
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_takes_away_and_gives_back_is_asked_for_again() {
    let config = |deny: &str| {
        format!(
            "jetstream {{ store_dir: \"FOLDER/store\", sync_interval: always }}\n\
             authorization {{ users: [\n\
               {{ user: registry, password: \"secret\", permissions: {{ subscribe: {{ allow: [\">\"], deny: [{deny}] }} }} }}\n\
               {{ user: caller, password: \"secret\" }}\n\
             ] }}"
        )
    };
    let nats = Nats::start_with(&config("\"nothing\""));
    let url = nats.url();
    let as_registry = url.replace("://", "://registry:secret@");
    let mut registry = Registry::spawn(&[&["--nats", &as_registry], &ARGS[..]].concat());
    registry.await_ready();
    let caller = Caller::connect(&url.replace("://", "://caller:secret@")).await;
    let lease = caller.lease(Uuid::new_v4(), json!({"ttl": 3600})).await;

    nats.reload(&config("\"onex.registry.v1.port.lease\""));
    // Nobody takes such requests any more, and nobody says that they would be taken.
    registry.line("no requests can be taken");
    until("nobody to take requests", async || {
        let asked = caller
            .client
            .request("onex.registry.v1.describe", "".into());
        let asked = asked.await.err()?;
        (asked.kind() == RequestErrorKind::NoResponders).then_some(())
    })
    .await;

    nats.reload(&config("\"nothing\""));
    registry.line("taking requests again");
    let listed = caller.get("port.list", json!({})).await;
    assert_eq!(listed["items"][0]["lease_id"], lease["lease_id"]);
    caller.lease(Uuid::new_v4(), json!({"ttl": 3600})).await;
    assert!(registry.runs());
}
