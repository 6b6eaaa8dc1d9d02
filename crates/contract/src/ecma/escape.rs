//! What stands behind a backslash.

use std::collections::HashSet;

use super::{
    class::{Class, DIGIT, PROPERTY_SIZE, SPACE, WORD},
    expression::{BOUNDARY, NO_BOUNDARY},
    reader::{Last, Reader},
};

/// Characters that stand for themselves behind a backslash.
pub(super) const SYNTAX: &str = "^$\\.*+?()[]{}|/";

const NO_UNICODE: &str = "\\u is followed by four hexadecimal digits, or by some in braces";
const NO_REFERENCES: &str = "back-references are not supported";

impl Reader<'_> {
    /// Outside of a class.
    pub(super) fn escape(&mut self) -> Result<(), String> {
        match self.peek() {
            Some('b' | 'B') => {
                let boundary = match self.next() {
                    Some('b') => BOUNDARY,
                    _ => NO_BOUNDARY,
                };
                self.read.written.push(boundary);
                self.read.has_boundaries = true;
                self.size += 1;
                self.last = Last::Assertion;
            }
            Some('k') => return self.named_reference(),
            Some('1'..='9') => return self.numbered_reference(),
            _ => {
                let mut class = Class::new(false);
                match self.class_escape(&mut class, SYNTAX)? {
                    Some(code) => match char::from_u32(code) {
                        Some(c) => self.literal(c),
                        // Half of a surrogate pair: no text has it.
                        None => self.atom(&class.written(), 1),
                    },
                    None => self.atom(&class.written(), class.size(PROPERTY_SIZE)),
                }
            }
        }
        Ok(())
    }

    /// Why a reference by a group's number is refused.
    fn numbered_reference(&mut self) -> Result<(), String> {
        let number = self.number();
        if number.times() <= Groups::of(self.pattern).count {
            return self.wrong(NO_REFERENCES);
        }
        let digits = number.1;
        self.wrong(&format!(
            "\\{digits} refers to group {digits}, which the pattern does not have; digits of the text stand without a \
             backslash"
        ))
    }

    /// The same by its name.
    fn named_reference(&mut self) -> Result<(), String> {
        self.next();
        let mut name = String::new();
        let mut is_named = self.eat('<');
        while is_named && !self.eat('>') {
            match self.next() {
                Some(c) => name.push(c),
                None => is_named = false,
            }
        }
        if !is_named || name.is_empty() {
            return self.wrong("\\k is followed by the name of a group, as \\k<name>");
        }
        if Groups::of(self.pattern).names.contains(&name) {
            return self.wrong(NO_REFERENCES);
        }
        self.wrong(&format!(
            "\\k<{name}> refers to a group which the pattern does not have"
        ))
    }

    /// Behind a backslash: a character's number, or none when it was a class that was added to `class`. Those that `escaped`
    /// names stand for themselves.
    pub(super) fn class_escape(
        &mut self,
        class: &mut Class,
        escaped: &str,
    ) -> Result<Option<u32>, String> {
        let Some(c) = self.next() else {
            return self.wrong("a backslash stands at the end");
        };
        match c {
            'd' => class.add(DIGIT),
            'w' => class.add(WORD),
            's' => class.add(SPACE),
            'D' => class.add_others(DIGIT),
            'W' => class.add_others(WORD),
            'S' => class.add_others(SPACE),
            'p' | 'P' => {
                let property = self.property()?;
                if class.add_property(c, &property) {
                    self.read.properties.push(format!("\\{c}{{{property}}}"));
                }
            }
            _ => return self.character(c, escaped).map(Some),
        }
        Ok(None)
    }

    /// The number of the character for which the escape stands. It may be half of a surrogate pair.
    fn character(&mut self, c: char, escaped: &str) -> Result<u32, String> {
        let c = match c {
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '0' if !self.peek().is_some_and(|next| next.is_ascii_digit()) => '\0',
            'c' => match self.next() {
                Some(letter) if letter.is_ascii_alphabetic() => {
                    char::from(u8::try_from(letter).unwrap_or_default() % 32)
                }
                _ => return self.wrong("\\c is followed by a letter of a to z, or A to Z"),
            },
            'x' => return self.hex(2),
            'u' => return self.unicode(),
            '0' if matches!(self.peek(), Some('8' | '9')) => {
                return self.wrong("\\0 is followed by no digit: write \\x00");
            }
            '0'..='7' => return self.wrong("octal numbers are not part of ECMA-262: write \\xHH"),
            // Outside of one they are no characters.
            'B' | 'k' | '8' | '9' => {
                return self.wrong(&format!("'\\{c}' means nothing in a class in ECMA-262"));
            }
            c if escaped.contains(c) => c,
            c if c.is_alphanumeric() => {
                return self.wrong(&format!("'\\{c}' means nothing in ECMA-262"));
            }
            c => {
                let why = if c.is_control() || c.is_whitespace() && c != ' ' {
                    let number = u32::from(c);
                    format!("a backslash before U+{number:04X} means nothing in ECMA-262")
                } else {
                    format!("'\\{c}' means nothing in ECMA-262: '{c}' stands for itself")
                };
                return self.wrong(&why);
            }
        };
        Ok(c.into())
    }

    fn unicode(&mut self) -> Result<u32, String> {
        if !self.eat('{') {
            return self.hex(4);
        }
        let mut code: u32 = 0;
        let mut digits = 0;
        loop {
            let next = self.next();
            if next == Some('}') && digits > 0 {
                break;
            }
            let Some(digit) = next.and_then(|c| c.to_digit(16)) else {
                return self.wrong(NO_UNICODE);
            };
            code = code.saturating_mul(16).saturating_add(digit);
            digits += 1;
        }
        if code > u32::from(char::MAX) {
            return self.wrong("there is no such character: the last one is \\u{10FFFF}");
        }
        Ok(code)
    }

    /// A number in hexadecimal; two that are a pair of UTF-16 stand for one character.
    fn hex(&mut self, digits: usize) -> Result<u32, String> {
        let first = self.digits(digits)?;
        let behind = (self.rest.clone(), self.at);
        if self.eat('\\')
            && self.eat('u')
            && let Ok(second) = self.digits(4)
            && let Some(c) = pair(first, second)
        {
            return Ok(c.into());
        }
        (self.rest, self.at) = behind;
        Ok(first)
    }

    fn digits(&mut self, count: usize) -> Result<u32, String> {
        let mut number = 0;
        for _ in 0..count {
            let Some(digit) = self.next().and_then(|c| c.to_digit(16)) else {
                return self.wrong(match count {
                    2 => "\\x is followed by two hexadecimal digits",
                    _ => NO_UNICODE,
                });
            };
            number = number * 16 + digit;
        }
        Ok(number)
    }
}

/// What a reference can refer to: the groups of a whole pattern, those behind it among them.
#[derive(Default)]
struct Groups {
    count: u64,
    names: HashSet<String>,
}

impl Groups {
    fn of(pattern: &str) -> Self {
        let mut groups = Self::default();
        let mut in_class = false;
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            match c {
                '\\' => drop(rest.next()),
                '[' => in_class = true,
                ']' => in_class = false,
                '(' if !in_class => {
                    let behind = rest.as_str();
                    let name = behind.strip_prefix("?<");
                    let name = name.filter(|name| !name.starts_with(['=', '!']));
                    groups.count += u64::from(name.is_some() || !behind.starts_with('?'));
                    let name = name.and_then(|name| name.split_once('>'));
                    groups.names.extend(name.map(|(name, _)| name.to_owned()));
                }
                _ => {}
            }
        }
        groups
    }
}

/// The character for which two units of UTF-16 stand together; none where they are no surrogate pair.
fn pair(first: u32, second: u32) -> Option<char> {
    let units = [u16::try_from(first).ok()?, u16::try_from(second).ok()?];
    let mut chars = char::decode_utf16(units);
    match (chars.next(), chars.next()) {
        (Some(Ok(c)), None) => Some(c),
        _ => None,
    }
}
