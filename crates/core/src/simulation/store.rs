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
    /// How many bytes the stream may have, and has.
    pub(super) bytes_max: u64,
    pub(super) bytes: u64,
}

/// What a message takes besides its body.
const FRAME_BYTES: u64 = 250;

impl Message {
    fn stored(&self) -> u64 {
        self.bytes.len() as u64 + FRAME_BYTES
    }
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            first: 1,
            messages: VecDeque::new(),
            bytes_max: u64::MAX,
            bytes: 0,
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

    /// Whether it takes no message of that length.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        self.bytes + bytes as u64 + FRAME_BYTES > self.bytes_max
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
        let message = Message {
            header,
            bytes,
            entry,
        };
        self.bytes += message.stored();
        self.messages.push_back(message);
        Some(self.last())
    }

    pub(super) fn trim(&mut self, below: Sequence) {
        while self.first < below.0
            && let Some(message) = self.messages.pop_front()
        {
            self.bytes -= message.stored();
            self.first += 1;
        }
    }

    /// The store comes back without what is behind `last`.
    pub(super) fn go_back(&mut self, last: Sequence) {
        while self.last() > last
            && let Some(message) = self.messages.pop_back()
        {
            self.bytes -= message.stored();
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
