//! An `onex serve` or `onex agent` process, and signals to it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Nats, PATIENCE};

/// The line of its log behind which the registry takes requests; it names the server.
const READY: &str = "try: nats --server ";

/// What the folders are called in which the registries of one test process note how far stores are; its number follows.
const STATE: &str = "state-";

pub(crate) struct Registry {
    child: Child,
    log: Arc<Log>,
    url: String,
    own_server: bool,
    /// Goes when it does.
    data: Option<TempDir>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    news: Condvar,
}

/// A command of `onex`, without what the environment says of registries.
fn onex(command: &str) -> Command {
    let mut onex = Command::new(env!("CARGO_BIN_EXE_onex"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let kept = name == "ONEX_NATS_SERVER";
        if name.starts_with("ONEX_") && !kept || name.starts_with("NATS_") {
            onex.env_remove(name.as_ref());
        }
    }
    onex.arg(command);
    onex
}

impl Registry {
    /// One with a NATS server of its own, ready. What it stores goes when it does.
    pub(crate) fn start(args: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut registry = Self::start_in(data.path(), args);
        registry.data = Some(data);
        registry
    }

    /// The same, and what it stores stays.
    pub(crate) fn start_in(data: &Path, args: &[&str]) -> Self {
        let mut all = vec!["--embedded", "--listen", "127.0.0.1:0", "--data"];
        all.push(data.to_str().unwrap());
        all.extend(args);
        let mut registry = Self::spawn(&all);
        registry.await_ready();
        registry
    }

    /// One that uses `nats`, ready.
    pub(crate) fn on(nats: &Nats, args: &[&str]) -> Self {
        let mut registry = Self::spawn_on(nats, args);
        registry.await_ready();
        registry
    }

    /// One that uses `nats`, just started.
    pub(crate) fn spawn_on(nats: &Nats, args: &[&str]) -> Self {
        let url = nats.url();
        let mut all = vec!["--nats", url.as_str()];
        all.extend(args);
        Self::spawn(&all)
    }

    /// `onex serve` with these arguments, just started.
    pub(crate) fn spawn(args: &[&str]) -> Self {
        Self::spawn_at_home(args, None)
    }

    /// The same, for a user with that home folder, where it is not this process's.
    pub(crate) fn spawn_at_home(args: &[&str], home: Option<&Path>) -> Self {
        let mut command = onex("serve");
        if let Some(home) = home {
            command.env("HOME", home).env_remove("XDG_CONFIG_HOME");
        }
        command.args(args);
        Self::spawn_command(command, !args.contains(&"--nats"))
    }

    /// `onex agent` with these arguments, for registries that use `nats`, just started.
    pub(crate) fn spawn_agent(nats: &Nats, args: &[&str]) -> Self {
        let mut command = onex("agent");
        command.args(["--nats", &nats.url()]).args(args);
        Self::spawn_command(command, false)
    }

    /// One that tries the ports of that host.
    pub(crate) fn agent(nats: &Nats, host: &str) -> Self {
        let agent = Self::spawn_agent(nats, &["--host", host]);
        agent.line("ready: trying ports");
        agent
    }

    /// Where the registries of this process note how far stores are: not in the home of whoever runs the tests.
    pub(crate) fn state_folder() -> &'static Path {
        static FOLDER: OnceLock<PathBuf> = OnceLock::new();
        FOLDER.get_or_init(|| {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
            remove_state_of_the_dead(folder);
            folder.join(format!("{STATE}{}", std::process::id()))
        })
    }

    /// What that command starts; `own_server` says whether that has a NATS server of its own.
    pub(crate) fn spawn_command(mut command: Command, own_server: bool) -> Self {
        if !command.get_envs().any(|(name, _)| name == "XDG_STATE_HOME") {
            command.env("XDG_STATE_HOME", Self::state_folder());
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Log::default());
        let reader = BufReader::new(child.stderr.take().unwrap());
        // For looking at a failure: with RUST_LOG, everything that every instance says, as it comes.
        let aloud = std::env::var_os("ONEX_TEST_ALOUD").map(|_| child.id());
        thread::spawn({
            let log = Arc::clone(&log);
            move || {
                for line in reader.lines().map_while(Result::ok) {
                    if let Some(pid) = aloud {
                        eprintln!("[{pid}] {line}");
                    }
                    log.lines.lock().unwrap().0.push(line);
                    log.news.notify_all();
                }
                log.lines.lock().unwrap().1 = true;
                log.news.notify_all();
            }
        });
        Self {
            child,
            log,
            url: String::new(),
            own_server,
            data: None,
        }
    }

    /// Waits until it takes requests.
    pub(crate) fn await_ready(&mut self) {
        let line = self.line(READY);
        let url = line.split_whitespace().next().unwrap();
        url.clone_into(&mut self.url);
    }

    /// Waits for a line with `mark`; what follows it.
    pub(crate) fn line(&self, mark: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut guard = self.log.lines.lock().unwrap();
        loop {
            let found = guard.0.iter().find_map(|line| line.split_once(mark));
            if let Some((_, rest)) = found {
                return rest.to_owned();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !guard.1 && !left.is_zero(),
                "no {mark:?} in its log:\n{}",
                guard.0.join("\n")
            );
            guard = self.log.news.wait_timeout(guard, left).unwrap().0;
        }
    }

    /// Where its NATS server is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn said(&self) -> String {
        // Asked for when a test has failed as well, with the log in its hands perhaps: a second panic
        // would take the other tests with it.
        let lines = self.log.lines.lock();
        let lines = lines.unwrap_or_else(PoisonError::into_inner);
        lines.0.join("\n")
    }

    /// SIGKILL, and it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGSTOP, and every thread of it stands.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        let stands = |task: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let (_, state) = stat.rsplit_once(") ").unwrap_or_default();
            state.starts_with('T')
        };
        let since = Instant::now();
        while !std::fs::read_dir(&tasks).unwrap().flatten().all(stands) {
            assert!(since.elapsed() < PATIENCE, "it does not stop");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Its child processes: a NATS server of its own.
    pub(crate) fn children(&self) -> Vec<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let of_task = |task: std::fs::DirEntry| {
            let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let ids = text.split_whitespace().map(|id| id.parse().unwrap());
            ids.collect::<Vec<u32>>()
        };
        tasks.flatten().flat_map(of_task).collect()
    }

    /// Bytes of memory that it has.
    pub(crate) fn memory(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let resident = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }

    /// Whether it has not ended.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it ends by itself: how, and all that it said.
    pub(crate) fn ended(&mut self) -> (ExitStatus, String) {
        let status = super::ended(&mut self.child);
        let mut guard = self.log.lines.lock().unwrap();
        while !guard.1 {
            guard = self.log.news.wait_timeout(guard, PATIENCE).unwrap().0;
        }
        (status, guard.0.join("\n"))
    }

    /// What it said when it refused to go on: it ended by itself, not with success, and not by a panic.
    #[track_caller]
    pub(crate) fn refusal(self) -> String {
        self.refusal_with(1)
    }

    /// The same, with that exit code.
    #[track_caller]
    pub(crate) fn refusal_with(mut self, code: i32) -> String {
        let (status, said) = self.ended();
        assert_eq!(status.code(), Some(code), "{said}");
        let last = said.lines().rfind(|line| line.starts_with("onex serve: "));
        last.unwrap_or_else(|| panic!("no reason given:\n{said}"))
            .to_owned()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // A server of its own ends with it.
        if self.own_server && self.runs() {
            super::traffic::read_streams(&self.url);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!(
                "--- registry {} said:\n{}\n---",
                self.child.id(),
                self.said()
            );
        }
    }
}

/// Removes the state folders of test processes that have ended: nothing of a process is left to do so at its end.
fn remove_state_of_the_dead(folder: &Path) {
    for found in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = found.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(STATE));
        let lives = |owner: &str| {
            let is_another = owner != std::process::id().to_string();
            is_another && Path::new("/proc").join(owner).exists()
        };
        if owner.is_some_and(|owner| !lives(owner)) {
            // Another process may remove it at the same time.
            let _ = std::fs::remove_dir_all(found.path());
        }
    }
}
