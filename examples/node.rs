//! A node on the event bus, to be copied: it registers, leases a port, serves on it, stays alive, and leaves.
//!
//!     NATS_URL=nats://127.0.0.1:4222 cargo run --example node -- greeter
//!
//! Ctrl-C ends it. What it does in the background, and what you can rely on: `onex_registry::client::Node`.

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::Context as _;
use futures::StreamExt as _;
use onex_registry::{
    chain,
    client::{Client, Error, Life, Node},
    protocol::{names::Namespace, tool::Tool},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// What the tool takes. From these two types the registry gets its contract.
#[derive(Deserialize, JsonSchema)]
struct Greet {
    name: String,
}

/// What the tool gives.
#[derive(Serialize, JsonSchema)]
struct Greeting {
    greeting: String,
}

static GREETED: AtomicU64 = AtomicU64::new(0);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let stop = async {
        tokio::select! { _ = terminated.recv() => {} _ = tokio::signal::ctrl_c() => {} }
    };
    tokio::pin!(stop);
    let id = env::args().nth(1).unwrap_or_else(|| "greeter".to_owned());
    let url = env::var("NATS_URL").unwrap_or_else(|_| "nats://127.0.0.1:4222".to_owned());
    // It may be started before the bus is.
    let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
    let nats = options.connect(url).await?;
    let client = Client::new(nats.clone(), Namespace::default());

    let mut node = Node::builder(&id)
        .version("1.0.0")
        .description("Greets by name, and tells over HTTP that it is there.")
        .port("http", "http")
        .tool(Tool {
            idempotent: true,
            ..Tool::of::<Greet, Greeting>("greet", "1.0.0")?
        })
        .health(|| json!({"status": "ok", "greeted": GREETED.load(Ordering::Relaxed)}))
        // So many seconds the registry waits for it without a word before it gives the port to others.
        .ttl(env::var("ONEX_TTL").map_or(Ok(30), |seconds| seconds.parse())?);
    if let Ok(host) = env::var("ONEX_HOST") {
        node = node.host(&host); // where this machine's own name will not do
    }
    let node =
        tokio::select! { node = node.start(&client) => node?, () = &mut stop => return Ok(()) };
    let subject = node.tool_subject("greet").context("it has that tool")?;

    loop {
        // From here to the end of this life the port is ours. The next life may have another one.
        let life = tokio::select! {
            life = node.online() => match life {
                Ok(life) => life,
                // Another copy has taken over: there is nothing to do, and nothing failed.
                Err(why) => {
                    eprintln!("{}", chain(&why));
                    return Ok(());
                }
            },
            () = &mut stop => break,
        };
        let listener = match life.listen("http", [127, 0, 0, 1].into()).await {
            Err(Error::Over(_)) => continue,
            listener => listener?,
        };
        println!(
            "online: {id}, epoch {}, {}",
            life.epoch(),
            listener.local_addr()?
        );
        let calls = nats.subscribe(subject.clone()).await?;
        tokio::select! {
            () = serve(&listener, &life, &id) => {}
            () = greet(calls, &nats, &life) => {}
            why = life.over() => eprintln!("not served any more: {}", chain(&why)),
            () = &mut stop => break,
        }
    }
    // Nobody is served any more by now. If no answer comes, the node ends when its TTL has passed.
    if let Err(why) = node.deregister().await {
        eprintln!("left without a word: {}", chain(&why));
    }
    Ok(())
}

/// Answers each HTTP request with a line.
async fn serve(listener: &TcpListener, life: &Life, id: &str) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            continue;
        };
        let mut request = [0; 4096];
        let asked = stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0);
        // Looked at just before the answer: this program may have been stopped for a while.
        if asked && !life.remaining().is_zero() {
            let _ = stream
                .write_all(format!("HTTP/1.0 200 OK\r\n\r\n{id} is here\n").as_bytes())
                .await;
        }
    }
}

/// Takes the calls of the tool: arguments in, result out, or an error as NATS micro services say it.
async fn greet(mut calls: async_nats::Subscriber, nats: &async_nats::Client, life: &Life) {
    while let Some(call) = calls.next().await {
        let Some(reply) = call.reply.filter(|_| !life.remaining().is_zero()) else {
            continue;
        };
        let mut headers = async_nats::HeaderMap::new();
        let body = match serde_json::from_slice::<Greet>(&call.payload) {
            Ok(Greet { name }) => json!(Greeting {
                greeting: format!("Hello, {name}!")
            }),
            Err(error) => {
                headers.insert("Nats-Service-Error-Code", "400");
                headers.insert("Nats-Service-Error", error.to_string().as_str());
                json!(null)
            }
        };
        GREETED.fetch_add(u64::from(!body.is_null()), Ordering::Relaxed);
        let _ = nats
            .publish_with_headers(reply, headers, body.to_string().into())
            .await;
    }
}
