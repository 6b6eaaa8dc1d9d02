//! Starts what writes streams that are derived from the log.

use onex_log::{Derived, Store};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::registry::{driver::Applied, settings::Settings, stop::Stop};

use super::{
    event_messages::EventEncoder,
    named::{Candidate, Target},
    publisher::Publisher,
    view::{View, view_options},
};

/// What is derived from the log while this instance is the named one.
pub(in crate::registry) struct DerivedStreams<'a> {
    pub(in crate::registry) settings: &'a Settings,
    pub(in crate::registry) client: &'a async_nats::Client,
    pub(in crate::registry) events: Target,
    pub(in crate::registry) store: Store,
    pub(in crate::registry) registry_id: Uuid,
}

impl DerivedStreams<'_> {
    /// Publishes events, and writes the view. The revision up to which events are out.
    pub(in crate::registry) fn start(
        self,
        candidate: Candidate,
        to_publish: Entries,
        to_show: Entries,
        stop: &Stop,
    ) -> watch::Receiver<u64> {
        let (out, published) = watch::channel(0);
        let view = view(
            self.settings,
            self.client,
            self.settings.derived_replicas(self.store.replicas()),
            candidate.clone(),
        );
        let publisher = Publisher {
            out,
            candidate,
            target: self.events,
            store: self.store,
            encoder: EventEncoder {
                namespace: self.settings.namespace.clone(),
                registry_id: self.registry_id,
            },
        };
        stop.watch("publisher", publisher.run(to_publish));
        stop.watch("view", view.run(to_show));
        published
    }
}

/// What shows the state to people. Nothing waits until its bucket is there.
fn view(
    settings: &Settings,
    client: &async_nats::Client,
    replicas: Option<usize>,
    candidate: Candidate,
) -> View {
    let (names, options) = view_options(settings, replicas);
    View {
        candidate,
        target: Target {
            stream: Derived::named(client.clone(), &options),
            options,
        },
        names,
    }
}

/// Entries that are in the log, as they come.
pub(in crate::registry) type Entries = mpsc::UnboundedReceiver<Applied>;

/// Ways on which entries are told.
pub(in crate::registry) fn applied_channels<const N: usize>()
-> (Vec<mpsc::UnboundedSender<Applied>>, [Entries; N]) {
    let mut senders = Vec::new();
    let receivers = std::array::from_fn(|_| {
        let (sender, receiver) = mpsc::unbounded_channel();
        senders.push(sender);
        receiver
    });
    (senders, receivers)
}
