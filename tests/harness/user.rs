//! Someone at a terminal: `onex` commands, and what comes out.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use super::{Nats, PATIENCE, Registry};

/// A user: a home folder, and what is in the environment.
pub(crate) struct User {
    pub(crate) home: tempfile::TempDir,
    pub(crate) environment: Vec<(&'static str, String)>,
}

/// What a command came to.
pub(crate) struct Ran {
    pub(crate) line: String,
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl User {
    pub(crate) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            environment: Vec::new(),
        }
    }

    /// One to whom that registry is the only one.
    pub(crate) fn of(registry: &Registry) -> Self {
        Self::new().with("NATS_URL", registry.url())
    }

    /// One at this machine, as whom the registries at that server run.
    pub(crate) fn of_registries(nats: &Nats) -> Self {
        let state = Registry::state_folder().to_str().unwrap();
        Self::new()
            .with("NATS_URL", &nats.url())
            .with("XDG_STATE_HOME", state)
    }

    /// The log at that server is lost, and this user accepts it. No registry runs meanwhile.
    pub(crate) async fn lose_log(nats: &Nats) {
        let client = async_nats::connect(nats.url()).await.unwrap();
        let context = async_nats::jetstream::new(client);
        context.delete_stream("KV_onex-registry").await.unwrap();
        Self::of_registries(nats)
            .run("doctor --accept-restore --holders-restarted")
            .exits(0);
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    pub(crate) fn path(&self, below_home: &str) -> PathBuf {
        self.home.path().join(below_home)
    }

    pub(crate) fn requester_file(&self) -> PathBuf {
        self.path(".local/state/onex-registry/requester-id")
    }

    /// Runs `onex` with the words of `line`.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.piped(line, Vec::new())
    }

    /// The same, with that on stdin.
    pub(crate) fn piped(&self, line: &str, stdin: impl Into<Vec<u8>>) -> Ran {
        let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_onex"))
            .args(line.split_whitespace())
            .env_clear()
            .env("HOME", self.home.path())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .write_stdin(stdin)
            .timeout(PATIENCE)
            .output()
            .unwrap();
        Ran {
            line: line.to_owned(),
            exit: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Writes a context of the `nats` command line.
    pub(crate) fn context(&self, name: &str, context: &Value) {
        let folder = self.path(".config/nats/context");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.json")), context.to_string()).unwrap();
    }

    pub(crate) fn select(&self, name: &str) {
        std::fs::write(self.path(".config/nats/context.txt"), format!("{name}\n")).unwrap();
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn exits(self, exit: i32) -> Self {
        let Self {
            line,
            stdout,
            stderr,
            ..
        } = &self;
        assert_eq!(self.exit, exit, "onex {line}\n{stdout}\n{stderr}");
        self
    }

    /// Stdout, which is one JSON document; stderr is empty.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let this = self.exits(0);
        assert_eq!(this.stderr, "", "onex {}", this.line);
        serde_json::from_str(&this.stdout).unwrap()
    }

    /// The `error` on stderr, which is one JSON document; stdout is empty.
    #[track_caller]
    pub(crate) fn json_error(self, exit: i32) -> Value {
        let this = self.exits(exit);
        assert_eq!(this.stdout, "", "onex {}", this.line);
        let mut whole: Value = serde_json::from_str(&this.stderr).unwrap();
        whole["error"].take()
    }

    /// The cells of a table without gaps in it; the first row is the header.
    #[track_caller]
    pub(crate) fn table(self) -> Vec<Vec<String>> {
        let this = self.exits(0);
        let cells = |line: &str| {
            line.split("  ")
                .map(str::trim)
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect()
        };
        this.stdout.lines().map(cells).collect()
    }
}

#[track_caller]
pub(crate) fn assert_members(value: &Value, expected: &[&str]) {
    let members: BTreeSet<_> = value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(members, expected.iter().copied().collect(), "{value:#}");
}
