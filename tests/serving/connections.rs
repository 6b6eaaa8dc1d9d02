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
use onex_registry::protocol::endpoint::Endpoint;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use uuid::Uuid;

const ARGS: [&str; 3] = ["--host", "here", "--no-probe"];
/// A lone carriage return in a header ends the client library's connection for good.
const DEADLY: &[u8] = b"NATS/1.0\r\nFoo: a\rb\r\n\r\n";
/// These it does not understand: it connects again, and the message is lost.
const STRANGE: [&[u8]; 8] = [
    b"NATS/1.0\r\nFo o: x\r\n\r\n",
    b"NATS/1.0\r\nFo\xc3\xb6: x\r\n\r\n",
    b"NATS/1.0\r\nFoo: \xff\xfe\r\n\r\n",
    b"NATS/1.0\r\nFoo\r\n\r\n",
    b"NATS/1.0 abc\r\n\r\n",
    b"NATS/2.0\r\nFoo: x\r\n\r\n",
    b"Foo: x\r\n\r\n",
    b"\r\n\r\n",
];
/// These are odd, and read as they were meant.
const ODD: [&[u8]; 6] = [
    b"NATS/1.0\r\n: x\r\n\r\n",
    b"NATS/1.0\r\nFoo:\r\n\r\n",
    b"NATS/1.0\nFoo: x\n\n",
    b"NATS/1.0\r\nFoo: x",
    b"NATS/1.0 503\r\n\r\n",
    b"NATS/1.0 200 fine\r\nFoo: x\r\n  y\r\n\r\n",
];

/// Publishes that with those headers, as no client library would.
fn publish(nats: &Nats, subject: &str, headers: &[u8], body: &[u8]) {
    Raw::connect(nats).publish(subject, "_INBOX.nobody.x", headers, body);
}

/// A connection without a client library.
struct Raw(TcpStream);

impl Raw {
    fn connect(nats: &Nats) -> Self {
        let url = nats.url();
        let stream = TcpStream::connect(url.strip_prefix("nats://").unwrap()).unwrap();
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).unwrap();
        let mut this = Self(stream);
        let _ = this.0.read(&mut [0; 4096]).unwrap();
        this.send(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n");
        this
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Reads until that comes; what came until then.
    fn read_until(&mut self, end: &str) -> String {
        let mut said = Vec::new();
        while !String::from_utf8_lossy(&said).contains(end) {
            let mut part = [0; 512];
            let count = self.0.read(&mut part).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&part[..count]);
        }
        String::from_utf8_lossy(&said).into_owned()
    }

    fn subscribe(&mut self, subject: &str) {
        self.send(format!("SUB {subject} 1\r\nPING\r\n").as_bytes());
        self.read_until("PONG\r\n");
    }

    /// Publishes, and says what came until the server had taken that.
    fn publish(&mut self, subject: &str, reply: &str, headers: &[u8], body: &[u8]) -> String {
        let whole = headers.len() + body.len();
        let line = format!("HPUB {subject} {reply} {} {whole}\r\n", headers.len());
        self.send(line.as_bytes());
        self.send(headers);
        self.send(body);
        self.send(b"\r\nPING\r\n");
        self.read_until("PONG\r\n")
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

/// What such a header does is the same wherever it comes: the message is lost, whoever sent it learns nothing, and everybody
/// else is answered over the next connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_none_is_survived_on_every_subject() {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let before = described(&caller).await;
    let requester = Uuid::new_v4();
    let lease = caller.lease(requester, json!({"ttl": 3600})).await;
    let id = before["registry"]["registry_id"].as_str().unwrap();
    let own = id.replace('-', "");
    let mut subjects: Vec<String> = Endpoint::ALL
        .iter()
        .map(|endpoint| format!("onex.registry.v1.{}", endpoint.name()))
        .collect();
    for verb in ["PING", "INFO", "STATS"] {
        subjects.push(format!("$SRV.{verb}"));
        subjects.push(format!("$SRV.{verb}.onex-registry"));
        subjects.push(format!("$SRV.{verb}.onex-registry.{own}"));
    }
    subjects.push("onex.registry.v1.peer.instances".to_owned());
    subjects.push("onex.registry.v1.peer.load".to_owned());
    subjects.push("onex.registry.v1.internal.probe.here".to_owned());
    for (n, subject) in subjects.iter().enumerate() {
        publish(&nats, subject, STRANGE[n % STRANGE.len()], b"{}");
        let after = described(&caller).await;
        assert_eq!(after["registry"], before["registry"], "{subject}");
    }
    for headers in STRANGE {
        let mut raw = Raw::connect(&nats);
        raw.subscribe("_INBOX.raw.x");
        raw.publish("onex.registry.v1.port.list", "_INBOX.raw.x", headers, b"{}");
        let after = described(&caller).await;
        assert_eq!(after["registry"], before["registry"]);
        // As docs/protocol.md says: nobody answers it.
        raw.send(b"PING\r\n");
        let said = raw.read_until("PONG\r\n");
        assert!(!said.contains("MSG"), "{said}");
    }
    let renewed = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
    let renewed = caller.get("port.heartbeat", renewed).await;
    assert_eq!(renewed["fencing_token"], lease["fencing_token"]);
    assert!(registry.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_survives_a_header_that_is_none() {
    let nats = Nats::start();
    let registry = Registry::on(&nats, &ARGS);
    let caller = Caller::of(&registry).await;
    let mut agent = Registry::agent(&nats, "there");
    publish(
        &nats,
        "onex.registry.v1.internal.probe.there",
        DEADLY,
        b"{}",
    );
    agent.line("trying ports again");
    until("ports to be tried", async || {
        let lease = caller.lease(Uuid::new_v4(), json!({"host": "there"})).await;
        (lease["availability"] == "verified").then_some(())
    })
    .await;
    assert!(agent.runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_headers_that_can_be_read_are_no_reason_not_to_answer() {
    let nats = Nats::start();
    let registry = Registry::on(&nats, &ARGS);
    let mut raw = Raw::connect(&nats);
    raw.subscribe("_INBOX.raw.x");
    for headers in ODD {
        let mut said = raw.publish("onex.registry.v1.port.list", "_INBOX.raw.x", headers, b"{}");
        if !said.contains("\"items\":[]") {
            said += &raw.read_until("\"items\":[]");
        }
        assert!(said.contains("MSG _INBOX.raw.x"), "{said}");
    }
    let said = registry.said();
    assert!(!said.contains("connecting again"), "{said}");
}

/// The answer of a provider is such a message, too: whoever called is told that nobody knows what became of the call.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_a_provider_with_a_header_that_is_none_is_no_answer() {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &ARGS);
    let caller = Caller::connect(&nats.url()).await;
    let before = described(&caller).await;
    let tool = json!({"name": "work", "version": "1.0.0", "subject": "work.a"});
    let body = node(Uuid::new_v4(), "a", json!({"tools": [tool], "ttl": 3600}));
    caller.get("node.register", body).await;
    let mut provider = Raw::connect(&nats);
    provider.subscribe("work.a");
    for headers in [STRANGE[0], DEADLY] {
        let call = tokio::spawn({
            let caller = caller.clone();
            async move {
                let body = json!({"tool_name": "work", "timeout_ms": 3_000});
                caller.ask("tool.invoke", body).await.unwrap_err()
            }
        });
        let asked = provider.read_until("\r\n\r\n");
        let line = asked.lines().find(|line| line.starts_with("HMSG")).unwrap();
        let reply = line.split(' ').nth(3).unwrap();
        provider.publish(reply, "_INBOX.nobody.x", headers, b"{}");
        let after = described(&caller).await;
        assert_eq!(after["registry"], before["registry"]);
        let refused = call.await.unwrap();
        assert_eq!(refused.code, "TOOL_TIMEOUT", "{refused:?}");
        assert_eq!(
            refused.error["details"]["executed"], "unknown",
            "{refused:?}"
        );
    }
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
