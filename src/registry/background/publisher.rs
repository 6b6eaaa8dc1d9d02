//! Publishes events: the named instance, from the entries of the log into the stream of events, in their order, once.
//!
//! The last event of the stream says how far it has come, and `sys.named` up to where certainly everything is out. Every event
//! is appended behind the last one, so a publisher that was replaced and does not know it yet appends nothing out of order: what
//! it and its successor append at the same position is the same event.

use std::{sync::Arc, time::Duration};

use onex_core::{command::Action, record::Named};
use onex_log::{Derived, DerivedMessage, DerivedOptions, Store, Tail};
use onex_types::entry::{EntryId, Sequence};
use tokio::{
    sync::{mpsc::UnboundedReceiver, watch},
    time::Instant,
};

use crate::{
    protocol::names::HEADER_CE_ID,
    registry::{
        driver::Applied,
        settings::{EVENTS_AGE_SECONDS, Settings},
    },
};

use super::{
    event_messages::{EventEncoder, EventId},
    named::{self, Candidate, Derive, Incoming, Stopped, Target},
};

/// How long events are gathered, so that one batch holds many.
const GATHER: Duration = Duration::from_millis(20);
/// How long where batches are dear: a server that syncs every write sets an atomic one aside in files of its own.
const GATHER_DEAR: Duration = Duration::from_millis(100);
/// How often it is noted in `sys.named` how far events are out.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);
/// Events that are published together, about: one entry may exceed it.
const EVENTS_AT_ONCE_MAX: usize = 1_000;

/// Which stream events go to, with as many copies as the log has.
pub(in crate::registry) fn events_options(
    settings: &Settings,
    replicas: Option<usize>,
) -> DerivedOptions {
    DerivedOptions {
        name: settings.namespace.events_stream(),
        description: "onex-registry: what happened, as CloudEvents.".to_owned(),
        subject: settings.namespace.events(),
        replicas,
        size: Some(settings.events_size),
        age_max: settings
            .events_age_max
            .unwrap_or(Duration::from_secs(EVENTS_AGE_SECONDS)),
        age_chosen: settings.events_age_max.is_some(),
        is_bucket: false,
    }
}

/// The revision of the last event that is in the stream.
pub(in crate::registry) async fn last_event(
    stream: &Derived,
) -> Result<Option<u64>, onex_log::Error> {
    let id = |text: &str| text.parse::<EventId>().ok();
    let tail = stream.tail(HEADER_CE_ID, |text| id(text).is_some()).await?;
    let last = tail.value.as_deref().and_then(id);
    Ok(last.map(|id| id.revision))
}

/// Publishes while its instance is the named one.
pub(in crate::registry) struct Publisher {
    pub(in crate::registry) candidate: Candidate,
    pub(in crate::registry) target: Target,
    pub(in crate::registry) store: Store,
    pub(in crate::registry) encoder: EventEncoder,
    /// The revision up to which this instance has published every event.
    pub(in crate::registry) out: watch::Sender<u64>,
}

/// How far a publisher has come.
struct Position {
    /// Everything up to this position of the log is out.
    sequence: Sequence,
    /// The entry there, or the last valid one before it.
    entry: EntryId,
    /// The last event that is in the stream.
    out: EventId,
    /// The last position of the stream.
    tail: Sequence,
}

impl Derive for Publisher {
    const WHAT: &'static str = "events cannot be published";

    fn target(&self) -> &Target {
        &self.target
    }

    fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    async fn derive(&self, named: &Named, incoming: &mut Incoming) -> Stopped {
        self.publish(named, incoming).await
    }
}

impl Publisher {
    /// Publishes for ever.
    pub(in crate::registry) async fn run(self, applied: UnboundedReceiver<Applied>) {
        named::run(self, applied).await;
    }

    async fn publish(&self, named: &Named, incoming: &mut Incoming) -> Stopped {
        let mut at = match self.position(named).await {
            Ok(at) => at,
            Err(error) => return Stopped::Failed(onex_types::chain(&error)),
        };
        let (mut noted, mut noted_at) = (named.published, Instant::now());
        // The revision up to which events are out.
        let mut told = None;
        loop {
            if self.candidate.named().is_none() {
                return Stopped::NotNamed;
            }
            let entries = match self.entries_behind(incoming, &at).await {
                Ok(entries) => entries,
                Err(error) => return Stopped::Failed(onex_types::chain(&error)),
            };
            let events = entries
                .iter()
                .flat_map(|applied| self.encoder.events(&applied.entry));
            let (ids, messages): (Vec<EventId>, Vec<DerivedMessage>) =
                events.filter(|(id, _)| *id > at.out).unzip();
            let count = messages.len();
            let stored = self.target.stream.append(at.tail, messages).await;
            if stored < count {
                return Stopped::Failed("the stream of events did not take them all".to_owned());
            }
            at.tail.0 += stored as u64;
            at.out = ids.last().copied().unwrap_or(at.out);
            let Some(last) = entries.last() else {
                // Who asks how many events wait is told that none do.
                if let Some(revision) = told.filter(|told| *told > noted) {
                    self.note(revision, at.sequence).await;
                    (noted, noted_at) = (revision, Instant::now());
                }
                continue;
            };
            (at.sequence, at.entry) = (last.sequence, last.header.id);
            let revision = last.entry.last_revision();
            self.out.send_replace(revision);
            // Of entries that tell of nothing nobody has to know at once.
            let tells = entries
                .iter()
                .any(|applied| applied.entry.event_count() > 0);
            told = if tells { Some(revision) } else { told };
            let due = noted_at.elapsed() >= NOTE_INTERVAL || ids.len() >= EVENTS_AT_ONCE_MAX;
            if due && told.is_some_and(|told| told > noted) {
                self.note(revision, at.sequence).await;
                (noted, noted_at) = (revision, Instant::now());
            }
        }
    }

    /// Where publishing goes on: what is certainly out by `sys.named`, and what the stream has besides.
    async fn position(&self, named: &Named) -> Result<Position, onex_log::Error> {
        // Nobody publishes what is not in the log: an id that is higher is somebody else's.
        let reached = self.candidate.driver.reads.revision();
        let known = |id: &str| id.parse().is_ok_and(|id: EventId| id.revision <= reached);
        let tail = self.target.stream.tail(HEADER_CE_ID, known);
        let Tail { last, value } = tail.await?;
        let sequence = Sequence(named.published_sequence);
        let header = match sequence {
            // Before the first entry.
            Sequence(0) => None,
            sequence => self
                .store
                .get(sequence)
                .await?
                .and_then(|found| found.header),
        };
        let noted = EventId {
            revision: named.published,
            index: u64::MAX,
        };
        let in_stream = value.and_then(|id| id.parse().ok()).unwrap_or_default();
        Ok(Position {
            sequence,
            entry: header.map_or(EntryId::NONE, |header| header.id),
            out: noted.max(in_stream),
            tail: last,
        })
    }

    /// The next entries, without a gap: those that were kept, else what the log says. Waits a while for one.
    async fn entries_behind(
        &self,
        incoming: &mut Incoming,
        at: &Position,
    ) -> Result<Vec<Applied>, onex_log::Error> {
        let longer = if self.target.stream.wants_large_batches() {
            GATHER_DEAR
        } else {
            GATHER
        };
        incoming.gather(at.sequence, longer).await;
        let kept = &mut incoming.kept;
        let (mut sequence, mut entry) = (at.sequence, at.entry);
        let (mut entries, mut events) = (Vec::new(), 0);
        while events < EVENTS_AT_ONCE_MAX {
            while kept.front().is_some_and(|next| next.sequence <= sequence) {
                kept.pop_front();
            }
            let Some(next) = kept.front() else { break };
            if next.header.predecessor == entry {
                (sequence, entry) = (next.sequence, next.header.id);
                // One that tells of nothing takes its time, too.
                events += next.entry.event_count().max(1);
                entries.extend(kept.pop_front());
                continue;
            }
            if !entries.is_empty() {
                break;
            }
            // What is between was not kept.
            let Some(found) = self.store.get(sequence.next()).await? else {
                // It was trimmed, published or not.
                tracing::error!(
                    sequence = sequence.next().0,
                    "an entry is missing: its events are not published"
                );
                (sequence, entry) = (sequence.next(), next.header.predecessor);
                continue;
            };
            sequence = found.sequence;
            if let Some(header) = found.header.filter(|header| header.predecessor == entry)
                && let Ok(body) = serde_json::from_slice(&found.body)
            {
                let entry = Arc::new(body);
                entries.push(Applied {
                    sequence,
                    header,
                    entry,
                });
                break;
            }
        }
        Ok(entries)
    }

    /// Notes in the log how far events are out.
    async fn note(&self, revision: u64, sequence: Sequence) {
        let action = Action::Published {
            instance: self.candidate.instance,
            revision,
            sequence: sequence.0,
        };
        self.candidate.submit(action, None).await;
    }
}
