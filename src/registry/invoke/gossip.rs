//! Instances tell each other what they have under way at providers. Whoever misses it chooses a little worse.

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
    load::Provider,
};

/// How long news are gathered before they are told.
const GATHER: Duration = Duration::from_millis(20);
/// How often what lasts is told again.
const REPEAT: Duration = Duration::from_secs(1);
/// Providers that are told of at once, at most.
const PROVIDERS_TOLD_MAX: usize = 4_096;

/// What an instance has under way.
#[derive(Serialize, Deserialize)]
struct Told {
    registry_id: String,
    calls: Vec<(Incarnation, Token, u32)>,
}

/// Tells others, for ever.
pub(super) fn tell(
    bus: &Bus,
    namespace: &Namespace,
    registry_id: Uuid,
    loads: &Arc<SharedLoads>,
    stop: &Stop,
) {
    let (subject, own) = (namespace.peer_load(), registry_id.to_string());
    let telling = tell_all(bus.clone(), subject, own, Arc::clone(loads));
    stop.watch("telling of calls", telling);
}

/// Listens to what others tell.
pub(super) async fn listen(
    client: &Client,
    namespace: &Namespace,
    registry_id: Uuid,
    loads: &Arc<SharedLoads>,
    session: &Stop,
) -> Result<(), SubscribeError> {
    let told = client.subscribe(namespace.peer_load()).await?;
    session.spawn(hear(told, registry_id.to_string(), Arc::clone(loads)));
    Ok(())
}

async fn hear(mut told: Subscriber, own: String, loads: Arc<SharedLoads>) {
    while let Some(message) = told.next().await {
        let Ok(told) = serde_json::from_slice::<Told>(&message.payload) else {
            continue;
        };
        if told.registry_id == own {
            continue;
        }
        let calls = told.calls.into_iter().take(PROVIDERS_TOLD_MAX);
        let calls: HashMap<Provider, u32> = calls
            .map(|(incarnation, tool, count)| ((incarnation, tool), count))
            .collect();
        let now = loads.clock.now().mono;
        loads.lock().tell(told.registry_id, calls, now);
    }
}

async fn tell_all(bus: Bus, subject: String, own: String, loads: Arc<SharedLoads>) {
    loop {
        let repeated = tokio::time::timeout(REPEAT, loads.changed.notified())
            .await
            .is_err();
        let calls = if repeated {
            Some(loads.lock().under_way()).filter(|calls| !calls.is_empty())
        } else {
            tokio::time::sleep(GATHER).await;
            loads.lock().news()
        };
        let Some(calls) = calls else { continue };
        let told = Told {
            registry_id: own.clone(),
            calls: calls
                .into_iter()
                .take(PROVIDERS_TOLD_MAX)
                .map(|((incarnation, tool), count)| (incarnation, tool, count))
                .collect(),
        };
        let body = serde_json::to_vec(&told).unwrap_or_default();
        if let Err(error) = bus.client().publish(subject.clone(), body.into()).await {
            tracing::debug!(%error, "cannot tell other instances what is under way");
        }
    }
}
