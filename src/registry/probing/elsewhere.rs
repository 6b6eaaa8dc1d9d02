//! Asks whoever runs on another host to try its ports, or who uses them.

use std::time::Duration;

use async_nats::Client;
use bytes::Bytes;
use onex_core::command::Probed;
use onex_machine::LISTENERS_MAX;
use onex_types::key::PortKey;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::protocol::{
    names::Namespace,
    probe::{
        ANSWER_WAIT_MAX, ProbePort, ProbeReply, ProbeRequest, ProbeResult, SeenPort, USED_PORTS_MAX,
    },
};

/// What trying each of the ports, which are on one host, said; none where nobody said it in time.
pub(super) async fn ask(
    client: &Client,
    namespace: &Namespace,
    keys: &[PortKey],
    left: Duration,
) -> Option<Vec<Probed>> {
    let host = &keys.first()?.host;
    let question = ProbeRequest::Try(keys.iter().map(asked).collect());
    let reply: ProbeReply = answer(client, namespace.probe(host), &question, left).await?;
    let results = reply.results.into_iter().map(|result| match result {
        ProbeResult::Bindable => Probed::Bindable,
        ProbeResult::InUse => Probed::InUse,
        ProbeResult::Unknown => Probed::Unknown,
    });
    let results: Vec<Probed> = results.collect();
    (results.len() == keys.len()).then_some(results)
}

/// Who uses a port; none where nobody said it in time.
pub(super) async fn look(
    client: &Client,
    namespace: &Namespace,
    key: &PortKey,
) -> Option<SeenPort> {
    let question = ProbeRequest::Look(asked(key));
    let seen: Option<SeenPort> = answer(
        client,
        namespace.probe(&key.host),
        &question,
        ANSWER_WAIT_MAX,
    )
    .await;
    // Whoever answers may be no agent at all.
    seen.filter(|seen| seen.listeners.len() <= LISTENERS_MAX && seen.used.len() <= USED_PORTS_MAX)
}

fn asked(key: &PortKey) -> ProbePort {
    ProbePort {
        transport: key.transport,
        port: key.port,
    }
}

async fn answer<T: DeserializeOwned>(
    client: &Client,
    subject: String,
    question: &ProbeRequest,
    left: Duration,
) -> Option<T> {
    let body = Bytes::from(serde_json::to_vec(question).ok()?);
    let answer = timeout(ANSWER_WAIT_MAX.min(left), client.request(subject, body)).await;
    serde_json::from_slice(&answer.ok()?.ok()?.payload).ok()
}
