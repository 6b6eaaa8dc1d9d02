//! Lists that are watched: on a terminal, by programs, while registries come and go.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Instant,
};

use futures::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Caller, Nats, PATIENCE, Registry, ended, round_trip, terminal};

/// What came so far, and whether more can come.
#[derive(Default)]
struct Heard {
    text: Mutex<(String, bool)>,
    news: Condvar,
}

impl Heard {
    /// Reads all that comes, in the background.
    fn of(mut from: impl Read + Send + 'static) -> Arc<Self> {
        let heard = Arc::new(Self::default());
        let into = Arc::clone(&heard);
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            // Reading from a terminal whose other side is closed is an error.
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..count]);
                into.text.lock().unwrap().0 = String::from_utf8_lossy(&bytes).into_owned();
                into.news.notify_all();
            }
            into.text.lock().unwrap().1 = true;
            into.news.notify_all();
        });
        heard
    }

    /// Waits until all that came so far is as `wanted`.
    #[track_caller]
    fn until(&self, wanted: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        let mut guard = self.text.lock().unwrap();
        while !wanted(&guard.0) {
            let left = until.saturating_duration_since(Instant::now());
            if guard.1 || left.is_zero() {
                let text = guard.0.clone();
                drop(guard);
                panic!("waited in vain:\n{text}");
            }
            guard = self.news.wait_timeout(guard, left).unwrap().0;
        }
        guard.0.clone()
    }

    #[track_caller]
    fn lines(&self, count: usize) -> Vec<String> {
        let text = self.until(|text| text.matches('\n').count() >= count);
        text.lines().map(str::to_owned).collect()
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap().0.clone()
    }
}

/// A command that watches.
struct Watching {
    child: Child,
    stdout: Arc<Heard>,
    stderr: Arc<Heard>,
}

fn command(url: &str, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onex"));
    command
        .args(line.split_whitespace())
        .args(["--nats", url, "--timeout", "1s"])
        .env_clear()
        .env("HOME", "/")
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

impl Watching {
    fn start(url: &str, line: &str) -> Self {
        let mut child = command(url, line).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = Heard::of(child.stdout.take().unwrap());
        Self::of(child, stdout)
    }

    /// On a terminal of 80 columns.
    fn on_terminal(url: &str, line: &str, rows: u16) -> Self {
        let (ours, theirs) = terminal(80, rows);
        let child = command(url, line)
            .env("TERM", "xterm")
            .stdout(theirs)
            .spawn()
            .unwrap();
        Self::of(child, Heard::of(ours))
    }

    fn of(mut child: Child, stdout: Arc<Heard>) -> Self {
        let stderr = Heard::of(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// Sends a signal and waits for the exit code.
    fn ended_by(mut self, signal: Signal) -> Option<i32> {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        self.exit()
    }

    fn exit(&mut self) -> Option<i32> {
        ended(&mut self.child).code()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn register(caller: &Caller, node_id: &str) -> Value {
    let node = json!({"node_id": node_id, "version": "1.0.0", "node_type": "tool", "ttl": 600,
        "requester_id": Uuid::from_u128(1), "epoch": 1});
    caller.get("node.register", node).await
}

fn ids(line: &str) -> Vec<String> {
    let list: Value = serde_json::from_str(line).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| item["node_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_get_a_line_for_every_change() {
    let registry = Registry::start(&[]);
    let caller = Caller::of(&registry).await;
    register(&caller, "a").await;
    let watching = Watching::start(registry.url(), "node list --watch=100ms -o json");
    assert_eq!(ids(&watching.stdout.lines(1)[0]), ["a"]);
    // A heartbeat lengthens the time that is left, and that is no change.
    let requester = Uuid::from_u128(1);
    let heartbeat = json!({"node_id": "a", "requester_id": requester, "epoch": 1});
    caller.get("node.heartbeat", heartbeat).await;
    let asked = caller.client.subscribe(caller.subject("node.list")).await;
    asked.unwrap().take(4).collect::<Vec<_>>().await;
    assert_eq!(watching.stdout.so_far().lines().count(), 1);
    register(&caller, "b").await;
    assert_eq!(ids(&watching.stdout.lines(2)[1]), ["a", "b"]);
    let end = json!({"node_id": "a", "requester_id": requester, "epoch": 1});
    caller.get("node.deregister", end).await;
    let lines = watching.stdout.lines(3);
    let last: Value = serde_json::from_str(&lines[2]).unwrap();
    assert_eq!(last["items"][0]["liveness"], "ended");
    assert_eq!(watching.stderr.so_far(), "");
    assert_eq!(watching.ended_by(Signal::INT), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_can_be_watched_and_ends_where_an_empty_line_is() {
    let registry = Registry::start(&["--no-probe", "--host", "here"]);
    let caller = Caller::of(&registry).await;
    let url = registry.url();
    let every = [
        "port list --watch=100ms -o name",
        "port resolve api --watch=100ms -o name",
        "pool list --watch=100ms",
        "node list --watch=100ms -o name",
        "tool list --watch=100ms -o name",
        "bus list --watch=100ms -o name",
        "schema list --watch=100ms --kind tool -o name",
    ];
    let watching = every.map(|line| Watching::start(url, line));
    for watching in &watching {
        watching
            .stdout
            .until(|text| text == "\n" || text.ends_with("\n\n"));
    }
    let yaml = Watching::start(url, "node list --watch -o yaml");
    assert_eq!(yaml.stdout.lines(2)[..2], ["---", "items: []"]);
    let requester = Uuid::from_u128(1);
    let lease = json!({"requester_id": requester, "protocol": "http", "name": "api", "preferred_port": 20080});
    let lease = caller.get("port.lease", lease).await;
    let node = json!({"node_id": "a", "version": "1.0.0", "node_type": "tool", "requester_id": requester,
        "tools": [{"name": "add", "version": "1.0.0"}]});
    caller.get("node.register", node).await;
    let bus = json!({"bus_id": "bus", "protocol": "redis", "endpoint_uri": "redis://h:1/", "requester_id": requester});
    caller.get("bus.register", bus).await;
    let lease_id = lease["lease_id"].as_str().unwrap();
    let ends = [
        format!("\n{lease_id}\n\n"),
        "\nhere:20080\n\n".to_owned(),
        "  1     0        0            20000-29999\nhere  udp".to_owned(),
        "\na\n\n".to_owned(),
        "\nadd\n\n".to_owned(),
        "\nbus\n\n".to_owned(),
        "\nadd@1.0.0.input\nadd@1.0.0.output\n\n".to_owned(),
    ];
    for (watching, end) in watching.into_iter().zip(ends) {
        let text = watching.stdout.until(|text| text.contains(&end));
        assert!(text.ends_with("\n\n"), "{text:?}");
        assert_eq!(watching.stderr.so_far(), "");
        assert_eq!(watching.ended_by(Signal::TERM), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_goes_and_comes_back_is_waited_for() {
    let mut nats = Nats::start();
    let mut registry = Registry::on(&nats, &[]);
    let caller = Caller::connect(&nats.url()).await;
    register(&caller, "a").await;
    let watching = Watching::start(&nats.url(), "node list --watch=100ms -o name");
    let json = Watching::start(&nats.url(), "node list --watch=100ms -o json");
    assert_eq!(watching.stdout.lines(2), ["a", ""]);
    json.stdout.lines(1);

    registry.kill();
    let told = watching.stderr.lines(1);
    assert!(told[0].starts_with("onex: "), "{told:?}");
    let error = json
        .stderr
        .until(|text| serde_json::from_str::<Value>(text).is_ok());
    let error: Value = serde_json::from_str(&error).unwrap();
    assert_eq!(error["error"]["retryable"], true);
    let registry = Registry::on(&nats, &[]);
    register(&caller, "b").await;
    assert_eq!(watching.stdout.lines(5), ["a", "", "a", "b", ""]);
    json.stdout.lines(2);
    let without_a_registry = watching.stderr.so_far();
    let told = without_a_registry.matches("onex: ").count();
    assert!(
        (1..=2).contains(&told),
        "once a reason: {without_a_registry}"
    );

    // The server itself.
    nats.kill();
    watching
        .stderr
        .until(|text| text.matches("onex: ").count() > told);
    nats.start_again();
    let caller = Caller::connect(&nats.url()).await;
    drop(registry);
    let _registry = Registry::on(&nats, &[]);
    register(&caller, "c").await;
    assert_eq!(watching.stdout.lines(9)[5..], ["a", "b", "c", ""]);
    assert_eq!(watching.ended_by(Signal::INT), Some(0));
    assert_eq!(json.ended_by(Signal::INT), Some(0));
}

/// An instance that lags must not take back what another one has shown; but a store that was put back is no reason to
/// wait for what will never be.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_shown_is_the_least_that_the_next_answer_knows() {
    const REPLIES: [(Option<&str>, &str); 4] = [
        (None, r#"{"items":[],"revision":9}"#),
        (None, r#"{"items":[],"revision":11}"#),
        (
            Some("409"),
            r#"{"error":{"code":"STORE_CHANGED","message":"m","retryable":false,"retry_after_ms":null,
                "correlation_id":"c","details":{}}}"#,
        ),
        (
            None,
            r#"{"items":[{"kind":"tool","name":"x","title":"t"}],"revision":2}"#,
        ),
    ];
    let registry = Registry::start(&[]);
    let nats = async_nats::connect(registry.url()).await.unwrap();
    let subject = "onex.scripted.registry.v1.schema.list";
    let mut requests = nats.subscribe(subject).await.unwrap();
    round_trip(&nats).await;
    let line = "schema list --watch=100ms -o json --namespace scripted";
    let watching = Watching::start(registry.url(), line);
    let mut asked = Vec::new();
    for (number, reply) in REPLIES {
        let request = requests.next().await.unwrap();
        let body: Value = serde_json::from_slice(&request.payload).unwrap();
        asked.push(body["min_revision"].as_u64());
        let mut headers = async_nats::HeaderMap::new();
        if let Some(number) = number {
            headers.insert("Nats-Service-Error-Code", number);
        }
        let to = request.reply.unwrap();
        nats.publish_with_headers(to, headers, reply.into())
            .await
            .unwrap();
    }
    assert_eq!(asked, [None, Some(9), Some(11), None]);
    let lines = watching.stdout.lines(2);
    assert!(lines[1].contains("\"name\":\"x\""), "{lines:?}");
    assert_eq!(watching.stderr.so_far(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_shows_what_there_is_now() {
    const TOP: &str = "\u{1b}[H";
    let registry = Registry::start(&[]);
    let caller = Caller::of(&registry).await;
    register(&caller, "first").await;
    let watching = Watching::on_terminal(registry.url(), "node list --watch=100ms", 6);
    let text = watching.stdout.until(|text| text.matches(TOP).count() >= 3);
    let screens: Vec<&str> = text.split(TOP).collect();
    assert_eq!(
        screens[0].replace('\r', ""),
        "\n".repeat(6),
        "what was there is kept above"
    );
    assert!(
        screens[1].starts_with("NODE   TYPE  VERSION  STATE"),
        "{text:?}"
    );
    assert!(
        screens[2].contains("first  tool  1.0.0    online 9m"),
        "{text:?}"
    );
    assert!(!screens[2].contains("\r\n\r\n"), "{text:?}");
    for number in 0..9 {
        register(&caller, &format!("more-{number}")).await;
    }
    let is_last = |text: &str| text.split(TOP).last().unwrap().contains("… 7 more lines");
    let text = watching
        .stdout
        .until(|text| is_last(text) && text.ends_with("\u{1b}[J"));
    let screen = text.split(TOP).last().unwrap();
    assert!(
        screen.contains("more-1") && !screen.contains("more-2"),
        "{screen:?}"
    );
    assert_eq!(screen.matches('\n').count(), 5, "{screen:?}");
    assert_eq!(watching.ended_by(Signal::INT), Some(0));

    let stream = Watching::on_terminal(registry.url(), "node list --watch=100ms -o json", 6);
    let line = stream.stdout.until(|text| text.contains('\n'));
    assert!(!line.contains('\u{1b}'), "{line:?}");
    assert_eq!(stream.ended_by(Signal::TERM), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_ends_it() {
    let registry = Registry::start(&[]);
    let mut child = command(registry.url(), "pool list --watch=100ms")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("HOST"), "{line}");
    let nothing = Heard::of(std::io::empty());
    // Nothing changes any more, so nothing would be written that could fail.
    let mut watching = Watching::of(child, nothing);
    assert_eq!(watching.exit(), Some(0));
    assert_eq!(watching.stderr.so_far(), "");
}

#[test]
fn every_signal_that_ends_a_program_ends_a_watch_well() {
    let registry = Registry::start(&[]);
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let watching = Watching::start(registry.url(), "pool list --watch=100ms");
        watching.stdout.lines(1);
        assert_eq!(watching.ended_by(signal), Some(0), "{signal:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_at_all_is_no_watch() {
    let registry = Registry::start(&[]);
    let mut nobody = Watching::start("nats://127.0.0.1:1", "node list --watch");
    assert_eq!(nobody.exit(), Some(69));
    let mut other = Watching::start(registry.url(), "node list --watch --namespace other");
    assert_eq!(other.exit(), Some(69));
}
