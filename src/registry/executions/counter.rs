//! Counts what was run, for `describe`: folds the stream of events into the records of nodes, and tells of the end of
//! runs whose instance is gone. The instance does that which publishes events.

use std::{sync::Arc, time::Duration};

use async_nats::Client;
use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use crate::{
    domain::{
        command::{Action, Command, Refusal},
        counts::{Event, Fold, Folded, Tally},
        cursor::Cursor,
        ids::{CommandId, ExecutionId},
        key::{Key, Revision},
        record::{FORMAT, Stored, Unknown},
        transition::Kind,
        write::Write,
    },
    protocol::{
        bounds::Open,
        error::ErrorCode,
        event::{EventBody, ExecutedText, ExecutionEvent, ExecutionOutcome},
        names::{Namespace, event_kind},
    },
    store::{
        events::{EVENTS_AT_ONCE_MAX, EventStream},
        follow::EventDelivery,
    },
};

use super::{
    super::{
        commit::{Commit, Known},
        micro,
    },
    teller::event,
};

/// How often counts are written: each node's at most once in that time.
const ROUND_INTERVAL: Duration = Duration::from_secs(1);
/// Ends that are read before counts are written all the same.
const ROUND_ENDS_MAX: usize = 10_000;
/// Nodes whose counts are written at the same time.
const ROUND_CONCURRENCY: usize = 16;
/// How long a count may be tried to be written, in milliseconds; then it is tried in the next round.
const COUNT_MILLIS_MAX: u64 = 5_000;
/// How often an instance that does not count looks whether anybody does.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// An end that is not among what was read may be among so many that are still to be read; it is so young then that
/// the stream drops another one.
const UNREAD_MAX: u64 = 256;

pub(super) struct Counter {
    pub(super) commit: Arc<Commit>,
    pub(super) namespace: Namespace,
    /// To ask whether the publisher is still there.
    pub(super) client: Client,
}

/// What is told of a run that began.
type Told = Box<EventBody<ExecutionEvent>>;

impl Counter {
    /// Counts for ever, when it is this instance's turn.
    pub(super) async fn run(self) {
        loop {
            if self.is_mine() {
                if let Some(found) = self.commit.store.event_stream().await {
                    self.fold(&found).await;
                }
                sleep(ROUND_INTERVAL).await;
            } else {
                self.look().await;
                sleep(LOOK_INTERVAL).await;
            }
        }
    }

    fn is_mine(&self) -> bool {
        let mirror = &self.commit.mirror;
        mirror.with(|core| core.index.outbox.is_mine())
    }

    /// Whether there is a publisher; if not, it is this instance from now on.
    async fn look(&self) {
        let mirror = &self.commit.mirror;
        let other = mirror.with(|core| core.index.outbox.other_publisher());
        if let Some(other) = other
            && micro::is_gone(&self.client, other).await
        {
            mirror.with(|core| core.index.outbox.gone(other));
        }
        if let Some(write) = mirror.with(|core| core.index.outbox.claim_if_vacant()) {
            let written = self.commit.store.write(std::slice::from_ref(&write)).await;
            tracing::debug!(?written, "claiming to count executions");
        }
    }

    /// Reads the stream of events and counts, as long as that goes well and it is this instance's turn.
    async fn fold(&self, found: &EventStream) {
        let from = self.folded(found);
        let subjects = [Kind::ToolInvoked, Kind::ToolCompleted, Kind::ToolFailed]
            .map(|kind| self.namespace.events_of(kind));
        let mut fold = Fold::new(found.created, from);
        let behind = Revision(fold.reads_behind());
        let mut events = match found.follow(subjects.into(), behind).await {
            Ok(events) => std::pin::pin!(events),
            Err(error) => {
                tracing::debug!(error = crate::chain(&error), "cannot read events");
                return;
            }
        };
        let (mut cursor, mut unread) = (Cursor::default(), 0);
        let mut round = Instant::now() + ROUND_INTERVAL;
        loop {
            match timeout_at(round, events.next()).await {
                Ok(Some(Ok(delivery))) => {
                    if !cursor.take(delivery.delivered, delivery.position) {
                        tracing::debug!("events were missed; reading them again");
                        return;
                    }
                    unread = delivery.pending;
                    self.see(&mut fold, &delivery);
                }
                Ok(Some(Err(error))) => {
                    tracing::debug!(error = crate::chain(&error), "events stopped");
                    return;
                }
                Ok(None) => return,
                Err(_) => {}
            }
            if Instant::now() < round && fold.uncounted() < ROUND_ENDS_MAX {
                continue;
            }
            if !self.is_mine() {
                return;
            }
            if unread <= UNREAD_MAX {
                self.tell_of_lost(&mut fold).await;
            }
            self.count(&mut fold).await;
            round = Instant::now() + ROUND_INTERVAL;
        }
    }

    /// Up to where that stream is counted.
    fn folded(&self, found: &EventStream) -> u64 {
        self.commit.mirror.with(|core| {
            let (_, folded) = core.index.folded();
            let same = folded
                .filter(|folded| folded.stream == found.created && folded.through <= found.last.0);
            same.map_or(0, |folded| folded.through)
        })
    }

    fn see(&self, fold: &mut Fold<Told>, delivery: &EventDelivery) {
        let body: Told = match serde_json::from_slice(&delivery.payload) {
            Ok(body) => body,
            Err(error) => {
                let position = delivery.position.0;
                return tracing::debug!(position, %error, "not an event of an execution");
            }
        };
        let about = &body.about;
        let id = about.execution_id;
        let event = if body.event != event_kind(Kind::ToolInvoked) {
            let run = about.executed != Some(Open::Known(ExecutedText::No));
            Event::Ended {
                of: run.then(|| about.provider_node_id.clone()),
                at: body.at,
                success: about.outcome == Some(Open::Known(ExecutionOutcome::Completed)),
            }
        } else if about.request_id.is_some() {
            Event::BeganNamed
        } else {
            Event::Began {
                timeout_ms: about.timeout_ms,
                told: body,
            }
        };
        let now = self.commit.clock.now().mono;
        fold.see(delivery.position.0, id, event, now);
    }

    /// Runs that should have ended long ago: whoever was to tell of their end is gone.
    async fn tell_of_lost(&self, fold: &mut Fold<Told>) {
        let now = self.commit.clock.now();
        let overdue = fold.overdue(now.mono);
        for some in overdue.chunks(EVENTS_AT_ONCE_MAX) {
            let (revision, registry_id) = self.commit.mirror.with(|core| {
                let index = &core.index;
                (
                    index.applied().wire(index.lineage()),
                    index.policy.registry_id,
                )
            });
            let lost = |told: &EventBody<ExecutionEvent>| EventBody {
                event: event_kind(Kind::ToolFailed).to_owned(),
                revision,
                at: now.wall,
                about: ExecutionEvent {
                    outcome: Some(Open::Known(ExecutionOutcome::Unknown)),
                    code: Some(ErrorCode::ToolTimeout.as_str().to_owned()),
                    executed: Some(Open::Known(ExecutedText::Unknown)),
                    ..told.about.clone()
                },
                registry_id,
                n: 2,
                ..told.clone()
            };
            let event = |(_, told): &(ExecutionId, Told)| {
                event(&self.namespace, Kind::ToolFailed, &lost(told))
            };
            let events: Vec<_> = some.iter().map(event).collect();
            if !self.commit.store.publish_events(&events).await {
                return;
            }
            for (id, _) in some {
                fold.told(*id);
            }
        }
    }

    /// Writes what is to be counted, and then up to where all is.
    async fn count(&self, fold: &mut Fold<Told>) {
        let counted: Vec<(Tally, bool)> = stream::iter(fold.tallies())
            .map(|tally| async move {
                let done = self.add(&tally).await;
                (tally, done)
            })
            .buffer_unordered(ROUND_CONCURRENCY)
            .collect()
            .await;
        for (tally, done) in counted {
            if done {
                fold.counted(&tally);
            }
        }
        let through = fold.through();
        let write = self.commit.mirror.with(|core| {
            let (revision, before) = core.index.folded();
            let same = before.filter(|before| before.stream == fold.stream());
            same.is_none_or(|before| before.through < through)
                .then(|| Write {
                    key: Key::Folded,
                    expected: revision,
                    value: Stored::Folded(Folded {
                        format: FORMAT,
                        stream: fold.stream(),
                        through,
                        unknown: before.map_or_else(Unknown::new, |before| before.unknown.clone()),
                    }),
                })
        });
        if let Some(write) = write {
            // Lost or not known: the next round writes it again, and what is counted counts once.
            let written = self.commit.store.write(std::slice::from_ref(&write)).await;
            tracing::debug!(?written, through, "counted executions");
        }
    }

    /// Whether that is in the node's record, or belongs to none any more.
    async fn add(&self, tally: &Tally) -> bool {
        let command = Command {
            id: CommandId(Uuid::now_v7()),
            correlation_id: None,
            confirmed: false,
            action: Action::Count(Box::new(tally.clone())),
        };
        let deadline = self.commit.clock.now().mono.plus(COUNT_MILLIS_MAX);
        let until = Instant::now() + Duration::from_millis(COUNT_MILLIS_MAX);
        let ticket = self.commit.begin(command, deadline, None);
        matches!(
            ticket.outcome(until).await,
            Known::Done(Ok(_) | Err(Refusal::NodeNotFound(_)))
        )
    }
}
