//! What the engine wants of the store besides appending: tasks of their own, so that nothing waits for them.

use std::sync::Arc;

use onex_core::engine::Input;
use onex_log::Store;
use onex_types::entry::Sequence;
use tokio::sync::{Notify, mpsc::UnboundedSender};

use super::load;

/// Reads what is at that position.
pub(super) fn fetch(store: &Store, inputs: &UnboundedSender<Input>, sequence: Sequence) {
    let (store, inputs) = (store.clone(), inputs.clone());
    tokio::spawn(async move {
        match store.get(sequence).await {
            Ok(Some(found)) => {
                let _ = inputs.send(Input::Delivered(load::found(found)));
            }
            Ok(None) => {
                let _ = inputs.send(Input::Absent(sequence));
            }
            // It is asked for again.
            Err(error) => tracing::debug!(%error, sequence = sequence.0, "cannot be read"),
        }
    });
}

/// Removes what is below that position; then it is looked again how large the log is.
pub(super) fn trim(store: &Store, look_again: Arc<Notify>, below: Sequence) {
    let store = store.clone();
    tokio::spawn(async move {
        match store.purge_below(below).await {
            Ok(purged) => tracing::info!(below = below.0, purged, "trimmed the log"),
            Err(error) => tracing::warn!(%error, below = below.0, "cannot trim the log"),
        }
        look_again.notify_one();
    });
}
