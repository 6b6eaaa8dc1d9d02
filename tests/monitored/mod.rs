//! A nats-server run with somebody's configuration, asked through its monitoring port what it made of it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Monitored {
    child: Child,
    pub(crate) nats: String,
    http: String,
}

impl Monitored {
    /// Runs `config`, which asks for any free port for clients and for monitoring. What it writes is in `folder`.
    pub(crate) fn start(config: &str, folder: &Path) -> Self {
        let (file, ports) = (
            folder.join("monitored.conf"),
            folder.join("monitored-ports"),
        );
        std::fs::write(&file, config).unwrap();
        std::fs::create_dir(&ports).unwrap();
        let server = std::env::var_os("ONEX_NATS_SERVER").unwrap_or_else(|| "nats-server".into());
        let output = File::create(folder.join("monitored.out")).unwrap();
        let mut child = Command::new(server)
            .arg("--config")
            .arg(&file)
            .arg("--ports_file_dir")
            .arg(&ports)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let since = Instant::now();
        let (nats, http) = loop {
            if let Some(listening) = listening(&ports) {
                break listening;
            }
            let ended = child.try_wait().unwrap();
            if ended.is_some() || since.elapsed() > PATIENCE {
                let _ = child.kill();
                let said = std::fs::read_to_string(folder.join("monitored.out")).unwrap();
                panic!("nats-server did not start ({ended:?}) with\n{config}\nand said\n{said}");
            }
            thread::sleep(Duration::from_millis(2));
        };
        Self { child, nats, http }
    }

    /// The status and body of a page of the monitoring port.
    pub(crate) fn get(&self, page: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.http.strip_prefix("http://").unwrap()).unwrap();
        write!(stream, "GET {page} HTTP/1.0\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = reply.split_once("\r\n\r\n").unwrap();
        (status, serde_json::from_str(body).unwrap())
    }
}

impl Drop for Monitored {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The URLs for clients and for monitoring, when the server has written them.
fn listening(ports: &Path) -> Option<(String, String)> {
    let file = std::fs::read_dir(ports).unwrap().next()?.unwrap().path();
    let ports: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let first = |kind: &str| Some(ports.get(kind)?.get(0)?.as_str()?.to_owned());
    Some((first("nats")?, first("monitoring")?))
}
