//! What a refusal of the store means to the engine, and what is said of it.

use std::sync::Arc;

use onex_core::engine::NotAppended;
use onex_log::Refusal;

use crate::throttle::{LogInterval, LogThrottle};

/// Takes refusals of appends.
#[derive(Default)]
pub(super) struct Refused {
    leaderless: LogInterval,
}

impl Refused {
    /// An append was refused.
    pub(super) fn note(
        &self,
        refusal: &Refusal,
        description: &str,
        complaints: &Arc<LogThrottle>,
    ) -> NotAppended {
        let why = match refusal {
            Refusal::Conflict => NotAppended::Conflict,
            Refusal::Full => NotAppended::Full,
            Refusal::TooLarge => NotAppended::TooLarge,
            Refusal::NoResponders => NotAppended::Leaderless,
            Refusal::Misplaced { .. } | Refusal::Other(_) => NotAppended::Other,
        };
        match why {
            NotAppended::Conflict => {}
            // It is sent again many times while servers choose another leader.
            NotAppended::Leaderless => {
                if self.leaderless.admits() {
                    tracing::warn!("the store takes no entry: its stream has no leader");
                }
            }
            _ => {
                if complaints.admits() {
                    tracing::warn!(?refusal, description, "the store takes no entry");
                }
            }
        }
        why
    }
}
