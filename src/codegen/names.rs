//! Names in code, from names that stand for anything.

use std::collections::HashSet;

use serde_json::Value;

/// The words of a text, in lower case: letters and digits of ASCII, parted by all else and where a capital begins.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut last = ' ';
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let next_is_small = characters.peek().is_some_and(char::is_ascii_lowercase);
        let hump = c.is_ascii_uppercase()
            && (last.is_ascii_lowercase()
                || last.is_ascii_digit()
                || last.is_ascii_uppercase() && next_is_small);
        if (hump || !c.is_ascii_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        }
        last = c;
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// `ManyWords`. What begins with a digit, or is nothing, gets `instead` in front of it.
pub(super) fn pascal(text: &str, instead: &str) -> String {
    let mut name = String::new();
    for word in words(text) {
        // Numbers must not run together.
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        if digit(name.chars().last()) && digit(word.chars().next()) {
            name.push('_');
        }
        let mut characters = word.chars();
        name.extend(characters.next().map(|c| c.to_ascii_uppercase()));
        name.push_str(characters.as_str());
    }
    led(name, instead)
}

/// `many_words`. What begins with a digit, or is nothing, gets `instead` in front of it.
pub(super) fn snake(text: &str, instead: &str) -> String {
    led(words(text).join("_"), instead)
}

/// `manyWords`. What begins with a digit, or is nothing, gets `instead` in front of it.
pub(super) fn camel(text: &str, instead: &str) -> String {
    let name = pascal(text, instead);
    let mut characters = name.chars();
    let first = characters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}

fn led(name: String, instead: &str) -> String {
    match name.chars().next() {
        Some(c) if !c.is_ascii_digit() => name,
        _ => format!("{instead}{name}"),
    }
}

/// What the name of a value is made of.
pub(super) fn of_value(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string().replace('-', "minus "),
        other => other.to_string(),
    }
}

/// Names that are taken, by a language or by what came before.
#[derive(Debug)]
pub(super) struct Names {
    taken: HashSet<String>,
    /// What stands before the number of one that is taken: nothing, or `_`.
    joint: &'static str,
}

impl Names {
    pub(super) fn new(reserved: &[&str], joint: &'static str) -> Self {
        Self {
            taken: reserved.iter().map(|name| (*name).to_owned()).collect(),
            joint,
        }
    }

    /// A name that was free: `name`, or that with a number.
    pub(super) fn take(&mut self, name: &str) -> String {
        let digit = name.ends_with(|c: char| c.is_ascii_digit());
        let joint = match name.ends_with('_') {
            true => "",
            false if digit => "_",
            false => self.joint,
        };
        let numbered = (2..).map(|number| format!("{name}{joint}{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        let free = names.find(|name| !self.taken.contains(name));
        let free = free.unwrap_or_default();
        self.taken.insert(free.clone());
        free
    }
}

/// Names for members, each another one: as they are where that is a name of the form that `form` gives, else made by
/// it; with an underscore behind those that a language has its own use for.
pub(super) fn members(all: &[&str], reserved: &[&str], form: fn(&str) -> String) -> Vec<String> {
    let mut names = Names::new(reserved, "_");
    let mut found: Vec<Option<String>> = vec![None; all.len()];
    for exact in [true, false] {
        for (name, found) in all.iter().zip(&mut found) {
            let formed = form(name);
            if found.is_none() && (formed == *name || !exact) {
                let reserved = reserved.contains(&formed.as_str());
                let wanted = if reserved { formed + "_" } else { formed };
                *found = Some(names.take(&wanted));
            }
        }
    }
    found.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_words() {
        for (text, big, small) in [
            ("add", "Add", "add"),
            ("maxItems", "MaxItems", "max_items"),
            ("HTTPServer2x", "HttpServer2x", "http_server2x"),
            ("a-b c/d", "ABCD", "a_b_c_d"),
            ("add V1.2.0", "AddV1_2_0", "add_v1_2_0"),
            ("2d", "N2d", "n2d"),
            ("größe", "GrE", "gr_e"),
            ("$", "N", "n"),
            ("", "N", "n"),
        ] {
            assert_eq!(pascal(text, "N"), big, "{text}");
            assert_eq!(snake(text, "n"), small, "{text}");
        }
        assert_eq!(camel("Get Url", "n"), "getUrl");
    }

    #[test]
    fn no_two_members_have_one_name() {
        let form = |text: &str| snake(text, "field_");
        let all = [
            "maxItems",
            "max_items",
            "max-items",
            "type",
            "type_",
            "1",
            "é",
            "ü",
        ];
        let want = [
            "max_items_2",
            "max_items",
            "max_items_3",
            "type_",
            "type_2",
            "field_1",
            "field_",
            "field_2",
        ];
        assert_eq!(members(&all, &["type"], form), want);
    }
}
