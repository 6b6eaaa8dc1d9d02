//! Whether a follower has missed something. The consumer numbers what it delivers without a gap; the
//! stream's own numbers have gaps wherever a value was overwritten.

use super::key::Revision;

/// How much is behind a message, for [`Index::apply`](super::index::Index::apply): what the server counted,
/// and at least one when the message was written in one piece with the next (`goes_on`). A server may show a
/// piece message by message before it counts the rest of it, and half of it is no exact point.
pub fn behind(pending: u64, goes_on: bool) -> u64 {
    pending.max(u64::from(goes_on))
}

/// How far one follower has come.
#[derive(Debug, Default)]
pub struct Cursor {
    delivered: u64,
    stream: Revision,
}

impl Cursor {
    /// Takes the next message of the same consumer; false when one before it was missed, or when it
    /// comes a second time: then the follower starts again behind [`Cursor::last`].
    pub fn take(&mut self, delivered: u64, stream: Revision) -> bool {
        let next = delivered == self.delivered + 1 && stream > self.stream;
        if next {
            self.delivered = delivered;
            self.stream = stream;
        }
        next
    }

    /// A new consumer begins to count.
    pub fn restart(&mut self) {
        self.delivered = 0;
    }

    /// The last message that was taken.
    pub fn last(&self) -> Revision {
        self.stream
    }
}
