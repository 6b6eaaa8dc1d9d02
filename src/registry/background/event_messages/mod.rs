//! From an entry of the log to the events that say what happened.

use async_nats::HeaderMap;
use onex_core::{
    entry::{Change, CommandRecord, Entry, EventKind, EventRecord},
    key::Key,
    record::{Lease, LeaseEnd, Record},
};
use onex_log::DerivedMessage;
use onex_types::key::PortKey;
use uuid::Uuid;

use crate::{
    domain::{record::Ended, transition::Kind},
    protocol::{
        event::{About, Envelope, EventBody, PortEvent},
        names::{HEADER_MESSAGE_ID, Namespace, event_kind},
    },
};

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
            let mut index = 0;
            for change in &changes.changes {
                let Some((kind, about, event)) = about(change) else {
                    continue;
                };
                let id = EventId { revision, index };
                index += 1;
                let body = EventBody {
                    event: event_kind(kind).to_owned(),
                    revision,
                    at: entry.at,
                    correlation_id: changes.correlation_id.clone(),
                    registry_id: self.registry_id,
                    record: about.key(),
                    n: event.n,
                    about,
                };
                let message = self.message(id, kind, &body);
                events.extend(message.map(|message| (id, message)));
            }
        }
        events
    }

    fn message(&self, id: EventId, kind: Kind, body: &EventBody<About>) -> Option<DerivedMessage> {
        let key = body.about.key();
        let subject = self.namespace.event(kind, &key);
        let envelope = Envelope {
            namespace: &self.namespace,
            kind,
            id: id.to_string(),
            key,
            at: body.at,
        };
        let mut headers = HeaderMap::new();
        // The place in the stream says which event it is: the server is not asked to remember names.
        for (name, value) in envelope.headers() {
            if name != HEADER_MESSAGE_ID {
                headers.insert(name, value);
            }
        }
        match serde_json::to_vec(body) {
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

/// What to publish of a change, if anything.
fn about(change: &Change) -> Option<(Kind, About, &EventRecord)> {
    let event = change.event()?;
    let kind = match event.kind {
        EventKind::PortLeased => Kind::PortLeased,
        EventKind::PortReleased => Kind::PortReleased,
        EventKind::PortExpired => Kind::PortExpired,
        EventKind::PortQuarantined => Kind::PortQuarantined,
        _ => return None,
    };
    let (key, lease, how) = match change {
        Change::Put {
            key: Key::Port(key),
            record: Record::Lease(lease),
            ..
        } => (key, Some(lease), None),
        Change::Put {
            key: Key::Port(key),
            record: Record::Cooldown(cooldown),
            ..
        } => (key, event.lease.as_ref(), Some(cooldown.how)),
        Change::End {
            key: Key::Port(key),
            how,
            ..
        } => (key, event.lease.as_ref(), Some(*how)),
        _ => return None,
    };
    Some((
        kind,
        About::Port(port(key, lease.map(|lease| &**lease), how)),
        event,
    ))
}

fn port(key: &PortKey, lease: Option<&Lease>, how: Option<LeaseEnd>) -> PortEvent {
    PortEvent {
        host: key.host.clone(),
        transport: key.transport,
        port: key.port,
        lease_id: lease.map(|lease| lease.lease_id),
        requester_id: lease.map(|lease| lease.requester_id),
        name: lease.and_then(|lease| lease.name.clone()),
        outcome: how.map(ended),
    }
}

fn ended(how: LeaseEnd) -> Ended {
    match how {
        LeaseEnd::Released => Ended::Released,
        LeaseEnd::Expired => Ended::Expired,
        LeaseEnd::InUse => Ended::InUse,
        LeaseEnd::Superseded => Ended::Superseded,
    }
}
