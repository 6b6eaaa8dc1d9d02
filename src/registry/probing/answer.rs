//! Tries ports of this host, and looks who uses them, for instances that run elsewhere.

use async_nats::{Client, Message, Subject, SubscribeError};
use futures::StreamExt;
use onex_core::command::Probed;
use onex_types::{ids::Host, key::PortKey};
use serde::Serialize;
use tokio::time::timeout;

use crate::protocol::{
    inbox::Inboxes,
    names::{AGENT, Namespace},
    probe::{ANSWER_WAIT_MAX, PROBE_PORTS_MAX, ProbePort, ProbeReply, ProbeRequest, ProbeResult},
};

use super::{super::stop::Stop, bind, look::look};

/// Who tries the ports of a host for others.
#[derive(Clone)]
pub(in crate::registry) struct ProbeAnswers {
    pub(in crate::registry) namespace: Namespace,
    pub(in crate::registry) host: Host,
    /// Where answers may be sent.
    pub(in crate::registry) inboxes: Inboxes,
}

impl ProbeAnswers {
    /// Answers until the session ends. Of several on one host one is asked.
    pub(in crate::registry) async fn listen(
        &self,
        client: &Client,
        session: &Stop,
    ) -> Result<(), SubscribeError> {
        let subject = self.namespace.probe(&self.host);
        let mut asked = client.queue_subscribe(subject, AGENT.to_owned()).await?;
        let (this, client) = (self.clone(), client.clone());
        session.spawn(async move {
            while let Some(message) = asked.next().await {
                this.answer(&client, message).await;
            }
        });
        Ok(())
    }

    /// What is no question is not answered: an instance gives up by itself. Grants do not wait until somebody has looked.
    async fn answer(&self, client: &Client, message: Message) {
        let Some(inbox) = message.reply.filter(|reply| self.inboxes.has(reply)) else {
            return;
        };
        match serde_json::from_slice(&message.payload) {
            Ok(ProbeRequest::Try(ports)) if ports.len() <= PROBE_PORTS_MAX => {
                let host = self.host.clone();
                let tried = tokio::task::spawn_blocking(move || tried(&host, &ports));
                if let Ok(reply) = tried.await {
                    tell(client, inbox, &reply).await;
                }
            }
            Ok(ProbeRequest::Look(asked)) => {
                let client = client.clone();
                tokio::spawn(async move {
                    let looked = timeout(ANSWER_WAIT_MAX, look(asked.transport, asked.port)).await;
                    if let Ok(Some(seen)) = looked {
                        tell(&client, inbox, &seen).await;
                    }
                });
            }
            _ => {}
        }
    }
}

async fn tell(client: &Client, inbox: Subject, reply: &impl Serialize) {
    let Ok(body) = serde_json::to_vec(reply) else {
        return;
    };
    if let Err(error) = client.publish(inbox, body.into()).await {
        tracing::debug!(%error, "cannot tell an instance of ports that were tried");
    }
}

fn tried(host: &Host, ports: &[ProbePort]) -> ProbeReply {
    let results = ports.iter().map(|asked| {
        let key = PortKey {
            host: host.clone(),
            transport: asked.transport,
            port: asked.port,
        };
        match bind::probe(&key) {
            Probed::Bindable => ProbeResult::Bindable,
            Probed::InUse => ProbeResult::InUse,
            Probed::Unknown => ProbeResult::Unknown,
        }
    });
    ProbeReply {
        results: results.collect(),
    }
}
