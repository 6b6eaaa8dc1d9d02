//! Text that was found to be JSON, token by token: what a [`Value`](serde_json::Value) does not keep of it.

use std::collections::{BTreeMap, HashSet};

use serde_json::Number;

use crate::pointer;

use super::{Decimal, Exact, JSON_NUMBER_CHARS_MAX};

/// Digits of a number that every double keeps.
const DIGITS_KEPT: usize = 15;
/// Powers of ten by which such a number may be multiplied or divided without leaving the range of a double.
const EXPONENT_KEPT: i32 = 290;

/// Brackets, colons, commas, strings, numbers and words, without the white space between them.
#[derive(Clone)]
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_ascii_start();
        let length = match rest.as_bytes().first()? {
            b'"' => string_length(rest),
            b'{' | b'}' | b'[' | b']' | b':' | b',' => 1,
            _ => {
                let ends = |c: char| c.is_ascii_whitespace() || matches!(c, ',' | ']' | '}');
                rest.find(ends).unwrap_or(rest.len())
            }
        };
        let (token, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(token)
    }
}

fn string_length(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return at + 1,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    text.len()
}

fn is_number(token: &str) -> bool {
    token.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// What one look at a text says of it.
pub(super) struct Facts {
    /// How deep it is nested: 1 for an object that holds no other and no list.
    pub(super) levels: usize,
    /// How many members all its objects have, those included that are there twice.
    pub(super) names: usize,
    /// Whether all its numbers have room in a [`Number`].
    pub(super) is_exact: bool,
    /// Characters of its longest number.
    pub(super) number_chars: usize,
}

impl Facts {
    pub(super) fn of(text: &str) -> Self {
        let mut facts = Self {
            levels: 0,
            names: 0,
            is_exact: true,
            number_chars: 0,
        };
        let mut level = 0_usize;
        for token in Tokens(text) {
            match token {
                "{" | "[" => {
                    level += 1;
                    facts.levels = facts.levels.max(level);
                }
                "}" | "]" => level = level.saturating_sub(1),
                ":" => facts.names += 1,
                number if is_number(number) => {
                    facts.number_chars = facts.number_chars.max(number.len());
                    // One that is too long is not looked at.
                    let long = number.len() > JSON_NUMBER_CHARS_MAX;
                    facts.is_exact &= !long && is_kept(number);
                }
                _ => {}
            }
        }
        facts
    }
}

/// Whether a [`Number`] keeps what is written.
fn is_kept(number: &str) -> bool {
    if number.parse::<u64>().is_ok() || number.parse::<i64>().is_ok() {
        return true;
    }
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    let exponent = exponent.parse::<i32>().unwrap_or(i32::MAX);
    if digits <= DIGITS_KEPT && (-EXPONENT_KEPT..=EXPONENT_KEPT).contains(&exponent) {
        return true;
    }
    let nearest = number.parse().ok().and_then(Number::from_f64);
    nearest.is_some_and(|nearest| Decimal::of(&nearest) == Decimal::parse(number))
}

/// The same with numbers that have a room in a [`Number`]: the nearest ones.
pub(super) fn rounded(text: &str) -> String {
    with_numbers(text, |number| {
        if is_kept(number) {
            return None;
        }
        let float: f64 = number.parse().unwrap_or_default();
        let nearest = Number::from_f64(float.clamp(f64::MIN, f64::MAX));
        Some(nearest.unwrap_or(0.into()).to_string())
    })
}

/// The same with texts in the place of numbers that are not written as integers of 64 bits are: the number between two
/// marks.
pub(super) fn marked(text: &str, mark: &str) -> String {
    with_numbers(text, |number| {
        let is_integer = number.parse::<u64>().is_ok() || number.parse::<i64>().is_ok();
        let is_plain = is_integer && number != "-0";
        (!is_plain).then(|| format!("\"{mark}{number}{mark}\""))
    })
}

/// The same with something else for some of the numbers.
fn with_numbers(text: &str, instead: impl Fn(&str) -> Option<String>) -> String {
    Tokens(text).fold(String::new(), |mut out, token| {
        match is_number(token).then(|| instead(token)).flatten() {
            Some(instead) => out.push_str(&instead),
            None => out.push_str(token),
        }
        out
    })
}

/// The numbers of a text that have no room in a [`Number`]. No object in it has a name twice.
pub(super) fn exact(text: &str) -> Option<Exact> {
    let mut tokens = Tokens(text);
    let first = tokens.next()?;
    exact_in(first, &mut tokens)
}

fn exact_in(first: &str, tokens: &mut Tokens<'_>) -> Option<Exact> {
    match first {
        "{" => {
            let mut found = BTreeMap::new();
            each_member(tokens, |name, first, tokens| {
                if let Some(exact) = exact_in(first, tokens) {
                    found.insert(name, exact);
                }
            });
            (!found.is_empty()).then_some(Exact::Members(found))
        }
        "[" => {
            let mut found = BTreeMap::new();
            each_item(tokens, |index, first, tokens| {
                if let Some(exact) = exact_in(first, tokens) {
                    found.insert(index, exact);
                }
            });
            (!found.is_empty()).then_some(Exact::Items(found))
        }
        number if is_number(number) && !is_kept(number) => Some(Exact::Number(number.into())),
        _ => None,
    }
}

/// The list or object that is deeper than so many levels, as a JSON Pointer.
pub(super) fn below_levels(text: &str, levels: usize) -> Option<String> {
    let mut tokens = Tokens(text);
    let first = tokens.next()?;
    below_in(first, &mut tokens, "", levels)
}

/// What follows the place that was found is not looked at.
fn below_in(first: &str, tokens: &mut Tokens<'_>, here: &str, left: usize) -> Option<String> {
    if !matches!(first, "{" | "[") {
        return None;
    }
    let Some(left) = left.checked_sub(1) else {
        return Some(here.to_owned());
    };
    let mut found = None;
    if first == "{" {
        each_member(tokens, |name, first, tokens| {
            if found.is_none() {
                found = below_in(first, tokens, &pointer::member(here, &name), left);
            }
        });
    } else {
        each_item(tokens, |index, first, tokens| {
            if found.is_none() {
                found = below_in(first, tokens, &format!("{here}/{index}"), left);
            }
        });
    }
    found
}

/// Where a number has more than so many characters, as a JSON Pointer.
pub(super) fn long_number(text: &str, chars: usize) -> Option<String> {
    let mut tokens = Tokens(text);
    let first = tokens.next()?;
    long_in(first, &mut tokens, "", chars)
}

fn long_in(first: &str, tokens: &mut Tokens<'_>, here: &str, chars: usize) -> Option<String> {
    let mut found = None;
    match first {
        "{" => each_member(tokens, |name, first, tokens| {
            let within = long_in(first, tokens, &pointer::member(here, &name), chars);
            found = found.take().or(within);
        }),
        "[" => each_item(tokens, |index, first, tokens| {
            let within = long_in(first, tokens, &format!("{here}/{index}"), chars);
            found = found.take().or(within);
        }),
        number if is_number(number) && number.len() > chars => found = Some(here.to_owned()),
        _ => {}
    }
    found
}

/// Where an object has a name for the second time, as a JSON Pointer.
pub(super) fn named_twice(text: &str) -> Option<String> {
    let mut tokens = Tokens(text);
    let first = tokens.next()?;
    twice_in(first, &mut tokens, "")
}

fn twice_in(first: &str, tokens: &mut Tokens<'_>, here: &str) -> Option<String> {
    let mut found = None;
    match first {
        "{" => {
            let mut seen = HashSet::new();
            each_member(tokens, |name, first, tokens| {
                let at = pointer::member(here, &name);
                let within = twice_in(first, tokens, &at);
                let twice = (!seen.insert(name)).then_some(at);
                found = found.take().or(twice).or(within);
            });
        }
        "[" => each_item(tokens, |index, first, tokens| {
            let within = twice_in(first, tokens, &format!("{here}/{index}"));
            found = found.take().or(within);
        }),
        _ => {}
    }
    found
}

/// Passes the members of an object that has begun: the name of each, the first token of its value, and the rest.
fn each_member<'a>(
    tokens: &mut Tokens<'a>,
    mut each: impl FnMut(String, &'a str, &mut Tokens<'a>),
) {
    while let Some(token) = tokens.next() {
        match token {
            "}" => return,
            "," => {}
            name => {
                let _colon = tokens.next();
                let Some(first) = tokens.next() else { return };
                each(
                    serde_json::from_str(name).unwrap_or_default(),
                    first,
                    tokens,
                );
            }
        }
    }
}

/// Passes the items of a list that has begun.
fn each_item<'a>(tokens: &mut Tokens<'a>, mut each: impl FnMut(usize, &'a str, &mut Tokens<'a>)) {
    let mut index = 0;
    while let Some(token) = tokens.next() {
        match token {
            "]" => return,
            "," => index += 1,
            first => each(index, first, tokens),
        }
    }
}

/// What names begin with that `serde_json` keeps for itself.
const RESERVED: &str = "$serde_json::private::";

/// A name of a member that `serde_json` keeps for itself, if there is one.
pub(super) fn reserved(text: &str) -> Option<String> {
    let mut tokens = Tokens(text).peekable();
    while let Some(token) = tokens.next() {
        // Every other token, and a name without one of these, is none.
        let may_be = token.starts_with('"') && token.contains(['$', '\\']);
        if may_be && tokens.peek() == Some(&":") {
            let name: String = serde_json::from_str(token).unwrap_or_default();
            if name.starts_with(RESERVED) {
                return Some(name);
            }
        }
    }
    None
}

/// JSON without white space between its tokens, each of which stays as it is.
pub fn compact(text: &str) -> String {
    Tokens(text).collect()
}

/// JSON with a line for each member and item, indented by two spaces a level. Each token stays as it is.
pub fn pretty(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut level = 0_usize;
    let mut tokens = Tokens(text).peekable();
    let line = |out: &mut String, level: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(level));
    };
    while let Some(token) = tokens.next() {
        match token {
            "{" | "[" => {
                out.push_str(token);
                if let Some(end) = tokens.next_if(|next| matches!(*next, "}" | "]")) {
                    out.push_str(end);
                } else {
                    level += 1;
                    line(&mut out, level);
                }
            }
            "}" | "]" => {
                level = level.saturating_sub(1);
                line(&mut out, level);
                out.push_str(token);
            }
            "," => {
                out.push(',');
                line(&mut out, level);
            }
            ":" => out.push_str(": "),
            token => out.push_str(token),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn white_space_changes_and_nothing_else() {
        let value = json!({
            "a": [], "b": {}, "c": [[1, -2.5], {"d": null, "e": [true, false]}], "f\"\\": " {[:,]} ", "": "\\\"",
        });
        let indented = serde_json::to_string_pretty(&value).unwrap();
        assert_eq!(compact(&indented), value.to_string());
        assert_eq!(pretty(&value.to_string()), indented);
        assert_eq!(pretty(&indented), indented);
        for text in ["1.10", "1e400", "\"a b\"", "null", "[]"] {
            assert_eq!((compact(text), pretty(text)), (text.into(), text.into()));
        }
    }

    #[test]
    fn rounded_numbers_can_be_read() {
        let text =
            "[1e400, -1e999999999999999999999, 1e-400, 1.10, 123456789012345678901234567890]";
        let value: Value = serde_json::from_str(&rounded(text)).unwrap();
        let want = json!([f64::MAX, f64::MIN, 0.0, 1.1, 1.234_567_890_123_456_8e29]);
        assert_eq!(value, want);
    }
}
