//! Contracts condensed: the same for everybody who writes the same contract, however it is spelled.

use std::fmt::Write as _;

use semver::Version;
use serde_json::{Map, Number, Value, json};
use sha2::{Digest as _, Sha256};

use crate::domain::ids::Label;

use super::{node::NodeSchema, tool::Tool};

/// What a caller of the tool relies on, condensed: its name, version, schemas, errors, side effects and
/// whether it is idempotent; not its description, its tags and where it listens.
///
/// The hash is over JSON without white space, with the members of objects in the order of their bytes,
/// numbers in their shortest form (1.0 is 1), and errors and side effects as sorted sets. What was not
/// said is what it stands for.
pub fn contract_hash(tool: &Tool) -> String {
    sha256(json!({
        "name": tool.name,
        "version": tool.version,
        "input_schema": tool.input_schema,
        "output_schema": tool.output_schema,
        "error_codes": set(&tool.error_codes),
        "side_effects": set(&tool.side_effects),
        "idempotent": tool.idempotent,
    }))
}

/// What a node is for those who trust it, condensed, but for its tools: its version, type and schema. A
/// schema that says nothing is none. With the tools it is
/// [`Registration::seal`](crate::domain::node::Registration::seal)'s.
pub fn node_base_hash(version: &Version, node_type: &str, schema: Option<&NodeSchema>) -> String {
    let schema = schema.cloned().unwrap_or_default();
    sha256(json!({
        "version": version,
        "node_type": node_type,
        "schema": {
            "inputs": schema.inputs,
            "outputs": schema.outputs,
            "accepts_context": schema.accepts_context,
            "modifies_state": schema.modifies_state,
            "side_effects": set(&schema.side_effects),
        },
    }))
}

fn set(labels: &[Label]) -> Vec<&Label> {
    let mut labels: Vec<_> = labels.iter().collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}

fn sha256(value: Value) -> String {
    let text = canonical(value).to_string();
    Sha256::digest(text)
        .iter()
        .fold("sha256:".to_owned(), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// The one form of all JSON that means the same.
pub(super) fn canonical(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(shortest(number)),
        Value::Array(items) => items.into_iter().map(canonical).collect(),
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            // A map may keep the order in which its members came.
            members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            let members = members
                .into_iter()
                .map(|(name, value)| (name, canonical(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Null | Value::Bool(_) | Value::String(_) => value,
    }
}

/// A whole number is one, however it is written.
fn shortest(number: Number) -> Number {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return number;
    };
    // What has no fraction and may fit 64 bits; larger ones are read as floats, however they are written.
    if float.fract() == 0.0 && float.abs() < 2_f64.powi(64) {
        let text = format!("{float:.0}");
        let whole = text.parse::<u64>().map(Number::from);
        let whole = whole.or_else(|_| text.parse::<i64>().map(Number::from));
        if text == "-0" {
            return Number::from(0);
        }
        return whole.unwrap_or(number);
    }
    number
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tool(value: Value) -> Tool {
        serde_json::from_value(value).unwrap()
    }

    fn full() -> Value {
        json!({
            "name": "add", "version": "1.2.0", "description": "adds",
            "input_schema": {"type": "object", "properties": {"a": {"minimum": 1}, "b": {"maximum": 10}}},
            "output_schema": {"type": "number"},
            "error_codes": ["A", "B"], "side_effects": ["disk", "net"],
            "idempotent": true, "tags": ["math"], "subject": "calc.add",
        })
    }

    #[track_caller]
    fn check(text: &str, same: bool) {
        let hash = |tool: &Tool| contract_hash(tool);
        let changed = tool(serde_json::from_str(text).unwrap());
        assert_eq!(hash(&changed) == hash(&tool(full())), same, "{text}");
    }

    fn with(name: &str, value: &Value) -> String {
        let mut tool = full();
        tool[name] = value.clone();
        tool.to_string()
    }

    #[test]
    fn a_contract_is_what_callers_rely_on() {
        check(&serde_json::to_string_pretty(&full()).unwrap(), true);
        check(&with("description", &json!("sums")), true);
        check(&with("tags", &json!([])), true);
        check(&with("subject", &json!("x")), true);
        check(&with("error_codes", &json!(["B", "A", "B"])), true);
        check(&with("side_effects", &json!(["net", "disk"])), true);
        check(
            &with(
                "input_schema",
                &json!({"properties": {"b": {"maximum": 1e1}, "a": {"minimum": 1.0}}, "type": "object"}),
            ),
            true,
        );
        check(&with("name", &json!("sub")), false);
        check(&with("version", &json!("1.2.1")), false);
        check(&with("version", &json!("1.2.0+x")), false);
        check(&with("idempotent", &json!(false)), false);
        check(&with("error_codes", &json!(["A"])), false);
        check(&with("side_effects", &json!(["disk"])), false);
        check(&with("output_schema", &json!({"type": "integer"})), false);
        check(
            &with(
                "input_schema",
                &json!({"type": "object", "properties": {"a": {"minimum": 2}, "b": {"maximum": 10}}}),
            ),
            false,
        );
    }

    #[test]
    fn what_is_not_said_is_what_it_stands_for() {
        let bare = tool(json!({"name": "add", "version": "1.0.0"}));
        let said = tool(json!({
            "name": "add", "version": "1.0.0", "input_schema": {"type": "object"}, "output_schema": true,
            "error_codes": null, "side_effects": [], "idempotent": false, "tags": null, "subject": null,
        }));
        assert_eq!(contract_hash(&bare), contract_hash(&said));
        assert_eq!(
            contract_hash(&bare),
            "sha256:a63cd4d5d24f75a2d637afe8a85987002016d4be1325fc15b761d5cdae066303",
        );
    }

    #[test]
    fn a_node_is_its_version_type_and_schema() {
        let version: Version = "1.0.0".parse().unwrap();
        let schema = |text: &str| serde_json::from_str::<NodeSchema>(text).unwrap();
        let base = node_base_hash(&version, "tool", None);
        assert_eq!(base, node_base_hash(&version, "tool", Some(&schema("{}"))));
        let other = schema(r#"{"modifies_state":true}"#);
        assert_ne!(base, node_base_hash(&version, "tool", Some(&other)));
        assert_ne!(base, node_base_hash(&version, "agent", None));
        assert_ne!(
            base,
            node_base_hash(&"1.0.1".parse().unwrap(), "tool", None)
        );
    }

    #[test]
    fn whole_numbers_have_one_form() {
        for (one, other) in [
            ("1", "1.0"),
            ("100", "1e2"),
            ("0", "-0.0"),
            ("-5", "-5.0"),
            ("9007199254740992", "9007199254740992.0"),
            ("10000000000000000000", "1e19"),
        ] {
            let form = |text: &str| canonical(serde_json::from_str(text).unwrap()).to_string();
            assert_eq!(form(one), form(other), "{one} {other}");
        }
        let form = |text: &str| canonical(serde_json::from_str(text).unwrap()).to_string();
        assert_ne!(form("9007199254740993"), form("9007199254740992"));
        assert_ne!(form("1.5"), form("1"));
        assert_ne!(form("1"), form("\"1\""));
        assert_ne!(form("1e300"), form("1e301"));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(Value::from),
            "[a-z\"\\\\é ]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{0,4}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The same JSON with its members turned round, white space, and whole numbers as fractions.
    fn respelled(value: &Value) -> String {
        match value {
            Value::Object(members) => {
                let members: Vec<String> = members
                    .iter()
                    .rev()
                    .map(|(name, value)| format!(" {} :\n{}", json!(name), respelled(value)))
                    .collect();
                format!("{{{}}}", members.join(","))
            }
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(respelled).collect();
                format!("[ {} ]", items.join(" ,\t"))
            }
            Value::Number(number) => format!("{number}.0"),
            other => other.to_string(),
        }
    }

    proptest! {
        #[test]
        fn spelling_does_not_matter(schema in any_json()) {
            let mut value = full();
            value["output_schema"] = schema;
            let again = tool(serde_json::from_str(&respelled(&value)).unwrap());
            prop_assert_eq!(contract_hash(&tool(value)), contract_hash(&again));
        }

        #[test]
        fn what_it_says_matters(one in any_json(), other in any_json()) {
            let hash = |schema: &Value| {
                let mut value = full();
                value["input_schema"] = json!({"const": schema});
                contract_hash(&tool(value))
            };
            prop_assert_eq!(hash(&one) == hash(&other), one == other);
        }
    }
}
