//! The mechanisms that keep the promises, by name, so that the simulation can switch one off and show what breaks.
//! Outside of tests all are on, and nothing can change that.

/// One mechanism of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Mechanism {
    /// An append names the last position that was applied, and the server refuses any other.
    CompareAndAppend,
    /// An append whose outcome is unknown is repeated as it is, never replaced by another one.
    RepeatSameEntry,
    /// The changes of an entry that was lost are undone before its commands are decided again.
    UndoOnLoss,
    /// A reply waits for the acknowledgement of the entry that it was decided in.
    OutcomeHeldByEntry,
    /// A grant whose port is being tried may be rolled back only while nobody confirmed it.
    TentativeGrants,
    /// An entry counts only behind the predecessor that it names.
    PredecessorChain,
    /// A command past its caller's deadline is not decided any more.
    CommandDeadline,
    /// A chunk of a snapshot has the records as of the entry that it is in, whenever its snapshot was begun.
    ChunkAsOfItsEntry,
    /// What is behind an entry that does not count is decided by every instance alike.
    VoidForAll,
    /// No acknowledgement counts until the follower's first delivery fits.
    FitBeforeAck,
    /// A TTL counts from when an instance applies the grant or renewal, not from a time that somebody wrote down.
    OwnClock,
    /// A registry counts a little longer than the holder.
    Slack,
    /// The log is trimmed only below what is in a snapshot and published.
    TrimOnlyCovered,
    /// A request that got a lease is remembered.
    Idempotency,
    /// Requests are taken before timers.
    RequestsBeforeTimers,
    /// The reply to a retry of a grant that is being tried waits until nobody tries the port any more.
    ConfirmWaits,
    /// A renewal only lengthens.
    OnlyLengthens,
    /// An instance whose entry has landed lets another one's land first.
    WinnersYield,
    /// An entry fits into a message, and a log that is nearly full takes nothing that adds to the state.
    StoreBounds,
    /// What no instance could read again is not written.
    ReadBack,
    /// A log that takes nothing more is cut short by whoever notices.
    CutFullLog,
    /// A host on which nothing has happened for the retention time is forgotten.
    ForgetHosts,
    /// A log that is older than what is known of it from elsewhere is refused.
    HighWater,
    /// An accepted restore raises the revision above all that is known.
    SkipRevisions,
    /// Nothing is granted after a restore until what may be lost has run out.
    QuietAfterRestore,
    /// Only the named instance says how far events are published.
    OnlyNamedPublishes,
    /// Of a log's size so much is kept that a snapshot fits.
    SnapshotReserve,
    /// A log is trimmed to its newest snapshot only when an entry names that.
    TrimToNamed,
    /// What belongs to a node's life reads as ended as soon as that has ended.
    EndsWithOwner,
    /// An epoch that has ended is not registered again.
    EndedEpoch,
    /// A late copy of a request that an earlier life began with does not begin another one.
    EarlierIncarnations,
    /// The ports of a life that was superseded cool down for as long as its holder may count on them.
    SupersededCooldown,
    /// A port that a lease gave up for another one cools down for as long as its holder may count on it.
    ReboundCooldown,
    /// The ports of a lease that was taken away cool down for as long as its holder may count on them.
    RevokedCooldown,
    /// A frozen node keeps its contract.
    FrozenContract,
    /// The outcome of a call that is in the log stays, whatever is reported later.
    OutcomeStays,
    /// Once an execution of a call may have been executed, no later one says of the call that it was not.
    ExecutedBefore,
    /// An execution ends once: a later end of it changes nothing and counts nothing.
    OneEnd,
    /// What began and was not ended in its time has ended with an unknown outcome.
    UnknownInTime,
    /// A port that is held under one name of a host is not granted under another.
    NamesOfHost,
    /// What others write into the log counts where it is nearly full.
    CountVoid,
    /// A log whose snapshots somebody removed gets another one at once.
    SnapshotAfterPurge,
}

/// Which mechanisms are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mechanisms {
    off: u64,
}

#[cfg(test)]
impl Mechanism {
    /// Each of them.
    pub(crate) const ALL: &[Self] = &[
        Self::CompareAndAppend,
        Self::RepeatSameEntry,
        Self::UndoOnLoss,
        Self::OutcomeHeldByEntry,
        Self::TentativeGrants,
        Self::PredecessorChain,
        Self::CommandDeadline,
        Self::ChunkAsOfItsEntry,
        Self::VoidForAll,
        Self::FitBeforeAck,
        Self::OwnClock,
        Self::Slack,
        Self::TrimOnlyCovered,
        Self::Idempotency,
        Self::RequestsBeforeTimers,
        Self::ConfirmWaits,
        Self::OnlyLengthens,
        Self::WinnersYield,
        Self::StoreBounds,
        Self::ReadBack,
        Self::CutFullLog,
        Self::ForgetHosts,
        Self::HighWater,
        Self::SkipRevisions,
        Self::QuietAfterRestore,
        Self::OnlyNamedPublishes,
        Self::SnapshotReserve,
        Self::TrimToNamed,
        Self::EndsWithOwner,
        Self::EndedEpoch,
        Self::EarlierIncarnations,
        Self::SupersededCooldown,
        Self::ReboundCooldown,
        Self::RevokedCooldown,
        Self::FrozenContract,
        Self::OutcomeStays,
        Self::ExecutedBefore,
        Self::OneEnd,
        Self::UnknownInTime,
        Self::NamesOfHost,
        Self::CountVoid,
        Self::SnapshotAfterPurge,
    ];
}

impl Mechanisms {
    /// Whether this one is on.
    pub fn on(self, mechanism: Mechanism) -> bool {
        self.off & (1 << mechanism as u64) == 0
    }

    /// The same without this one.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn without(self, mechanism: Mechanism) -> Self {
        Self {
            off: self.off | (1 << mechanism as u64),
        }
    }
}
