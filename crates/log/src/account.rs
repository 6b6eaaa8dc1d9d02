//! What JetStream there is for an account.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    api::{Api, code},
    error::Error,
};

/// What JetStream lets an account have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Bytes that its streams take on disk.
    pub bytes: u64,
    /// Bytes that they may take.
    pub bytes_reserved: u64,
    /// Bytes that the account may have; absent where it has no bound of its own.
    pub bytes_max: Option<u64>,
}

#[derive(Deserialize)]
struct AccountInfo {
    #[serde(default)]
    storage: u64,
    #[serde(default)]
    reserved_storage: u64,
    #[serde(default)]
    limits: AccountLimits,
}

/// A bound of -1 is none.
#[derive(Deserialize, Default)]
struct AccountLimits {
    #[serde(default)]
    max_storage: i64,
}

impl Api {
    /// What JetStream there is for us.
    pub(crate) async fn account(&self) -> Result<Account, Error> {
        let answer = self.request::<AccountInfo>("INFO", "INFO".to_owned(), &Value::Null);
        match answer.await {
            Ok(info) => Ok(Account {
                bytes: info.storage,
                bytes_reserved: info.reserved_storage,
                bytes_max: u64::try_from(info.limits.max_storage)
                    .ok()
                    .filter(|bytes| *bytes > 0),
            }),
            Err(
                Error::NoResponders { .. }
                | Error::Refused {
                    code: code::NOT_ENABLED | code::NOT_ENABLED_FOR_ACCOUNT,
                    ..
                },
            ) => Err(Error::NoJetStream),
            Err(error) => Err(error),
        }
    }
}
