//! A node on the event bus, to be copied: it registers, leases a port, serves on it, stays alive, and leaves.
//!
//!     NATS_URL=nats://127.0.0.1:4222 cargo run --example node -- greeter
//!
//! Ctrl-C ends it. What it does in the background, and what you can rely on: `onex_client::Node`.

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use onex_client::{
    Call, Client, Error, Failure, Life, Node, chain,
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
    /// How long to think first, in milliseconds.
    #[serde(default)]
    #[schemars(range(max = 60_000))]
    after_ms: u32,
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
    let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let url = set("NATS_URL").unwrap_or_else(|| "nats://127.0.0.1:4222".to_owned());
    // It may be started before the bus is.
    let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
    let nats = options.connect(url).await?;
    let client = Client::new(nats, Namespace::default());

    let mut node = Node::builder(&id)
        .version("1.0.0")
        .description("Greets by name, and tells over HTTP that it is there.")
        .port("http", "http")
        .serve(
            Tool {
                error_codes: vec!["NO_NAME".parse()?],
                idempotent: true,
                ..Tool::of::<Greet, Greeting>("greet", "1.0.0")?
            },
            greet,
        )
        .health(|| json!({"status": "ok", "greeted": GREETED.load(Ordering::Relaxed)}))
        // So many seconds the registry waits for it without a word before it gives the port to others.
        .ttl(set("ONEX_TTL").map_or(Ok(30), |seconds| seconds.parse())?);
    if let Some(host) = set("ONEX_HOST") {
        node = node.host(&host); // where this machine's own name will not do
    }
    let node =
        tokio::select! { node = node.start(&client) => node?, () = &mut stop => return Ok(()) };

    loop {
        // From here to the end of this life the port is ours. The next life may have another one.
        let life = tokio::select! {
            life = node.online() => match life {
                Ok(life) => life,
                // Another copy has taken over: there is nothing to do, and nothing failed.
                Err(why) => {
                    eprintln!("{}", chain(&why));
                    // Waits for calls that are under way; the rest is said.
                    let _ = node.deregister().await;
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
        tokio::select! {
            () = serve(&listener, &life, &id) => {}
            // A tenth of the TTL before our time is up: what uses the port has ended when it is.
            ending = life.ending() => eprintln!("not served any more: {}", chain(&ending.why)),
            () = &mut stop => break,
        }
    }
    // Nobody is served any more by now but the calls that are under way: they are waited for. If the registry does not
    // answer, the node ends when its TTL has passed.
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

/// One call of the tool. `call` has its ids, and how long its caller waits.
async fn greet(Greet { name, after_ms }: Greet, _call: Call) -> Result<Greeting, Failure> {
    tokio::time::sleep(Duration::from_millis(after_ms.into())).await; // as one that asks others would
    if name.trim().is_empty() {
        return Err(Failure::new("NO_NAME", "the name is blank"));
    }
    GREETED.fetch_add(1, Ordering::Relaxed);
    Ok(Greeting {
        greeting: format!("Hello, {name}!"),
    })
}
