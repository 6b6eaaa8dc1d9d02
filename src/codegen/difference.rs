//! Where a file differs from what would be generated, for whoever has to find out why.

use super::{
    generate::{FileStatus, file_status, generate},
    header::{CHECKSUM_LABEL, GENERATED},
    order::{Language, Order},
};

/// What begins the command at the top of a file.
const COMMAND: &str = "onex codegen ";

/// What makes a file another one than would be generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The text is right, and is stored in another way: in all of these.
    Stored(Vec<Stored>),
    /// There is nothing in it.
    Empty,
    /// Its first line does not say that it is generated.
    NotGenerated,
    /// It was generated with another value of that flag, or without it.
    Flag {
        /// As `--lang`.
        flag: &'static str,
        /// What the file says.
        have: Option<String>,
    },
    /// The first line that is another one.
    Line {
        /// Of the file, from 1.
        number: usize,
        /// What the file has there, if anything.
        have: Option<String>,
        /// What would be generated there, if anything.
        want: Option<String>,
        /// Whether the contracts and the command at the top of the file are the same: then it was edited, or another
        /// version of the generator wrote it.
        same_contracts: bool,
    },
}

/// A way of storing a text that is not the one in which it is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// A byte order mark stands before it.
    ByteOrderMark,
    /// Its lines end with a carriage return and a line feed.
    CrLf,
    /// Its last line has no end.
    NoLastNewline,
    /// There are empty lines behind its last one.
    EmptyLines,
}

/// How a file differs from what `order` would generate; nothing where [`file_status`] has no difference.
pub fn difference(file: &str, order: &Order<'_>) -> Option<Difference> {
    if file_status(file, order) != FileStatus::Differs {
        return None;
    }
    let (plain, stored) = plain(file);
    if plain.is_empty() {
        return Some(Difference::Empty);
    }
    if !stored.is_empty() && file_status(&plain, order) != FileStatus::Differs {
        return Some(Difference::Stored(stored));
    }
    if !plain
        .lines()
        .next()
        .is_some_and(|it| it.contains(GENERATED))
    {
        return Some(Difference::NotGenerated);
    }
    let want = generate(order);
    for flag in ["--lang", "--via", "--namespace"] {
        let have = value_of(flag, &plain);
        if have != value_of(flag, &want) {
            let have = have.map(str::to_owned);
            return Some(Difference::Flag { flag, have });
        }
    }
    let (have_head, want_head) = (head(&plain), head(&want));
    let same_contracts = have_head == want_head;
    // Texts may be others, and the checksum is if anything is: what else differs is the reason.
    let found = first(&have_head, &want_head)
        .or_else(|| first(&code(&plain, order.language), &code(&want, order.language)))
        .or_else(|| first(&without_checksum(&plain), &without_checksum(&want)))
        .or_else(|| first(&numbered(&plain), &numbered(&want)));
    let (number, have, want) = found?;
    Some(Difference::Line {
        number,
        have: have.map(str::to_owned),
        want: want.map(str::to_owned),
        same_contracts,
    })
}

/// The text as it would be generated, and how it was stored otherwise.
fn plain(file: &str) -> (String, Vec<Stored>) {
    let mut stored = Vec::new();
    let text = file.strip_prefix('\u{feff}').unwrap_or(file);
    if text.len() < file.len() {
        stored.push(Stored::ByteOrderMark);
    }
    let lines = text.replace("\r\n", "\n");
    if lines != text {
        stored.push(Stored::CrLf);
    }
    let text = lines.trim_end_matches('\n');
    match lines.len() - text.len() {
        0 => stored.push(Stored::NoLastNewline),
        1 => {}
        _ => stored.push(Stored::EmptyLines),
    }
    if text.trim().is_empty() {
        return (String::new(), stored);
    }
    (format!("{text}\n"), stored)
}

/// What the command at the top of a file says of a flag.
fn value_of<'a>(flag: &str, text: &'a str) -> Option<&'a str> {
    let (_, command) = text.split_once(COMMAND)?;
    let mut words = command.lines().next()?.split(' ');
    words.find(|word| *word == flag)?;
    words.next()
}

/// A line, and its number.
type Line<'a> = (usize, &'a str);

fn numbered(text: &str) -> Vec<Line<'_>> {
    (1..).zip(text.lines()).collect()
}

/// What stands at the top of a file, up to its checksum.
fn head(text: &str) -> Vec<Line<'_>> {
    let lines = numbered(text).into_iter();
    lines.take_while(|(_, line)| !is_checksum(line)).collect()
}

fn is_checksum(line: &str) -> bool {
    line.contains(CHECKSUM_LABEL)
}

fn without_checksum(text: &str) -> Vec<Line<'_>> {
    let lines = numbered(text).into_iter();
    lines.filter(|(_, line)| !is_checksum(line)).collect()
}

/// The lines that are no comments, in which alone the texts of contracts stand.
fn code(text: &str, language: Language) -> Vec<Line<'_>> {
    const QUOTES: &str = "\"\"\"";
    let mut quoted = false;
    let mut is_code = |line: &str| {
        let line = line.trim();
        if language != Language::Python {
            return !["//", "/**", "* ", "*/"]
                .iter()
                .any(|it| line.starts_with(it))
                && line != "*";
        }
        let opens = !quoted && line.starts_with(QUOTES);
        let within = quoted || opens;
        let rest = if opens {
            line.get(QUOTES.len()..)
        } else {
            Some(line)
        };
        if within {
            quoted = !rest.is_some_and(|it| it.ends_with(QUOTES));
        }
        !within && !line.starts_with('#')
    };
    let lines = numbered(text).into_iter();
    lines.filter(|(_, line)| is_code(line)).collect()
}

/// The first line that differs: where the one ends, its next number.
fn first<'a>(
    have: &[Line<'a>],
    want: &[Line<'a>],
) -> Option<(usize, Option<&'a str>, Option<&'a str>)> {
    let both = have.iter().zip(want);
    let same = both
        .take_while(|((_, have), (_, want))| have == want)
        .count();
    let (have_next, want_next) = (have.get(same), want.get(same));
    let behind = have.last().map_or(1, |(number, _)| number + 1);
    let number = have_next.map_or(behind, |(number, _)| *number);
    if have_next.is_none() && want_next.is_none() {
        return None;
    }
    Some((number, have_next.map(|it| it.1), want_next.map(|it| it.1)))
}
