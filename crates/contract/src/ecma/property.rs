//! What ECMA-262 takes from Unicode, by the names that it has for it.

use std::sync::LazyLock;

use fancy_regex::Regex;

use super::reader::Reader;

/// The names, each line those of one kind: values of `General_Category`, properties that a character has or has not,
/// values of `Script`.
const NAMES: &str = include_str!("unicode.txt");

/// What ECMA-262 has with the flag `v` only.
const OF_SEQUENCES: [&str; 7] = [
    "Basic_Emoji",
    "Emoji_Keycap_Sequence",
    "RGI_Emoji",
    "RGI_Emoji_Flag_Sequence",
    "RGI_Emoji_Modifier_Sequence",
    "RGI_Emoji_Tag_Sequence",
    "RGI_Emoji_ZWJ_Sequence",
];

impl Reader<'_> {
    /// What stands in the braces of `\p{…}`.
    pub(super) fn property(&mut self) -> Result<String, String> {
        let what = "a property of Unicode is written \\p{Name} or \\p{Name=Value}";
        if !self.eat('{') {
            return self.wrong(what);
        }
        let mut name = String::new();
        loop {
            match self.next() {
                Some('}') if !name.is_empty() => break,
                Some(c) if c.is_ascii_alphanumeric() || c == '_' => name.push(c),
                Some('=') if !name.is_empty() && !name.contains('=') => name.push('='),
                _ => return self.wrong(what),
            }
        }
        if is_known(&name) {
            return Ok(name);
        }
        if OF_SEQUENCES.contains(&name.as_str()) {
            let why = "is a property of sequences of characters, for which patterns have no flag";
            return self.wrong(&format!("{name} {why}"));
        }
        self.wrong(&format!(
            "{name} is no property that Unicode has in ECMA-262: scripts are written \\p{{Script=Greek}}, and \
             capitals as there"
        ))
    }
}

/// Whether ECMA-262 has that property under that name. The engine takes names in any spelling.
fn is_known(name: &str) -> bool {
    match name.split_once('=') {
        None => is_in("gc", name) || is_in("binary", name),
        Some(("General_Category" | "gc", value)) => is_in("gc", value),
        Some(("Script" | "sc" | "Script_Extensions" | "scx", value)) => is_in("sc", value),
        Some(_) => false,
    }
}

/// Whether it is a name of that kind.
fn is_in(kind: &str, name: &str) -> bool {
    NAMES.lines().any(|line| {
        let mut words = line.split(' ');
        words.next() == Some(kind) && words.any(|word| word == name)
    })
}

static NAME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(?:[\p{ID_Start}$_]|\p{ID_Continue}|[\x{200c}\x{200d}])$").ok());
static NAME_START: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[\p{ID_Start}$_]$").ok());

/// Whether a character may stand in the name of a group, or at its beginning.
pub(super) fn is_in_name(c: char, at_start: bool) -> bool {
    if c.is_ascii() {
        return c == '_' || c == '$' || c.is_ascii_alphabetic() || !at_start && c.is_ascii_digit();
    }
    let allowed = if at_start { &NAME_START } else { &NAME };
    let allowed = allowed.as_ref();
    allowed.is_some_and(|it| it.is_match(c.encode_utf8(&mut [0; 4])).unwrap_or_default())
}
