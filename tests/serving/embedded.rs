//! The registry's own nats-server, with a real one: it starts, keeps what it was given, and never outlives its registry.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use onex_registry::embedded::{Error, Options, Server};
use onex_registry::server_version::{SERVER_VERSION_MIN, Version};
use rustix::process::{Pid, Signal, getpgid, kill_process};

use crate::harness::{PATIENCE, wait_for};
use crate::monitored::Monitored;

const ONEX: &str = env!("CARGO_BIN_EXE_onex");

const DRIVER_DATA: &str = "ONEX_TEST_DRIVER_DATA";
const DRIVER_LISTEN: &str = "ONEX_TEST_DRIVER_LISTEN";

fn options(data: &Path, listen: &str) -> Options {
    Options {
        listen: listen.parse().unwrap(),
        data: data.to_owned(),
    }
}

async fn start(data: &Path, listen: &str) -> Result<Server, Error> {
    Server::start_by(&options(data, listen), Path::new(ONEX)).await
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.try_into().unwrap()).unwrap()
}

/// Gone, or a zombie that nobody fetches: it holds nothing any more.
fn is_gone(id: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else {
        return true;
    };
    stat.rsplit_once(')')
        .unwrap()
        .1
        .trim_start()
        .starts_with('Z')
}

/// A registry as far as this matters: a process of its own that starts a server and waits.
struct Driver {
    child: Child,
    lines: Receiver<String>,
}

impl Driver {
    fn start(data: &Path, listen: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::driver", "--ignored", "--nocapture"])
            .env(DRIVER_DATA, data)
            .env(DRIVER_LISTEN, listen)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            out.lines()
                .map_while(Result::ok)
                .all(|line| sender.send(line).is_ok())
        });
        Self { child, lines }
    }

    /// The rest of the first line that contains `mark`.
    fn line(&self, mark: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while let Ok(line) = self
            .lines
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            if let Some((_, rest)) = line.split_once(mark) {
                return rest.trim().to_owned();
            }
            seen.push(line);
        }
        panic!("no {mark:?} in {seen:#?}");
    }

    /// The server's process id and URL.
    fn ready(&self) -> (u32, String) {
        let line = self.line("READY ");
        let (id, url) = line.split_once(' ').unwrap();
        (id.parse().unwrap(), url.to_owned())
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn stop(mut self) {
        self.child
            .stdin
            .take()
            .unwrap()
            .write_all(b"stop\n")
            .unwrap();
        self.line("STOPPED");
        assert!(self.child.wait().unwrap().success());
    }
}

/// The driver's own side.
#[test]
#[ignore = "the process that other tests start"]
fn driver() {
    let (Ok(data), Ok(listen)) = (std::env::var(DRIVER_DATA), std::env::var(DRIVER_LISTEN)) else {
        return;
    };
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(std::io::stdout)
        .init();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut server = match start(Path::new(&data), &listen).await {
            Ok(server) => server,
            Err(error) => return println!("\nREFUSED {error}"),
        };
        println!("\nREADY {} {}", server.pid(), server.url());
        let stdin = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        tokio::select! {
            how = server.exited() => println!("\nEXITED {how}"),
            _ = stdin => {
                server.stop().await;
                println!("\nSTOPPED");
            }
        }
    });
    runtime.shutdown_background();
}

#[tokio::test]
async fn starts_keeps_messages_and_stops() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("made when \"needed\"");
    for round in 1..=2 {
        let server = start(&folder, "127.0.0.1:0").await.unwrap();
        assert!(server.version().parse::<Version>().unwrap() >= SERVER_VERSION_MIN);
        let client = async_nats::connect(server.url()).await.unwrap();
        let jetstream = async_nats::jetstream::new(client);
        let stream = jetstream
            .get_or_create_stream(async_nats::jetstream::stream::Config {
                name: "KEPT".into(),
                subjects: vec!["kept".into()],
                ..Default::default()
            })
            .await
            .unwrap();
        jetstream
            .publish("kept", "x".into())
            .await
            .unwrap()
            .await
            .unwrap();
        assert_eq!(stream.get_info().await.unwrap().state.messages, round);
        // Ctrl-C in a terminal goes to a whole group of processes, and must not reach the server.
        let id = server.pid();
        assert_eq!(getpgid(Some(pid(id))).unwrap(), pid(id));
        server.stop().await;
        assert!(is_gone(id));
    }
}

#[tokio::test]
async fn the_server_writes_to_the_disk_before_it_acknowledges() {
    let data = tempfile::tempdir().unwrap();
    start(data.path(), "127.0.0.1:0")
        .await
        .unwrap()
        .stop()
        .await;
    let config = std::fs::read_to_string(data.path().join("nats/nats-server.conf")).unwrap();
    let server = Monitored::start(&format!("{config}\nhttp: \"127.0.0.1:-1\"\n"), data.path());
    let (_, varz) = server.get("/varz");
    assert_eq!(
        varz.pointer("/jetstream/config/sync_always"),
        Some(&true.into()),
        "{varz:#}"
    );
    assert_eq!(
        varz.pointer("/ping_interval"),
        Some(&5_000_000_000_u64.into()),
        "{varz:#}"
    );
    assert_eq!(varz.pointer("/ping_max"), Some(&2.into()), "{varz:#}");
    assert!(
        server.nats.starts_with("nats://127.0.0.1:"),
        "{}",
        server.nats
    );
}

#[test]
fn a_killed_registry_leaves_no_server_and_the_next_one_starts_at_once() {
    let data = tempfile::tempdir().unwrap();
    let listen = free_port().to_string();
    let mut driver = Driver::start(data.path(), &listen);
    for _ in 0..5 {
        let (id, url) = driver.ready();
        assert_eq!(url, format!("nats://{listen}"));
        driver.kill();
        driver = Driver::start(data.path(), &listen);
        wait_for("the killed registry's server to end", || is_gone(id));
    }
    driver.ready();
    driver.stop();
}

#[test]
fn a_registry_killed_while_it_starts_leaves_no_server() {
    fn has_text(path: &Path) -> bool {
        std::fs::read(path).is_ok_and(|text| !text.is_empty())
    }
    let moments = [
        ("lock", Path::exists as fn(&Path) -> bool),
        ("lock", has_text),
        ("nats-server.log", has_text),
    ];
    for (file, reached) in moments {
        let data = tempfile::tempdir().unwrap();
        let lock = data.path().join("nats/lock");
        let file = data.path().join("nats").join(file);
        let driver = Driver::start(data.path(), "127.0.0.1:0");
        wait_for("the moment to kill it", || reached(&file));
        driver.kill();
        // Whoever is left has the lock, or is about to take it and finds its registry gone.
        wait_for("the lock to be free", || {
            File::open(&lock).unwrap().try_lock().is_ok()
        });
        let id = std::fs::read_to_string(&lock).unwrap();
        if let Some(id) = id.split_whitespace().next() {
            wait_for("the child to end", || is_gone(id.parse().unwrap()));
        }
    }
}

#[test]
fn waits_for_its_former_server_that_still_has_folder_and_port() {
    let data = tempfile::tempdir().unwrap();
    // What is left of a killed registry: its server, shutting down, played by this process.
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = port.local_addr().unwrap().to_string();
    let mut registry = Command::new("true").spawn().unwrap();
    registry.wait().unwrap();
    std::fs::create_dir(data.path().join("nats")).unwrap();
    let mut lock = File::create(data.path().join("nats/lock")).unwrap();
    lock.lock().unwrap();
    write!(lock, "{} {}", std::process::id(), registry.id()).unwrap();

    let driver = Driver::start(data.path(), &listen);
    let waiting = driver.line("the data folder is in use, waiting");
    let former = format!(
        "nats-server {}, whose registry {} is gone",
        std::process::id(),
        registry.id()
    );
    assert!(waiting.contains(&former), "{waiting}");
    drop(port);
    drop(lock);
    let (_, url) = driver.ready();
    assert_eq!(url, format!("nats://{listen}"));
    driver.stop();
}

#[test]
fn a_folder_in_use_is_refused_and_says_by_whom() {
    let data = tempfile::tempdir().unwrap();
    let first = Driver::start(data.path(), "127.0.0.1:0");
    let (id, _) = first.ready();
    let since = Instant::now();
    let second = Driver::start(data.path(), "127.0.0.1:0");
    let refused = second.line("REFUSED ");
    // Who goes on is not waited for: that would take ten seconds.
    assert!(since.elapsed() < Duration::from_secs(8), "{refused}");
    let holder = format!("is in use by process {} (", first.child.id());
    assert!(refused.contains(&holder), "{refused}");
    assert!(refused.contains("--data"), "{refused}");
    assert!(!is_gone(id));
    first.stop();
}

#[tokio::test]
async fn a_taken_port_is_refused_and_says_by_whom() {
    let data = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = listener.local_addr().unwrap().to_string();
    let refused = start(data.path(), &listen).await.unwrap_err();
    assert!(matches!(refused, Error::PortTaken { .. }), "{refused}");
    let text = refused.to_string();
    let taken = format!("{listen} is taken by process {} (", std::process::id());
    assert!(text.starts_with(&taken), "{text}");
    assert!(text.contains("`--listen 127.0.0.1:0`"), "{text}");
    // Nothing is left that would have the folder locked.
    drop(listener);
    start(data.path(), &listen).await.unwrap().stop().await;
}

#[tokio::test]
async fn an_address_of_another_machine_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let refused = start(data.path(), "192.0.2.1:4222").await.unwrap_err();
    assert!(matches!(refused, Error::Listen { .. }), "{refused}");
}

#[test]
fn a_server_that_dies_is_told_with_its_last_words() {
    let data = tempfile::tempdir().unwrap();
    let mut driver = Driver::start(data.path(), "127.0.0.1:0");
    let (id, _) = driver.ready();
    kill_process(pid(id), Signal::KILL).unwrap();
    let how = driver.line("EXITED ");
    assert!(
        how.starts_with("it was ended by signal 9; last in "),
        "{how}"
    );
    assert!(how.ends_with("Server is ready"), "{how}");
    driver.child.wait().unwrap();
}

/// Runs `onex serve` on that data folder until it refuses: its exit code, and what it said.
fn refused(command: &mut Command) -> (Option<i32>, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

fn serve_on(data: &Path) -> Command {
    let mut command = Command::new(ONEX);
    command.args(["serve", "--embedded", "--listen", "127.0.0.1:0", "--data"]);
    command.arg(data);
    command
}

#[test]
fn a_server_that_cannot_start_is_told_with_its_last_words() {
    let data = tempfile::tempdir().unwrap();
    let server = data.path().join("server");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --config ] || exec echo 'nats-server: v{SERVER_VERSION_MIN}'\n\
         echo '[FTL] out of luck' >&2; exit 1\n"
    );
    std::fs::write(&server, script).unwrap();
    std::fs::set_permissions(&server, PermissionsExt::from_mode(0o755)).unwrap();
    let (code, said) = refused(serve_on(data.path()).env("ONEX_NATS_SERVER", &server));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("nats-server did not start") && said.contains("[FTL] out of luck"),
        "{said}"
    );
}

/// What is done to a data folder before it is used.
type Spoils<'a> = &'a dyn Fn(&Path);

/// Whichever process finds it: the folder is what the command line names.
#[test]
fn a_data_folder_that_cannot_be_used_is_an_error_of_the_command_line() {
    let make_folder = |path: &Path| std::fs::create_dir_all(path).unwrap();
    let make_file = |path: &Path| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    };
    let cases: [(&str, Spoils<'_>, &str); 8] = [
        ("", &make_file, "Not a directory"),
        ("nats", &make_file, "exists"),
        ("nats/ports", &make_file, "exists"),
        ("nats/lock", &make_folder, "Is a directory"),
        ("nats/nats-server.conf", &make_folder, "Is a directory"),
        ("nats/nats-server.out", &make_folder, "Is a directory"),
        ("nats/nats-server.log", &make_folder, "Is a directory"),
        ("nats/jetstream", &make_file, "exists"),
    ];
    for (what, make, why) in cases {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        let path = if what.is_empty() {
            data.clone()
        } else {
            data.join(what)
        };
        make(&path);
        let (code, said) = refused(&mut serve_on(&data));
        assert_eq!(code, Some(2), "{what}: {said}");
        let told = said.lines().find(|line| line.starts_with("onex serve: "));
        let told = told.unwrap();
        let path = path.to_str().unwrap();
        assert!(
            told.contains("--data: cannot use ") && told.contains(path) && told.contains(why),
            "{what}: {told}"
        );
    }
}

/// Nothing can be written, as on a disk that is full.
#[test]
fn a_data_folder_without_room_is_an_error_of_the_command_line() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    for named in [true, false] {
        let mut command = Command::new("sh");
        // Whoever writes is told instead of killed.
        let limited = "trap '' XFSZ; ulimit -f 0; exec \"$@\"";
        command.args(["-c", limited, "sh", ONEX, "serve", "--embedded"]);
        command.args(["--listen", "127.0.0.1:0"]);
        if named {
            command.args(["--data", folder]);
        }
        let (code, said) = refused(command.env("XDG_DATA_HOME", folder));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("File too large"), "{said}");
        assert!(said.contains(folder) && said.contains("--data"), "{said}");
    }
}

#[test]
fn a_server_outlives_the_thread_that_asked_for_it() {
    let data = tempfile::tempdir().unwrap();
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let path = data.path().to_owned();
    let asked = move || runtime().block_on(start(&path, "127.0.0.1:0")).unwrap();
    let mut server = thread::spawn(asked).join().unwrap();
    runtime().block_on(async {
        // Its end would come at once: the signal is sent before the thread can be joined.
        let ended = tokio::time::timeout(Duration::from_millis(500), server.exited()).await;
        assert!(ended.is_err(), "{ended:?}");
        server.stop().await;
    });
}
