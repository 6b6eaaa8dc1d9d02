//! Contracts condensed: the same for everybody who writes the same contract, however it is spelled.
//!
//! `docs/tools.md` describes the form for implementations in other languages, with an example.

use onex_protocol::{
    node::{NodeSchema, SchemaField},
    tool::Tool,
};
use onex_types::{bounds::CONTRACT_HASH_PREFIX, ids::Label};
use semver::Version;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    canonical_form::{form, in_order},
    relied_on::relied_on,
};

/// Hash of what a caller of the tool relies on: its name, schemas, error codes, side effects and whether it is
/// idempotent. Its version, description, tags and subject do not count, nor do annotations in its schemas: a release
/// that promises the same has the same hash.
///
/// What was not said is what it stands for; errors and side effects are sets.
pub fn contract_hash(tool: &Tool) -> String {
    hashed(&contract(tool))
}

fn contract(tool: &Tool) -> Value {
    json!({
        "name": tool.name,
        "input_schema": relied_on(&tool.input_schema),
        "output_schema": relied_on(&tool.output_schema),
        "error_codes": set(&tool.error_codes),
        "side_effects": set(&tool.side_effects),
        "idempotent": tool.idempotent,
    })
}

/// The one tool that stands for all with the same [`contract_hash`]: without texts, in version 0.0.0, with its sets in
/// order and its numbers written in one way.
pub fn representative(tool: &Tool) -> Result<Tool, serde_json::Error> {
    let mut contract: Value = serde_json::from_str(&form(&contract(tool)))?;
    if let Value::Object(members) = &mut contract {
        members.insert("version".to_owned(), "0.0.0".into());
    }
    serde_json::from_value(contract)
}

/// What a node is for those who trust it, condensed, but for its tools: its version, type and schema. A
/// schema that says nothing is none. With the tools it is
/// what the registry makes of a node's.
pub fn node_base_hash(version: &Version, node_type: &str, schema: Option<&NodeSchema>) -> String {
    let schema = schema.cloned().unwrap_or_default();
    hashed(&json!({
        "version": version,
        "node_type": node_type,
        "schema": {
            "inputs": fields(&schema.inputs),
            "outputs": fields(&schema.outputs),
            "accepts_context": schema.accepts_context,
            "modifies_state": schema.modifies_state,
            "side_effects": set(&schema.side_effects),
        },
    }))
}

fn fields(fields: &[SchemaField]) -> Vec<Value> {
    let field = |field: &SchemaField| {
        json!({
            "name": field.name,
            "type": field.kind,
            "required": field.required,
            "schema": field.schema.as_ref().map(relied_on),
        })
    };
    fields.iter().map(field).collect()
}

fn set(labels: &[Label]) -> Vec<&str> {
    let mut labels: Vec<_> = labels.iter().map(Label::as_str).collect();
    labels.sort_unstable_by(|one, other| in_order(one, other));
    labels.dedup();
    labels
}

fn hashed(value: &Value) -> String {
    let hash = Sha256::digest(form(value));
    format!("{CONTRACT_HASH_PREFIX}{hash:x}")
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
        check(&with("version", &json!("1.2.1")), true);
        check(&with("version", &json!("2.0.0-rc.1+x")), true);
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
        for keyword in [
            "title",
            "description",
            "$comment",
            "examples",
            "$schema",
            "deprecated",
            "readOnly",
            "writeOnly",
            "x-order",
        ] {
            let mut said = full();
            said["input_schema"][keyword] = json!("adds");
            said["input_schema"]["properties"]["a"][keyword] = json!("the first");
            check(&said.to_string(), true);
            // Here it is a member's name.
            let mut named = full();
            named["input_schema"]["properties"][keyword] = json!({"type": "string"});
            check(&named.to_string(), false);
            // Here it is a value.
            let mut value = full();
            value["input_schema"]["properties"]["a"]["const"] = json!({keyword: "x"});
            check(&value.to_string(), false);
        }
        for default in [json!(0), json!(1)] {
            let mut said = full();
            said["input_schema"]["properties"]["a"]["default"] = default;
            check(&said.to_string(), false);
        }
        check(&with("name", &json!("sub")), false);
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
    fn sets_have_no_order_and_lists_have_one() {
        let hash = |schema: Value| {
            let mut value = full();
            value["input_schema"] = schema;
            contract_hash(&tool(value))
        };
        for (one, other, same) in [
            (
                json!({"required": ["a", "b"]}),
                json!({"required": ["b", "a"]}),
                true,
            ),
            (
                json!({"required": ["a", "b"]}),
                json!({"required": ["a"]}),
                false,
            ),
            (
                json!({"enum": ["x", 1.0, null]}),
                json!({"enum": [null, 1, "x"]}),
                true,
            ),
            (json!({"enum": [1, 2]}), json!({"enum": [1, 2, 3]}), false),
            // Their order is part of the value.
            (json!({"enum": [[1, 2]]}), json!({"enum": [[2, 1]]}), false),
            (
                json!({"type": ["string", "null"]}),
                json!({"type": ["null", "string"]}),
                true,
            ),
            (json!({"type": ["string"]}), json!({"type": "string"}), true),
            (
                json!({"type": ["string", "null"]}),
                json!({"type": "string"}),
                false,
            ),
            (
                json!({"dependentRequired": {"a": ["b", "c"]}}),
                json!({"dependentRequired": {"a": ["c", "b"]}}),
                true,
            ),
            (
                json!({"dependentRequired": {"a": ["b"]}}),
                json!({"dependentRequired": {"b": ["a"]}}),
                false,
            ),
            // In every schema in it.
            (
                json!({"properties": {"a": {"items": {"enum": [1, 2]}}}}),
                json!({"properties": {"a": {"items": {"enum": [2, 1]}}}}),
                true,
            ),
            // Here they are values, and names.
            (
                json!({"const": {"enum": [1, 2]}}),
                json!({"const": {"enum": [2, 1]}}),
                false,
            ),
            (
                json!({"properties": {"required": {"const": 1}}}),
                json!({"properties": {}}),
                false,
            ),
            // References lead into these by their place.
            (
                json!({"anyOf": [{"minimum": 1}, {"minimum": 2}]}),
                json!({"anyOf": [{"minimum": 2}, {"minimum": 1}]}),
                false,
            ),
            (
                json!({"prefixItems": [true, {"minimum": 2}]}),
                json!({"prefixItems": [{"minimum": 2}, true]}),
                false,
            ),
        ] {
            let shown = format!("{one} {other}");
            assert_eq!(hash(one) == hash(other), same, "{shown}");
        }
    }

    #[test]
    fn all_tools_with_one_hash_have_one_representative() {
        let mut other = full();
        other["version"] = json!("2.0.0");
        other["input_schema"]["properties"]["a"] = json!({"minimum": 1.0, "title": "A"});
        other["error_codes"] = json!(["B", "A"]);
        let one = representative(&tool(full())).unwrap();
        assert_eq!(one, representative(&tool(other)).unwrap());
        assert_eq!(contract_hash(&one), contract_hash(&tool(full())));
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
            "c2:d788fae1c959731d1f5d2413691db86a3c285e1a03d1a1d9132a425a03d96f3d",
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
