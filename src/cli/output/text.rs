//! Text for people: what strangers said made harmless, measured in columns, broken into lines.

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;
use textwrap::{WordSeparator, WordSplitter, WrapAlgorithm};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::client;

/// What stands where nothing is known or nothing was said.
pub(crate) const NOTHING: &str = "-";
/// What stands where a number would, had anybody measured.
pub(crate) const UNMEASURED: &str = "not measured";
/// What stands for the rest of a text.
const ELLIPSIS: &str = "…";

/// Whether a terminal would obey this character, or a reader be misled by it: control characters, those that
/// turn the direction of writing, line separators, and tags that nobody sees.
pub(super) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// On one line, and with nothing that a terminal obeys: spaces for line feeds and tabs, and other unsafe
/// characters as `\u{1b}`.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => plain.push(' '),
            c if is_unsafe(c) => plain.extend(c.escape_unicode()),
            c => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

/// The same, line by line.
pub(crate) fn plain_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(plain).collect();
    lines.join("\n")
}

/// What comes before the first line feed that has text before it.
pub(crate) fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default().trim_end()
}

/// At most `columns` wide; where it is longer, with a sign for the rest.
pub(crate) fn shortened(text: &str, columns: usize) -> Cow<'_, str> {
    if text.width() <= columns {
        return Cow::Borrowed(text);
    }
    let room = columns.saturating_sub(ELLIPSIS.width());
    let mut taken = 0;
    let fitting = text.chars().take_while(|c| {
        taken += c.width().unwrap_or(0);
        taken <= room
    });
    let mut short: String = fitting.collect();
    short.truncate(short.trim_end().len());
    Cow::Owned(short + ELLIPSIS)
}

/// Lines of JSON of at most `columns`, indents included, broken at spaces that are not in a text; longer where a text is.
pub(super) fn wrapped_json(
    json: &str,
    first_indent: &str,
    indent: &str,
    columns: usize,
) -> Vec<String> {
    let (mut in_text, mut is_escaped) = (false, false);
    let words = json.split(|c: char| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        in_text ^= ends;
        c == ' ' && !in_text
    });
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) => lines.push(format!("{indent}{word}")),
            None => lines.push(format!("{first_indent}{word}")),
        }
    }
    lines
}

/// Lines of at most `columns`, indents included, broken at spaces; within a word only where it is longer than a line.
pub(super) fn wrapped(text: &str, first_indent: &str, indent: &str, columns: usize) -> Vec<String> {
    let options = textwrap::Options::new(columns)
        .initial_indent(first_indent)
        .subsequent_indent(indent)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    let lines = textwrap::wrap(text, options);
    lines
        .iter()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// The width of the widest word.
pub(super) fn widest_word(text: &str) -> usize {
    text.split(' ')
        .map(UnicodeWidthStr::width)
        .max()
        .unwrap_or(0)
}

/// For people.
pub(crate) fn yes_or_no(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}

/// A point in time for people.
pub(crate) fn at(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A span of time for people, from milliseconds.
pub(crate) fn span(millis: u64) -> String {
    client::span(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(plain("naïve → 日本"), "naïve → 日本");
        assert_eq!(plain("a\nb\tc"), "a b c");
        assert_eq!(plain("\u{1b}]0;x\u{7}"), r"\u{1b}]0;x\u{7}");
        assert_eq!(plain("\u{9b}2J\r\u{7f}"), r"\u{9b}2J\u{d}\u{7f}");
        assert_eq!(plain("\u{202e}txt\u{2028}"), r"\u{202e}txt\u{2028}");
        assert_eq!(plain_lines("a\u{1b}\nb"), "a\\u{1b}\nb");
    }

    #[test]
    fn lines_are_measured_in_columns() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("abcdefg", 6), "abcde…");
        assert_eq!(shortened("abc  defg", 6), "abc…");
        assert_eq!(shortened("日本語です", 5), "日本…");
        assert_eq!(wrapped("one two three", "", "", 7), ["one two", "three"]);
        assert_eq!(
            wrapped("one two three", "", "    ", 7),
            ["one two", "    thr", "    ee"]
        );
        assert_eq!(wrapped("a-b-c d", "", "", 5), ["a-b-c", "d"]);
        assert_eq!(wrapped("日本語", " ", " ", 5), [" 日本", " 語"]);
        assert_eq!(wrapped("", "", "", 4), [""]);
        assert_eq!(widest_word("日本語 abcd"), 6);
        assert_eq!(first_line(" \n a b \n c"), "a b");
    }
}
