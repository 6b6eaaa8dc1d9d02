//! What an engine is made with.

use onex_core::{decide::Local, engine::Limits, record::Settings};
use tokio::sync::mpsc;

use crate::registry::{clock::Clock, high_water::HighWaterSources};

use super::applied::Applied;

/// What an engine is made with.
pub(in crate::registry) struct Options {
    /// What this instance knows of itself.
    pub(in crate::registry) local: Local,
    /// Sizes and times.
    pub(in crate::registry) limits: Limits,
    /// What the first entry of a log says, where there is none yet; none for who only looks at it.
    pub(in crate::registry) settings: Option<Settings>,
    /// Which of these somebody gave: a log that is there must have them as they are given.
    pub(in crate::registry) given: Vec<String>,
    /// How far the log was, by what is noted outside of the store: a log that is older is refused.
    pub(in crate::registry) high_water: HighWaterSources,
    /// Where the time comes from.
    pub(in crate::registry) clock: Clock,
    /// Who are told of every entry.
    pub(in crate::registry) applied: Vec<mpsc::UnboundedSender<Applied>>,
}
