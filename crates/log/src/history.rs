//! The last messages of some subjects in a derived stream, found by their numbers.
//!
//! A server can give the last message of many subjects up to a position at once (ADR-31, `multi_last`), but sends it with its
//! headers over our connection, which dies of some that others may have written. So single messages are asked for as JSON,
//! without headers.

use serde_json::json;

use crate::{derived::Derived, error::Error};

/// Questions to the server for one history, at most: half for finding where it begins, in a stream of any length.
const QUESTIONS_MAX: usize = 128;

/// A message of a history.
struct Numbered {
    sequence: u64,
    n: u64,
    body: Vec<u8>,
}

/// What has been asked for.
struct Search<'a, N> {
    derived: &'a Derived,
    filter: &'a str,
    number: N,
    questions: usize,
}

impl Derived {
    /// The bodies of the last `count` messages of the subjects that `filter` matches, the oldest first. `number` says the
    /// number of a message, which counts those of these subjects without a gap, from its body; those that have none are
    /// others', and left out. None where that takes too many questions.
    pub async fn history(
        &self,
        filter: &str,
        count: u64,
        number: impl Fn(&[u8]) -> Option<u64>,
    ) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let mut search = Search {
            derived: self,
            filter,
            number,
            questions: 0,
        };
        let last = json!({ "last_by_subj": filter, "no_hdr": true });
        let Some(last) = self.api.found(&last).await? else {
            return Ok(Some(Vec::new()));
        };
        let Some(newest) = (search.number)(&last.body) else {
            return Ok(None);
        };
        let first = newest.saturating_sub(count.saturating_sub(1)).max(1);
        let Some(mut next) = search.first_from(first, newest, last.sequence).await? else {
            return Ok(None);
        };
        let mut bodies = Vec::new();
        loop {
            bodies.push(next.body);
            if next.sequence >= last.sequence {
                return Ok(Some(bodies));
            }
            match search.next(next.sequence + 1).await? {
                Some(found) => next = found,
                None => return Ok(None),
            }
        }
    }
}

impl<N: Fn(&[u8]) -> Option<u64>> Search<'_, N> {
    /// The first message from a position on that has a number; none at the end, and where too much has been asked.
    async fn next(&mut self, mut from: u64) -> Result<Option<Numbered>, Error> {
        while self.questions < QUESTIONS_MAX {
            self.questions += 1;
            let question = json!({ "seq": from, "next_by_subj": self.filter, "no_hdr": true });
            let Some(found) = self.derived.api.found(&question).await? else {
                return Ok(None);
            };
            if let Some(n) = (self.number)(&found.body) {
                return Ok(Some(Numbered {
                    sequence: found.sequence,
                    n,
                    body: found.body,
                }));
            }
            from = found.sequence + 1;
        }
        Ok(None)
    }

    /// The first message with a number from `first` to `newest`, which is at the position `last`. One with a higher number
    /// is of the same subjects before these were forgotten.
    async fn first_from(
        &mut self,
        first: u64,
        newest: u64,
        last: u64,
    ) -> Result<Option<Numbered>, Error> {
        let (mut low, mut high) = (1, last);
        while low < high {
            let middle = low.midpoint(high);
            let Some(found) = self.next(middle).await? else {
                return Ok(None);
            };
            if found.n == first {
                return Ok(Some(found));
            }
            if (first..=newest).contains(&found.n) {
                high = middle;
            } else {
                low = found.sequence + 1;
            }
        }
        self.next(low).await
    }
}
