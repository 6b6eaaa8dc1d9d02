//! What is in the registry's log, as anyone with the `nats` command could read it, and write there.

use async_nats::HeaderMap;
use async_nats::jetstream::{self, consumer::DeliverPolicy, stream::Stream};
use futures::StreamExt as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Caller, until};

const SUBJECT: &str = "$KV.onex-registry.log";
const ENTRY: &str = "Onex-Entry";

/// The bucket's stream.
pub(crate) struct Log(Stream, jetstream::Context);

/// What one command changed.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// Where the entry is that holds it.
    pub(crate) position: u64,
    /// The key of a lease or node that lasts its TTL again; or an object that says what was asked for and what changed.
    pub(crate) body: Value,
}

impl Command {
    /// What was asked for; none of a renewal.
    pub(crate) fn kind(&self) -> &str {
        self.body["c"].as_str().unwrap_or_default()
    }

    /// Its changes: how, and of which key.
    pub(crate) fn changes(&self) -> Vec<(&str, &str)> {
        if let Some(key) = self.body.as_str() {
            return vec![("renew", key)];
        }
        let changes = self.body["do"].as_array().unwrap().iter();
        let kinds = ["put", "renew", "confirm", "end", "add", "del"];
        let of = |change| kinds.map(|kind| Some((kind, Value::get(change, kind)?.as_str()?)));
        changes.flat_map(of).flatten().collect()
    }

    pub(crate) fn is_about(&self, key: &str) -> bool {
        self.changes().iter().any(|(_, changed)| *changed == key)
    }
}

impl Log {
    pub(crate) async fn of(caller: &Caller) -> Self {
        let context = jetstream::new(caller.client.clone());
        let stream = context.get_stream("KV_onex-registry").await.unwrap();
        Self(stream, context)
    }

    /// The last position.
    pub(crate) async fn last(&self) -> u64 {
        self.0.get_info().await.unwrap().state.last_sequence
    }

    /// Where the newest complete snapshot begins: a registry that starts reads from there on.
    pub(crate) async fn snapshot(&self) -> u64 {
        let message = self.0.get_raw_message(self.last().await).await.unwrap();
        let header = message.headers.get(ENTRY).unwrap().as_str().to_owned();
        header.split(' ').nth(3).unwrap().parse().unwrap()
    }

    /// The entries behind `after`: where they are, and what they say.
    async fn entries(&self, after: u64) -> Vec<(u64, Value)> {
        let last = self.last().await;
        let mut all = Vec::new();
        if last <= after {
            return all;
        }
        let config = jetstream::consumer::pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: after + 1,
            },
            ..Default::default()
        };
        let consumer = self.0.create_consumer(config).await.unwrap();
        let mut messages = consumer.messages().await.unwrap();
        while let Some(message) = messages.next().await {
            let message = message.unwrap();
            let position = message.info().unwrap().stream_sequence;
            let body = serde_json::from_slice(&message.payload).unwrap_or_default();
            all.push((position, body));
            if position >= last {
                break;
            }
        }
        all
    }

    /// The commands behind `after`, in order.
    pub(crate) async fn commands(&self, after: u64) -> Vec<Command> {
        let entries = self.entries(after).await.into_iter();
        let commands = entries.flat_map(|(position, body)| {
            let bodies = body["cmds"].as_array().cloned().unwrap_or_default();
            let command = move |body| Command { position, body };
            bodies.into_iter().map(command)
        });
        commands.collect()
    }

    /// Those of them that changed the record of that key.
    pub(crate) async fn about(&self, key: &str, after: u64) -> Vec<Command> {
        let mut commands = self.commands(after).await;
        commands.retain(|command| command.is_about(key));
        commands
    }

    /// The record that was last put under a key.
    pub(crate) async fn record(&self, key: &str) -> Option<Value> {
        let commands = self.about(key, 0).await;
        let mut changes = commands.iter().rev().filter_map(|command| {
            let changes = command.body["do"].as_array()?.iter();
            changes.rev().find(|change| change["put"] == key)
        });
        changes.next().cloned()
    }

    /// Everything that it says.
    pub(crate) async fn text(&self) -> String {
        let entries = self.entries(0).await;
        entries.iter().map(|(_, body)| body.to_string()).collect()
    }

    /// Appends a command with these changes, as an instance would: every registry takes it for true.
    pub(crate) async fn append(&self, changes: Value) {
        self.append_of(None, changes).await;
    }

    /// The same, in another format.
    pub(crate) async fn append_in_format(&self, format: u32, changes: Value) {
        self.append_of(Some(format.to_string()), changes).await;
    }

    async fn append_of(&self, format: Option<String>, changes: Value) {
        until("the command to be in the log", async || {
            let last = self.last().await;
            let message = self.0.get_raw_message(last).await.unwrap();
            let header = message.headers.get(ENTRY).unwrap().as_str().to_owned();
            let words: Vec<&str> = header.split(' ').collect();
            let id = Uuid::new_v4().simple().to_string();
            let format = format.as_deref().unwrap_or(words[2]);
            let header = [&id, words[0], format, words[3], words[4]].join(" ");
            let entry: Value = serde_json::from_slice(&message.payload).unwrap();
            let commands = entry["cmds"].as_array().unwrap().len() as u64;
            let rev = entry["rev"].as_u64().unwrap() + commands;
            let body = json!({
                "rev": rev, "at": entry["at"], "cmds": [{"c": "by.hand", "do": changes}],
            });
            let mut headers = HeaderMap::new();
            headers.insert(ENTRY, header.as_str());
            headers.insert("Nats-Expected-Last-Sequence", last.to_string().as_str());
            let sent = self
                .1
                .publish_with_headers(SUBJECT, headers, body.to_string().into());
            sent.await.unwrap().await.ok()
        })
        .await;
    }
}
