//! Whether a tool may be announced as it is: what the types do not already say.

use std::collections::HashSet;

use onex_protocol::{
    error::Error,
    names::Namespace,
    subject::{ToolSubjects, check_subject},
    tool::Tool,
};
use onex_types::ids::NodeId;
use serde_json::Value;

use crate::{
    admits,
    ecma::Expression,
    measure,
    schema_graph::{PATTERN, PATTERN_PROPERTIES},
    validator::{PATTERN_BYTES_MAX, Validator, Weight},
};

use onex_types::bounds::NODE_PATTERNS_MAX;

/// Values, and 64 bytes of text each, in the schemas of tools that are compiled in some milliseconds.
pub const CONTRACTS_LIGHT_VALUES_MAX: u64 = 2_000;
/// Characters and classes of all their regular expressions, those that are repeated up to n times n times. None of these
/// looks around.
pub const CONTRACTS_LIGHT_PATTERNS_MAX: u64 = 500;

/// What a registry holds every tool to.
#[derive(Debug, Clone, Copy)]
pub struct ToolRules<'a> {
    /// The registry's.
    pub namespace: &'a Namespace,
    /// Where tools may listen.
    pub subjects: &'a ToolSubjects,
}

/// A tool's schemas, ready for use.
#[derive(Debug)]
pub struct Contract {
    /// What its arguments must be.
    pub input: Validator,
    /// What its result must be.
    pub output: Validator,
}

impl Contract {
    /// How many regular expressions it holds.
    pub fn patterns(&self) -> usize {
        self.input.patterns() + self.output.patterns()
    }
}

/// Checks a tool of `node`; errors point into the tool.
pub fn check_tool(tool: &Tool, node: &NodeId, rules: ToolRules<'_>) -> Result<Contract, Error> {
    let contract = compile(tool)?;
    if let Some(subject) = &tool.subject {
        check_subject(subject.as_str(), rules.namespace, node, rules.subjects)
            .map_err(|invalid| Error::invalid("/subject", invalid.to_string()))?;
    }
    Ok(contract)
}

/// Checks all tools of `node`; errors point into the list's parent: `/tools/3/version`. How many regular
/// expressions each holds, in the order of the tools.
pub fn check_tools(
    tools: &[Tool],
    node: &NodeId,
    rules: ToolRules<'_>,
) -> Result<Vec<usize>, Error> {
    let mut each = Vec::new();
    let mut seen = HashSet::new();
    for (index, tool) in tools.iter().enumerate() {
        let parent = format!("/tools/{index}");
        if !seen.insert((&tool.name, &tool.version)) {
            let message = "another tool of this node has that name and version";
            return Err(Error::invalid(parent + "/version", message));
        }
        let contract = check_tool(tool, node, rules).map_err(|error| below(&parent, error))?;
        each.push(contract.patterns());
        if each.iter().sum::<usize>() > NODE_PATTERNS_MAX {
            let message = format!(
                "the tools of a node must hold at most {NODE_PATTERNS_MAX} regular expressions"
            );
            return Err(Error::invalid(parent, message));
        }
    }
    Ok(each)
}

/// How long checking and compiling the schemas of these tools may take.
pub fn weight(tools: &[Tool]) -> Weight {
    let schemas = tools
        .iter()
        .flat_map(|tool| [&tool.input_schema, &tool.output_schema]);
    let mut room = CONTRACTS_LIGHT_VALUES_MAX;
    let mut patterns = CONTRACTS_LIGHT_PATTERNS_MAX;
    for schema in schemas {
        let size = measure::size(schema, room);
        let left = room.checked_sub(size).zip(patterns_fit(schema, patterns));
        let Some(left) = left else {
            return Weight::Heavy;
        };
        (room, patterns) = left;
    }
    Weight::Light
}

/// What is left of `room` behind the regular expressions that there may be in a schema; none where they do not fit.
fn patterns_fit(schema: &Value, room: u64) -> Option<u64> {
    let fit = |room: u64, source: &str| {
        let read = Expression::read(source).ok()?;
        let fits = !read.looks_around && source.len() <= PATTERN_BYTES_MAX;
        room.checked_sub(read.size).filter(|_| fits)
    };
    match schema {
        Value::Object(members) => members.iter().try_fold(room, |room, (name, value)| {
            let room = match (name.as_str(), value) {
                (PATTERN, Value::String(source)) => fit(room, source)?,
                (PATTERN_PROPERTIES, Value::Object(named)) => named
                    .keys()
                    .try_fold(room, |room, source| fit(room, source))?,
                _ => room,
            };
            patterns_fit(value, room)
        }),
        Value::Array(items) => items
            .iter()
            .try_fold(room, |room, item| patterns_fit(item, room)),
        _ => Some(room),
    }
}

/// Checks and compiles a tool's schemas; errors point into the tool.
pub fn compile(tool: &Tool) -> Result<Contract, Error> {
    let input =
        Validator::compile(&tool.input_schema).map_err(|error| below("/input_schema", error))?;
    if let Some(pointer) = admits::no_object(&tool.input_schema) {
        let message = "must admit an object: arguments are one";
        return Err(Error::invalid(format!("/input_schema{pointer}"), message));
    }
    let output =
        Validator::compile(&tool.output_schema).map_err(|error| below("/output_schema", error))?;
    Ok(Contract { input, output })
}

/// Where a tool of `node` listens.
pub fn subject_of(tool: &Tool, node: &NodeId, namespace: &Namespace) -> String {
    match &tool.subject {
        Some(subject) => subject.as_str().to_owned(),
        None => namespace.tool_subject(&tool.name, node),
    }
}

/// The error with its pointer moved below `parent`, which is a pointer itself.
#[must_use]
pub fn below(parent: &str, mut error: Error) -> Error {
    if let Some(Value::String(pointer)) = error.details.get_mut("pointer") {
        pointer.insert_str(0, parent);
    }
    error
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
    fn check(changes: Value, refused_at: Option<&str>) {
        let mut tool = json!({"name": "add", "version": "1.0.0"});
        for (name, value) in changes.as_object().unwrap() {
            tool[name] = value.clone();
        }
        let tool: Tool = serde_json::from_value(tool).unwrap();
        let rules = ToolRules {
            namespace: &Namespace::default(),
            subjects: &ToolSubjects::new(vec!["calc.>".parse().unwrap()]),
        };
        let error = check_tool(&tool, &"calc".parse().unwrap(), rules).err();
        let pointer = error.as_ref().map(|error| &error.details["pointer"]);
        assert_eq!(pointer, refused_at.map(Value::from).as_ref(), "{error:?}");
    }

    #[test]
    fn errors_point_into_the_tool() {
        check(json!({}), None);
        check(json!({"subject": "calc.add"}), None);
        check(json!({"subject": "onex.node.v1.tool.add.calc"}), None);
        check(json!({"subject": "other.add"}), Some("/subject"));
        check(json!({"subject": "$JS.API"}), Some("/subject"));
        check(json!({"input_schema": false}), Some("/input_schema"));
        check(json!({"input_schema": true}), None);
        check(json!({"input_schema": {}}), None);
        check(
            json!({"input_schema": {"type": "string"}}),
            Some("/input_schema/type"),
        );
        check(
            json!({"input_schema": {"type": ["string", "object"]}}),
            None,
        );
        check(json!({"output_schema": {"type": "string"}}), None);
        check(json!({"output_schema": false}), None);
        check(
            json!({"input_schema": {"properties": {"a": {"pattern": "("}}}}),
            Some("/input_schema/properties/a/pattern"),
        );
        check(
            json!({"output_schema": {"$ref": "http://x/"}}),
            Some("/output_schema/$ref"),
        );
        check(json!({"output_schema": 1}), Some("/output_schema"));
    }

    #[track_caller]
    fn check_all(tools: Value, refused_at: Option<&str>) {
        let tools: Vec<Tool> = serde_json::from_value(tools).unwrap();
        let rules = ToolRules {
            namespace: &Namespace::default(),
            subjects: &ToolSubjects::default(),
        };
        let result = check_tools(&tools, &"calc".parse().unwrap(), rules);
        let pointer = result.as_ref().err().map(|error| &error.details["pointer"]);
        assert_eq!(pointer, refused_at.map(Value::from).as_ref());
    }

    #[test]
    fn tools_of_one_node_go_together() {
        let tool = |name: usize, version: &str, patterns: usize| {
            let schema = json!({"allOf": vec![json!({"pattern": "x"}); patterns]});
            json!({"name": format!("t{name}"), "version": version, "output_schema": schema})
        };
        check_all(json!([]), None);
        check_all(json!([tool(1, "1.0.0", 1), tool(1, "1.0.1", 1)]), None);
        check_all(
            json!([tool(1, "1.0.0", 1), tool(1, "1.0.0", 2)]),
            Some("/tools/1/version"),
        );
        let mut many: Vec<Value> = (0..4).map(|name| tool(name, "1.0.0", 64)).collect();
        check_all(json!(many), None);
        many.push(tool(4, "1.0.0", 1));
        check_all(json!(many), Some("/tools/4"));
        check_all(
            json!([tool(1, "1.0.0", 1), {"name": "a", "version": "1.0.0", "subject": "$a"}]),
            Some("/tools/1/subject"),
        );
    }

    #[test]
    fn contract_with_small_patterns_is_light() {
        let weight = |schema: Value| {
            let tool = json!({"name": "add", "version": "1.0.0", "output_schema": schema});
            super::weight(&[serde_json::from_value(tool).unwrap()])
        };
        let many =
            |count: usize| json!({"allOf": vec![json!({"pattern": "^[a-z]{1,40}$"}); count]});
        for (schema, expected) in [
            (json!({"pattern": "^[a-z]{1,40}$"}), Weight::Light),
            (
                json!({"patternProperties": {"^x-": {"pattern": "a"}}}),
                Weight::Light,
            ),
            (many(10), Weight::Light),
            (many(20), Weight::Heavy),
            (json!({"pattern": "^[a-z]{1,600}$"}), Weight::Heavy),
            (
                json!({"items": {"patternProperties": {"^[a-z]{1,600}$": {}}}}),
                Weight::Heavy,
            ),
            (json!({"pattern": r"\p{L}{60}"}), Weight::Heavy),
            (json!({"pattern": "(?=a)b"}), Weight::Heavy),
            (json!({"enum": vec![0; 2_000]}), Weight::Heavy),
        ] {
            assert_eq!(weight(schema.clone()), expected, "{schema}");
        }
    }

    #[test]
    fn a_tool_listens_where_it_says_or_where_all_do() {
        let mut tool: Tool =
            serde_json::from_value(json!({"name": "add", "version": "1.0.0"})).unwrap();
        let node: NodeId = "calc.1".parse().unwrap();
        let namespace = Namespace::default();
        assert_eq!(
            subject_of(&tool, &node, &namespace),
            "onex.node.v1.tool.add.calc=2E1"
        );
        tool.subject = Some("calc.add".to_owned().try_into().unwrap());
        assert_eq!(subject_of(&tool, &node, &namespace), "calc.add");
    }
}
