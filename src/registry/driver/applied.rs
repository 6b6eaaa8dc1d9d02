//! What is told of every entry that is in the log.

use std::sync::Arc;

use onex_core::entry::Entry;
use onex_types::entry::{EntryHeader, Sequence};

/// An entry that is in the log.
#[derive(Debug, Clone)]
pub(in crate::registry) struct Applied {
    /// Where it is.
    pub(in crate::registry) sequence: Sequence,
    /// Its header.
    pub(in crate::registry) header: EntryHeader,
    /// What it says.
    pub(in crate::registry) entry: Arc<Entry>,
}
