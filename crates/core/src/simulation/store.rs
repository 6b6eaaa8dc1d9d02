//! The log's stream: it compares, appends, and is trimmed.

use std::{collections::VecDeque, sync::Arc};

use onex_types::entry::{EntryHeader, Sequence};

use crate::{engine::Delivered, entry::Entry};

/// One message.
#[derive(Clone)]
pub(super) struct Message {
    pub(super) header: Option<EntryHeader>,
    pub(super) bytes: Arc<[u8]>,
    /// The body, decoded once.
    pub(super) entry: Option<Arc<Entry>>,
}

/// The stream.
pub(super) struct Store {
    first: u64,
    messages: VecDeque<Message>,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            first: 1,
            messages: VecDeque::new(),
        }
    }

    pub(super) fn first(&self) -> Sequence {
        Sequence(self.first)
    }

    pub(super) fn last(&self) -> Sequence {
        Sequence(self.first - 1 + self.messages.len() as u64)
    }

    pub(super) fn get(&self, sequence: Sequence) -> Option<&Message> {
        let index = sequence.0.checked_sub(self.first)?;
        self.messages.get(usize::try_from(index).unwrap())
    }

    /// Appends, if the last position is the expected one; `check` off, always.
    pub(super) fn append(
        &mut self,
        expected: Option<Sequence>,
        header: Option<EntryHeader>,
        bytes: Arc<[u8]>,
    ) -> Option<Sequence> {
        if expected.is_some_and(|expected| expected != self.last()) {
            return None;
        }
        let entry = serde_json::from_slice(&bytes).ok().map(Arc::new);
        self.messages.push_back(Message {
            header,
            bytes,
            entry,
        });
        Some(self.last())
    }

    pub(super) fn trim(&mut self, below: Sequence) {
        while self.first < below.0 && !self.messages.is_empty() {
            self.messages.pop_front();
            self.first += 1;
        }
    }

    /// The store comes back without what is behind `last`.
    pub(super) fn go_back(&mut self, last: Sequence) {
        while self.last() > last {
            self.messages.pop_back();
        }
    }

    pub(super) fn delivered(&self, sequence: Sequence) -> Option<Delivered> {
        self.get(sequence).map(|message| Delivered {
            sequence,
            header: message.header,
            entry: message.entry.clone(),
            bytes: message.bytes.len(),
        })
    }
}
