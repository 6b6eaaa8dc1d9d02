//! How deep JSON may be nested that has no shape of its own.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// Levels of lists and objects in arguments, results, schemas, health and whatever else is free JSON; the outermost
/// counts 1. `serde_json` reads 127, and what is kept or answered stands a few levels deeper than where it came from.
pub const JSON_LEVELS_MAX: usize = 64;

/// Characters of one number in arguments and results. Exact comparisons take time that grows with them, and checks count
/// every number as one step.
pub const JSON_NUMBER_CHARS_MAX: usize = 128;

/// What JSON must be.
pub(in crate::protocol) fn levels_rule() -> String {
    format!("must be nested at most {JSON_LEVELS_MAX} levels deep")
}

/// For `deserialize_with`: any JSON of at most [`JSON_LEVELS_MAX`] levels; null is nothing said.
pub(in crate::protocol) fn value_within_levels<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Value>, D::Error> {
    let value = Within(JSON_LEVELS_MAX).deserialize(from)?;
    Ok(Some(value).filter(|value| !value.is_null()))
}

/// Makes a value of at most so many levels.
#[derive(Clone, Copy)]
struct Within(usize);

impl Within {
    fn below<E: Error>(self) -> Result<Self, E> {
        let left = self.0.checked_sub(1);
        left.map(Self).ok_or_else(|| E::custom(levels_rule()))
    }
}

impl<'de> DeserializeSeed<'de> for Within {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Within {
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
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut named = Map::new();
        while let Some(name) = members.next_key()? {
            named.insert(name, members.next_value_seed(below)?);
        }
        Ok(Value::Object(named))
    }
}
