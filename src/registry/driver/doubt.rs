//! Whether the store is still the one that was applied, and what follows if it is not.

use onex_core::engine::Loaded;
use onex_log::{Error, Log, Lost, Store};
use tokio::time::sleep;

use super::{
    super::{clock::Clock, high_water::HighWaterSources},
    Ended,
    load::{LastApplied, LoadError, READ_AGAIN_PAUSE, load},
};
use onex_types::time::MonoMillis;

/// How long the store may seem to be behind what was applied: a server that has just begun to lead may lag. In milliseconds.
const BEHIND_MILLIS_MAX: u64 = 10_000;

/// What sessions that ended say of the store.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    behind_since: Option<MonoMillis>,
}

/// What may not be what it was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Doubted {
    /// Nothing.
    Nothing,
    /// The log: it is to be read again.
    Log,
    /// The whole store: it was removed and made again.
    Store,
}

impl Doubt {
    /// A session has ended.
    pub(super) fn note(&mut self, lost: &Lost, now: MonoMillis) -> Doubted {
        match lost {
            Lost::NotStarted(Error::Recreated { .. }) => Doubted::Store,
            // What was applied last is not there, and what is there is behind it.
            Lost::Trimmed { .. } => Doubted::Log,
            Lost::Behind { .. } => {
                let since = *self.behind_since.get_or_insert(now);
                if now.since(since) >= BEHIND_MILLIS_MAX {
                    Doubted::Log
                } else {
                    Doubted::Nothing
                }
            }
            _ => Doubted::Nothing,
        }
    }

    /// A session has started.
    pub(super) fn over(&mut self) {
        self.behind_since = None;
    }
}

/// Reads again what the log says, unless it went back from what was applied.
pub(super) async fn read_again(
    log: &mut Log,
    store: &Store,
    last_applied: LastApplied,
    high_water: &HighWaterSources,
    clock: Clock,
) -> Result<Loaded, Ended> {
    tracing::warn!(sequence = last_applied.0.0, "the log is read again");
    loop {
        match load(log, store, Some(last_applied), high_water, clock).await {
            Ok(loaded) => return Ok(loaded),
            Err(
                error @ (LoadError::Start(_)
                | LoadError::Proved(_)
                | LoadError::Store(Error::Recreated { .. })
                | LoadError::Lost(Lost::NotStarted(Error::Recreated { .. }))),
            ) => return Err(error.into()),
            Err(error) => {
                let error = onex_types::chain(&error);
                tracing::warn!(error, "the log cannot be read; trying again");
                sleep(READ_AGAIN_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use onex_types::entry::Sequence;

    use super::*;

    #[test]
    fn a_store_that_lags_is_doubted_only_after_a_while_and_another_one_at_once() {
        let behind = Lost::Behind {
            wanted: Sequence(9),
        };
        let mut doubt = Doubt::default();
        let mut at = |millis, lost: &Lost| doubt.note(lost, MonoMillis(millis));
        assert_eq!(at(1_000, &behind), Doubted::Nothing);
        assert_eq!(at(5_000, &Lost::Silent), Doubted::Nothing);
        assert_eq!(at(10_999, &behind), Doubted::Nothing);
        assert_eq!(at(11_000, &behind), Doubted::Log);
        let trimmed = Lost::Trimmed {
            wanted: Sequence(9),
            first: Sequence(20),
        };
        assert_eq!(at(11_001, &trimmed), Doubted::Log);
        doubt.over();
        assert_eq!(doubt.note(&behind, MonoMillis(12_000)), Doubted::Nothing);
    }
}
