//! Regular expressions of ECMA-262, as JSON Schema means them, written anew for the engines that are used here. What
//! they would read differently is spelled out; what they cannot do is refused, with the reason.
//!
//! The dialect is that with the flag `u`, as validators in other languages have it: what that refuses is refused.

mod brackets;
mod class;
mod escape;
mod expression;
mod property;
mod reader;

use std::collections::HashSet;

use class::{Class, PROPERTY_SIZE};
pub(super) use expression::{Engine, Expression};
use reader::{Group, Last, REPETITIONS_MAX, Reader};

/// What a brace is.
const NO_REPETITION: &str =
    "a repetition is {n}, {n,} or {n,m}; a brace of the text is written \\{";

impl Expression {
    /// Reads a regular expression; else why it is none, or not supported.
    pub(super) fn read(pattern: &str) -> Result<Self, String> {
        let mut reader = Reader {
            pattern,
            rest: pattern.chars().peekable(),
            at: 0,
            groups: Vec::new(),
            names: HashSet::new(),
            size: 0,
            looks: false,
            last: Last::Nothing,
            read: Self::default(),
        };
        reader.all()?;
        reader.read.size = reader.size + 1;
        Ok(reader.read)
    }
}

impl Reader<'_> {
    fn all(&mut self) -> Result<(), String> {
        while let Some(c) = self.next() {
            match c {
                '|' => {
                    self.read.written.push('|');
                    self.last = Last::Nothing;
                }
                '^' | '$' => {
                    self.read.written.push(c);
                    self.last = Last::Assertion;
                }
                '(' => self.open()?,
                ')' => self.close()?,
                '*' => self.repeat("*", None, 1)?,
                '+' => self.repeat("+", None, 1)?,
                '?' => self.repeat("?", Some(1), 1)?,
                '{' => self.brace()?,
                '.' => {
                    let mut class = Class::new(true);
                    class.add(&[('\n', '\n'), ('\r', '\r'), ('\u{2028}', '\u{2029}')]);
                    self.atom(&class.written(), 1);
                }
                '[' => {
                    let class = self.class()?;
                    self.atom(&class.written(), class.size(PROPERTY_SIZE));
                }
                '\\' => self.escape()?,
                ']' | '}' => return self.wrong(&format!("'{c}' closes nothing: write \\{c}")),
                c => self.literal(c),
            }
        }
        match self.groups.last() {
            Some(group) => Err(format!("'(' is not closed (character {})", group.opened_at)),
            None => Ok(()),
        }
    }

    fn open(&mut self) -> Result<(), String> {
        let opened_at = self.at;
        let mut is_assertion = false;
        let written = if self.eat('?') {
            match (self.next(), self.peek()) {
                (Some(':'), _) => "(?:",
                (Some('='), _) => {
                    is_assertion = true;
                    "(?="
                }
                (Some('!'), _) => {
                    is_assertion = true;
                    "(?!"
                }
                (Some('<'), Some('=')) => {
                    self.next();
                    is_assertion = true;
                    "(?<="
                }
                (Some('<'), Some('!')) => {
                    self.next();
                    is_assertion = true;
                    "(?<!"
                }
                (Some('<'), _) => {
                    self.group_name()?;
                    "(?:"
                }
                (Some('i' | 'm' | 's' | '-'), _) => {
                    return self.wrong("flags within a pattern, as in (?i:…), are not supported");
                }
                _ => {
                    return self.wrong(
                        "'(?' begins none of (?:…), (?=…), (?!…), (?<=…), (?<!…), (?<name>…)",
                    );
                }
            }
        } else {
            // Nothing refers to what it matched.
            "(?:"
        };
        self.read.written.push_str(written);
        self.groups.push(Group {
            opened_at,
            size: std::mem::take(&mut self.size),
            looks: std::mem::replace(&mut self.looks, is_assertion),
            is_assertion,
        });
        self.read.looks_around |= is_assertion;
        self.last = Last::Nothing;
        Ok(())
    }

    fn group_name(&mut self) -> Result<(), String> {
        let mut name = String::new();
        loop {
            match self.next() {
                Some('>') if !name.is_empty() => break,
                Some('>') => return self.wrong("a group's name is empty: write (?:…)"),
                None => return self.wrong("a group's name is not closed: it ends with '>'"),
                Some('\\') => return self.wrong("escapes in a group's name are not supported"),
                Some(c) if property::is_in_name(c, name.is_empty()) => name.push(c),
                _ => {
                    return self.wrong(
                        "a group's name is made of letters, digits, '_' and '$', and begins with no digit",
                    );
                }
            }
        }
        if self.names.insert(name) {
            return Ok(());
        }
        self.wrong("two groups have the same name: give one another, or leave it out")
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(group) = self.groups.pop() else {
            return self.wrong("')' closes nothing");
        };
        self.read.written.push(')');
        let (size, looks) = (self.size.saturating_add(1), self.looks);
        self.size = group.size.saturating_add(size);
        self.looks = group.looks | looks;
        self.last = if group.is_assertion {
            Last::Assertion
        } else {
            Last::Atom { size, looks }
        };
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}`.
    fn brace(&mut self) -> Result<(), String> {
        match self.peek() {
            Some(c) if c.is_ascii_digit() => {}
            Some(',') => {
                return self.wrong("'{,' repeats nothing in ECMA-262: write {0,n}, or \\{");
            }
            _ => return self.wrong(NO_REPETITION),
        }
        let least = self.number();
        let most = if !self.eat(',') {
            Some(least.clone())
        } else if self.peek() == Some('}') {
            None
        } else {
            Some(self.number())
        };
        if !self.eat('}') {
            return self.wrong(NO_REPETITION);
        }
        self.repeatable()?;
        if most.as_ref().is_some_and(|most| *most < least) {
            return self.wrong("a repetition's numbers are out of order");
        }
        let least = least.times();
        let most = most.map(|most| most.times());
        let most = most.filter(|most| *most < REPETITIONS_MAX);
        let written = match most {
            Some(most) => format!("{{{least},{most}}}"),
            None => format!("{{{least},}}"),
        };
        self.repeat(&written, most, most.unwrap_or(least))
    }

    /// What may be repeated: how much it is, and whether it looks around.
    fn repeatable(&self) -> Result<(u64, bool), String> {
        match self.last {
            Last::Atom { size, looks } => Ok((size, looks)),
            Last::Quantifier => self.wrong("a repetition cannot be repeated: put it in a group"),
            Last::Assertion => self.wrong("there is nothing to repeat: an assertion takes no text"),
            Last::Nothing => self.wrong("there is nothing to repeat"),
        }
    }

    /// Repeats what was read last, at most that often, which is compiled to so many of it.
    fn repeat(&mut self, written: &str, most: Option<u64>, times: u64) -> Result<(), String> {
        let (size, looks) = self.repeatable()?;
        // Whether as few or as many as possible makes no difference to whether it matches.
        self.eat('?');
        self.read.written.push_str(written);
        self.size = self
            .size
            .saturating_add(size.saturating_mul(times.saturating_sub(1)));
        self.read.looks_in_loop |= looks && most.is_none();
        self.last = Last::Quantifier;
        Ok(())
    }
}
