//! Why the engine does not go on.

use onex_core::{command::Refusal, engine, settings::SettingDiffers};

use super::load::LoadError;

/// Why the engine does not go on.
#[derive(Debug, thiserror::Error)]
pub(in crate::registry) enum Ended {
    /// It was told to stop, and everything is settled or nobody knows.
    #[error("stopped")]
    Stopped,
    /// It was started with other settings than the log has.
    #[error("{}", Refusal::SettingsDiffer(.0.clone()))]
    Differs(Vec<SettingDiffers>),
    /// The log says something that this version cannot follow.
    #[error("the log cannot be followed")]
    Fatal(#[from] engine::Fatal),
    /// What the log said could not be read again.
    #[error("the log cannot be read")]
    Load(#[from] LoadError),
}
