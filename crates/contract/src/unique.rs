//! The keyword `uniqueItems`, in time that grows with the size of the list only. The one of the library compares
//! items pair by pair where their hashes meet, and a caller can choose items whose hashes all do.

use std::collections::{HashMap, hash_map::Entry};

use jsonschema::{
    Keyword, ValidationError,
    json::{Array as _, Node as _},
    paths::Location,
};
use serde_json::{Map, Value};

use crate::exact::{self, Documents, Node};

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
) -> Result<Box<dyn for<'i> Keyword<'i, Documents>>, ValidationError<'a>> {
    let wanted = value.as_bool().unwrap_or(false);
    Ok(Box::new(UniqueItems { wanted }))
}

impl<'i> Keyword<'i, Documents> for UniqueItems {
    fn validate(&self, instance: Node<'i>) -> Result<(), ValidationError<'i>> {
        match self.twins(instance) {
            None => Ok(()),
            Some((first, second)) => Err(ValidationError::custom(format!(
                "items {first} and {second} are equal, and all must differ"
            ))),
        }
    }

    fn is_valid(&self, instance: Node<'i>) -> bool {
        self.twins(instance).is_none()
    }
}

impl UniqueItems {
    /// The positions of two equal items, counted from 0.
    fn twins(&self, instance: Node<'_>) -> Option<(usize, usize)> {
        let items = instance.as_array().filter(|_| self.wanted)?;
        let mut seen = HashMap::with_capacity(items.len());
        items.elements().enumerate().find_map(|(at, item)| {
            let mut text = String::new();
            exact::write(item, &mut text);
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
        assert_eq!(unique.twins(Node::from(&items)), twins, "{items}");
        assert_eq!(
            UniqueItems { wanted: false }.twins(Node::from(&items)),
            None
        );
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
