//! The nodes of examples/, which users copy: the same cases for each language, against real servers.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Caller, Nats, PATIENCE, Registry, ended, header_map, installed, lease_request, root, until,
};
use async_nats::{HeaderMap, HeaderValue, Request, RequestErrorKind};
use futures::{FutureExt as _, StreamExt as _};
use onex_registry::protocol::error::ErrorCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

/// All cases for an example. One in another language takes a node's id as its argument and `NATS_URL`,
/// `ONEX_HOST` and `ONEX_TTL` from its environment, offers the tool `greet`, and answers HTTP with its id.
macro_rules! cases {
    ($($language:ident = $variant:expr;)+) => {$(
        mod $language {
            use super::*;

            cases!(@ $variant => serves_and_leaves is_killed_and_starts_again takes_the_place_of_its_last_start
                outlives_a_registry outlives_a_nats_server stops_in_time_when_nobody_answers
                closes_connections_before_its_time_is_up
                serves_nobody_after_a_pause steps_aside_for_a_higher_epoch takes_another_port_when_one_is_in_use
                waits_for_a_registry says_what_is_wrong refuses_what_is_not_in_the_contract
                refuses_one_call_too_many answers_what_is_under_way_when_it_ends);
        }
    )+};
    (@ $variant:expr => $($case:ident)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $case() {
            super::$case($variant).await;
        }
    )+};
}

cases! {
    python = Language::Python;
    javascript = Language::JavaScript;
    rust = Language::Rust;
}

#[derive(Debug, Clone, Copy)]
enum Language {
    Python,
    JavaScript,
    Rust,
}

impl Language {
    /// What runs the node that is to be copied; `folder` is there for it to use.
    fn node(self, folder: &Path) -> Command {
        match self {
            Self::Python => self.command(folder, "node.py"),
            Self::JavaScript => self.command(folder, "node.mjs"),
            Self::Rust => self.command(folder, "node"),
        }
    }

    /// What runs a script of that language's examples.
    fn command(self, folder: &Path, script: &str) -> Command {
        let root = root();
        match self {
            Self::Python => {
                let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
                let mut command = Command::new(python);
                command
                    .arg(root.join("examples/python").join(script))
                    .env("PYTHONPATH", installed("nats-py"))
                    .env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
            Self::JavaScript => {
                // A module is looked for beside the file that wants it.
                for file in [script, "tool.mjs"] {
                    let original = root.join("examples/javascript").join(file);
                    std::fs::copy(original, folder.join(file)).unwrap();
                }
                let script = folder.join(script);
                let modules = folder.join("node_modules");
                if !modules.exists() {
                    std::os::unix::fs::symlink(installed("nats-js/node_modules"), modules).unwrap();
                }
                let mut command = Command::new("node");
                command.arg(script);
                command
            }
            // Cargo builds examples before it runs tests, beside the program.
            Self::Rust => {
                let programs = Path::new(env!("CARGO_BIN_EXE_onex")).parent().unwrap();
                let program = programs.join("examples").join(script);
                let shown = program.display();
                assert!(
                    program.exists(),
                    "{shown} is missing; `cargo build --examples` makes it"
                );
                Command::new(program)
            }
        }
    }
}

/// An example that runs.
struct Example {
    child: Child,
    folder: TempDir,
}

impl Example {
    fn start(language: Language, url: &str, id: &str, ttl: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = language
            .node(folder.path())
            .arg(id)
            .env("NATS_URL", url)
            .env("ONEX_HOST", "here")
            .env("ONEX_TTL", ttl.to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// SIGKILL, and it is gone.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends by itself.
    fn ended(&mut self) -> ExitStatus {
        ended(&mut self.child)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the example said:\n{}\n---", self.said());
        }
    }
}

/// A NATS server, a registry that probes, and who looks at both.
struct Bus {
    registry: Registry,
    caller: Caller,
    /// Last, so that it outlives its registry.
    nats: Nats,
}

const ARGS: [&str; 4] = ["--host", "here", "--ports", "20000-29999"];

impl Bus {
    async fn start() -> Self {
        let nats = Nats::start();
        let registry = Registry::on(&nats, &ARGS);
        let caller = Caller::of(&registry).await;
        Self {
            registry,
            caller,
            nats,
        }
    }

    async fn restart_registry(&mut self) {
        self.registry = Registry::on(&self.nats, &ARGS);
        self.caller.await_answer().await;
    }

    /// What the list of nodes says of `id`; nothing while nobody answers.
    async fn listed(&self, id: &str) -> Option<Value> {
        let nodes = self.caller.ask("node.list", json!({})).await.ok()?;
        let nodes = nodes["items"].as_array().unwrap();
        nodes.iter().find(|node| node["node_id"] == id).cloned()
    }

    /// Waits until `id` is online in that epoch or a later one, says where it listens, and answers there.
    async fn online(&self, id: &str, epoch: u64) -> Online {
        until("the node to be online and to answer", async || {
            let node = self.listed(id).await?;
            if node["liveness"] != "online" || node["epoch"].as_u64() < Some(epoch) {
                return None;
            }
            let described = self
                .caller
                .ask("describe", json!({"node_id": id}))
                .await
                .ok()?;
            let port = described["ports"]["inbound"][0]["port"].as_u64()?;
            let port = u16::try_from(port).unwrap();
            let epoch = described["node"]["epoch"].as_u64().unwrap();
            let online = Online {
                described,
                port,
                epoch,
            };
            (get(port).await? == said_by(id)).then_some(online)
        })
        .await
    }

    /// Waits for a heartbeat that came after this.
    async fn heartbeat(&self, id: &str) {
        let last = async || {
            let asked = json!({"node_id": id, "sections": ["node"]});
            let described = self.caller.ask("describe", asked).await.ok()?;
            described["node"]["last_heartbeat_at"]
                .as_str()
                .map(str::to_owned)
        };
        let before = until("the time of a heartbeat", last).await;
        until("another heartbeat", async || {
            last().await.filter(|now| *now != before)
        })
        .await;
    }

    /// Waits until the node has ended, and says how.
    async fn ended(&self, id: &str) -> String {
        until("the end of the node", async || {
            let node = self.listed(id).await?;
            (node["liveness"] == "ended").then(|| node["ended"].as_str().unwrap().to_owned())
        })
        .await
    }

    /// Waits until somebody else gets exactly that port; the registry has bound it then.
    async fn is_free(&self, port: u16) {
        let requester = Uuid::new_v4();
        let exact = json!({"preferred_port": port, "exact": true});
        // What ended with a node is ended one by one.
        let lease = until("the port to be free", async || {
            let lease_request = lease_request(requester, exact.clone());
            match self.caller.ask("port.lease", lease_request).await {
                Ok(lease) => Some(lease),
                Err(refused) => {
                    let passes = refused.retryable() || refused.detail("state") == "held";
                    assert!(passes, "{:#}", refused.error);
                    None
                }
            }
        })
        .await;
        assert_eq!(lease["availability"], "verified", "{lease:#}");
        let mine = json!({"requester_id": requester, "lease_id": lease["lease_id"]});
        self.caller.get("port.release", mine).await;
    }
}

struct Online {
    described: Value,
    port: u16,
    epoch: u64,
}

fn said_by(id: &str) -> String {
    format!("{id} is here\n")
}

/// The body of what is answered there; nothing where nobody listens or answers.
async fn get(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
    read(&mut stream).await
}

async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut text)).await;
    read.expect("it neither answers nor hangs up").ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    assert!(head.contains(" 200 OK"), "{text}");
    Some(body.to_owned())
}

/// A node of its own for each test: what answers HTTP there is not taken for another test's.
fn new_id() -> String {
    format!("greeter.{}", Uuid::new_v4().simple())
}

async fn serves_and_leaves(language: Language) {
    let bus = Bus::start().await;
    let id = new_id();
    let mut example = Example::start(language, &bus.nats.url(), &id, 3);
    let online = bus.online(&id, 1).await;
    let leases = online.described["ports"]["leases"].as_array().unwrap();
    assert_eq!(leases.len(), 1, "{:#}", online.described);
    assert_eq!(
        leases[0]["lease_id"], online.described["ports"]["inbound"][0]["lease_id"],
        "{:#}",
        online.described
    );

    // Whoever looks for the port's holder finds the process.
    let holder = &leases[0]["holder"];
    assert_eq!(holder["pid"], example.child.id(), "{holder:#}");
    for member in ["user", "host", "command"] {
        assert!(holder[member].is_string(), "{member}: {holder:#}");
    }

    let tools = bus.caller.get("tool.list", json!({"node_id": id})).await;
    assert_eq!(tools["items"][0]["name"], "greet", "{tools:#}");
    let tool = bus
        .caller
        .get("tool.describe", json!({"name": "greet"}))
        .await;
    assert_eq!(
        tool["contract"]["input_schema"]["required"],
        json!(["name"]),
        "{tool:#}"
    );
    // Where the registry says that the tool listens, it listens.
    let subject = tool["providers"][0]["subject"].as_str().unwrap().to_owned();
    let call =
        |arguments: &'static str| bus.caller.client.request(subject.clone(), arguments.into());
    let reply = call(r#"{"name": "Ada"}"#).await.unwrap();
    let reply: Value = serde_json::from_slice(&reply.payload).unwrap();
    assert_eq!(reply, json!({"greeting": "Hello, Ada!"}));
    for wrong in ["", "[]", "{}", r#"{"name": 1}"#] {
        let refused = call(wrong).await.unwrap();
        let headers = refused.headers.expect(wrong);
        assert_eq!(
            headers.get("Nats-Service-Error-Code").unwrap().as_str(),
            "400",
            "{wrong}"
        );
    }

    // What it says of its health is of now.
    until("its health to tell of the greeting", async || {
        let asked = json!({"node_id": id, "sections": ["node"]});
        let described = bus.caller.get("describe", asked).await;
        let health = &described["node"]["health"];
        (*health == json!({"status": "ok", "greeted": 1})).then_some(())
    })
    .await;

    example.signal(Signal::TERM);
    let status = example.ended();
    assert!(status.success(), "{status}");
    assert_eq!(bus.ended(&id).await, "deregistered");
    let tools = bus.caller.get("tool.list", json!({})).await;
    assert_eq!(tools["items"], json!([]), "{tools:#}");
    let leases = bus.caller.get("port.list", json!({})).await;
    assert_eq!(leases["items"], json!([]), "{leases:#}");
    bus.is_free(online.port).await;
}

async fn is_killed_and_starts_again(language: Language) {
    let bus = Bus::start().await;
    let id = new_id();
    let mut example = Example::start(language, &bus.nats.url(), &id, 3);
    let online = bus.online(&id, 1).await;
    example.kill();
    assert_eq!(bus.ended(&id).await, "expired");
    bus.is_free(online.port).await;
    let mut example = Example::start(language, &bus.nats.url(), &id, 3);
    assert_eq!(bus.online(&id, 2).await.epoch, 2);
    // Ctrl-C does as SIGTERM.
    example.signal(Signal::INT);
    let status = example.ended();
    assert!(status.success(), "{status}");
    assert_eq!(bus.ended(&id).await, "deregistered");
}

/// It need not wait until the time of the one that was killed has run out.
async fn takes_the_place_of_its_last_start(language: Language) {
    let bus = Bus::start().await;
    let id = new_id();
    let an_hour = 3600;
    let mut example = Example::start(language, &bus.nats.url(), &id, an_hour);
    let first = bus.online(&id, 1).await;
    example.kill();
    let _example = Example::start(language, &bus.nats.url(), &id, an_hour);
    let second = bus.online(&id, 2).await;
    assert_ne!(
        first.port, second.port,
        "nobody knows that the first has stopped"
    );
    assert_eq!(second.described["ports"]["lease_count"], 1);
}

async fn outlives_a_registry(language: Language) {
    let mut bus = Bus::start().await;
    let id = new_id();
    let _example = Example::start(language, &bus.nats.url(), &id, 12);
    let before = bus.online(&id, 1).await;
    bus.registry.kill();
    bus.restart_registry().await;
    bus.heartbeat(&id).await;
    let after = bus.online(&id, 1).await;
    assert_eq!((after.epoch, after.port), (before.epoch, before.port));
}

async fn outlives_a_nats_server(language: Language) {
    let mut bus = Bus::start().await;
    let id = new_id();
    let _example = Example::start(language, &bus.nats.url(), &id, 12);
    bus.online(&id, 1).await;
    bus.nats.kill();
    bus.nats.start_again();
    bus.caller.await_answer().await;
    bus.online(&id, 1).await;
    bus.heartbeat(&id).await;
    bus.online(&id, 1).await;
}

/// The registry is away for longer than the TTL: the node stops before its time is up, and comes back.
async fn stops_in_time_when_nobody_answers(language: Language) {
    let mut bus = Bus::start().await;
    let id = new_id();
    let ttl = Duration::from_secs(3);
    let _example = Example::start(language, &bus.nats.url(), &id, ttl.as_secs());
    let online = bus.online(&id, 1).await;
    bus.registry.kill();
    // What was renewed last was asked for before this.
    let gone = Instant::now();
    while get(online.port).await.is_some() {
        // The question is put after this: an answer is from later still.
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(gone.elapsed() < ttl, "it still answers");
    }
    bus.restart_registry().await;
    if let Language::Rust = language {
        // It asks whether its life goes on after all, and nobody has ended that.
        let again = bus.online(&id, 1).await;
        assert_eq!(online.port, again.port);
    } else {
        let again = bus.online(&id, 2).await;
        assert_ne!(
            online.port, again.port,
            "the registry cannot know that the node stopped"
        );
    }
}

/// A connection uses the port as well, also one on which nothing was asked yet.
async fn closes_connections_before_its_time_is_up(language: Language) {
    let mut bus = Bus::start().await;
    let id = new_id();
    let ttl = Duration::from_secs(3);
    let _example = Example::start(language, &bus.nats.url(), &id, ttl.as_secs());
    let online = bus.online(&id, 1).await;
    let mut idle = TcpStream::connect(("127.0.0.1", online.port))
        .await
        .unwrap();
    bus.registry.kill();
    let gone = Instant::now();
    let read = tokio::time::timeout(PATIENCE, idle.read_u8()).await;
    read.expect("it stays open").unwrap_err();
    assert!(gone.elapsed() < ttl, "{:?}", gone.elapsed());
}

/// It is paused for longer than its TTL, and the request came meanwhile: the answer would be another's to give.
async fn serves_nobody_after_a_pause(language: Language) {
    let bus = Bus::start().await;
    let id = new_id();
    let example = Example::start(language, &bus.nats.url(), &id, 3);
    let online = bus.online(&id, 1).await;
    example.signal(Signal::STOP);
    assert_eq!(bus.ended(&id).await, "expired");
    // The kernel accepts for it.
    let mut stream = TcpStream::connect(("127.0.0.1", online.port))
        .await
        .unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    example.signal(Signal::CONT);
    assert_eq!(read(&mut stream).await, None);
    assert_eq!(bus.online(&id, 2).await.epoch, 2);
}

async fn steps_aside_for_a_higher_epoch(language: Language) {
    let bus = Bus::start().await;
    let id = new_id();
    let mut first = Example::start(language, &bus.nats.url(), &id, 6);
    let old = bus.online(&id, 1).await;
    let _second = Example::start(language, &bus.nats.url(), &id, 6);
    let new = bus.online(&id, 2).await;
    assert_ne!(old.port, new.port);
    let status = first.ended();
    assert!(status.success(), "nothing failed: {status}");
    assert!(first.said().contains("SUPERSEDED"), "{}", first.said());
    assert_eq!(get(old.port).await, None);
    bus.heartbeat(&id).await;
    assert_eq!(bus.online(&id, 2).await.port, new.port);
}

/// Ports with programs that never asked, and a registry that does not look. In the end one program is gone.
async fn takes_another_port_when_one_is_in_use(language: Language) {
    let mut taken = eight_taken_ports();
    let port_of = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let (first, last) = (port_of(&taken[0]), port_of(&taken[7]));
    let range = format!("{first}-{last}");
    let nats = Nats::start();
    let registry = Registry::on(&nats, &["--host", "here", "--no-probe", "--ports", &range]);
    let caller = Caller::of(&registry).await;
    let bus = Bus {
        registry,
        caller,
        nats,
    };
    let id = new_id();
    let _example = Example::start(language, &bus.nats.url(), &id, 30);
    let leases = async || {
        let leases = bus.caller.get("port.list", json!({})).await;
        leases["items"].as_array().unwrap().len()
    };
    until("a port that is in use to be leased", async || {
        (leases().await == 1).then_some(())
    })
    .await;
    taken.pop();
    assert_eq!(bus.online(&id, 1).await.port, last);
    assert_eq!(leases().await, 1);
}

/// Listeners on eight neighbouring ports.
fn eight_taken_ports() -> Vec<TcpListener> {
    let start = 30_000 + u16::try_from(Uuid::new_v4().as_u128() % 200).unwrap() * 8;
    (start..32_000)
        .step_by(8)
        .find_map(|first| {
            let bind = |port: u16| TcpListener::bind(("127.0.0.1", port)).ok();
            (first..first + 8).map(bind).collect::<Option<Vec<_>>>()
        })
        .expect("eight free ports")
}

/// It may be started before the registry, and before the bus.
async fn waits_for_a_registry(language: Language) {
    let mut nats = Nats::start();
    let url = nats.url();
    nats.kill();
    let id = new_id();
    let _example = Example::start(language, &url, &id, 30);
    nats.start_again();
    let registry = Registry::on(&nats, &ARGS);
    let caller = Caller::of(&registry).await;
    let bus = Bus {
        registry,
        caller,
        nats,
    };
    bus.online(&id, 1).await;
}

/// What cannot be mended by asking again ends it, with the reason.
async fn says_what_is_wrong(language: Language) {
    let bus = Bus::start().await;
    let mut example = Example::start(language, &bus.nats.url(), &new_id(), 86_401);
    let status = example.ended();
    assert_eq!(status.code(), Some(1), "{status}");
    let said = example.said();
    assert!(said.contains(ErrorCode::InvalidRequest.as_str()), "{said}");
    assert!(said.contains("/ttl"), "it says which field: {said}");
}

/// What came of a call.
#[derive(Debug)]
struct Answer {
    headers: HeaderMap,
    body: Value,
}

impl Bus {
    /// Calls the tool of that node, with these headers.
    async fn call(&self, id: &str, headers: &[(&str, &str)], arguments: impl ToString) -> Answer {
        let request = Request::new()
            .headers(header_map(headers))
            .payload(arguments.to_string().into())
            .timeout(Some(PATIENCE));
        let client = &self.caller.client;
        let message = client.send_request(subject_of(id), request).await.unwrap();
        Answer {
            headers: message.headers.unwrap_or_default(),
            body: serde_json::from_slice(&message.payload).unwrap(),
        }
    }
}

/// Where that node takes calls of its tool.
fn subject_of(id: &str) -> String {
    format!("onex.node.v1.tool.greet.{}", id.replace('.', "=2E"))
}

impl Answer {
    /// The error, where it is that one; `begun` says whether the tool may have done something.
    #[track_caller]
    fn error(&self, number: &str, code: &str, begun: bool) -> &Value {
        let header = |name: &str| self.headers.get(name).map(HeaderValue::as_str);
        let said = (
            header("Nats-Service-Error-Code"),
            header("Nats-Service-Error"),
            header("Onex-Executed"),
        );
        let executed = (!begun).then_some("false");
        assert_eq!(said, (Some(number), Some(code), executed), "{self:?}");
        let error = &self.body["error"];
        assert_eq!(error["code"], code, "{error:#}");
        assert!(error["message"].is_string(), "{error:#}");
        error
    }
}

async fn refuses_what_is_not_in_the_contract(language: Language) {
    let bus = Bus::start().await;
    let id = new_id();
    let _example = Example::start(language, &bus.nats.url(), &id, 30);
    bus.online(&id, 1).await;
    // Both faults at once, each with its place.
    let known = [("Onex-Correlation-Id", "c-1")];
    let wrong = bus
        .call(&id, &known, r#"{"name": 1, "after_ms": -1}"#)
        .await;
    let error = wrong.error("400", "INVALID_ARGUMENTS", false);
    assert_eq!(error["retryable"], false);
    assert_eq!(error["correlation_id"], "c-1");
    let violations = error["details"]["violations"].as_array().unwrap();
    let mut places: Vec<_> = violations
        .iter()
        .map(|one| one["pointer"].as_str())
        .collect();
    places.sort_unstable();
    assert_eq!(places, [Some("/after_ms"), Some("/name")], "{error:#}");
    for wrong in [
        r#"{"name": "Ada", "after_ms": 1.5}"#,
        r#"{"name": "Ada", "after_ms": true}"#,
        r#"{"name": "Ada", "after_ms": 60001}"#,
        r#"{"name": "#,
        "[]",
    ] {
        let refused = bus.call(&id, &[], wrong).await;
        refused.error("400", "INVALID_ARGUMENTS", false);
    }
    let blank = bus.call(&id, &[], r#"{"name": " "}"#).await;
    assert_eq!(blank.error("422", "NO_NAME", true)["retryable"], false);
    let other = [("Onex-Tool-Version", "2.0.0")];
    let refused = bus.call(&id, &other, r#"{"name": "Ada"}"#).await;
    refused.error("503", "TOOL_NOT_FOUND", false);
    let named = [("Onex-Tool-Version", "1.0.0"), ("Onex-Timeout-Ms", "30000")];
    let greeted = bus
        .call(&id, &named, r#"{"name": "Ada", "after_ms": 1.0}"#)
        .await;
    assert_eq!(greeted.body, json!({"greeting": "Hello, Ada!"}));
    // What cannot be told is not done, and nobody who has given up is answered.
    let subject = subject_of(&id);
    let client = &bus.caller.client;
    let body = r#"{"name": "Ada"}"#;
    client.publish(subject.clone(), body.into()).await.unwrap();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    let late = header_map(&[("Onex-Timeout-Ms", "100")]);
    let slow = r#"{"name": "Ada", "after_ms": 300}"#;
    let sent = client.publish_with_reply_and_headers(subject, inbox, late, slow.into());
    sent.await.unwrap();
    let answer = tokio::time::timeout(Duration::from_millis(600), answers.next()).await;
    assert!(answer.is_err(), "{answer:?}");
    let greeted = bus.call(&id, &[], body).await;
    assert_eq!(greeted.body, json!({"greeting": "Hello, Ada!"}));
}

async fn refuses_one_call_too_many(language: Language) {
    let bus = Bus::start().await;
    let id = new_id();
    let _example = Example::start(language, &bus.nats.url(), &id, 30);
    bus.online(&id, 1).await;
    let client = &bus.caller.client;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    let slow = r#"{"name": "Ada", "after_ms": 60000}"#;
    for _ in 0..16 {
        let sent = client.publish_with_reply(subject_of(&id), inbox.clone(), slow.into());
        sent.await.unwrap();
    }
    // It comes behind them, and is not made to wait.
    let refused = bus.call(&id, &[], r#"{"name": "Ada"}"#).await;
    let error = refused.error("503", "BUSY", false);
    assert_eq!(error["retryable"], true);
    assert!(answers.next().now_or_never().is_none(), "the others go on");
}

/// It is told to end while a call is under way, for longer than it lives without a heartbeat.
async fn answers_what_is_under_way_when_it_ends(language: Language) {
    let bus = Bus::start().await;
    let id = new_id();
    let mut example = Example::start(language, &bus.nats.url(), &id, 3);
    bus.online(&id, 1).await;
    let client = &bus.caller.client;
    let subject = subject_of(&id);
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    let slow = r#"{"name": "Ada", "after_ms": 5000}"#;
    let sent = client.publish_with_reply(subject.clone(), inbox, slow.into());
    sent.await.unwrap();
    // That one is there when a later one has been answered.
    let greeted = bus.call(&id, &[], r#"{"name": "Bob"}"#).await;
    assert_eq!(greeted.body, json!({"greeting": "Hello, Bob!"}));
    example.signal(Signal::TERM);
    let greeted = tokio::time::timeout(PATIENCE, answers.next())
        .await
        .unwrap();
    let greeted: Value = serde_json::from_slice(&greeted.unwrap().payload).unwrap();
    assert_eq!(greeted, json!({"greeting": "Hello, Ada!"}));
    let status = example.ended();
    assert!(status.success(), "{status}");
    assert_eq!(bus.ended(&id).await, "deregistered");
    let error = client.request(subject, "{}".into()).await.unwrap_err();
    assert_eq!(error.kind(), RequestErrorKind::NoResponders);
}

/// It is one tool, whoever offers it.
#[tokio::test(flavor = "multi_thread")]
async fn the_examples_offer_one_contract() {
    let bus = Bus::start().await;
    let languages = [Language::Python, Language::JavaScript, Language::Rust];
    let url = bus.nats.url();
    let _examples = languages.map(|language| Example::start(language, &url, &new_id(), 30));
    until("three providers of one contract", async || {
        let tools = bus.caller.get("tool.list", json!({})).await;
        let tool = &tools["items"][0];
        assert_ne!(tool["collision"], true, "{tool:#}");
        (tool["providers"] == 3).then_some(())
    })
    .await;
}

/// A port for a test, given back when the test is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_for_a_test_is_given_back() {
    let bus = Bus::start().await;
    for (language, script) in [
        (Language::Python, "port_for_a_test.py"),
        (Language::JavaScript, "port-for-a-test.mjs"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = language
            .command(folder.path(), script)
            .env("NATS_URL", bus.nats.url())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{language:?}: {wrong}");
        let port = said.trim().strip_prefix("the test runs on port ").unwrap();
        bus.is_free(port.parse().unwrap()).await;
        let leases = bus.caller.get("port.list", json!({})).await;
        assert_eq!(leases["items"], json!([]), "{language:?}: {leases:#}");
    }
}

/// Words for no leave it on, as in every program of ours; and a script that comes over stdin has no name.
#[tokio::test(flavor = "multi_thread")]
async fn examples_say_who_holds_a_port_unless_that_is_turned_off() {
    let bus = Bus::start().await;
    for (language, script) in [
        (Language::Python, "port_for_a_test.py"),
        (Language::JavaScript, "port-for-a-test.mjs"),
    ] {
        for (off, from_stdin, says) in [
            ("", false, true),
            ("No", false, true),
            ("off", true, true),
            ("1", false, false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let mut command = language.command(folder.path(), script);
            if from_stdin {
                let file = command.get_args().next().unwrap().to_owned();
                let variables: Vec<_> = command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
                    .collect();
                let program = command.get_program().to_owned();
                command = Command::new(program);
                command.envs(variables).current_dir(folder.path());
                if matches!(language, Language::JavaScript) {
                    command.arg("--input-type=module");
                }
                command.stdin(std::fs::File::open(file).unwrap());
            }
            command
                .env("NATS_URL", bus.nats.url())
                .env("ONEX_NO_HOLDER", off);
            let output = command.output().unwrap();
            let wrong = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{language:?} {off:?}: {wrong}");
            let said = String::from_utf8_lossy(&output.stdout);
            let port = said.trim().strip_prefix("the test runs on port ").unwrap();
            let port: u16 = port.parse().unwrap();
            let explained = bus.caller.see("port.explain", json!({"port": port})).await;
            let holder = &explained["last"]["holder"];
            assert_eq!(
                holder["pid"].is_u64(),
                says,
                "{language:?} {off:?}: {explained:#}"
            );
        }
    }
}

/// What the guide shows is what the examples do, line by line.
#[test]
fn the_guide_shows_the_examples() {
    let root = root();
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let lines = |text: &str| -> String {
        let trimmed: Vec<&str> = text.lines().map(str::trim).collect();
        format!("\n{}\n", trimmed.join("\n"))
    };
    let guide = read("docs/nodes.md");
    let fenced: Vec<&str> = guide.split("\n```").collect();
    for (tag, files) in SHOWN {
        let sources: String = files.iter().map(|file| lines(&read(file))).collect();
        let blocks = fenced
            .iter()
            .filter_map(|block| block.strip_prefix(tag)?.strip_prefix('\n'));
        let mut shown = 0;
        for block in blocks {
            shown += 1;
            assert!(
                sources.contains(&lines(block)),
                "not in {files:?}:\n{block}"
            );
        }
        assert!(shown > 2, "the guide shows {shown} pieces in {tag}");
    }
}

/// What the guide shows of a terminal is what comes.
#[tokio::test(flavor = "multi_thread")]
async fn the_guide_shows_what_comes() {
    let bus = Bus::start().await;
    let _example = Example::start(Language::Python, &bus.nats.url(), "greeter", 30);
    bus.online("greeter", 1).await;
    let guide = root().join("docs/nodes.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, section) = guide.split_once("## Looking at it").unwrap();
    let (_, me) = section.split_once("$ ME=").unwrap();
    let me = me.lines().next().unwrap();
    let mut shown = 0;
    for step in section.split("    $ nats req --raw ").skip(1) {
        let (command, rest) = step.split_once("'\n").unwrap();
        let (subject, body) = command.split_once(" '").unwrap();
        let body = body.replace("'$ME'", me);
        let request = bus.caller.client.request(subject.to_owned(), body.into());
        let reply = request.await.unwrap();
        let came = steady(std::str::from_utf8(&reply.payload).unwrap());
        let told = steady(rest.split("\n\n").next().unwrap());
        assert!(is_shortened(&told, &came), "{command}:\n{told}\n{came}");
        shown += 1;
    }
    assert_eq!(shown, 7);
}

/// Whether `told` is all of `text` but for what `…` stands for.
fn is_shortened(told: &str, text: &str) -> bool {
    let Some((first, others)) = told.split_once('…') else {
        return told == text;
    };
    let behind = text.strip_prefix(first).map(|behind| match others {
        "" => true,
        _ => behind
            .char_indices()
            .any(|(at, _)| is_shortened(others, &behind[at..])),
    });
    behind.unwrap_or(false)
}

/// JSON without white space, with what is another at each run in other words: numbers, ids, times, the host.
fn steady(json: &str) -> String {
    let mut steady = String::new();
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let (text, behind) = rest[1..].split_once('"').unwrap();
            let host = [r#""host":"#, r#""verified_on":"#].map(|name| steady.ends_with(name));
            let word = match text {
                _ if host.contains(&true) => "HOST",
                text if text.parse::<Uuid>().is_ok() => "UUID",
                text if text.parse::<jiff::Timestamp>().is_ok() => "TIME",
                text => text,
            };
            steady = format!("{steady}\"{word}\"");
            rest = behind;
        } else if first.is_ascii_digit() {
            steady.push('N');
            rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        } else {
            steady.extend(Some(first).filter(|c| !c.is_whitespace()));
            rest = &rest[first.len_utf8()..];
        }
    }
    steady
}

/// By the tag of a block of code: where it is from.
const SHOWN: [(&str, &[&str]); 3] = [
    ("rust", &["examples/node.rs"]),
    (
        "python",
        &[
            "examples/python/node.py",
            "examples/python/tool.py",
            "examples/python/port_for_a_test.py",
        ],
    ),
    (
        "js",
        &[
            "examples/javascript/node.mjs",
            "examples/javascript/tool.mjs",
            "examples/javascript/port-for-a-test.mjs",
        ],
    ),
];
