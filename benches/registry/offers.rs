//! Nodes and tools: what is listed, described and invoked.

use serde_json::{Value, json};
use uuid::Uuid;

use super::harness::{Caller, node, tool};
use super::load::{Repeated, Shot};
use super::plan::{NODE_TOOLS, Plan};
use super::responder::{SIZED, TOOL};

/// Tools of the node that is described.
const DESCRIBED_TOOLS: usize = 20;
/// Tools of a page, where a request does not say.
const PAGE_TOOLS: usize = 100;

/// Requests to a registry with 100 tools.
pub(crate) struct Few {
    /// Of a node with 20 tools.
    pub(crate) describe: Repeated,
    /// A page of the 100 tools that there are.
    pub(crate) page: Repeated,
}

impl Few {
    pub(crate) async fn announce(caller: &Caller) -> Self {
        let tools = (0..DESCRIBED_TOOLS).map(|n| contract(&format!("described-{n}")));
        register(caller, "described", tools.collect()).await;
        let tools = (DESCRIBED_TOOLS + 1..PAGE_TOOLS).map(|n| small(&format!("other-{n}")));
        register(caller, "others", tools.collect()).await;
        register(caller, "provider", vec![echoing()]).await;
        let page = caller.get("tool.list", json!({})).await;
        assert_eq!(page["items"].as_array().unwrap().len(), PAGE_TOOLS);
        assert_eq!(page.get("next_cursor"), None, "they are {PAGE_TOOLS}");
        Self {
            describe: request(caller, "describe", &json!({"node_id": "described"})),
            page: request(caller, "tool.list", &json!({})),
        }
    }
}

/// Requests about nodes and tools, with what each is measured beside.
pub(crate) struct Offers {
    pub(crate) few: Few,
    /// The first page of many tools.
    pub(crate) first: Repeated,
    /// A page from the middle of many tools.
    pub(crate) middle: Repeated,
    /// Answered by nothing but as many bytes as a description, a page of few tools, a page of many.
    pub(crate) described_bytes: Repeated,
    pub(crate) page_bytes: Repeated,
    pub(crate) first_bytes: Repeated,
    /// A request to a tool.
    pub(crate) direct: Repeated,
    /// The same through the registry.
    pub(crate) invoke: Repeated,
}

impl Offers {
    /// Announces the nodes, to a registry with few tools and to one with many.
    pub(crate) async fn announce(caller: &Caller, many: &Caller, plan: &Plan) -> Self {
        for n in 0..plan.tool_nodes {
            let tools = (0..NODE_TOOLS).map(|k| small(&format!("tool-{n:03}-{k:03}")));
            register(many, &format!("node-{n:03}"), tools.collect()).await;
        }
        let mut cursor = Value::Null;
        for _ in 0..plan.tool_nodes / 2 {
            let page = many.get("tool.list", json!({"cursor": cursor})).await;
            cursor = page["next_cursor"].clone();
        }
        let few = Few::announce(caller).await;
        let first = request(many, "tool.list", &json!({}));
        let arguments = json!({"text": "what is said", "times": 3});
        let call = json!({"tool_name": "echo", "arguments": arguments});
        Self {
            described_bytes: as_large(caller, &few.describe).await,
            page_bytes: as_large(caller, &few.page).await,
            first_bytes: as_large(caller, &first).await,
            few,
            first,
            middle: request(many, "tool.list", &json!({"cursor": cursor})),
            direct: Repeated::new(TOOL, arguments.to_string()),
            invoke: request(caller, "tool.invoke", &call),
        }
    }
}

/// The same request to who answers as many bytes.
async fn as_large(caller: &Caller, asked: &Repeated) -> Repeated {
    let Shot { subject, body, .. } = asked.0.clone();
    let reply = caller.client.request(subject, body.clone()).await.unwrap();
    Repeated::new(&format!("{SIZED}.{}", reply.payload.len()), body)
}

fn request(caller: &Caller, endpoint: &str, body: &Value) -> Repeated {
    Repeated::new(&caller.subject(endpoint), body.to_string())
}

/// It does not end while it is measured.
async fn register(caller: &Caller, id: &str, tools: Vec<Value>) {
    let body = node(Uuid::new_v4(), id, json!({"ttl": 86_400, "tools": tools}));
    caller.get("node.register", body).await;
}

/// A tool with a short contract of its own.
fn small(name: &str) -> Value {
    let mut tool = tool(name);
    tool["description"] = json!(format!("What {name} does."));
    tool["input_schema"] = json!({"type": "object", "properties": {name: {"type": "string"}}});
    tool
}

/// A tool as an author would write it.
fn contract(name: &str) -> Value {
    let mut tool = tool(name);
    tool["description"] = json!("Finds the documents that a question is about, the best first.");
    tool["tags"] = json!(["search", "documents"]);
    tool["input_schema"] = json!({
        "type": "object", "required": ["question"], "additionalProperties": false,
        "properties": {
            "question": {"type": "string", "minLength": 1, "maxLength": 2000, "description": "In plain words."},
            "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
            "language": {"enum": ["de", "en", "fr"]},
        },
    });
    tool["output_schema"] = json!({
        "type": "object", "required": ["found"],
        "properties": {"found": {"type": "array", "items": {
            "type": "object", "required": ["id", "score"],
            "properties": {"id": {"type": "string"}, "score": {"type": "number", "minimum": 0, "maximum": 1}},
        }}},
    });
    tool
}

/// The tool that the responder is.
fn echoing() -> Value {
    let schema = json!({
        "type": "object", "required": ["text"],
        "properties": {"text": {"type": "string"}, "times": {"type": "integer"}},
    });
    let mut tool = tool("echo");
    tool["subject"] = json!(TOOL);
    tool["input_schema"] = schema.clone();
    tool["output_schema"] = schema;
    tool
}
