//! Reads the log from its newest snapshot on.

use std::time::Duration;

use onex_core::{
    engine::{Delivered, Loaded, Loader, StartError},
    entry::is_understood,
};
use onex_log::{Delivery, Event, Found, Log, Lost, Store};
use onex_types::entry::{EntryId, Sequence, SnapshotRef};
use tokio::time::sleep;

use super::super::{
    clock::Clock,
    high_water::{HighWaterSources, store_id},
};

/// Messages from the end that are tried, the last one first, until one names a snapshot that fits.
const HINTS_TRIED_MAX: u64 = 1_000;
/// How often a lost connection is begun anew while the log is read.
const SESSIONS_MAX: u32 = 8;

/// How often the snapshot that the last message names may be missing, or the last message that was just written.
const AGAIN_MAX: u32 = 3;

/// How long a start waits for a log without a leader: an election takes up to 9 seconds, and may have to be repeated.
/// In milliseconds.
const LEADER_MILLIS: u64 = 30_000;
/// How long until a log that could not be read is read again.
pub(super) const READ_AGAIN_PAUSE: Duration = Duration::from_millis(500);

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum LoadError {
    /// The store does not answer, or says no.
    #[error("the store cannot be read")]
    Store(#[from] onex_log::Error),
    /// The connection was lost again and again.
    #[error("the log cannot be followed")]
    Lost(#[from] Lost),
    /// What is there is not a log that this version can start from.
    #[error("the registry cannot start from this log")]
    Start(#[from] StartError),
    /// The same, whatever snapshot it is read from.
    #[error("the registry cannot start from this log")]
    Proved(#[source] StartError),
}

impl LoadError {
    /// Whether reading again may help: the log may be without a leader.
    fn passes(&self) -> bool {
        match self {
            Self::Store(error) | Self::Lost(Lost::NotStarted(error)) => error.silence().is_some(),
            Self::Lost(lost) => !matches!(lost, Lost::Trimmed { .. }),
            Self::Start(_) | Self::Proved(_) => false,
        }
    }
}

/// What was applied last, before a restart in the same process.
pub(in super::super) type LastApplied = (Sequence, Option<EntryId>);

/// Reads what the log says at a start, which waits where a cluster is electing who leads.
pub(in super::super) async fn load_once_led(
    log: &mut Log,
    store: &Store,
    high_water: &HighWaterSources,
    clock: Clock,
) -> Result<Loaded, LoadError> {
    let until = clock.now().mono.plus(LEADER_MILLIS);
    loop {
        match load(log, store, None, high_water, clock).await {
            Err(error) if error.passes() && clock.now().mono < until => {
                let error = onex_types::chain(&error);
                tracing::info!(error, "waiting for JetStream");
                sleep(READ_AGAIN_PAUSE).await;
            }
            loaded => return loaded,
        }
    }
}

/// Reads what the log says. The last message names a snapshot; if it turns out not to belong there, the one before does.
/// One that is older than what `high_water` says of it is refused.
pub(in super::super) async fn load(
    log: &mut Log,
    store: &Store,
    last_applied: Option<LastApplied>,
    high_water: &HighWaterSources,
    clock: Clock,
) -> Result<Loaded, LoadError> {
    let mut tried = 0;
    // Others note how far the log is while it is read here.
    let high_water = high_water.read();
    let loaded = loop {
        let Some(last) = store.last().await? else {
            if let Some((sequence, _)) =
                last_applied.filter(|(sequence, _)| *sequence > Sequence(0))
            {
                return Err(StartError::WentBack(sequence).into());
            }
            let info = store.check().await?;
            // Another instance has begun the log meanwhile.
            if info.messages > 0 && tried < AGAIN_MAX {
                tried += 1;
                continue;
            }
            return Ok(Loaded::of_empty(info.last, high_water.revision(None))?);
        };
        match load_behind(log, store, &last, last_applied, clock).await {
            // Another instance has trimmed the log meanwhile, and names a later snapshot now.
            Err(LoadError::Lost(Lost::Trimmed { .. })) if tried < AGAIN_MAX => tried += 1,
            Err(LoadError::Lost(Lost::Trimmed { wanted, .. })) => {
                return Err(StartError::NoSnapshot(wanted).into());
            }
            loaded => break loaded?,
        }
    };
    let revision = high_water.revision(store_id(loaded.state()));
    Ok(loaded.checked(revision)?)
}

async fn load_behind(
    log: &mut Log,
    store: &Store,
    last: &Found,
    last_applied: Option<LastApplied>,
    clock: Clock,
) -> Result<Loaded, LoadError> {
    let mut error = StartError::Hint(last.sequence);
    let mut hint = Some(last.clone());
    for back in 1..=HINTS_TRIED_MAX {
        if let Some(found) = &hint
            && let Some(snapshot) = snapshot_of(found)
        {
            let hint = (snapshot, found.sequence);
            match load_from(log, hint, last.sequence, last_applied, clock).await {
                Ok(loaded) => return Ok(loaded),
                // No other one can be right.
                Err(error @ LoadError::Proved(_)) => return Err(error),
                Err(LoadError::Start(StartError::WentBack(at))) => {
                    return Err(StartError::WentBack(at).into());
                }
                Err(LoadError::Start(other)) => error = other,
                Err(other) => return Err(other),
            }
        }
        match last.sequence.0.checked_sub(back) {
            Some(sequence) if sequence > 0 => hint = store.get(Sequence(sequence)).await?,
            _ => break,
        }
    }
    Err(error.into())
}

/// The snapshot that a message names. The first entry of a log is one itself: the empty one.
fn snapshot_of(found: &Found) -> Option<SnapshotRef> {
    let header = found.header?;
    let genesis = header.predecessor == EntryId::NONE;
    let own = SnapshotRef {
        sequence: found.sequence,
        id: header.id,
    };
    header.snapshot.or(genesis.then_some(own))
}

async fn load_from(
    log: &mut Log,
    (snapshot, hint): (SnapshotRef, Sequence),
    last: Sequence,
    last_applied: Option<LastApplied>,
    clock: Clock,
) -> Result<Loaded, LoadError> {
    let mut sessions = 0;
    'session: loop {
        let mut loader = Loader::new(snapshot, hint, last_applied);
        log.follow(loader.from());
        let mut at = Sequence(0);
        let mut events = Vec::new();
        // What is behind the hint counts as well: a later version may have written it.
        while at < last {
            log.next(&mut events).await;
            for event in events.drain(..) {
                let batch = match event {
                    Event::Following { first, .. } => first.into_iter().collect(),
                    Event::Delivered(batch) => batch,
                    Event::Lost(lost @ Lost::Trimmed { .. }) => return Err(lost.into()),
                    Event::Lost(lost) if sessions >= SESSIONS_MAX => return Err(lost.into()),
                    Event::Lost(lost) => {
                        tracing::warn!(%lost, "reading the log again");
                        sessions += 1;
                        continue 'session;
                    }
                    Event::Acked { .. } | Event::Refused { .. } => Vec::new(),
                };
                for delivery in batch {
                    at = delivery.sequence;
                    let taken = loader.take(&delivered(&delivery, true), clock.now());
                    taken.map_err(|error| match error {
                        StartError::Format { .. } if loader.is_proved() => LoadError::Proved(error),
                        error => LoadError::Start(error),
                    })?;
                }
            }
        }
        return Ok(loader.finish()?);
    }
}

/// A message as the engine takes it. Its body is read only where somebody needs it.
pub(super) fn delivered(delivery: &Delivery, needs_body: bool) -> Delivered {
    let readable = needs_body
        && delivery
            .header
            .is_some_and(|header| is_understood(header.format));
    let entry = readable
        .then(|| serde_json::from_slice(&delivery.body).ok())
        .flatten();
    Delivered {
        sequence: delivery.sequence,
        header: delivery.header,
        entry,
        bytes: delivery.body.len(),
    }
}

/// The same of a message that was asked for.
pub(super) fn found(found: Found) -> Delivered {
    delivered(
        &Delivery {
            sequence: found.sequence,
            header: found.header,
            time: found.time,
            body: found.body,
            pending: 0,
        },
        true,
    )
}
