//! What an entry is at a moment. The only judge: nothing else compares a record with the time.

use super::{
    agenda::Change,
    ids::Ttl,
    key::Revision,
    mechanism::{Mechanism, Mechanisms},
    pool::Class,
    record::{Body, Ended, Lease, Record, Rest},
    time::{Moment, slack},
};

/// How long the request that got a port is remembered at the cost of using another port first, in
/// milliseconds: ten minutes.
pub const YOUNG_MILLIS: u64 = 600_000;

/// What is stored under a key, and when this instance first saw it.
#[derive(Debug, Clone)]
pub struct Entry<B = Body> {
    /// Where in the stream it is.
    pub revision: Revision,
    /// When this instance first saw that revision. Every count starts here: a registry that was
    /// away, stopped or slow thinks that a lease lasts longer, never shorter.
    pub observed: Moment,
    /// How many transitions the key had made when it was last understood.
    pub transitions: u64,
    /// The record; none when something foreign was written over it.
    pub record: Option<Box<Record<B>>>,
    /// Whether its message is known to be gone from the stream: then the key counts as never written.
    pub vanished: bool,
    /// Whether there is a record of a later version: this one never ends what it does not understand.
    pub later: bool,
    /// Whether a registry has removed it: there is a marker that the server will remove as well.
    pub forgotten: bool,
}

/// What a lease hangs on that is bound to a node's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bond {
    /// The node lives, or nobody can say yet that it does not.
    Holds,
    /// Nobody knows whether it lives; it counts as living until then.
    Until(Moment),
    /// It is over: how that ends the lease, and for how long its holder may still count on it.
    Over(Ended, Ttl),
}

/// What every entry is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The longest TTL that any instance allowed.
    pub longest: Ttl,
    /// Which mechanisms are on.
    pub mechanisms: Mechanisms,
}

impl Terms {
    /// How long a registry counts what a holder counts as well.
    pub(super) fn lengthened(self, millis: u64) -> u64 {
        let slack = if self.mechanisms.on(Mechanism::Slack) {
            slack(millis)
        } else {
            0
        };
        millis.saturating_add(slack)
    }
}

/// What a port is at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has it.
    Free,
    /// Nobody has it, and nobody gets it before that moment.
    Resting(Moment),
    /// Someone has it, until that moment at least.
    Held(Moment),
    /// Its time is up by this instance's clock. It is held all the same until a write ends it.
    Due,
}

impl<B> Entry<B> {
    /// What a write has to expect.
    pub fn expected(&self) -> Revision {
        if self.vanished {
            Revision::default()
        } else {
            self.revision
        }
    }

    /// What the record is about.
    pub fn body(&self) -> Option<&B> {
        self.record.as_deref().map(|record| &record.body)
    }
}

impl Entry {
    /// The lease, when the record holds one.
    pub fn lease(&self) -> Option<&Lease> {
        self.record.as_deref().and_then(Record::lease)
    }

    /// What is remembered of the last lease, when the record is a rest.
    pub fn rest(&self) -> Option<&Rest> {
        match self.record.as_deref().map(|record| &record.body) {
            Some(Body::Rest(rest)) => Some(rest),
            _ => None,
        }
    }

    /// When its time is up. Something foreign is held for the longest TTL there is: who was told
    /// what is not known.
    fn due(&self, terms: Terms) -> Moment {
        let ttl = self.lease().map_or(terms.longest, |lease| lease.ttl);
        self.observed.plus(terms.lengthened(ttl.millis()))
    }

    /// What the port is; `bond` when it is leased with a node.
    pub fn standing(&self, now: Moment, terms: Terms, bond: Option<Bond>) -> Standing {
        match bond {
            Some(Bond::Holds) => return Standing::Held(Moment::NEVER),
            Some(Bond::Until(until)) if now < until => return Standing::Held(until),
            Some(Bond::Until(_) | Bond::Over(..)) => return Standing::Due,
            None => {}
        }
        match self.rest() {
            Some(rest) if rest.rest_ms > 0 => {
                let until = self.observed.plus(terms.lengthened(rest.rest_ms));
                if now < until {
                    Standing::Resting(until)
                } else {
                    Standing::Free
                }
            }
            Some(_) => Standing::Free,
            None if self.record.is_none() && !terms.mechanisms.on(Mechanism::ForeignIsHeld) => {
                Standing::Free
            }
            None if self.later => Standing::Held(Moment::NEVER),
            None => {
                let due = self.due(terms);
                if now < due {
                    Standing::Held(due)
                } else {
                    Standing::Due
                }
            }
        }
    }

    /// What the port is to its pool, and when that changes by itself.
    pub fn class(&self, now: Moment, terms: Terms, bond: Option<Bond>) -> (Class, Change) {
        match (self.standing(now, terms, bond), self.rest()) {
            (Standing::Held(due), _) => (Class::Held, Change::At(due)),
            (Standing::Due, _) => (Class::Held, Change::Due),
            (
                Standing::Resting(until),
                Some(Rest {
                    ended: Ended::InUse,
                    ..
                }),
            ) => (Class::Quarantined, Change::At(until)),
            (Standing::Resting(until), _) => (Class::Resting, Change::At(until)),
            (Standing::Free, rest) => {
                let old = self.observed.plus(YOUNG_MILLIS);
                let remembers = rest
                    .and_then(|rest| rest.last.as_ref())
                    .is_some_and(|last| last.request.is_some());
                if remembers && now < old {
                    (Class::Young, Change::At(old))
                } else {
                    (Class::Free, Change::At(Moment::NEVER))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_write_holds_the_port_for_the_longest_ttl() {
        let entry: Entry = Entry {
            revision: Revision(9),
            observed: Moment(1_000),
            transitions: 0,
            record: None,
            vanished: false,
            later: false,
            forgotten: false,
        };
        let terms = Terms {
            longest: Ttl::try_from(100).unwrap(),
            mechanisms: Mechanisms::default(),
        };
        let until = Moment(1_000 + 100_000 + 600);
        assert_eq!(
            entry.standing(Moment(1_000), terms, None),
            Standing::Held(until)
        );
        assert_eq!(
            entry.standing(Moment(until.0 - 1), terms, None),
            Standing::Held(until)
        );
        assert_eq!(entry.standing(until, terms, None), Standing::Due);
    }

    #[test]
    fn what_a_later_version_wrote_is_left_alone() {
        let entry: Entry = Entry {
            revision: Revision(9),
            observed: Moment(1_000),
            transitions: 0,
            record: None,
            vanished: false,
            later: true,
            forgotten: false,
        };
        let terms = Terms {
            longest: Ttl::try_from(1).unwrap(),
            mechanisms: Mechanisms::default(),
        };
        let standing = entry.standing(Moment(u64::MAX / 2), terms, None);
        assert_eq!(standing, Standing::Held(Moment::NEVER));
    }
}
