//! How a node is, for all who wait for that.

use std::sync::Arc;

use crate::{Loss, tenure::Term};

use super::registration::Registration;

/// What is told of a node.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// How long the present life lasts if no further heartbeat comes through; past when there is none.
    pub(super) term: Term,
}

/// How a node is.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// It lives.
    Online(Arc<Registration>),
    /// It does not, and is trying to.
    Offline,
    /// It does not, for this reason, and will not.
    Ended(Loss),
}
