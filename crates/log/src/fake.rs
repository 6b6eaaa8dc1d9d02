//! What looks like a NATS server whose JetStream does not answer at first.

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

pub(crate) struct Fake {
    pub(crate) url: String,
}

impl Fake {
    /// One that leaves so many requests of a connection unanswered, and answers the next with an empty object.
    pub(crate) async fn start(unanswered: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, unanswered));
            }
        });
        Self { url }
    }
}

async fn serve(stream: TcpStream, unanswered: usize) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let info = "{\"server_id\":\"f\",\"max_payload\":1048576,\"headers\":true}";
    write
        .write_all(format!("INFO {info}\r\n").as_bytes())
        .await?;
    let (mut lines, mut asked) = (BufReader::new(read).lines(), 0);
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["PING"] => write.write_all(b"PONG\r\n").await?,
            ["PUB", _, reply, _] => {
                asked += 1;
                if asked > unanswered {
                    write
                        .write_all(format!("MSG {reply} 0 2\r\n{{}}\r\n").as_bytes())
                        .await?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
