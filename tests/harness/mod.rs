//! A registry with a NATS server of its own, as `onex serve` starts it.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::channel,
    time::{Duration, Instant},
};

/// Far longer than anything here takes; reached only when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What a registry logs when it is ready: the URL stands behind it.
const READY: &str = "try: nats --server ";

/// A registry that serves. It is killed when this goes away, and its data with it.
pub(crate) struct Registry {
    child: Child,
    url: String,
    _data: tempfile::TempDir,
}

impl Registry {
    /// Starts `onex serve` with `args`, and waits until it is ready. Unless they say otherwise it starts
    /// a NATS server of its own on any free port.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_in(args, &[])
    }

    /// The same, with more variables in its environment, which has nothing but `PATH` otherwise.
    pub(crate) fn start_in(args: &[&str], environment: &[(&str, &OsStr)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_onex"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        // Read to the end: a registry whose log nobody reads would stop at a full pipe.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let until = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        let url = loop {
            let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now()))
            else {
                let _ = child.kill();
                let _ = child.wait();
                panic!(
                    "the registry did not get ready; it said\n{}",
                    said.join("\n")
                );
            };
            if let Some((_, rest)) = line.split_once(READY) {
                break rest.split(' ').next().unwrap().to_owned();
            }
            said.push(line);
        };
        Self {
            child,
            url,
            _data: data,
        }
    }

    /// Where its NATS server is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
