//! Bounds of what a request may say, checked while it is read.

use std::{borrow::Cow, fmt, marker::PhantomData};

use onex_types::{bounds::STALE_MILLIS, ids::Invalid};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use semver::{Version, VersionReq};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor, value},
};
use serde_json::Value;

use crate::json::{exact_value, nearest_value};

/// Longest version or range of versions, in characters.
pub const VERSION_CHARS_MAX: usize = 128;
/// Largest number on the wire: JavaScript's numbers are exact up to here.
pub const NUMBER_MAX: u64 = (1 << 53) - 1;
/// Longest description, in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 4_096;
/// How long a caller may say that it waits, in milliseconds.
pub const TIMEOUT_MILLIS_MAX: u64 = 300_000;

/// How old an answer that may be old may be, at least, in milliseconds: what is younger is told without being asked for.
pub const AGE_MILLIS_MIN: u64 = STALE_MILLIS;
/// How old an answer that may be old may be, at most, in milliseconds: seven days.
pub const AGE_MILLIS_MAX: u64 = 7 * 24 * 3_600_000;

/// The shortest time for one attempt to call a tool, in milliseconds: less is within what a busy machine takes to answer.
pub const ATTEMPT_TIMEOUT_MILLIS_MIN: u64 = 10;
/// The longest, in milliseconds: as long as a call may take.
pub const ATTEMPT_TIMEOUT_MILLIS_MAX: u64 = TIMEOUT_MILLIS_MAX;

/// A time for one attempt to call a tool, in milliseconds.
pub fn attempt_timeout<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let millis = Option::<u64>::deserialize(from)?;
    let good = ATTEMPT_TIMEOUT_MILLIS_MIN..=ATTEMPT_TIMEOUT_MILLIS_MAX;
    if millis.is_none_or(|millis| good.contains(&millis)) {
        return Ok(millis);
    }
    Err(D::Error::custom(format!(
        "must be {ATTEMPT_TIMEOUT_MILLIS_MIN} to {ATTEMPT_TIMEOUT_MILLIS_MAX} (milliseconds)"
    )))
}

/// A text of at most `CHARS_MAX` characters, none of them a control character but line feed and tab.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text<const CHARS_MAX: usize>(Box<str>);

impl<const CHARS_MAX: usize> Text<CHARS_MAX> {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const CHARS_MAX: usize> TryFrom<String> for Text<CHARS_MAX> {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        let control = |c: char| c.is_control() && c != '\n' && c != '\t';
        if text.chars().nth(CHARS_MAX).is_none() && !text.contains(control) {
            return Ok(Self(text.into_boxed_str()));
        }
        Err(Invalid(format!(
            "must be at most {CHARS_MAX} characters, none of them a control character but line feed and tab"
        )))
    }
}

impl<const CHARS_MAX: usize> From<Text<CHARS_MAX>> for String {
    fn from(text: Text<CHARS_MAX>) -> String {
        text.0.into_string()
    }
}

impl<const CHARS_MAX: usize> fmt::Display for Text<CHARS_MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const CHARS_MAX: usize> JsonSchema for Text<CHARS_MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("Text{CHARS_MAX}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": CHARS_MAX})
    }
}

/// A value of a closed list in a request; in a reply a later version may say one that this build does
/// not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Open<T> {
    /// One that this build knows.
    Known(T),
    /// As it stands on the wire.
    Other(String),
}

impl<T> Open<T> {
    /// The value, if this build knows it.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Other(_) => None,
        }
    }
}

impl<T> From<T> for Open<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Open<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let known: Result<T, value::Error> = T::deserialize(text.as_str().into_deserializer());
        Ok(known.map_or(Self::Other(text), Self::Known))
    }
}

impl<T: JsonSchema> JsonSchema for Open<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// For `deserialize_with`: null is the default. Clients that keep what they do not say as a null send it
/// for every field.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// For `deserialize_with`: null is `true`.
pub(super) fn or_true<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(true))
}

/// For `default`.
pub(super) fn yes() -> bool {
    true
}

/// For `deserialize_with`: a list of at most `MAX`; null is an empty one.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MAX: usize>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Bounded<T, MAX>>::deserialize(from)?.map_or_else(Vec::new, |list| list.0))
}

struct Bounded<T, const MAX: usize>(Vec<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Items::<T, MAX>(PhantomData)).map(Self)
    }
}

struct Items<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "a list of at most {MAX}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::custom(format!("must be a list of at most {MAX}")));
            }
            list.push(item);
        }
        Ok(list)
    }
}

/// For `deserialize_with`: a list of at most `MAX` objects; null is an empty one.
pub(super) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MAX: usize>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let list: Vec<Object<T>> = list::<D, _, MAX>(from)?;
    Ok(list.into_iter().map(|object| object.0).collect())
}

/// For `deserialize_with`: an object.
pub(super) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Object::deserialize(from).map(|object| object.0)
}

/// For `deserialize_with`: an object or null.
pub(super) fn optional_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(from)?.map(|object| object.0))
}

/// What a struct derives takes its members from a list as well, by their order. This takes them by their names only.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members(PhantomData)).map(Self)
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(value::MapAccessDeserializer::new(members))
    }
}

/// For `deserialize_with`: a semantic version.
pub(super) fn version<'de, D: Deserializer<'de>>(from: D) -> Result<Version, D::Error> {
    parse_version(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// A semantic version.
pub fn parse_version(text: &str) -> Result<Version, Invalid> {
    let version = (text.len() <= VERSION_CHARS_MAX).then(|| text.parse().ok());
    version.flatten().ok_or_else(|| {
        Invalid(format!(
            "must be a semantic version like 1.2.0, of at most {VERSION_CHARS_MAX} characters"
        ))
    })
}

/// For `deserialize_with`: a semantic version or null.
pub(super) fn optional_version<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Version>, D::Error> {
    struct Checked(Version);
    impl<'de> Deserialize<'de> for Checked {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            version(from).map(Self)
        }
    }
    Ok(Option::<Checked>::deserialize(from)?.map(|checked| checked.0))
}

/// For `deserialize_with`: a range of semantic versions or null.
pub(super) fn optional_range<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<VersionReq>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else {
        return Ok(None);
    };
    let range = (text.len() <= VERSION_CHARS_MAX).then(|| text.parse().ok());
    range.flatten().map(Some).ok_or_else(|| {
        D::Error::custom(format!(
            "must be a range of versions like ^1.2, of at most {VERSION_CHARS_MAX} characters"
        ))
    })
}

/// For `deserialize_with`: a number up to [`NUMBER_MAX`].
pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(from)?;
    if number <= NUMBER_MAX {
        return Ok(number);
    }
    Err(D::Error::custom(format!("must be at most {NUMBER_MAX}")))
}

/// For `deserialize_with`: a number up to [`NUMBER_MAX`], or null.
pub(super) fn optional_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let number = Option::<u64>::deserialize(from)?;
    if number.is_none_or(|number| number <= NUMBER_MAX) {
        return Ok(number);
    }
    Err(D::Error::custom(format!("must be at most {NUMBER_MAX}")))
}

/// For `deserialize_with`: any JSON of at most `BYTES_MAX` bytes, white space not counted; numbers that have no room in a
/// value are rounded; null is nothing said.
pub(super) fn json<'de, D: Deserializer<'de>, const BYTES_MAX: usize>(
    from: D,
) -> Result<Option<Value>, D::Error> {
    within::<BYTES_MAX, _>(nearest_value(from)?)
}

/// For `deserialize_with`: a JSON Schema, by its outward form only, of at most `BYTES_MAX` bytes, white space not
/// counted; null is nothing said.
pub(super) fn schema<'de, D: Deserializer<'de>, const BYTES_MAX: usize>(
    from: D,
) -> Result<Option<Value>, D::Error> {
    let value = within::<BYTES_MAX, _>(exact_value(from)?)?;
    match value {
        None | Some(Value::Object(_) | Value::Bool(_)) => Ok(value),
        Some(_) => Err(D::Error::custom(
            "must be a JSON Schema: an object, true or false",
        )),
    }
}

fn within<const BYTES_MAX: usize, E: serde::de::Error>(
    value: Option<Value>,
) -> Result<Option<Value>, E> {
    let bytes = value.as_ref().map_or(0, |value| value.to_string().len());
    if bytes <= BYTES_MAX {
        return Ok(value);
    }
    Err(E::custom(format!(
        "must be at most {BYTES_MAX} bytes of JSON"
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only whether it can be read")]
    struct Sample {
        #[serde(default, deserialize_with = "list::<_, _, 2>")]
        list: Vec<u8>,
        #[serde(default)]
        text: Option<Text<3>>,
        #[serde(default, deserialize_with = "optional_version")]
        version: Option<Version>,
        #[serde(default, deserialize_with = "optional_range")]
        range: Option<VersionReq>,
        #[serde(default, deserialize_with = "optional_number")]
        number: Option<u64>,
        #[serde(default, deserialize_with = "json::<_, 8>")]
        json: Option<Value>,
        #[serde(default, deserialize_with = "schema::<_, 8>")]
        schema: Option<Value>,
        #[serde(default, deserialize_with = "or_default")]
        flag: bool,
        #[serde(default, deserialize_with = "optional_object")]
        inner: Option<Inner>,
        #[serde(default, deserialize_with = "objects::<_, _, 2>")]
        inners: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only whether it can be read")]
    struct Inner {
        number: u8,
    }

    #[track_caller]
    fn check(value: Value, good: bool) {
        let read = serde_json::from_value::<Sample>(value);
        assert_eq!(read.is_ok(), good, "{read:?}");
    }

    #[test]
    fn bounds_hold() {
        check(json!({}), true);
        check(
            json!({"list": null, "text": null, "version": null, "range": null, "number": null,
                "json": null, "schema": null, "flag": null, "inner": null, "inners": null}),
            true,
        );
        check(json!({"list": [1, 2]}), true);
        check(json!({"list": [1, 2, 3]}), false);
        check(json!({"text": "äöü"}), true);
        check(json!({"text": "a\nb"}), true);
        check(json!({"text": "abcd"}), false);
        check(json!({"text": "\u{1b}"}), false);
        check(json!({"version": "1.2.3-rc.1+x"}), true);
        check(json!({"version": "1.2"}), false);
        check(
            json!({"version": "1.2.3".to_owned() + "-" + &"a".repeat(128)}),
            false,
        );
        check(json!({"range": ">=1, <3"}), true);
        check(json!({"range": "one"}), false);
        check(json!({"number": NUMBER_MAX}), true);
        check(json!({"number": NUMBER_MAX + 1}), false);
        check(json!({"json": {"a": 12}}), true);
        check(json!({"json": {"a": 123}}), false);
        check(json!({"schema": {"a": 12}}), true);
        check(json!({"schema": {"a": 123}}), false);
        check(json!({"schema": true}), true);
        check(json!({"schema": 1}), false);
        check(json!({"inner": {"number": 1}}), true);
        check(json!({"inner": [1]}), false);
        check(json!({"inners": [{"number": 1}, {"number": 2}]}), true);
        check(json!({"inners": vec![json!({"number": 1}); 3]}), false);
        check(json!({"inners": [[1]]}), false);
    }

    #[test]
    fn a_reply_may_name_what_a_later_version_knows() {
        use super::super::node::NodeType;
        let read = |text| serde_json::from_value::<Open<NodeType>>(json!(text)).unwrap();
        assert_eq!(read("tool"), Open::Known(NodeType::Tool));
        assert_eq!(read("oracle"), Open::Other("oracle".to_owned()));
        assert_eq!(serde_json::to_value(read("oracle")).unwrap(), "oracle");
        assert_eq!(serde_json::to_value(read("tool")).unwrap(), "tool");
        assert!(serde_json::from_value::<NodeType>(json!("oracle")).is_err());
    }
}
