//! `onex run` with real programs: an HTTP server, one that forks, one that ignores SIGTERM.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};

use crate::harness::{Caller, Nats, PATIENCE, Proxy, Registry, lease_request, until};
use uuid::Uuid;

/// A program that says when it is ready, and then does nothing until it is told to end.
const READY_AND_WAITING: &str = "echo ready; while :; do sleep 0.05; done";

/// An `onex run` under way, of a user with a home folder.
struct Run {
    child: Child,
    out: BufReader<ChildStdout>,
    err: BufReader<ChildStderr>,
    said: String,
    _home: tempfile::TempDir,
}

impl Run {
    /// `onex run` with `flags`, and a shell that runs `script`.
    fn start(registry: &Registry, flags: &str, script: &str) -> Self {
        Self::at(registry.url(), flags, script)
    }

    /// The same, at the server of that URL.
    fn at(url: &str, flags: &str, script: &str) -> Self {
        Self::with(url, flags, &[], script)
    }

    /// The same, with a check of its port.
    fn checked(registry: &Registry, flags: &str, check: &str, script: &str) -> Self {
        let check = ["--rebind-on-failure", check];
        Self::with(registry.url(), flags, &check, script)
    }

    fn with(url: &str, flags: &str, words: &[&str], script: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut child = command(url, home.path())
            .args(flags.split_whitespace())
            .args(words)
            .args(["--", "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let err = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            out,
            err,
            said: String::new(),
            _home: home,
        }
    }

    /// The next line that the command prints.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Waits until it says so on stderr; the line.
    fn says(&mut self, part: &str) -> String {
        loop {
            let mut line = String::new();
            self.err.read_line(&mut line).unwrap();
            assert!(!line.is_empty(), "it never said {part:?}: {}", self.said);
            self.said.push_str(&line);
            if line.contains(part) {
                return line;
            }
        }
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
        // What the command left behind may hold the pipe: then there is a fault, and the test hangs no longer
        // than that process lives.
        self.err.read_to_string(&mut self.said).unwrap();
        (status, self.said)
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
    // A few TTLs, and as many renewals: each moves the end.
    let mut ends = BTreeSet::new();
    while ends.len() < 6 || granted_at.elapsed() < Duration::from_secs(3) {
        assert!(granted_at.elapsed() < PATIENCE, "{ends:?}");
        let mut held = leases(&caller).await;
        let lease = held.pop().expect("the lease has ended");
        assert_eq!(lease["lease_id"], granted["lease_id"]);
        assert_eq!(lease["fencing_token"], granted["fencing_token"]);
        ends.insert(lease["expires_at"].to_string());
    }
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
    Run::start(&registry, "--port a", "exec setsid sh -c 'exit 7'").exits(7);
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
        said.contains("--port b: port 21011 is used by another program"),
        "{said}"
    );
    assert!(said.contains("without :PORT"), "{said}");
    none_leased(&caller).await;
    let said = Run::start(&registry, "--port a-b --port a.b", says).exits(2);
    assert!(said.contains("ONEX_PORT_A_B"), "{said}");
    let said = Run::start(&registry, "--port a:b", says).exits(2);
    assert!(said.contains("1 to 65535"), "{said}");
}

/// Whether it is worth trying again is told as by every other command.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_exits_with_75_and_nobody_there_with_69() {
    let registry = Registry::start(&["--ports", "21000-21000", "--no-probe"]);
    let says = "echo started";
    let mut holder = Run::start(&registry, "--port a", READY_AND_WAITING);
    assert_eq!(holder.line(), "ready");
    let mut run = Run::start(&registry, "--port b", says);
    assert_eq!(run.line(), "");
    let said = run.exits(75);
    assert!(said.contains("--port b: "), "{said}");
    let said = Run::at("nats://127.0.0.1:1", "--port a", says).exits(69);
    assert!(said.contains("no NATS server"), "{said}");
    let nats = Nats::start();
    let said = Run::at(&nats.url(), "--port 21000", says).exits(69);
    assert!(
        said.contains("no registry") && said.contains("`onex serve"),
        "{said}"
    );
    holder.signal(Signal::TERM);
    holder.exits(128 + 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_is_that_port_and_has_no_name() {
    let registry = Registry::start(&["--ports", "21000-21009", "--no-probe"]);
    let caller = Caller::of(&registry).await;
    let script = "echo $PORT $ONEX_PORT_21004 $ONEX_PORT_WEB; read x; exit 0";
    let flags = "--port 21004 --port 21004/udp --port web";
    let mut run = Run::start(&registry, flags, script);
    let line = run.line();
    let ports: Vec<&str> = line.split(' ').collect();
    assert_eq!(ports[..2], ["21004", "21004"], "{line}");
    assert_ne!(ports[2], "21004");
    let said = run.exits(0);
    for part in ["onex: 21004/tcp\n", "onex: 21004/udp\n", "onex: web: "] {
        assert!(said.contains(part), "{said}");
    }
    none_leased(&caller).await;

    let mut holder = Run::start(&registry, "--port 21004", READY_AND_WAITING);
    assert_eq!(holder.line(), "ready");
    let lease = leases(&caller).await.swap_remove(0);
    assert_eq!(
        (&lease["port"], &lease["name"]),
        (&json!(21004), &Value::Null)
    );
    let said = Run::start(&registry, "--port 21004", "echo started").exits(125);
    assert!(said.contains("--port 21004: "), "{said}");
    assert!(
        said.contains("--port web"),
        "it says how to get any port: {said}"
    );
    // One that no registry grants, and what is no port at all.
    let said = Run::start(&registry, "--port 8080", "echo started").exits(125);
    assert!(said.contains("--port 8080: "), "{said}");
    assert!(said.contains("`onex pool list`"), "{said}");
    for (wrong, says) in [
        ("--port 70000", "1 to 65535"),
        ("--port 0", "1 to 65535"),
        ("--port 8080:9090", "NAME:9090"),
        ("--port 21004 --port 21004", "--port 21004 is given twice"),
        ("--port web --port web", "--port web is given twice"),
        (
            "--port a:21004 --port b:21004",
            "--port a and --port b both want port 21004",
        ),
        ("--port a:21004=http", "write a=http:21004"),
        ("--port a/udp:53", "write a:53/udp"),
        ("--port :21004", "write 21004, or NAME:21004"),
        ("--port :21004/udp", "write 21004/udp, or NAME:21004/udp"),
        ("--port =http:21004", "write 21004=http, or NAME=http:21004"),
        (
            "--port 21000-21009",
            "one port, not a range: write 21000 for that one, or a NAME for any",
        ),
        (
            "--port :21000-21009",
            "write 21000 for that one, or a NAME for any",
        ),
        ("--port 21000-21009/udp", "not a range: write 21000 for"),
        ("--port 21000..21009", "not a range: write 21000 for"),
        (
            "--port web:21004-21009",
            "write web:21004 for that one, or web for any",
        ),
        ("--port 21004,21005", "write --port 21004, and --port again"),
        (
            "--port web:http",
            "a port is a number from 1 to 65535: what is spoken there is written web=http",
        ),
        (
            "--port 127.0.0.1:21004",
            "127.0.0.1 is an address and not a name: write 21004, and --host",
        ),
    ] {
        let said = Run::start(&registry, wrong, "echo started").exits(2);
        assert!(said.contains(says), "{wrong}: {said}");
    }
    holder.signal(Signal::TERM);
    holder.exits(128 + 15);
}

/// Whoever tries them has a registry as it is started without flags.
#[tokio::test(flavor = "multi_thread")]
async fn the_ports_of_the_examples_in_help_can_be_had() {
    let registry = Registry::start(&["--no-probe"]);
    let home = tempfile::tempdir().unwrap();
    let output = command(registry.url(), home.path())
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let (_, examples) = help.split_once("Examples:").unwrap();
    let examples = examples.lines().map(str::trim);
    let examples: Vec<_> = examples
        .filter_map(|line| line.strip_prefix("onex run "))
        .collect();
    assert!(examples.len() > 2, "{help}");
    for example in examples {
        let (flags, _) = example.split_once(" -- ").unwrap();
        Run::start(&registry, flags, "exit 0").exits(0);
    }
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
import os, signal, sys, time
count = 0
def say():
    # Not by print: a signal may come while that is at work.
    os.write(1, b'#%d\\n' % count)
def on(signum, frame):
    global count
    count += 1
    say()
signal.signal(signal.SIGINT, on)
say()
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

/// The holder is cut off and its command ignores SIGTERM, for a grace that is longer than the lease. Nobody else gets the
/// port while one of its processes lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_has_ended_before_someone_else_gets_its_port() {
    let registry = Registry::start(&["--ports", "21000-21000", "--no-probe"]);
    let caller = Caller::of(&registry).await;
    let wire = Proxy::to(registry.url()).await;
    let script = "
        trap '' TERM
        sh -c 'echo $$; while :; do sleep 0.05; done' &
        echo $$
        while :; do sleep 0.05; done";
    let mut run = Run::at(&wire.url(), "--port web --ttl 3s --grace 10s", script);
    let numbers: Vec<i32> = (0..2).map(|_| run.line().parse().unwrap()).collect();
    wire.cut();
    until("the port to be granted to someone else", async || {
        let granted = caller
            .ask("port.lease", lease_request(Uuid::new_v4(), json!({})))
            .await;
        granted.ok()
    })
    .await;
    let left: Vec<_> = numbers.into_iter().filter(|pid| lives(*pid)).collect();
    assert!(left.is_empty(), "two use the port: {left:?}");
    let said = run.exits(125);
    assert!(said.contains("web") && said.contains("lost"), "{said}");
}

/// Listens on its port, does not heed SIGTERM, and does not stay for ever should it not be ended.
const LISTENS: &str = "
import ctypes, os, signal, socket, sys, threading, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.create_server(('0.0.0.0', int(os.environ['PORT'])))
end = time.monotonic() + 60
";

/// Is another process every few milliseconds: it starts a copy of itself and ends.
const FORKS_AGAIN_AND_AGAIN: &str = "
print('ready', flush=True)
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
    if session == 'new':
        os.setsid()
    time.sleep(pause)
";

/// Looks like a process that has ended, for its first thread has.
const GOES_ON_WITHOUT_ITS_FIRST_THREAD: &str = "
def goes_on():
    while ' Z ' not in open('/proc/self/stat').read():
        time.sleep(0.01)
    print('ready', flush=True)
    time.sleep(60)
threading.Thread(target=goes_on).start()
ctypes.CDLL(None).pthread_exit(0)
";

/// Whoever looks for processes has a few milliseconds for each, or less than one, or overlooks it.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_hard_to_find_does_not_keep_the_port() {
    let forks = |variables: &str| format!("{variables}{FORKS_AGAIN_AND_AGAIN}");
    for program in [
        forks("pause, session = 0.003, 'same'"),
        forks("pause, session = 0.003, 'new'"),
        forks("pause, session = 0, 'new'"),
        GOES_ON_WITHOUT_ITS_FIRST_THREAD.to_owned(),
    ] {
        let registry = Registry::start(&["--ports", "21020-21020", "--no-probe"]);
        let caller = Caller::of(&registry).await;
        let wire = Proxy::to(registry.url()).await;
        let script = format!("python3 -c \"{LISTENS}{program}\" & while :; do sleep 0.05; done");
        let flags = "--quiet --port web --ttl 3s --grace 600ms";
        let mut run = Run::at(&wire.url(), flags, &script);
        assert_eq!(run.line(), "ready");
        wire.cut();
        until("the port to be granted to someone else", async || {
            let granted = caller
                .ask("port.lease", lease_request(Uuid::new_v4(), json!({})))
                .await;
            granted.ok()
        })
        .await;
        let bound = TcpListener::bind(("0.0.0.0", 21020));
        assert!(bound.is_ok(), "two use the port: {program}");
        run.exits(125);
    }
}

/// Leaves 4,000 processes behind that have ended while whoever started it was stopped. When it is told something it says
/// how many of them are left.
const LEAVES_MANY_DEAD: &str = "
import os, signal
parent = os.getppid()
def dead():
    count = 0
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            state, above = open('/proc/' + pid + '/stat').read().rsplit(')', 1)[1].split()[:2]
        except OSError:
            continue
        count += state == 'Z' and int(above) == parent
    return count
def told(*_):
    os.kill(parent, signal.SIGSTOP)
    os.write(1, b'%d\\n' % dead())
    os.kill(parent, signal.SIGCONT)
    os._exit(0)
signal.signal(signal.SIGUSR1, told)
os.kill(parent, signal.SIGSTOP)
if os.fork() == 0:
    for _ in range(4000):
        if os.fork() == 0:
            os._exit(0)
    os._exit(0)
os.wait()
while dead() < 4000:
    pass
print('ready', flush=True)
while True:
    signal.pause()
";

/// Signals, renewals and deadlines have their turn between those that are reaped, however many there are.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_does_not_wait_until_all_that_have_ended_are_reaped() {
    let registry = Registry::start(&["--no-probe"]);
    let caller = Caller::of(&registry).await;
    let script = format!("exec python3 -c \"{LEAVES_MANY_DEAD}\"");
    let mut run = Run::start(&registry, "--port web --ttl 10m", &script);
    assert_eq!(run.line(), "ready");
    // The command is told before this one has reaped them all, however the machine shares its time.
    let pid = run.child.id().to_string();
    let reniced = Command::new("renice")
        .args(["-n", "19", "-p", &pid])
        .output();
    assert!(reniced.unwrap().status.success());
    run.signal(Signal::USR1);
    run.signal(Signal::CONT);
    let left: usize = run.line().parse().unwrap();
    assert!(left > 1_000, "{left} of 4,000 were left");
    run.exits(0);
    none_leased(&caller).await;
}

/// Only root can make a process that `onex run` must not signal: the command is another user's, and `onex` without the
/// right to signal those.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_cannot_be_ended_is_named_and_keeps_the_port() {
    if !rustix::process::getuid().is_root() {
        eprintln!("not tested: this needs root");
        return;
    }
    let registry = Registry::start(&[]);
    let caller = Caller::of(&registry).await;
    let home = tempfile::tempdir().unwrap();
    let script = "setpriv --reuid 65534 --clear-groups sleep 30 >&- 2>&- & echo $!; \
        until [ $(ps -o comm= -p $!) = sleep ]; do :; done";
    let output = Command::new("setpriv")
        .args(["--bounding-set=-kill", "--inh-caps=-all"])
        .args([env!("CARGO_BIN_EXE_onex"), "run", "--port", "web"])
        .args(["--grace", "100ms", "--", "sh", "-c", script])
        .env("HOME", home.path())
        .env("NATS_URL", registry.url())
        .output()
        .unwrap();
    let pid: i32 = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains(&format!("{pid} (sleep)")), "{said}");
    assert!(lives(pid));
    assert_eq!(leases(&caller).await.len(), 1);
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_told_to_end_as_long_as_the_grace_before_its_lease_ends() {
    let (ttl, grace) = (Duration::from_secs(6), Duration::from_secs(2));
    let mut registry = Registry::start(&[]);
    // Real time has to pass: what it does when it is told takes most of the grace.
    let script = "
        trap 'echo told; sleep 1.5; echo finished; exit 0' TERM
        echo ready; while :; do sleep 0.05; done";
    let mut run = Run::start(&registry, "--port web --ttl 6s --grace 2s", script);
    assert_eq!(run.line(), "ready");
    registry.kill();
    let killed = Instant::now();
    assert_eq!(run.line(), "told");
    let told = killed.elapsed();
    // What was last renewed was asked for before the registry died, and not long before.
    assert!(told + grace < ttl + Duration::from_millis(500), "{told:?}");
    assert!(told > ttl / 3, "{told:?}");
    assert_eq!(run.line(), "finished");
    assert!(killed.elapsed() < ttl, "{:?}", killed.elapsed());
    run.exits(125);
}

/// Whoever gives the lease back while the command runs has it ended at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_somebody_ended_ends_the_command() {
    let registry = Registry::start(&[]);
    let caller = Caller::of(&registry).await;
    let script = "trap 'echo told' TERM; echo ready; while :; do sleep 0.05; done";
    let mut run = Run::start(&registry, "--port web --ttl 2s --grace 300ms", script);
    assert_eq!(run.line(), "ready");
    let lease = leases(&caller).await.swap_remove(0);
    let release = json!({"requester_id": lease["requester_id"], "lease_id": lease["lease_id"]});
    caller.get("port.release", release).await;
    assert_eq!(run.line(), "told");
    let said = run.exits(125);
    assert!(
        said.contains("lost") && said.contains("has ended"),
        "{said}"
    );
    // Once is enough.
    let told = said.lines().find(|line| line.contains("lost")).unwrap();
    for word in ["lost", "ended", "lease", "port 2"] {
        assert_eq!(told.matches(word).count(), 1, "{word}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_when_it_begins_and_when_it_is_over() {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &[]);
    let script = "trap 'echo usr1' USR1; echo ready; while :; do sleep 0.05; done";
    let mut run = Run::start(&registry, "--port web --ttl 9s --grace 1s", script);
    assert_eq!(run.line(), "ready");
    registry.kill();
    let line = run.says("cannot be renewed");
    assert!(line.contains("the command is ended in "), "{line}");
    let _registry = Registry::on(&nats, &[]);
    run.says("the outage is over");
    run.signal(Signal::USR1);
    assert_eq!(run.line(), "usr1");
    run.signal(Signal::TERM);
    run.exits(128 + 15);
}

/// A renewal is due after some seconds only.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_told_at_once() {
    let registry = Registry::start(&[]);
    let wire = Proxy::to(registry.url()).await;
    let mut run = Run::at(
        &wire.url(),
        "--quiet --port web --ttl 30s",
        READY_AND_WAITING,
    );
    assert_eq!(run.line(), "ready");
    wire.cut();
    let cut = Instant::now();
    let line = run.says("cannot be renewed");
    assert!(
        line.contains("connection") && line.contains("the command is ended in 1"),
        "{line}"
    );
    assert!(
        cut.elapsed() < Duration::from_secs(3),
        "{:?}",
        cut.elapsed()
    );
    wire.mend();
    run.signal(Signal::TERM);
    run.exits(128 + 15);
}

/// As `nohup` starts it: what is ignored stays so, here and in the command.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let registry = Registry::start(&[]);
    let home = tempfile::tempdir().unwrap();
    let script = "
        import os, signal, time
        # Not by print: a signal may come while that is at work.
        signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'usr1\\n'))
        print(signal.getsignal(signal.SIGHUP).name, signal.getsignal(signal.SIGTERM).name, flush=True)
        while True: time.sleep(0.05)";
    let script = script.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .args([
            env!("CARGO_BIN_EXE_onex"),
            "run",
            "--quiet",
            "--port",
            "web",
            "--",
            "python3",
            "-c",
            &script,
        ])
        .env("HOME", home.path())
        .env("NATS_URL", registry.url())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert_eq!(out.next().unwrap(), "SIG_IGN SIG_DFL");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::HUP).unwrap();
    // It comes later, so that the other one has been dealt with.
    kill_process(pid, Signal::USR1).unwrap();
    assert_eq!(out.next().unwrap(), "usr1");
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
}

/// The C library keeps signals for itself, and has what it starts ignore them.
#[test]
fn no_signal_is_ignored_that_was_not_ignored_at_the_start() {
    let registry = Registry::start(&[]);
    let home = tempfile::tempdir().unwrap();
    // Nor does the C library let a program change them: only the kernel does.
    let number = if cfg!(target_arch = "aarch64") {
        134
    } else {
        13
    };
    let start = format!(
        "
        import ctypes, os, sys
        libc = ctypes.CDLL(None, use_errno=True)
        for signal in range(1, 65):
            if signal not in (9, 19):
                assert libc.syscall({number}, signal, ctypes.create_string_buffer(32), None, 8) == 0
        os.execv(sys.argv[1], sys.argv[1:])"
    );
    let start = start
        .lines()
        .map(|line| line.strip_prefix("        ").unwrap_or(line));
    let start = start.collect::<Vec<_>>().join("\n");
    let ignored = |words: &[&str]| {
        let output = Command::new("python3")
            .args(["-c", &start])
            .args(words)
            .args(["grep", "SigIgn", "/proc/self/status"])
            .env("HOME", home.path())
            .env("NATS_URL", registry.url())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let mask = said.split_whitespace().nth(1);
        u64::from_str_radix(mask.unwrap(), 16).unwrap()
    };
    assert_eq!(ignored(&["/usr/bin/env"]), 0);
    let onex = env!("CARGO_BIN_EXE_onex");
    let in_child = ignored(&[onex, "run", "--quiet", "--port", "web", "--"]);
    assert_eq!(in_child, 0, "{in_child:x}");
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

/// Whether the command answers on the port named `web`, for a shell: a stranger there says nothing.
const WEB_ANSWERS: &str = "web=python3 -c \"import os, socket, sys; port = int(os.environ['ONEX_PORT_WEB']); \
    sys.exit(socket.create_connection(('127.0.0.1', port)).recv(3) != b'web')\"";

/// Says its port and process id, waits for a file, and listens.
const LISTENS_WHEN_TOLD: &str = "
import os, socket, sys, time
port = int(os.environ['ONEX_PORT_WEB'])
print(os.environ['ONEX_PORT_OTHER'], port, os.getpid(), flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
while True:
    try:
        listener = socket.create_server(('0.0.0.0', port))
        break
    except OSError:
        if sys.argv[2] == 'ends':
            sys.exit(1)
        time.sleep(0.05)
print('listens', flush=True)
while True:
    listener.accept()[0].sendall(b'web')
";

/// One that ends when it cannot bind its port, and one that goes on trying.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_port_a_stranger_has_gets_another_one() {
    for (ports, what) in [("21030-21039", "ends"), ("21040-21049", "stays")] {
        let registry = Registry::start(&["--ports", ports]);
        let caller = Caller::of(&registry).await;
        let folder = tempfile::tempdir().unwrap();
        let told = folder.path().join("told");
        let script = format!(
            "exec python3 -c \"{LISTENS_WHEN_TOLD}\" {} {what}",
            told.display()
        );
        let flags = "--quiet --port other --port web=http --check-interval 500ms --grace 2s";
        let mut run = Run::checked(&registry, flags, WEB_ANSWERS, &script);
        let said = |line: String| -> Vec<i32> {
            line.split(' ').map(|word| word.parse().unwrap()).collect()
        };
        let first = said(run.line());
        let stranger = TcpListener::bind(("0.0.0.0", u16::try_from(first[1]).unwrap())).unwrap();
        std::fs::write(&told, "").unwrap();
        let second = said(run.line());
        assert!(!lives(first[2]));
        assert_eq!(second[0], first[0], "the other port stays");
        assert_ne!(second[1], first[1]);
        let moved = format!(
            "onex: web: {}/tcp cannot be used; now {}/tcp\n",
            first[1], second[1]
        );
        assert_eq!(run.says("cannot be used"), moved);
        assert_eq!(run.line(), "listens");
        let mut held = leases(&caller).await;
        held.retain(|lease| lease["name"] == "web");
        assert_eq!(held[0]["port"], second[1]);
        drop(stranger);
        run.signal(Signal::TERM);
        let said = run.exits(128 + 15);
        assert_eq!(said.matches("cannot be used").count(), 1, "{said}");
        none_leased(&caller).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_five_other_ports_it_gives_up() {
    let registry = Registry::start(&["--no-probe"]);
    let caller = Caller::of(&registry).await;
    let script = format!("echo $PORT; {READY_AND_WAITING}");
    let flags = "--port web --check-interval 100ms";
    let mut run = Run::checked(&registry, flags, "exit 7", &script);
    let mut ports = BTreeSet::new();
    for _ in 0..6 {
        ports.insert(run.line());
        assert_eq!(run.line(), "ready");
    }
    assert_eq!(run.line(), "", "it is not started again");
    let said = run.exits(125);
    assert_eq!(ports.len(), 6, "{ports:?}");
    assert_eq!(said.matches("cannot be used; now ").count(), 5, "{said}");
    assert_eq!(
        said.matches("CHECK has failed 3 times in a row: it exited with 7; ending the command")
            .count(),
        6,
        "{said}"
    );
    assert!(
        said.contains("cannot be used either, after 5 others"),
        "{said}"
    );
    none_leased(&caller).await;
}

/// Such a check is ended, with what it has started.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_does_not_end_has_failed() {
    let registry = Registry::start(&["--no-probe"]);
    let folder = tempfile::tempdir().unwrap();
    let numbers = folder.path().join("numbers");
    let check = format!("sleep 60 & echo $$ $! >>{}; wait", numbers.display());
    let flags = "--port web --check-interval 300ms";
    let mut run = Run::checked(&registry, flags, &check, READY_AND_WAITING);
    run.says("it did not end within 300ms");
    run.says("cannot be used");
    // A check may be under way: it is ended with the command, and not one of the processes that this has left.
    run.signal(Signal::TERM);
    let said = run.exits(128 + 15);
    assert!(!said.contains("left"), "{said}");
    let numbers = std::fs::read_to_string(numbers).unwrap();
    let numbers: Vec<i32> = numbers
        .split_whitespace()
        .map(|word| word.parse().unwrap())
        .collect();
    assert!(numbers.len() >= 6, "{numbers:?}");
    assert!(!numbers.into_iter().any(lives));

    let begun = folder.path().join("begun");
    // So many that they take a moment to end.
    let check = format!(
        "for i in $(seq 200); do sleep 60 & done; echo $! >{0}.tmp; mv {0}.tmp {0}; wait",
        begun.display()
    );
    let script = format!("until [ -e {} ]; do sleep 0.05; done", begun.display());
    let said = Run::checked(&registry, "--port web", &check, &script).exits(0);
    assert!(!said.contains("left"), "{said}");
    let number = std::fs::read_to_string(begun).unwrap();
    assert!(!lives(number.trim().parse().unwrap()));
}

/// Not while it serves, nor when it fails some time after it has, nor for what no other port would mend.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_port_is_not_to_blame_is_not_restarted() {
    let registry = Registry::start(&["--no-probe"]);
    let folder = tempfile::tempdir().unwrap();
    let tries = folder.path().join("tries");
    // Of three tries two fail.
    let check = format!("echo >>{0}; exit $(($(wc -l <{0}) % 3))", tries.display());
    let script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done";
    let flags = "--port web --check-interval 100ms";
    let mut run = Run::checked(&registry, flags, &check, script);
    assert_eq!(run.line(), "ready");
    until("some checks", async || {
        let tries = std::fs::read_to_string(&tries).ok()?;
        (tries.len() > 9).then_some(())
    })
    .await;
    run.signal(Signal::USR1);
    assert_eq!(run.line(), "");
    let said = run.exits(7);
    assert!(!said.contains("cannot be used"), "{said}");
    for code in [0, 126, 127] {
        let script = format!("exit {code}");
        let said = Run::checked(&registry, "--port web", "false", &script).exits(code);
        assert!(!said.contains("CHECK"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_was_told_to_end_is_not_restarted() {
    let registry = Registry::start(&["--no-probe"]);
    let caller = Caller::of(&registry).await;
    // It stays for longer than it takes the checks to fail.
    let script = "trap 'echo told; sleep 2; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let flags = "--port web --check-interval 200ms";
    let mut run = Run::checked(&registry, flags, "false", script);
    assert_eq!(run.line(), "ready");
    run.signal(Signal::TERM);
    assert_eq!(run.line(), "told");
    let said = run.exits(5);
    assert!(!said.contains("CHECK"), "{said}");
    none_leased(&caller).await;

    // While it is ended for another port: there is no next start.
    let script = "trap 'echo told' TERM; echo ready; while :; do sleep 0.05; done";
    let flags = "--port web --check-interval 100ms --grace 1s";
    let mut run = Run::checked(&registry, flags, "false", script);
    assert_eq!(run.line(), "ready");
    run.says("ending the command");
    assert_eq!(run.line(), "told");
    run.signal(Signal::TERM);
    assert_eq!(run.line(), "");
    let said = run.exits(128 + 15);
    assert!(!said.contains("cannot be used"), "{said}");
    none_leased(&caller).await;
}

/// A server reads its settings anew then, and is checked on.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_another_process_sends_hup_is_checked_as_before() {
    let registry = Registry::start(&["--no-probe"]);
    let caller = Caller::of(&registry).await;
    let folder = tempfile::tempdir().unwrap();
    let serves = folder.path().join("serves");
    std::fs::write(&serves, "").unwrap();
    let check = format!("test -e {}", serves.display());
    let script = "trap 'echo reloads' HUP; echo $PORT; while :; do sleep 0.05; done";
    let flags = "--port web --check-interval 100ms";
    let mut run = Run::checked(&registry, flags, &check, script);
    let first: u16 = run.line().parse().unwrap();
    run.signal(Signal::HUP);
    assert_eq!(run.line(), "reloads");
    std::fs::remove_file(&serves).unwrap();
    until("another port", async || {
        let held = leases(&caller).await;
        (held[0]["port"] != first).then_some(())
    })
    .await;
    std::fs::write(&serves, "").unwrap();
    assert_ne!(run.line(), first.to_string());
    run.signal(Signal::TERM);
    run.exits(128 + 15);

    // One that ends by it does not begin again, whatever CHECK has said before.
    let script = "echo ready; while :; do sleep 0.05; done";
    let mut run = Run::checked(&registry, flags, "false", script);
    assert_eq!(run.line(), "ready");
    run.signal(Signal::HUP);
    let said = run.exits(128 + 1);
    assert!(!said.contains("CHECK"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_cannot_be_run_ends_the_run() {
    let registry = Registry::start(&["--no-probe"]);
    let flags = "--port web --check-interval 100ms";
    let mut run = Run::checked(&registry, flags, "./no-such-check", READY_AND_WAITING);
    assert_eq!(run.line(), "ready");
    assert_eq!(run.line(), "", "it is not started again");
    let said = run.exits(125);
    assert!(said.contains("it exited with 127"), "{said}");
    assert!(!said.contains("cannot be used"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_check_leaves_running_ends_with_it() {
    let registry = Registry::start(&["--no-probe"]);
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("left");
    let check = format!("sleep 60 & echo $! >>{}", left.display());
    let flags = "--port web --check-interval 100ms";
    let mut run = Run::checked(&registry, flags, &check, "echo ready; exec sleep 60");
    assert_eq!(run.line(), "ready");
    until("some checks", async || {
        let left = std::fs::read_to_string(&left).ok()?;
        let left: Vec<i32> = left.lines().map(|line| line.parse().unwrap()).collect();
        let (_, before) = left.split_last()?;
        (before.len() > 3 && !before.iter().any(|pid| lives(*pid))).then_some(())
    })
    .await;
    run.signal(Signal::TERM);
    let said = run.exits(128 + 15);
    assert!(!said.contains("left"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_which_no_other_port_can_be_had_is_not_started_again() {
    let full = Registry::start(&["--no-probe", "--ports", "21000-21000"]);
    let nats = Nats::start();
    let mut gone = Registry::on(&nats, &["--no-probe"]);
    let flags = "--timeout 1s --ttl 5s --port web --check-interval 100ms";
    let mut runs = [&full, &gone].map(|at| Run::checked(at, flags, "false", READY_AND_WAITING));
    for run in &mut runs {
        assert_eq!(run.line(), "ready");
    }
    gone.kill();
    let says = ["no tcp port", "the lease of web, port 2"];
    for (mut run, says) in runs.into_iter().zip(says) {
        assert_eq!(run.line(), "");
        let said = run.exits(125);
        assert!(said.contains("web: 2") && said.contains(says), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_is_asked_again_for_another_port() {
    let nats = Nats::start();
    let mut registry = Registry::on(&nats, &["--no-probe"]);
    let flags = "--timeout 1s --ttl 30s --port web --check-interval 200ms";
    let folder = tempfile::tempdir().unwrap();
    let serves = folder.path().join("serves");
    let check = format!("test -e {}", serves.display());
    let script = "echo $ONEX_PORT_WEB; exec sleep 1000";
    let mut run = Run::checked(&registry, flags, &check, script);
    let first = run.line();
    registry.kill();
    let line = run.says("no other port yet");
    assert!(
        line.starts_with(&format!("onex: web: {first}/tcp: no other port yet: ")),
        "{line}"
    );
    std::fs::write(&serves, "").unwrap();
    let registry = Registry::on(&nats, &["--no-probe"]);
    let second = run.line();
    assert_ne!(second, first);
    run.says(&format!(
        "onex: web: {first}/tcp cannot be used; now {second}/tcp"
    ));
    let held = leases(&Caller::of(&registry).await).await;
    assert_eq!(held[0]["port"].to_string(), second);
    run.signal(Signal::TERM);
    run.exits(128 + 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rebound_is_refused() {
    let registry = Registry::start(&["--no-probe"]);
    for (flags, check, says) in [
        (
            "--port web:21030",
            "true",
            "--port web wants 21030 only: leave out :21030",
        ),
        (
            "--port 21030",
            "true",
            "--port 21030 wants 21030 only: write a name",
        ),
        (
            "--port a --port web:21030",
            "web=true",
            "--port web wants 21030 only",
        ),
        ("--port web", "wep=true", "there is no --port wep, but web"),
        ("--port web", "web=", "needs a command for a shell"),
        (
            "--port web --check-interval 1ms",
            "true",
            "--check-interval",
        ),
    ] {
        let said = Run::checked(&registry, flags, check, "echo started").exits(2);
        assert!(said.contains(says), "{flags} {check}: {said}");
    }
    let flags = "--port web --rebind-on-failure web=true";
    let said = Run::checked(&registry, flags, "true", "echo started").exits(2);
    assert!(said.contains("is given twice"), "{said}");
    let said = Run::start(&registry, "--port web --check-interval 1s", "echo started").exits(2);
    assert!(said.contains("--rebind-on-failure"), "{said}");
}
