//! How deep JSON may be nested that has no shape of its own.

use std::{cell::Cell, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// Levels of lists and objects in arguments, results, schemas, health and whatever else is free JSON; the outermost
/// counts 1. `serde_json` reads 127, and what is kept or answered stands a few levels deeper than where it came from.
pub const JSON_LEVELS_MAX: usize = 64;

/// What JSON must be.
pub(in crate::protocol) fn levels_rule() -> String {
    format!("must be nested at most {JSON_LEVELS_MAX} levels deep")
}

/// For `deserialize_with`: any JSON of at most [`JSON_LEVELS_MAX`] levels; null is nothing said.
pub(in crate::protocol) fn value_within_levels<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Value>, D::Error> {
    let too_deep = Cell::new(false);
    let value = Within {
        left: JSON_LEVELS_MAX,
        too_deep: &too_deep,
    }
    .deserialize(from)?;
    // Only now: an error says where it was found, and that is of use only if somebody can read it.
    if too_deep.get() {
        return Err(serde::de::Error::custom(levels_rule()));
    }
    Ok(Some(value).filter(|value| !value.is_null()))
}

/// Makes a value; what is too deep is passed over.
#[derive(Clone, Copy)]
struct Within<'a> {
    left: usize,
    too_deep: &'a Cell<bool>,
}

impl Within<'_> {
    fn below(self) -> Option<Self> {
        let left = self.left.checked_sub(1);
        self.too_deep.set(self.too_deep.get() || left.is_none());
        left.map(|left| Self { left, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Within<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Within<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Some(below) = self.below() else {
            IgnoredAny.visit_seq(items)?;
            return Ok(Value::Null);
        };
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let Some(below) = self.below() else {
            IgnoredAny.visit_map(members)?;
            return Ok(Value::Null);
        };
        let mut named = Map::new();
        while let Some(name) = members.next_key()? {
            named.insert(name, members.next_value_seed(below)?);
        }
        Ok(Value::Object(named))
    }
}
