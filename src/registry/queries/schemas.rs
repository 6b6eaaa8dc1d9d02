//! The JSON Schemas that there are: of messages, of tools, of nodes.

use onex_types::ids::Token;
use serde_json::Value;

use crate::protocol::{
    bounds::Open,
    catalog::{SchemaGetReply, SchemaGetRequest, SchemaItem, SchemaKind, SchemaListRequest},
    error::{Error, ErrorCode},
    port::Page,
    schemas::Message,
};

use onex_core::{node::Tool, node_index::NodeFilter};
use onex_types::bounds::CONTRACT_HASH_PREFIX;

use super::super::stored::all_schemas;
use super::{
    Catalog, CatalogNode,
    page::{cursor, page},
};

/// Tools, and nodes, among which a name is looked for that is like an unknown one.
const NEAREST_OF_MAX: usize = 1_000;
/// A name is like another one when not more than this part of it differs.
const NEAREST_PARTS: usize = 3;

/// The messages, which do not change while this runs.
fn messages() -> &'static [Message] {
    static MESSAGES: std::sync::OnceLock<Vec<Message>> = std::sync::OnceLock::new();
    MESSAGES.get_or_init(|| {
        let mut messages = all_schemas();
        messages.sort_by(|one, other| one.name.cmp(&other.name));
        messages
    })
}

/// Schemas, a page of at most `limit`, in the order of kind and name.
pub(in crate::registry) fn schemas(
    catalog: Catalog<'_>,
    request: &SchemaListRequest,
    limit: usize,
) -> Result<Page<SchemaItem>, Error> {
    let after = cursor(request.cursor.as_deref(), |text| {
        let (kind, name) = text.split_once(':')?;
        Some((rank(kind)?, name.to_owned()))
    })?;
    let wanted = |kind: SchemaKind| request.kind.is_none_or(|wanted| wanted == kind);
    let behind = |kind: SchemaKind, name: &str| {
        let after = after.as_ref();
        after.is_none_or(|(last, text)| (kind as usize, name) > (*last, text.as_str()))
    };
    let messages = messages().iter().map(|message| {
        let title = message.schema.get("title").and_then(Value::as_str);
        item(
            SchemaKind::Message,
            &message.name,
            title.unwrap_or_default(),
        )
    });
    let tools = tool_schemas(catalog, catalog.tool_names(None))
        .into_iter()
        .map(|(name, title, _)| item(SchemaKind::Tool, &name, &title));
    let nodes = node_names(catalog)
        .into_iter()
        .map(|(name, title)| item(SchemaKind::Node, &name, &title));
    let found = messages
        .chain(tools)
        .chain(nodes)
        .filter(|(kind, _)| wanted(*kind))
        .filter(|(kind, item)| behind(*kind, &item.name))
        .map(|(kind, item)| (format!("{}:{}", text(kind), item.name), item));
    Ok(page(catalog.revision(), found, limit))
}

/// One schema.
pub(in crate::registry) fn schema(
    catalog: Catalog<'_>,
    request: &SchemaGetRequest,
) -> Result<SchemaGetReply, Error> {
    let name = request.name.as_str();
    let wanted = |kind: SchemaKind| request.kind.is_none_or(|wanted| wanted == kind);
    let message = || {
        let found = messages().iter().find(|message| message.name == name);
        found.map(|message| message.schema.clone())
    };
    let tool = || {
        let (tool, _) = name.split_once('@')?;
        let tool = tool.parse().ok()?;
        let mut found = tool_schemas(catalog, std::iter::once(&tool)).into_iter();
        found
            .find(|(other, _, _)| other == name)
            .map(|(_, _, schema)| schema.cloned().unwrap_or(Value::Bool(true)))
    };
    let node = || {
        let node = catalog
            .node(&name.parse().ok()?)
            .filter(CatalogNode::is_live)?;
        schema_of(&node).cloned()
    };
    let found = [
        (
            SchemaKind::Message,
            wanted(SchemaKind::Message).then(message).flatten(),
        ),
        (
            SchemaKind::Tool,
            wanted(SchemaKind::Tool).then(tool).flatten(),
        ),
        (
            SchemaKind::Node,
            wanted(SchemaKind::Node).then(node).flatten(),
        ),
    ]
    .into_iter()
    .find_map(|(kind, schema)| Some((kind, schema?)));
    let (kind, schema) = found.ok_or_else(|| missing(catalog, request))?;
    Ok(SchemaGetReply {
        kind: Open::Known(kind),
        name: name.to_owned(),
        schema,
        revision: catalog.revision(),
        ignored: Vec::new(),
    })
}

fn missing(catalog: Catalog<'_>, request: &SchemaGetRequest) -> Error {
    let message = format!("there is no schema {}", request.name);
    let error = Error::new(ErrorCode::SchemaNotFound, message).with("name", request.name.as_str());
    match nearest(catalog, request) {
        Some(nearest) => error.with("nearest", nearest),
        None => error,
    }
}

/// The known name that is most like the one that is asked for, or that continues it.
fn nearest(catalog: Catalog<'_>, request: &SchemaGetRequest) -> Option<String> {
    let name = request.name.as_str();
    let wanted = |kind: SchemaKind| request.kind.is_none_or(|wanted| wanted == kind);
    let mut best: Option<(usize, String)> = None;
    let mut consider = |known: &str| {
        let distance = distance(name, known);
        if let Some(distance) = distance
            && best.as_ref().is_none_or(|(least, _)| distance < *least)
        {
            best = Some((distance, known.to_owned()));
        }
    };
    if wanted(SchemaKind::Message) {
        for message in messages() {
            consider(&message.name);
        }
    }
    if wanted(SchemaKind::Tool) {
        let (tool, _) = name.split_once('@').unwrap_or((name, ""));
        let names = catalog.tool_names(None).take(NEAREST_OF_MAX);
        let near = names
            .filter_map(|known| Some((distance(tool, known.as_str())?, known)))
            .min();
        let tool = near.map(|(_, tool)| tool);
        for (known, ..) in tool_schemas(catalog, tool.into_iter()) {
            consider(&known);
        }
    }
    if wanted(SchemaKind::Node) {
        let nodes = node_names(catalog).into_iter().take(NEAREST_OF_MAX);
        for (known, _) in nodes {
            consider(&known);
        }
    }
    best.map(|(_, name)| name)
}

/// How much a known name differs from one that is asked for: none when it is not like it.
fn distance(asked: &str, known: &str) -> Option<usize> {
    let continues = known
        .strip_prefix(asked)
        .is_some_and(|rest| rest.starts_with(['.', '@', '#']));
    let most = known.len().max(NEAREST_PARTS) / NEAREST_PARTS;
    if !continues && asked.len().abs_diff(known.len()) > most {
        return None;
    }
    let distance = strsim::damerau_levenshtein(asked, known);
    (continues || distance <= most).then_some(distance)
}

fn item(kind: SchemaKind, name: &str, title: &str) -> (SchemaKind, SchemaItem) {
    let item = SchemaItem {
        kind: Open::Known(kind),
        name: name.to_owned(),
        title: title.to_owned(),
    };
    (kind, item)
}

fn text(kind: SchemaKind) -> &'static str {
    match kind {
        SchemaKind::Message => "message",
        SchemaKind::Tool => "tool",
        SchemaKind::Node => "node",
    }
}

fn rank(text: &str) -> Option<usize> {
    let kinds = [SchemaKind::Message, SchemaKind::Tool, SchemaKind::Node];
    let found = kinds.into_iter().find(|kind| self::text(*kind) == text);
    found.map(|kind| kind as usize)
}

/// The schemas of tools of those names that live nodes offer, none where a tool does not say one:
/// `name@version.input` and `.output`. Where two nodes offer different contracts by one name and version,
/// `#` and the first digits of the hash follow the version.
fn tool_schemas<'a, 'n>(
    catalog: Catalog<'a>,
    names: impl Iterator<Item = &'n Token>,
) -> Vec<(String, String, Option<&'a Value>)> {
    let mut found = Vec::new();
    for name in names {
        let mut offered: Vec<&Tool> = catalog
            .providers(name)
            .flat_map(|node| node.registration.tools_named(name))
            .collect();
        offered.sort_by(|one, other| {
            (&one.version, &one.contract_hash).cmp(&(&other.version, &other.contract_hash))
        });
        offered.dedup_by(|one, other| {
            one.version == other.version && one.contract_hash == other.contract_hash
        });
        for tool in &offered {
            let same = offered.iter().filter(|other| other.version == tool.version);
            let mark = if same.count() > 1 {
                let digits = tool.contract_hash.trim_start_matches(CONTRACT_HASH_PREFIX);
                format!("#{}", digits.chars().take(12).collect::<String>())
            } else {
                String::new()
            };
            for (part, what) in [("input", "arguments"), ("output", "result")] {
                let schema = tool.more.get(&format!("{part}_schema"));
                found.push((
                    format!("{name}@{}{mark}.{part}", tool.version),
                    format!("The {what} of {name} {}", tool.version),
                    schema,
                ));
            }
        }
    }
    found.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    found
}

/// What a node announced as its schema, if it did.
fn schema_of<'a>(node: &CatalogNode<'a>) -> Option<&'a Value> {
    node.registration.more.get("schema")
}

fn node_names(catalog: Catalog<'_>) -> Vec<(String, String)> {
    catalog
        .nodes(&NodeFilter::default(), None)
        .filter(|node| node.is_live() && schema_of(node).is_some())
        .map(|node| {
            let id = node.node_id;
            (id.to_string(), format!("The inputs and outputs of {id}"))
        })
        .collect()
}
