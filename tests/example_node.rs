//! examples/node.rs, which users copy, against a real registry.

// The lints' exception for tests does not reach the helpers of one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use uuid::Uuid;

use harness::{Caller, Registry, until, wish};

mod harness;

struct Example(Child);

impl Example {
    fn start(registry: &Registry, ttl: u32) -> Self {
        let binaries = Path::new(env!("CARGO_BIN_EXE_onex")).parent().unwrap();
        let binary = binaries.join("examples/node");
        assert!(binary.exists(), "cargo build --examples makes it");
        let child = Command::new(binary)
            .arg("greeter.1")
            .env("NATS_URL", registry.url())
            .env("ONEX_HOST", "here")
            .env("ONEX_TTL", ttl.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn listed(caller: &Caller) -> Option<Value> {
    let nodes = caller.get("node.list", json!({})).await;
    nodes["items"].get(0).cloned()
}

/// What is answered on the port that the node has said.
async fn served(caller: &Caller) -> (u16, String) {
    until("an answer of the node", async || {
        let asked = json!({"node_id": "greeter.1"});
        let described = caller.ask("describe", asked).await.ok()?;
        let port = described["ports"]["inbound"][0]["port"].as_u64()?;
        let port = u16::try_from(port).unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        Some((port, answer))
    })
    .await
}

async fn ended(caller: &Caller) -> Value {
    until("the end of the node", async || {
        let node = listed(caller).await?;
        node.get("ended").cloned().filter(|how| !how.is_null())
    })
    .await
}

async fn is_free(caller: &Caller, port: u16) {
    until("the port to be free", async || {
        let exact = json!({"preferred_port": port, "exact": true});
        caller
            .ask("port.lease", wish(Uuid::new_v4(), exact))
            .await
            .ok()
    })
    .await;
}

const ARGS: [&str; 4] = ["--host", "here", "--ports", "20000-29999"];

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_and_leaves_when_it_is_told_to() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let mut example = Example::start(&registry, 3_600);
    let (port, answer) = served(&caller).await;
    assert!(answer.ends_with("greeter.1 is here\n"), "{answer}");
    assert_eq!(listed(&caller).await.unwrap()["liveness"], "online");
    let call = caller.client.request(
        "onex.node.v1.tool.greet.greeter=2E1",
        r#"{"name":"Ada"}"#.into(),
    );
    assert_eq!(call.await.unwrap().payload, r#"{"greeting":"Hello, Ada!"}"#);
    let pid = Pid::from_raw(example.0.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(example.0.wait().unwrap().success());
    assert_eq!(ended(&caller).await, "deregistered");
    is_free(&caller, port).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_it_ends_by_itself() {
    let registry = Registry::start(&ARGS);
    let caller = Caller::of(&registry).await;
    let mut example = Example::start(&registry, 3);
    let (port, _) = served(&caller).await;
    example.0.kill().unwrap();
    assert_eq!(ended(&caller).await, "expired");
    is_free(&caller, port).await;
}
