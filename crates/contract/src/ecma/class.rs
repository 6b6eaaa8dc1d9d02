//! Classes of characters: `[a-z]`, `\d`, `\p{L}`.

use std::fmt::Write as _;

/// What an atom that stands for a property of Unicode counts as: it is compiled to many.
pub(super) const PROPERTY_SIZE: u64 = 10;

/// Characters from one to another, both among them.
type Range = (char, char);

/// `\d`
pub(super) const DIGIT: &[Range] = &[('0', '9')];
/// `\w`
pub(super) const WORD: &[Range] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
/// `\s`: white space and ends of lines.
pub(super) const SPACE: &[Range] = &[
    ('\t', '\r'),
    (' ', ' '),
    ('\u{a0}', '\u{a0}'),
    ('\u{1680}', '\u{1680}'),
    ('\u{2000}', '\u{200a}'),
    ('\u{2028}', '\u{2029}'),
    ('\u{202f}', '\u{202f}'),
    ('\u{205f}', '\u{205f}'),
    ('\u{3000}', '\u{3000}'),
    ('\u{feff}', '\u{feff}'),
];

/// A class as it is read.
pub(super) struct Class {
    is_negated: bool,
    ranges: Vec<Range>,
    /// As they are written.
    properties: Vec<String>,
}

impl Class {
    pub(super) fn new(is_negated: bool) -> Self {
        Self {
            is_negated,
            ranges: Vec::new(),
            properties: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, ranges: &[Range]) {
        self.ranges.extend_from_slice(ranges);
    }

    /// All characters but those, which are in order and apart from each other.
    pub(super) fn add_others(&mut self, ranges: &[Range]) {
        let mut from = '\0';
        for (first, last) in ranges {
            if let Some(before) = before(*first) {
                self.ranges.push((from, before));
            }
            from = after(*last).unwrap_or(char::MAX);
        }
        self.ranges.push((from, char::MAX));
    }

    /// All from one number to another: those of characters.
    pub(super) fn add_codes(&mut self, first: u32, last: u32) {
        let (below, above) = (first..=last.min(0xD7FF), first.max(0xE000)..=last);
        for codes in [below, above] {
            let ends = [*codes.start(), *codes.end()].map(char::from_u32);
            if let ([Some(first), Some(last)], false) = (ends, codes.is_empty()) {
                self.add(&[(first, last)]);
            }
        }
    }

    /// `p` or `P`, and what stands in the braces. Whether the engine is asked for that property.
    pub(super) fn add_property(&mut self, kind: char, name: &str) -> bool {
        let value = name.split_once('=').map_or(name, |(_, value)| value);
        match (value, kind) {
            // No text has them.
            ("Cs" | "Surrogate", 'p') => {}
            ("Cs" | "Surrogate", _) => self.add_others(&[]),
            // The script of those that have none, which the engine does not know by a name.
            ("Unknown" | "Zzzz", kind) => {
                let categories: &[&str] = match kind {
                    'p' => &["Cn", "Co"],
                    _ => &["L", "M", "N", "P", "S", "Z", "Cc", "Cf"],
                };
                let written = categories.iter().map(|name| format!("\\p{{{name}}}"));
                self.properties.extend(written);
            }
            _ => {
                self.properties.push(format!("\\{kind}{{{name}}}"));
                return true;
            }
        }
        false
    }

    /// As an engine reads it. Nested classes, and operators between them, are never in it.
    pub(super) fn written(&self) -> String {
        let all = (char::from(0), char::MAX);
        let (is_negated, ranges) = if self.ranges.is_empty() && self.properties.is_empty() {
            // An empty class is not known everywhere: nothing is what is not among all.
            (!self.is_negated, [all].to_vec())
        } else {
            (self.is_negated, self.ranges.clone())
        };
        let mut written = String::from(if is_negated { "[^" } else { "[" });
        for (first, last) in ranges {
            written.push_str(&character(first));
            if first != last {
                written.push('-');
                written.push_str(&character(last));
            }
        }
        written.extend(self.properties.iter().map(String::as_str));
        written.push(']');
        written
    }

    pub(super) fn size(&self, property_size: u64) -> u64 {
        let properties = u64::try_from(self.properties.len()).unwrap_or(u64::MAX);
        1 + properties.saturating_mul(property_size)
    }
}

/// A character as every engine reads it.
pub(super) fn character(c: char) -> String {
    let mut written = String::new();
    if c.is_ascii_alphanumeric() {
        written.push(c);
    } else {
        // Writing to a string does not fail.
        let _ = write!(written, "\\x{{{:x}}}", u32::from(c));
    }
    written
}

fn before(c: char) -> Option<char> {
    // No range here ends beside the surrogates.
    u32::from(c).checked_sub(1).and_then(char::from_u32)
}

fn after(c: char) -> Option<char> {
    char::from_u32(u32::from(c) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_characters_are_those_that_are_not_listed() {
        for ranges in [DIGIT, WORD, SPACE] {
            let mut others = Class::new(false);
            others.add_others(ranges);
            let among = |ranges: &[Range], c| {
                ranges
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&c))
            };
            for c in ('\0'..=char::MAX).step_by(1) {
                assert_ne!(among(ranges, c), among(&others.ranges, c), "{c:?}");
            }
        }
    }
}
