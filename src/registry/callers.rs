//! Who asks. A request does not say; what tells callers apart is where they take their answers.

use std::hash::{BuildHasher, RandomState};

use crate::protocol::inbox::Inboxes;

/// Tells callers apart.
#[derive(Clone)]
pub(super) struct Callers {
    /// Where answers may be sent.
    inboxes: Inboxes,
    /// Makes numbers of callers, others in each process.
    numbers: RandomState,
}

impl Callers {
    pub(super) fn new(inboxes: Inboxes) -> Self {
        Self {
            inboxes,
            numbers: RandomState::new(),
        }
    }

    /// Whether an answer may be sent to that subject.
    pub(super) fn may_answer(&self, reply: &str) -> bool {
        self.inboxes.has(reply)
    }

    /// A number for the connection that takes its answers there: see [`Inboxes::connection`].
    pub(super) fn number(&self, inbox: &str) -> u64 {
        self.numbers.hash_one(self.inboxes.connection(inbox))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_one_connection_are_one_caller() {
        let callers = Callers::new(Inboxes::default());
        let number = |inbox| callers.number(inbox);
        assert_eq!(number("_INBOX.a.1"), number("_INBOX.a.2"));
        assert_ne!(number("_INBOX.a.1"), number("_INBOX.b.1"));
        // With an inbox for each request nothing tells that they are of one.
        assert_ne!(number("_INBOX.1"), number("_INBOX.2"));
    }
}
