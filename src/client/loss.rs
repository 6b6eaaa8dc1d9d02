//! Why a holder holds no more.

use std::sync::Arc;

use super::{BootTime, Error};

/// Why a lease is not held, or a life of a node is over. Its ports must not be used any more.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Loss {
    /// No renewal was acknowledged in time. By the holder's own clock the time is up, and only a moment later may
    /// the registry give the port to someone else.
    #[error("no renewal was acknowledged in time")]
    Expired(
        /// What came of the last try, where there was one.
        #[source]
        Option<Arc<Error>>,
    ),
    /// The registry says so.
    #[error("the registry says that it is lost")]
    Told(
        /// Of a lease `LEASE_EXPIRED`, `LEASE_NOT_FOUND` or `NOT_HOLDER`; of a node `NODE_NOT_FOUND`, `SUPERSEDED`
        /// or `NOT_HOLDER`.
        #[source]
        Arc<Error>,
    ),
    /// This program gave it back, or dropped the guard.
    #[error("it was given back")]
    Released,
}

/// Why a holder has to stop, and by when.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Why. [`Loss::Expired`] also when the time is only about to be up.
    pub why: Loss,
    /// The end of the time that was acknowledged: everything that uses a port must have ended before. In the past if the
    /// machine slept meanwhile.
    pub deadline: BootTime,
}
