//! When a started server accepts clients, and on which port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The name that the server runs under, with which the name of its ports file begins.
pub(super) const SERVER_NAME: &str = "nats-server";

/// The server greets at once; this is for a machine under heavy load.
const GREETING_WAIT_MAX: Duration = Duration::from_secs(2);

/// A greeting is below 2 KiB.
const GREETING_BYTES_MAX: u64 = 64 * 1024;

/// The port on which the server `pid` says that it listens, once it does.
pub(super) fn port(ports: &Path, pid: u32) -> Option<u16> {
    #[derive(Deserialize)]
    struct Ports {
        nats: Vec<String>,
    }
    // Missing or half written: not yet.
    let text = std::fs::read(ports.join(format!("{SERVER_NAME}_{pid}.ports"))).ok()?;
    let ports: Ports = serde_json::from_slice(&text).ok()?;
    ports.nats.first()?.rsplit_once(':')?.1.parse().ok()
}

/// Where this machine reaches a server that listens on `listen`.
pub(super) fn reachable(listen: SocketAddr, port: u16) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, port)
}

/// Connects and waits for the server's greeting: its version, or None while it does not greet.
pub(super) async fn greeting(address: SocketAddr) -> Option<String> {
    timeout(GREETING_WAIT_MAX, read_greeting(address))
        .await
        .ok()
        .flatten()
}

async fn read_greeting(address: SocketAddr) -> Option<String> {
    #[derive(Deserialize)]
    struct Greeting {
        version: String,
    }
    let stream = TcpStream::connect(address).await.ok()?;
    let mut line = String::new();
    BufReader::new(stream.take(GREETING_BYTES_MAX))
        .read_line(&mut line)
        .await
        .ok()?;
    let greeting: Greeting = serde_json::from_str(line.strip_prefix("INFO ")?).ok()?;
    Some(greeting.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_written_ports_file_is_no_port() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("nats-server_7.ports");
        assert_eq!(port(root.path(), 7), None);
        for (text, expected) in [
            ("{\"nats\":[\"nats://127.0.", None),
            ("{\"nats\":[]}", None),
            ("{\"nats\":[\"nats://127.0.0.1:4222\"]}", Some(4222)),
            ("{\"nats\":[\"nats://[::1]:4223\"]}", Some(4223)),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(port(root.path(), 7), expected, "{text}");
        }
        assert_eq!(port(root.path(), 8), None);
    }

    #[test]
    fn all_addresses_are_reached_through_loopback() {
        for (listen, expected) in [
            ("0.0.0.0:0", "127.0.0.1:9"),
            ("[::]:0", "[::1]:9"),
            ("10.0.0.1:9", "10.0.0.1:9"),
        ] {
            assert_eq!(
                reachable(listen.parse().unwrap(), 9),
                expected.parse().unwrap(),
                "{listen}"
            );
        }
    }
}
