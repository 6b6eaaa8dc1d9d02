//! `onex run` with real programs: an HTTP server, one that forks, one that does not heed SIGTERM.

// The lints' exception for tests does not reach the helpers of one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};

use harness::{Caller, PATIENCE, Registry, until};

mod harness;

/// A program that says when it is ready, and then does nothing until it is told to end.
const READY_AND_WAITING: &str = "echo ready; while :; do sleep 0.05; done";

/// An `onex run` under way, of a user with a home folder.
struct Run {
    child: Child,
    out: BufReader<ChildStdout>,
    _home: tempfile::TempDir,
}

impl Run {
    /// `onex run` with `flags`, and a shell that runs `script`.
    fn start(registry: &Registry, flags: &str, script: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut child = command(registry.url(), home.path())
            .args(flags.split_whitespace())
            .args(["--", "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            out,
            _home: home,
        }
    }

    /// The next line that the command prints.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// How it ended, and what it said on stderr.
    fn ended(mut self) -> (ExitStatus, String) {
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if since.elapsed() > PATIENCE {
                self.child.kill().unwrap();
                panic!("it does not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut said = String::new();
        // What the command left behind may hold the pipe: then there is a fault, and the test hangs no longer
        // than that process lives.
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        (status, said)
    }

    #[track_caller]
    fn exits(self, code: i32) -> String {
        let (status, said) = self.ended();
        assert_eq!(status.code(), Some(code), "{status:?}: {said}");
        said
    }
}

fn command(url: &str, home: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onex"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home)
        .env("NATS_URL", url)
        .arg("run");
    command
}

/// Whether a process of that id is there and has not ended.
fn lives(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    let zombie = status.is_ok_and(|stat| stat.contains(") Z "));
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok() && !zombie
}

async fn leases(caller: &Caller) -> Vec<Value> {
    let list = caller.get("port.list", json!({})).await;
    list["items"].as_array().unwrap().clone()
}

/// Waits until nothing is leased.
async fn none_leased(caller: &Caller) {
    until("no lease", async || {
        leases(caller).await.is_empty().then_some(())
    })
    .await;
}

async fn answers(port: u16) -> String {
    until("an answer", async || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_server_serves_on_its_port_until_it_is_told_to_end() {
    let registry = Registry::start(&[]);
    let caller = Caller::of(&registry).await;
    let script = "echo $PORT $ONEX_PORT_WEB; exec python3 -m http.server $ONEX_PORT_WEB";
    let mut run = Run::start(&registry, "--port web=http --quiet", script);
    let line = run.line();
    let (first, own) = line.split_once(' ').unwrap();
    assert_eq!(first, own);
    let lease = leases(&caller).await.swap_remove(0);
    assert_eq!(
        (&lease["name"], &lease["protocol"], &lease["port"]),
        (
            &json!("web"),
            &json!("http"),
            &json!(own.parse::<u16>().unwrap())
        )
    );
    assert!(answers(own.parse().unwrap()).await.contains("200 OK"));
    run.signal(Signal::TERM);
    // Python ends by the signal.
    let said = run.exits(128 + 15);
    assert!(!said.contains("onex:"), "{said}");
    none_leased(&caller).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ports_have_a_variable_each() {
    let registry = Registry::start(&["--ports", "21000-21009"]);
    let caller = Caller::of(&registry).await;
    let script = "echo $PORT $ONEX_PORT_A $ONEX_PORT_B_C_1; read x";
    let mut run = Run::start(&registry, "--port a:21004 --port b.c-1=dns/udp", script);
    let line = run.line();
    let ports: Vec<&str> = line.split(' ').collect();
    assert_eq!(ports[..2], ["21004", "21004"]);
    let said = run.exits(1);
    assert!(said.contains("a: 21004/tcp"), "{said}");
    assert!(said.contains(&format!("b.c-1: {}/udp", ports[2])), "{said}");
    none_leased(&caller).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_name_gets_the_same_port_again() {
    let registry = Registry::start(&[]);
    let home = tempfile::tempdir().unwrap();
    let mut ports = Vec::new();
    for _ in 0..3 {
        let output = command(registry.url(), home.path())
            .args(["--port", "web", "--", "sh", "-c", "echo $PORT"])
            .output()
            .unwrap();
        ports.push(String::from_utf8(output.stdout).unwrap());
    }
    assert!(!ports[0].trim().is_empty());
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_last_while_the_command_runs() {
    let registry = Registry::start(&[]);
    let caller = Caller::of(&registry).await;
    let mut run = Run::start(&registry, "--port web --ttl 1", READY_AND_WAITING);
    assert_eq!(run.line(), "ready");
    let granted = leases(&caller).await.swap_remove(0);
    let granted_at = Instant::now();
    let fenced = |lease: &Value| lease["fencing_token"].as_u64().unwrap();
    // A few TTLs, and as many renewals.
    until("renewals", async || {
        let mut held = leases(&caller).await;
        let lease = held.pop().expect("the lease has ended");
        assert_eq!(lease["lease_id"], granted["lease_id"]);
        let renewed = fenced(&lease) >= fenced(&granted) + 6;
        (renewed && granted_at.elapsed() > Duration::from_secs(3)).then_some(())
    })
    .await;
    run.signal(Signal::TERM);
    run.exits(128 + 15);
    none_leased(&caller).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_exits_as_the_command_does() {
    let registry = Registry::start(&[]);
    let caller = Caller::of(&registry).await;
    Run::start(&registry, "--port a", "exit 7").exits(7);
    Run::start(&registry, "--port a", "exit 0").exits(0);
    Run::start(&registry, "--port a", "kill -KILL $$").exits(128 + 9);
    none_leased(&caller).await;
    let home = tempfile::tempdir().unwrap();
    for (program, code, says) in [
        ("./no-such-program", 127, "cannot run ./no-such-program"),
        ("/etc/passwd", 126, "cannot run /etc/passwd"),
    ] {
        let output = command(registry.url(), home.path())
            .args(["--port", "a", "--", program])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{said}");
    }
    none_leased(&caller).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_failures_are_told_from_the_commands() {
    let registry = Registry::start(&["--ports", "21010-21019"]);
    let caller = Caller::of(&registry).await;
    let _taken = TcpListener::bind(("0.0.0.0", 21011)).unwrap();
    let says = "echo started";
    let mut run = Run::start(&registry, "--port a:21010 --port b:21011", says);
    assert_eq!(
        run.line(),
        "",
        "the command is started with all its ports or not at all"
    );
    let said = run.exits(125);
    assert!(
        said.contains("--port b: another program is using the port"),
        "{said}"
    );
    assert!(said.contains("without :PORT"), "{said}");
    none_leased(&caller).await;
    let said = Run::start(&registry, "--port a-b --port a.b", says).exits(2);
    assert!(said.contains("ONEX_PORT_A_B"), "{said}");
    let said = Run::start(&registry, "--port a:b", says).exits(2);
    assert!(said.contains("1 to 65535"), "{said}");
    let home = tempfile::tempdir().unwrap();
    let nobody = command("nats://127.0.0.1:1", home.path())
        .args(["--port", "a", "--", "true"])
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(125));
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_are_passed_on() {
    let registry = Registry::start(&[]);
    let script = "trap 'echo usr1' USR1; trap 'echo hup; exit 4' HUP; echo ready; while :; do sleep 0.05; done";
    let mut run = Run::start(&registry, "--port a", script);
    assert_eq!(run.line(), "ready");
    run.signal(Signal::USR1);
    assert_eq!(run.line(), "usr1");
    run.signal(Signal::HUP);
    assert_eq!(run.line(), "hup");
    run.exits(4);
}

/// How long a command takes to end is its own affair.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_is_passed_on_kills_nobody() {
    let registry = Registry::start(&[]);
    // Far longer than the grace.
    let script = "trap 'echo told; sleep 1; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let mut run = Run::start(&registry, "--port a --grace 100ms", script);
    assert_eq!(run.line(), "ready");
    run.signal(Signal::TERM);
    assert_eq!(run.line(), "told");
    run.exits(5);
}

/// Ctrl-C in a terminal reaches the command from the terminal; passed on it would come twice, and programs take
/// a second one as impatience.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminals_signal_comes_once() {
    let registry = Registry::start(&[]);
    let home = tempfile::tempdir().unwrap();
    let terminal = r##"
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
seen = b""
typed = 0
while True:
    try:
        some = os.read(fd, 4096)
    except OSError:
        break
    if not some:
        break
    seen += some
    # Each only after the last one was counted.
    if typed < 3 and seen.count(b"#") > typed:
        typed += 1
        os.write(fd, b"\x03")
sys.stdout.write(seen.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"##;
    let counts = "
import signal, sys, time
count = 0
def on(signum, frame):
    global count
    count += 1
    print(f'#{count}', flush=True)
signal.signal(signal.SIGINT, on)
print('#0', flush=True)
while count < 3:
    time.sleep(0.01)
time.sleep(0.2)
sys.exit(10 + count)
";
    let output = Command::new("python3")
        .args(["-c", terminal, env!("CARGO_BIN_EXE_onex")])
        .args(["run", "--port", "a", "--", "python3", "-c", counts])
        .env("HOME", home.path())
        .env("NATS_URL", registry.url())
        .output()
        .unwrap();
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(13), "{seen}");
}

/// One that forks: its first process ends and leaves others behind, in another session even.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_command_leaves_running_is_ended_before_the_port_is_released() {
    let registry = Registry::start(&[]);
    let caller = Caller::of(&registry).await;
    let script = "
        python3 -m http.server $PORT >/dev/null 2>&1 &
        echo $!
        setsid sh -c 'echo $$; exec sleep 60' &
        until python3 -c \"import socket; socket.create_connection(('127.0.0.1', $PORT))\" 2>/dev/null; do :; done
        echo $PORT
        exit 3";
    let mut run = Run::start(&registry, "--port web", script);
    let mut numbers: Vec<i32> = (0..3).map(|_| run.line().parse().unwrap()).collect();
    let port = u16::try_from(numbers.pop().unwrap()).unwrap();
    let said = run.exits(3);
    assert!(said.contains("left 2 processes"), "{said}");
    assert!(!numbers.into_iter().any(lives));
    none_leased(&caller).await;
    TcpListener::bind(("0.0.0.0", port)).expect("the port is free again");
}

/// A lease is lost when no registry renews it in time. The command, and one that it has started, do not heed
/// SIGTERM.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_ends_a_command_that_ignores_sigterm() {
    let mut registry = Registry::start(&[]);
    let script = "
        trap 'echo told' TERM
        sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.05; done' &
        echo $$
        while :; do sleep 0.05; done";
    let mut run = Run::start(&registry, "--port web --ttl 2 --grace 300ms", script);
    let numbers: Vec<i32> = (0..2).map(|_| run.line().parse().unwrap()).collect();
    registry.kill();
    let killed = Instant::now();
    assert_eq!(run.line(), "told");
    // The holder counts from before it last sent a request, and that was before the registry died.
    assert!(
        killed.elapsed() < Duration::from_secs(2) + Duration::from_millis(500),
        "{:?}",
        killed.elapsed()
    );
    let said = run.exits(125);
    assert!(said.contains("web") && said.contains("lost"), "{said}");
    assert!(!numbers.into_iter().any(lives));
}

/// Nobody can release a lease when `onex run` itself is killed; the command does not stay behind without one.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_does_not_outlive_onex_run() {
    let registry = Registry::start(&[]);
    let mut run = Run::start(
        &registry,
        "--port web",
        "echo $$; while :; do sleep 0.05; done",
    );
    let pid: i32 = run.line().parse().unwrap();
    run.signal(Signal::KILL);
    let (status, _) = run.ended();
    assert_eq!(status.signal(), Some(9));
    until("the command has ended", async || {
        (!lives(pid)).then_some(())
    })
    .await;
}
