//! From an entry of the log to the events that say what happened.

mod change_events;

use async_nats::HeaderMap;
use jiff::Timestamp;
use onex_core::entry::{CommandRecord, Entry};
use onex_log::DerivedMessage;
use uuid::Uuid;

use crate::protocol::{
    event::{Envelope, EventBody},
    names::Namespace,
};

use change_events::{ChangeEvent, change_events};

/// An event's place: the revision of its command, and which of that command's events it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct EventId {
    pub(super) revision: u64,
    pub(super) index: u64,
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.revision, self.index)
    }
}

impl std::str::FromStr for EventId {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (revision, index) = text.split_once('.').ok_or(())?;
        Ok(Self {
            revision: revision.parse().map_err(|_| ())?,
            index: index.parse().map_err(|_| ())?,
        })
    }
}

/// Makes messages of events.
pub(in crate::registry) struct EventEncoder {
    pub(in crate::registry) namespace: Namespace,
    pub(in crate::registry) registry_id: Uuid,
}

impl EventEncoder {
    /// The events of an entry, in order.
    pub(super) fn events(&self, entry: &Entry) -> Vec<(EventId, DerivedMessage)> {
        let mut events = Vec::new();
        for (revision, command) in entry.commands() {
            let CommandRecord::Other(changes) = command else {
                continue;
            };
            let correlation_id = changes.correlation_id.as_ref();
            let all = changes.changes.iter().flat_map(change_events);
            for (index, event) in (0..).zip(all) {
                let id = EventId { revision, index };
                let message = self.message(id, entry.at, correlation_id, event);
                events.extend(message.map(|message| (id, message)));
            }
        }
        events
    }

    fn message(
        &self,
        id: EventId,
        at: Timestamp,
        correlation_id: Option<&String>,
        event: ChangeEvent,
    ) -> Option<DerivedMessage> {
        let key = event.about.key();
        let subject = self.namespace.event(event.kind, &key);
        let envelope = Envelope {
            namespace: &self.namespace,
            kind: event.kind,
            id: id.to_string(),
            key,
            at,
        };
        let body = EventBody {
            event: event.kind.as_str().to_owned(),
            revision: id.revision,
            at,
            about: event.about,
            correlation_id: correlation_id.or(event.correlation_id.as_ref()).cloned(),
            registry_id: self.registry_id,
            record: event.key.to_string(),
            n: event.n,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in envelope.headers() {
            headers.insert(name, value);
        }
        match serde_json::to_vec(&body) {
            Ok(json) => Some(DerivedMessage {
                subject,
                headers,
                body: json.into(),
            }),
            Err(error) => {
                tracing::error!(%id, %error, "an event cannot be encoded");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
