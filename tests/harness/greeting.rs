//! What greets like a NATS server and does nothing else.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;

/// Greets with that version, as JSON writes it, says that then, and answers pings. Its URL.
pub(crate) fn greeting(version: &'static str, then: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || -> std::io::Result<()> {
                write!(
                    stream,
                    "INFO {{\"server_id\":\"OLD\",\"server_name\":\"old\",\"version\":\"{version}\",\"go\":\"go1\",\
                    \"host\":\"127.0.0.1\",\"port\":4222,\"headers\":true,\"max_payload\":1048576,\"proto\":1,\
                    \"client_id\":1,\"jetstream\":true}}\r\n{then}",
                )?;
                for line in BufReader::new(stream.try_clone()?).lines() {
                    if line?.starts_with("PING") {
                        stream.write_all(b"PONG\r\n")?;
                    }
                }
                Ok(())
            });
        }
    });
    url
}
