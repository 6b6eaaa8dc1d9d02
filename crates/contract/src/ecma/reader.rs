//! A regular expression while it is read.

use std::{collections::HashSet, iter::Peekable, str::Chars};

use super::{class, expression::Expression};

/// More repetitions than any text has characters: servers take messages of 64 MiB at most. So many are as good as any
/// number.
pub(super) const REPETITIONS_MAX: u64 = 64 * 1024 * 1024;

/// A whole number of any size: how many digits it has, and those, without zeros before them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(usize, pub(super) String);

impl Number {
    /// As a number of repetitions.
    pub(super) fn times(&self) -> u64 {
        let times = if self.0 == 0 { Ok(0) } else { self.1.parse() };
        times.unwrap_or(REPETITIONS_MAX).min(REPETITIONS_MAX)
    }
}

/// What was read last, and may be repeated.
#[derive(Clone, Copy)]
pub(super) enum Last {
    Nothing,
    Assertion,
    Quantifier,
    Atom { size: u64, looks: bool },
}

/// A group that is open.
pub(super) struct Group {
    pub(super) opened_at: usize,
    /// What was counted outside of it.
    pub(super) size: u64,
    pub(super) looks: bool,
    pub(super) is_assertion: bool,
}

pub(super) struct Reader<'p> {
    /// All of it.
    pub(super) pattern: &'p str,
    pub(super) rest: Peekable<Chars<'p>>,
    /// Characters that were read.
    pub(super) at: usize,
    pub(super) groups: Vec<Group>,
    /// Those of groups that were read.
    pub(super) names: HashSet<String>,
    /// Of the innermost open group.
    pub(super) size: u64,
    pub(super) looks: bool,
    pub(super) last: Last,
    pub(super) read: Expression,
}

impl Reader<'_> {
    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.at += usize::from(next.is_some());
        next
    }

    pub(super) fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    pub(super) fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn wrong<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("{what} (character {})", self.at))
    }

    pub(super) fn atom(&mut self, written: &str, size: u64) {
        self.read.written.push_str(written);
        self.size = self.size.saturating_add(size);
        self.last = Last::Atom { size, looks: false };
    }

    pub(super) fn literal(&mut self, c: char) {
        let written = class::character(c);
        self.atom(&written, 1);
    }

    pub(super) fn number(&mut self) -> Number {
        let mut digits = String::new();
        while let Some(digit) = self.peek().filter(char::is_ascii_digit) {
            self.next();
            digits.push(digit);
        }
        let digits = digits.trim_start_matches('0');
        Number(digits.len(), digits.to_owned())
    }
}
