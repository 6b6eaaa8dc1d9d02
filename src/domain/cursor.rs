//! Whether a follower has missed something. The consumer numbers what it delivers without a gap; the
//! stream's own numbers have gaps wherever a value was overwritten.

use super::key::Revision;

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
