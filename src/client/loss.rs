//! Why a holder holds no more.

use std::sync::Arc;

use crate::protocol::error::ErrorCode;

use super::Error;

/// Why a lease is not held any more. Its port must not be used then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Loss {
    /// No renewal was acknowledged in time. By the holder's own clock the time is up, and only a moment later may
    /// the registry give the port to someone else.
    #[error("its time is up: no renewal was acknowledged")]
    Expired(
        /// What came of the last try, where there was one.
        #[source]
        Option<Arc<Error>>,
    ),
    /// The registry says so.
    #[error("the registry says that it is lost")]
    Told(
        /// `LEASE_EXPIRED`, `LEASE_NOT_FOUND` or `NOT_HOLDER`.
        #[source]
        Arc<Error>,
    ),
    /// This program gave it back, or dropped the guard.
    #[error("it was given back")]
    Released,
}

/// Whether a refusal of a renewal means that the lease is lost. All else leaves it to the holder's clock.
pub(super) fn tells_of_loss(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(ErrorCode::LeaseExpired | ErrorCode::LeaseNotFound | ErrorCode::NotHolder)
    )
}
