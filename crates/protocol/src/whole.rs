//! Whole numbers written as fractions: to JSON Schema `5.0` and `5e0` are integers, and serde takes neither for one.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, Unexpected, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    json::{Decimal, is_free, visit_free},
    violation::shortened,
};

/// From here on a double may stand for several integers: 2^53.
const WHOLE_END: f64 = 9_007_199_254_740_992.0;

/// What is said of a number that no double holds.
pub(super) const OUT_OF_RANGE: &str = "must be a number within the range of a double";

/// Reads what `serde` asks for from JSON text; where that is an integer, a number whose fraction is zero will do, by its
/// digits and not by the double that they are nearest to. What has no type, as free JSON, stays as it is.
pub(super) struct Whole<T>(pub(super) T);

/// The integer that a number is.
pub(super) fn whole(number: f64) -> Option<i64> {
    let is_whole = number.fract() == 0.0 && number.abs() < WHOLE_END;
    is_whole.then(|| format!("{number:.0}").parse().ok())?
}

/// A visitor of what may hold integers.
struct Within<V>(V);

/// Reads an integer from the text of it; `is_long` where 64 bits may be too few.
fn integer<'de, D: Deserializer<'de>, V: Visitor<'de>>(
    from: D,
    is_long: bool,
    visitor: V,
) -> Result<V::Value, D::Error> {
    let text = <&RawValue>::deserialize(from)?.get();
    if let Ok(number) = text.parse() {
        return visitor.visit_u64(number);
    }
    if let Ok(number) = text.parse() {
        return visitor.visit_i64(number);
    }
    if let (true, Ok(number)) = (is_long, text.parse()) {
        return visitor.visit_u128(number);
    }
    if let (true, Ok(number)) = (is_long, text.parse()) {
        return visitor.visit_i128(number);
    }
    if !text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return no_number(text, visitor);
    }
    let number = text.parse().unwrap_or(f64::INFINITY);
    if number.is_infinite() {
        return Err(D::Error::custom(OUT_OF_RANGE));
    }
    match (Decimal::parse(text).is_whole(), whole(number)) {
        (true, Some(whole)) => match u64::try_from(whole) {
            Ok(whole) => visitor.visit_u64(whole),
            Err(_) => visitor.visit_i64(whole),
        },
        (true, None) => Err(D::Error::custom(
            "must be a whole number between -2^53 and 2^53",
        )),
        (false, _) if number.fract() == 0.0 => Err(D::Error::custom(format!(
            "must be a whole number, not {}",
            shortened(text)
        ))),
        (false, _) => visitor.visit_f64(number),
    }
}

/// What stands in the place of an integer.
fn no_number<'de, V: Visitor<'de>, E: Error>(text: &str, visitor: V) -> Result<V::Value, E> {
    match text.as_bytes().first() {
        Some(b'"') => visitor.visit_string(serde_json::from_str(text).map_err(E::custom)?),
        Some(b't' | b'f') => visitor.visit_bool(text == "true"),
        Some(b'[') => Err(E::invalid_type(Unexpected::Seq, &visitor)),
        Some(b'{') => Err(E::invalid_type(Unexpected::Map, &visitor)),
        _ => visitor.visit_unit(),
    }
}

macro_rules! passed_on {
    ($($method:ident($($name:ident: $kind:ty)?))*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $kind,)? visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($name,)? Within(visitor))
        }
    )*};
}

macro_rules! integers {
    ($($method:ident $is_long:literal)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            integer(self.0, $is_long, visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Whole<D> {
    type Error = D::Error;

    integers! {
        deserialize_u8 false
        deserialize_u16 false
        deserialize_u32 false
        deserialize_u64 false
        deserialize_u128 true
        deserialize_i8 false
        deserialize_i16 false
        deserialize_i32 false
        deserialize_i64 false
        deserialize_i128 true
    }

    passed_on! {
        deserialize_any()
        deserialize_bool()
        deserialize_f32()
        deserialize_f64()
        deserialize_char()
        deserialize_str()
        deserialize_string()
        deserialize_bytes()
        deserialize_byte_buf()
        deserialize_option()
        deserialize_unit()
        deserialize_seq()
        deserialize_map()
        deserialize_identifier()
        deserialize_ignored_any()
        deserialize_tuple(length: usize)
        deserialize_unit_struct(name: &'static str)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        if is_free(name) {
            return visit_free(name, self.0, visitor);
        }
        let visitor = Within(visitor);
        self.0.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = Within(visitor);
        self.0.deserialize_tuple_struct(name, length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = Within(visitor);
        self.0.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = Within(visitor);
        self.0.deserialize_enum(name, variants, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! visited {
    ($($method:ident($kind:ty))*) => {$(
        fn $method<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Within<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.expecting(f)
    }

    visited! {
        visit_bool(bool)
        visit_i64(i64)
        visit_i128(i128)
        visit_u64(u64)
        visit_u128(u128)
        visit_f64(f64)
        visit_str(&str)
        visit_borrowed_str(&'de str)
        visit_string(String)
        visit_bytes(&[u8])
        visit_borrowed_bytes(&'de [u8])
        visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Whole(from))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Whole(from))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Whole(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Whole(members))
    }

    /// The values of closed lists hold no numbers.
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(access)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Whole<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Whole(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Whole<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Whole(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Whole<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Whole(from))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use serde::{Deserialize, de::DeserializeOwned};
    use serde_json::{Value, json, value::RawValue};

    use super::*;

    #[track_caller]
    fn read<T: DeserializeOwned>(text: &str) -> Option<T> {
        T::deserialize(Whole(&mut serde_json::Deserializer::from_str(text))).ok()
    }

    #[derive(Debug, Deserialize)]
    struct Sample {
        port: Option<NonZeroU16>,
        list: Vec<i8>,
        half: f64,
        free: Value,
        text: Box<RawValue>,
    }

    #[test]
    fn a_number_without_a_fraction_is_an_integer() {
        assert_eq!(read("5.0"), Some(5_u64));
        assert_eq!(read("5e0"), Some(5_u8));
        assert_eq!(read("-5.0"), Some(-5_i64));
        assert_eq!(read("-0.0"), Some(0_u64));
        assert_eq!(read("9007199254740991.0"), Some((1_u64 << 53) - 1));
        // Which of several it was cannot be told any more.
        assert_eq!(read::<u64>("9007199254740993.0"), None);
        assert_eq!(read::<u64>("5.5"), None);
        assert_eq!(read::<u64>("5.00000000000000000000000001"), None);
        assert_eq!(read::<u64>("4.99999999999999999999999999"), None);
        assert_eq!(read::<u64>("0.1e-400"), None);
        assert_eq!(read("50000000000000000000000000e-25"), Some(5_u64));
        assert_eq!(read("18446744073709551615"), Some(u64::MAX));
        assert_eq!(read("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(read::<u64>("1e300"), None);
        assert_eq!(read::<u8>("300.0"), None);
        assert_eq!(read::<u64>("-1.0"), None);
        let sample: Sample = read(
            r#"{"port": 80.0, "list": [1, -2e0], "half": 1.0, "free": {"a": 1.0}, "text": {"a": 1.0e0}}"#,
        )
        .unwrap();
        assert_eq!(sample.port.map(NonZeroU16::get), Some(80));
        assert_eq!(sample.list, [1, -2]);
        assert!((sample.half - 1.0).abs() < f64::EPSILON);
        assert_eq!(sample.free, json!({"a": 1.0}));
        assert_eq!(sample.text.get(), r#"{"a": 1.0e0}"#);
    }
}
