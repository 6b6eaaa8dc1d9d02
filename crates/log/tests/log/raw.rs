//! What somebody else does to the stream.

use std::time::Duration;

use async_nats::Client;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

pub(crate) const STREAM: &str = "KV_test";
pub(crate) const SUBJECT: &str = "$KV.test.log";

/// Another client in the same account.
pub(crate) struct Stranger {
    pub(crate) client: Client,
    url: String,
}

impl Stranger {
    pub(crate) async fn at(url: &str) -> Self {
        Self {
            client: async_nats::connect(url).await.unwrap(),
            url: url.to_owned(),
        }
    }

    /// A request to the JetStream API; an error of the server's is an answer too.
    pub(crate) async fn api(&self, request: &str, body: &Value) -> Value {
        let subject = format!("$JS.API.{request}");
        let body = serde_json::to_vec(body).unwrap().into();
        let answer = self.client.request(subject, body).await.unwrap();
        serde_json::from_slice(&answer.payload).unwrap()
    }

    pub(crate) async fn config(&self) -> Value {
        self.api(&format!("STREAM.INFO.{STREAM}"), &json!({})).await["config"].clone()
    }

    /// Changes one setting.
    pub(crate) async fn edit(&self, setting: &str, value: Value) -> Value {
        let mut config = self.config().await;
        config[setting] = value;
        self.api(&format!("STREAM.UPDATE.{STREAM}"), &config).await
    }

    pub(crate) async fn delete_stream(&self) {
        let answer = self
            .api(&format!("STREAM.DELETE.{STREAM}"), &json!({}))
            .await;
        assert_eq!(answer["success"], true, "{answer}");
    }

    pub(crate) async fn last(&self) -> u64 {
        let info = self.api(&format!("STREAM.INFO.{STREAM}"), &json!({})).await;
        info["state"]["last_seq"].as_u64().unwrap()
    }

    /// The lines of a stored message's header block.
    pub(crate) async fn headers(&self, sequence: u64) -> Vec<String> {
        let got = self
            .api(
                &format!("STREAM.MSG.GET.{STREAM}"),
                &json!({ "seq": sequence }),
            )
            .await;
        let block = BASE64_STANDARD
            .decode(got["message"]["hdrs"].as_str().unwrap())
            .unwrap();
        let block = String::from_utf8(block).unwrap();
        block
            .lines()
            .skip(1)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }

    pub(crate) async fn delete_consumers(&self) {
        let listed = self
            .api(&format!("CONSUMER.NAMES.{STREAM}"), &json!({}))
            .await;
        for name in listed["consumers"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            let answer = self
                .api(&format!("CONSUMER.DELETE.{STREAM}.{name}"), &json!({}))
                .await;
            assert_eq!(answer["success"], true, "{answer}");
        }
    }

    /// Stores a message with that header block, byte by byte; no client library would send some of them.
    pub(crate) async fn store(&self, block: &[u8], body: &str) {
        let address = self.url.strip_prefix("nats://").unwrap();
        let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        let total = block.len() + body.len();
        let mut text =
            b"CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB raw.reply 1\r\n".to_vec();
        text.extend(format!("HPUB {SUBJECT} raw.reply {} {total}\r\n", block.len()).bytes());
        text.extend(block);
        text.extend(body.bytes());
        text.extend(b"\r\n");
        stream.get_mut().write_all(&text).await.unwrap();
        let mut line = String::new();
        let answered = async {
            while !line.starts_with("MSG raw.reply") {
                line.clear();
                assert!(stream.read_line(&mut line).await.unwrap() > 0, "closed");
                assert!(!line.starts_with("-ERR"), "{line}");
            }
            let length: usize = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
            let mut answer = vec![0; length];
            stream.read_exact(&mut answer).await.unwrap();
            String::from_utf8(answer).unwrap()
        };
        let answer = tokio::time::timeout(Duration::from_secs(20), answered)
            .await
            .unwrap();
        assert!(answer.contains("\"seq\""), "{answer}");
    }
}
