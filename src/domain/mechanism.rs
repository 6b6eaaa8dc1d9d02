//! The mechanisms that carry the invariants, by name, so that a test can switch one off and see what
//! breaks. Outside of tests they are on, and nothing can change that.

/// One mechanism of `docs/architecture.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Mechanism {
    /// Every write names the revision that it was judged at.
    CompareAndSet,
    /// A lease that is due is held until a write has ended it.
    EndingIsAWrite,
    /// A TTL counts from the first observation, not from a time that someone else wrote down.
    OwnClock,
    /// An unknown outcome is settled by repeating the write.
    SettleByWrite,
    /// A negative answer is decided again behind a barrier.
    Barrier,
    /// A barrier waits for a point with nothing pending behind it.
    ExactPoints,
    /// A request that got a lease is remembered.
    Replay,
    /// A grant under a request id is judged again when the follower has passed it.
    Echo,
    /// A grant that its own command has not answered yet is answered to another only after a write
    /// that says so; from then on it is not taken back.
    Adopt,
    /// A record carries its transitions until they are published.
    CarryTransitions,
    /// The checkpoint moves only after the events are out.
    CheckpointAfterEvents,
    /// A renewal only lengthens.
    OnlyLengthens,
    /// A port is tried after the write that grants it, not before.
    ProbeAfterGrant,
    /// A foreign write over a record counts as a holder that nobody knows.
    ForeignIsHeld,
    /// A follower that missed a message starts again.
    FollowerGap,
    /// A registry counts longer than the holder does.
    Slack,
    /// What needs several keys is written in one piece.
    AtomicBatch,
    /// There is no exact point within what was written in one piece.
    WholePieces,
    /// That something hangs on a life which is not there is believed only at an exact point.
    BondAtExactPoint,
    /// What hung on a life that another one ended rests for as long as its holder may count on it.
    SupersededRests,
    /// A life that has ended does not begin again under its epoch.
    EndedEpoch,
    /// A node is shown with what was announced for the life that it leads, or not at all.
    OneLife,
    /// That nothing hangs on what is to be forgotten is believed only at an exact point.
    ForgetAtExactPoint,
    /// A life that begins remembers the requests that earlier ones began with.
    EarlierLives,
    /// A call is written down before anything is sent to a provider.
    CallFirst,
    /// An execution has one outcome: one that is there stays.
    OutcomeStays,
}

/// Which mechanisms are on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mechanisms {
    #[cfg(test)]
    off: u32,
}

impl Mechanisms {
    /// Whether it is on.
    pub fn on(self, mechanism: Mechanism) -> bool {
        #[cfg(test)]
        return self.off & (1 << mechanism as u32) == 0;
        #[cfg(not(test))]
        {
            let _ = mechanism;
            true
        }
    }

    /// All but one.
    #[cfg(test)]
    pub(crate) fn without(mechanism: Mechanism) -> Self {
        Self {
            off: 1 << mechanism as u32,
        }
    }
}
