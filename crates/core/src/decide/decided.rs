//! What a decision needs to know of the instance, and what it says.

use std::collections::BTreeSet;

use onex_types::ids::Host;

use crate::{command::Answer, record::InstanceId};

/// What an instance knows of itself.
#[derive(Debug, Clone)]
pub struct Local {
    /// This start of this instance.
    pub instance: InstanceId,
    /// The hosts whose ports it has tried after a grant: its own, and those on which somebody does that for it.
    pub probes: BTreeSet<Host>,
}

/// What came of a command, and what is to follow before it is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// What is answered.
    pub answer: Answer,
    /// What comes before that.
    pub then: Then,
}

/// What comes between the acknowledgement of an entry and the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Answer,
    /// Try to bind the port.
    Probe,
    /// Wait until nobody can be trying the port any more.
    WaitForProbe,
}

impl Decided {
    pub(super) fn answer(answer: Answer) -> Self {
        Self {
            answer,
            then: Then::Answer,
        }
    }
}
