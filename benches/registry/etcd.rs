//! etcd, where there is one: a server of its own, and `etcd-leases`, which grants leases in it as a client of etcd would.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use super::harness::free_port;
use super::load::Sample;

/// A server and its client, each in a process of its own.
pub(crate) struct Etcd {
    server: Child,
    client: Child,
    asked: ChildStdin,
    answers: BufReader<ChildStdout>,
    _data: tempfile::TempDir,
}

/// How long each grant took, and all of them together, in microseconds.
#[derive(Deserialize)]
struct Measured {
    micros: Vec<u64>,
    took: u64,
}

impl Etcd {
    /// One whose values are so large; none where `etcd` and `etcd-leases` are not in the PATH.
    pub(crate) fn start(bytes: usize) -> Option<Self> {
        let data = tempfile::tempdir().unwrap();
        let url = format!("http://127.0.0.1:{}", free_port());
        let peers = format!("http://127.0.0.1:{}", free_port());
        let mut server = Command::new("etcd");
        server.arg("--data-dir").arg(data.path());
        server.args([
            "--listen-client-urls",
            &url,
            "--advertise-client-urls",
            &url,
        ]);
        server.args([
            "--listen-peer-urls",
            &peers,
            "--initial-advertise-peer-urls",
            &peers,
        ]);
        server.args([
            "--initial-cluster",
            &format!("default={peers}"),
            "--log-level",
            "error",
        ]);
        let mut server = server
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let client = Command::new("etcd-leases")
            .args([&url, &bytes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut client) = client else {
            end(&mut server);
            return None;
        };
        Some(Self {
            asked: client.stdin.take().unwrap(),
            answers: BufReader::new(client.stdout.take().unwrap()),
            server,
            client,
            _data: data,
        })
    }

    /// So many callers grant one lease after the other, for so long.
    pub(crate) fn measure(&mut self, callers: usize, window: Duration) -> Sample {
        writeln!(self.asked, "{callers} {}", window.as_millis()).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let measured: Measured = serde_json::from_str(&line).expect("etcd grants leases");
        let times = measured.micros.into_iter().map(Duration::from_micros);
        Sample::new(times.collect(), Duration::from_micros(measured.took))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        end(&mut self.client);
        end(&mut self.server);
    }
}

fn end(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}
