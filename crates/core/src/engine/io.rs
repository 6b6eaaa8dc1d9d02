//! What goes into the engine and what comes out.

use std::sync::Arc;

use onex_types::{
    entry::{EntryHeader, EntryId, Sequence},
    ids::LeaseId,
    key::PortKey,
    time::MonoMillis,
};

use crate::{
    command::{Command, Outcome, Probed},
    entry::Entry,
    state::ApplyError,
};

use super::{bounds::WAITING_MAX, room::Sizes};

/// A request that waits for its answer, as the driver knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// A command with who waits for it.
#[derive(Debug, Clone)]
pub struct Job {
    /// Who waits; none when nobody does.
    pub id: Option<JobId>,
    /// The command.
    pub command: Command,
    /// After this nobody decides it any more.
    pub deadline: MonoMillis,
}

/// What happened to the engine.
#[derive(Debug)]
pub enum Input {
    /// Somebody asks for something.
    Command(Job),
    /// The server acknowledged that entry at that position.
    Acked {
        /// Which entry.
        id: EntryId,
        /// Where it is.
        sequence: Sequence,
    },
    /// The server refused that entry. Earlier copies of it may still land.
    Refused {
        /// Which entry.
        id: EntryId,
        /// Why the append was refused.
        why: NotAppended,
    },
    /// The follower delivered what is at that position, or a read of it did.
    Delivered(Delivered),
    /// A read of that position found nothing there.
    Absent(Sequence),
    /// The connection or the follower broke: until the next [`Input::Following`] nothing is sent and no acknowledgement
    /// counts.
    Disconnected,
    /// A new follower delivered this first, at the position that was applied last; none when nothing was applied yet.
    Following(Option<(Sequence, Option<EntryId>)>),
    /// How large the log is and may be. To be said at the start, every few seconds, and when it changes.
    Sizes(Sizes),
    /// The ports of a grant were tried.
    Probed {
        /// For which grant.
        lease_id: LeaseId,
        /// What came of it: in use, if one of them is.
        probed: Probed,
        /// Those that are in use; empty for all of them.
        in_use: Vec<PortKey>,
    },
    /// Time has passed.
    Tick,
    /// Take no more commands.
    Stop,
}

/// Why the server did not take an attempt to append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAppended {
    /// The expected position is taken. It is a hint only.
    Conflict,
    /// The stream has reached its size, or its disk is full.
    Full,
    /// The message is larger than the server lets one be.
    TooLarge,
    /// Nobody takes any: the stream has no leader.
    Leaderless,
    /// Something else.
    Other,
}

/// A message of the log's stream.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// Where it is.
    pub sequence: Sequence,
    /// Its header; none for a message that is no entry.
    pub header: Option<EntryHeader>,
    /// Its body, when it could be read.
    pub entry: Option<Arc<Entry>>,
    /// How long it is, in bytes.
    pub bytes: usize,
}

/// What the engine wants done.
#[derive(Debug, Clone)]
pub enum Output {
    /// Append this entry behind that position.
    Append {
        /// The position that must be the last one.
        expected: Sequence,
        /// Its header.
        header: EntryHeader,
        /// Its body.
        bytes: Arc<[u8]>,
    },
    /// Read what is at that position, from the leader.
    Fetch(Sequence),
    /// Answer.
    Reply(JobId, Outcome),
    /// Try to bind those ports, unless it is later than `until` by then.
    Probe {
        /// For which grant.
        lease_id: LeaseId,
        /// The ports.
        keys: Vec<PortKey>,
        /// Not after this.
        until: MonoMillis,
    },
    /// This entry is in the log: bring it into what readers see, before its replies are sent.
    Applied {
        /// Where it is.
        sequence: Sequence,
        /// Its header.
        header: EntryHeader,
        /// What it says.
        entry: Arc<Entry>,
    },
    /// Remove every message below that position.
    Trim(Sequence),
    /// A message that is no valid entry is in the log: somebody else writes there.
    Foreign(Sequence),
    /// Something was not delivered: begin a new follower at the position that was applied last.
    Follow,
    /// Begin anew from what the log says: this engine does not fit it, and does nothing more.
    ReadAgain,
    /// Stop, with this reason.
    Fatal(Fatal),
}

/// Why an instance cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// A later version wrote to the log.
    #[error(
        "the entry at {sequence} has format {format}, and this version understands {}: start a newer version",
        crate::entry::FORMAT
    )]
    Format {
        /// The entry's place in the log.
        sequence: Sequence,
        /// The format that its header says.
        format: u32,
    },
    /// An entry of our format cannot be read.
    #[error("the entry at {0} is valid and cannot be read: a newer version may have written it")]
    Unreadable(Sequence),
    /// An entry does not fit the state.
    #[error("the entry at {sequence} does not fit what is before it: {source}")]
    Apply {
        /// The entry's place in the log.
        sequence: Sequence,
        /// Why it does not apply.
        source: ApplyError,
    },
    /// A decision made a change that does not fit the state.
    #[error("a decision does not fit the state: {0}")]
    Decision(ApplyError),
}

/// Sizes and times that tests shorten.
#[derive(Debug, Clone)]
pub struct Limits {
    /// A snapshot is due after so many bytes of entries, or twice as many as the last snapshot had.
    pub snapshot_bytes: usize,
    /// A snapshot is due after so long with changes, in milliseconds.
    pub snapshot_millis: u64,
    /// A chunk is closed when it has so many bytes.
    pub chunk_bytes: usize,
    /// So many commands of each queue wait at most.
    pub waiting_max: usize,
    /// Entries are kept for so long at least, in milliseconds: for who was away, and for people.
    pub kept_millis: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            snapshot_bytes: 16 * 1024 * 1024,
            snapshot_millis: 600_000,
            chunk_bytes: 128 * 1024,
            waiting_max: WAITING_MAX,
            kept_millis: 600_000,
        }
    }
}
