//! How the first storage format is told from a log: a bucket with a key for each record. Where one is upgraded, a copy of it
//! is kept in a stream beside it, and the log is marked until it is complete; see [`crate::upgrade`].

use serde_json::{Map, Value, json};

use crate::{
    api::{Api, Described, Names},
    error::Error,
};

/// In the settings of a log that is not complete yet.
const MARK: &str = "onex-upgrade";
/// What it says there.
const UNDER_WAY: &str = "under way";

/// Whether the stream is a bucket of that format: a key for each record, its own among them.
pub(crate) async fn is_one(api: &Api, described: &Described) -> Result<bool, Error> {
    let bucket = &api.names.bucket;
    if described.config.get("subjects") != Some(&json!([format!("$KV.{bucket}.>")])) {
        return Ok(false);
    }
    let own = api.describe(Some(&format!("$KV.{bucket}.sys.>"))).await?;
    Ok(!own.subjects.is_empty())
}

/// Refuses a bucket of that format, and a log that is not complete yet.
pub(crate) async fn refuse(api: &Api, described: &Described) -> Result<(), Error> {
    let bucket = api.names.bucket.clone();
    if is_marked(&described.config) {
        return Err(Error::Upgrading { bucket });
    }
    if is_one(api, described).await? {
        return Err(Error::FormatOne { bucket });
    }
    Ok(())
}

/// There is no stream: refuses to make one where an upgrade has broken off.
pub(crate) async fn refuse_copy(api: &Api) -> Result<(), Error> {
    let bucket = api.names.bucket.clone();
    match is_sealed(&copy_of(api)).await? {
        Some(false) => Err(Error::Upgrading { bucket }),
        _ => Ok(()),
    }
}

/// Whether a log is not complete yet.
pub(crate) fn is_marked(config: &Map<String, Value>) -> bool {
    let metadata = config.get("metadata");
    metadata.is_some_and(|metadata| metadata.get(MARK).is_some())
}

/// The settings of a log that is not complete yet.
pub(crate) fn mark(config: &mut Value) {
    if let Value::Object(config) = config {
        config.insert("metadata".to_owned(), json!({ MARK: UNDER_WAY }));
    }
}

/// The log is complete.
pub(crate) fn unmark(config: &mut Map<String, Value>) {
    if let Some(Value::Object(metadata)) = config.get_mut("metadata") {
        metadata.remove(MARK);
    }
}

/// Whether the upgrade to which a copy belongs is done; none where there is no copy.
pub(crate) async fn is_sealed(copy: &Api) -> Result<Option<bool>, Error> {
    match copy.describe(None).await {
        Ok(found) => Ok(Some(found.config.get("sealed") == Some(&json!(true)))),
        Err(Error::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The stream beside it that keeps what was in the bucket.
pub(crate) fn copy_of(api: &Api) -> Api {
    let bucket = &api.names.bucket;
    let names = Names {
        stream: format!("ONEX_FORMAT_1_{bucket}"),
        ..api.names.clone()
    };
    Api::new(api.client.clone(), names)
}
