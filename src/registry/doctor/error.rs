//! Why a store could not be looked at or changed.

use onex_log::BackupError;

use crate::{connect, registry::driver::LoadError};

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// No connection.
    #[error("no connection to NATS")]
    Connect(#[from] connect::Error),
    /// No store.
    #[error("the store cannot be used")]
    Store(#[from] onex_log::Error),
    /// It could not be saved or put back.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// It cannot be gone on from what is there.
    #[error("{0}")]
    Load(String),
    /// An instance runs: what is decided for it must not be undone under it.
    #[error(
        "an instance of this registry runs, on host {0}: stop every instance before its store is changed"
    )]
    Running(String),
    /// The store took no entry.
    #[error("the store did not take what was to be written: {0}")]
    Undecided(String),
}

impl From<LoadError> for DoctorError {
    fn from(error: LoadError) -> Self {
        Self::Load(onex_types::chain(&error))
    }
}

/// Which server was not reached.
pub enum Unreached<'a> {
    /// That of the requests.
    Bus(&'a connect::Error),
    /// That of the log.
    Store(&'a connect::Error),
}

impl DoctorError {
    /// The server that was not reached, if that is why.
    pub fn unreached(&self) -> Option<Unreached<'_>> {
        match self {
            Self::Connect(error) => Some(Unreached::Bus(error)),
            Self::Store(onex_log::Error::Connect(error))
            | Self::Backup(BackupError::Store(onex_log::Error::Connect(error))) => {
                Some(Unreached::Store(error))
            }
            _ => None,
        }
    }
}
