//! What goes wrong, and how often.

/// Times in a thousand that something goes wrong, at each of its occasions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    /// An append never arrives.
    pub(super) append_lost: u64,
    /// An append arrives late, by up to five seconds.
    pub(super) append_late: u64,
    /// An append arrives twice, the second time late.
    pub(super) append_twice: u64,
    /// An acknowledgement or refusal never arrives.
    pub(super) ack_lost: u64,
    /// A refusal that names a winner which never lands.
    pub(super) refused_falsely: u64,
    /// A follower breaks while it delivers.
    pub(super) follower_breaks: u64,
    /// Somebody else writes a message, each second.
    pub(super) foreign: u64,
    /// An instance stands still, each second: for up to three times the longest TTL.
    pub(super) pause: u64,
    /// An instance is killed and starts again, each second.
    pub(super) kill: u64,
    /// The server does not answer for up to four seconds, each second.
    pub(super) outage: u64,
    /// A request or reply between a holder and an instance is lost.
    pub(super) message_lost: u64,
    /// A reply arrives late, by up to three seconds.
    pub(super) reply_late: u64,
    /// An administrator interferes, each second.
    pub(super) administrator: u64,
}

impl Faults {
    /// Nothing goes wrong.
    pub(super) const NONE: Self = Self {
        append_lost: 0,
        append_late: 0,
        append_twice: 0,
        ack_lost: 0,
        refused_falsely: 0,
        follower_breaks: 0,
        foreign: 0,
        pause: 0,
        kill: 0,
        outage: 0,
        message_lost: 0,
        reply_late: 0,
        administrator: 0,
    };

    /// Everything does now and then.
    pub(super) const MANY: Self = Self {
        append_lost: 20,
        append_late: 20,
        append_twice: 20,
        ack_lost: 50,
        refused_falsely: 20,
        follower_breaks: 10,
        foreign: 50,
        pause: 30,
        kill: 30,
        outage: 30,
        message_lost: 30,
        reply_late: 50,
        administrator: 100,
    };
}
