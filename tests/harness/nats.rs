//! A nats-server process that can be killed and started again on the same port with the same data.

use std::fs::File;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::PATIENCE;

pub(crate) struct Nats {
    folder: TempDir,
    port: u16,
    child: Child,
}

/// A port below those that the kernel gives to outgoing connections: nobody takes it while its server is away.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_000 + (std::process::id() * 37 + next) % 10_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The URL of whoever listens there.
pub(crate) fn url(port: u16) -> String {
    format!("nats://127.0.0.1:{port}")
}

impl Nats {
    /// With JetStream, synced to disk before each acknowledgement.
    pub(crate) fn start() -> Self {
        Self::start_with("jetstream { store_dir: \"FOLDER/store\", sync_interval: always }")
    }

    /// With these lines in its configuration, where `FOLDER` stands for a folder of its own.
    pub(crate) fn start_with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        configure(&folder, port, config);
        let child = run(&folder);
        let mut nats = Self {
            folder,
            port,
            child,
        };
        nats.await_ready();
        nats
    }

    /// A cluster of so many, just started: nobody waits until it has a leader.
    pub(crate) fn cluster(servers: usize) -> Vec<Self> {
        Self::cluster_with(servers, "")
    }

    /// The same, with these lines in the configuration of each.
    pub(crate) fn cluster_with(servers: usize, config: &str) -> Vec<Self> {
        let ports: Vec<u16> = (0..servers).map(|_| free_port()).collect();
        let routes: Vec<String> = ports.iter().copied().map(url).collect();
        let server = |(index, port): (usize, &u16)| {
            Self::member(
                index,
                &format!("listen: \"127.0.0.1:{port}\", routes: {routes:?}"),
                config,
            )
        };
        ports.iter().enumerate().map(server).collect()
    }

    /// One server of a cluster, with what its `cluster` block says of its way to the others, and these lines.
    pub(crate) fn member(index: usize, others: &str, config: &str) -> Self {
        Self::start_with(&format!(
            "server_name: n{index}\n{config}\njetstream {{ store_dir: \"FOLDER/store\" }}\n\
             cluster {{ name: c, {others} }}"
        ))
    }

    pub(crate) fn url(&self) -> String {
        url(self.port)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGSTOP: it takes nothing and answers nothing, and what is sent to it waits.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Lame duck mode: it takes no new client, hands over what it leads, and ends when its clients have gone.
    pub(crate) fn retire(&self) {
        self.signal(Signal::USR2);
    }

    /// SIGTERM, and it is gone.
    pub(crate) fn terminate(&mut self) {
        self.signal(Signal::TERM);
        self.child.wait().unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) fn await_end(&mut self) {
        self.child.wait().unwrap();
    }

    /// Whether it has ended by itself.
    #[allow(dead_code, reason = "each test file uses a part of it")]
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Another configuration, for when it is started again.
    pub(crate) fn configure(&self, config: &str) {
        configure(&self.folder, self.port, config);
    }

    /// Another configuration, from now on.
    pub(crate) fn reload(&self, config: &str) {
        self.configure(config);
        self.signal(Signal::HUP);
    }

    /// On the same port, with the same data.
    pub(crate) fn start_again(&mut self) {
        self.child = run(&self.folder);
        self.await_ready();
    }

    /// Keeps a copy of what it has stored. It does not run meanwhile.
    pub(crate) fn back_up(&self) {
        copy(&self.store(), &self.folder.path().join("backup"));
    }

    /// Puts that copy in the place of what it has stored since. It does not run meanwhile.
    pub(crate) fn put_back(&self) {
        std::fs::remove_dir_all(self.store()).unwrap();
        copy(&self.folder.path().join("backup"), &self.store());
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// JetStream is there before the first client is greeted.
    fn await_ready(&mut self) {
        let since = Instant::now();
        while !greets(self.port) {
            // Its port may be in use for a moment by what is left of its last run.
            if self.child.try_wait().unwrap().is_some() {
                self.child = run(&self.folder);
            }
            let said = || std::fs::read_to_string(self.folder.path().join("nats.log"));
            assert!(since.elapsed() < PATIENCE, "no greeting:\n{:?}", said());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn configure(folder: &TempDir, port: u16, config: &str) {
    let config = config.replace("FOLDER", folder.path().to_str().unwrap());
    let text = format!("host: \"127.0.0.1\"\nport: {port}\n{config}\n");
    std::fs::write(folder.path().join("nats.conf"), text).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting).is_ok() && &greeting == b"INFO "
}

fn run(folder: &TempDir) -> Child {
    let server = std::env::var_os("ONEX_NATS_SERVER").unwrap_or_else(|| "nats-server".into());
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.path().join("nats.log"))
        .unwrap();
    Command::new(server)
        .arg("--config")
        .arg(folder.path().join("nats.conf"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Drop for Nats {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            super::traffic::read_streams(&self.url());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
