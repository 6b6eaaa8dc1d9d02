//! A piece of a text that somebody gave, with a place in it underlined.

use std::ops::Range;

use unicode_width::UnicodeWidthStr;

use super::text::{plain, shortened};

/// Columns of a line that are shown, at most: what stands around the place of a longer one.
const EXCERPT_COLUMNS_MAX: usize = 72;
/// Columns that are shown before the place where there is not room for all, at most.
const BEFORE_COLUMNS_MAX: usize = 32;
/// What stands for what is left out.
const LEFT_OUT: &str = "…";

/// Where something stands in a text: both count from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Where that byte stands; one that is beyond the text stands at its end.
pub(crate) fn spot(text: &str, at: usize) -> Spot {
    let before = text.get(..at).unwrap_or(text);
    let line_begins = before.rfind('\n').map_or(0, |feed| feed + 1);
    let on_line = before.get(line_begins..).unwrap_or_default();
    Spot {
        line: before.matches('\n').count() + 1,
        column: on_line.chars().count() + 1,
    }
}

/// The line on which those bytes begin, and below it what underlines them as far as they stand on it.
pub(crate) fn excerpt(text: &str, bytes: &Range<usize>) -> [String; 2] {
    let begins = bytes.start.min(text.len());
    let head = text.get(..begins).unwrap_or(text);
    let rest = text.get(begins..).unwrap_or_default();
    let before = head.rsplit('\n').next().unwrap_or_default();
    let on_line = rest.lines().next().unwrap_or_default();
    let length = (bytes.end.saturating_sub(begins)).min(on_line.len());
    let (marked, after) = on_line.split_at_checked(length).unwrap_or((on_line, ""));
    let before = last_columns(&plain(before), BEFORE_COLUMNS_MAX);
    let (marked, after) = (plain(marked), plain(after));
    let room = EXCERPT_COLUMNS_MAX.saturating_sub(before.width());
    let marks = marked.width().clamp(1, room);
    let line = before.clone() + &shortened(&format!("{marked}{after}"), room);
    let under = " ".repeat(before.width()) + &"^".repeat(marks);
    [line, under]
}

/// The end of a line, with a sign for what is left out before it.
fn last_columns(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(LEFT_OUT.width());
    let fits = |at: &usize| text.get(*at..).is_some_and(|end| end.width() <= room);
    let mut begins = text.char_indices().map(|(at, _)| at);
    let end = begins.find(fits).and_then(|at| text.get(at..));
    LEFT_OUT.to_owned() + end.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, marked: &str, line: usize, column: usize, shown: [&str; 2]) {
        let begins = text.find(marked).unwrap();
        assert_eq!(spot(text, begins), Spot { line, column });
        assert_eq!(excerpt(text, &(begins..begins + marked.len())), shown);
    }

    #[test]
    fn a_place_is_underlined() {
        let flat = r#"{"a": "one"}"#;
        check(flat, "\"one\"", 1, 7, [flat, "      ^^^^^"]);
        let lines = "{\r\n\t\"é日\": \"one\"\r\n}";
        check(
            lines,
            "\"one\"",
            2,
            8,
            [" \"é日\": \"one\"", "        ^^^^^"],
        );
        // As far as its first line goes.
        check(
            lines,
            "\"é日\": \"one\"\r\n}",
            2,
            2,
            [" \"é日\": \"one\"", " ^^^^^^^^^^^^"],
        );
    }

    #[test]
    fn what_ends_too_early_is_pointed_at_behind_its_end() {
        let text = "{\"a\": ";
        assert_eq!(excerpt(text, &(6..7)), ["{\"a\": ", "      ^"]);
        assert_eq!(excerpt("", &(0..1)), ["", "^"]);
        assert_eq!(spot(text, 99), Spot { line: 1, column: 7 });
    }

    #[test]
    fn of_a_long_line_what_is_around_is_shown_and_nothing_obeyed() {
        let text = format!(
            "{{\"a\": \"{}\", \"b\": 7, \"c\": \"{}\"}}",
            "x".repeat(500),
            "y".repeat(500)
        );
        let begins = text.find("7,").unwrap();
        let [line, under] = excerpt(&text, &(begins..begins + 1));
        assert!(line.starts_with('…') && line.ends_with('…'), "{line}");
        assert!(line.width() <= EXCERPT_COLUMNS_MAX, "{line}");
        assert_eq!(
            line.chars().nth(under.width() - 1),
            Some('7'),
            "{line}\n{under}"
        );
        let [_, under] = excerpt(&text, &(0..text.len()));
        assert_eq!(under.width(), EXCERPT_COLUMNS_MAX);
        let [line, under] = excerpt("\u{1b}[2J x", &(5..6));
        assert_eq!(
            (line.as_str(), under.as_str()),
            ("\\u{1b}[2J x", "          ^")
        );
    }
}
