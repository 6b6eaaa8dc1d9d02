//! Data for programs: JSON and YAML.
//!
//! What strangers said stands in it: no character of theirs reaches a terminal that would obey it, and what
//! a program reads is what they said all the same.

use std::{borrow::Cow, fmt::Write as _, io};

use serde::Serialize;
use serde_json::Value;

use crate::protocol::json::{JsonText, compact, pretty};

use super::text::{NOTHING, is_unsafe};

/// What each of several YAML documents begins with.
pub(super) const YAML_START: &str = "---\n";

/// Indented JSON, without a line feed at its end.
pub(crate) fn json<T: Serialize>(value: &T) -> io::Result<String> {
    Ok(escaped(pretty(&serde_json::to_string(value)?)))
}

/// JSON on one line, without a line feed at its end.
pub(crate) fn json_line<T: Serialize>(value: &T) -> io::Result<String> {
    Ok(escaped(compact(&serde_json::to_string(value)?)))
}

/// YAML that parsers of 1.1 and of 1.2 read alike, with a line feed at its end. Numbers have the digits that they have in
/// JSON.
pub(super) fn yaml<T: Serialize>(value: &T) -> io::Result<String> {
    let mut options = serde_saphyr::SerializerOptions::default();
    // A text stays on its line, quoted where it must be.
    options.prefer_block_scalars = false;
    let value = JsonText::of(value)?;
    // What writes YAML has room for 64 bits: it gets a text that nothing else in there has, which is replaced.
    let plain = value.rounded()?.to_string();
    let mut mark = "number".to_owned();
    while plain.contains(&mark) {
        mark.push('x');
    }
    let marked = value.marked(&mark)?;
    let text = serde_saphyr::to_string_with_options(&marked, options).map_err(io::Error::other)?;
    let mut text: String = text
        .split(&mark)
        .enumerate()
        .map(|(at, part)| match at % 2 {
            0 => Cow::Borrowed(part),
            _ => yaml_number(part),
        })
        .collect();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// A number of JSON as one of YAML. To YAML 1.1 one with an exponent has a point and a sign before that.
fn yaml_number(number: &str) -> Cow<'_, str> {
    let Some((mantissa, exponent)) = number.split_once(['e', 'E']) else {
        return Cow::Borrowed(number);
    };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['+', '-']) {
        ""
    } else {
        "+"
    };
    Cow::Owned(format!("{mantissa}{point}e{sign}{exponent}"))
}

/// A value of a closed list, as it stands on the wire.
pub(crate) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text,
        _ => NOTHING.to_owned(),
    }
}

/// JSON that is written already. Outside of strings it has none of these characters but the line feed, so
/// each can be replaced by the escape that means it.
fn escaped(json: String) -> String {
    if !json.contains(|c| c != '\n' && is_unsafe(c)) {
        return json;
    }
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !is_unsafe(c) {
            safe.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(safe, "\\u{unit:04x}");
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_means_the_same() {
        let value = json!({
            "escape": "\u{1b}[2J", "csi": "\u{9b}2J", "delete": "\u{7f}", "bidi": "\u{202e}x\u{2028}",
            "tag": "\u{e0041}", "plain": "naïve → ok",
        });
        for text in [json(&value).unwrap(), json_line(&value).unwrap()] {
            assert!(
                !text.contains(|c: char| c != '\n' && is_unsafe(c)),
                "{text:?}"
            );
            assert!(text.contains("naïve → ok"), "{text}");
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
        assert_eq!(json_line(&value).unwrap().lines().count(), 1);
    }

    #[test]
    fn yaml_says_what_it_is() {
        let value = json!({
            "no": "no", "on": "on", "number": "1e3", "null": "null", "nothing": null, "time": "2026-11-22",
            "colon": "a: b # c", "empty": "", "list": [], "map": {}, "lines": "a\nb\n", "control": "\u{1b}[2J\u{9b}",
            "space": " a ", "dash": "- a", "half": 0.5, "long": "word ".repeat(60),
        });
        let text = yaml(&value).unwrap();
        assert!(
            !text.contains(|c: char| c != '\n' && c.is_control()),
            "{text:?}"
        );
        let want = r#"colon: "a: b # c"
control: "\e[2J\x9B"
dash: "- a"
empty: ""
half: 0.5
lines: "a\nb\n"
list: []
map: {}
"no": "no"
nothing: null
"null": "null"
number: "1e3"
"on": "on"
space: " a "
time: "2026-11-22"
"#;
        let (long, others): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with("long:"));
        assert_eq!(others.join("\n") + "\n", want);
        assert_eq!(long, [format!("long: {:?}", "word ".repeat(60))]);
        assert_eq!(yaml(&json!(true)).unwrap(), "true\n");
    }

    #[test]
    fn yaml_has_the_digits_of_json() {
        let long = "7".repeat(128);
        let text = format!(
            r#"{{"a":123456789012345678901234567890,"b":[1.10,1e400,-1.5E-400,-0,7],"c":"numberx 1.10","d":{long},"e":"1.10"}}"#
        );
        let want = format!(
            "a: 123456789012345678901234567890\nb:\n- 1.10\n- 1.0e+400\n- -1.5e-400\n- -0\n- 7\n\
             c: numberx 1.10\nd: {long}\ne: \"1.10\"\n"
        );
        assert_eq!(
            yaml(&JsonText::parse(text.as_bytes()).unwrap()).unwrap(),
            want
        );
    }
}
