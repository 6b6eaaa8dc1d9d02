//! How much the store takes: how long an entry may be, and how full the log is.

use onex_types::{entry::Sequence, time::MonoMillis};

use crate::{
    command::{Class, Command, Refusal},
    mechanism::Mechanism,
    state::State,
    txn::{Mark, Txn},
};

use super::bounds::ENTRY_BYTES_MAX;

/// Taken for the server's bound on a message until the driver says it, in bytes: the default of nats-server.
const PAYLOAD_BYTES_DEFAULT: usize = 1024 * 1024;
/// Left free of each message: for the headers and for what stands around the commands.
const FRAME_BYTES: usize = 1024;
/// What a message takes in the store besides its body, in bytes.
const STORED_FRAME_BYTES: u64 = 256;

/// From so many hundredths of its size on, the log is to be cut short at once.
const TIGHT_PERCENT: u64 = 80;
/// From so many hundredths of its size on, only what does not make the state grow is taken.
const FULL_PERCENT: u64 = 90;
/// The state may take one part in so many of the log's size: two snapshots and what happens meanwhile must fit.
const STATE_PART: u64 = 8;
/// So many times the state is kept for a snapshot: what stands around its records, and a first attempt that fails.
const RESERVED_STATES: u64 = 3;
/// A log is cut short again only when it has grown by one part in so many of its size.
const REGROWN_PART: u64 = 64;

/// What the driver knows of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// How many bytes the log has.
    pub bytes: u64,
    /// How many it may have.
    pub bytes_max: u64,
    /// The largest message that the server takes, in bytes.
    pub payload_max: usize,
    /// The first position that is there.
    pub first: Sequence,
}

/// What is known of the store's bounds.
#[derive(Debug)]
pub(super) struct Room {
    bytes: u64,
    bytes_max: u64,
    payload_max: usize,
    /// Until when nothing is sent, because the server took nothing more.
    pub(super) full_until: MonoMillis,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            bytes: 0,
            bytes_max: u64::MAX,
            payload_max: PAYLOAD_BYTES_DEFAULT,
            full_until: MonoMillis::default(),
        }
    }
}

impl Room {
    pub(super) fn learn(&mut self, sizes: Sizes) {
        self.bytes = sizes.bytes;
        self.bytes_max = sizes.bytes_max.max(1);
        self.payload_max = sizes.payload_max;
    }

    /// An entry is in the log, since the driver last said how long that is.
    pub(super) fn grown(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64 + STORED_FRAME_BYTES);
    }

    /// The server did not take a message of that length.
    pub(super) fn too_large(&mut self, bytes: usize) {
        self.payload_max = self.payload_max.min(bytes);
    }

    fn body(&self) -> usize {
        self.payload_max.saturating_sub(FRAME_BYTES)
    }

    /// How long all commands of an entry may be. Half of a message, so that a chunk of a snapshot fits beside them: no
    /// record is longer than the command that wrote it.
    pub(super) fn commands_bytes(&self) -> usize {
        self.body() / 2
    }

    /// When an entry takes no more commands.
    pub(super) fn closed_bytes(&self) -> usize {
        ENTRY_BYTES_MAX.min(self.commands_bytes()).max(1)
    }

    /// How long a chunk may be, beside commands of that length.
    pub(super) fn chunk_bytes(&self, commands: usize) -> usize {
        self.body().saturating_sub(commands)
    }

    fn is_above(&self, percent: u64) -> bool {
        self.bytes.saturating_mul(100) > self.bytes_max.saturating_mul(percent)
    }

    /// Whether the log is to be cut short at once.
    pub(super) fn is_tight(&self, state: &State) -> bool {
        self.is_above(TIGHT_PERCENT) || self.is_reserved(state)
    }

    /// Whether nothing more is taken that makes the state grow.
    pub(super) fn is_full(&self, state: &State) -> bool {
        self.is_above(FULL_PERCENT) || self.is_reserved(state)
    }

    /// Whether what is left is kept for a snapshot. Only with a new one can a log be cut short that has grown to its size
    /// behind the last, so that one must always fit.
    pub(super) fn is_reserved(&self, state: &State) -> bool {
        let reserve = (state.bytes() as u64).saturating_mul(RESERVED_STATES);
        let bounds = state.mechanisms.on(Mechanism::SnapshotReserve);
        bounds && self.bytes.saturating_add(reserve) > self.bytes_max
    }

    /// How much a tight log has grown behind a snapshot when another one is worth its bytes.
    pub(super) fn regrown_bytes(&self) -> usize {
        usize::try_from(self.bytes_max / REGROWN_PART).unwrap_or(usize::MAX)
    }

    /// Why what `command` has changed since `mark` must not stay, if so.
    pub(super) fn refusal(&self, command: &Command, txn: &Txn<'_>, mark: &Mark) -> Option<Refusal> {
        let bounds = txn.state.mechanisms.on(Mechanism::StoreBounds);
        let (bytes, limit) = (txn.bytes_since(mark), self.commands_bytes());
        if bounds && bytes > limit {
            return Some(Refusal::TooLarge { bytes, limit });
        }
        let class = command.action.class();
        let from_outside = matches!(class, Class::Growth | Class::Upkeep);
        let reads_back = txn.state.mechanisms.on(Mechanism::ReadBack);
        if reads_back && from_outside && bytes > 0 && !txn.reads_back_since(mark) {
            return Some(Refusal::Unreadable);
        }
        if !bounds || class != Class::Growth || !txn.put_since(mark) {
            return None;
        }
        if self.is_full(txn.state) {
            return Some(Refusal::StoreFull);
        }
        let limit = self.bytes_max / STATE_PART;
        let above = txn.state.bytes() as u64 > limit && txn.state.bytes() > mark.state_bytes();
        above.then(|| Refusal::LimitExceeded {
            what: "bytes of state",
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        })
    }
}
