//! What an engine is made with.

use std::collections::BTreeSet;

use onex_core::{
    decide::Local,
    engine::Limits,
    record::{InstanceId, Settings},
};
use tokio::sync::mpsc;

use crate::registry::{clock::Clock, high_water::HighWaterSources, probing::Probing};

use super::applied::Applied;

/// What an engine is made with.
pub(in crate::registry) struct Options {
    /// This start of this instance.
    pub(in crate::registry) instance: InstanceId,
    /// Has the ports of grants tried; nothing for who grants none.
    pub(in crate::registry) probing: Option<Probing>,
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

impl Options {
    /// What this instance knows of itself, as of now.
    pub(super) fn local(&self) -> Local {
        Local {
            instance: self.instance,
            probes: self
                .probing
                .as_ref()
                .map_or_else(BTreeSet::new, Probing::hosts),
        }
    }

    /// Waits until other hosts than before have their ports tried.
    pub(super) async fn probes_change(&mut self) {
        match &mut self.probing {
            Some(probing) => probing.changed().await,
            None => std::future::pending().await,
        }
    }
}
