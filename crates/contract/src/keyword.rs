//! Keywords of JSON Schema 2020-12 under which further schemas stand.

/// How schemas stand under a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// One.
    Schema,
    /// A list of them.
    List,
    /// Each under a name.
    Named,
}

/// How schemas stand under that keyword, if they do.
pub(super) fn holds(keyword: &str) -> Option<Holds> {
    Some(match keyword {
        "not"
        | "if"
        | "then"
        | "else"
        | "items"
        | "contains"
        | "unevaluatedItems"
        | "additionalProperties"
        | "unevaluatedProperties"
        | "propertyNames"
        | "contentSchema" => Holds::Schema,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Holds::List,
        "properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions" => {
            Holds::Named
        }
        _ => return None,
    })
}
