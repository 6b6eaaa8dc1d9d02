//! A provider of a tool as the test likes it: well-behaved, slow, wrong, or worse.

use std::future::Future;
use std::sync::{Arc, Mutex};

use async_nats::{Client, HeaderMap, Message};
use futures::StreamExt as _;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::round_trip;

/// A request as a provider got it.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) headers: HeaderMap,
    pub(crate) arguments: Value,
    /// The arguments as they came.
    pub(crate) text: String,
    reply: async_nats::Subject,
    client: Client,
}

/// Takes requests until it is dropped.
pub(crate) struct Provider {
    got: Arc<Mutex<Vec<Got>>>,
    task: JoinHandle<()>,
}

impl Provider {
    /// Does that with every request on the subject, all at once; one of a queue group as any good provider.
    pub(crate) async fn serve<F>(
        url: &str,
        subject: &str,
        behave: impl Fn(Got) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let client = async_nats::connect(url).await.unwrap();
        let mut requests = client
            .queue_subscribe(subject.to_owned(), "provider".to_owned())
            .await
            .unwrap();
        round_trip(&client).await;
        let got = Arc::<Mutex<Vec<Got>>>::default();
        let all = Arc::clone(&got);
        let task = tokio::spawn(async move {
            while let Some(message) = requests.next().await {
                let one = Got::of(message, &client);
                all.lock().unwrap().push(one.clone());
                tokio::spawn(behave(one));
            }
        });
        Self { got, task }
    }

    /// Answers each with what `result` makes of its arguments.
    pub(crate) async fn answering(
        url: &str,
        subject: &str,
        result: impl Fn(&Value) -> Value + Send + Clone + 'static,
    ) -> Self {
        Self::serve(url, subject, move |got| {
            let result = result(&got.arguments);
            async move { got.answer(&result).await }
        })
        .await
    }

    /// What it got so far.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// How many requests it got so far.
    pub(crate) fn count(&self) -> usize {
        self.got.lock().unwrap().len()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Got {
    fn of(message: Message, client: &Client) -> Self {
        Self {
            headers: message.headers.unwrap_or_default(),
            arguments: super::json::read(&message.payload).unwrap(),
            text: String::from_utf8(message.payload.to_vec()).unwrap(),
            reply: message.reply.unwrap(),
            client: client.clone(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.as_str())
    }

    pub(crate) async fn answer(&self, result: &Value) {
        self.answer_bytes(&[], result.to_string()).await;
    }

    pub(crate) async fn answer_bytes(&self, headers: &[(&str, &str)], body: String) {
        let headers = super::header_map(headers);
        self.client
            .publish_with_headers(self.reply.clone(), headers, body.into())
            .await
            .unwrap();
        self.client.flush().await.unwrap();
    }
}
