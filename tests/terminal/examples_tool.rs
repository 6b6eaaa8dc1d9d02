//! The files of examples/ that serve a tool, with handlers that misbehave: docs/nodes.md says what is answered then.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::harness::{Nats, PATIENCE, ended, header_map, installed, root, until};
use async_nats::{Client, Message, Subscriber};
use futures::{FutureExt as _, StreamExt as _};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

const SUBJECT: &str = "work";
/// Calls that both files take at the same time.
const AT_ONCE: usize = 16;

/// A program that serves a tool, until it is dropped.
struct Served {
    child: Child,
    folder: TempDir,
    client: Client,
    /// Last, so that it outlives the program.
    nats: Nats,
}

impl Served {
    async fn python() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
        let mut command = Command::new(python);
        let paths = [installed("nats-py"), root().join("examples/python")];
        command
            .arg(root().join("tests/clients/misbehaves.py"))
            .env("PYTHONPATH", std::env::join_paths(paths).unwrap())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        Self::start(command, folder).await
    }

    async fn javascript() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A module is looked for beside the file that wants it.
        for file in [
            "tests/clients/misbehaves.mjs",
            "examples/javascript/tool.mjs",
        ] {
            let file = root().join(file);
            std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        let modules = folder.path().join("node_modules");
        std::os::unix::fs::symlink(installed("nats-js/node_modules"), modules).unwrap();
        let mut command = Command::new("node");
        command.arg(folder.path().join("misbehaves.mjs"));
        Self::start(command, folder).await
    }

    async fn start(mut command: Command, folder: TempDir) -> Self {
        let nats = Nats::start();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = command
            .args([&nats.url(), SUBJECT])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let client = async_nats::connect(nats.url()).await.unwrap();
        let served = Self {
            child,
            folder,
            client,
            nats,
        };
        served.is_free().await;
        served
    }

    async fn call(&self, how: &str) -> Message {
        let arguments = json!({"how": how}).to_string();
        let answer = self.client.request(SUBJECT, arguments.into());
        tokio::time::timeout(PATIENCE, answer)
            .await
            .unwrap()
            .unwrap()
    }

    /// Calls without waiting for answers, of which there should be none after that time.
    async fn send(&self, times: usize, how: &str, millis: &str, answers: &str) {
        for _ in 0..times {
            let headers = header_map(&[("Onex-Timeout-Ms", millis)]);
            let (to, body) = (answers.to_owned(), json!({"how": how}).to_string());
            let sent =
                self.client
                    .publish_with_reply_and_headers(SUBJECT, to, headers, body.into());
            sent.await.unwrap();
        }
    }

    async fn inbox(&self) -> (String, Subscriber) {
        let inbox = self.client.new_inbox();
        let answers = self.client.subscribe(inbox.clone()).await.unwrap();
        (inbox, answers)
    }

    /// Waits until it listens, and takes another call.
    async fn is_free(&self) {
        until("a call to be taken", async || {
            let arguments = json!({"how": "well"}).to_string();
            let answer = self.client.request(SUBJECT, arguments.into()).await.ok()?;
            (answer.headers.is_none() && body(&answer) == json!({"done": true})).then_some(())
        })
        .await;
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// SIGTERM, and it ends by itself.
    fn ends(&mut self) -> ExitStatus {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        ended(&mut self.child)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}\n---", self.nats.url(), self.said());
        }
    }
}

fn body(message: &Message) -> Value {
    serde_json::from_slice(&message.payload).unwrap()
}

/// The error, where it is that one.
#[track_caller]
fn error(answer: &Message, number: &str, code: &str, begun: bool) -> Value {
    let headers = answer.headers.as_ref().expect("it is an error");
    let header = |name: &str| headers.get(name).map(async_nats::HeaderValue::as_str);
    assert_eq!(header("Nats-Service-Error-Code"), Some(number));
    assert_eq!(header("Nats-Service-Error"), Some(code));
    assert_eq!(header("Onex-Executed"), (!begun).then_some("false"));
    let error = body(answer)["error"].take();
    assert_eq!(error["code"], code);
    error
}

async fn faults_are_told(served: &Served) {
    let wrong = error(&served.call("wrong").await, "502", "INVALID_RESULT", true);
    assert_eq!(wrong["retryable"], false);
    let violations = wrong["details"]["violations"].as_array().unwrap();
    assert_eq!(violations.len(), 1, "{wrong:#}");
    assert_eq!(violations[0]["pointer"], "/done");

    let huge = error(&served.call("huge").await, "413", "TOO_LARGE", true);
    let limit = served.client.server_info().max_payload;
    assert_eq!(huge["details"]["limit"], limit);

    for how in ["fails", "odd"] {
        let failed = error(&served.call(how).await, "500", "INTERNAL", true);
        assert!(!failed.to_string().contains("secret"), "{failed:#}");
    }
    // For who runs it, and not for who calls it.
    assert!(
        served.said().contains("a secret of ours"),
        "{}",
        served.said()
    );
    served.is_free().await;
}

/// Handlers that end when nobody waits any more make room for others, and nobody is answered.
async fn late_calls_make_room(served: &Served, room: usize) {
    let (inbox, mut answers) = served.inbox().await;
    served.send(room, "waits", "2000", &inbox).await;
    error(&served.call("well").await, "503", "BUSY", false);
    served.is_free().await;
    assert!(
        answers.next().now_or_never().is_none(),
        "nobody waited for that"
    );
}

/// What never ends is answered for when the program ends, which it does.
async fn what_never_ends_is_cut_off(mut served: Served) {
    let (inbox, mut answers) = served.inbox().await;
    served.send(1, "never", "600000", &inbox).await;
    served.is_free().await;
    assert!(answers.next().now_or_never().is_none(), "it is under way");
    let ends = tokio::task::spawn_blocking(move || (served.ends(), served));
    let (status, _served) = ends.await.unwrap();
    assert!(status.success(), "{status}");
    let stopped = tokio::time::timeout(PATIENCE, answers.next()).await;
    let stopped = stopped.unwrap().expect("it is told");
    let stopped = error(&stopped, "500", "INTERNAL", true);
    assert!(
        stopped["message"].as_str().unwrap().contains("was stopped"),
        "{stopped:#}"
    );
    assert!(answers.next().now_or_never().is_none(), "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn python_tells_what_a_handler_does_wrong() {
    let served = Served::python().await;
    faults_are_told(&served).await;
    late_calls_make_room(&served, AT_ONCE).await;
    what_never_ends_is_cut_off(served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_tells_what_a_handler_does_wrong() {
    let served = Served::javascript().await;
    faults_are_told(&served).await;
    late_calls_make_room(&served, AT_ONCE).await;
    // One that does not heed the signal keeps its place, when its time is long over as well.
    let served = Served::javascript().await;
    let keep = AT_ONCE - 2;
    let (inbox, _answers) = served.inbox().await;
    served.send(keep, "never", "1", &inbox).await;
    // Their time, a millisecond, has to be over for long.
    tokio::time::sleep(Duration::from_millis(100)).await;
    late_calls_make_room(&served, AT_ONCE - keep).await;
    what_never_ends_is_cut_off(served).await;
}
