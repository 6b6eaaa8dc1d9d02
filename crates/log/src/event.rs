//! What happens to the log, as its one loop is told.

use bytes::Bytes;
use jiff::Timestamp;
use onex_types::entry::{EntryHeader, EntryId, Sequence};

use crate::error::Lost;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A session has started. Only if `first` is what the caller has applied there does the store fit, and do
    /// acknowledgements count.
    Following {
        /// The message at the sequence from which to follow; absent where that was 0, before the first message.
        first: Option<Delivery>,
        /// How many messages there are behind it.
        pending: u64,
    },
    /// Messages of the log, each the next one.
    Delivered(Vec<Delivery>),
    /// The entry was stored, right behind the sequence that was expected.
    Acked {
        /// The entry.
        id: EntryId,
        /// Its place.
        sequence: Sequence,
    },
    /// An attempt to append was refused.
    Refused {
        /// The entry.
        id: EntryId,
        /// Why the append was refused.
        refusal: Refusal,
        /// The server's words, for people. Nothing in them can be relied upon.
        description: String,
    },
    /// The session is over, or could not be started. Nothing more comes until [`Log::follow`](crate::Log::follow) is called.
    Lost(Lost),
}

/// A message of the log, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its sequence number in the stream.
    pub sequence: Sequence,
    /// Its header; absent in a message that is no entry.
    pub header: Option<EntryHeader>,
    /// When the server stored it.
    pub time: Timestamp,
    /// What it says: a slice of the connection's read buffer. Whoever keeps a part of it should copy that part.
    pub body: Bytes,
    /// How many messages there were behind it when it was sent; 0 once the end is reached, `u64::MAX` where nobody knows:
    /// it was read around a message that cannot be delivered.
    pub pending: u64,
}

/// How an attempt to append was refused. The attempt did not land; earlier copies of the entry still may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The stream is at another sequence, or this very entry is there already. Only the log says which: on a replicated
    /// stream the number in the server's words may never be stored.
    Conflict,
    /// The stream has reached its `max_bytes`, its account what that may store, or the disk is full.
    Full,
    /// Nobody takes it: the stream has no leader, or JetStream is not running.
    NoResponders,
    /// Larger than the server lets a message be.
    TooLarge,
    /// It was stored, but elsewhere: by another stream or at another sequence. It cannot be a valid entry there.
    Misplaced {
        /// The stream that stored it.
        stream: String,
        /// The place that the acknowledgement names.
        sequence: Sequence,
    },
    /// Something else; its number, `err_code`, says what.
    Other(u64),
}
