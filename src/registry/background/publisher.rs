//! Publishes events: the named instance, from the entries of the log into the stream of events, in their order, once.
//!
//! The last event of the stream says how far it has come, and `sys.named` up to where certainly everything is out. Every event
//! is appended behind the last one, so a publisher that was replaced and does not know it yet appends nothing out of order: what
//! it and its successor append at the same position is the same event.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use onex_core::{
    command::{Action, Command},
    record::{InstanceId, Named},
};
use onex_log::{Derived, DerivedMessage, DerivedOptions, Store, Tail};
use onex_types::{
    entry::{EntryId, Sequence},
    ids::CommandId,
};
use tokio::{
    sync::{mpsc::UnboundedReceiver, watch},
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use crate::{
    domain::time::Moment,
    protocol::names::HEADER_CE_ID,
    registry::{
        clock::Clock,
        driver::{Applied, Handle, Submitted},
        intake::Completion,
        settings::Settings,
    },
};

use super::event_messages::{EventEncoder, EventId};

/// How long to wait before it is tried again after something failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an instance that is not named waits until it looks again.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long events are gathered, so that one batch holds many.
const GATHER: Duration = Duration::from_millis(20);
/// How often it is noted in `sys.named` how far events are out.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);
/// Entries that are kept for the publisher while it is behind, at most. Then it reads the log.
const ENTRIES_KEPT_MAX: usize = 4_096;
/// Entries whose events are published together, at most.
const ENTRIES_AT_ONCE_MAX: usize = 512;

/// Which stream events go to.
pub(in crate::registry) fn events_options(settings: &Settings) -> DerivedOptions {
    DerivedOptions {
        name: settings.namespace.events_stream(),
        description: "onex-registry: what happened, as CloudEvents.".to_owned(),
        subject: settings.namespace.events(),
        replicas: settings.replicas.unwrap_or(1),
        bytes_max: settings.events_bytes_max,
        age_max: settings.events_age_max,
    }
}

/// Publishes while its instance is the named one.
pub(in crate::registry) struct Publisher {
    pub(in crate::registry) instance: InstanceId,
    pub(in crate::registry) driver: Handle<Completion>,
    pub(in crate::registry) store: Store,
    pub(in crate::registry) events: Derived,
    pub(in crate::registry) options: DerivedOptions,
    pub(in crate::registry) clock: Clock,
    pub(in crate::registry) encoder: EventEncoder,
    /// The revision up to which this instance has published every event.
    pub(in crate::registry) out: watch::Sender<u64>,
}

/// Entries that are to be published, as they come.
struct Incoming {
    applied: UnboundedReceiver<Applied>,
    kept: VecDeque<Applied>,
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

/// Why a round of publishing ended.
enum Stopped {
    /// Another instance is named.
    NotNamed,
    /// Something failed: it is tried again.
    Failed(String),
}

impl Publisher {
    /// Publishes for ever.
    pub(in crate::registry) async fn run(self, applied: UnboundedReceiver<Applied>) {
        let mut incoming = Incoming {
            applied,
            kept: VecDeque::new(),
        };
        loop {
            let Some(named) = self.named() else {
                incoming.rest().await;
                continue;
            };
            match self.publish(&named, &mut incoming).await {
                Stopped::NotNamed => {}
                Stopped::Failed(why) => {
                    tracing::warn!(why, "events cannot be published; trying again");
                    if let Err(error) = self.events.ensure(&self.options).await {
                        tracing::debug!(%error, "no stream of events");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// What the log says of the named instance, if that is this one.
    fn named(&self) -> Option<Arc<Named>> {
        let now = self.clock.now().mono;
        let named = self.driver.reads.with(now, |state| state.named().cloned());
        named
            .flatten()
            .filter(|named| named.instance == self.instance)
    }

    async fn publish(&self, named: &Named, incoming: &mut Incoming) -> Stopped {
        let mut at = match self.position(named).await {
            Ok(at) => at,
            Err(error) => return Stopped::Failed(crate::chain(&error)),
        };
        let (mut noted, mut noted_at) = (named.published, Instant::now());
        // The revision up to which events are out.
        let mut told = None;
        loop {
            if self.named().is_none() {
                return Stopped::NotNamed;
            }
            let entries = match self.entries_behind(incoming, &at).await {
                Ok(entries) => entries,
                Err(error) => return Stopped::Failed(crate::chain(&error)),
            };
            let events = entries
                .iter()
                .flat_map(|applied| self.encoder.events(&applied.entry));
            let (ids, messages): (Vec<EventId>, Vec<DerivedMessage>) =
                events.filter(|(id, _)| *id > at.out).unzip();
            let stored = self.events.append(at.tail, &messages).await;
            if stored < messages.len() {
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
            let due = noted_at.elapsed() >= NOTE_INTERVAL && !ids.is_empty();
            if revision > noted && (due || ids.len() >= ENTRIES_AT_ONCE_MAX) {
                self.note(revision, at.sequence).await;
                (noted, noted_at) = (revision, Instant::now());
            }
        }
    }

    /// Where publishing goes on: what is certainly out by `sys.named`, and what the stream has besides.
    async fn position(&self, named: &Named) -> Result<Position, onex_log::Error> {
        let Tail { last, value } = self.events.tail(HEADER_CE_ID).await?;
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
        incoming.gather(at).await;
        let kept = &mut incoming.kept;
        let (mut sequence, mut entry) = (at.sequence, at.entry);
        let mut entries = Vec::new();
        while entries.len() < ENTRIES_AT_ONCE_MAX {
            while kept.front().is_some_and(|next| next.sequence <= sequence) {
                kept.pop_front();
            }
            let Some(next) = kept.front() else { break };
            if next.header.predecessor == entry {
                (sequence, entry) = (next.sequence, next.header.id);
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
        let command = Command {
            id: CommandId(Uuid::nil()),
            correlation_id: None,
            action: Action::Published {
                instance: self.instance,
                revision,
                sequence: sequence.0,
            },
        };
        let submitted = Submitted {
            waiter: None,
            command,
            deadline: Moment::NEVER,
        };
        // Where the engine has ended, nothing is to be noted.
        let _ = self.driver.submit(vec![submitted]).await;
    }
}

impl Incoming {
    /// Lets time pass. What comes meanwhile is for another one to publish, and is kept in case this one takes over.
    async fn rest(&mut self) {
        let until = Instant::now() + LOOK_INTERVAL;
        while let Ok(Some(applied)) = tokio::time::timeout_at(until, self.applied.recv()).await {
            self.keep(applied);
        }
    }

    fn keep(&mut self, applied: Applied) {
        if self.kept.len() >= ENTRIES_KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(applied);
    }

    /// Keeps what comes, and a little longer what comes behind it.
    async fn gather(&mut self, at: &Position) {
        if self
            .kept
            .back()
            .is_none_or(|last| last.sequence <= at.sequence)
        {
            match timeout(LOOK_INTERVAL, self.applied.recv()).await {
                Ok(Some(applied)) => self.keep(applied),
                _ => return,
            }
            sleep(GATHER).await;
        }
        while let Ok(applied) = self.applied.try_recv() {
            self.keep(applied);
        }
    }
}
