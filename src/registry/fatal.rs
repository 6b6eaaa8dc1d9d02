//! Why a running registry stops by itself: it would have to break a promise to go on.

use crate::domain::key::Revision;

/// A reason to stop serving at once.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The bucket was deleted and made again.
    #[error(
        "the bucket was deleted and made again while the registry was running; what was leased is not in it"
    )]
    Recreated,
    /// The bucket's stream is shorter than it was.
    #[error(
        "the bucket has gone backwards, to revision {} from {}: a backup was restored, or the server lost acknowledged \
         writes", .last.0, .seen.0
    )]
    Backwards {
        /// What it says now.
        last: Revision,
        /// What was seen before.
        seen: Revision,
    },
    /// A connection is dead, and will not come back by itself.
    #[error(
        "a connection to NATS ended for good, probably by a message with a header that is none"
    )]
    ConnectionEnded,
    /// A part of the registry ended that never should.
    #[error("the {0} ended: a fault of the registry's own")]
    TaskEnded(&'static str),
}

impl Fatal {
    /// Whether starting again is all that it takes: nothing is known to be wrong with the store.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::ConnectionEnded | Self::TaskEnded(_) => true,
            Self::Recreated | Self::Backwards { .. } => false,
        }
    }
}
