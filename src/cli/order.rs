//! `--sort`: the items of a list in another order.

use std::cmp::Ordering;

use semver::Version;
use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;

/// What a list can be sorted by: each column as it is typed, with `-` for spaces, and the members of an item that it shows.
pub(super) type Columns = &'static [(&'static str, &'static [&'static str])];

/// Sorts by `--sort COLUMN`, or in the opposite order by `-COLUMN`. Items that have no value there come last, and those that
/// are equal keep their order.
pub(super) fn sort<T: Serialize>(
    items: &mut [T],
    wanted: &str,
    columns: Columns,
) -> Result<(), Failure> {
    let (name, opposite) = match wanted.strip_prefix('-') {
        Some(name) => (name, true),
        None => (wanted, false),
    };
    let typed = name.replace([' ', '_'], "-");
    let found = columns
        .iter()
        .find(|(column, _)| column.eq_ignore_ascii_case(&typed));
    let Some((_, members)) = found else {
        let names: Vec<_> = columns.iter().map(|(column, _)| *column).collect();
        return Err(Failure::usage(format!(
            "--sort: this list has no column {name:?}; choose one of {}",
            names.join(", ")
        )));
    };
    items.sort_by_cached_key(|item| Key {
        value: value(item, members),
        opposite,
    });
    Ok(())
}

fn value<T: Serialize>(item: &T, members: &[&str]) -> Option<Value> {
    let mut item = serde_json::to_value(item).ok()?;
    let values = members
        .iter()
        .filter_map(|member| item.get_mut(*member).map(Value::take));
    let said =
        |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
    let values: Vec<_> = values.filter(said).collect();
    (!values.is_empty()).then_some(Value::Array(values))
}

/// What an item is sorted by.
#[derive(PartialEq)]
struct Key {
    value: Option<Value>,
    opposite: bool,
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.value, &other.value) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(one), Some(other)) if self.opposite => compare(other, one),
            (Some(one), Some(other)) => compare(one, other),
        }
    }
}

/// Numbers by size, versions as versions, lists and objects by their values from the first on, all else by its text.
fn compare(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => return compare_all(one, other),
        (Value::Object(one), Value::Object(other)) => {
            return compare_all(one.values(), other.values());
        }
        _ => {}
    }
    if let (Some(one), Some(other)) = (one.as_f64(), other.as_f64()) {
        return one.total_cmp(&other);
    }
    let (one, other) = (text(one), text(other));
    match (one.parse::<Version>(), other.parse::<Version>()) {
        (Ok(one), Ok(other)) => one.cmp(&other),
        _ => one.cmp(&other),
    }
}

fn compare_all<'a, I>(one: I, other: I) -> Ordering
where
    I: IntoIterator<Item = &'a Value>,
{
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    loop {
        match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(one), Some(other)) => match compare(one, other) {
                Ordering::Equal => {}
                unequal => return unequal,
            },
        }
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: Columns = &[("name", &["name"]), ("left", &["expires_in_ms"])];

    #[track_caller]
    fn check(wanted: &str, expected: &str) {
        let mut items: Vec<_> = [
            ("b", json!(10)),
            ("a", json!(9)),
            ("c", Value::Null),
            ("d", json!(10)),
        ]
        .map(|(name, left)| json!({"name": name, "expires_in_ms": left}))
        .into();
        sort(&mut items, wanted, COLUMNS).unwrap();
        let names: String = items
            .iter()
            .filter_map(|item| item["name"].as_str())
            .collect();
        assert_eq!(names, expected, "--sort {wanted}");
    }

    #[test]
    fn items_are_sorted_by_a_column_in_either_order() {
        check("name", "abcd");
        check("-name", "dcba");
        check("left", "abdc");
        check("-left", "bdac");
        check("LEFT", "abdc");
        let version = |text: &str| json!(text);
        assert_eq!(
            compare(&version("1.10.0"), &version("1.9.0")),
            Ordering::Greater
        );
        let first = json!([["1.2.0", "1.10.0"], 9]);
        assert_eq!(
            compare(&first, &json!([["1.2.0", "1.9.0"], 10])),
            Ordering::Greater
        );
        assert_eq!(
            compare(&first, &json!([["1.2.0", "1.10.0"], 10])),
            Ordering::Less
        );
    }

    #[test]
    fn a_column_that_is_not_there_is_named_with_those_that_are() {
        let refused = sort::<Value>(&mut [], "size", COLUMNS).unwrap_err();
        let text = refused.text("");
        assert!(
            text.contains("\"size\"") && text.contains("name, left"),
            "{text}"
        );
    }
}
