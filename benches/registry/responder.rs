//! What answers the yardsticks' requests: this program once more, so that a request to it takes the same way as one to
//! the registry, over the server into another process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use async_nats::{Client, Message};
use bytes::Bytes;
use futures::StreamExt as _;

/// Its argument, before the server's URL.
pub(crate) const ARGUMENT: &str = "--responder";
/// Answers what it is sent.
pub(crate) const ECHO: &str = "bench.echo";
/// Answers as many bytes as the last token says.
pub(crate) const SIZED: &str = "bench.sized";
/// A tool: its result is its arguments.
pub(crate) const TOOL: &str = "bench.tool";

/// The process.
pub(crate) struct Responder(Child);

impl Responder {
    /// Starts it; it listens.
    pub(crate) fn start(url: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([ARGUMENT, url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Answers until nobody holds the other end of its standard input.
pub(crate) async fn serve(url: &str) {
    let client = async_nats::connect(url).await.unwrap();
    let itself = |message: &Message| message.payload.clone();
    listen(&client, ECHO.to_owned(), itself).await;
    listen(&client, TOOL.to_owned(), itself).await;
    let mut body = Bytes::new();
    let sized = move |message: &Message| {
        let size = message.subject.rsplit('.').next().unwrap();
        let size: usize = size.parse().unwrap();
        if body.len() != size {
            body = vec![b'x'; size].into();
        }
        body.clone()
    };
    listen(&client, format!("{SIZED}.*"), sized).await;
    super::harness::round_trip(&client).await;
    let mut out = std::io::stdout();
    writeln!(out, "ready").unwrap();
    out.flush().unwrap();
    // A thread of its own: the runtime would wait for one that reads.
    let (gone, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = gone.send(());
    });
    let _ = ended.await;
}

async fn listen<F>(client: &Client, subject: String, mut answer: F)
where
    F: FnMut(&Message) -> Bytes + Send + 'static,
{
    let mut messages = client
        .queue_subscribe(subject, "bench".to_owned())
        .await
        .unwrap();
    let client = client.clone();
    tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            let body = answer(&message);
            if let Some(reply) = message.reply {
                client.publish(reply, body).await.unwrap();
            }
        }
    });
}
