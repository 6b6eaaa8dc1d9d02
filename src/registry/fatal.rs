//! Why a running registry stops by itself: it would have to break a promise to go on.

use std::sync::Arc;

use super::driver::Ended;

/// A reason to stop serving at once.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The log cannot be followed any more.
    #[error("{0}")]
    Store(String),
    /// A connection is dead, and will not come back by itself.
    #[error(
        "a connection to NATS ended for good, probably by a message with a header that is none"
    )]
    ConnectionEnded,
    /// The server allows no longer what a registry needs.
    #[error("the NATS server does not allow what a registry needs any more: {0}")]
    Refused(String),
    /// A part of the registry ended that never should.
    #[error("the {0} ended: a fault of the registry's own")]
    TaskEnded(&'static str),
}

impl Fatal {
    /// Why the engine has ended; none where it died of a fault of its own.
    pub(super) fn of_engine(ended: Option<Arc<Ended>>) -> Self {
        match ended {
            Some(ended) => Self::Store(onex_types::chain(&*ended)),
            None => Self::TaskEnded("engine"),
        }
    }

    /// Whether starting again is all that it takes: nothing is known to be wrong with the store.
    pub fn is_passing(&self) -> bool {
        !matches!(self, Self::Store(_))
    }
}
