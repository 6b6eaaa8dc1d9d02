//! Free-form JSON in requests, which has no shape of its own: what it must be, and how it becomes a value.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IntoDeserializer, Visitor},
};
use serde_json::Value;

use crate::violation::Violation;

use super::document::{JsonText, kept};

/// By which a deserializer that has the text of a request knows that free-form JSON is asked for whose numbers must be
/// kept exactly.
const EXACT: &str = "onex free-form JSON, exact";
/// The same where numbers become the nearest ones that a [`Value`] has room for.
const NEAREST: &str = "onex free-form JSON, nearest";
/// Stands between the pointer and the message of a [`Violation`] in an error of serde, which is a text only. No message
/// has it.
const POINTER_END: char = '\u{1f}';

/// For `deserialize_with`: any JSON whose numbers a [`Value`] keeps; null is nothing said.
pub(crate) fn exact_value<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    read(from, EXACT)
}

/// For `deserialize_with`: any JSON; numbers that a [`Value`] has no room for are rounded; null is nothing said.
pub(crate) fn nearest_value<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    read(from, NEAREST)
}

fn read<'de, D: Deserializer<'de>>(from: D, name: &'static str) -> Result<Option<Value>, D::Error> {
    from.deserialize_newtype_struct(name, Plain(PhantomData))
}

/// Takes what the deserializer gives: what is no request was judged before.
struct Plain(PhantomData<Value>);

impl<'de> Visitor<'de> for Plain {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        from: D,
    ) -> Result<Option<Value>, D::Error> {
        Option::deserialize(from)
    }
}

/// Whether it is free-form JSON that is asked for by that name.
pub(crate) fn is_free(name: &str) -> bool {
    matches!(name, EXACT | NEAREST)
}

/// Reads and judges free-form JSON from its text.
pub(crate) fn visit_free<'de, D: Deserializer<'de>, V: Visitor<'de>>(
    name: &str,
    from: D,
    visitor: V,
) -> Result<V::Value, D::Error> {
    let document = JsonText::deserialize(from)?.document();
    let judged = document.and_then(|document| kept(document, name == EXACT));
    let value = judged.map_err(|Violation { pointer, message }| {
        D::Error::custom(format!("{pointer}{POINTER_END}{message}"))
    })?;
    let visited = visitor.visit_newtype_struct(value.into_deserializer());
    visited.map_err(|error: serde_json::Error| D::Error::custom(error))
}

/// The pointer, below the field that was read, and the message of an error from [`visit_free`].
pub(crate) fn violation_in(error: &str) -> (&str, &str) {
    error.rsplit_once(POINTER_END).unwrap_or(("", error))
}
