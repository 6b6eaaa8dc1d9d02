//! What an address hides by how its characters are written.

use crate::domain::ids::Invalid;

/// Characters that part an address, and may stand in it percent-encoded.
const MARKS: &str = ":/?#[]@!$&'()*+,;=";

/// Refuses what hides from whoever judges an address, and not from whoever uses it.
pub(super) fn check_encoding(text: &str) -> Result<(), Invalid> {
    let Some(once) = percent_decoded(text) else {
        return Err(Invalid(
            "must be percent-encoded UTF-8: what else it hides cannot be judged".to_owned(),
        ));
    };
    if once != text && percent_decoded(&once).as_ref() != Some(&once) {
        return Err(Invalid(
            "must not be percent-encoded twice: what it hides cannot be judged".to_owned(),
        ));
    }
    match once.chars().find(|c| is_lookalike(*c)) {
        Some(c) => Err(Invalid(format!(
            "must not have U+{:04X}, which some programs read as a punctuation mark of ASCII: write that, or leave it out",
            u32::from(c)
        ))),
        None => Ok(()),
    }
}

/// Whether a character is one of the marks that part addresses, in another form: some programs read it as that mark.
fn is_lookalike(c: char) -> bool {
    matches!(
        c,
        '\u{ff01}'..='\u{ff0f}'
            | '\u{ff1a}'..='\u{ff20}'
            | '\u{ff3b}'..='\u{ff40}'
            | '\u{ff5b}'..='\u{ff5e}'
            | '\u{fe10}'..='\u{fe19}'
            | '\u{fe50}'..='\u{fe6b}'
            | '\u{2024}'
            | '\u{2047}'..='\u{2049}'
            | '\u{2100}'
            | '\u{2101}'
            | '\u{2105}'
            | '\u{2106}'
            | '\u{2a74}'..='\u{2a76}'
    )
}

/// The text with the marks decoded that part an address.
pub(super) fn marks_decoded(text: &str) -> String {
    let mut pieces = text.split('%');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let code = piece
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let mark = code.map(char::from).filter(|c| MARKS.contains(*c));
        if let (Some(mark), Some(rest)) = (mark, piece.get(2..)) {
            out.push(mark);
            out.push_str(rest);
        } else {
            out.push('%');
            out.push_str(piece);
        }
    }
    out
}

/// The text with `%XX` undone; none when what comes out is no text.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *byte == b'%');
        let decoded = hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(decoded.unwrap_or(*byte));
        let used = if decoded.is_some() { 2 } else { 0 };
        rest = after.get(used..).unwrap_or_default();
    }
    String::from_utf8(bytes).ok()
}
