//! Load reports: instances tell each other what they have under way at providers. Whoever misses one chooses a little worse.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_nats::{Client, SubscribeError, Subscriber};
use futures::StreamExt;
use onex_types::ids::{Incarnation, Token};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::protocol::names::Namespace;

use super::{
    super::{bus::Bus, stop::Stop},
    SharedLoads,
    provider::Provider,
};

/// How long changes are gathered before they are sent.
const GATHER: Duration = Duration::from_millis(20);
/// How often what has not changed is sent again.
const REPEAT: Duration = Duration::from_secs(1);
/// Providers in one report, at most.
const PROVIDERS_REPORTED_MAX: usize = 4_096;

/// What an instance has under way.
#[derive(Serialize, Deserialize)]
struct LoadReport {
    registry_id: String,
    calls: Vec<(Incarnation, Token, u32)>,
}

/// Sends reports to the other instances, for ever.
pub(super) fn send(
    bus: &Bus,
    namespace: &Namespace,
    registry_id: Uuid,
    loads: &Arc<SharedLoads>,
    stop: &Stop,
) {
    let (subject, own) = (namespace.peer_load(), registry_id.to_string());
    let sending = send_all(bus.clone(), subject, own, Arc::clone(loads));
    stop.watch("telling of calls", sending);
}

/// Listens to the reports of other instances.
pub(super) async fn listen(
    client: &Client,
    namespace: &Namespace,
    registry_id: Uuid,
    loads: &Arc<SharedLoads>,
    session: &Stop,
) -> Result<(), SubscribeError> {
    let reports = client.subscribe(namespace.peer_load()).await?;
    session.spawn(receive(reports, registry_id.to_string(), Arc::clone(loads)));
    Ok(())
}

async fn receive(mut reports: Subscriber, own: String, loads: Arc<SharedLoads>) {
    while let Some(message) = reports.next().await {
        let Ok(report) = serde_json::from_slice::<LoadReport>(&message.payload) else {
            continue;
        };
        if report.registry_id == own {
            continue;
        }
        let calls = report.calls.into_iter().take(PROVIDERS_REPORTED_MAX);
        let calls: HashMap<Provider, u32> = calls
            .map(|(incarnation, tool, count)| ((incarnation, tool), count))
            .collect();
        let now = loads.clock.now().mono;
        loads.lock().report(report.registry_id, calls, now);
    }
}

async fn send_all(bus: Bus, subject: String, own: String, loads: Arc<SharedLoads>) {
    loop {
        let repeated = tokio::time::timeout(REPEAT, loads.changed.notified())
            .await
            .is_err();
        let calls = if repeated {
            Some(loads.lock().under_way()).filter(|calls| !calls.is_empty())
        } else {
            tokio::time::sleep(GATHER).await;
            loads.lock().changes()
        };
        let Some(calls) = calls else { continue };
        let report = LoadReport {
            registry_id: own.clone(),
            calls: calls
                .into_iter()
                .take(PROVIDERS_REPORTED_MAX)
                .map(|((incarnation, tool), count)| (incarnation, tool, count))
                .collect(),
        };
        let body = serde_json::to_vec(&report).unwrap_or_default();
        if let Err(error) = bus.client().publish(subject.clone(), body.into()).await {
            tracing::debug!(%error, "cannot tell other instances what is under way");
        }
    }
}
