//! `onex codegen --check`: whether a file is what would be written, and else why not.

use std::{io::ErrorKind, path::Path};

use crate::codegen::{self, Difference, FileStatus, Order, Stored};

use super::{
    failure::{Exit, Failure},
    output::Output,
};

/// Longest line, in characters, that is shown whole where it differs; of a longer one as many are.
const LINE_CHARS_MAX: usize = 160;
/// Characters that are shown before the one in which such a line differs.
const LINE_CHARS_BEFORE: usize = 40;

/// Whether the file is what would be written, but for texts of contracts that nobody relies on.
pub(super) fn check(path: &Path, order: &Order<'_>, output: Output) -> Result<(), Failure> {
    const ANEW: &str = "with the same command without --check";
    let shown = path.display();
    let failed = |message: String| Failure::new(Exit::Failed, "OUT_OF_DATE", message);
    let bytes = std::fs::read(path).map_err(|error| {
        let failure = unusable(path, "read", &error);
        if error.kind() == ErrorKind::NotFound {
            failure.hint(format!("write it {ANEW}"))
        } else {
            failure
        }
    })?;
    let Ok(have) = String::from_utf8(bytes) else {
        let failure = failed(format!(
            "{shown} is not UTF-8, in which it would be written"
        ));
        return Err(failure.hint(format!("write it anew {ANEW}")));
    };
    if codegen::file_status(&have, order) == FileStatus::TextsDiffer {
        output.note(&format!(
            "{shown} is made from these contracts; since then only their versions or texts have changed"
        ));
    }
    let Some(difference) = codegen::difference(&have, order) else {
        return Ok(());
    };
    let what = match &difference {
        Difference::Stored(_) => shown.to_string(),
        _ => format!("{shown} is not what the contracts give now"),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hint = match &difference {
        Difference::Stored(how) if how.contains(&Stored::CrLf) => {
            format!(
                "if git checks it out so, put the line `{name} text eol=lf` into .gitattributes"
            )
        }
        Difference::NotGenerated | Difference::Flag { .. } => {
            format!("is it the right file? write it anew {ANEW}")
        }
        Difference::Line {
            same_contracts: true,
            ..
        } => {
            format!("it was edited, or another version of onex wrote it: write it anew {ANEW}")
        }
        _ => format!("write it anew {ANEW}"),
    };
    let failure = failed(format!("{what}{}", told(&difference)));
    Err(failure.hint(hint))
}

/// The end of a sentence about a file.
fn told(difference: &Difference) -> String {
    match difference {
        Difference::Stored(how) => {
            let how = how.iter().map(|how| match how {
                Stored::ByteOrderMark => {
                    "begins with a byte order mark, and would be written without"
                }
                Stored::CrLf => "has CRLF line endings, and would be written with LF",
                Stored::NoLastNewline => "has no newline at its end, and would be written with one",
                Stored::EmptyLines => "has empty lines at its end, and would be written without",
            });
            let how: Vec<_> = how.collect();
            format!(" {}; nothing else differs", how.join("; it "))
        }
        Difference::Empty => ": it is empty".to_owned(),
        Difference::NotGenerated => ": its first line does not say that onex wrote it".to_owned(),
        Difference::Flag { flag, have } => match have {
            Some(have) => format!(": it was made with {flag} {have}"),
            None => format!(": it was made without {flag}"),
        },
        Difference::Line {
            number, have, want, ..
        } => match (have, want) {
            (Some(have), Some(want)) => {
                let [have, want] = apart(have, want);
                format!(": line {number} is {have:?}, and would be {want:?}")
            }
            (Some(have), None) => format!(
                ": line {number} is {:?}, and would not be there",
                have.trim()
            ),
            (None, want) => {
                let want = want.as_deref().unwrap_or_default();
                format!(
                    ": it ends before line {number}, which would be {:?}",
                    want.trim()
                )
            }
        },
    }
}

/// Two lines that differ, less what surrounds them; of long ones the part that differs.
fn apart(have: &str, want: &str) -> [String; 2] {
    let (have, want) = match (have.trim(), want.trim()) {
        (have_trimmed, want_trimmed) if have_trimmed == want_trimmed => (have, want),
        trimmed => trimmed,
    };
    let both = have.chars().zip(want.chars());
    let same = both.take_while(|(have, want)| have == want).count();
    [have, want].map(|line| {
        let length = line.chars().count();
        if length <= LINE_CHARS_MAX {
            return line.to_owned();
        }
        let skipped = same.saturating_sub(LINE_CHARS_BEFORE);
        let part: String = line.chars().skip(skipped).take(LINE_CHARS_MAX).collect();
        let before = if skipped > 0 { "…" } else { "" };
        let after = if skipped + LINE_CHARS_MAX < length {
            "…"
        } else {
            ""
        };
        format!("{before}{part}{after}")
    })
}

pub(super) fn unusable(path: &Path, verb: &str, error: &std::io::Error) -> Failure {
    let message = format!("cannot {verb} {}: {error}", path.display());
    Failure::new(Exit::Usage, "FILE", message)
}
