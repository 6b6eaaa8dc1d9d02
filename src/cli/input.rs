//! Text that a command line refers to: in a file, or on stdin.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use super::failure::Failure;

/// What stdin is called in the place of a file.
pub(super) const STDIN: &str = "-";

/// What some editors put at the beginning of a text, to say that it is UTF-8. It is no part of it.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// All that a file has, or stdin where `path` is none: at most `bytes_max` bytes. `shown` is what people call it.
pub(super) fn read(path: Option<&Path>, shown: &str, bytes_max: u64) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = match path {
        None => io::stdin().take(bytes_max + 1).read_to_end(&mut bytes),
        Some(path) => {
            File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes))
        }
    };
    read.map_err(|error| Failure::usage(format!("cannot read {shown}: {error}")))?;
    if bytes.len() as u64 > bytes_max {
        let message = format!("{shown} is larger than {bytes_max} bytes");
        return Err(Failure::usage(message));
    }
    let text = String::from_utf8(bytes).map_err(|_| {
        let failure = Failure::usage(format!("cannot read {shown}: it is not UTF-8"));
        failure.hint("save it as UTF-8; in PowerShell: `Set-Content -Encoding utf8`")
    })?;
    Ok(unmarked(text))
}

/// The text without the mark that it may begin with.
pub(super) fn unmarked(mut text: String) -> String {
    if text.starts_with(BYTE_ORDER_MARK) {
        text.remove(0);
    }
    text
}
