//! JSON as its text, and such a text as a value.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _},
};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use crate::violation::Violation;

use super::{
    exact::Exact,
    limits::{JSON_LEVELS_MAX, JSON_NUMBER_CHARS_MAX, levels_rule},
    text,
};

/// JSON as its text, which is not changed on the way: a [`Value`] has room for numbers of 64 bits only.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub struct JsonText(Box<RawValue>);

/// Any JSON but with a name that `serde_json` keeps for itself: a value would be read from the text under it, past every
/// bound.
impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(from)?;
        match text::reserved(raw.get()) {
            Some(name) => Err(D::Error::custom(format!(
                "must not have a member named {name:?}"
            ))),
            None => Ok(Self(raw)),
        }
    }
}

/// Such a text as a value, for checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// With numbers that may be rounded.
    pub value: Value,
    /// The numbers that are, as they are written.
    pub exact: Option<Exact>,
}

impl JsonText {
    /// Writes a value.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        to_raw_value(value).map(Self)
    }

    /// Takes a text that is JSON. How deep it is, and whether its names differ, is for [`JsonText::document`] to say.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// The text, without white space around it.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Reads it as a value; numbers that have no room in one are rounded.
    pub fn rounded(&self) -> Result<Value, serde_json::Error> {
        serde_json::from_str(&text::rounded(self.text()))
    }

    /// Reads it as a value that keeps all of its numbers.
    pub fn kept(&self) -> Result<Value, Violation> {
        let value = self.rounded().map_err(|error| Violation {
            pointer: String::new(),
            message: format!("is not JSON: {error}"),
        })?;
        let exact = text::exact(self.text());
        kept(Document { value, exact }, true)
    }

    /// Reads it as a value with texts in the place of numbers, but for integers of 64 bits: the number as it is written,
    /// between two marks.
    pub fn marked(&self, mark: &str) -> Result<Value, serde_json::Error> {
        serde_json::from_str(&text::marked(self.text(), mark))
    }

    /// Reads it as a type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text())
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        self.text().starts_with('{')
    }

    /// Reads it to be checked. It must be nested at most [`JSON_LEVELS_MAX`] levels deep, its numbers must have at most
    /// [`JSON_NUMBER_CHARS_MAX`] characters each, and no object may have a name
    /// twice: which of the two counts is for whoever reads it to choose.
    pub fn document(&self) -> Result<Document, Violation> {
        Document::read(self.text())
    }
}

impl Document {
    /// Reads a text that is within the bounds.
    pub fn read(text: &str) -> Result<Self, Violation> {
        let facts = text::Facts::of(text);
        let wrong = |pointer: String, message: String| Violation { pointer, message };
        if facts.levels > JSON_LEVELS_MAX {
            let pointer = text::below_levels(text, JSON_LEVELS_MAX);
            return Err(wrong(pointer.unwrap_or_default(), levels_rule()));
        }
        if facts.number_chars > JSON_NUMBER_CHARS_MAX {
            let pointer = text::long_number(text, JSON_NUMBER_CHARS_MAX);
            let rule = format!("must be a number of at most {JSON_NUMBER_CHARS_MAX} characters");
            return Err(wrong(pointer.unwrap_or_default(), rule));
        }
        let value: Result<Value, _> = if facts.is_exact {
            serde_json::from_str(text)
        } else {
            serde_json::from_str(&text::rounded(text))
        };
        let value = value.map_err(|error| wrong(String::new(), format!("is not JSON: {error}")))?;
        if members(&value) < facts.names
            && let Some(pointer) = text::named_twice(text)
        {
            return Err(wrong(pointer, "is there twice".to_owned()));
        }
        let exact = if facts.is_exact {
            None
        } else {
            text::exact(text)
        };
        Ok(Self { value, exact })
    }

    /// The value, with numbers rounded that have no room in it.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The value, unless it has numbers that it would round.
    pub fn into_value(self) -> Option<Value> {
        self.exact.is_none().then_some(self.value)
    }

    /// The value, with numbers that have no room in it as marked texts: documents that differ have values that do.
    pub fn distinct(self) -> Value {
        let Self { mut value, exact } = self;
        if let Some(exact) = &exact {
            exact.mark(&mut value);
        }
        value
    }
}

impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self { value, exact: None }
    }
}

/// How many members all objects in it have.
fn members(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(members).sum(),
        Value::Object(named) => named.len() + named.values().map(members).sum::<usize>(),
        _ => 0,
    }
}

impl Default for JsonText {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

impl From<Value> for JsonText {
    fn from(value: Value) -> Self {
        // A value is JSON.
        Self::of(&value).unwrap_or_default()
    }
}

impl From<Map<String, Value>> for JsonText {
    fn from(members: Map<String, Value>) -> Self {
        Value::Object(members).into()
    }
}

/// The same text.
impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

/// The same value.
impl PartialEq<Value> for JsonText {
    fn eq(&self, other: &Value) -> bool {
        self.read::<Value>().is_ok_and(|value| value == *other)
    }
}

impl JsonSchema for JsonText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "JsonText".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        true.into()
    }
}

/// The value of a document, where that keeps its numbers: `exactly`, or as far as the nearest ones go.
pub(super) fn kept(document: Document, exactly: bool) -> Result<Value, Violation> {
    let Document { value, exact } = document;
    let wrong = |number: &str| exactly || number.parse().is_ok_and(f64::is_infinite);
    let Some((pointer, number)) = exact.as_ref().and_then(|exact| exact.find(&wrong)) else {
        return Ok(value);
    };
    let nearest = value.pointer(&pointer).unwrap_or(&Value::Null);
    let message = if number.parse().is_ok_and(f64::is_infinite) {
        format!("must be a number within the range of a double, not {number}")
    } else {
        format!(
            "must be a number that 64 bits keep, an integer or the shortest form of a double: {number} would \
             become {nearest}"
        )
    };
    Err(Violation { pointer, message })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(text: &str) -> Result<Document, Violation> {
        JsonText::parse(text.as_bytes()).unwrap().document()
    }

    #[track_caller]
    fn refused(text: &str, pointer: &str, part: &str) {
        let violation = document(text).unwrap_err();
        assert_eq!(violation.pointer, pointer, "{text}");
        assert!(violation.message.contains(part), "{violation:?}");
    }

    #[test]
    fn numbers_that_a_value_would_round_are_remembered() {
        for text in [
            "1",
            "-0",
            "1.10",
            "1e2",
            "18446744073709551615",
            "-9223372036854775808",
            "0.1",
            "1.7976931348623157e308",
            "0.30000000000000004",
            "100000000000000000000",
        ] {
            assert_eq!(document(text).unwrap().exact, None, "{text}");
        }
        for text in [
            "123456789012345678901234567890",
            "0.1234567890123456789012",
            "18446744073709551617",
            "-9223372036854775809",
            "1e400",
            "-1e400",
            "1e-400",
            "1.00000000000000000001",
        ] {
            let exact = document(text).unwrap().exact;
            assert_eq!(exact, Some(Exact::Number(text.into())), "{text}");
        }
        let found = document(r#"{"a": [1, {"b\"": 1e400}], "c": "1e400", "d": 0.1}"#).unwrap();
        let exact = found.exact.as_ref().unwrap();
        let inner = exact.member("a").and_then(|a| a.item(1)?.member("b\""));
        assert_eq!(inner.and_then(Exact::number), Some("1e400"));
        assert_eq!(exact.member("c"), None);
        assert_eq!(found.value["a"][1]["b\""], f64::MAX);
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(document(&nested(JSON_LEVELS_MAX)).is_ok());
        let there = "/0".repeat(JSON_LEVELS_MAX);
        refused(&nested(JSON_LEVELS_MAX + 1), &there, "64 levels");
        refused(&nested(10_000), &there, "64 levels");
        let second = format!(r#"{{"a":[[]],"b/":{},"c":[[1]]}}"#, nested(JSON_LEVELS_MAX));
        let there = format!("/b~1{}", "/0".repeat(JSON_LEVELS_MAX - 1));
        refused(&second, &there, "64 levels");
        let digits = |count: usize| format!(r#"{{"a":[1,{{"b":{}}}]}}"#, "7".repeat(count));
        assert!(document(&digits(JSON_NUMBER_CHARS_MAX)).is_ok());
        refused(
            &digits(JSON_NUMBER_CHARS_MAX + 1),
            "/a/1/b",
            "128 characters",
        );
        refused(r#"{"a": {"b": 1, "\u0062": 2}}"#, "/a/b", "twice");
        refused(r#"[{"x/y": 1, "x/y": 1e400}]"#, "/0/x~1y", "twice");
        refused(r#"{"a": "\ud800"}"#, "", "not JSON");
        assert!(JsonText::parse(b"{\"a\": 01}").is_err());
        assert!(JsonText::parse(b"1 2").is_err());
    }

    #[test]
    fn names_that_the_library_keeps_for_itself_are_refused() {
        for text in [
            r#"{"$serde_json::private::RawValue": "5"}"#,
            r#"[1, {"a": {"\u0024serde_json::private::RawValue" : "[[[["}}]"#,
            r#"{"$serde_json::private::Number": "1"}"#,
        ] {
            let error = JsonText::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("must not have a member named"), "{error}");
        }
        // As a text, and where another name only looks like it, it is like any other.
        let text = r#"{"a": "$serde_json::private::RawValue", "$serde_json": ":"}"#;
        assert!(document(text).is_ok());
    }

    #[test]
    fn documents_that_differ_are_told_apart() {
        let distinct = |text: &str| document(text).unwrap().distinct();
        assert_eq!(distinct(r#"{"a":1, "b":[2]}"#), json!({"b": [2], "a": 1}));
        assert_ne!(
            distinct(r#"{"a":[123456789012345678901234567890]}"#),
            distinct(r#"{"a":[123456789012345678901234567891]}"#)
        );
    }

    #[test]
    fn a_text_stays_as_it_came() {
        let text = r#"{ "b":1.10,"a" : 123456789012345678901234567890 }"#;
        let json = JsonText::parse(format!(" {text}\n").as_bytes()).unwrap();
        assert_eq!(json.text(), text);
        assert_eq!(serde_json::to_string(&json).unwrap(), text);
        assert_eq!(JsonText::from(json!({"a": 1})), json!({"a": 1}));
    }
}
