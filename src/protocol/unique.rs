//! The keyword `uniqueItems`, in time that grows with the size of the list only. The one of the library compares
//! items pair by pair where their hashes meet, and a caller can choose items whose hashes all do.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Write as _,
};

use jsonschema::{Keyword, ValidationError, paths::Location};
use serde_json::{Map, Number, Value};

/// Its name.
pub(super) const UNIQUE_ITEMS: &str = "uniqueItems";

struct UniqueItems {
    /// `"uniqueItems": false` asks for nothing.
    wanted: bool,
}

/// What the library calls to have the keyword compiled. That the value is a boolean is checked by the meta-schema.
#[expect(clippy::unnecessary_wraps, reason = "the signature is the library's")]
pub(super) fn factory<'a>(
    _schema: &'a Map<String, Value>,
    value: &'a Value,
    _path: Location,
) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'a>> {
    let wanted = value.as_bool().unwrap_or(false);
    Ok(Box::new(UniqueItems { wanted }))
}

impl<'i> Keyword<'i> for UniqueItems {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        match self.twins(instance) {
            None => Ok(()),
            Some((first, second)) => Err(ValidationError::custom(format!(
                "items {first} and {second} are equal, and all must differ"
            ))),
        }
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        self.twins(instance).is_none()
    }
}

impl UniqueItems {
    /// The positions of two equal items, counted from 0.
    fn twins(&self, instance: &Value) -> Option<(usize, usize)> {
        let items = instance.as_array().filter(|_| self.wanted)?;
        let mut seen = HashMap::with_capacity(items.len());
        items.iter().enumerate().find_map(|(at, item)| {
            let mut text = String::new();
            write(item, &mut text);
            match seen.entry(text) {
                Entry::Occupied(first) => Some((*first.get(), at)),
                Entry::Vacant(place) => {
                    place.insert(at);
                    None
                }
            }
        })
    }
}

/// Writes a value so that equal ones, by JSON Schema, are written alike: `1` and `1.0` are one number, and the order
/// of members does not count.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::Number(number) => write_number(number, text),
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, value) in members {
                // Writing to a string does not fail.
                let _ = write!(text, "{}:", Value::from(name.as_str()));
                write(value, text);
                text.push(',');
            }
            text.push('}');
        }
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

fn write_number(number: &Number, text: &mut String) {
    let _ = match (number.is_f64(), number.as_f64()) {
        (true, Some(real)) if real.fract() == 0.0 => {
            // All digits of it, as a whole number is written; and no sign of zero.
            write!(text, "{:.0}", real + 0.0)
        }
        _ => write!(text, "{number}"),
    };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a table reads better without borrows"
    )]
    fn check(items: Value, twins: Option<(usize, usize)>) {
        let unique = UniqueItems { wanted: true };
        assert_eq!(unique.twins(&items), twins, "{items}");
        assert_eq!(UniqueItems { wanted: false }.twins(&items), None);
    }

    #[test]
    fn equal_items_are_found_and_different_ones_told_apart() {
        check(json!([]), None);
        check(json!("aa"), None);
        check(json!([1, 2, 1]), Some((0, 2)));
        check(json!([1, 1.0]), Some((0, 1)));
        check(json!([0, -0.0]), Some((0, 1)));
        check(json!([1, true, "1", null, [1], {"1": 1}]), None);
        check(
            json!([9_007_199_254_740_993_u64, 9_007_199_254_740_992_u64]),
            None,
        );
        check(json!([1e20, 100_000_000_000_000_000_000_f64]), Some((0, 1)));
        check(json!([0.1, 0.2, 0.1]), Some((0, 2)));
        check(json!([["a", "b"], ["a,b"], [["a"], "b"]]), None);
        check(json!([[], [[]], [[[]]], [[], []]]), None);
        check(json!([{"a": 1, "b": 2}, {"b": 2, "a": 1.0}]), Some((0, 1)));
        check(json!([{"a": null}, {}]), None);
    }
}
