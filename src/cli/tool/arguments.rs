//! What a tool is called with, as it was given, and where in that a fault lies.

use std::{ops::Range, path::Path};

use crate::{
    cli::{
        failure::Failure,
        input::{self, STDIN},
        output::{excerpt, spot},
    },
    protocol::{
        endpoint::INVOKE_REQUEST_BYTES_MAX,
        json::JsonText,
        violation::{NOT_ALLOWED, Violation},
    },
};

/// What the name of a file stands behind.
const FILE_SIGN: char = '@';

/// Arguments with the text that they were given in.
pub(super) struct Given {
    words: Words,
    pub(super) arguments: JsonText,
}

impl Given {
    /// What `--args` says: JSON, `@FILE`, or `-` for stdin; an empty object where nothing is said.
    pub(super) fn read(said: Option<&str>) -> Result<Self, Failure> {
        let words = Words::read(said)?;
        let arguments =
            JsonText::parse(words.text.as_bytes()).map_err(|error| words.no_json(&error))?;
        if !arguments.is_object() {
            return Err(words.no_object(&arguments));
        }
        if let Err(violation) = arguments.document() {
            return Err(words.unfit(&violation));
        }
        Ok(Self { words, arguments })
    }

    /// What is wrong with them, each with its place, in the order of the places.
    pub(super) fn pointed_out(&self, violations: &[Violation]) -> Vec<String> {
        let mut found: Vec<_> = violations
            .iter()
            .map(|violation| {
                let part = match violation.message.as_str() {
                    NOT_ALLOWED => Part::Name,
                    _ => Part::Value,
                };
                (place(&self.words.text, &violation.pointer, part), violation)
            })
            .collect();
        found.sort_by_key(|(place, _)| place.as_ref().map(|place| place.start));
        found
            .into_iter()
            .flat_map(|(place, violation)| {
                self.words.pointed(place.as_ref(), &violation.to_string())
            })
            .collect()
    }
}

/// A text that arguments are given in.
struct Words {
    /// What the command line says of it.
    flag: String,
    /// What it is called where something in it is pointed at: a flag, a file, or stdin.
    source: String,
    text: String,
}

impl Words {
    fn read(said: Option<&str>) -> Result<Self, Failure> {
        let said = said.unwrap_or("{}");
        let file = said.strip_prefix(FILE_SIGN).map(Path::new);
        if file.is_none() && said != STDIN {
            return Ok(Self {
                flag: "--args".to_owned(),
                source: "--args".to_owned(),
                text: input::unmarked(said.to_owned()),
            });
        }
        let flag = format!("--args {said}");
        let text = input::read(file, &flag, INVOKE_REQUEST_BYTES_MAX as u64);
        let text = text.map_err(|failure| match file {
            Some(file) if file == Path::new(STDIN) => {
                failure.hint(format!("--args {STDIN} reads stdin"))
            }
            _ => failure,
        });
        Ok(Self {
            source: file.map_or_else(|| "stdin".to_owned(), |file| file.display().to_string()),
            text: text?,
            flag,
        })
    }

    /// `calc.json:2:8: /a must be …`, and below it the place.
    fn pointed(&self, place: Option<&Range<usize>>, what: &str) -> Vec<String> {
        let Self { source, text, .. } = self;
        let Some(place) = place else {
            return vec![format!("{source}: {what}")];
        };
        let spot = spot(text, place.start);
        let [line, under] = excerpt(text, place);
        vec![
            format!("{source}:{}:{}: {what}", spot.line, spot.column),
            format!("    {line}"),
            format!("    {under}"),
        ]
    }

    /// Programs get all in one message, with `line` and `column`; people see where it is, and there the reason.
    fn refused(&self, what: &str, why: &str, place: Option<&Range<usize>>) -> Failure {
        let why_ends = format!(": {why}");
        let failure = Failure::usage(format!("{} {what}{why_ends}", self.flag));
        let failure = match place.map(|place| spot(&self.text, place.start)) {
            Some(spot) => failure.with("line", spot.line).with("column", spot.column),
            None => failure,
        };
        failure
            .without_end(&why_ends)
            .showing(self.pointed(place, why))
    }

    fn no_json(&self, error: &serde_json::Error) -> Failure {
        let said = error.to_string();
        let said = said.split(" at line ").next().unwrap_or_default();
        let begins = offset(&self.text, error);
        let end = self.text.get(begins..).and_then(|rest| rest.chars().next());
        let place = begins..begins + end.map_or(1, char::len_utf8);
        self.refused("is not JSON", said, Some(&place)).hint(how())
    }

    /// JSON that no registry takes.
    fn unfit(&self, violation: &Violation) -> Failure {
        let place = |part| place(&self.text, &violation.pointer, part);
        let place = place(Part::Name).or_else(|| place(Part::Value));
        self.refused(
            "cannot be sent as it is",
            &violation.to_string(),
            place.as_ref(),
        )
    }

    fn no_object(&self, value: &JsonText) -> Failure {
        let kind = match value.text().as_bytes().first() {
            Some(b'[') => "a list",
            Some(b'"') => "a string",
            Some(b'-' | b'0'..=b'9') => "a number",
            _ => value.text(),
        };
        let what = "must be a JSON object, by the names of the arguments";
        let place = place(&self.text, "", Part::Value);
        let failure = self.refused(what, &format!("this is {kind}"), place.as_ref());
        failure.hint(how())
    }
}

/// The byte that an error is about.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    if error.is_eof() {
        return text.trim_end().len();
    }
    let lines = text.split_inclusive('\n').map(str::len);
    let before: usize = lines.take(error.line().saturating_sub(1)).sum();
    let mut at = (before + error.column().saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn how() -> String {
    format!(
        "as --args '{{\"a\": 1}}', in single quotes; --args {FILE_SIGN}FILE reads a file, --args {STDIN} reads stdin"
    )
}

/// What of a member is pointed at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Name,
    Value,
}

/// Where the value at a JSON Pointer stands in a text that is JSON, or its name: of a member that is there several times
/// the last.
fn place(text: &str, pointer: &str, part: Part) -> Option<Range<usize>> {
    let parts = pointer.strip_prefix('/');
    let parts = parts.into_iter().flat_map(|parts| parts.split('/'));
    let path: Vec<String> = parts
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect();
    Scan { text, at: 0, part }.value(Some(&path))
}

/// Reads JSON that was found to be right.
struct Scan<'a> {
    text: &'a str,
    at: usize,
    part: Part,
}

impl Scan<'_> {
    /// Passes a value; where the one at that path in it stands.
    fn value(&mut self, path: Option<&[String]>) -> Option<Range<usize>> {
        self.space();
        let begins = self.at;
        let found = match self.next()? {
            b'{' => self.members(path),
            b'[' => self.items(path),
            b'"' => {
                self.string()?;
                None
            }
            _ => {
                while self.next().is_some_and(|c| !is_mark(c)) {
                    self.at += 1;
                }
                None
            }
        };
        match path {
            Some([]) => Some(begins..self.at),
            _ => found,
        }
    }

    fn members(&mut self, path: Option<&[String]>) -> Option<Range<usize>> {
        let mut found = None;
        self.at += 1;
        while let Some(c) = self.inner(b'}') {
            if c != b'"' {
                return None;
            }
            let begins = self.at;
            let name = self.string()?;
            let named = begins..self.at;
            self.space();
            // The colon.
            self.at += 1;
            match below(path, |part| *part == name) {
                Some(path) => {
                    let value = self.value(Some(path));
                    let by_name = path.is_empty() && self.part == Part::Name;
                    found = if by_name { Some(named) } else { value };
                }
                None => drop(self.value(None)),
            }
        }
        found
    }

    fn items(&mut self, path: Option<&[String]>) -> Option<Range<usize>> {
        let mut found = None;
        let mut index = 0_usize;
        self.at += 1;
        while let Some(c) = self.inner(b']') {
            if is_mark(c) {
                return None;
            }
            match below(path, |part| *part == index.to_string()) {
                Some(path) => found = self.value(Some(path)),
                None => drop(self.value(None)),
            }
            index += 1;
        }
        found
    }

    /// What begins next within a list or an object; nothing behind its end.
    fn inner(&mut self, end: u8) -> Option<u8> {
        loop {
            self.space();
            match self.next()? {
                b',' => self.at += 1,
                c if c == end => {
                    self.at += 1;
                    return None;
                }
                c => return Some(c),
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let begins = self.at;
        self.at += 1;
        loop {
            match self.next()? {
                b'\\' => self.at += 2,
                b'"' => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        serde_json::from_str(self.text.get(begins..self.at)?).ok()
    }

    fn space(&mut self) {
        while self.next().is_some_and(|c| c.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// The rest of a path whose first part fits.
fn below(path: Option<&[String]>, fits: impl Fn(&String) -> bool) -> Option<&[String]> {
    let (first, rest) = path?.split_first()?;
    fits(first).then_some(rest)
}

/// Whether a number or a word ends there.
fn is_mark(c: u8) -> bool {
    c.is_ascii_whitespace() || matches!(c, b',' | b']' | b'}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Exit;

    #[test]
    fn every_value_is_found_where_it_stands() {
        let text = r#" {"a": [1, {"b/c": "x,\\"}, true ], "~": {"a": null}, "é\u0041": -1.5e3, "a~1": [[]] } "#;
        let at =
            |pointer: &str| place(text, pointer, Part::Value).and_then(|place| text.get(place));
        let whole = text.trim();
        for (pointer, found) in [
            ("", Some(whole)),
            ("/a", Some(r#"[1, {"b/c": "x,\\"}, true ]"#)),
            ("/a/0", Some("1")),
            ("/a/1/b~1c", Some(r#""x,\\""#)),
            ("/a/2", Some("true")),
            ("/~0/a", Some("null")),
            ("/éA", Some("-1.5e3")),
            ("/a~01/0", Some("[]")),
            ("/a/3", None),
            ("/b", None),
            ("/a/0/x", None),
        ] {
            assert_eq!(at(pointer), found, "{pointer}");
        }
        let twice = r#"{"a": 1, "a": 2}"#;
        assert_eq!(place(twice, "/a", Part::Value), Some(14..15));
        assert_eq!(place(twice, "/a", Part::Name), Some(9..12));
        let name = |pointer: &str| place(text, pointer, Part::Name).and_then(|it| text.get(it));
        assert_eq!(name("/a/1/b~1c"), Some(r#""b/c""#));
        assert_eq!(name("/a/1/a"), None);
    }

    /// Of a failure as people see it, less the hint.
    #[track_caller]
    fn check(text: &str, lines: &[&str]) {
        let failure = Given::read(Some(text)).err().unwrap();
        assert_eq!(failure.exit, Exit::Usage);
        let said = failure.text("");
        let said: Vec<&str> = said.lines().collect();
        let (hint, said) = said.split_last().unwrap();
        assert!(hint.contains("single quotes"), "{hint}");
        assert_eq!(said, lines);
    }

    #[test]
    fn what_is_no_json_object_is_pointed_out() {
        check(
            "{a: 1}",
            &[
                "onex: --args is not JSON",
                "      --args:1:2: key must be a string",
                "          {a: 1}",
                "           ^",
            ],
        );
        check(
            "{\n  \"a\": 1,\n  \"é\": }",
            &[
                "onex: --args is not JSON",
                "      --args:3:8: expected value",
                "            \"é\": }",
                "                 ^",
            ],
        );
        check(
            "{\"a\": [1",
            &[
                "onex: --args is not JSON",
                "      --args:1:9: EOF while parsing a list",
                "          {\"a\": [1",
                "                  ^",
            ],
        );
        check(
            "[1]",
            &[
                "onex: --args must be a JSON object, by the names of the arguments",
                "      --args:1:1: this is a list",
                "          [1]",
                "          ^^^",
            ],
        );
    }

    #[test]
    fn faults_come_in_the_order_of_their_places() {
        let given = Given::read(Some(r#"{"a": "one", "b": [1, null]}"#))
            .ok()
            .unwrap();
        let violation = |pointer: &str, message: &str| Violation {
            pointer: pointer.to_owned(),
            message: message.to_owned(),
        };
        let shown = given.pointed_out(&[
            violation("/b/1", "is null"),
            violation("/a", "is no number"),
            violation("/gone", "is gone"),
            violation("/b", NOT_ALLOWED),
            violation("", "\"c\" is a required property"),
        ]);
        let shown = shown.join("\n");
        let wanted = r#"--args: /gone is gone
--args:1:1: "c" is a required property
    {"a": "one", "b": [1, null]}
    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
--args:1:7: /a is no number
    {"a": "one", "b": [1, null]}
          ^^^^^
--args:1:14: /b is not a property that is allowed here
    {"a": "one", "b": [1, null]}
                 ^^^
--args:1:23: /b/1 is null
    {"a": "one", "b": [1, null]}
                          ^^^^"#;
        assert_eq!(shown, wanted);
    }
}
